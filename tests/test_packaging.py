"""The fresh machine: the Makefile's own logic, the pins, the wheel, and the commands that the texts name."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from conftest import packages
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
TARGETS = (
    "help install train sweep evaluate tensorboard report test test-all lint format typecheck check bench clean".split()
)
EXTRAS = sorted(packages().keys() - {"dev"})
MAKES = "MAKEFLAGS MAKEOVERRIDES MAKELEVEL MFLAGS ARGS".split()
"""What a make that runs these tests hands down of its own."""

# Stands for Python, its venv and its pip: does nothing but write down what it was called with.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
case "$*" in
  *version_info*) cat "$FAKE/version";;
  "-m venv "*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
  "-m pip install "*) if [ -e "$FAKE/no-network" ]; then echo "Could not find a version"; exit 1; fi;;
esac
"""


def run(place: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if name not in MAKES}
    return subprocess.run(
        arguments,
        cwd=place,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


# ---- make ------------------------------------------------------------------------------------


class Machine:
    """A checkout in an empty directory, and a Python that is none."""

    def __init__(self, folder: Path) -> None:
        self.fake = folder / "fake"
        self.fake.mkdir()
        self.python = self.fake / "python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.has_python("3.12")
        self.place = folder / "a checkout"
        self.place.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.place)

    def has_python(self, version: str) -> None:
        (self.fake / "version").write_text(f"{version}\n")

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run(self.place, "make", f"PYTHON={self.python}", *arguments, FAKE=str(self.fake))

    def calls(self) -> list[str]:
        """What the last ``make`` had venv and pip do."""
        log = self.fake / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        venv = ["venv" for line in lines if line.startswith("-m venv")]
        return venv + [line.split()[-1] for line in lines if line.startswith("-m pip install -c constraints.txt")]

    def installed(self, *arguments: str) -> list[str]:
        done = self.make("install", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.calls()

    def touch(self, name: str) -> None:
        newer = (self.place / ".venv" / "installed").stat().st_mtime + 10
        os.utime(self.place / name, (newer, newer))

    def settle(self) -> None:
        """As if all that happened so far had happened long ago."""
        for file in (self.place / "pyproject.toml", self.place / "constraints.txt"):
            os.utime(file, (1, 1))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_train_says_once_how_rnnlab_gets_onto_the_path(machine: Machine) -> None:
    machine.installed()
    programs = machine.place / ".venv" / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "rnnlab").write_text("#!/bin/sh\necho from $RNNLAB_CALLED_FROM\n")
    (programs / "rnnlab").chmod(0o755)
    (programs / "activate").write_text(f"PATH='{programs}':$PATH\n")
    for place, options in ((machine.place, []), (machine.place.parent, ["-C", "a checkout"])):
        command = ["make", *options, f"PYTHON={machine.python}", "train"]
        done = run(place, *command, FAKE=str(machine.fake), PATH="/usr/bin:/bin", PWD=str(place))
        assert f"from {place}\n" in done.stdout
        (line,) = (line for line in done.stdout.splitlines() if "not on your PATH yet" in line)
        followed = run(
            place, "bash", "-c", f"{line.partition('there: ')[2]} && command -v rnnlab", PATH="/usr/bin:/bin"
        )
        assert followed.stdout.strip() == str(programs / "rnnlab"), followed.stderr
    done = run(machine.place, "make", f"PYTHON={machine.python}", "train", FAKE=str(machine.fake),
               PATH=f"{programs}:/usr/bin:/bin")  # fmt: skip
    assert "PATH" not in done.stdout


def test_the_first_call_installs_and_the_second_runs_no_pip(machine: Machine) -> None:
    assert machine.installed() == ["venv", ".[dev]"]
    assert machine.installed() == []


def test_an_extra_is_added_once_and_stays(machine: Machine) -> None:
    machine.installed()
    assert machine.installed("EXTRAS=ray,docs") == [".[dev,docs,ray]"]
    assert machine.installed("EXTRAS=docs") == []
    assert machine.installed() == []
    machine.settle()
    machine.touch("constraints.txt")
    assert machine.installed() == [".[dev,docs,ray]"]
    (everything,) = machine.installed("EXTRAS=all")
    assert {"dev", *EXTRAS} <= set(everything.strip(".[]").split(","))


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(machine: Machine, file: str) -> None:
    machine.installed()
    machine.touch(file)
    assert machine.installed() == [".[dev]"]


