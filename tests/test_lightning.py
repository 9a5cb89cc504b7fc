"""Tasks and data sets behave as any others in Lightning's own loops; class weights; names of scores and baselines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from conftest import TINY, compose
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

import rnnlab
from rnnlab.commands.outcome import score_table
from rnnlab.data.classification import Classification as WaveClasses
from rnnlab.errors import InputError, RunFailed
from rnnlab.runs.preparation import Run, prepare
from rnnlab.spec import Batch
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.forecast_scores import MeanScore, absolute_error, squared_error

# what Lightning says to whoever makes a Trainer by hand, and what it calls that torch has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|isinstance|log_every_n_steps)")

BASELINES = {
    "sine": "persistence",
    "classification": "majority class",
    "reverse_string": "chance",
    "adding": "mean",
    "text": "unigram",
    "csv": "persistence",
}
"""What the baseline is called, for a data set of each task."""


def built(tmp_path: Path, data: str, *overrides: str) -> Run:
    path = tmp_path / "given.csv"
    path.write_text("y\n" + "\n".join(map(str, range(60))) if data == "csv" else "a few words of a text. " * 60)
    own = [f"data.path={path}"] if data in ("text", "csv") else []
    own += ["data.target=y", "data.length=4"] if data == "csv" else []
    own += ["data.length=8"] if data == "text" else []
    tiny = [value for value in TINY if data not in ("text", "csv") or "num_samples" not in value]
    return prepare(compose(*tiny, f"data={data}", "model.hidden_size=4", "instruments=none", *own, *overrides))


def trainer(**options: Any) -> lightning.Trainer:
    plain = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(accelerator="cpu", **{"max_epochs": 1, "logger": False, **plain, **options})


@pytest.mark.parametrize("data", BASELINES)
def test_lightnings_own_loops(data: str, tmp_path: Path) -> None:
    run = built(tmp_path, data, "scheduler=cosine")
    task, module = run.task, run.data
    assert task.baseline_name == BASELINES[data]
    (before,) = trainer().validate(task, module, verbose=False)
    assert set(before) == {f"val/{name}" for name in task.score_names}
    callbacks = [EarlyStopping("val/loss"), LearningRateMonitor()]
    fitter = trainer(callbacks=callbacks, num_sanity_val_steps=1, logger=CSVLogger(tmp_path))
    fitter.fit(task, module)
    (after,) = trainer().validate(task, module, verbose=False)
    assert after["val/loss"] == float(fitter.callback_metrics["val/loss"]) != before["val/loss"]
    for given in ((module,), (None, module.test_dataloader())):
        (scores,) = trainer().test(task, given[1] if given[0] is None else given[0], verbose=False)
        assert {f"test/{name}" for name in task.score_names} <= set(scores)
        assert {f"baseline/{name}" for name in task.score_names} <= set(scores)
    loaders = module.train_dataloader(), module.val_dataloader()
    trainer(max_steps=2).fit(task, *loaders)
    outputs = trainer().predict(task, module)
    assert outputs is not None
    batches = list(module.test_dataloader())
    assert [len(output) for output in outputs] == [len(batch.inputs) for batch in batches]


# ---- class weights --------------------------------------------------------------------------------------


def test_the_loss_of_a_split_does_not_depend_on_the_size_of_a_batch(tmp_path: Path) -> None:
    for data, weights in (("classification", "task.class_weights=balanced"), ("reverse_string", "seed=0")):
        losses = []
        for size in (1, 3, 8):
            run = built(tmp_path, data, weights, f"data.batch_size={size}", "data.num_samples=100")
            torch.manual_seed(0)
            for parameter in run.task.network.parameters():
                nn.init.normal_(parameter)
            (scores,) = trainer().test(run.task, run.data, verbose=False)
            losses.append([scores["test/loss"], scores["baseline/loss"]])
        torch.testing.assert_close(torch.tensor(losses), torch.tensor([losses[0]] * 3))
        if data == "classification":
            split = run.data.split("test")
            output = run.task.network(split.inputs, lengths=split.lengths)[0]
            expected = nn.functional.cross_entropy(output, split.targets, run.task.class_weights)
            assert losses[0][0] == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_act_in_a_batch_of_one(tmp_path: Path) -> None:
    run = built(tmp_path, "classification", "task.class_weights=balanced", "data.num_samples=100")
    task, split = run.task, run.data.split("train")
    task.train()

    def loss(rows: slice) -> torch.Tensor:
        lengths = None if split.lengths is None else split.lengths[rows]
        batch = Batch(split.inputs[rows], split.targets[rows], lengths)
        return task.loss(task(batch), batch)

    number = len(split.targets)
    alone = torch.stack([loss(slice(row, row + 1)) for row in range(number)])
    whole = loss(slice(None))
    # their mean is the weighted loss of the training split, Σ w l / Σ w
    torch.testing.assert_close(alone.mean(), whole)
    torch.testing.assert_close(whole, task.eval().loss(task(batch := Batch(*split.batch(torch.arange(number)))), batch))
    gradients = torch.autograd.grad(alone[0], list(task.parameters()))
    task.class_weights = None
    plain = torch.autograd.grad(loss(slice(0, 1)), list(task.parameters()))
    assert not torch.allclose(gradients[0], plain[0])


# ---- what is shown --------------------------------------------------------------------------------------


def test_loss_and_mse_are_one_number_once_and_the_baseline_has_its_name() -> None:
    metrics = {"test/loss": 0.5, "test/mse": 0.5, "test/mae": 0.6, "baseline/loss": 1.0, "baseline/mse": 1.0}
    table = score_table(metrics, "", "persistence")
    assert list(table.columns[0].cells) == ["mse (the loss)", "mae"]
    assert table.columns[2].header == "Baseline (persistence)"
    # equal by chance for the network, and not for the baseline
    table = score_table(metrics | {"baseline/mse": 2.0}, "")
    assert list(table.columns[0].cells) == ["loss", "mse", "mae"]


def test_a_score_of_a_part_of_the_test_says_of_which() -> None:
    """What a newcomer meets in the table of scores and finds nowhere else in it."""
    names = ("accuracy_length_10", "accuracy_length_50", "rollout/mse@10", "mae@1", "coverage@80", "accuracy")
    table = score_table({f"test/{name}": 0.5 for name in names}, "")
    assert list(table.columns[0].cells) == [
        "accuracy_length_10 (1 to 10 steps)", "accuracy_length_50 (21 to 50 steps)",
        "rollout/mse@10 (10 steps ahead)", "mae@1 (1 step ahead)", "coverage@80", "accuracy",
    ]  # fmt: skip


# ---- what is known --------------------------------------------------------------------------------------


def test_nothing_is_learned_from_a_training_part_without_a_known_target(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("y,x\n" + "".join(f"{'' if row < 82 else row % 7},{row % 5}\n" for row in range(100)))
    overrides = [
        "data=csv",
        f"data.path={path}",
        "data.target=y",
        "data.past=[x]",
        "data.length=4",
        "data.missing=mask",
    ]
    with pytest.raises(InputError, match="column 'y': the training part, up to 80, has no known value of it"):
        prepare(compose("trainer=cpu", *overrides))


def test_an_epoch_without_a_known_target_fails(tmp_path: Path) -> None:
    run = built(tmp_path, "csv")
    run.task.spec = replace(run.task.spec, gaps=True)
    targets = run.data.split("train").batch(torch.arange(4)).targets
    run.task.totals.add((targets.sum() * 0,), run.task.weight(Batch(targets, targets * torch.nan)))
    with pytest.raises(RunFailed, match="no target of the training split is known"):
        run.task.on_train_epoch_end()


def test_a_square_that_single_precision_cannot_hold_counts() -> None:
    forecast, truth = torch.tensor([[1.0], [1e22], [2.0]]), torch.tensor([0.0, -1e22, torch.nan])
    cases = torch.stack([truth, torch.ones(3), torch.ones(3)], 1)[:2]
    scores = {}
    for name, score in (("mse", squared_error), ("mae", absolute_error)):
        mean = MeanScore(name, lambda forecast, truth, score=score: score(forecast[..., 0], truth))
        mean.update(forecast[:2], cases)
        scores[name] = float(mean.compute())
    assert scores["mae"] == pytest.approx(1e22, rel=1e-5)
    assert scores["mse"] == pytest.approx(2e44, rel=1e-5)


class Mine(nn.Module):
    """A network of one's own: at each step, or at the end."""

    def __init__(self, features: int, size: int, per_step: bool) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(features, 4, batch_first=True), nn.Linear(4, size)
        self.per_step = per_step

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        hidden = self.rnn(x)[0]
        return self.out(hidden if self.per_step else hidden[:, -1])


