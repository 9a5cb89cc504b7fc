"""``rnnlab start FILE``: what a person's file holds, and the commands to begin with."""

import sys
from pathlib import Path

from rnnlab.commands.arguments import guarded, parser
from rnnlab.errors import InputError
from rnnlab.instruments.console import console
from rnnlab.runs.records import is_sweep
from rnnlab.shell import pasted, shown_path
from rnnlab.start.advice import Command, commands, lines
from rnnlab.start.look import look
from rnnlab.store.status import STATUS

LABEL = 8


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "start",
        "Looks at a file or a folder of yours (CSV, Parquet, JSON lines, .ts, text; a folder of texts or of classes), "
        "says what it sees, and which commands to begin with.",
    )
    options.add_argument("path", metavar="FILE_OR_FOLDER", help="data of your own")
    options.add_argument("--run", action="store_true", help="run the first command")
    given = options.parse_args(arguments)
    return guarded(lambda: start(Path(given.path).expanduser(), given.run))


def start(path: Path, run: bool = False) -> int:
    """Prints what a file or a folder holds; perhaps runs the first command.

    Raises:
        InputError: it cannot be read, or with ``run`` there is nothing to run.
    """
    _refuse_runs(path)
    found = look(path)
    out = console()
    out.print(shown_path(path), style="bold", markup=False)
    for label, text in lines(found):
        out.say(f"{label:{LABEL}}", text)
    chosen = commands(found)
    if not chosen:
        if run:
            raise InputError(f"{shown_path(path)}: nothing to run yet: {'; '.join(found.questions[:1])}")
        return 0
    out.print("\nBegin with")
    for command in chosen:
        out.print(f"  {pasted(*command.words)}", markup=False, soft_wrap=True)
        out.print(f"      {command.answers}", style="dim", markup=False, soft_wrap=True)
    return _run(chosen[0]) if run else 0


def _refuse_runs(path: Path) -> None:
    if (path / STATUS).is_file():
        raise InputError(
            f"{shown_path(path)} is a run, and no data: {pasted('evaluate', path)} tests it, "
            f"{pasted('predict', path, '--input', 'FILE')} takes new data, {pasted('inspect', path)} looks inside"
        )
    if is_sweep(path):
        raise InputError(f"{shown_path(path)} holds runs, and no data: {pasted('report', path)} compares them")


def _run(command: Command) -> int:
    from rnnlab.commands import train

    print(flush=True)
    sys.argv[1:] = command.words  # what the run's directory keeps as its command
    return train.main(list(command.words[1:]))
