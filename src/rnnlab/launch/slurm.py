"""Jobs on a Slurm cluster, in job arrays that submitit submits."""

import contextlib
import re
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
from rnnlab.instruments.console import console
from rnnlab.launch.launcher import Attempt, LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.slurm_node import work
from rnnlab.ranges import Harmless, NonNegativeInt, PositiveFloat, PositiveInt
from rnnlab.runs import slurm
from rnnlab.runs.ending import End, status_of
from rnnlab.shell import pasted
from rnnlab.store.clock import now
from rnnlab.store.status import State

FOLDER = "slurm"
"""Below the sweep's directory: what submitit writes, and what the jobs print."""
TICK = 1.0  # seconds between two looks at the run directories
QUERY_SECONDS = 10.0  # between two questions to the queue, which many share
KILL_SECONDS = 20.0  # for a job that is killed to be gone

Word = Annotated[str, Harmless(), StringConstraints(pattern=r"^[\w.,@+:-]+$")]
"""What Slurm calls something; no line of a script can follow it."""


class Slurm(Launcher):
    """Job arrays on a Slurm cluster; the run directories lie where all its nodes see them.

    Nodes and tasks of a job come from its ``trainer.num_nodes`` and
    ``trainer.devices``. Before its time is over, or when it has to give way
    to another, a job writes a checkpoint and queues again. It goes on where
    the process that leads the sweep is lost, and ``rnnlab resume`` finds it.

    Args:
        partition: where the jobs go; null: the cluster's default.
        account: that is charged.
        qos: quality of service.
        time_minutes: limit of a job; what takes longer goes on in a further turn.
        signal_seconds: before this limit a job is asked to write its checkpoint.
        max_requeues: further turns of a job.
        cpus_per_task: cores of each process, and its threads.
        mem_gb: memory of a node; null: the cluster's default.
        gpus_per_node: ``auto``: ``trainer.devices`` of them where ``trainer.accelerator`` is ``gpu``, else none.
        array_parallelism: jobs at a time.
        setup: lines of the shell before a job starts, such as ``module load python``.
        additional_parameters: of ``sbatch``: ``{constraint: a100}``.
        wait: false: the command ends when the jobs are submitted.
    """

    adopts = "slurm"

    def __init__(
        self,
        partition: Word | None = None,
        account: Word | None = None,
        qos: Word | None = None,
        time_minutes: PositiveInt = 60,
        signal_seconds: PositiveInt = 90,
        max_requeues: NonNegativeInt = 10,
        cpus_per_task: PositiveInt = 1,
        mem_gb: PositiveFloat | None = None,
        gpus_per_node: NonNegativeInt | Literal["auto"] = "auto",
        array_parallelism: PositiveInt = 256,
        setup: list[str] | None = None,
        additional_parameters: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> None:
        need("slurm", "submitit", "hydra/launcher=slurm")
        if signal_seconds >= time_minutes * 60:
            raise InputError(
                f"hydra.launcher.signal_seconds={signal_seconds}: must be below the limit itself, "
                f"hydra.launcher.time_minutes={time_minutes}, which is {time_minutes * 60} s"
            )
        self.partition, self.account, self.qos = partition, account, qos
        self.time_minutes, self.signal_seconds, self.max_requeues = time_minutes, signal_seconds, max_requeues
        self.cpus_per_task, self.mem_gb, self.gpus_per_node = cpus_per_task, mem_gb, gpus_per_node
        self.array_parallelism, self.setup = array_parallelism, list(setup or ())
        self.additional_parameters = dict(additional_parameters or {})
        self.leaves = not wait

    # ---- before the first job -----------------------------------------------------------------------

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        partitions = slurm.partitions()
        if self.partition is not None:
            for wanted in self.partition.split(","):
                if wanted not in partitions:
                    raise InputError(
                        f"hydra.launcher.partition={wanted}: no such partition{nearest(wanted, partitions)} "
                        f"(there are {', '.join(partitions)})"
                    )
        shapes = by_shape(jobs, self.gpus_per_node)
        from rnnlab.launch import preload  # noqa: F401 (torch, fast)
        from rnnlab.launch.check import check_jobs

        path = settings.path
        check_jobs([(job.name, job.config) for job in jobs], path, settings.allow, elsewhere=True, nodes=True)
        for shape in shapes:
            self._test(shape)
        try:
            slurm.ask("sacct", "-X", "-n", "--starttime=now")
        except InputError as error:
            console().print(
                f"no accounts ({error}): of a job that is killed only squeue tells, that it is gone but not why",
                markup=False,
            )

    def _parameters(self, shape: tuple[int, int, int], name: str) -> dict[str, Any]:
        """For submitit, in the words of ``sbatch``."""
        nodes, tasks, gpus = shape
        memory = {} if self.mem_gb is None else {"mem": f"{round(self.mem_gb * 1024)}M"}
        parameters = {
            "job_name": name,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.time_minutes,
            "signal_delay_s": self.signal_seconds,
            "nodes": nodes,
            "ntasks_per_node": tasks,
            "cpus_per_task": self.cpus_per_task,
            "gpus_per_node": gpus or None,
            **memory,
            "array_parallelism": self.array_parallelism,
            "setup": [*self.setup, f"export OMP_NUM_THREADS={self.cpus_per_task}"],
            # srun does not take the cores over from sbatch since Slurm 22.05; who loses a process loses the job
            "srun_args": [f"--cpus-per-task={self.cpus_per_task}", "--kill-on-bad-exit=1"],
            "additional_parameters": {"requeue": True, **self.additional_parameters},
        }
        return {key: value for key, value in parameters.items() if value is not None}

    def _test(self, shape: tuple[int, int, int]) -> None:
        """Has Slurm look at what would be submitted.

        Raises:
            InputError: it would refuse it.
        """
        with tempfile.TemporaryDirectory() as folder:
            executor = self._executor(Path(folder), shape, "rnnlab")
            script = Path(folder) / "script"
            # submitit writes a script only to submit it; private, so that Slurm may be asked before
            script.write_text(executor._make_submission_file_text("true", ""), encoding="utf-8")
            try:
                slurm.ask("sbatch", "--test-only", str(script))
            except InputError as error:
                raise InputError(f"hydra/launcher=slurm: Slurm refuses such a job: {error}") from None

    def _executor(self, folder: Path, shape: tuple[int, int, int], name: str) -> Any:
        import submitit

        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(**self._parameters(shape, name))
        return executor

    # ---- the jobs -----------------------------------------------------------------------------------

    @property
    def room(self) -> None:
        return None

    def adopt(self, jobs: Sequence[LaunchedJob], stop: Stop) -> list[Attempt]:
        self._tasks: dict[tuple[str, int], slurm.Task] = {}
        self._asked, self._waits, self._killed_at, self._hurries = 0.0, "", 0.0, False
        keys = {job.name: slurm.submission(job.directory.status) for job in jobs}
        there = slurm.queue([key[0] for key in keys.values() if key])
        attempts = [
            Attempt([job], key)
            for job in jobs
            # what was there when the sweep was looked through may be done by now
            if (key := keys[job.name]) and (key in there or job.directory.status.state == State.DONE)
        ]
        if attempts:
            console().print(f"Slurm has {len(attempts)} in its queue already", markup=False)
        return attempts

    def leave(self, attempts: Sequence[Attempt], settings: Settings) -> None:
        path = settings.path
        names = ",".join(sorted({attempt.handle[0] for attempt in attempts}))
        console().print(f"look at them: {pasted('report', path)}\n              squeue --name={names}", markup=False)
        console().print(f"wait for them: {pasted('resume', path, *settings.resume)}", markup=False)

    def start(self, parts: Sequence[list[LaunchedJob]], settings: Settings) -> list[Attempt]:
        most = _array_size()
        attempts: list[Attempt] = []
        for shape, alike in by_shape([job for part in parts for job in part], self.gpus_per_node).items():
            for first in range(0, len(alike), most):
                attempts += self._submit(shape, alike[first : first + most], settings)
        submitted = sum(not attempt.refused for attempt in attempts)
        console().print(f"{submitted} submitted to Slurm", markup=False)
        return attempts

    def _submit(self, shape: tuple[int, int, int], jobs: Sequence[LaunchedJob], settings: Settings) -> list[Attempt]:
        """Submits one array."""
        from rnnlab.launch.job import begin_anew

        path = settings.path
        # the runs know the name before Slurm does, so that no moment is left in which a job runs unknown
        name = f"rnnlab-{re.sub(r'[^A-Za-z0-9.-]+', '-', path.name)}-{uuid.uuid4().hex[:8]}"
        for index, job in enumerate(jobs):
            begin_anew(job.directory)
            of = {"name": name, "index": index, "time_outs": 0}
            job.directory.update_status("queued", slurm=of, reason=None, submitted=now())
        if (path / FOLDER).is_symlink():
            raise InputError(f"{path / FOLDER} is a link: nothing is written where it leads; take it away")
        executor = self._executor(path / FOLDER, shape, name)
        (path / FOLDER).mkdir(exist_ok=True)
        try:
            with executor.batch():
                for job in jobs:
                    executor.submit(work, str(job.directory.path), settings.allow, name, self.max_requeues)
        except Exception as error:
            if type(error).__module__.split(".")[0] != "submitit":
                raise
            lines = [line for line in str(error).splitlines() if "sbatch:" in line] or str(error).splitlines()
            for job in jobs:
                job.directory.update_status(slurm=None)
            return [Attempt([job], refused=f"Slurm refused it: {lines[0].split('error: ')[-1]}") for job in jobs]
        return [Attempt([job], (name, index)) for index, job in enumerate(jobs)]

    def poll(self, attempts: Sequence[Attempt]) -> dict[Attempt, End | None]:
        fresh = time.monotonic() - self._asked > QUERY_SECONDS or self._hurries
        if fresh:
            try:
                self._tasks = slurm.queue([attempt.handle[0] for attempt in attempts])
            except InputError as error:  # a controller that rests for a moment: what is not known is not gone
                fresh, waits = False, f"{error}: asking again"
            else:
                waits = _why_they_wait([self._tasks[a.handle] for a in attempts if a.handle in self._tasks])
            self._asked = time.monotonic()
            if waits != self._waits:
                self._waits = waits
                console().print(waits or "Slurm answers, and its queue goes on", markup=False)
        ended: dict[Attempt, End | None] = {
            attempt: self._end(attempt) for attempt in attempts if self._rests(attempt, fresh)
        }
        if self._killed_at and time.monotonic() - self._killed_at > KILL_SECONDS:
            return dict.fromkeys(attempts, None) | ended  # Slurm will not let go of them; resume looks again
        if len(ended) < len(attempts):
            time.sleep(TICK)
        return ended

    def _rests(self, attempt: Attempt, fresh: bool) -> bool:
        """Whether a job has ended; one that is interrupted may be about to queue again."""
        with contextlib.suppress(InputError):
            if attempt.jobs[0].directory.status.state in (State.DONE, State.FAILED):
                return True  # it may have become so before this looked at the queue
        return fresh and attempt.handle not in self._tasks

    def _end(self, attempt: Attempt) -> End:
        directory = attempt.jobs[0].directory
        state = status_of(directory).state
        if state == State.QUEUED and attempt.stop_requests:  # taken out of the queue by us
            directory.update_status(slurm=None)
            return End("taken out of Slurm's queue")
        return End("") if state.is_over else slurm.how_it_ended(attempt.handle, state == State.RUNNING)

    def stop(self, attempts: Sequence[Attempt], at_once: bool) -> None:
        self._hurries = True
        if at_once:
            self._killed_at = self._killed_at or time.monotonic()
        waiting, running = list[str](), list[str]()
        for attempt in attempts:
            task = self._tasks.get(attempt.handle)
            if task is not None and (not attempt.stop_requests or at_once):
                (running if task.state == "RUNNING" else waiting).append(task.id)
                attempt.stop_requests = 1
        # SIGINT asks for a checkpoint and no further turn; SIGTERM may be of one that has to give way
        to_running = ("--full", "--signal=KILL") if at_once else ("--signal=INT",)
        for ids, how in ((waiting, ()), (running, to_running)):
            if ids:
                with contextlib.suppress(InputError):  # it has just ended
                    slurm.ask("scancel", *how, *ids)


def by_shape(
    jobs: Sequence[LaunchedJob], gpus_per_node: int | Literal["auto"]
) -> dict[tuple[int, int, int], list[LaunchedJob]]:
    """Jobs by nodes, tasks and GPUs of each node: all of an array have the same."""
    shapes = defaultdict(list)
    for job in jobs:
        trainer = job.config["trainer"]
        nodes, devices = trainer.get("num_nodes", 1), trainer.get("devices", 1)
        if not isinstance(devices, int):
            raise InputError(f"trainer.devices={devices}: with hydra/launcher=slurm it must be a number")
        on_gpu = trainer.get("accelerator") in ("gpu", "cuda")
        if on_gpu and gpus_per_node == 0:
            raise InputError("trainer.accelerator=gpu: hydra.launcher.gpus_per_node=0 asks Slurm for none; type auto")
        gpus = (devices if on_gpu else 0) if gpus_per_node == "auto" else gpus_per_node
        shapes[nodes, devices, gpus].append(job)
    return shapes


def _array_size() -> int:
    """How many jobs an array may have."""
    with contextlib.suppress(InputError):
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", slurm.ask("scontrol", "show", "config"))
        if found:
            return max(1, int(found[1]) - 1)
    return 1000


USUAL = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Dependency")


def _why_they_wait(tasks: Sequence[slurm.Task]) -> str:
    """What a person should know of jobs that may wait for ever; empty where all is as usual."""
    reasons = sorted({task.reason for task in tasks if task.state == "PENDING" and task.reason not in USUAL})
    return f"in Slurm's queue jobs wait for: {', '.join(reasons)}" if reasons else ""
