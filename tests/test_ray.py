"""Sweeps on a Ray cluster, and data-parallel jobs in sweeps: killed, stopped, resumed to the same results."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import PATIENCE, ended, held, is_told, scores, start, states, wait_until

from rnnlab.commands import train as train_command
from rnnlab.errors import InputError
from rnnlab.launch.ray import Ray
from rnnlab.runs.directory import RunDirectory

pytestmark = pytest.mark.needs("ray")

TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
        "instruments=none", "model.hidden_size=4")  # fmt: skip
LONG = ("data.batch_size=8", "trainer.accelerator=cpu", "instruments=none", "model.hidden_size=4",
        "data.num_samples=400", "data.length=12", "data.future_length=5", "trainer.max_epochs=12",
        "trainer.checkpoint_seconds=0.0", "model.dropout=0.3", "model.num_layers=2", "seed=0,1")  # fmt: skip


# ---- before the first job ------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Ray cluster that only says what it has."""
    node = {"Alive": True, "NodeID": "0a" * 28, "NodeManagerHostname": "big", "Resources": {"CPU": 4.0, "GPU": 1.0}}
    said = SimpleNamespace(nodes=[node, {**node, "Alive": False}], blind=False)

    class Remote:
        def options(self, **_: Any) -> "Remote":
            return self

        def remote(self, path: str) -> bool:
            return os.path.isfile(path) and not said.blind

    monkeypatch.setattr(Ray, "_join", lambda _: None)
    monkeypatch.setattr("ray.nodes", lambda: said.nodes)
    monkeypatch.setattr("ray.remote", lambda **_: lambda _: Remote())
    monkeypatch.setattr("ray.get", lambda answer: answer)
    return said


