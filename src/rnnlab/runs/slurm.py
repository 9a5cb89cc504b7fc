"""What a Slurm cluster's queue says of runs that were handed to it.

A run that was submitted has ``"slurm": {"name": …, "index": …}`` in its
status: the name of the submission, which is given before there is a job of
that name, and its place in the job array. So whoever asks by name finds the
job, also where the process that submitted it was lost in that moment.

``squeue`` knows what waits and runs, ``sacct`` how the rest ended, where the
cluster keeps accounts. submitit asks ``sacct`` alone, and waits for ever where
there are none.
"""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End, note, of_exit
from rnnlab.store.status import State, Status

ANSWER_SECONDS = 60.0
"""How long a command of Slurm's may take; a busy controller needs some."""
REMEMBERED_SECONDS = 5.0
"""How long an answer goes for all runs of a submission."""
ACCOUNTED_SECONDS = 5.0
"""How long the accounts may lag behind the queue."""
ENDED = {
    "CANCELLED": "its Slurm job was cancelled (scancel)",
    "TIMEOUT": "its Slurm job reached its time limit",
    "OUT_OF_MEMORY": "out of memory: Slurm killed it (hydra.launcher.mem_gb)",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "its Slurm job gave way to another",
    "DEADLINE": "its Slurm job reached its deadline",
}


@dataclass(frozen=True)
class Task:
    """A job in the queue.

    Attributes:
        id: as ``scancel`` takes it: ``12_3``, or ``12`` where it is no part of an array.
        state: PENDING, RUNNING, COMPLETING …
        reason: why it waits, in Slurm's word.
    """

    id: str
    state: str
    reason: str


def ask(*command: str) -> str:
    """What a command of Slurm's prints.

    Raises:
        InputError: it is not there, fails or does not answer.
    """
    if shutil.which(command[0]) is None:
        raise InputError(f"there is no {command[0]} on this machine")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} gives no answer") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason given"]
        what = re.sub(r"^(\w+: )?error: ", "", said[0])
        raise InputError(f"{command[0]}: {what}")
    return done.stdout


def partitions() -> list[str]:
    """The names of the cluster's partitions.

    Raises:
        InputError: this is no machine from which jobs are submitted.
    """
    try:
        ask("sbatch", "--version")
    except InputError as error:
        raise InputError(f"hydra/launcher=slurm: {error}: it works where jobs are submitted from") from None
    try:
        return sorted(set(ask("sinfo", "--noheader", "--format=%R").split()))
    except InputError as error:
        raise InputError(f"hydra/launcher=slurm: {error}") from None


def queue(names: Sequence[str]) -> dict[tuple[str, int], Task]:
    """The jobs of submissions that wait or run, by name and index.

    Raises:
        InputError: ``squeue`` gives no answer: what is not in the queue may be in it.
    """
    tasks = {}
    if names:
        wanted = ",".join(dict.fromkeys(names))
        for line in ask("squeue", "--array", "--noheader", f"--name={wanted}", "--format=%F|%K|%T|%r|%j").splitlines():
            number, index, state, reason, name = line.strip().split("|", 4)
            alone = not index.isdigit()
            task = Task(number if alone else f"{number}_{index}", state, reason)
            tasks[name, 0 if alone else int(index)] = task
    return tasks


def accounts(name: str) -> dict[int, tuple[str, str]]:
    """State and exit code, as ``sacct`` has them, of the jobs of a submission; empty where there are no accounts."""
    ended = {}
    with contextlib.suppress(InputError):
        since = "--starttime=now-30days"
        fields = "--format=JobID,State,ExitCode"
        for line in ask("sacct", "-n", "-P", since, f"--name={name}", fields).splitlines():
            number, state, code = line.split("|")[:3]
            job, _, step = number.partition(".")
            index = job.partition("_")[2]
            if index and not index.isdigit():
                continue  # what never ran: 12_[3-7]
            if not step:
                ended[int(index or 0)] = (state.split()[0], code)
            elif step == "0" and not code.endswith(":0"):
                # the job has the exit status of the script around it, the step the signal that killed it
                ended[int(index or 0)] = (ended.get(int(index or 0), ("FAILED", ""))[0], code)
    return ended


