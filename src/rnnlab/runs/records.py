"""Many runs read fast: what their directories say, whatever state they are in."""

import math
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.slurm import seen, submission
from rnnlab.runs.sweep import SweepDirectory
from rnnlab.store import status
from rnnlab.store.config_file import CONFIG, read_flat
from rnnlab.store.ledger import COMMAND, Facts
from rnnlab.store.metrics_files import EPOCHS, METRICS, read_epochs, read_metrics
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS, State, Status

READERS = 8
"""Threads: on a shared disk the waiting is what takes time."""
INSIDE_A_RUN = frozenset({"checkpoints", "export", "figures", "inspect", "tensorboard", ".hydra"})
FOLD = "data.fold"


@dataclass
class RunRecord:
    """One run, as its directory tells it.

    Attributes:
        path: the directory.
        state: created, running, done, pruned, failed, interrupted; a run whose process is gone is interrupted, and one
            that its search ended early is done as far as its directory goes, but its score competes with no other's.
        status: what ``status.json`` says.
        reason: in a line, why it failed or stopped.
        overrides: of the command line, all of them.
        choices: of config groups: ``{"model": "gru", …}``.
        config: the resolved config, flat: ``{"optimizer.lr": 0.01, …}``; empty where the run never had one.
        metrics: the final scores, flat; empty as long as there are none.
        epochs: columns of ``metrics.csv``, each ``(epochs,)`` with NaN where an epoch has none.
        damage: files that could not be read, a line each.
    """

    path: Path
    state: str
    status: Status
    reason: str = ""
    overrides: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, np.ndarray] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)

    @property
    def monitor(self) -> str:
        return str(self.config.get("monitor", "val/loss"))

    @property
    def mode(self) -> str:
        return str(self.config.get("mode", "min"))

    @property
    def seed(self) -> int:
        return int(self.config.get("seed", 0))

    @property
    def fold(self) -> int | None:
        """Of a backtest with refitting; None where there are no folds."""
        return int(self.config.get(FOLD) or 0) if self.config.get("data.folds") else None

    @property
    def replicate(self) -> tuple[int, int]:
        """What tells repetitions of one setting apart: the fold of a backtest, and the seed."""
        return self.fold or 0, self.seed

    @property
    def score(self) -> float | None:
        """The monitored score of a run that is done; it is finite. A run without a config doesn't say which that is."""
        return self.metrics.get(self.monitor) if self.state == "done" and self.config else None

    @property
    def so_far(self) -> float | None:
        """The best monitored score of any epoch up to now."""
        column = self.epochs.get(self.monitor, np.empty(0))
        column = column[np.isfinite(column)]
        return float(column.min() if self.mode == "min" else column.max()) if len(column) else None


@dataclass
class Found:
    """All that was found below some directories.

    Attributes:
        records: the runs, each once.
        left_out: runs whose state cannot be told, a line each.
        sweeps: path of each sweep's directory and what its ``sweep.json`` says.
    """

    records: list[RunRecord]
    left_out: list[str]
    sweeps: list[tuple[Path, Facts]]


def find_runs(places: Iterable[str | Path], depth: int | None = None) -> Found:
    """All runs at or below some directories; one that is below two of them counts once.

    A sweep may have none: it was stopped before its first, or others had spent the budget of its search.

    Args:
        places: the directories.
        depth: how far below them; by default all the way down.

    Raises:
        InputError: a place is no directory, or there is neither a sweep nor a run that can be read.
    """
    places = list(places)
    runs: dict[str, Path] = {}
    sweeps: dict[str, Path] = {}
    for place in places:
        if not Path(place).is_dir():
            what = "that is a file, no directory" if Path(place).exists() else "there is no such directory"
            raise InputError(f"{place}: {what}")
        for directory, names in _walk(str(Path(place).absolute()), depth):
            if STATUS in names:
                runs.setdefault(os.path.realpath(directory), Path(directory))
            if COMMAND in names:
                sweeps.setdefault(os.path.realpath(directory), Path(directory))
    if not runs and not sweeps:
        raise InputError(f"{', '.join(map(str, places))}: no runs there (a run is a directory with a {STATUS})")
    ordered = sorted(runs.values(), key=_natural)
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(_read_or_say, ordered))
    records = [each for each in read if isinstance(each, RunRecord)]
    left_out = [each for each in read if isinstance(each, str)]
    if left_out and not records:
        raise InputError("; ".join(left_out))
    return Found(records, left_out, [(path, _sweep(path)) for path in sorted(sweeps.values(), key=_natural)])