def test_an_installation_that_was_killed_is_made_anew(machine: Machine) -> None:
    machine.installed()
    (machine.place / ".venv" / "installed").rename(machine.place / ".venv" / "installing")
    (machine.place / ".venv" / "half a package").touch()
    assert machine.installed() == ["venv", ".[dev]"]
    assert not (machine.place / ".venv" / "half a package").exists()
    assert machine.installed() == []


def test_a_checkout_that_has_moved_is_installed_again(machine: Machine) -> None:
    machine.installed("EXTRAS=docs")
    machine.place = machine.place.rename(machine.place.with_name("elsewhere"))
    assert machine.installed() == ["venv", ".[dev,docs]"]


def test_what_pip_said_is_shown_where_it_fails(machine: Machine) -> None:
    (machine.fake / "no-network").touch()
    done = machine.make("install")
    assert done.returncode != 0
    assert "Could not find a version" in done.stdout
    machine.calls()
    (machine.fake / "no-network").unlink()
    assert machine.installed() == [".[dev]"]


def test_an_unknown_extra_is_answered_in_one_line(machine: Machine) -> None:
    done = machine.make("install", "EXTRAS=docs,rya")
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "'rya'" in line
    assert all(extra in line for extra in EXTRAS)
    assert machine.calls() == []


@pytest.mark.parametrize("version", ["3.9", "2.7", "4.0"])
def test_a_python_that_cannot_do_is_named(machine: Machine, version: str) -> None:
    machine.has_python(version)
    done = machine.make("train")
    assert done.returncode != 0
    assert f"{machine.python} ({version})" in done.stdout
    assert "3.10" in done.stdout
    assert not (machine.place / ".venv").exists()


def test_no_python_is_said(machine: Machine) -> None:
    machine.python = Path("no-such-python")
    assert "found: none" in machine.make("train").stdout


def test_help_is_the_default_and_lists_every_target(machine: Machine) -> None:
    done = machine.make()
    assert done.returncode == 0
    described = dict(re.findall(r"^make (\S+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert set(TARGETS) <= set(described)
    phony = re.search(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(described)
    assert machine.calls() == []


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train", "ARGS=model=lstm data=tokens"], "rnnlab train model=lstm data=tokens"),
        (["sweep", "ARGS=trainer.max_epochs=2"], "trainer.max_epochs=2"),
        (["sweep", "SWEEP=model=rnn,gru"], "rnnlab train -m model=rnn,gru"),
        (["report", "DIR=outputs/a"], "rnnlab report 'outputs/a'"),
        (["report"], "rnnlab report 'outputs'"),
        (["tensorboard", "DIR=outputs/a"], "tensorboard --logdir 'outputs/a'"),
        (["test", "ARGS=-k gru"], 'pytest -n 2 -m "not slow" -k gru'),
        (["bench", "ARGS=startup"], "python -m benchmarks startup"),
    ],
)
def test_a_target_passes_on_what_it_is_given(machine: Machine, arguments: list[str], command: str) -> None:
    machine.installed()
    done = machine.make("--dry-run", *arguments)
    assert any(line.rstrip().endswith(command) for line in done.stdout.splitlines())


def test_evaluate_takes_the_newest_run_that_is_done(machine: Machine) -> None:
    machine.installed()
    program = machine.place / ".venv" / "bin" / "rnnlab"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    assert "make train" in machine.make("evaluate").stdout
    for age, (name, state) in enumerate([("a", "failed"), ("b", "done"), ("c", "done"), ("sweep/d", "running")]):
        status = machine.place / "outputs" / name / "status.json"
        status.parent.mkdir(parents=True)
        status.write_text(f'{{\n  "state": "{state}"\n}}\n')
        os.utime(status, (1000 - age, 1000 - age))
    assert machine.make("evaluate", "ARGS=data.noise=0").stdout.strip() == "evaluate outputs/b data.noise=0"
    assert machine.make("evaluate", "RUN=outputs/c").stdout.strip() == "evaluate outputs/c"


def test_clean_leaves_outputs_and_the_environment_alone(machine: Machine) -> None:
    machine.installed()
    kept = [machine.place / path for path in ("outputs/run/__pycache__/a", ".venv/lib/__pycache__/a", "src/a.py")]
    gone = [machine.place / path for path in ("src/__pycache__/a", "build/a", ".mypy_cache/a", "dist/a")]
    for file in kept + gone:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert machine.make("clean").returncode == 0
    assert [file for file in kept if not file.exists()] == []
    assert [file for file in gone if file.exists()] == []
    assert machine.installed() == []


def test_the_hooks_run_what_make_check_runs() -> None:
    check = re.search(r"^check: (.*?) *##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert check is not None
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in local["hooks"]] == [f"make {target}" for target in check[1].split()]


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "outputs/README.md", "docs/pages", ".ci/run"])
def test_every_make_command_that_a_text_names_exists(text: str) -> None:
    place = ROOT / text
    files = sorted(place.rglob("*.md")) if place.is_dir() else [place]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for file in files:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= set(targets), file