def refused(path: Path, capfd: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert (
        train_command.main(["-m", *TINY, "seed=0,1", "hydra/launcher=ray", *overrides, f"hydra.sweep.dir={path}"]) == 2
    )
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert not path.exists()
    return error


def test_a_machine_that_does_not_see_the_sweep_is_named(
    cluster: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.blind = True
    error = refused(tmp_path / "s", capfd)
    assert f"{tmp_path / 's'} is not there on big: choose a hydra.sweep.dir on a disk that all machines" in error


@pytest.mark.parametrize("key", ["num_cpus=5", "num_gpus=1.5"])
def test_a_job_that_no_machine_has_room_for_is_refused(
    key: str, cluster: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    error = refused(tmp_path / "s", capfd, f"hydra.launcher.{key}")
    assert key in error and "has as many (at most 4 CPUs, 1 GPUs)" in error


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra.launcher.num_cpus=0"], "hydra.launcher.num_cpus=0: must be greater than 0"),
        (["hydra.launcher.cpus=1"], "hydra.launcher.cpus=1: unknown key"),
        (["trainer.num_nodes=2"], "a job takes several machines with hydra/launcher=slurm only"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    overrides: list[str], said: str, cluster: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(tmp_path / "s", capfd, *overrides)


def test_no_cluster_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def nobody(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr("ray.init", nobody)
    error = refused(tmp_path / "s", capfd)
    assert "hydra.launcher.address=auto: no Ray cluster answers there (Could not find any running" in error


def test_a_ray_that_does_not_start_in_time_is_told_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is no fault of the command: the status is 1, and nothing of it is left."""
    ended: list[None] = []

    def late(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", late)
    monkeypatch.setattr("ray.shutdown", lambda: ended.append(None))
    path = tmp_path / "s"
    assert train_command.main(["-m", *TINY, "seed=0,1", "hydra/launcher=ray", f"hydra.sweep.dir={path}"]) == 1
    error = capfd.readouterr().err
    assert "Ray did not start (The current node timed out during startup.): try again" in error
    assert error.count("\n") == 1 and ended and not path.exists()


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnlab.extras.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"make install EXTRAS=ray"):
        Ray()


def test_a_launcher_without_a_sweep_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert train_command.main([*TINY, "hydra/launcher=ray"]) == 2
    assert "hydra/launcher=ray: a launcher is of a sweep, be it of one job: add -m" in capfd.readouterr().err


# ---- in processes of their own -------------------------------------------------------------------------


def begin(path: Path, *more: str) -> "subprocess.Popen[str]":
    return start("train", "-m", *LONG, *more, f"hydra.sweep.dir={path}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "s"
    ended(start("train", "-m", *LONG, f"hydra.sweep.dir={path}"))
    return path


@pytest.fixture(scope="module")
def there() -> Iterator[tuple[str, ...]]:
    """A cluster that others use too, and how a sweep joins it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    options = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")  # on one machine, for a minute
    cluster = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert cluster.stdout is not None
    assert any("runtime started" in line for line in cluster.stdout)
    yield ("hydra/launcher=ray", f"hydra.launcher.address=127.0.0.1:{port}")
    cluster.terminate()  # ray stop would end those of others too
    cluster.communicate(timeout=PATIENCE)
    patch.undo()


@pytest.mark.slow
def test_a_job_that_is_killed_harms_nobody_and_is_resumed(there: tuple[str, ...], whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path, *there)
    with held(path, process) as (pid,):
        os.kill(pid, signal.SIGKILL)
    assert "killed by SIGKILL" in ended(process, 1)
    assert sorted(states(path).values()) == ["done", "failed"]
    ended(start("resume", str(path), "--allow", "hydra.launcher.address"))
    assert scores(path) == scores(whole)


@pytest.mark.exhaustive
def test_ctrl_c_stops_the_jobs(there: tuple[str, ...], whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path, *there)
    with held(path, process) as (pid,):
        process.send_signal(signal.SIGINT)
        wait_until(lambda: is_told(pid, signal.SIGTERM))
    assert f"rnnlab resume {path}" in ended(process, 130)
    assert "interrupted" in states(path).values() and "running" not in states(path).values()
    ended(start("resume", str(path), "--allow", "hydra.launcher.address"))
    assert scores(path) == scores(whole)


@pytest.mark.exhaustive
def test_jobs_stop_when_the_process_that_leads_them_is_lost(
    there: tuple[str, ...], whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    process = begin(path, *there)
    with held(path, process):
        process.kill()
        process.communicate()
    # Ray may kill them outright: then the last checkpoint is what they go on from
    wait_until(lambda: not any(RunDirectory(file.parent).is_alive for file in path.glob("*/status.json")))
    ended(start("resume", str(path), "--allow", "hydra.launcher.address"))
    assert scores(path) == scores(whole)


# ---- data-parallel jobs in sweeps ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local"])
def test_data_parallel_jobs_of_a_sweep_are_stopped_and_resumed(launcher: str, tmp_path: Path) -> None:
    two = ("trainer.strategy=ddp", "trainer.devices=2", f"hydra/launcher={launcher}")
    done, path = tmp_path / "whole", tmp_path / "s"
    ended(start("train", "-m", *LONG, *two, f"hydra.sweep.dir={done}"))
    process = begin(path, *two)
    with held(path, process) as (pid,):
        process.send_signal(signal.SIGINT)
        wait_until(lambda: is_told(pid, signal.SIGTERM))
    ended(process, 130)
    assert "interrupted" in states(path).values()
    ended(start("resume", str(path)))
    assert scores(path) == scores(done)
    rows = (path / "1_seed=1" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(epoch) for epoch in range(1, 13)]


@pytest.mark.exhaustive
def test_a_data_parallel_run_is_stopped_and_resumed(tmp_path: Path) -> None:
    arguments = [override for override in LONG if override != "seed=0,1"]
    path = tmp_path / "run"
    process = start("train", *arguments, "trainer=ddp", f"hydra.run.dir={path}", "trainer.max_epochs=12")
    with held(path, process):
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    ended(start("resume", str(path)))
    rows = path / "metrics.csv"
    assert rows.read_text().count("\n") == 13


def test_two_machines_are_for_slurm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train_command.main(["-m", *TINY, "trainer.num_nodes=2", f"hydra.sweep.dir={tmp_path / 's'}"]) == 2
    assert (
        "trainer.num_nodes=2: nothing has started this run on several machines (srun, torchrun, or a sweep with hydra"
        in capfd.readouterr().err
    )
