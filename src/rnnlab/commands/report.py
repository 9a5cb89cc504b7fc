"""``rnnlab report DIR…``: runs and sweeps compared."""

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from rnnlab.commands.arguments import guarded, parser, refuse_overrides
from rnnlab.commands.printed_verdict import print_verdict
from rnnlab.errors import InputError, nearest
from rnnlab.instruments.console import console
from rnnlab.runs.comparison import SUBJECT, Board, Group, arguments, common_overrides, compare, parse, shown
from rnnlab.runs.page import render
from rnnlab.runs.records import Found, find_runs
from rnnlab.runs.report import rows, write_leaderboard
from rnnlab.shell import pasted, shown_path
from rnnlab.store.files import refuse_unwritable, replace
from rnnlab.store.ledger import Facts

SHOWN, SHOWN_OF_A_SEARCH = 20, 10
"""Groups of a board that a terminal shows; the files have all."""
NARROW = 110
"""Columns of a terminal below which the table is brief; the files have it all."""
WIDE_ONLY = ("parameters", "seconds")


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "report",
        "Compares runs, finished or not: grouped by everything but the seed, ranked by the monitored score on "
        "validation. Writes leaderboard.csv and report.html, one page that opens offline.",
    )
    options.add_argument("directories", metavar="DIR", nargs="+", help="runs, sweeps, or directories that hold them")
    options.add_argument("--output", metavar="DIR", help="where the files go (default: the first DIR)")
    options.add_argument(
        "--study", metavar="STORAGE", action="append", default=[],
        help="draw the study of a search that is kept there, outside of its sweep's directory (again for more)",
    )  # fmt: skip
    given = options.parse_args(arguments)

    def action() -> int:
        refuse_overrides("report", given.directories)
        print_leaderboard(given.directories, given.output, given.study)
        return 0

    return guarded(action)


def _check_studies(studies: Sequence[str], found: Found) -> None:
    """Refuses a place in which no search is kept that was found."""
    searches = [(path, told.get("search") or {}) for path, told in found.sweeps]
    kept = [str(search.get("storage") or path / "search.db") for path, search in searches if "study" in search]
    for study in studies:
        if study not in kept:
            there = f" (one is kept in {kept[0]})" if kept else ": there is no search"
            raise InputError(f"--study {study}: no search that was found is kept there{nearest(study, kept) or there}")


def print_leaderboard(
    places: Sequence[str | Path],
    output: str | Path | None = None,
    studies: Sequence[str] = (),
    advice: str = "choose another place with --output DIR",
) -> int:
    """Prints the leaderboards, and writes ``leaderboard.csv`` and ``report.html``.

    Args:
        places: runs, sweeps, or directories that hold them.
        output: where the two files go; the first place by default.
        studies: see :func:`rnnlab.runs.page.render`.
        advice: what to do where they cannot be written.

    Returns:
        1 if a run failed, else 0.

    Raises:
        InputError: there is no run that can be read, or the files cannot be written. Where that shows only when they
            are, such as on a full disk, what was found is printed before.
    """
    found = find_runs(places)
    _check_studies(studies, found)
    home = Path(output or places[0]).absolute()
    table, page = home / "leaderboard.csv", home / "report.html"
    if home.exists() and not home.is_dir():
        raise InputError(f"{shown_path(home)} is a file: {advice}")
    for path in (table, page):
        refuse_unwritable(path, shown_path(home), advice)
        if path.is_dir():
            raise InputError(f"{shown_path(path)} is a directory: {advice}")
    out = console()
    homes = {parent for record in found.records for parent in record.path.parents}
    for path, told in found.sweeps:
        if path not in homes:
            why = _exhausted(told) or f"none was written down; {pasted('resume', path)}"
            out.print(f"{shown_path(path)}: no jobs: {why}", markup=False, soft_wrap=True)
    if not found.records:
        return 0
    boards = compare(found.records)
    ranked = [board for board in boards if board.ranked]
    most = SHOWN_OF_A_SEARCH if any("search" in told for _, told in found.sweeps) else SHOWN
    for board in ranked:
        if board.warning:
            out.print(board.warning, style="bold red")
            out.print()
        _print_board(board, several=len(boards) > 1, most=most)
    if not ranked:
        out.print("no run is done yet: nothing to rank")
    _print_others(boards)
    states = Counter(record.state for record in found.records)
    for record in found.records:
        if record.state == "failed":
            log = shown_path(record.path / "train.log")
            out.say("failed", f"{shown_path(record.path)}: {record.reason} (log: {log})", "red")
    for line in [*found.left_out, *(line for record in found.records for line in record.damage)]:
        out.say("left out", line, "yellow")
    ends = sorted(record.status.pruned or 0 for record in found.records if record.state == "pruned")
    pruned = f" (after {_epochs(ends)}: not ranked)" if ends else ""
    out.print(", ".join(f"{n} {state}{pruned if state == 'pruned' else ''}" for state, n in states.items()))

    title = ", ".join(Path(place).absolute().name or str(place) for place in places)
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_leaderboard(table, boards)
        replace(page, render(boards, found, home, title, studies))
    except OSError as error:
        raise InputError(f"{shown_path(home)} cannot be written ({error.strerror}): {advice}") from None
    out.say("Table", shown_path(table))
    out.say("Page ", shown_path(page))
    return 1 if states["failed"] else 0


