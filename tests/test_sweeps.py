"""Sweeps: planned before the first job, told by the run directories, resumed to the same results."""

import errno
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import compose, create_hydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher as HydraLauncher
from hydra.types import RunMode
from omegaconf import ListConfig, flag_override, open_dict
from processes import PATIENCE, ended, held, is_told, scores, somebody_else, start, states, wait_until

from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.commands.arguments import guarded
from rnnlab.commands.composition import Composer, plain
from rnnlab.errors import InputError, Interrupted, RunFailed
from rnnlab.launch import job as job_module
from rnnlab.launch.launcher import Basic, Settings, Stop
from rnnlab.launch.local import Local
from rnnlab.launch.watch import Watch
from rnnlab.runs import sweep as sweep_module
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.recorder import StopSignals
from rnnlab.runs.sweep import SweepDirectory
from rnnlab.signals import unmasked

TINY = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=1", "trainer.accelerator=cpu",
        "instruments=none", "model.hidden_size=4")  # fmt: skip
LONGER = (*TINY[1:], "data.num_samples=200", "data.length=12", "data.future_length=5", "trainer.max_epochs=6",
          "trainer.checkpoint_seconds=0.0", "model.dropout=0.3", "model.num_layers=2")  # fmt: skip
LONGER = tuple(override for override in LONGER if override != "trainer.max_epochs=1")


def train(path: Path, *overrides: str) -> int:
    """``rnnlab train -m`` in this process."""
    return train_command.main(["-m", *TINY, *overrides, f"hydra.sweep.dir={path}"])


def resume(path: Path, *arguments: str) -> int:
    return resume_command.main([str(path), *arguments])


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


# ---- before the first job ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=lstm", "seed=3"],
        ["experiment=parity", "model=rnn", "optimizer.lr=0.5"],
        ["data=classification", "task=classification", "+trainer.limit_train_batches=3"],
        ["scheduler=cosine", "~early_stopping.patience", "model.num_layers=2"],
        ["early_stopping={patience:3,min_delta:0.1}", "data.future_length=${data.length}"],
    ],
)
def test_a_job_is_composed_as_hydra_composes_it(overrides: list[str], tmp_path: Path) -> None:
    hydra = create_hydra()
    around = [f"hydra.sweep.dir={tmp_path}"]
    master = hydra.compose_config("train", [*around, *overrides], RunMode.MULTIRUN, with_log_configuration=False)
    composer = Composer(hydra.config_loader, master, [overrides[0].split("=")[0]])
    composer.compose(0, ["model=gru", "seed=9"])  # what is shared is not spoilt by another job
    job = composer.compose(7, overrides)
    assert job.config == plain(hydra.config_loader.load_sweep_config(master, overrides))
    assert composer.compose(7, overrides) == job
    assert job.name.startswith(f"7_{overrides[0].split('=')[0]}=")


