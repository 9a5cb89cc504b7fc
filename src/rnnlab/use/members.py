"""Which runs stand behind a place: a run, or the best configuration of a sweep."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from rnnlab.errors import InputError, one_line, visible
from rnnlab.runs.comparison import Group, compare
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import DEPTH, find_runs, is_sweep
from rnnlab.shell import pasted
from rnnlab.store.archive import check_archive
from rnnlab.store.files import open_regular


def members(places: Sequence[str], quiet: bool = False) -> list[RunDirectory]:
    """The runs at some places; of a sweep the seeds of its best configuration, by its own (validation) score.

    Args:
        places: of runs and sweeps.
        quiet: say which configuration that is on standard error, where it is in nobody's way.

    Raises:
        InputError: a place is neither, a run has no checkpoint, or the same one is there twice.
    """
    found: list[RunDirectory] = []
    for place in places:
        if not is_sweep(place):
            found.append(trained(place))
            continue
        found += best_seeds(place, quiet)
    for number, directory in enumerate(found):
        if directory.path in [other.path for other in found[:number]]:
            raise InputError(f"{directory.path} is named twice: a run is one member of an ensemble")
    return found


def trained(place: str) -> RunDirectory:
    """A run with a checkpoint, whose files are sound as far as that is seen without loading anything.

    Raises:
        InputError: it is none, has no checkpoint yet, or its status, its config or its checkpoint is damaged.
    """
    directory = RunDirectory.open(place)
    _ = directory.config
    state, path = directory.status.state, directory.best_checkpoint
    if not path.exists():
        raise InputError(f"{place} has no checkpoint yet (it is {state}): {pasted('resume', Path(place))}")
    try:
        with open_regular(path) as file:
            check_archive(file, sums=False)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"checkpoint {path} is damaged: {one_line(error)}") from None
    return directory


def best_seeds(sweep: str, quiet: bool = False) -> list[RunDirectory]:
    """The finished runs of a sweep's best configuration, by its own (validation) score.

    Raises:
        InputError: none is done, or its runs are of different data and so cannot be ranked.
    """
    group, several = _best_group(sweep)
    best, folds = group.counted, group.folds
    if len(folds) > 1:
        # each fold was trained up to another time, and only the last one knows all that is known
        best = [run for run in best if run.fold == folds[-1]]
    out = sys.stderr if quiet else sys.stdout
    if several > 1:
        name = f"{group.name} ({len(best)} runs)"
        print(f"{sweep}: of {several} configurations the best on validation is {visible(name)}", file=out)
    if len(folds) > 1:
        print(f"{sweep}: of {len(folds)} folds the last one", file=out)
    return [RunDirectory(run.path) for run in best]


def runs_of_folds(sweep: str) -> list[tuple[int, int, RunDirectory]]:
    """Fold, seed and run of each of the finished runs of a sweep's best configuration, by its own (validation) score.

    Raises:
        InputError: its runs are no folds, or not all folds are done.
    """
    if not is_sweep(sweep):
        raise InputError(f"--out-of-fold: {sweep} is no sweep: rnnlab train -m … data.folds=5 'data.fold=range(5)'")
    group, several = _best_group(sweep)
    number = group.counted[0].config.get("data.folds")
    if not number:
        raise InputError(f"--out-of-fold: {sweep} has no folds: rnnlab train -m … data.folds=5 'data.fold=range(5)'")
    missing = sorted(set(range(int(number))).difference(group.folds))
    if missing:
        raise InputError(
            f"--out-of-fold: fold {missing[0]} of {number} is not done in {sweep}: {pasted('resume', Path(sweep))}"
        )
    if several > 1:
        print(f"{sweep}: of {several} configurations the best on validation is {visible(group.name)}", file=sys.stderr)
    return [(run.fold or 0, run.seed, RunDirectory(run.path)) for run in group.counted]


def runs_by_fold(place: str) -> dict[int, list[RunDirectory]]:
    """The finished runs of the folds of a sweep's best configuration, by fold; empty where these are no parts of which
    each is tested by runs that have not seen it: one run, no folds, or spans of time.
    """
    if not is_sweep(place):
        return {}
    group, several = _best_group(place)
    if len(group.folds) < 2 or "data.val_start" in group.counted[0].config:
        return {}
    if several > 1:
        print(f"{place}: of {several} configurations the best on validation is {visible(group.name)}")
    found: dict[int, list[RunDirectory]] = {fold: [] for fold in group.folds}
    for run in group.counted:
        found[run.fold or 0].append(RunDirectory(run.path))
    return found


def _best_group(sweep: str) -> tuple[Group, int]:
    """The best configuration of a sweep, and how many are ranked.

    Raises:
        InputError: none is done, or its runs are of different data and so cannot be ranked.
    """
    boards = compare(find_runs([sweep], DEPTH).records)
    if len(boards) > 1:
        kinds = ", ".join(f"{board.data} by {board.task}" for board in boards)
        raise InputError(f"{sweep} holds runs of {kinds}, which no score can rank together: name the runs themselves")
    ranked = [group for board in boards for group in board.groups if group.rank is not None]
    if not ranked:
        raise InputError(f"{sweep} holds no run that is done: {pasted('report', Path(sweep))}")
    return ranked[0], len(ranked)
