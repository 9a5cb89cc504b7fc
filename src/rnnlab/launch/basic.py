"""One job after another, in this process."""

import signal
from collections.abc import Sequence

from rnnlab.errors import Interrupted
from rnnlab.launch.launcher import LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.watch import Watch


class Basic(Launcher):
    """What Hydra's own launcher does, but that a job's failure leaves the rest alone.

    Nothing is imported twice, so that it has the least cost a job; whatever
    kills one job kills the sweep, which then resumes.
    """

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        from rnnlab.launch import preload  # noqa: F401 (torch, fast)
        from rnnlab.launch.check import check_jobs

        check_jobs([(job.name, job.config) for job in jobs], jobs[0].directory.path.parent, settings.allow)

    def run(self, jobs: Sequence[LaunchedJob], settings: Settings, stop: Stop, watch: Watch) -> None:
        from rnnlab.launch.job import execute_job

        for job in jobs:
            for attempt in range(settings.retries + 1):
                if stop.asked:
                    return
                watch.started(job.name, job.directory, job.config)
                try:
                    execute_job(job.directory, settings.allow)
                except Interrupted as interrupted:
                    stop.signals.append(interrupted.signal_number)
                except KeyboardInterrupt:
                    stop.signals += [signal.SIGINT, signal.SIGINT]
                status = job.directory.status
                if not status.retriable or attempt == settings.retries or stop.asked:
                    break
                watch.tried_again(job.name, status.reason or "", attempt + 1)
            watch.ended(job.name)
            if settings.fail_fast and status.state == "failed":
                stop.failure = True
