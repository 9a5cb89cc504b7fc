"""Sweeps on Slurm: what is asked of it, and what becomes of the jobs on the real one of tests/slurm/cluster."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import SLURM_CONF
from processes import ended, held, is_told, scores, start, states, status, wait_until

from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.errors import InputError
from rnnlab.launch.launcher import LaunchedJob
from rnnlab.launch.slurm import Slurm, by_shape, work
from rnnlab.runs import slurm
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.records import read_run

pytestmark = pytest.mark.needs("slurm")

TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
        "instruments=none", "model.hidden_size=4")  # fmt: skip
CPU = {"accelerator": "cpu", "devices": 1, "num_nodes": 1}

# What the commands of Slurm print, from files of the test; what they were asked with goes to "asked".
FAKE = """#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> "$FAKE/asked"
case "$name $*" in
  "sbatch --version") exit 0;;
  "sbatch --test-only"*) [ ! -e "$FAKE/refuses" ] || { cat "$FAKE/refuses" >&2; exit 1; };;
  sbatch*) cp "$1" "$FAKE/submitted"; echo "Submitted batch job 12";;
  sinfo*) printf 'long\\nshort\\n';;
  "scontrol show config") echo "MaxArraySize            = 4";;
  *) [ ! -e "$FAKE/$name.fails" ] || { echo "$name: error: Connection refused" >&2; exit 1; }
     [ ! -e "$FAKE/$name" ] || cat "$FAKE/$name";;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose Slurm says what the test has written into files."""
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    for name in ("sbatch", "sinfo", "sacct", "squeue", "scontrol", "scancel", "srun"):
        (folder / "bin" / name).write_text(FAKE)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setattr(slurm, "ACCOUNTED_SECONDS", 0.0)
    slurm._remembered.clear()
    return folder


def train(path: Path, *overrides: str) -> int:
    return train_command.main(["-m", *TINY, "hydra/launcher=slurm", *overrides, f"hydra.sweep.dir={path}"])


# ---- before anything is submitted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hydra.launcher.partition=shrt"], "partition=shrt: no such partition; did you mean 'short'? (there are long"),
        (["hydra.launcher.time_minutes=0"], "hydra.launcher.time_minutes=0: must be greater than 0"),
        (["hydra.launcher.time_minutes=1"], "hydra.launcher.signal_seconds=90: must be below the limit itself"),
        (["hydra.launcher.timeout=3"], "hydra.launcher.timeout=3: unknown key"),
        (["trainer.accelerator=gpu", "hydra.launcher.gpus_per_node=0"], "asks Slurm for none"),
        (["trainer.devices=auto"], "with hydra/launcher=slurm it must be a number"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_submitted(
    arguments: list[str], said: str, fake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "s", "seed=0,1", *arguments) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()
    assert not (fake / "submitted").exists()


def test_what_slurm_refuses_is_said_in_its_words(fake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (fake / "refuses").write_text("allocation failure: Requested time limit is invalid\n")
    assert train(tmp_path / "s", "seed=0,1") == 2
    assert (
        "Slurm refuses such a job: sbatch: allocation failure: Requested time limit is invalid"
        in capfd.readouterr().err
    )
    assert not (tmp_path / "s").exists()


def test_a_machine_without_slurm_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert train(tmp_path / "s", "seed=0") == 2
    assert "there is no sbatch on this machine: it works where jobs are submitted from" in capfd.readouterr().err


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnlab.extras.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"make install EXTRAS=slurm"):
        Slurm()


def test_a_cluster_without_accounts_warns(fake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (fake / "sacct.fails").touch()
    assert train(tmp_path / "s", "seed=0", "hydra.launcher.wait=false") == 0
    assert "(sacct: Connection refused)" in " ".join(capfd.readouterr().out.split())


# ---- what is submitted ---------------------------------------------------------------------------------


def test_the_command_ends_when_the_jobs_are_submitted(
    fake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    options = (
        "wait=false", "partition=short", "account=lab", "qos=low", "time_minutes=7", "cpus_per_task=3", "mem_gb=1.5",
        "array_parallelism=2", "setup=[module load python]", "additional_parameters={constraint:a100}",
    )  # fmt: skip
    arguments = [f"hydra.launcher.{option}" for option in options]
    assert train(path, "seed=range(2)", "trainer.accelerator=gpu", *arguments) == 0
    said = capfd.readouterr().out
    assert "2 submitted" in said and f"rnnlab resume {path}" in " ".join(said.split())
    assert set(states(path).values()) == {"queued"}
    script = (fake / "submitted").read_text()
    wanted = (
        "--array=0-1%2", "--partition=short", "--account=lab", "--qos=low", "--time=7", "--cpus-per-task=3",
        "--mem=1536M", "--constraint=a100", "--gpus-per-node=1", "--nodes=1", "--ntasks-per-node=1", "--requeue",
        "--signal=USR2@90",
    )  # fmt: skip
    for line in wanted:
        assert f"#SBATCH {line}\n" in script
    assert "module load python\nexport OMP_NUM_THREADS=3\n" in script
    status = RunDirectory(path / "1_seed=1").status
    assert f"--job-name={status.slurm['name']}\n" in script
    assert status.slurm["index"] == 1


def test_arrays_are_as_long_as_slurm_allows_and_alike(fake: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=range(4)", "trainer.devices=1,2", "hydra.launcher.wait=false") == 0
    asked = [line for line in (fake / "asked").read_text().splitlines() if line.startswith("sbatch /")]
    assert len(asked) == 4  # three and one of each kind
    keys = {slurm.submission(RunDirectory(file.parent).status) for file in path.glob("*/status.json")}
    assert len(keys) == 8
    assert len({key[0] for key in keys if key}) == 4


def test_nodes_tasks_and_gpus_are_those_of_the_trainer() -> None:
    trainers = [CPU, {**CPU, "num_nodes": 2, "devices": 4, "accelerator": "gpu"}, CPU]
    jobs = [LaunchedJob(RunDirectory("x"), str(i), {"trainer": trainer}) for i, trainer in enumerate(trainers)]
    shapes = by_shape(jobs, "auto")
    assert {shape: [job.name for job in alike] for shape, alike in shapes.items()} == {
        (1, 1, 0): ["0", "2"],
        (2, 4, 4): ["1"],
    }


# ---- what the queue says -------------------------------------------------------------------------------


def planned(path: Path, state: str = "running", **facts: Any) -> RunDirectory:
    path.mkdir(parents=True)
    directory = RunDirectory(path)
    of = {"name": "rnnlab-s-1", "index": 1}
    status = {"state": state, "slurm": of, "host": "node7", "pid": 1, **facts}
    (path / "status.json").write_text(json.dumps(status))
    directory.write_config({"monitor": "val/loss"})
    return directory


def test_a_job_in_the_queue_is_found_by_its_name(fake: Path) -> None:
    (fake / "squeue").write_text(
        "12|0|RUNNING|None|rnnlab-s-1\n12|1|PENDING|Resources|rnnlab-s-1\n13|N/A|RUNNING|None|b"
    )
    tasks = slurm.queue(["rnnlab-s-1", "b"])
    assert tasks["rnnlab-s-1", 1] == slurm.Task("12_1", "PENDING", "Resources")
    assert tasks["b", 0].id == "13"
    assert "--name=rnnlab-s-1,b" in (fake / "asked").read_text()


@pytest.mark.parametrize(
    ("accounts", "state", "reason"),
    [
        ("12_1|OUT_OF_MEMORY|0:125", "failed", "out of memory"),
        ("12_1|TIMEOUT|0:0", "failed", "time limit"),
        ("12_1|NODE_FAIL|1:0", "failed", "its node failed"),
        ("12_1|FAILED|137:0", "failed", "killed by SIGKILL"),
        ("12_1|FAILED|9:0\n12_1.batch|FAILED|9:0\n12_1.0|FAILED|0:9", "failed", "killed by SIGKILL"),
        ("12_1|FAILED|3:0", "failed", "ended with status 3"),
        ("12_1|CANCELLED by 0|0:0", "failed", "cancelled"),
        ("12_0|COMPLETED|0:0", "failed", "no accounts"),
    ],
)
def test_how_a_job_ended_that_could_not_say_it_is_noted(
    accounts: str, state: str, reason: str, fake: Path, tmp_path: Path
) -> None:
    (fake / "sacct").write_text(f"{accounts}\n")
    run = planned(tmp_path / "run")
    record = read_run(run.path)  # as rnnlab report does
    assert record.state == state and reason in record.reason
    assert run.status.state == state and reason in run.status.reason
    assert bool(run.status.retriable) == ("OUT_OF_MEMORY" in accounts)


def test_a_job_that_was_taken_out_of_the_queue_is_no_failure(fake: Path, tmp_path: Path) -> None:
    (fake / "sacct").write_text("12_1|CANCELLED by 0|0:0\n")
    assert read_run(planned(tmp_path / "run", "queued").path).state == "interrupted"


def test_what_is_not_known_is_not_gone(fake: Path, tmp_path: Path) -> None:
    (fake / "squeue.fails").touch()
    run = planned(tmp_path / "run")
    assert read_run(run.path).state == "running"
    with pytest.raises(InputError, match=r"whether it still waits or runs there cannot be told: squeue: Connection"):
        slurm.refuse_what_is_there(run)


def test_a_run_in_the_queue_is_not_executed_by_others(
    fake: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0,1", "hydra.launcher.wait=false") == 0
    name = RunDirectory(path / "1_seed=1").status.slurm["name"]
    (fake / "squeue").write_text(f"12|1|PENDING|Resources|{name}\n")
    capfd.readouterr()
    assert resume_command.main([str(path), "hydra/launcher=basic"]) == 2
    assert "is in Slurm's queue (job 12_1, pending)" in capfd.readouterr().err
    assert resume_command.main([str(path / "1_seed=1")]) == 2
    assert set(states(path).values()) == {"queued"}
    slurm._remembered.clear()
    (fake / "squeue").write_text("")
    assert resume_command.main([str(path), "hydra/launcher=basic"]) == 0
    assert read_run(path / "1_seed=1").state == "done"


def test_a_submission_that_a_run_does_not_belong_to_any_more_does_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = planned(tmp_path / "run", "queued")
    before = run.status
    work(str(run.path), None, "rnnlab-s-0", 3)
    assert run.status == before
    assert "belongs to rnnlab-s-1 by now" in capfd.readouterr().out


# ---- on a real one -------------------------------------------------------------------------------------

LONG = ("data.batch_size=8", "trainer.accelerator=cpu", "instruments=none", "model.hidden_size=4",
        "data.num_samples=600", "data.length=12", "data.future_length=5", "trainer.max_epochs=24",
        "trainer.checkpoint_seconds=0.0", "model.dropout=0.3", "model.num_layers=2")  # fmt: skip


# tests/slurm/cluster start, as root, starts one
real = [pytest.mark.slow, pytest.mark.needs("slurm-cluster")]


def begin(path: Path, *more: str) -> "subprocess.Popen[str]":
    """A sweep of two jobs."""
    return start("train", "-m", *LONG, "hydra/launcher=slurm", "hydra.launcher.time_minutes=5", "seed=0,1", *more,
                 f"hydra.sweep.dir={path}")  # fmt: skip


def time_is_over(job: dict[str, Any]) -> None:
    """What Slurm does hydra.launcher.signal_seconds before the limit."""
    slurm.ask("scancel", "--signal=USR2", job["slurm"]["job"])
    wait_until(lambda: is_told(job["pid"], signal.SIGUSR2))


def gives_way(job: str) -> bool:
    """Whether Slurm has told a job that another one needs its place."""
    said = dict(re.findall(r"(\w+)=(\S+)", slurm.ask("scontrol", "--oneliner", "show", "job", job)))
    return said["JobState"] != "RUNNING" or said.get("PreemptTime", "None") not in ("None", "N/A")


def resume(path: Path, *more: str, status: int = 0) -> str:
    return ended(start("resume", str(path), *more), status)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(SLURM_CONF))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep, undisturbed, and not on Slurm: what it computes must be the same there."""
    path = tmp_path_factory.mktemp("whole") / "s"
    ended(start("train", "-m", *LONG, "seed=0,1", f"hydra.sweep.dir={path}"))
    return path


