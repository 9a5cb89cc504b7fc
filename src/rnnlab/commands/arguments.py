"""What the verbs that take a run directory share: errors in one line, exit statuses, trust."""

import argparse
import errno
import gc
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from rnnlab.errors import InputError, Interrupted, RunFailed, of_the_disk, visible
from rnnlab.signals import unmasked

FORMATS = ("csv", "tsv", "jsonl", "parquet", "text", "ts", "mat", "midi", "audio")
"""Of data of one's own."""


class Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the command.

        Raises:
            SystemExit: with status 2.
        """
        left = message.removeprefix("unrecognized arguments: ").split(" ")
        if message.startswith("unrecognized") and is_override(left[0]):
            message = _takes_none(left[0], self.prog)
        print(f"rnnlab: {visible(message)} ({self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def parser(verb: str, description: str) -> Parser:
    """The arguments of ``rnnlab VERB``."""
    return Parser(prog=f"rnnlab {verb}", description=description)


def add_allow(arguments: argparse.ArgumentParser) -> None:
    """Adds ``--allow``, by which a user trusts modules that a run's config names."""
    arguments.add_argument(
        "--allow",
        metavar="MODULE",
        action="append",
        default=[name for name in os.environ.get("RNNLAB_ALLOW_TARGETS", "").split(",") if name],
        help="a module or package of your own that the run's config may build from (again for more; "
        "or RNNLAB_ALLOW_TARGETS=a,b)",
    )


def add_format(arguments: argparse.ArgumentParser) -> None:
    """Adds ``--format``, of a file of one's own."""
    arguments.add_argument(
        "--format",
        metavar="FORMAT",
        choices=FORMATS,
        help=f"of the input, where its name does not say it: {', '.join(FORMATS)}",
    )


def add_device(arguments: argparse.ArgumentParser) -> None:
    """Adds ``--device``: on what a trained network is used."""
    arguments.add_argument(
        "--device", metavar="DEVICE", default="cpu", help="cpu (default), cuda, or auto: a GPU where there is one"
    )


def add_runs(options: argparse.ArgumentParser) -> None:
    """Adds the runs and the overrides, in any order."""
    options.add_argument(
        "arguments",
        metavar="RUN|key=value",
        nargs="+",
        help="a run directory, several, or a sweep's; and what is to be other than in the run's config, such as "
        "data.noise=0.2 or trainer=cpu",
    )


def places_and_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Directories, and what else has the form ``key=value``; a directory may have an equals sign in its name."""
    overrides = [argument for argument in arguments if "=" in argument and not os.path.exists(argument)]
    return [argument for argument in arguments if argument not in overrides], overrides


def is_override(argument: str) -> bool:
    """Whether it can be nothing but ``key=value``."""
    return bool(re.match(r"[+~]{0,2}[A-Za-z][\w/.]*=", argument)) and not os.path.lexists(argument)


def refuse_overrides(verb: str, places: Sequence[str]) -> None:
    """Of a verb that takes directories alone.

    Raises:
        InputError: one is ``key=value``, and no directory.
    """
    for place in filter(is_override, places):
        raise InputError(_takes_none(place, f"rnnlab {verb}"))


def _takes_none(override: str, program: str) -> str:
    return f"{override}: {program} takes no key=value: it takes runs as they were trained"


def trusting(allow: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """What may be built and opened: what the user allows, and a connection for the data where he types so himself."""
    return [
        *allow,
        *(key for override in overrides if (key := override.partition("=")[0].lstrip("+")) == "data.download"),
    ]


def guarded(action: Callable[[], int]) -> int:
    """Runs a verb's action; what ends it on purpose is one line and an exit status."""
    try:
        with unmasked():
            return action()
    except InputError as error:
        print(f"rnnlab: {visible(str(error))}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"rnnlab: failed: {visible(str(error))}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print("\nstopped: the same command goes on", file=sys.stderr)
        return 128 + error.signal_number
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        return refused_by_the_disk(error)


def refused_by_the_disk(error: OSError) -> int:
    """Says in a line which file cannot be read or written, and why; 1 where the disk is full, else 2."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    print(f"rnnlab: {'failed: ' * full}{of_the_disk(error)}", file=sys.stderr)
    return 1 if full else 2


def load_execution() -> ModuleType:
    """Imports what trains: torch, lightning and all behind them.

    While it does, the garbage collector would walk a million new objects again
    and again and find nothing: without it a fifth of the start-up is saved.
    """
    name = "rnnlab.runs.execution"
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.enable()
        gc.freeze()  # modules stay: no later collection need look at them


def existing_directory(path: str) -> Path:
    """A directory that there is.

    Raises:
        InputError: there is none.
    """
    if not Path(path).is_dir():
        raise InputError(f"{path}: there is no such directory")
    return Path(path)