def test_all_jobs_stand_in_the_ledger_before_the_first_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[str, Any] = {}

    def run(self: Basic, jobs: Sequence[Any], *_: object) -> None:
        before.update(states(tmp_path / "s"))
        before["plan"] = json.loads((tmp_path / "s" / "jobs.json").read_text())
        before["config"] = jobs[-1].directory.config

    monkeypatch.setattr(Basic, "run", run)
    assert train(tmp_path / "s", "model=rnn,gru", "seed=0,1") == 1  # none was done
    plan = before.pop("plan")
    assert before.pop("config")["seed"] == 1
    assert before == {f"{i}_model={m},seed={s}": "queued" for i, (m, s) in enumerate(
        [("rnn", 0), ("rnn", 1), ("gru", 0), ("gru", 1)]
    )}  # fmt: skip
    assert [each["directory"] for each in plan] == list(before)
    assert len({each["digest"] for each in plan}) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=range(5,5)"], "seed=range(5,5): there is nothing in it"),
        (["seed=0,1,0"], "jobs 0 and 2 are one and the same"),
        (["model.hiden_size=3,4"], "unknown key; did you mean 'model.hidden_size'?"),
        (["optimizer.lr=1e-3,-1"], "job 1_lr=-1: optimizer.lr=-1: Invalid learning rate: -1"),
        (["seed=1,-1"], "seed=-1: must be greater than or equal to 0"),
        (["seed=0,1", "monitor=val/acuracy"], "monitor=val/acuracy: no such score"),
        (["seed=0,1", "hydra.sweep.subdir=same"], "gives jobs 0 and 1 the same directory, same"),
        (["seed=0,1", "hydra.sweep.subdir=../elsewhere"], "must be a directory below"),
        (["seed=0,1", "hydra/launcher=lokal"], "no such hydra/launcher; did you mean 'local'?"),
        (["seed=0,1", "hydra/launcher=local", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be"),
        (["seed=0,1", "hydra/launcher=local", "hydra.launcher.njobs=2"], "did you mean 'hydra.launcher.n_jobs'?"),
        (["seed=0,1", "sweep.retries=-1"], "sweep.retries=-1: must be"),
        (["seed=0,1", "sweep.fail_fast=yes,no"], "has one value"),
        (["seed=interval(0,3)"], "seed=interval(0,3): an interval has no end of values"),
        (["seed=0,1", "hydra/sweeper=random", "hydra.sweeper._target_=os.system"], "hydra.sweeper: Invalid plugin"),
        (["seed=0,1", "sweep.fail_fats=true"], "did you mean 'sweep.fail_fast'?"),
    ],
)
def test_a_sweep_that_cannot_work_says_so_and_starts_nothing(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "s", *arguments) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_several_values_without_m_say_how_to_sweep(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for override in ("model=rnn,lstm", "seed=range(3)", "seed=choice(1,2)"):
        assert train_command.main([*TINY, override, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
        assert (
            f"{override}: several values make a sweep: rnnlab train -m {shlex.quote(override)}"
            in capfd.readouterr().err
        )


def test_a_gpu_that_is_not_there_is_refused() -> None:
    from rnnlab.launch.launcher import Findings

    with pytest.raises(InputError, match=r"gpus=\[0, 3\]: there is no GPU 3 \(this machine has 2"):
        Local(gpus=[0, 3])._divide(Findings(0, gpus=2, on_gpu=True), 8)


def test_jobs_get_their_gpus_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnlab.launch.launcher import Findings

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    shared = Local(jobs_per_gpu=2)._divide(Findings(0, gpus=2, on_gpu=True), 100)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in shared] == ["0", "1", "0", "1"]
    assert {slot["OMP_NUM_THREADS"] for slot in shared} == {"2"}
    assert Local()._divide(Findings(0, gpus=2, on_gpu=False), 3) == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert Local(gpus=[1])._divide(Findings(0, gpus=2, on_gpu=True), 9)[0]["CUDA_VISIBLE_DEVICES"] == "6"


def test_a_value_of_a_sweep_may_be_null(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "early_stopping.patience=null,3", "sweep.dry_run=true") == 0
    assert "2 jobs, checked" in capfd.readouterr().out


def test_a_dry_run_prints_the_jobs_and_leaves_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "model=rnn,gru", "sweep.dry_run=true") == 0
    printed = capfd.readouterr().out
    assert "2 jobs" in printed
    assert "1_model=gru" in printed
    assert not (tmp_path / "s").exists()


def test_a_dry_run_of_many_jobs_is_a_summary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "model=rnn,gru", "seed=range(30)", "sweep.dry_run=true") == 0
    lines = capfd.readouterr().out.splitlines()
    assert "60 jobs, checked" in lines[0] and len(lines) < 25
    assert lines[1].strip() == "0_model=rnn,seed=0" and "more" in lines[-5]
    assert [line.strip() for line in lines[-4:-2]] == ["58_model=gru,seed=28", "59_model=gru,seed=29"]
    assert lines[-2:] == ["model: rnn, gru", "seed: 0, 1, 2, 3, 4, 5, …, 29 (30 values)"]
    assert not (tmp_path / "s").exists()