_remembered: dict[str, tuple[float, Any]] = {}


def submission(status: Status) -> tuple[str, int] | None:
    """Name and index of the Slurm job that a status belongs to."""
    return (str(status.slurm["name"]), int(status.slurm["index"])) if status.slurm else None


def find(status: Status) -> Task | None:
    """The job of a run, where it waits or runs; asked once for many runs.

    Raises:
        InputError: ``squeue`` gives no answer.
    """
    key = submission(status)
    if key is None or status.state == State.DONE:
        return None
    asked, tasks = _remembered.get(key[0], (0.0, {}))
    if time.monotonic() - asked > REMEMBERED_SECONDS or not asked:
        tasks = queue([key[0]])
        _remembered[key[0]] = (time.monotonic(), tasks)
    return tasks.get(key)


def refuse_what_is_there(directory: RunDirectory) -> None:
    """Raises InputError where a run waits or runs in a queue, or nobody can tell: it must not be executed twice."""
    status = directory.status
    if submission(status) is None or status.state in (State.DONE, State.FAILED):
        return
    try:
        task = find(status)
    except InputError as error:
        raise InputError(
            f"{directory.path} was submitted to Slurm ({status.slurm['name']}), and whether it still waits or runs "
            f"there cannot be told: {error}"
        ) from None
    if task is not None:
        raise InputError(
            f"{directory.path} is in Slurm's queue (job {task.id}, {task.state.lower()}): wait for it, or scancel "
            f"{task.id}, or go on with its sweep with hydra/launcher=slurm"
        )


def forget(directory: RunDirectory) -> None:
    """From now on the run is somebody else's."""
    if submission(directory.status) is not None:
        directory.update_status(slurm=None)


def seen(directory: RunDirectory, status: Status) -> Status:
    """The status of a run that was submitted, by what the queue says; where that gives no answer, its word stands."""
    try:
        task = find(status)
        if task is None:
            return settle(directory)
    except InputError:
        return status
    return status.with_facts(state="queued") if task.state == "PENDING" else status


def settle(directory: RunDirectory) -> Status:
    """Notes the end of a job that could not note it itself; returns the run's status.

    To be called only when the queue does not have the job any more.
    """
    status = directory.status
    key = submission(status)
    if key is None or status.state.is_over:
        return status
    return note(directory, how_it_ended(key, status.state == State.RUNNING))


def how_it_ended(key: tuple[str, int], ran: bool) -> End:
    """State and reason of a job that left the queue without a word."""
    deadline = time.monotonic() + ACCOUNTED_SECONDS
    while True:
        asked, ended = _remembered.get(f"accounts of {key[0]}", (0.0, {}))
        if time.monotonic() - asked > 1 or not asked:
            ended = accounts(key[0])
            _remembered[f"accounts of {key[0]}"] = (time.monotonic(), ended)
        state, code = ended.get(key[1], ("", ""))
        if state not in ("PENDING", "RUNNING", "REQUEUED", "COMPLETING") or time.monotonic() > deadline:
            break
        time.sleep(1)
    if not ran and not state:
        return End("its Slurm job left the queue before it ran", State.INTERRUPTED)
    reason = ENDED.get(state) or _of_code(code)
    interrupted = not ran and state == "CANCELLED"
    return End(reason, State.INTERRUPTED if interrupted else State.FAILED, retriable=state == "OUT_OF_MEMORY")


def _of_code(code: str) -> str:
    """``137:0`` and ``0:9`` are both a SIGKILL: of the process, or of the script around it."""
    if not code:
        return "its Slurm job was killed (there are no accounts, sacct, that say how)"
    status, _, number = code.partition(":")
    killed = int(number or 0) or (int(status) - 128 if status.isdigit() and int(status) > 128 else 0)
    return of_exit(-killed if killed else int(status) if status.isdigit() else None, "its Slurm job").reason
