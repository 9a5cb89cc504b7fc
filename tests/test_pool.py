"""How a job ended, what its status becomes and whether it is tried again: the same with every launcher.

The launchers are real; what they start is not: a process, a task of Ray and a job of Slurm are a call that plays a
job's part in its directory and leaves an exit code.
"""

import itertools
import signal
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher as HydraLauncher

from rnnlab.errors import Interrupted
from rnnlab.launch import local as local_module
from rnnlab.launch import ray as ray_module
from rnnlab.launch import slurm as slurm_module
from rnnlab.launch.fleet import Fleets, Stacks
from rnnlab.launch.launcher import Attempt, Basic, Findings, LaunchedJob, Launcher, Settings, Stop
from rnnlab.launch.local import Local
from rnnlab.launch.plugin import Plugin
from rnnlab.launch.ray import Ray
from rnnlab.launch.slurm import Slurm
from rnnlab.launch.watch import Watch
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import End
from rnnlab.store.status import State

CONFIG = {"data": {"_target_": "a.b.C"}, "task": {"_target_": "a.b.C"}, "monitor": "val/loss", "mode": "min"}
Part = Callable[[RunDirectory, Stop], int]
"""Plays one attempt of a job; returns the exit code of its process."""


# ---- the parts that a job may play --------------------------------------------------------------------