DEPTH = 3
"""How far below a sweep its runs may be: ``hydra.sweep.subdir`` may make a directory of each choice."""


def is_sweep(place: str | Path) -> bool:
    """Whether a directory is no run and has some in it, not far below."""
    if os.path.isfile(os.path.join(place, STATUS)) or not os.path.isdir(place):
        return False
    return any(STATUS in names for _, names in _walk(os.path.abspath(place), DEPTH))


def _walk(top: str, depth: int | None = None) -> Iterator[tuple[str, set[str]]]:
    """Directories and the names of the files in them, top down, without what only runs have inside."""
    queue = [(top, 0)]
    while queue:
        directory, level = queue.pop()
        files, folders = set(), []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    # a linked one may lead round in a circle; a status that is a directory is that of a damaged run
                    if entry.is_dir(follow_symlinks=False) and entry.name != STATUS:
                        folders.append(entry.path)
                    else:
                        files.add(entry.name)
        except OSError:
            continue
        yield directory, files
        inside = INSIDE_A_RUN if STATUS in files else ()
        if depth is None or level < depth:
            queue += [(folder, level + 1) for folder in folders if os.path.basename(folder) not in inside]


def _read_or_say(path: Path) -> RunRecord | str:
    try:
        return read_run(path)
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or path}: {error.strerror}"


def read_run(path: Path) -> RunRecord:
    """What a run's files say; a run that is still running has no final metrics yet.

    Raises:
        InputError: ``status.json`` is damaged; damage elsewhere is named in the record.
        OSError: it cannot be read.
    """
    told = status.read(path / STATUS)
    if submission(told) is not None and told.state not in (State.DONE, State.FAILED):
        told = seen(RunDirectory(path), told)
    state = str(told.state)
    # what another machine's process does cannot be seen from here: its word stands
    if submission(told) is None and state in ("created", "running") and told.pid and told.host == socket.gethostname():
        state = state if RunDirectory(path).is_alive else "interrupted"
    if state == "done" and told.pruned:
        state = "pruned"
    record = RunRecord(path, state, told, told.reason or "", told.overrides, dict(told.choices))
    for name, read in ((CONFIG, _read_config), (METRICS, _read_metrics), (EPOCHS, _read_epochs)):
        if is_there(path / name):
            _read_part(record, path / name, read)
    if state == "done" and record.score is None and not record.damage:
        record.damage.append(f"{path / METRICS}: the run is done, but has no finite {record.monitor}")
    return record


def _read_part(record: RunRecord, path: Path, read: Callable[[RunRecord, Path], None]) -> None:
    try:
        read(record, path)
    except InputError as error:
        record.damage.append(str(error))
    except OSError as error:
        record.damage.append(f"{path}: {error.strerror}")


def _read_config(record: RunRecord, path: Path) -> None:
    record.config = read_flat(path)


def _read_metrics(record: RunRecord, path: Path) -> None:
    record.metrics = {name: value for name, value in read_metrics(path).items() if math.isfinite(value)}


def _read_epochs(record: RunRecord, path: Path) -> None:
    record.epochs = read_epochs(path).columns


def _sweep(path: Path) -> Facts:
    try:
        return SweepDirectory(path).recorded
    except InputError:
        return {}


def _natural(path: Path) -> tuple[Any, ...]:
    """Sorts ``10_…`` behind ``9_…``."""
    return tuple(
        (0, int(head), rest) if head.isdigit() else (1, 0, part)
        for part in path.parts
        for head, _, rest in [part.partition("_")]
    )
