"""Launchers that are plugins of Hydra's (joblib, submitit, …): they execute a batch and return when it has ended."""

import signal
from collections.abc import Sequence
from typing import ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher as HydraLauncher
from omegaconf import DictConfig

from rnnlab.errors import Interrupted, one_line, visible
from rnnlab.launch.launcher import Attempt, Basic
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End, status_of
from rnnlab.store.status import State


class Plugin(Basic):
    """Hands all jobs at once to a launcher of Hydra's, which calls :func:`execute_composed` for each.

    Args:
        launcher: that Hydra made.
    """

    is_heard: ClassVar[bool] = True

    def __init__(self, launcher: HydraLauncher) -> None:
        self.launcher = launcher

    @property
    def room(self) -> None:
        return None

    def poll(self, attempts: Sequence[Attempt]) -> dict[Attempt, End | None]:
        jobs = [attempt.jobs[0] for attempt in attempts]
        # wherever a job is executed, it finds its directory by its name
        overrides = [[*status_of(job.directory).overrides, f"hydra.sweep.subdir='{job.name}'"] for job in jobs]
        reason = "its launcher did not execute it"
        signals: tuple[int, ...] = ()
        try:
            self.launcher.launch(overrides, initial_job_idx=status_of(jobs[0].directory).number or 0)
        except KeyboardInterrupt:
            signals = (signal.SIGINT,)
        except Exception as error:  # noqa: BLE001 (a launcher that lost a job: the others go on)
            reason = f"its launcher gave up: {one_line(error)}"
        return {attempt: self._end(attempt, reason, signals) for attempt in attempts}

    def _end(self, attempt: Attempt, reason: str, signals: tuple[int, ...]) -> End:
        has_begun = status_of(attempt.jobs[0].directory).state != State.QUEUED
        return End(reason, State.FAILED if has_begun else State.INTERRUPTED, signals=signals)


def execute_composed(config: DictConfig, allow: Sequence[str] | None = None) -> float:
    """What such a launcher calls, wherever: executes the planned job that its composed config names.

    Args:
        config: that Hydra composed; the job's own is in its directory.
        allow: see :func:`rnnlab.runs.build.build`.

    Returns:
        The monitored score, for sweepers that optimize it; not a number where the job failed.
    """
    from rnnlab.launch import preload  # noqa: F401 (torch, fast)
    from rnnlab.launch.job import execute_job, score

    directory = RunDirectory(HydraConfig.get().runtime.output_dir)
    try:
        execute_job(directory, allow, log=False)  # Hydra does
    except Interrupted:
        raise KeyboardInterrupt from None  # the jobs after it must not start
    status = directory.status
    value = score(directory, directory.config["monitor"])
    how = f"failed: {status.reason}" if status.state == State.FAILED else f"{value:.4g}"
    print(visible(f"{directory.path.name}  {how}"))
    return value
