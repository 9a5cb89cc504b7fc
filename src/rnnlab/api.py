"""rnnlab in Python, for notebooks and scripts: the same configs, directories and numbers as on the command line.

::

    import rnnlab

    run = rnnlab.train("model=lstm", "data=sine", **{"model.hidden_size": 32})
    run.metrics["test/mse"], run.history, run.plot()
"""

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import polars as pl

from rnnlab.commands.composition import plain
from rnnlab.commands.sweep_settings import checked
from rnnlab.commands.train import Command
from rnnlab.errors import InputError, Interrupted
from rnnlab.results import Run, Sweep
from rnnlab.shell import standing_for
from rnnlab.signals import unmasked

one_at_a_time = threading.RLock()
"""Random numbers, Hydra's config and the threads of torch belong to the process: a further call waits."""


def train(*overrides: str, config_dir: str | Path | None = None, **keys: Any) -> Run:
    """Trains one run, as ``rnnlab train`` does, and returns it.

    Args:
        overrides: as on the command line: ``"model=lstm"``, ``"data.length=100"``.
        config_dir: of configs of your own.
        keys: the same as ``key=value``; those with a dot as ``**{"model.hidden_size": 32}``. A text is a text whatever
            it holds, ``None`` is ``null``, lists and mappings are what they are.

    Raises:
        InputError: in one line, naming the key, before any training.
        RunFailed: it could not go on.
        KeyboardInterrupt: it was stopped, and its last line said how it goes on.
    """
    lines = as_overrides(overrides, keys)
    with _as_a_command("train", lines, config_dir):
        command = Command.compose(lines, _text(config_dir))
        if command.is_sweep:
            raise InputError("several values make a sweep: rnnlab.sweep(…)")
        return Run(command.run().directory.path)


def sweep(*overrides: str, config_dir: str | Path | None = None, **keys: Any) -> Sweep:
    """Trains many runs, as ``rnnlab train -m`` does, and compares them.

    Args:
        overrides: as on the command line: ``"model=rnn,gru"``, ``"seed=range(3)"``, ``"hydra/launcher=local"``.
        config_dir: of configs of your own.
        keys: the same as ``key=value``; a list, tuple or range holds the values to go over: ``model=["rnn", "gru"],
            seed=range(3)``.

    Raises:
        InputError: in one line, before the first job.
        KeyboardInterrupt: it was stopped; :func:`resume` goes on.
    """
    lines = as_overrides(overrides, keys, swept=True)
    with _as_a_command("train -m", lines, config_dir):
        command = Command.compose(lines, _text(config_dir), multirun=True)
        if checked(command.config).get("dry_run", False):
            raise InputError("sweep.dry_run=true: only the command line can leave a sweep untrained: rnnlab train -m …")
        command.sweep()
        return Sweep(Path(command.config.hydra.sweep.dir))


def resume(place: str | Path | Run | Sweep, *overrides: str, allow: Sequence[str] = (), **keys: Any) -> Run | Sweep:
    """Goes on with a run or a sweep that was stopped, as ``rnnlab resume`` does.

    Args:
        place: its directory, or what :func:`train` or :func:`sweep` returned.
        overrides: for a run how long it trains in all (``"trainer.max_epochs=60"``), for a sweep jobs to add.
        allow: modules of your own that its config may build from.
        keys: the same as ``key=value``.

    Raises:
        InputError: it is neither, or another process is at work in it.
        RunFailed: it could not go on.
    """
    from rnnlab.commands.resume import resume as go_on
    from rnnlab.runs.sweep import is_sweep

    path = Path(place.path if isinstance(place, Run | Sweep) else place)
    many = is_sweep(str(path))
    lines = as_overrides(overrides, keys, swept=many)
    with _as_a_command(f"resume {path}", lines, None):
        go_on(str(path), list(allow), lines)
        return Sweep(path) if many else Run(path)


def compose(*overrides: str, config_dir: str | Path | None = None, **keys: Any) -> dict[str, Any]:
    """The config that :func:`train` would train, as plain dictionaries and lists; imports no torch.

    Raises:
        InputError: in one line, naming the key.
    """
    lines = as_overrides(overrides, keys)
    with _as_a_command("train", lines, config_dir):
        return plain(Command.compose(lines, _text(config_dir)).config)