class OnSlurm:
    pytestmark = real


@pytest.mark.usefixtures("cluster")
class TestOnSlurm(OnSlurm):
    def test_a_job_that_is_killed_harms_nobody_and_is_resumed(self, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = begin(path)
        with held(path, process, jobs=2):
            os.kill(status(path)[0]["pid"], signal.SIGKILL)
        output = ended(process, 1)
        assert list(states(path).values()) == ["failed", "done"]
        assert "killed by SIGKILL" in output
        resume(path)
        assert scores(path) == scores(whole)

    @pytest.mark.exhaustive
    def test_a_job_whose_time_is_over_queues_again_and_goes_on(self, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = begin(path)
        with held(path, process, jobs=2):
            time_is_over(status(path)[0])
        ended(process)
        assert [each["attempts"] for each in status(path)] == [2, 1]
        assert status(path)[0]["slurm"]["time_outs"] == 1
        assert scores(path) == scores(whole)

    @pytest.mark.exhaustive
    def test_a_job_has_so_many_turns_and_no_more(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = begin(path, "hydra.launcher.max_requeues=0")
        with held(path, process, jobs=2):
            time_is_over(status(path)[0])
        assert "its time was over 1 times (hydra.launcher.max_requeues=0)" in ended(process, 1)

    def test_a_job_that_has_to_give_way_goes_on_later(self, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = begin(path, "hydra.launcher.partition=spare")
        with held(path, process, jobs=2):
            jobs = [each["slurm"]["job"] for each in status(path)]
            slurm.ask("sbatch", "--partition=main", "--nodes=2", "--exclusive", "--time=2", "--wrap=sleep 1",
                      f"--output={tmp_path}/out")  # fmt: skip
            # Slurm tells them, and lets them go on to write their checkpoints
            wait_until(lambda: all(gives_way(job) for job in jobs), process)
        ended(process)
        assert [each["attempts"] for each in status(path)] == [2, 2]
        assert [each["slurm"]["time_outs"] for each in status(path)] == [0, 0]
        assert scores(path) == scores(whole)

    def test_jobs_go_on_without_the_command_and_are_found_again(
        self, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "s"
        assert "2 submitted" in ended(begin(path, "hydra.launcher.wait=false"))
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")
        with held(path, jobs=2):
            process = start("resume", str(path))
            assert process.stdout is not None
            assert any("2 in its queue already" in line for line in process.stdout)
        ended(process)
        assert [each["attempts"] for each in status(path)] == [1, 1]
        assert scores(path) == scores(whole)

    @pytest.mark.exhaustive
    def test_what_happens_while_nobody_leads_is_found_out(self, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = begin(path)
        with held(path, process, jobs=2):
            process.kill()
            process.communicate()
            os.kill(status(path)[0]["pid"], signal.SIGKILL)
        job = status(path)[0]["slurm"]
        wait_until(lambda: (job["name"], job["index"]) not in slurm.queue([job["name"]]))
        ended(start("report", str(path)))
        assert states(path)["0_seed=0"] == "failed"
        resume(path)
        assert status(path)[1]["attempts"] == 1
        assert scores(path) == scores(whole)

    @pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
    def test_ctrl_c_stops_what_runs_and_takes_the_rest_out(self, times: int, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "s"
        process = start("train", "-m", *LONG, "hydra/launcher=slurm", "hydra.launcher.time_minutes=5", "seed=0,1",
                        "hydra.launcher.array_parallelism=1", f"hydra.sweep.dir={path}")  # fmt: skip
        with held(path, process) as (pid,):
            for told in (signal.SIGINT, signal.SIGKILL)[:times]:
                process.send_signal(signal.SIGINT)
                wait_until(lambda told=told: is_told(pid, told))  # type: ignore[misc]
        assert f"rnnlab resume {path}" in ended(process, 130)
        assert list(states(path).values()) == ["interrupted", "queued"]
        assert not slurm.queue([status(path)[0]["slurm"]["name"]])
        resume(path)
        assert scores(path) == scores(whole)

    @pytest.mark.exhaustive
    def test_a_run_on_two_nodes_is_stopped_and_goes_on(self, tmp_path: Path) -> None:
        two = ("trainer.strategy=ddp", "trainer.num_nodes=2", "hydra.launcher.time_minutes=5", "hydra/launcher=slurm",
               "hydra.launcher.setup=['export MASTER_ADDR=127.0.0.1']")  # fmt: skip
        ended(start("train", "-m", *LONG, *two, f"hydra.sweep.dir={tmp_path / 'whole'}"))
        path = tmp_path / "s"
        process = start("train", "-m", *LONG, *two, f"hydra.sweep.dir={path}")
        with held(path, process):
            time_is_over(status(path)[0])
        ended(process)
        assert status(path)[0]["attempts"] == 2
        assert status(path)[0]["device"] == "2 × CPU"
        assert scores(path) == scores(tmp_path / "whole")
        # a row an epoch, written by one of the two
        rows = (path / "0" / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows[1:]] == [str(epoch) for epoch in range(1, 25)]
