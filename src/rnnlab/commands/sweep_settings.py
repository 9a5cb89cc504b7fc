"""The keys that only a sweep heeds: checked for a single run, too, which refuses those that were typed for it."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnnlab.errors import InputError
from rnnlab.ranges import NonNegativeInt, PositiveInt
from rnnlab.runs.build import check_node
from rnnlab.runs.schema import check_arguments

MAX_JOBS = 10_000
"""Of a sweep that says nothing else: each is a directory, and a composed config in memory."""
OF_A_SWEEP = {
    "hydra/launcher": "a launcher",
    "hydra.launcher": "a launcher",
    "hydra/sweeper": "a sweeper",
    "hydra.sweeper": "a sweeper",
    "hydra.sweep.": "this place (a run's is hydra.run.dir)",
    "sweep.": "it",
}
"""Beginnings of keys, and what they set. ``sweep=NAME`` is none of them: a run takes its settings from it."""


def sweep_settings(
    retries: NonNegativeInt = 0, fail_fast: bool = False, dry_run: bool = False, max_jobs: PositiveInt = MAX_JOBS
) -> None:
    """The keys under ``sweep``."""


def checked(config: DictConfig) -> dict[str, Any]:
    """The keys under ``sweep`` of a config that may be a sweep's or a run's.

    Raises:
        InputError: naming the key.
    """
    node = config.get("sweep")
    values = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node or {}
    check_node(values, "sweep")
    assert isinstance(values, dict)
    named = {str(name): value for name, value in values.items()}
    check_arguments(sweep_settings, named, "sweep")
    return named


def place(config: DictConfig, key: str) -> str:
    """Where a run or a sweep is to lie.

    Args:
        config: as it was composed.
        key: ``hydra.run.dir`` or ``hydra.sweep.dir``.

    Raises:
        InputError: nowhere.
    """
    path = str(OmegaConf.select(config, key))
    if not path.strip():
        raise InputError(f"{key}={path}: name a directory, such as {key}=outputs/NAME")
    return path


def refuse_in_a_sweep(overrides: Sequence[str]) -> None:
    """Refuses a run's own directory where there are many runs: nothing would be written there.

    Raises:
        InputError: one of the overrides gives it.
    """
    for line in overrides:
        if line.lstrip("+~").startswith("hydra.run."):
            raise InputError(f"{line}: this place is of one run, without -m; a sweep's is hydra.sweep.dir=…")


def refuse_in_a_run(overrides: Sequence[str]) -> None:
    """Refuses what would change nothing in a single run, though whoever typed it expects it to.

    Args:
        overrides: of a command without ``-m``, in Hydra's grammar.

    Raises:
        InputError: one of them is of a sweep.
    """
    for line in overrides:
        for beginning, what in OF_A_SWEEP.items():
            if line.lstrip("+~").startswith(beginning):
                raise InputError(f"{line}: {what} is of a sweep, be it of one job: add -m")