def test_a_module_of_ones_own_is_trained_and_tested_by_lightnings_own_trainer() -> None:
    for data, kind in ((rnnlab.Sine(num_samples=20, length=8), rnnlab.Forecasting),
                       (WaveClasses(num_samples=40), Classification)):  # fmt: skip
        spec = data.spec
        features, per_step = spec.input.features or 0, spec.target.per_step
        task = kind(rnnlab.Wrapped(Mine(features, spec.target.size, per_step), spec), spec)
        before = task.network.module.out.weight.clone()
        mine = trainer(max_epochs=1)
        mine.fit(task, data)
        assert not torch.equal(before, task.network.module.out.weight)
        assert "test/loss" in mine.test(task, data, verbose=False)[0]
        size = spec.target.size
        for wrong, line in (
            (Mine(features, size + 1, per_step), rf"Mine puts out \(.*{size + 1}\) for inputs .*, and this data needs"),
            (Mine(features + 1, size, per_step), r"Mine cannot read inputs \("),
            (Mine(features, size, not per_step), r"Mine puts out"),
        ):
            with pytest.raises(InputError, match=line) as refused:
                trainer(max_epochs=1).fit(kind(rnnlab.Wrapped(wrong, spec), spec), data)
            assert "\n" not in str(refused.value)
