"""``rnnlab inspect RUN… [key=value …]``: what goes on inside trained networks, as pictures and one page."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.commands.arguments import (
    add_allow,
    add_device,
    add_format,
    add_runs,
    guarded,
    load_execution,
    parser,
    places_and_overrides,
    trusting,
)
from rnnlab.commands.changed import naming, override
from rnnlab.commands.together import Rule, check_together
from rnnlab.errors import InputError
from rnnlab.files.source import find
from rnnlab.runs.comparison import compare as boards_of
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import DEPTH, find_runs, is_sweep
from rnnlab.shell import pasted, shown_path
from rnnlab.use.members import trained
from rnnlab.use.options import check_device, check_folder

MOST = 7
"""Architectures side by side: as many as there are colours."""
RULES = (
    Rule("format", "is of a file of your own: give --input FILE, or -", needs=("input",)),
    Rule("input", "a split is of the run's own data; leave one out", without=("split",)),
)


@dataclass(frozen=True)
class Options:
    """Of the command line: which split or file, which sequences, where to, over what is there, what is trusted."""

    split: Any = None
    sequences: tuple[int, ...] | None = None
    output: str | None = None
    force: bool = False
    allow: tuple[str, ...] = ()
    device: str = "cpu"
    input: str | None = None
    format: Any = None


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "inspect",
        "Looks inside a trained run: how far back it remembers, its gates, its dynamics, what its predictions hang on, "
        "where it is wrong and how sure it is. Of a sweep, or of several runs, the same side by side. Writes PNGs and "
        "index.html, one page that opens offline, into RUN/inspect.",
    )
    add_runs(options)
    options.add_argument(
        "--sequences", metavar="N,N…", help="which sequences are shown one by one (default: the first three)"
    )
    options.add_argument("--split", choices=("val", "test"), help="of the run's data (default: test)")
    options.add_argument("--input", metavar="FILE", help="data of your own, as predict reads it; - for standard input")
    add_format(options)
    options.add_argument("--output", metavar="DIR", help="where it goes (default: RUN/inspect)")
    options.add_argument("--force", action="store_true", help="overwrite what an earlier inspection left there")
    add_device(options)
    add_allow(options)
    given = options.parse_intermixed_args(arguments)
    places, overrides = places_and_overrides(given.arguments)
    command = shlex.join(["rnnlab", "inspect", *arguments])

    def action() -> int:
        sequences = None if given.sequences is None else numbers(given.sequences)
        chosen = Options(
            given.split, sequences, given.output, given.force, tuple(given.allow), given.device, given.input,
            given.format,
        )  # fmt: skip
        return inspect(places, overrides, chosen, command)

    return guarded(action)


def numbers(text: str) -> tuple[int, ...]:
    """``"0,5"`` as numbers.

    Raises:
        InputError: it is no list of them.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--sequences {text}: give numbers of sequences with commas between, such as 0,5") from None
    return found


def inspect(places: Sequence[str], overrides: list[str], options: Options, command: str) -> int:
    """Draws, writes, and prints the most telling numbers.

    Raises:
        InputError: it is no run with a checkpoint, a checkpoint is damaged, or the output exists.
    """
    if not places:
        raise InputError(f"inspect: name a run directory ({pasted('inspect', '--help')})")
    check_together(options, RULES)
    if options.input is not None and overrides:
        raise InputError(f"{overrides[0]}: new data is read as the training data was; leave it out, or --input")
    check_device(options.device)
    single = len(places) == 1 and not is_sweep(places[0])
    if len(places) > 1 and options.output is None:
        raise InputError("inspect: several runs have no directory of their own: say where it goes by --output DIR")
    folder = Path(options.output or Path(places[0]) / "inspect")
    if options.output is None and folder.is_symlink():
        raise InputError(f"{folder} is a link, and nothing is written through it: move it away, or choose --output DIR")
    runs = [(Path(places[0]).absolute().name, _run(places[0]))] if single else architectures(places)
    configs = [override(run.config, overrides, run, ("instruments",)) for _, run in runs]
    check_folder(folder.absolute(), options.force)
    if options.input is not None:
        find(options.input)
    load_execution()
    from rnnlab.instruments.console import console
    from rnnlab.use.inspection import Inspected, OwnFile, Question, compare, look
    from rnnlab.use.inspection_page import PAGE, render, write

    file = None if options.input is None else OwnFile(options.input, options.format)
    allow = trusting(options.allow, overrides)
    question = Question(options.split or "test", options.sequences, allow, options.device, file)
    inspected = [Inspected(name, run, config) for (name, run), config in zip(runs, configs, strict=True)]
    with naming(overrides, runs[0][1]):
        if single:
            inspection = look(inspected[0], question)
        else:
            inspection = compare(inspected, ", ".join(Path(place).absolute().name for place in places), question)
    within = folder.absolute().parent if options.output is None else None
    write(inspection, render(inspection, command), folder.absolute(), within)
    out = console()
    out.say("Inside", inspection.title)
    for name, value in inspection.about if not single else ():
        out.print(f"  {name}: {value}", markup=False)
    for name, value in inspection.facts:
        out.print(f"  {name}: {value}", markup=False)
    for title, reason in inspection.left_out:
        out.print(f"  left out: {title.split(':')[0]} ({reason})", markup=False, style="dim")
    names = [picture.name for picture in inspection.shown]
    out.print(f"{len(names)} pictures: {', '.join(names)}", markup=False)
    out.say("Page  ", shown_path(folder.absolute() / PAGE))
    return 0


def _run(place: str) -> RunDirectory:
    """A trained run, whose history is drawn beside what is inside.

    Raises:
        InputError: as :func:`rnnlab.use.members.trained`, or its metrics are damaged.
    """
    directory = trained(place)
    _ = directory.metrics, directory.epochs
    return directory


def architectures(places: Sequence[str]) -> list[tuple[str, RunDirectory]]:
    """Names and runs side by side: those that are named, and of a sweep the best of each model on validation.

    Where a sweep has one model, the best run of each configuration.

    Raises:
        InputError: a place is neither run nor sweep, no run is done, or runs of different data cannot be compared.
    """
    found: list[tuple[str, RunDirectory]] = []
    for place in places:
        if not is_sweep(place):
            found.append((Path(place).absolute().name, _run(place)))
            continue
        boards = [board for board in boards_of(find_runs([place], DEPTH).records) if board.ranked]
        if not boards:
            raise InputError(f"{place} holds no run that is done: {pasted('report', Path(place))}")
        if len(boards) > 1:
            kinds = ", ".join(f"{board.data} by {board.task}" for board in boards)
            raise InputError(
                f"{place} holds runs of {kinds}, which have no picture in common: name the runs themselves"
            )
        best: dict[str, RunDirectory] = {}
        ranked = boards[0].ranked
        models = {str(group.runs[0].choices.get("model")) for group in ranked}
        for group in ranked:  # the best first
            record = group.best_run
            assert record is not None
            name = str(record.choices.get("model")) if len(models) > 1 else group.name
            best.setdefault(name, RunDirectory(record.path))
        if len(best) > MOST:
            left = ", ".join(list(best)[MOST:])
            print(f"{place}: the best {MOST} of {len(best)} are shown, without {left}")
        found += [(name, _run(str(run.path))) for name, run in list(best.items())[:MOST]]
    if len(found) > MOST:
        raise InputError(f"{len(found)} runs are too many for one picture: name up to {MOST}")
    names = [name for name, _ in found]
    return [
        (name if names.count(name) == 1 else f"{name} ({number + 1})", run) for number, (name, run) in enumerate(found)
    ]
