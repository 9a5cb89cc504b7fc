"""More epochs for a finished run: as if it had been trained so long from the start."""

import itertools
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose

from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.errors import Interrupted
from rnnlab.launch.job import execute_job
from rnnlab.runs import budget, execution
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.recorder import Recorder

SMALL = (*(each for each in TINY if "max_epochs" not in each), "model.hidden_size=4", "model.dropout=0.3",
         "model.num_layers=2", "data.length=8", "instruments=none")  # fmt: skip
Train = Callable[..., RunDirectory]


@pytest.fixture
def begin(tmp_path: Path) -> Train:
    def train(name: str, *overrides: str) -> RunDirectory:
        path = tmp_path / name
        assert train_command.main([*SMALL, *overrides, f"hydra.run.dir={path}"]) == 0
        return RunDirectory.open(path)

    return train


def resume(run: RunDirectory, *overrides: str) -> int:
    return resume_command.main([str(run.path), *overrides])


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    """But for times."""
    assert one.epochs == other.epochs
    final = [{k: v for k, v in run.metrics.items() if not k.startswith("seconds")} for run in (one, other)]
    assert final[0] == final[1]
    assert all(run.metrics["seconds_total"] >= run.metrics["seconds"] for run in (one, other))
    for name in ("best_checkpoint", "last_checkpoint"):
        weights = [torch.load(getattr(run, name), weights_only=True)["state_dict"] for run in (one, other)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert one.status.state == other.status.state == "done"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["trainer.max_epochs=2"], ["trainer.max_epochs=4"]),
        (["trainer.max_epochs=3", "scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.3"],
         ["trainer.max_epochs=5"]),
        (["trainer.max_steps=50"], ["trainer.max_steps=100"]),
    ],
    ids=["epochs", "plateau", "steps"],
)  # fmt: skip
@pytest.mark.few("steps")
def test_a_longer_run_is_as_if_it_had_been_so_long_from_the_start(
    before: list[str], after: list[str], begin: Train
) -> None:
    run = begin("run", *before)
    best = run.metrics["best_epoch"]
    rows = run.epochs
    assert resume(run, *after) == 0
    assert run.epochs[: len(rows)] == rows and len(run.epochs) > len(rows)
    assert run.metrics["best_epoch"] >= best
    assert_same(run, begin("whole", *(each for each in before if each.partition("=")[0] not in after[0]), *after))


@pytest.mark.slow
def test_epochs_stay_as_long_as_they_were_where_more_steps_would_cut_others(
    begin: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "LEAST_BETWEEN", 5)
    run = begin("run", "trainer.max_steps=6")
    assert [row["step"] for row in run.epochs] == [6]
    assert resume(run, "trainer.max_steps=15") == 0  # which alone would be three epochs of 5
    assert [row["step"] for row in run.epochs] == [6, 12]
    assert_same(run, begin("whole", "trainer.max_steps=15", "trainer.steps_per_epoch=6"))