def test_ci_begins_with_the_commands_of_the_readme_in_a_pristine_clone() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    promised = re.findall(r"^make \w+", readme.split("```")[1], re.MULTILINE)
    assert promised == ["make train", "make test"]
    script = (ROOT / ".ci" / "run").read_text()
    lines = [re.sub(r"^PYTEST_ADDOPTS=\S+ ", "", line) for line in script.splitlines()]
    steps = [line for line in lines if line.startswith(("git ", "make "))]
    assert " clone " in steps[0]
    assert steps[1:3] == promised
    assert steps.index("make install EXTRAS=all") > 2


# ---- pins ------------------------------------------------------------------------------------


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    required = [Requirement(line) for line in lines if not line.startswith("#")]
    here = [each for each in required if each.marker is None or each.marker.evaluate()]
    return {canonicalize_name(each.name): Version(str(each.specifier).removeprefix("==")) for each in here}


def needed(name: str, extras: set[str]) -> dict[str, Distribution]:
    """Whatever a package and its extras need, as far as it is installed, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    while queue:
        package, extra = queue.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        try:
            found[package] = distribution(package)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        for line in found[package].requires or []:
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                queue += [(canonicalize_name(required.name), each) for each in ("", *required.extras)]
    return found


def test_everything_that_is_needed_is_pinned_and_installed_as_pinned() -> None:
    pinned = pins()
    installed = {
        name: Version(Version(each.version).public) for name, each in needed("rnnlab", {"dev", *EXTRAS}).items()
    }
    del installed["rnnlab"]
    assert {"torch", "lightning", "hydra-core", "pytest", "numpy"} <= set(installed)
    assert {name: pinned.get(name) for name in installed} == installed


# ---- the wheel -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_wheel_brings_its_configs_and_works_anywhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = run(source, sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    configs = {f"rnnlab/conf/{file.relative_to(ROOT / 'conf')}" for file in (ROOT / "conf").rglob("*.yaml")}
    assert "rnnlab/conf/train.yaml" in configs
    assert configs <= set(zipfile.ZipFile(wheel).namelist())

    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    installed = run(tmp_path, *pip, str(wheel))
    assert installed.returncode == 0, installed.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(elsewhere, sys.executable, "-c", "import rnnlab; print(rnnlab.__file__)", PYTHONPATH=str(site))
    assert Path(where.stdout.strip()).is_relative_to(site)
    shown = run(elsewhere, str(site / "bin" / "rnnlab"), "train", "model=lstm", "--cfg", "job", PYTHONPATH=str(site))
    assert shown.returncode == 0, shown.stderr
    assert yaml.safe_load(shown.stdout)["model"]["cell"]["_target_"] == "rnnlab.cells.lstm.LSTM"
    tiny = ["data.num_samples=40", "trainer.max_epochs=1", "trainer=cpu", "instruments=none", "hydra.run.dir=run"]
    trained = run(elsewhere, sys.executable, "-m", "rnnlab", "train", *tiny, PYTHONPATH=str(site))
    assert trained.returncode == 0, trained.stderr
    assert (elsewhere / "run" / "metrics.json").exists()


def test_what_mutation_testing_changes_is_there() -> None:
    settings = (ROOT / "pyproject.toml").read_text().partition("[tool.mutmut]")[2].partition("\n[tool.")[0]
    listed = re.findall(r'^  "((?:src|tests)/.*)",$', settings, re.MULTILINE)
    assert len(listed) > 40 and not [pattern for pattern in listed if not list(ROOT.glob(pattern))]
