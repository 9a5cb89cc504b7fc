"""A readout in closed form: what it solves, and that its runs are runs like all others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, compose
from torch.nn import functional as F

from rnnlab import load
from rnnlab.data.series_windows import Windows
from rnnlab.errors import InputError
from rnnlab.instruments import progress
from rnnlab.network import Network
from rnnlab.ridge import FITTED, SCORED
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome, execute
from rnnlab.runs.preparation import prepare
from rnnlab.spec import Batch, valid_steps
from rnnlab.tasks.closed_form import best_scale, set_thresholds, solve

SMALL = ("model=esn", "model.hidden_size=12", "instruments=none", "data.batch_size=8")
CLASSES = ("data=classification", "data.num_samples=60", "data.segments=1")


def solved(*overrides: str) -> tuple[Network, list[Batch], Any]:
    run = prepare(compose(*SMALL, *overrides))
    batches = list(run.data.in_order("train"))
    ridge = solve(run.task.network, run.task.spec.target, lambda: batches)
    return run.task.network, batches, ridge


@pytest.mark.parametrize("readout", ["last", "mean", "mean_max", "statistics", "vote"])
def test_no_other_readout_is_better_by_its_own_measure(readout: str) -> None:
    network, batches, ridge = solved(*CLASSES, f"model.readout={readout}", "model.penalty=0.1")
    features, wanted = [], []
    for batch in batches:
        hidden, _ = network.hidden(batch.inputs, None, batch.lengths)
        target = 2.0 * F.one_hot(batch.targets, 4) - 1
        if readout == "vote":
            valid = valid_steps(hidden, batch.lengths)
            features.append(hidden[valid])
            wanted.append(target[:, None].expand(-1, hidden.shape[1], -1)[valid])
        else:
            features.append(network.pool(hidden, batch.lengths))
            wanted.append(target)
    x, y = torch.cat(features).double(), torch.cat(wanted).double()
    scaled = (x - x.mean(0)) / ridge_scale(x)
    unit = float(scaled.square().sum()) / min(len(x) - 1, x.shape[1])
    weight = torch.linalg.solve(
        scaled.T @ scaled + 0.1 * unit * torch.eye(x.shape[1], dtype=x.dtype), scaled.T @ (y - y.mean(0))
    )
    expected = scaled @ weight + y.mean(0)
    torch.testing.assert_close(ridge(x), expected, rtol=1e-5, atol=1e-5)
    # the network says the same, but for the factor that makes probabilities of it
    said = network.readout(x.float()).detach().double()
    factor = float((said * expected).sum() / expected.square().sum())
    torch.testing.assert_close(said, factor * expected, rtol=1e-3, atol=1e-3)


def ridge_scale(x: torch.Tensor) -> torch.Tensor:
    deviation = x.std(0, correction=0)
    return torch.where(deviation <= 1e-7 * x.mean(0).abs(), torch.ones_like(deviation), deviation)


def test_real_values_at_every_step_are_fitted_as_they_are() -> None:
    network, batches, ridge = solved("data=sine", "data.num_samples=30")
    with torch.no_grad():
        errors = [float((network(batch.inputs)[0] - batch.targets).square().mean()) for batch in batches]
    spread = float(torch.cat([batch.targets for batch in batches]).var())
    assert sum(errors) / len(errors) < 0.2 * spread
    assert min(ridge.errors) < 0.2 * spread


def test_tokens_count_where_they_are_asked() -> None:
    network, batches, _ = solved("data=remember_first", "data.num_samples=80", "data.length=4")
    right = [
        (network(batch.inputs, lengths=batch.lengths)[0].argmax(-1) == batch.targets).float().mean()
        for batch in batches
    ]
    assert sum(right) / len(right) > 0.5


def test_thresholds_are_quantiles_of_what_units_take_on() -> None:
    run = prepare(compose(*SMALL, *CLASSES, "model.readout=statistics"))
    network, batches = run.task.network, list(run.data.in_order("train"))
    set_thresholds(network, lambda: batches)
    values = torch.cat(
        [
            (hidden := network.hidden(batch.inputs, None, batch.lengths)[0])[valid_steps(hidden, batch.lengths)]
            for batch in batches
        ]
    )
    share = (values <= network.thresholds).float().mean(0)
    torch.testing.assert_close(share, network.quantiles, rtol=0, atol=0.02)


def test_the_scale_makes_probabilities() -> None:
    torch.manual_seed(0)
    true = 3 * torch.randn(4000, 3)
    classes = torch.distributions.Categorical(logits=true).sample()
    assert best_scale(true / 10, classes) == pytest.approx(10, rel=0.2)
    # told apart without a mistake they are no certainty
    assert best_scale(2.0 * torch.eye(2)[[0, 1, 0, 1]] - 1, torch.tensor([0, 1, 0, 1])) < 4


@pytest.fixture
def outcome(train: Callable[..., Outcome]) -> Outcome:
    return train(*SMALL, *CLASSES, "model.readout=statistics", "trainer.max_epochs=7", "seed=1")


def test_a_run_is_one_pass_and_says_so(outcome: Outcome) -> None:
    assert outcome.metrics["epochs"] == 1 and outcome.metrics["steps"] == 0
    assert outcome.metrics["test/accuracy"] > outcome.metrics["baseline/accuracy"]
    assert "closed form" in str(outcome.directory.status.kept)
    assert outcome.directory.epochs[0]["ridge/penalty"] > 0


def test_a_run_is_loaded_tested_and_resumed_like_any_other(outcome: Outcome) -> None:
    directory = outcome.directory
    again = evaluate(directory.config, directory)
    assert again["test/loss"] == pytest.approx(outcome.metrics["test/loss"], rel=1e-6)
    assert load(directory.path).predict([[[0.1]] * 20]).height == 1
    before = read_checkpoint(directory.best_checkpoint)["state_dict"]
    for path in (directory.best_checkpoint, directory.last_checkpoint):
        path.unlink()
    directory.update_status("interrupted")
    execute(directory, directory.config, resume=True, quiet=True)
    after = read_checkpoint(directory.best_checkpoint)["state_dict"]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_validation_is_scored_before_it_is_learned_from(train: Callable[..., Outcome]) -> None:
    """More units than sequences fit noise: who had learned from the validation sequences would know them, too."""
    noise = ("data.noise=5.0", "data.val_fraction=0.4", "model.hidden_size=60", "model.penalty=1e-6")
    outcome = train(*SMALL, *CLASSES, *noise, "model.readout=statistics")
    assert outcome.metrics["train/accuracy"] > 0.9
    assert outcome.metrics["val/accuracy"] < 0.7


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    """Noisy waves of some eleven steps, 200 of them: what a reservoir of hundreds of units learns by heart."""
    noise, values = np.random.default_rng(0).normal(size=210), [0.0, 0.0]
    for each in noise:
        values.append(1.6 * values[-1] - 0.95 * values[-2] + each)
    path = tmp_path / "waves.csv"
    path.write_text("year,value\n" + "".join(f"{1700 + k},{v:.3f}\n" for k, v in enumerate(values[12:])))
    return path


SERIES = ("data=csv", "data.target=value", "data.time=year", "data.horizon=6", "data.length=24", "model.linear=none")


def test_windows_that_overlap_are_not_left_out_one_by_one(train: Callable[..., Outcome], waves: Path) -> None:
    outcome = train("model=esn", "instruments=none", *SERIES, f"data.path={waves}")
    assert outcome.metrics["test/mae"] < 0.9 * outcome.metrics["baseline/mae"]
    assert outcome.directory.epochs[0]["ridge/penalty"] > 1e-3
    kept = "a readout in closed form, its penalty by 3 blocks at the end of the training part, left out in turn"
    assert outcome.directory.status.kept == kept


def test_of_a_short_series_is_said_how_its_penalty_was_chosen(train: Callable[..., Outcome], tmp_path: Path) -> None:
    """The fewer windows there are, the fewer blocks have anything before them to be forecast by: in the end none."""
    said = {}
    short = ("data.length=4", "data.val_fraction=0.25", "data.test_fraction=0.25", "model.hidden_size=8")
    for rows in (28, 32, 60):
        path = tmp_path / f"{rows}.csv"
        path.write_text("year,value\n" + "".join(f"{1900 + k},{k % 7}\n" for k in range(rows)))
        status = train("model=esn", "instruments=none", *SERIES, *short, f"data.path={path}").directory.status
        said[rows] = str(status.kept).removeprefix("a readout in closed form, its penalty by ")
    assert said == {
        28: "the leave-one-out error",
        32: "a block at the end of the training part, left out",
        60: "3 blocks at the end of the training part, left out in turn",
    }


def test_no_window_that_is_fitted_has_a_step_that_is_forecast(waves: Path) -> None:
    split = prepare(compose(*SMALL, *SERIES, f"data.path={waves}", "data.stride=2")).data.split("train")
    assert isinstance(split, Windows)
    folds = split.folds()
    assert folds is not None and folds.last
    origins = split.place(slice(None))[1]
    for role in folds.roles.T.numpy():
        fitted, scored = origins[role == FITTED], origins[role == SCORED]
        assert len(fitted) > len(scored) > 1
        assert fitted.max() + 6 <= scored.min()
    # the blocks follow each other to the end
    every = np.sort(np.concatenate([origins[role == SCORED] for role in folds.roles.T.numpy()]))
    assert every[-1] == origins[-1] and (np.diff(every) == 2).all()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=csv", "task.distribution=gaussian"], "model.solver=ridge predicts values and classes"),
        ([*CLASSES, "task.class_weights=balanced"], "weighs all classes alike"),
        (["data=text", "model.tie_embeddings=true"], "has its own weights"),
        ([*CLASSES, "model.penalty=0"], "model.penalty=0"),
        ([*CLASSES, "model.cell.leak_rate=[1.0,0.1]"], "the slowest comes first"),
    ],
)
def test_what_cannot_be_solved_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare(compose(*SMALL, *overrides))


def test_the_passes_of_a_readout_that_takes_long_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = compose(*TINY, *SMALL, "data=classification", "trainer.progress=lines")
    execute(RunDirectory.claim(tmp_path / "short"), config)
    assert "closed form: pass" not in capfd.readouterr().out  # of a second
    monkeypatch.setattr(progress, "SOLVED_SECONDS", -1.0)
    execute(RunDirectory.claim(tmp_path / "long"), config)
    said = capfd.readouterr().out
    assert "solving in closed form: pass 1 over the data, 100 %" in said