def test_a_carried_state_stays_within_its_passes_in_a_longer_run(begin: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LEAST_BETWEEN", 5)
    run = begin("run", "data=text", "trainer.max_steps=6")  # an epoch of more than a pass would have all six
    assert [row["step"] for row in run.epochs] == [4]
    assert resume(run, "trainer.max_steps=12") == 0
    assert [row["step"] for row in run.epochs] == [4, 8, 12]
    whole = begin("whole", "data=text", "trainer.max_steps=12")
    assert_same(run, whole)
    assert run.config == whole.config


def test_patience_may_be_given_to_a_run_that_had_none(begin: Train) -> None:
    run = begin("run", "trainer.max_epochs=2", "early_stopping.patience=null")
    assert resume(run, "trainer.max_epochs=3", "early_stopping.patience=2") == 0
    assert len(run.epochs) == 3 and run.config["early_stopping"]["patience"] == 2


@pytest.mark.slow
def test_who_was_stopped_early_needs_more_patience(begin: Train, capfd: pytest.CaptureFixture[str]) -> None:
    impatient = ("optimizer.lr=0.5", "trainer.max_epochs=9", "early_stopping.patience=1")
    run = begin("run", *impatient)
    epochs = len(run.epochs)
    assert epochs < 9
    config, status = run.config, run.status
    assert resume(run, "trainer.max_epochs=12") == 2
    assert "early_stopping.patience=1: this run was stopped after" in capfd.readouterr().err
    assert (run.config, run.status) == (config, status)
    assert resume(run, "trainer.max_epochs=12", "early_stopping.patience=30") == 0
    whole = begin("whole", "optimizer.lr=0.5", "trainer.max_epochs=12", "early_stopping.patience=30")
    assert len(run.epochs) == 12
    assert_same(run, whole)


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_told_to_train_longer(
    begin: Train, tmp_path: Path
) -> None:
    run = RunDirectory.claim(tmp_path / "run", compose(*SMALL, "trainer.max_epochs=1"))
    assert resume(run, "trainer.max_epochs=2") == 0
    assert len(run.epochs) == 2
    assert_same(run, begin("whole", "trainer.max_epochs=2"))


def test_a_longer_run_that_is_stopped_keeps_what_it_had_and_goes_on(
    begin: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin("run", "trainer.max_epochs=2")
    best, metrics = run.best_checkpoint.read_bytes(), run.metrics

    def stopped(*_: Any, **__: Any) -> Any:
        raise Interrupted(15)

    monkeypatch.setattr(execution, "_execute", stopped)
    assert resume(run, "trainer.max_epochs=4") == 143
    monkeypatch.undo()
    assert run.best_checkpoint.read_bytes() == best and run.metrics == metrics and len(run.epochs) == 2
    assert resume(run) == 0
    assert_same(run, begin("whole", "trainer.max_epochs=4"))


def test_what_a_run_cannot_be_told_anew_is_one_line_and_changes_nothing(
    begin: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    run = begin("run", "trainer.max_epochs=2", "scheduler=one_cycle")
    config, status = run.config, run.status
    for override, said in (
        ("trainer.max_epochs=1", "trainer.max_epochs=1: this run has trained for 8 steps (2 epochs) already"),
        ("trainer.max_epochs=2", "give it more"),
        ("trainer.max_epochs=3", "scheduler=one_cycle ends where the training was to end"),
        ("trainer.max_epochs=x", "must be a whole number"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be"),
        ("optimizer.lr=0.1", "whose config stays but for how long it trains"),
        ("trainer.max_epoch=3", "did you mean 'trainer.max_epochs'?"),
    ):
        assert resume(run, override) == 2
        error = capfd.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert (run.config, run.status) == (config, status)


def test_a_run_whose_checkpoint_is_damaged_stays_done(begin: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = begin("run", "trainer.max_epochs=2")
    run.last_checkpoint.write_bytes(b"no checkpoint")
    before = run.status
    assert resume(run, "trainer.max_epochs=3") == 2
    assert "damaged" in capfd.readouterr().err
    assert run.status == before


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.slow
def test_who_is_cut_short_draws_the_masks_that_it_would_have_drawn(
    how: str, begin: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of recurrent dropout and zoneout: stopped, it goes on within the epoch; killed, from the one before."""
    drawn = ("model.recurrent_dropout=0.3", "model.zoneout=0.2", "trainer.max_epochs=3", "trainer.checkpoint_seconds=0")
    whole = begin("whole", *drawn)
    batches = itertools.count(1)

    def cut(self: Recorder, *arguments: Any) -> None:
        if next(batches) == 6:  # of 4 an epoch
            if how == "killed":
                raise Killed
            assert self.stop is not None
            self.stop.received = signal.SIGTERM
        ends(self, *arguments)

    ends = Recorder.on_train_batch_end
    monkeypatch.setattr(Recorder, "on_train_batch_end", cut)
    with pytest.raises(Killed) if how == "killed" else nullcontext():
        train_command.main([*SMALL, *drawn, f"hydra.run.dir={tmp_path / 'cut'}"])
    monkeypatch.undo()
    run = RunDirectory.open(tmp_path / "cut")
    steps = torch.load(run.last_checkpoint, weights_only=True)["global_step"]
    assert (run.status.state, steps) == (("failed", 4) if how == "killed" else ("interrupted", 6))
    assert resume(run) == 0
    assert_same(run, whole)


def test_a_runs_log_says_at_which_step_it_was_resumed(begin: Train) -> None:
    run = begin("r", "trainer.max_steps=50")
    step = run.metrics["steps"]
    before = run.log.read_text()
    assert resume(run, "trainer.max_steps=100") == 0
    lines = run.log.read_text().removeprefix(before).splitlines()
    assert lines[0].endswith(f" INFO rnnlab: resumed at step {step}, trainer.max_steps=100")
    assert lines[0][:4].isdigit() and " INFO rnnlab: done: {" in lines[-1]
    # what is refused or fails stands there, too
    run.last_checkpoint.write_bytes(b"no checkpoint")
    assert resume(run, "trainer.max_steps=200") == 2
    assert f" ERROR rnnlab: checkpoint {run.last_checkpoint} is damaged" in run.log.read_text().splitlines()[-1]


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_job_of_a_sweep_says_so_where_it_had_begun(has_begun: bool, tmp_path: Path) -> None:
    run = RunDirectory.claim(tmp_path / "r", compose(*SMALL, "trainer.max_steps=20"))
    if has_begun:
        run.update_status("interrupted", started="2026-01-01T00:00:00+00:00")
    execute_job(run)
    assert run.status.state == "done"
    lines = [line.partition("rnnlab: ")[2] for line in run.log.read_text().splitlines()]
    resumed = ["resumed from the start: no checkpoint had been written"] if has_begun else []
    assert [line for line in lines if line.startswith("resumed")] == resumed
    assert lines[0] == "overrides: none" and lines[-1].startswith("done: ")