def _exhausted(told: Facts) -> str:
    """Why a search has no jobs, where its ledger says so."""
    return str(told.get("search", {}).get("exhausted") or "")


def _print_board(board: Board, several: bool, most: int) -> None:
    out = console()
    wide = (shutil.get_terminal_size().columns if out.is_terminal else out.width) >= NARROW
    ranked = board.ranked
    first = ranked[0]
    table = Table(
        title=_title(board, several),
        title_justify="left",
        title_style="bold",
        box=None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column("#", justify="right")
    table.add_column("configuration", overflow="fold")
    table.add_column("n", justify="right")
    # where there is room for it, the baseline by its name
    baseline = f"baseline ({board.baseline_name})" if wide and board.baseline_name else "baseline"
    for name in (f"{board.monitor} ± std", "95 % interval", "test", baseline):
        table.add_column(name, justify="right", no_wrap=True)
    judged = any(group.verdict for group in ranked)
    if judged:
        table.add_column("verdict", no_wrap=wide)
    for name in WIDE_ONLY if wide else ():
        table.add_column(name, justify="right", no_wrap=True)
    digits = 4 if wide else 3
    for row, group in zip(rows(board)[:most], ranked, strict=False):
        several_seeds = group.n > 1
        table.add_row(
            str(group.rank),
            group.name.replace(", ", " ") if wide else _brief(group),
            _seeds(group),
            _number(row["mean"], digits) + (f" ± {row['std']:.{2 if wide else 1}g}" if several_seeds else ""),
            f"{_number(row['ci_low'], digits)} – {_number(row['ci_high'], digits)}" if several_seeds else "one seed",
            _number(row["test"], digits),
            _number(row["baseline"], digits),
            *((row["verdict"],) if judged else ()),
            *((f"{row['parameters']:,}" if row["parameters"] != "" else "", _number(row["seconds"])) if wide else ()),
        )
    out.print(table, soft_wrap=False)
    if len(ranked) > most:
        out.print(f"… and {len(ranked) - most} more: they are in leaderboard.csv and on the page")
    if any(group.n + group.repeats < len(group.runs) for group in ranked):
        out.print("n: 2/3 says that two runs of three are done and counted", style="dim")
    if repeats := sum(group.repeats for group in ranked):
        again = "a run repeats a seed" if repeats == 1 else f"{repeats} runs repeat a seed"
        out.print(f"n: {again}, and of each seed the last run counts", style="dim")
    out.print(_lead(board), soft_wrap=True)
    if alone := _alone(board):
        out.print(alone, soft_wrap=True)
    assert first.best_run is not None
    again = pasted(*arguments(first.best_run, folds=first.folds), directory=first.best_run.status.directory)
    out.say("Best again", again)
    told = first.best_run.status
    if told.verdict is not None and len(board.groups) == 1 and len(first.runs) == 1:
        print_verdict(told.verdict, first.best_run.path, told.directory)
    elif told.verdict is not None and board.warning:
        print_verdict(told.verdict, first.best_run.path, told.directory, "of the best run")
    out.print()


def _title(board: Board, several: bool) -> str:
    shared = [] if len(board.groups) < 2 else common_overrides(list(board.records))
    where = [f"{board.data}, {board.task}"] if several else []
    told = {f"data.{name}" for name in SUBJECT} | {"data"} if several else set()  # by the board's own name
    common = [f"({each})" for each in shared if parse(each)[0] not in told]
    return " ".join(["Leaderboard", *where, *common])


def _seeds(group: Group) -> str:
    others = len(group.runs) - group.repeats  # that a seed was run twice is nothing that failed
    return str(group.n) if group.n == others else f"{group.n}/{others}"


def _lead(board: Board) -> str:
    """How sure it is that the first is the best, in one line."""
    if not board.comparisons:
        return "One configuration: nothing to compare it with."
    next_one, p = board.comparisons[0], board.adjusted[0]
    if all(math.isnan(each) for each in board.adjusted):
        if next_one.n > 1:
            return "The differences between the first and the others have no spread: there is nothing to test."
        return "Too few seeds in common to say whether the first is really the best: add seed=0,1,2."
    lead = f"The first is ahead of the second on {next_one.wins} of {next_one.n} seeds"
    sure = "" if math.isnan(p) else f" (paired t test p={p:.2g} after Holm's correction)"
    total = len(board.comparisons)
    if total == 1:
        rest = "which can't be told from chance at 5 %" if board.undecided else "which is significant at 5 %"
        return f"{lead}{sure}, {rest}."
    return f"{lead}{sure}; of {total} others, {total - board.undecided} are significantly worse at 5 %."


def _alone(board: Board) -> str:
    """In how many runs the network adds nothing to the linear part, so that other models have the same scores."""
    gains = [run.metrics["calibration/gain"] for run in board.records if "calibration/gain" in run.metrics]
    alone = sum(gain == 0 for gain in gains)
    if not alone:
        return ""
    if alone < len(gains):
        return f"In {alone} of {len(gains)} runs the linear part stands alone: there the network adds nothing."
    which = "all of them" if len(gains) > 1 else "this run"
    return f"In {which} the linear part stands alone: the network adds nothing, and other networks would do as well."


def _print_others(boards: Sequence[Board]) -> None:
    """Groups of which no run is done yet: what their runs have reached so far."""
    out = console()
    for board in boards:
        for group in board.groups:
            running = [run for run in group.runs if run.state in ("created", "running")]
            if not running:
                continue
            best = [run.so_far for run in running if run.so_far is not None]
            choose = min if board.mode == "min" else max
            far = f", {board.monitor} so far {_number(choose(best))}" if best else ""
            out.say("running", f"{group.name}: {len(running)} of {len(group.runs)} runs{far}", "cyan")


def _epochs(ends: Sequence[int]) -> str:
    first, last = ends[0], ends[-1]
    return f"{first} to {last} epochs" if first != last else f"{last} epoch{'s' * (last != 1)}"


def _number(value: Any, digits: int = 4) -> str:
    return "" if not isinstance(value, (int, float)) or math.isnan(value) else f"{value:.{digits}g}"


def _brief(group: Group) -> str:
    """``lr=0.01`` for ``optimizer.lr=0.01``, a line each."""
    return (
        "\n".join(f"{key.rpartition('.')[2]}={shown(value)}" for key, value in group.parameters.items()) or group.name
    )
