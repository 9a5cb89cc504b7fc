"""``rnnlab resume DIR``: goes on where a run or a sweep was stopped."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import InputError, nearest
from rnnlab.runs.budget import KEYS
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.provenance import is_first_process
from rnnlab.runs.slurm import refuse_what_is_there
from rnnlab.runs.sweep import is_sweep
from rnnlab.shell import pasted
from rnnlab.store.status import State


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "resume",
        "Goes on with a run or a sweep that was stopped, killed or failed, from its last checkpoints. "
        "Overrides add jobs to a sweep (rnnlab resume SWEEP 'seed=range(5,10)') or let a run train longer "
        "(rnnlab resume RUN trainer.max_epochs=60).",
    )
    options.add_argument("directory", metavar="DIR", help="a run or a sweep directory")
    options.add_argument(
        "overrides",
        metavar="OVERRIDE",
        nargs="*",
        help="of a sweep: jobs to add to it, or how it goes on (hydra/launcher=local, sweep.retries=1); of a run: how "
        "long it trains in all (trainer.max_epochs=60, trainer.max_steps=5000, early_stopping.patience=40)",
    )
    options.add_argument("--force", action="store_true", help="though the sweep's code or configs have changed since")
    add_allow(options)
    given = options.parse_intermixed_args(arguments)
    return guarded(lambda: resume(given.directory, given.allow, given.overrides, given.force))


def resume(path: str, allow: Sequence[str] = (), overrides: Sequence[str] = (), force: bool = False) -> int:
    """Goes on with a run or a sweep; what is done is left as it is.

    Raises:
        InputError: it is neither, it is running, or its files do not fit.
    """
    if is_sweep(path):
        from rnnlab.commands.resumption import resume_sweep

        return resume_sweep(path, overrides, allow, force)
    directory = RunDirectory.open(path)
    longer = _longer(overrides, path)
    if directory.status.state == State.DONE and not longer:
        print(f"{path} is done: there is nothing to go on with ({pasted('evaluate', Path(path))})")
        return 0
    with directory.locked():
        refuse_what_is_there(directory)
        status = directory.status
        if directory.is_alive and is_first_process():  # on a file system that has no locks
            raise InputError(f"{path} is running (process {status.pid} on {status.host}): wait for it or stop it")
        config = directory.config
        execution = load_execution()
        from rnnlab.commands.outcome import print_outcome
        from rnnlab.launch.job import logged

        # a further process of a data-parallel run leaves the log to the first one
        with logged([directory]) if is_first_process() else contextlib.nullcontext(), execution.noted():
            outcome = execution.execute(directory, config, resume=True, allow=list(allow), longer=longer)
        if is_first_process():
            print_outcome(outcome)
    return 0


def _longer(overrides: Sequence[str], path: str) -> dict[str, Any]:
    """How long a run is to train from now on, by dotted key.

    Raises:
        InputError: another key, or a value that is none.
    """
    longer: dict[str, Any] = {}
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        if key not in KEYS:
            hint = nearest(key, KEYS)
            raise InputError(
                f"{override}: {path} is a run, whose config stays but for how long it trains "
                f"({', '.join(f'{name}=…' for name in KEYS)}){hint}"
            )
        if text in ("null", "auto"):
            longer[key] = None if text == "null" else text
        elif text.isdigit():
            longer[key] = int(text)
        else:
            raise InputError(f"{override}: must be a whole number")
    return longer