def test_a_full_disk_while_planning_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, written = sweep_module.replace, []

    def replace(path: Path, content: str, durable: bool = True) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, content, durable)

    monkeypatch.setattr(sweep_module, "replace", replace)
    assert train(tmp_path / "s", "seed=0,1,2,3") == 2
    assert capfd.readouterr().err.endswith("cannot be written: No space left on device\n")
    assert not (tmp_path / "s").exists()


def test_too_little_room_is_said_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from collections import namedtuple

    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("Usage", "total used free")(10**9, 10**9, 200_000))
    assert train(tmp_path / "s", "seed=0,1") == 2
    error = capfd.readouterr().err
    assert "make room" in error and "there are 0.2 MB left" in error


def test_a_disk_that_is_full_at_the_end_hides_no_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def fail(self: Basic, jobs: Sequence[Any], *_: object) -> None:
        for job in jobs:
            job.directory.update_status("failed", reason="the disk refuses to be written")

    monkeypatch.setattr("rnnlab.commands.report.write_leaderboard", full)
    monkeypatch.setattr(Basic, "check", lambda *_: None)
    monkeypatch.setattr(Basic, "run", fail)
    assert train(tmp_path / "s", "seed=0,1") == 1
    said = capfd.readouterr()
    assert "the disk refuses to be written" in said.out
    assert "--output" not in said.err and f"rnnlab resume {tmp_path / 's'}" in said.err
    assert "the leaderboard is not written" in said.err and "No space left on device" in said.err


def test_two_sweeps_of_one_second_get_directories_of_their_own(tmp_path: Path) -> None:
    claimed = [SweepDirectory.claim(tmp_path / "s", {}, chosen=False).path.name for _ in range(3)]
    assert claimed == ["s", "s-2", "s-3"]
    with pytest.raises(InputError, match=r"not empty.*rnnlab resume"):
        SweepDirectory.claim(tmp_path / "s", {}, chosen=True)


# ---- while it runs -----------------------------------------------------------------------------------


def test_lack_of_memory_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failures = iter([MemoryError("no room"), RuntimeError("CUDA out of memory"), None, RuntimeError("a bug"), None])

    def flaky(directory: RunDirectory, *arguments: Any, **options: Any) -> Any:
        failure = next(failures)
        if failure is not None:
            directory.update_status("failed", reason=str(failure))
            raise failure
        return execute(directory, *arguments, **options)

    monkeypatch.setattr(job_module, "execute", flaky)
    assert train(tmp_path / "s", "seed=0,1,2", "sweep.retries=2") == 1
    assert list(states(tmp_path / "s").values()) == ["done", "failed", "done"]  # a bug stays one
    assert RunDirectory(tmp_path / "s" / "0_seed=0").status.attempts == 3
    assert "Traceback" in (tmp_path / "s" / "1_seed=1" / "train.log").read_text()
    assert "CUDA out of memory: tried again (2)" in capfd.readouterr().out


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "optimizer.lr=1e-3,1e30,1e-2", "sweep.fail_fast=true") == 1
    assert list(states(tmp_path / "s").values()) == ["done", "failed", "queued"]
    assert f"Go on with: rnnlab resume {tmp_path / 's'}" in capfd.readouterr().err


def test_a_job_that_exits_leaves_the_rest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(3))

    def leaving(directory: RunDirectory, *arguments: Any, **options: Any) -> Any:
        if next(numbers) == 0:
            directory.update_status("failed", reason="SystemExit: 3")
            sys.exit(3)
        return execute(directory, *arguments, **options)

    monkeypatch.setattr(job_module, "execute", leaving)
    assert train(tmp_path / "s", "seed=0,1,2") == 1
    assert list(states(tmp_path / "s").values()) == ["failed", "done", "done"]