def report(*places: str | Path, output: str | Path | None = None) -> pl.DataFrame:
    """Compares runs and sweeps, as ``rnnlab report`` does: prints, writes leaderboard.csv and report.html.

    Args:
        places: runs, sweeps, or directories that hold them.
        output: where the files go; the first place by default.

    Returns:
        The leaderboard, a row a configuration, the best first.

    Raises:
        InputError: there is no run.
    """
    from rnnlab.commands.report import print_leaderboard
    from rnnlab.results import leaderboard

    if not places:
        raise InputError("give a run, a sweep, or a directory that holds them")
    print_leaderboard([str(place) for place in places], None if output is None else str(output))
    return leaderboard(places)


# ---- values as overrides ----------------------------------------------------------------------------


def as_overrides(overrides: Sequence[str], keys: Mapping[str, Any], swept: bool = False) -> list[str]:
    """Overrides in Hydra's grammar.

    Args:
        overrides: as they are.
        keys: values by key.
        swept: a list, tuple or range is the values of a sweep, not one value.

    Raises:
        InputError: an override is no text, or a value nothing that a config can hold.
    """
    for override in overrides:
        if not isinstance(override, str):
            raise InputError(f"{override!r}: an override is a text such as 'model=lstm'")
    lines = list(overrides)
    for key, value in keys.items():
        if swept and isinstance(value, list | tuple | range):
            if not len(value):
                raise InputError(f"{key}={value!r}: there are no values to go over")
            lines.append(f"{key}={','.join(_written(each, key) for each in value)}")
        else:
            lines.append(f"{key}={_written(value, key)}")
    return lines


def _written(value: Any, key: str) -> str:
    """A value of Python in the grammar of overrides."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy's or torch's
        value = value.item()
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() | PurePath():
            return _quoted(str(value))
        case list() | tuple() | range():
            return f"[{','.join(_written(each, key) for each in value)}]"
        case Mapping():
            pairs = [f"{re.sub(_SPECIAL, _ESCAPED, str(name))}:{_written(each, key)}" for name, each in value.items()]
            return "{" + ",".join(pairs) + "}"
    raise InputError(f"{key}={value!r}: a config holds numbers, texts, lists and mappings, no {type(value).__name__}")


_SPECIAL, _ESCAPED = r"([\\()\[\]{}:=,\s])", r"\\\1"
"""Signs in a mapping's key that mean something in the grammar, and how they are written there."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def _quoted(text: str) -> str:
    """A text that stays one, even ``null``, ``1e3`` or ``a,b``; a plain word, such as a choice, is as it is."""
    word = set(text) <= _PLAIN and text[:1].isalpha() and text.lower() not in ("null", "true", "false", "nan", "inf")
    if word:
        return text
    slashes = len(text) - len(text.rstrip("\\"))
    return "'" + text.replace("\\'", "\\\\'").replace("'", "\\'") + "\\" * slashes + "'"


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


# ---- one call --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _as_a_command(verb: str, lines: Sequence[str], config_dir: str | Path | None) -> Iterator[None]:
    """What a process of its own would give to a command, and take away with it."""
    chosen = [] if config_dir is None else ["--config-dir", str(config_dir)]
    root = logging.getLogger()
    with one_at_a_time, standing_for(["rnnlab", *verb.split(), *chosen, *lines]):
        level, handlers, errors = root.level, list(root.handlers), os.environ.get("HYDRA_FULL_ERROR")
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it would print, and exit
        try:
            with unmasked():
                yield
        except Interrupted:
            raise KeyboardInterrupt("stopped; rnnlab.resume(…) goes on") from None
        finally:
            for handler in root.handlers:
                if handler not in handlers:
                    handler.close()
            root.setLevel(level)
            root.handlers[:] = handlers
            os.environ.pop("HYDRA_FULL_ERROR")
            if errors is not None:
                os.environ["HYDRA_FULL_ERROR"] = errors
