"""Jobs on a Ray cluster, each in a fresh process."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from rnnlab.errors import InputError, RunFailed
from rnnlab.extras import need
from rnnlab.launch.launcher import Attempt, LaunchedJob, Launcher, Settings, Stop
from rnnlab.ranges import NonNegativeFloat, PositiveInt
from rnnlab.runs.ending import End, of_exit
from rnnlab.store.ledger import COMMAND

TICK = 0.25  # seconds between two looks at what was asked
ORPHAN_SECONDS = 30.0  # for a job of a process that was lost to write its checkpoint, on another machine


class Ray(Launcher):
    """Tasks on a Ray cluster whose machines all see the sweep's directory.

    Each job is a process that a Ray worker starts: it has its own threads, is
    asked to write a checkpoint where its task is cancelled or its worker is
    lost, and harms nobody where it is killed.

    Args:
        address: ``auto`` is the cluster that this machine belongs to (or ``RAY_ADDRESS``), ``HOST:PORT`` another,
            ``local`` one that lasts as long as the sweep.
        num_cpus: of each job, and its threads.
        num_gpus: of each job; a fraction shares one.
    """

    def __init__(self, address: str = "auto", num_cpus: PositiveInt = 1, num_gpus: NonNegativeFloat = 0) -> None:
        need("ray", "ray", "hydra/launcher=ray")
        self.address, self.num_cpus, self.num_gpus = address, num_cpus, num_gpus

    # ---- before the first job -----------------------------------------------------------------------

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        from rnnlab.launch import preload  # noqa: F401 (torch, fast)
        from rnnlab.launch.check import check_jobs

        path = settings.path
        elsewhere = self.address != "local"
        check_jobs([(job.name, job.config) for job in jobs], path, settings.allow, elsewhere=elsewhere)
        self._join()
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        if not any(all(node["Resources"].get(kind, 0) >= n for kind, n in wanted.items()) for node in nodes):
            most = {kind: max(node["Resources"].get(kind, 0) for node in nodes) for kind in wanted}
            raise InputError(
                f"hydra.launcher.num_cpus={self.num_cpus} num_gpus={self.num_gpus:g}: no machine of the Ray cluster "
                f"has as many (at most {most['CPU']:g} CPUs, {most['GPU']:g} GPUs)"
            )
        self._check_disk(nodes, str(path / COMMAND))

    def _join(self) -> None:
        """Joins the cluster, or starts one.

        Raises:
            InputError: there is none.
            RunFailed: it did not start in time.
        """
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if self.address == "local":
                ray.init(address="local", include_dashboard=False, **quiet)
            else:
                ray.init(address=self.address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"hydra.launcher.address={self.address}: no Ray cluster answers there "
                f"({' '.join(str(error).split())[:150]}); start one (ray start --head), give its token "
                "(RAY_AUTH_MODE=token), or type address=local"
            ) from None
        except Exception as error:  # noqa: BLE001 (Ray raises a plain one where a machine is too busy to start it in time)
            ray.shutdown()
            raise RunFailed(
                f"hydra.launcher.address={self.address}: Ray did not start ({' '.join(str(error).split())[:150]}): try "
                "again when the machine is less busy, or use hydra/launcher=local"
            ) from None

    def _check_disk(self, nodes: Sequence[dict[str, Any]], path: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        seen = _sees()
        there = {
            node["NodeManagerHostname"]: ray.remote(num_cpus=0, max_retries=0)(seen)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote(path)
            for node in nodes
        }
        blind = [host for host, answer in there.items() if not ray.get(answer)]
        if blind:
            raise InputError(
                f"{os.path.dirname(path)} is not there on {', '.join(blind)}: choose a hydra.sweep.dir on a disk that "
                "all machines of the Ray cluster share"
            )

    # ---- the jobs -----------------------------------------------------------------------------------

    @property
    def room(self) -> None:
        return None

    def adopt(self, jobs: Sequence[LaunchedJob], stop: Stop) -> list[Attempt]:
        signal.signal(signal.SIGTERM, stop.handle)  # Ray has taken it over
        self._stop = stop
        for job in jobs:
            _wait_for_an_orphan(job, stop)
        return []

    def start(self, parts: Sequence[list[LaunchedJob]], settings: Settings) -> list[Attempt]:
        import ray

        environment = {"OMP_NUM_THREADS": str(self.num_cpus), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        # a task that Ray would start again by itself, it would start beside one that still runs
        task = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus, max_retries=0)(_work())
        allow, here = json.dumps(settings.allow), os.getcwd()
        return [
            Attempt([job], task.options(name=job.name).remote(str(job.directory.path), allow, here, environment))
            for part in parts
            for job in part
        ]

    def poll(self, attempts: Sequence[Attempt]) -> dict[Attempt, End | None]:
        import ray

        ended, _ = ray.wait([attempt.handle for attempt in attempts], num_returns=len(attempts), timeout=TICK)
        return {attempt: self._end(attempt) for attempt in attempts if attempt.handle in ended}

    def _end(self, attempt: Attempt) -> End:
        import ray

        try:
            return of_exit(ray.get(attempt.handle))
        except ray.exceptions.TaskCancelledError:
            return End("cancelled")
        except ray.exceptions.RayError as error:
            for job in attempt.jobs:
                _wait_for_an_orphan(job, self._stop)
            return End(f"its Ray worker was lost: {' '.join(str(error).split())[:150]}")

    def stop(self, attempts: Sequence[Attempt], at_once: bool) -> None:
        import ray

        for attempt in attempts:
            if attempt.stop_requests < 1 + at_once:
                attempt.stop_requests += 1
                ray.cancel(attempt.handle)

    def close(self, attempts: Sequence[Attempt]) -> None:
        import ray

        ray.shutdown()


def _wait_for_an_orphan(job: LaunchedJob, stop: Stop) -> None:
    """A job whose worker is gone writes its checkpoint; on another machine only its status says when it has."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    with contextlib.suppress(InputError):
        while job.directory.status.state == "running" and not stop.at_once:
            here = job.directory.status.host == socket.gethostname()
            if (here and not job.directory.is_alive) or time.monotonic() > deadline:
                return
            time.sleep(TICK)


# ---- on the workers -------------------------------------------------------------------------------------
#
# Functions inside functions travel whole, so that the workers need no rnnlab: the processes that they start do.


def _sees() -> Callable[[str], bool]:
    def sees(path: str) -> bool:
        import os

        return os.path.isfile(path)

    return sees


def _work() -> Callable[[str, str, str, dict[str, str]], int]:
    def work(path: str, allow: str, place: str, environment: dict[str, str]) -> int:
        import os
        import subprocess
        import sys
        import time

        command = [sys.executable, "-m", "rnnlab.launch.process", path, allow]
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with open(os.open(os.path.join(path, "train.log"), append, 0o666), "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # closed where this worker is lost
                stdout=log,
                stderr=log,
                cwd=place if os.path.isdir(place) else path,
                env={**os.environ, **environment},
            )

        def wait() -> None:  # in short turns: Ray cancels between two of them
            while process.poll() is None:
                time.sleep(0.1)

        try:
            wait()
        except KeyboardInterrupt:
            process.terminate()
            try:
                wait()
            except KeyboardInterrupt:
                process.kill()
        return process.wait()

    return work