class Foreign(HydraLauncher):
    """As launchers of others work: each job composes its config anew, wherever it is."""

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        returns = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
            returns.append(
                run_job(self.task_function, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context)
            )  # fmt: skip
        return returns


Foreign.__module__ = "hydra_plugins.foreign"


@pytest.mark.slow
def test_launchers_of_others_have_the_same_ledger_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("hydra_plugins.foreign")
    module.Foreign = Foreign  # type: ignore[attr-defined]
    package = types.ModuleType("hydra_plugins")
    package.__path__ = []  # Hydra looks through it where no test before this one has made it look for plugins
    monkeypatch.setitem(sys.modules, "hydra_plugins", package)
    monkeypatch.setitem(sys.modules, "hydra_plugins.foreign", module)
    conf = tmp_path / "conf" / "hydra" / "launcher"
    conf.mkdir(parents=True)
    (conf / "foreign.yaml").write_text("_target_: hydra_plugins.foreign.Foreign\n")
    Plugins.instance().register(Foreign)
    path = tmp_path / "s"
    started = ["-m", *TINY, "--config-dir", str(tmp_path / "conf"), "hydra/launcher=foreign"]
    assert train_command.main([*started, "optimizer.lr=1e-3,1e30", f"hydra.sweep.dir={path}"]) == 1
    assert states(path) == {"0_lr=0.001": "done", "1_lr=1e+30": "failed"}
    assert resume(path, "optimizer.lr=1e-2") == 2  # these configs may come from anybody
    assert resume(path, "optimizer.lr=1e-2", "--allow", str(tmp_path / "conf")) == 1  # the failed one fails again
    assert states(path) == {"0_lr=0.001": "done", "1_lr=1e+30": "failed", "2_lr=0.01": "done"}


# ---- resumed -----------------------------------------------------------------------------------------