def done(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    directory.write_metrics({"val/loss": 0.5})
    directory.update_status("done")
    return 0


def failed(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    directory.update_status("failed", reason="a bug")
    return 0


def out_of_memory(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    directory.update_status("failed", reason="no room", retriable=True)
    return 0


def interrupted(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    directory.update_status("interrupted", reason="stopped by a signal")
    return 0


def exited(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    return 3


def killed(directory: RunDirectory, _: Stop) -> int:
    directory.update_status("running")
    return -signal.SIGKILL


def killed_before_it_began(directory: RunDirectory, _: Stop) -> int:
    return -signal.SIGTERM


def damaged(directory: RunDirectory, _: Stop) -> int:
    (directory.path / "status.json").write_text("{")
    return -signal.SIGSEGV


def stopped(directory: RunDirectory, stop: Stop) -> int:
    directory.update_status("running")
    stop.signals.append(signal.SIGINT)
    directory.update_status("interrupted", reason="stopped by a signal")
    return 0


def stopped_before_it_began(directory: RunDirectory, stop: Stop) -> int:
    stop.signals.append(signal.SIGINT)
    return -signal.SIGTERM


def stopped_at_once(directory: RunDirectory, stop: Stop) -> int:
    directory.update_status("running")
    stop.signals += [signal.SIGINT, signal.SIGINT]
    stop.at_once = True
    return -signal.SIGKILL


# ---- launchers whose jobs are played ------------------------------------------------------------------


class Stage:
    """Plays the next part of each job that is started, and what a launcher starts it with."""

    def __init__(self, path: Path, parts: Mapping[str, Sequence[Part]], stop: Stop) -> None:
        self.path = path
        self.left = {name: list(parts_of) for name, parts_of in parts.items()}
        self.stop = stop
        self.started: list[str] = []

    def play(self, directory: RunDirectory) -> int:
        name = directory.path.name
        self.started.append(name)
        return self.left[name].pop(0)(directory, self.stop)


def of_this_process(launcher: type[Launcher], stage: Stage, patch: pytest.MonkeyPatch) -> Launcher:
    patch.setattr("rnnlab.launch.job.execute_job", lambda directory, *_, **__: stage.play(directory))
    return launcher()


def of_a_plugin(stage: Stage, patch: pytest.MonkeyPatch) -> Launcher:
    class Played(HydraLauncher):
        def setup(self, **_: Any) -> None:
            """It needs nothing."""

        def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
            launch(job_overrides)
            return []

    def launch(named: Sequence[Sequence[str]]) -> None:
        names = set(itertools.chain.from_iterable(named))
        directories = [path for path in stage.path.iterdir() if f"hydra.sweep.subdir='{path.name}'" in names]
        codes = [stage.play(RunDirectory(path)) for path in sorted(directories)]
        if any(codes):
            raise RuntimeError(f"a worker was lost: {codes}")

    return Plugin(Played())


def of_processes(launcher: type[Local], stage: Stage, patch: pytest.MonkeyPatch) -> Launcher:
    class Process(ForkServerProcess):
        sentinel = exitcode = 0

        def __init__(self, args: tuple[Any, ...], **_: Any) -> None:
            self.paths = args[1]

        def start(self) -> None:
            # of a stack the last process's code is that of all
            self.exitcode = [stage.play(RunDirectory(path)) for path in self.paths][-1]

        def is_alive(self) -> bool:
            return False

        def close(self) -> None:
            """There is nothing to give back."""

    patch.setattr(local_module.connection, "wait", lambda *_, **__: [])
    made = launcher()
    patch.setattr(made, "_context", types.SimpleNamespace(Process=Process))
    made._slots = [{}]
    if isinstance(made, Fleets):
        patch.setattr(made, "_find", lambda jobs, _: None)
        made._stacks = Stacks(Findings(0, 0, on_gpu=False), [], {})
    return made


def of_ray(stage: Stage, patch: pytest.MonkeyPatch) -> Launcher:
    class Task:
        def remote(self, path: str, *_: Any) -> int:
            refs.append(stage.play(RunDirectory(path)))
            return len(refs) - 1

        def options(self, **_: Any) -> "Task":
            return self

    refs: list[int] = []
    ray = types.SimpleNamespace(
        remote=lambda **_: lambda _: Task(),
        wait=lambda handles, **_: (handles, []),
        get=lambda handle: refs[handle],
        cancel=lambda _: None,
        shutdown=lambda: None,
        exceptions=types.SimpleNamespace(TaskCancelledError=KeyError, RayError=OSError),
    )
    patch.setitem(sys.modules, "ray", ray)
    patch.setattr(ray_module, "need", lambda *_: None)
    patch.setattr(ray_module.signal, "signal", lambda *_: None)
    return Ray()


def of_slurm(stage: Stage, patch: pytest.MonkeyPatch) -> Launcher:
    def submit(self: Slurm, _: Any, jobs: Sequence[LaunchedJob], __: Settings) -> list[Attempt]:
        attempts = []
        for job in jobs:
            key = ("rnnlab-s", len(codes))
            job.directory.update_status(slurm={"name": key[0], "index": key[1]})
            codes.append(stage.play(job.directory))
            attempts.append(Attempt([job], key))
        return attempts

    codes: list[int] = []
    accounts = lambda _: {i: ("FAILED", f"0:{-c}" if c < 0 else f"{c}:0") for i, c in enumerate(codes)}  # noqa: E731
    patch.setattr(slurm_module, "need", lambda *_: None)
    patch.setattr(slurm_module, "_array_size", lambda: 1000)
    patch.setattr(slurm_module.slurm, "queue", lambda _: {})
    patch.setattr(slurm_module.slurm, "accounts", accounts)
    patch.setattr(slurm_module.slurm, "_remembered", {})
    patch.setattr(slurm_module, "QUERY_SECONDS", -1.0)
    patch.setattr(slurm_module, "TICK", 0.0)
    patch.setattr(slurm_module, "by_shape", lambda jobs, gpus: {(1, 1, 0): list(jobs)})
    patch.setattr(Slurm, "_submit", submit)
    patch.setattr("rnnlab.runs.slurm.time.monotonic", iter(range(0, 10**6, 100)).__next__)
    return Slurm()


STAGED: dict[str, Callable[[Stage, pytest.MonkeyPatch], Launcher]] = {
    "basic": lambda stage, patch: of_this_process(Basic, stage, patch),
    "plugin": of_a_plugin,
    "local": lambda stage, patch: of_processes(Local, stage, patch),
    "fleet": lambda stage, patch: of_processes(Fleets, stage, patch),
    "ray": of_ray,
    "slurm": of_slurm,
}
IN_PROCESS = ("basic", "plugin")
"""What kills a job of these kills the launcher, too, or is not known."""


@pytest.fixture(params=STAGED)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def execute(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Executes one job a list of parts, whose names are 0, 1, …; returns what the stage has seen."""

    def run(*parts: Sequence[Part], stop: Stop | None = None, **settings: Any) -> Stage:
        stop = stop or Stop()
        stage = Stage(tmp_path, {str(number): parts_of for number, parts_of in enumerate(parts)}, stop)
        jobs = []
        for number in range(len(parts)):
            directory = RunDirectory.claim(tmp_path / str(number), CONFIG, number=number)
            directory.update_status("queued", pid=None)
            jobs.append(LaunchedJob(directory, str(number), CONFIG))
        launcher = STAGED[kind](stage, monkeypatch)
        with stop.working(), Watch(tmp_path, len(jobs)) as watch:
            launcher.run(jobs, Settings(**settings), stop, watch)
        return stage

    return run


def told(path: Path, number: int = 0) -> tuple[State, str]:
    status = RunDirectory(path / str(number)).status
    return status.state, status.reason or ""


# ---- the laws -----------------------------------------------------------------------------------------


def test_what_a_job_has_noted_stands(execute: Any, tmp_path: Path) -> None:
    execute([done], [failed], [out_of_memory], [interrupted], [done])
    assert [told(tmp_path, number) for number in range(5)] == [
        (State.DONE, ""), (State.FAILED, "a bug"), (State.FAILED, "no room"),
        (State.INTERRUPTED, "stopped by a signal"), (State.DONE, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (exited, "ended with status 3"),
        (killed, "killed by SIGKILL: by somebody, or for lack of memory"),
        (killed_before_it_began, "killed by SIGTERM"),
    ],
)
def test_of_a_job_that_noted_nothing_its_launcher_says_how_it_died(
    part: Part, reason: str, kind: str, execute: Any, tmp_path: Path
) -> None:
    execute([part], [done])
    state, said = told(tmp_path)
    if kind == "plugin" and part is killed_before_it_began:
        assert state == State.INTERRUPTED  # which of its jobs was to blame, a plugin does not say
    else:
        assert state == State.FAILED
    assert said.endswith(reason) if kind not in IN_PROCESS else said
    assert told(tmp_path, 1)[0] == State.DONE


def test_a_status_that_cannot_be_read_is_left_and_the_sweep_goes_on(execute: Any, tmp_path: Path) -> None:
    execute([damaged], [done])
    assert (tmp_path / "0" / "status.json").read_text() == "{"
    assert told(tmp_path, 1)[0] == State.DONE


@pytest.mark.parametrize("part", [out_of_memory, interrupted, exited, killed, killed_before_it_began])
def test_what_may_help_is_tried_again(part: Part, execute: Any, tmp_path: Path) -> None:
    stage = execute([part, part, done], retries=2)
    assert len(stage.started) == 3 and told(tmp_path) == (State.DONE, "")


@pytest.mark.parametrize("part", [out_of_memory, killed])
def test_and_not_for_ever(part: Part, execute: Any, tmp_path: Path) -> None:
    stage = execute([part] * 9, retries=1)
    assert len(stage.started) == 2 and told(tmp_path)[0] in (State.FAILED, State.INTERRUPTED)


def test_what_failed_of_itself_is_not_tried_again(execute: Any, tmp_path: Path) -> None:
    assert len(execute([failed, done], retries=3).started) == 1


def test_a_job_that_had_an_end_before_and_dies_before_it_begins_anew_is_told_by_its_new_end(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory.claim(tmp_path / "0", CONFIG, number=0)
    directory.update_status("failed", reason="of yesterday", pid=None)
    stop = Stop()
    stage = Stage(tmp_path, {"0": [killed_before_it_began]}, stop)
    launcher = STAGED[kind](stage, monkeypatch)
    with stop.working(), Watch(tmp_path, 1) as watch:
        launcher.run([LaunchedJob(directory, "0", CONFIG)], Settings(), stop, watch)
    assert "of yesterday" not in told(tmp_path)[1]


def test_a_sweep_that_stops_starts_and_tries_nothing_more(kind: str, execute: Any, tmp_path: Path) -> None:
    stage = execute([stopped, done], [done], retries=3)
    assert told(tmp_path) == (State.INTERRUPTED, "stopped by a signal")
    assert stage.started.count("0") == 1
    if kind in ("basic", "local"):  # the others had started all of them
        assert told(tmp_path, 1) == (State.QUEUED, "")


def test_a_job_that_has_not_begun_when_the_sweep_stops_waits(execute: Any, tmp_path: Path) -> None:
    execute([stopped_before_it_began, done], retries=3)
    assert told(tmp_path) == (State.QUEUED, "")


def test_a_job_that_is_killed_since_the_sweep_stops_at_once_has_not_failed(execute: Any, tmp_path: Path) -> None:
    execute([stopped_at_once, done], retries=3)
    assert told(tmp_path) == (State.INTERRUPTED, "stopped at once")


def test_at_the_first_failure_a_sweep_stops_where_it_is_to(kind: str, execute: Any, tmp_path: Path) -> None:
    stop = Stop()
    execute([failed], [done], stop=stop, fail_fast=True)
    assert stop.failure and not stop.status
    if kind in ("basic", "local"):
        assert told(tmp_path, 1)[0] == State.QUEUED


def test_a_signal_that_a_job_in_this_process_heard_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear(*_: Any, **__: Any) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr("rnnlab.launch.job.execute_job", hear)
    directory = RunDirectory.claim(tmp_path / "0", CONFIG)
    launcher = Basic()
    (attempt,) = launcher.start([[LaunchedJob(directory, "0", CONFIG)]], Settings())
    end = launcher.poll([attempt])[attempt]
    assert isinstance(end, End) and end.signals == (signal.SIGTERM,)


def test_what_slurm_refuses_has_failed_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = STAGED["slurm"](Stage(tmp_path, {}, Stop()), monkeypatch)
    refuse = lambda self, _, jobs, __: [Attempt([job], refused="Slurm refused it: no") for job in jobs]  # noqa: E731
    monkeypatch.setattr(Slurm, "_submit", refuse)
    directory = RunDirectory.claim(tmp_path / "0", CONFIG)
    with Watch(tmp_path, 1) as watch:
        launcher.run([LaunchedJob(directory, "0", CONFIG)], Settings(retries=3), Stop(), watch)
    assert told(tmp_path) == (State.FAILED, "Slurm refused it: no")
    assert "0 submitted to Slurm" in capsys.readouterr().out
