"""One job after another, in this process."""

from collections.abc import Sequence

from rnnlab.launch.launcher import LaunchedJob, Launcher, Settings


class Basic(Launcher):
    """What Hydra's own launcher does, but that a job's failure leaves the rest alone.

    Nothing is imported twice, so that it has the least cost a job; whatever
    kills one job kills the sweep, which then resumes.
    """

    def check(self, jobs: Sequence[LaunchedJob], settings: Settings) -> None:
        from rnnlab.launch import preload  # noqa: F401 (torch, fast)
        from rnnlab.launch.check import check_jobs

        check_jobs([(job.name, job.config) for job in jobs], settings.path, settings.allow)