def test_a_sweep_resumes_what_is_left_and_is_extended(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    assert train(path, "model=rnn,gru", "seed=range(2)") == 0
    done = contents(path / "0_model=rnn,seed=0")
    assert resume(path) == 0
    assert "nothing to go on with" in capfd.readouterr().out
    # one was never started, one lost its status, one its whole directory
    RunDirectory(path / "1_model=rnn,seed=1").update_status("queued")
    (path / "2_model=gru,seed=0" / "status.json").write_text('{"state": "do')
    for file in contents(path / "3_model=gru,seed=1"):
        file.unlink()
    assert resume(path, "seed=range(1,3)") == 0
    assert "1 done, 3 to go on with, 2 added" in capfd.readouterr().out  # seed 1 was there already
    assert set(states(path).values()) == {"done"}
    assert list(states(path))[4:] == ["4_model=rnn,seed=2", "5_model=gru,seed=2"]
    assert contents(path / "0_model=rnn,seed=0") == done
    plan = json.loads((path / "jobs.json").read_text())
    assert [each["number"] for each in plan] == list(range(6))
    # a sweep of all of it from the start gives the same
    assert train(tmp_path / "whole", "model=rnn,gru", "seed=range(3)") == 0
    by_overrides = lambda table: sorted(str(sorted(each.items())) for each in table.values())  # noqa: E731
    assert by_overrides(scores(path)) == by_overrides(scores(tmp_path / "whole"))


def test_resuming_a_sweep_with_a_length_says_that_it_begins_anew(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a run the same words make it longer."""
    path = tmp_path / "s"
    assert train(path, "seed=0") == 0
    capfd.readouterr()
    assert resume(path, "trainer.max_steps=3") == 0
    told = capfd.readouterr().out
    line = next(line for line in told.splitlines() if line.startswith("trainer.max_steps=3: "))
    assert "the jobs that are added train from the start; a run goes on by " in line
    assert line.endswith("trainer.max_steps=3") and f"resume {path}/" in line
    assert told.index(line) < told.index("Leaderboard")
    assert resume(path, "seed=1") == 0
    assert "train from the start" not in capfd.readouterr().out


@pytest.mark.slow
def test_a_sweep_killed_before_its_jobs_were_written_down_is_planned_anew(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0,1") == 0
    (path / "jobs.json").unlink()
    (path / "0_seed=0" / "config.yaml").unlink()
    assert resume(path) == 0
    assert states(path) == {"0_seed=0": "done", "1_seed=1": "done"}


def test_a_sweep_that_is_another_one_by_now_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0,1") == 0
    run = RunDirectory(path / "1_seed=1")
    run.update_status("queued")
    run.write_config({**run.config, "optimizer": {**run.config["optimizer"], "lr": 0.5}})
    before = contents(path)
    capfd.readouterr()
    assert resume(path) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "optimizer.lr was 0.5 and is 0.003" in error
    assert "--force" in error
    before[path / "sweep.lock"] = (path / "sweep.lock").read_bytes()
    assert contents(path) == before
    code = {**sweep_module.code_digests(), "cells/gru.py": "another"}
    for module in (sweep_module, sys.modules["rnnlab.commands.resumption"]):
        monkeypatch.setattr(module, "code_digests", lambda: code)
    assert resume(path) == 2
    assert "rnnlab/cells/gru.py is another" in capfd.readouterr().err
    assert resume(path, "--force") == 0
    assert run.config["optimizer"]["lr"] == 0.5
    assert json.loads((path / "sweep.json").read_text())["forced"]


def test_the_second_of_two_resumes_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0,1") == 0
    with somebody_else(path / "sweep.lock") as pid:
        assert resume(path) == 2
    assert f"is being worked on by process {pid}" in capfd.readouterr().err
    assert resume(path) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=range(3,3)"], "nothing in it"),
        (["model.hiden_size=3"], "did you mean 'model.hidden_size'?"),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["hydra/launcher=lokal"], "did you mean 'local'?"),
    ],
)
def test_a_resume_that_cannot_work_changes_nothing(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    assert train(path, "seed=0") == 0
    before = contents(path)
    capfd.readouterr()
    assert resume(path, *arguments) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    after = contents(path)
    assert {file: after[file] for file in before if file.name != "sweep.lock"} == {
        file: before[file] for file in before if file.name != "sweep.lock"
    }
    assert set(after) == set(before)


def test_a_run_takes_no_overrides_at_resume(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "s", "seed=0") == 0
    assert resume(tmp_path / "s" / "0", "seed=1") == 2
    assert "is a run, whose config stays" in capfd.readouterr().err


def test_what_failed_of_itself_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint may hold what it failed of: a loss that is no number, and every epoch counted."""
    assert train(tmp_path / "s", "seed=0") == 0
    run = RunDirectory(tmp_path / "s" / "0")
    whole = scores(tmp_path / "s")

    def failing(*_: Any, **__: Any) -> None:
        run.update_status("failed", reason="val/loss became nan")
        raise RunFailed("val/loss became nan")

    run.update_status("queued")
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "execute", failing)
        assert resume(tmp_path / "s") == 1
    run.last_checkpoint.write_bytes(b"not to be looked at")
    assert resume(tmp_path / "s") == 0
    assert scores(tmp_path / "s") == whole


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_the_sweep_resumes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    assert train_command.main(["-m", *LONGER, "seed=0,1,2", f"hydra.sweep.dir={whole}"]) == 0
    rows = cut / "1_seed=1" / "metrics.csv"

    def interrupt() -> None:
        wait_until(lambda: rows.exists() and rows.read_text().count("\n") > 2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert train_command.main(["-m", *LONGER, "seed=0,1,2", f"hydra.sweep.dir={cut}"]) == 130
    thread.join()
    assert list(states(cut).values()) == ["done", "interrupted", "queued"]
    assert "Go on with: rnnlab resume" in capfd.readouterr().err
    assert RunDirectory(cut / "1_seed=1").last_checkpoint.exists()
    assert resume(cut) == 0
    assert scores(cut) == scores(whole)


# ---- in processes of their own -------------------------------------------------------------------------


LOCAL = ("hydra/launcher=local", "hydra.launcher.n_jobs=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole") / "s"
    ended(start("train", "-m", *LONGER, *LOCAL, "model=rnn,gru", "seed=0,1", f"hydra.sweep.dir={path}"))
    return path


def begin(path: Path, *arguments: str) -> "subprocess.Popen[str]":
    return start("train", "-m", *LONGER, *LOCAL, "model=rnn,gru", "seed=0,1", f"hydra.sweep.dir={path}", *arguments)


@pytest.mark.slow
def test_a_job_that_is_killed_harms_nobody(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path)
    with held(path, process) as (pid,):
        os.kill(pid, signal.SIGKILL)
    output = ended(process, 1)
    assert sorted(states(path).values()) == ["done"] * 3 + ["failed"]
    assert "killed by SIGKILL" in output
    assert resume(path) == 0
    assert scores(path) == scores(whole)


@pytest.mark.slow
def test_a_job_that_is_killed_is_tried_again(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path, "sweep.retries=1")
    with held(path, process) as (pid,):
        os.kill(pid, signal.SIGKILL)
    output = ended(process)
    assert "tried again (1)" in output
    assert scores(path) == scores(whole)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_all_processes(times: int, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path)
    with held(path, process) as (pid,):
        for told in (signal.SIGTERM, signal.SIGKILL)[:times]:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            wait_until(lambda told=told: is_told(pid, told))  # type: ignore[misc]
    output = ended(process, 130)
    assert f"rnnlab resume {path}" in output
    assert "interrupted" in states(path).values()
    assert "running" not in states(path).values()
    assert resume(path) == 0
    assert scores(path) == scores(whole)


@pytest.mark.slow
def test_jobs_stop_when_the_process_that_leads_them_is_lost(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    process = begin(path)
    with held(path, process):
        process.kill()
        process.wait()
    process.communicate()  # what it printed was open in the jobs' server, too
    assert resume(path) == 0  # it waits for them
    assert scores(path) == scores(whole)


@pytest.mark.slow
def test_a_sweep_killed_with_everything_loses_nothing(whole: Path, tmp_path: Path) -> None:
    """RNNLAB_KILLS=100 for the whole; from the making of the directory to the last job's end, at random."""
    kills = int(os.environ.get("RNNLAB_KILLS", "5"))
    moments = random.Random(0)
    killed = sweeps = 0
    while killed < kills:
        path = tmp_path / f"s{sweeps}"
        sweeps += 1
        arguments = ["train", "-m", *LONGER, *LOCAL, "model=rnn,gru", "seed=0,1", f"hydra.sweep.dir={path}"]
        done = False
        while not done:
            process = start(*arguments)
            wait_until(lambda file=path / "sweep.json": file.exists(), process)  # type: ignore[misc]
            try:
                output, _ = process.communicate(timeout=moments.uniform(0, 9) if killed < kills else PATIENCE)
                assert process.returncode == 0, output
                done = True
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed += 1
            arguments = ["resume", str(path)]
        assert scores(path) == scores(whole)
        assert set(states(path).values()) == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.5, 3.0])
def test_a_sweep_killed_from_its_first_moment_on_can_be_had(seconds: float, tmp_path: Path) -> None:
    """Whatever a kill leaves: either resume goes on with it, or the same command begins there."""
    path = tmp_path / "s"
    command = ["train", "-m", *TINY, "seed=0,1", f"hydra.sweep.dir={path}"]
    process = start(*command)
    threading.Event().wait(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if (path / "sweep.json").exists():
        assert resume(path) == 0
    else:
        assert train(path, "seed=0,1") == 0
    assert states(path) == {"0_seed=0": "done", "1_seed=1": "done"}


def test_settings_of_a_stop() -> None:
    stop = Stop()
    assert not stop.asked
    with stop.working():
        stop.handle(signal.SIGTERM, None)
        stop.handle(signal.SIGTERM, None)  # of one and the same stop of a group
        assert stop.asked and not stop.at_once and stop.status == 143
    stop = Stop()
    with stop.working():
        stop.handle(signal.SIGINT, None)
        stop.handle(signal.SIGINT, None)
    assert stop.at_once and stop.status == 130
    with pytest.raises(Interrupted):  # no job that could write a checkpoint
        stop.handle(signal.SIGTERM, None)
    assert Settings().retries == 0


def test_the_best_so_far_is_among_runs_that_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def job(data: str, score: float) -> tuple[str, RunDirectory, dict[str, Any]]:
        directory = RunDirectory.claim(tmp_path / f"{data}{score}")
        config = {
            "data": {"_target_": f"rnnlab.data.{data}.Data"},
            "task": {"_target_": "rnnlab.tasks.task.Task"},
            "monitor": "val/loss",
            "mode": "min",
        }
        directory.update_status("done")
        directory.write_metrics({"val/loss": score})
        return f"{data}{score}", directory, config

    jobs = [job("sine", 0.5), job("parity", 0.1), job("sine", 0.3), job("sine", 0.4)]
    with Watch(tmp_path, len(jobs)) as watch:
        for name, directory, config in jobs:
            watch.started(name, directory, config)
            watch.ended(name)
    lines = capsys.readouterr().out.splitlines()
    assert [re.search(r"best .*", line).group().rstrip(")").split(",")[0] for line in lines] == [  # type: ignore[union-attr]
        "best so far",
        "best so far",
        "best so far",
        "best of sine 0.3: sine0.3",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 left)"), (None, "1 left)"), (90.0, "1 left, about 90 s)")])
