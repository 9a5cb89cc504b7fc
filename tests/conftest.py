"""What the tests share: configs as the command line composes them, and tiny runs."""

import pickle
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import StringIO, TextIOBase
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from rnnlab.commands.composition import conf_directory, create_hydra, plain, run_mode
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome, execute

CONF = conf_directory()
TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu")
# data sets and experiments that read what an optional package carries
NEEDED = {
    **dict.fromkeys(("airline", "air_passengers", "ucr", "japanese_vowels", "italy_power_demand"), "aeon"),
    "digits": "sklearn",
    "sunspots": "statsmodels",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out tests of a choice whose package is not installed; what is exhaustive is slow."""
    for item in items:
        if item.get_closest_marker("exhaustive"):
            item.add_marker("slow")
        parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        for value in parameters.values():
            package = NEEDED.get(value.stem if isinstance(value, Path) else str(value))
            if package is not None and find_spec(package) is None:
                item.add_marker(pytest.mark.skip(reason=f"{package} is not installed"))


def choices(group: str) -> list[str]:
    """The names of a group's configs, as ``rnnlab list`` shows them."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml") if not file.stem.startswith("_"))


def compose(*overrides: str) -> dict[str, Any]:
    """The resolved config that ``rnnlab train OVERRIDES`` runs with."""
    return plain(create_hydra().config_loader.load_configuration("train", list(overrides), run_mode()))


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


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Outcome]:
    """Trains a tiny run in a directory of its own; further overrides change it."""
    numbers = iter(range(1000))

    def run(*overrides: str, resume: RunDirectory | None = None) -> Outcome:
        config = compose(*TINY, *overrides)
        directory = resume or RunDirectory.claim(tmp_path / f"run{next(numbers)}")
        return execute(directory, config, resume=resume is not None, quiet=True)

    return run
