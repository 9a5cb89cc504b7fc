"""``rnnlab resume RUN``: goes on where a run was stopped."""

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser("resume", "Goes on with a run that was stopped, killed or failed, from its last checkpoint.")
    options.add_argument("run", metavar="RUN", help="a run directory")
    add_allow(options)
    given = options.parse_args(arguments)
    return guarded(lambda: resume(given.run, given.allow))


def resume(path: str, allow: list[str]) -> int:
    """Goes on with a run; one that is done is left as it is.

    Raises:
        InputError: it is no run, it is running, or its files do not fit.
    """
    directory = RunDirectory.open(path)
    status = directory.status
    if status["state"] == "done":
        print(f"{path} is done: there is nothing to go on with (rnnlab evaluate {path})")
        return 0
    if directory.is_alive:
        raise InputError(f"{path} is running (process {status['pid']} on {status['host']}): wait for it or stop it")
    execution = load_execution()
    from rnnlab.commands.outcome import print_outcome

    print_outcome(execution.execute(directory, directory.config, resume=True, allow=allow))
    return 0
