"""Callbacks and loggers that a config adds, tags, and runs that start from a checkpoint or don't train."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from rnnlab.commands import report as report_command
from rnnlab.commands import resume as resume_command
from rnnlab.commands import train as train_command
from rnnlab.errors import InputError, Interrupted
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome, execute
from rnnlab.runs.preparation import prepare
from rnnlab.runs.stacking import hindrance

SMALL = ("model.hidden_size=4", "data.length=8", "instruments=none")
Train = Callable[..., Outcome]


class Counts(Callback):
    """Counts batches, over resumes."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (Path(trainer.default_root_dir) / "batches.txt").write_text(str(self.batches))


class KeepsAPath(Callback):
    """Its state is one that a checkpoint can't hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"place": Path("here")}


class Fails(CSVLogger):
    """Its server goes away."""

    def log_metrics(self, *_: Any, **__: Any) -> None:
        raise ConnectionError("the server has gone away")


class Stops(Callback):
    """Stops a run in its third epoch, as a signal would."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 2:
            raise Interrupted(15)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: part.clone() for name, part in torch.load(path, weights_only=True)["state_dict"].items()}


def test_an_average_over_epochs_is_what_is_validated_kept_and_tested(train: Train) -> None:
    ends: list[dict[str, torch.Tensor]] = []

    class Watches(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            ends.append({name: part.detach().clone() for name, part in pl_module.state_dict().items()})

    Watches.__module__ = "test_extensions"
    globals()["Watches"] = Watches
    outcome = train(
        *SMALL, "trainer.max_epochs=4", "keep=last", "callbacks=swa", "callbacks.swa.start=0.5",
        "+callbacks.watches._target_=test_extensions.Watches",
    )  # fmt: skip
    kept = weights(outcome.directory.best_checkpoint)
    for name, part in kept.items():
        torch.testing.assert_close(part, (ends[2][name] + ends[3][name]) / 2)
    plain = train(*SMALL, "trainer.max_epochs=4", "keep=last")
    assert plain.directory.epochs[1]["val/loss"] == outcome.directory.epochs[1]["val/loss"]
    assert plain.directory.epochs[3]["val/loss"] != outcome.directory.epochs[3]["val/loss"]
    assert outcome.metrics["val/loss"] == outcome.directory.epochs[3]["val/loss"]


@pytest.mark.parametrize("averages", ["ema", "swa"])
def test_a_resumed_run_averages_as_one_never_stopped(averages: str, train: Train, tmp_path: Path) -> None:
    options = (
        *SMALL,
        f"callbacks={averages}",
        "trainer.max_epochs=4",
        "+callbacks.counts._target_=test_extensions.Counts",
    )
    whole = train(*options)
    stopped = RunDirectory.claim(tmp_path / "stopped")
    with pytest.raises(Interrupted):
        execute(stopped, compose(*TINY, *options, "trainer.checkpoint_seconds=0",
                                 "+callbacks.stops._target_=test_extensions.Stops"), quiet=True)  # fmt: skip
    train(*options, resume=stopped)
    assert stopped.epochs == whole.directory.epochs
    one, other = (weights(run.best_checkpoint) for run in (stopped, whole.directory))
    assert all(torch.equal(one[name], other[name]) for name in one)
    batches = [(run.path / "batches.txt").read_text() for run in (stopped, whole.directory)]
    assert batches[0] == batches[1] == str(whole.metrics["steps"])


class Refuses(Callback):
    """Says in one of its first hooks that it lacks a package."""

    def __init__(self, hook: str) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise ModuleNotFoundError("package 'needed'\nis not installed")

        setattr(self, hook, refuse)


def test_a_state_that_no_checkpoint_can_hold_is_left_out_with_a_line(
    train: Train, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = train(*SMALL, "+callbacks.keeps._target_=test_extensions.KeepsAPath")
    assert "KeepsAPath: its state holds more than tensors and plain values" in caplog.text
    assert resume_command.main([str(outcome.directory.path)]) == 0


def test_a_logger_that_fails_costs_no_run(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train(*SMALL, "+logger.broken._target_=test_extensions.Fails")
    assert outcome.directory.status.state == "done"
    assert capsys.readouterr().out.count("logger.broken failed and is left out from here on (ConnectionError") == 1


def test_csv_beside_tensorboard_with_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    given = [
        *TINY,
        *SMALL,
        "callbacks=[ema,lr_monitor]",
        "logger=csv",
        "+trainer.log_every_n_steps=1",
        "tags=[a,two words]",
        f"hydra.run.dir={run}",
    ]
    assert train_command.main(given) == 0
    header, *rows = (run / "csv/version_0/metrics.csv").read_text().splitlines()
    assert {"train/loss", "val/loss", "test/loss", "lr-Adam"} <= set(header.split(",")) and rows
    assert "hidden_size: 4" in (run / "csv/version_0/hparams.yaml").read_text()
    assert list(run.glob("events.out.tfevents.*"))
    assert json.loads((run / "status.json").read_text())["tags"] == ["a", "two words"]
    assert train_command.main([*TINY, *SMALL, "tags=[b]", f"hydra.run.dir={tmp_path / 'other'}"]) == 0
    assert report_command.main([str(tmp_path)]) == 0
    assert "two words" in capsys.readouterr().out


@pytest.mark.needs("wandb")
def test_weights_and_biases_offline(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    outcome = train(*SMALL, "logger=wandb", "logger.wandb.online=false", "tags=[a]")
    (file,) = (outcome.directory.path / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.stat().st_size > 1000 and b"val/loss" in file.read_bytes()


@pytest.mark.needs("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its database
def test_mlflow_goes_on_in_its_own_run(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of a database

    where = f"sqlite:///{tmp_path}/mlflow.db"
    options = (*SMALL, "logger=mlflow", f"logger.mlflow.tracking_uri='{where}'", "trainer.max_epochs=3", "tags=[a]")
    stopped = RunDirectory.claim(tmp_path / "stopped")
    with pytest.raises(Interrupted):
        execute(stopped, compose(*TINY, *options, "+callbacks.stops._target_=test_extensions.Stops"), quiet=True)
    outcome = train(*options, resume=stopped)
    (run,) = mlflow.MlflowClient(where).search_runs(["1"])
    assert run.data.metrics["test/loss"] == pytest.approx(outcome.metrics["test/loss"])
    assert run.data.params["model.hidden_size"] == "4" and run.data.tags["a"] == "true"
    assert [file.path for file in mlflow.MlflowClient(where).list_artifacts(run.info.run_id)] == ["config.yaml"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("callbacks=emma", "callbacks=emma: no such callbacks; did you mean 'ema'?"),
        (
            "+callbacks.x._target_=torch.nn.Identity",
            "callbacks.x._target_=torch.nn.Identity: a Callback is needed here",
        ),
        ("callbacks=timer callbacks.timer.duration=long", "callbacks.timer: `Timer(duration='long')` is not a valid"),
        ("+callbacks.x=3", "callbacks.x=3: this is a config with keys of its own"),
        ("+logger.x._target_=torch.nn.Identity", "logger.x._target_=torch.nn.Identity: a Logger is needed here"),
        ("tags=[,]", "tags"),
        ("tags='a,b'", "tags=a,b"),
        ("train=perhaps", "train=perhaps"),
        ("ckpt_path=nothing.ckpt", "there is no checkpoint"),
    ],
)
def test_bad_input_is_one_line(override: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = train_command.main([*TINY, *SMALL, *override.split(), f"hydra.run.dir={tmp_path / 'run'}"])
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr().err.strip().splitlines()
    assert status == 2 and len(said) == 1 and line in said[0], said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start"])
def test_a_callback_that_cannot_be_used_is_one_line(
    hook: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = ["+callbacks.x._target_=test_extensions.Refuses", f"+callbacks.x.hook={hook}"]
    assert train_command.main([*TINY, *SMALL, *added, f"hydra.run.dir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said == ["rnnlab: callbacks.x refuses this run: ModuleNotFoundError: package 'needed' is not installed"]
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_from_another_runs_checkpoint(train: Train, tmp_path: Path) -> None:
    short, whole = train(*SMALL, "trainer.max_epochs=2"), train(*SMALL, "trainer.max_epochs=4")
    options = (*SMALL, "trainer.max_epochs=4", f"ckpt_path={short.directory.last_checkpoint}")
    longer = train(*options)
    assert longer.directory.epochs == whole.directory.epochs[2:]
    one, other = (weights(run.directory.last_checkpoint) for run in (longer, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match=r"that training had 2 epochs, and this one is to have 2"):
        prepare(compose(*TINY, *options, "trainer.max_epochs=2"))
    with pytest.raises(InputError, match=r"does not fit this model"):
        prepare(compose(*TINY, *options, "model.hidden_size=5"))
    with pytest.raises(InputError, match=r"it holds weights alone"):
        prepare(compose(*TINY, *options, f"ckpt_path={short.directory.best_checkpoint}"))


def test_what_is_not_trained_is_tested_with_the_weights_of_a_checkpoint(train: Train) -> None:
    trained = train(*SMALL)
    tested = train(*SMALL, "train=false", f"ckpt_path={trained.directory.best_checkpoint}")
    assert tested.metrics["test/loss"] == trained.metrics["test/loss"] and tested.metrics["steps"] == 0
    assert weights(tested.directory.best_checkpoint).keys() == weights(trained.directory.best_checkpoint).keys()
    first = train(*SMALL, "train=false")
    assert first.metrics["test/loss"] != trained.metrics["test/loss"]


@pytest.mark.parametrize("added", ["callbacks=ema", "logger=csv"])
def test_a_fleet_says_why_it_leaves_a_run_alone(added: str) -> None:
    said = hindrance(prepare(compose(*TINY, *SMALL, added)))
    assert said is not None and said.startswith(added)
