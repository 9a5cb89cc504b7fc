"""What the tests share: configs as the command line composes them, and tiny runs."""

import inspect
import logging
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from io import StringIO, TextIOBase
from pathlib import Path
from shutil import which
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from rnnlab.commands import list as list_command
from rnnlab.commands.composition import create_hydra, plain, run_mode
from rnnlab.configs import conf_directory
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome, execute

CONF = conf_directory()
TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu")


def leave_unchecked(module: ModuleType) -> None:
    """Takes the check of types off a compiler's small functions, which are called a hundred thousand times a kernel."""
    for owner in (module, *(value for value in vars(module).values() if isinstance(value, type))):
        for name, value in list(vars(owner).items()):
            if isinstance(value, FunctionType) and value.__module__.startswith("rnnlab.kernels."):
                setattr(owner, name, inspect.unwrap(value))


COMPILER = (
    "expressions fingerprint llvm_math llvm_text nodes origins pieces planning printing schedule tile tracing".split()
)
for each in COMPILER:
    leave_unchecked(import_module(f"rnnlab.kernels.{each}"))


# ---- what some tests need --------------------------------------------------------------------------
#
# @pytest.mark.needs("export") on a test or a module: an extra of pyproject.toml, or a thing of WORLD. It goes without
# saying for a parameter that is a choice whose config says so (data=airline), and for a fixture named after an extra.
# Nothing else skips a test. --may-skip=gpu: whatever else is skipped fails the session.

SLURM_CONF = Path("/var/lib/rnnlab-slurm/slurm.conf")


def slurm_answers() -> bool:
    environment = {**os.environ, "SLURM_CONF": str(SLURM_CONF)}
    return bool(
        SLURM_CONF.exists()
        and which("sinfo")
        and subprocess.run(["sinfo"], env=environment, capture_output=True).returncode == 0
    )


WORLD: dict[str, Callable[[], bool]] = {
    "gpu": lambda: bool(__import__("torch").cuda.is_available()),
    "node": lambda: which("node") is not None,
    "g++": lambda: which("g++") is not None,
    "lzma": lambda: find_spec("_lzma") is not None,
    "slurm-cluster": slurm_answers,
}

# Packages that a test needs alone, of an extra that has others, or whose packages another extra has, too.
OF_AN_EXTRA = {"av": "video", "mido": "music", "scipy": "music", "soundfile": "speech"}
WORLD |= {package: (lambda name=package: find_spec(name) is not None) for package in OF_AN_EXTRA}


@cache
def packages() -> dict[str, list[str]]:
    """The packages of each extra, as pyproject.toml has them."""
    named = [re.match(r"([\w-]+).*extra == '(\w+)'", line) for line in requires("rnnlab") or ()]
    pairs = [found.groups() for found in named if found]
    return {extra: [package for package, other in pairs if other == extra] for _, extra in pairs}


@cache
def lacking(need: str) -> str:
    """Why this machine can't run a test that needs something; empty if it can."""
    if need in WORLD:
        return "" if WORLD[need]() else f"needs {need}"
    with suppress(PackageNotFoundError):
        for package in packages()[need]:
            distribution(package)
        return ""
    return f"needs the extra {need}"


@cache
def needed_by_choices() -> dict[str, str]:
    """``group=choice``, and the bare name of a data set, an experiment or a benchmark: the extra that it needs."""
    found = {}
    for group in list_command.GROUPS.values():
        for file in (CONF / group).glob("*.yaml"):
            if extra := list_command.needs(file).partition(",")[0]:
                found[f"{group}={file.stem}"] = extra
                if group in ("data", "experiment", "benchmark"):
                    found[file.stem] = extra
    return found


