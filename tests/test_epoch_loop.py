"""The short way through a training step: as Lightning's own, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, compose
from lightning import Callback, Trainer

from rnnlab.runs import epoch_loop
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.execution import Outcome, prepare
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
    run = prepare(compose(*TINY))
    watch = kind()
    quiet_lightning()
    trainer = build_trainer(tmp_path, [watch], None, "cpu", max_epochs=1)
    trainer.fit(run.task, datamodule=run.data)
    assert watch.seen == seen
    assert kind is Gradients or trainer.callback_metrics["seen"] == 3.0


def test_a_task_with_a_step_of_its_own_gets_lightnings(tmp_path: Path) -> None:
    run = prepare(compose(*TINY))
    kept = type(run.task)
    stepped: list[int] = []

    class Own(kept):  # type: ignore[misc, valid-type]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            stepped.append(batch_idx)
            self.log("halved", 0.5)
            return super().training_step(batch, batch_idx) / 2

    run.task.__class__ = Own
    quiet_lightning()
    trainer = build_trainer(tmp_path, [], None, "cpu", max_epochs=1)
    trainer.fit(run.task, datamodule=run.data)
    assert stepped == [0, 1, 2, 3]
    assert trainer.callback_metrics["halved"] == 0.5
