"""What a job does on a node of a Slurm cluster."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from rnnlab.errors import InputError, Interrupted
from rnnlab.runs import slurm
from rnnlab.runs.directory import RunDirectory


def work(path: str, allow: Sequence[str] | None, name: str, max_requeues: int) -> None:
    """One task of a job: the run itself, or a further process of a data-parallel one.

    Args:
        path: of the run directory.
        allow: see :func:`rnnlab.runs.build.build`.
        name: of the submission; a run that belongs to another by now is left alone.
        max_requeues: how often the job may queue again because its time is over.
    """
    directory = RunDirectory(path)
    of = directory.status.slurm
    if of.get("name") != name:
        print(f"{path} belongs to {of.get('name', 'nobody')} by now: nothing to do")
        return
    import submitit

    # before the time is over, and on some clusters when another job needs the place
    notice = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
    noticed: list[int] = []

    def stop(number: int, frame: Any) -> None:
        noticed.append(number)
        os.kill(os.getpid(), signal.SIGTERM)

    with _handled(notice, stop):
        from rnnlab.launch.job import execute_further_process, execute_job

        if os.environ.get("SLURM_PROCID", "0") != "0":
            execute_further_process(directory, allow)
            return
        directory.update_status(slurm={**of, "job": _job_id()})
        try:
            execute_job(directory, allow)
        except KeyboardInterrupt:
            return
        except Interrupted as interrupted:
            if interrupted.signal_number == signal.SIGTERM:
                _queue_again(directory, bool(noticed), max_requeues)


@contextlib.contextmanager
def _handled(notice: int, handler: Any) -> Iterator[None]:
    """Takes over submitit's signals: it ignores the one and ends the process in the middle of a step at the other."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    before = signal.signal(notice, handler)
    try:
        yield
    finally:
        signal.signal(notice, before)


def _job_id() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID", "")


def _queue_again(directory: RunDirectory, noticed: bool, max_requeues: int) -> None:
    """Gives the job a further turn where its time is over or it gave way, and none where somebody cancelled it."""
    job = _job_id()
    try:
        about = dict(re.findall(r"(\w+)=(\S+)", slurm.ask("scontrol", "--oneliner", "show", "job", job)))
    except InputError as error:
        directory.update_status(reason=f"stopped by a signal; not queued again: {error}")
        return
    of = directory.status.slurm
    gave_way = about.get("PreemptTime", "None") not in ("None", "N/A")
    # another state is of a job that was cancelled, or that Slurm has put back into its queue by itself
    if about.get("JobState") != "RUNNING" or not (gave_way or noticed):
        return
    time_outs = of.get("time_outs", 0) + (not gave_way)
    if time_outs > max_requeues:
        reason = f"its time was over {time_outs} times (hydra.launcher.max_requeues={max_requeues}): resume goes on"
        directory.update_status("failed", reason=reason)
        return
    why = "gave way to another job" if gave_way else "its time was over"
    directory.update_status("queued", reason=f"{why}; it waits for its next turn", slurm={**of, "time_outs": time_outs})
    try:
        slurm.ask("scontrol", "requeue", job)
    except InputError as error:
        directory.update_status("interrupted", reason=f"{why}; it cannot be queued again: {error}")