def mentioned(value: object) -> Iterator[str]:
    """The words of a test's parameter, which may be nested."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from mentioned(part)
    elif isinstance(value, str | Path):
        yield value.stem if isinstance(value, Path) else value


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--may-skip",
        metavar="NEEDS",
        help="commas between: fail if a test is skipped that needs anything else; 'extras' is all of them",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what tests need, and skips those that can't run here; what is exhaustive is slow, as is what is not among
    the few of a test that has very many parameters; where ``slow`` names some of these, the rest is exhaustive.
    """
    for item in items:
        few = item.get_closest_marker("few")
        parts = set(re.split(r"[-\[\]]", item.name))
        if few and not set(few.args) & parts:
            item.add_marker("slow")
            if "slow" in few.kwargs and not set(few.kwargs["slow"]) & parts:
                item.add_marker("exhaustive")
        if item.get_closest_marker("exhaustive"):
            item.add_marker("slow")
        marked = {str(need) for mark in item.iter_markers("needs") for need in mark.args}
        if unknown := marked - packages().keys() - WORLD.keys():
            raise pytest.UsageError(f"{item.nodeid} needs {', '.join(unknown)}: neither an extra nor in WORLD")
        parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        words = [word for value in parameters.values() for word in mentioned(value)]
        implied = {needed_by_choices()[word] for word in words if word in needed_by_choices()}
        implied |= packages().keys() & set(getattr(item, "fixturenames", ()))
        for need in implied - marked:
            item.add_marker(pytest.mark.needs(need))
        for need in sorted(marked | implied):
            if reason := lacking(need):
                item.add_marker(pytest.mark.skip(reason=reason))


def skipped_for_other_reasons(config: pytest.Config) -> list[str]:
    """Tests that were skipped though ``--may-skip`` doesn't allow it, with the reason."""
    allowed = config.getoption("--may-skip")
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if allowed is None or reporter is None:
        return []
    names = allowed.split(",")
    reasons = {f"needs {name}" for name in names} | {f"needs the extra {name}" for name in names}
    if "extras" in names:
        reasons |= {f"needs the extra {name}" for name in packages()} | {f"needs {name}" for name in OF_AN_EXTRA}
    skipped = [(report.nodeid, str(report.longrepr[2])) for report in reporter.stats.get("skipped", ())]
    return [f"{test}: {why}" for test, why in skipped if why.removeprefix("Skipped: ") not in reasons]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if skipped_for_other_reasons(session.config) and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if others := skipped_for_other_reasons(config):
        terminalreporter.section(f"skipped, and --may-skip={config.getoption('--may-skip')} forbids it")
        for line in others:
            terminalreporter.line(line)


# ---- configs and runs ------------------------------------------------------------------------------


def choices(group: str) -> list[str]:
    """The names of a group's configs, as ``rnnlab list`` shows them."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_"))


def compose(*overrides: str) -> dict[str, Any]:
    """The resolved config that ``rnnlab train OVERRIDES`` runs with."""
    return plain(create_hydra().config_loader.load_configuration("train", list(overrides), run_mode()))


@pytest.fixture(scope="session", autouse=True)
def activated() -> Iterator[None]:
    """The environment of these tests is the shell's, as after ``source .venv/bin/activate``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield


@pytest.fixture(scope="session", autouse=True)
def yaml_parsed_once() -> Iterator[None]:
    """Each text that Hydra reads is parsed once: the tests compose thousands of configs of the same files."""
    parse, made = OmegaConf.load, dict[str, bytes]()

    def load(file: Any) -> Any:
        if not isinstance(file, TextIOBase):
            return parse(file)
        text = file.read()
        if text not in made:
            made[text] = pickle.dumps(parse(StringIO(text)))
        return pickle.loads(made[text])

    OmegaConf.load = staticmethod(load)
    yield
    OmegaConf.load = staticmethod(parse)


@pytest.fixture(autouse=True)
def forget_hydra() -> None:
    """Hydra is one to a process; what an earlier test or a module composed must not stand in the way."""
    GlobalHydra.instance().clear()


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """The log that a command gives its process ends with the test: the next one's warnings must not go there."""
    root = logging.getLogger()
    level, before = root.level, list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Outcome]:
    """Trains a tiny run in a directory of its own; further overrides change it."""
    numbers = iter(range(1000))

    def run(*overrides: str, resume: RunDirectory | None = None) -> Outcome:
        config = compose(*TINY, *overrides)
        directory = resume or RunDirectory.claim(tmp_path / f"run{next(numbers)}")
        return execute(directory, config, resume=resume is not None, quiet=True)

    return run