def test_what_is_left_is_told_where_it_is_something(
    seconds: float | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No seconds where there are none, nor of jobs none of which is done."""
    directory = RunDirectory.claim(tmp_path / "run")
    target = {"_target_": "rnnlab.data.sine.Sine"}
    config = {"data": target, "task": target, "monitor": "val/loss", "mode": "min"}
    directory.update_status("done" if seconds is not None else "failed", reason="a bug")
    directory.write_metrics({"val/loss": 0.5})
    clock = [100.0]
    monkeypatch.setattr("rnnlab.launch.watch.time.monotonic", lambda: clock[0])
    with Watch(tmp_path, 2) as watch:
        watch.started("run", directory, config)
        clock[0] += seconds or 90.0
        watch.ended("run")
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith(said) if seconds is not None else "about" not in line


# ---- how many, and how to stop -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["seed=range(0,1e12)"], "seed=range(0,1e12): 1,000,000,000,000 jobs, and sweep.max_jobs=10000 is the most"),
        (["seed=shuffle(range(0,1000000000000))"], "1,000,000,000,000 jobs"),
        (["seed=range(0,inf)"], "infinitely many jobs"),
        (["seed=range(0,nan)"], "write range(start,stop)"),
        (["seed=range(0,5,0)"], "write range(start,stop)"),
        (["seed=range(200)", "data.noise=range(0,1,0.01)"], "seed=range(200): 20,000 jobs"),
        (["seed=0,1,2", "sweep.max_jobs=2"], "seed=0,1,2: 3 jobs, and sweep.max_jobs=2"),
        (["hydra/sweeper=random", "hydra.sweeper.n_trials=1000000000", "seed=0,1", "optimizer.lr=interval(0.1,1)"],
         "hydra.sweeper.n_trials=1000000000 with 2 seeds each: 2,000,000,000 jobs"),
        (["hydra/sweeper=random", "model.hidden_size=range(1,1e12)"], "write interval(low,high)"),
    ],
)  # fmt: skip
def test_a_sweep_of_too_many_jobs_is_refused_before_they_are_made(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Basic, "check", lambda *_: None)
    assert train(tmp_path / "s", *arguments) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "s").exists()


def test_a_sweep_is_not_extended_beyond_its_most(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("check", "run"):
        monkeypatch.setattr(Basic, name, lambda *_: None)
    assert train(tmp_path / "s", "seed=0,1", "sweep.max_jobs=3") == 1
    before = contents(tmp_path / "s")
    assert resume(tmp_path / "s", "seed=range(1e9)") == 2
    assert "1,000,000,000 jobs, and sweep.max_jobs=3 is the most" in capfd.readouterr().err
    assert contents(tmp_path / "s").keys() == before.keys()


def test_a_signal_while_jobs_are_planned_ends_the_sweep_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = Composer.compose

    def told(self: Composer, number: int, overrides: Sequence[str]) -> Any:
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return composed(self, number, overrides)

    monkeypatch.setattr(Composer, "compose", told)
    assert train(tmp_path / "s", "seed=range(300)") == 143
    assert "stopped" in capfd.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_process_that_cannot_listen_is_ended() -> None:
    """A long call of native code: Python does nothing at a signal until it is over, in no thread."""
    code = (
        "import signal; from rnnlab.signals import guard\n"
        "signal.signal(signal.SIGINT, lambda *_: None); guard(0.2)\n"  # where the signal comes before the long call
        "print('ready', flush=True); sum(range(10**12))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_process_that_listens_is_not_ended() -> None:
    code = (
        "import signal, time; from rnnlab.signals import guard, heard\n"
        "signal.signal(signal.SIGTERM, lambda *_: heard()); guard(0.5)\n"
        "print('ready', flush=True); signal.pause(); signal.pause(); time.sleep(1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        os.kill(process.pid, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:  # the two may have come as one
            process.send_signal(signal.SIGTERM)
            threading.Event().wait(0.3)
        assert process.returncode == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted(signal.SIGTERM)])
def test_a_signal_is_obeyed_though_whoever_it_interrupts_fails_of_something_else(stop: BaseException) -> None:
    def interrupted() -> int:
        try:
            try:
                raise stop
            except Exception:  # noqa: BLE001 (a picture, a file, a compiler: it may fail in any way)
                return 0
            finally:
                raise AttributeError("what was not finished cannot be undone")
        except AttributeError as error:
            raise InputError("this cannot be composed") from error

    with pytest.raises(type(stop)), unmasked():
        interrupted()
    assert guarded(interrupted) == (130 if isinstance(stop, KeyboardInterrupt) else 143)
    with pytest.raises(InputError), unmasked():
        raise InputError("bad input")


def test_a_signal_while_a_config_is_composed_is_no_error_of_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(self: ListConfig, item: Any) -> None:
        with flag_override(self, "struct", False):  # of OmegaConf itself, which has lost its content by then
            self.__dict__["_metadata"] = None
            raise KeyboardInterrupt

    monkeypatch.setattr(ListConfig, "append", append)
    assert train_command.main(["data=csv", f"hydra.run.dir={tmp_path / 'r'}"]) == 130
    assert capfd.readouterr().err == "stopped\n"


def test_a_signal_before_the_training_ends_a_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []

    def slow(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append(True)  # such as the rest of a large file
        raise AssertionError

    directory = RunDirectory.claim(tmp_path / "run", compose(*TINY))
    monkeypatch.setattr("rnnlab.runs.execution.prepare", slow)
    with pytest.raises(Interrupted):
        execute(directory, compose(*TINY))
    assert not reached and directory.status.state == "interrupted"


def test_a_second_signal_ends_a_training_and_a_double_one_does_not() -> None:
    stop = StopSignals()
    stop.trains = True
    stop._handle(signal.SIGTERM, None)
    stop._handle(signal.SIGTERM, None)  # of one and the same stop of a group
    assert stop.received == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt):
        stop._handle(signal.SIGINT, None)
    stop._received_at -= 3
    with pytest.raises(KeyboardInterrupt):
        stop._handle(signal.SIGTERM, None)
