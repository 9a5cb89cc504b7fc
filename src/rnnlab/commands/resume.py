"""``rnnlab resume DIR``: goes on where a run or a sweep was stopped."""

from collections.abc import Sequence
from pathlib import Path

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory, is_first_process
from rnnlab.runs.slurm import refuse_what_is_there
from rnnlab.runs.sweep import is_sweep
from rnnlab.shell import pasted
from rnnlab.store.status import State


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "resume",
        "Goes on with a run or a sweep that was stopped, killed or failed, from its last checkpoints. "
        "Overrides add jobs to a sweep: rnnlab resume SWEEP 'seed=range(5,10)'.",
    )
    options.add_argument("directory", metavar="DIR", help="a run or a sweep directory")
    options.add_argument(
        "overrides",
        metavar="OVERRIDE",
        nargs="*",
        help="of a sweep: jobs to add to it, or how it goes on (hydra/launcher=local, sweep.retries=1)",
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
        from rnnlab.commands.sweep import resume_sweep

        return resume_sweep(path, overrides, allow, force)
    directory = RunDirectory.open(path)
    if overrides:
        raise InputError(f"{overrides[0]}: overrides add jobs to a sweep, and {path} is a run, whose config stays")
    if directory.status.state == State.DONE:
        print(f"{path} is done: there is nothing to go on with ({pasted('evaluate', Path(path))})")
        return 0
    with directory.locked():
        refuse_what_is_there(directory)
        status = directory.status
        if directory.is_alive and is_first_process():  # on a file system that has no locks
            raise InputError(f"{path} is running (process {status.pid} on {status.host}): wait for it or stop it")
        execution = load_execution()
        from rnnlab.commands.outcome import print_outcome

        outcome = execution.execute(directory, directory.config, resume=True, allow=list(allow))
        if is_first_process():
            print_outcome(outcome)
    return 0
