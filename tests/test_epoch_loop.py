"""The short way through a training step: as Lightning's own, to the last bit."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import CSVLogger

from rnnlab.runs import epoch_loop
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare
from rnnlab.runs.trainer import build_trainer, quiet_lightning

JOBS = {
    "forecasting": ["model.dropout=0.2", "model.num_layers=2", "scheduler=cosine", "trainer.max_epochs=3"],
    "plateau": ["data.augmentation.jitter=0.1", "scheduler=plateau", "scheduler.patience=0", "trainer.max_epochs=3"],
    "lengths": ["data=tokens"],
    "truncated": ["data=text", "trainer.max_epochs=2"],
    "no clipping": ["trainer.gradient_clip_val=null", "optimizer=sgd"],
    "clipped by value": ["trainer.gradient_clip_val=0.01", "trainer.gradient_clip_algorithm=value"],
    "few batches": ["+trainer.limit_train_batches=2", "+trainer.val_check_interval=1", "trainer.max_epochs=2"],
    "lbfgs": ["optimizer=lbfgs"],
}


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(torch.equal(ours, theirs)) if isinstance(ours, torch.Tensor) else bool(ours == theirs)


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.few("lengths", "truncated", "clipped by value")
def test_it_is_lightnings_own_way_to_the_last_bit(
    job: str, train: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    plain = epoch_loop.is_plain
    monkeypatch.setattr(epoch_loop, "is_plain", lambda trainer: taken.append(plain(trainer)) or taken[-1])
    short = train(*JOBS[job], "instruments=none").directory
    monkeypatch.setattr(epoch_loop, "is_plain", lambda trainer: False)
    long = train(*JOBS[job], "instruments=none").directory
    assert taken == [True]
    assert (short.path / "metrics.csv").read_text() == (long.path / "metrics.csv").read_text()
    ours, theirs = (read_checkpoint(each.last_checkpoint) for each in (short, long))
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "training_totals", "global_step"):
        assert equal(ours[part], theirs[part]), part


class Keeps(Checkpoint):
    """Stands where a run has its recorder: else Lightning adds a callback of its own, with hooks around a batch."""


def fit(run: Any, path: Path, *callbacks: Callback, **options: Any) -> Trainer:
    quiet_lightning()
    trainer = build_trainer(path, [*callbacks, Keeps()], [CSVLogger(path)], "cpu", max_epochs=1, **options)
    trainer.fit(run.task, datamodule=run.data)
    return trainer


def test_a_plain_run_is_plain(tmp_path: Path) -> None:
    assert epoch_loop.is_plain(fit(prepare(compose(*TINY)), tmp_path))


class Watch(Callback):
    """Somebody else's: it sees each gradient, or logs after each batch."""

    def __init__(self) -> None:
        self.seen: list[str] = []


class Gradients(Watch):
    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        self.seen.append(str(next(pl_module.parameters()).grad is not None))


class Logs(Watch):
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.log("seen", float(batch_idx), on_epoch=True, reduce_fx="max")
        self.seen.append(str(batch_idx))


@pytest.mark.parametrize(("kind", "seen"), [(Gradients, ["True"] * 4), (Logs, ["0", "1", "2", "3"])])
def test_who_asks_for_more_gets_it(kind: type[Watch], seen: list[str], tmp_path: Path) -> None:
    watch = kind()
    trainer = fit(prepare(compose(*TINY)), tmp_path, watch)
    assert watch.seen == seen
    assert kind is Gradients or trainer.callback_metrics["seen"] == 3.0


@pytest.mark.parametrize("method", ["training_step", "loss"])
def test_ones_own_task_may_log_wherever_it_is_called(method: str, tmp_path: Path) -> None:
    run = prepare(compose(*TINY))
    kept = type(run.task)

    def own(self: Any, *arguments: Any) -> Any:
        loss = getattr(kept, method)(self, *arguments)
        if self.training:
            self.log("doubled", 2 * loss, batch_size=1)
        return loss

    run.task.__class__ = type("Own", (kept,), {method: own, "__module__": __name__})
    trainer = fit(run, tmp_path, log_every_n_steps=1)
    logged = csv.DictReader((Path(trainer.logger.log_dir) / "metrics.csv").read_text().splitlines())
    assert [row["step"] for row in logged if row["doubled"]] == ["0", "1", "2", "3"]
