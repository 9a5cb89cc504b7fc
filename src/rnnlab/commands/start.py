"""``rnnlab start FILE``: what a person's file holds, and the commands to begin with."""

import os
import sys
from pathlib import Path

from rnnlab.commands.arguments import guarded, parser
from rnnlab.errors import InputError
from rnnlab.instruments.console import console
from rnnlab.runs.records import is_sweep
from rnnlab.shell import pasted, shown_path
from rnnlab.start.advice import commands, lines
from rnnlab.start.description import Description
from rnnlab.start.look import look, write
from rnnlab.store.status import STATUS

LABEL = 8


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "start",
        "Looks at a file or a folder of yours (CSV, Parquet, JSON lines, .ts, text, pairs of texts; a folder of texts, "
        "classes, sounds, images or frames), says what it sees, and which commands to begin with.",
    )
    options.add_argument("path", metavar="FILE_OR_FOLDER", help="data of your own")
    options.add_argument("--run", action="store_true", help="run the first command that trains")
    options.add_argument(
        "--write", metavar="NEW", help="write a table in the form in which training reads it, where it has another one"
    )
    given = options.parse_args(arguments)
    new = None if given.write is None else Path(given.write).expanduser()
    return guarded(lambda: start(Path(given.path).expanduser(), given.run, new))


def start(path: Path, run: bool = False, new: Path | None = None) -> int:
    """Prints what a file or a folder holds.

    Args:
        path: of the file or the folder.
        run: the first command that trains.
        new: where a table is written in the form in which training reads it.

    Raises:
        InputError: it cannot be read, there is nothing to be written, or with ``run`` nothing to run.
    """
    _refuse_runs(path)
    found = look(path) if new is None else write(path, new)
    if run and found.original is not None:
        found = write(path, found.path)
    show(path if new is None else new, found)
    if not run:
        return 0
    training = [command for command in commands(found) if command.words[0] == "train"]
    if not training:
        raise InputError(f"{shown_path(path)}: {'; '.join(['nothing to run yet', *found.questions[:1]])}")
    from rnnlab.commands import train

    print(flush=True)
    sys.argv[1:] = training[0].words  # what the run's directory keeps as its command
    return train.main(list(training[0].words[1:]))


def show(path: Path, found: Description) -> None:
    """Prints a description and the commands to begin with."""
    out = console()
    out.print(shown_path(path), style="bold", markup=False)
    for label, text in lines(found):
        out.say(f"{label:{LABEL}}", text)
    chosen = commands(found)
    if chosen:
        out.print("\nBegin with")
    for command in chosen:
        out.print(f"  {pasted(*command.words)}", markup=False, soft_wrap=True)
        out.print(f"      {command.answers}", style="dim", markup=False, soft_wrap=True)


def _refuse_runs(path: Path) -> None:
    if os.path.isfile(path / STATUS):
        raise InputError(
            f"{shown_path(path)} is a run, and no data: {pasted('evaluate', path)} tests it, "
            f"{pasted('predict', path, '--input', 'FILE')} takes new data, {pasted('inspect', path)} looks inside"
        )
    if is_sweep(path):
        raise InputError(f"{shown_path(path)} holds runs, and no data: {pasted('report', path)} compares them")
