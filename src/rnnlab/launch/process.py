"""One job in a fresh process: ``python -m rnnlab.launch.process RUN_DIRECTORY ALLOWED_TARGETS_AS_JSON``.

It stops with a checkpoint where the pipe at its standard input is closed,
which is what happens when the process that started it is lost. With
``LOCAL_RANK`` in its environment it is a further process of a data-parallel
job.
"""

import contextlib
import json
import os
import signal
import sys
import threading

from rnnlab.errors import Interrupted
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.provenance import is_first_process
from rnnlab.shell import readable_streams
from rnnlab.signals import guard


def main(path: str, allow: str) -> None:
    """Executes the job; how it went stands in its directory."""
    readable_streams()
    # a terminal sends Ctrl-C to all; the process that leads the sweep decides what it means
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    guard()
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    from rnnlab.launch.job import execute_further_process, execute_job

    if is_first_process():
        with contextlib.suppress(Interrupted, KeyboardInterrupt):
            execute_job(RunDirectory(path), json.loads(allow))
    else:
        execute_further_process(RunDirectory(path), json.loads(allow))


def _stop_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
