"""Several runs that predict together."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose

from rnnlab.commands import evaluate as evaluate_command
from rnnlab.data.feature_reader import patched
from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ensemble import Member, Together, check_alike, evaluate_together, in_patches, join, load
from rnnlab.runs.execution import Outcome, execute
from rnnlab.tasks.distribution import Gaussian
from rnnlab.tasks.objective import mean_probability
from rnnlab.use.trained import open_runs

Train = Callable[..., Outcome]


def members(*outcomes: Outcome) -> list[Member]:
    return [Member(each.directory, each.directory.config) for each in outcomes]


def outputs(data: SequenceData, networks: list[torch.nn.Module]) -> list[torch.Tensor]:
    batch = next(iter(data.test_dataloader()))
    return [network.eval()(batch.inputs, lengths=batch.lengths)[0] for network in networks]


def test_probabilities_are_averaged_and_not_scores() -> None:
    probabilities = torch.tensor([[[0.9, 0.1]], [[0.3, 0.7]]])
    # a softmax does not see a constant that is added to all scores of one member
    logits = probabilities.log() + torch.tensor([5.0, -3.0])[:, None, None]
    assert mean_probability(logits).exp()[0].tolist() == pytest.approx([0.6, 0.4])


@pytest.mark.slow
@torch.no_grad()
def test_real_values_are_averaged(train: Train) -> None:
    runs = load(members(train("seed=1"), train("seed=2")))
    a, b = outputs(runs[0].data, [run.task.network for run in runs])
    (both,) = outputs(runs[0].data, [join(runs).task.network])
    assert not torch.allclose(a, b)
    torch.testing.assert_close(both, (a + b) / 2)


@pytest.mark.parametrize(
    "data", ["sine", "classification", "adding", "reverse_string", "text", "text_classification", "csv"]
)
@pytest.mark.few("classification", "adding")
def test_twice_the_same_member_is_that_member(data: str, train: Train) -> None:
    outcome = train(f"data={data}", "model.hidden_size=8", "instruments=none")
    together = evaluate_together(members(outcome, outcome))
    expected = {name: value for name, value in outcome.metrics.items() if name in together.ensemble}
    assert "test/loss" in expected
    assert together.ensemble == pytest.approx(expected, rel=1e-5)
    assert together.members[1] == pytest.approx(expected, rel=1e-5)


def test_an_ensemble_of_one_is_that_one(train: Train) -> None:
    together = evaluate_together(members(train("instruments=none", "model.hidden_size=4")))
    assert together.members == [pytest.approx(together.ensemble)]


def test_an_ensemble_is_no_worse_than_its_mean_member_where_the_loss_is_convex(train: Train) -> None:
    runs = [train("data=classification", f"seed={seed}", "instruments=none") for seed in range(3)]
    together = evaluate_together(members(*runs))
    assert together.ensemble["test/loss"] < together.mean("test/loss")  # Jensen's inequality


def test_carried_states_stay_apart(train: Train) -> None:
    """Members of different depth and cell, over streams whose state goes from batch to batch."""
    runs = [
        train("data=text", "model=lstm", "model.hidden_size=8", "instruments=none"),
        train("data=text", "model=gru", "model.num_layers=2", "model.hidden_size=4", "instruments=none"),
    ]
    together = evaluate_together(members(*runs))
    for outcome, scores in zip(runs, together.members, strict=True):
        assert scores["test/loss"] == pytest.approx(outcome.metrics["test/loss"], rel=1e-5)
    assert together.ensemble["test/loss"] < together.mean("test/loss")


def test_members_share_their_data(train: Train) -> None:
    with pytest.raises(InputError, match=r"data\.noise=0\.5"):
        load(members(train("instruments=none"), train("data.noise=0.5", "instruments=none")))


def test_members_may_meet_their_training_data_in_their_own_way(tmp_path: Path) -> None:
    def member(name: str, **data: Any) -> Member:
        return Member(RunDirectory(tmp_path / name), {"data": {"length": 8, **data}, "task": {"loss": "mse"}})

    first = member("a", batch_size=8, augmentation={"jitter": 0.1}, shuffle_seed=1)
    check_alike(first, member("b", batch_size=16, augmentation={"jitter": 0.2, "window": 0.5}, bucket=False))
    for other, message in (
        (
            member("b", noise={"scale": 2}),
            "b has data.noise.scale=2, and a None: members of an ensemble share their data",
        ),
        (
            Member(RunDirectory(tmp_path / "b"), {**first.config, "task": {"loss": "mae"}}),
            "b has task.loss=mae, and a mse",
        ),
    ):
        with pytest.raises(InputError) as caught:
            check_alike(first, other)
        assert str(caught.value).startswith(message)


@pytest.mark.slow
def test_a_sweep_predicts_by_the_seeds_of_its_best_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate in ("0.0001", "0.01"):
        for seed in (0, 1):
            overrides = [f"optimizer.lr={rate}", f"seed={seed}"]
            directory = RunDirectory.claim(tmp_path / "sweep" / f"{rate}-{seed}")
            directory.update_status(overrides=overrides)
            tiny = ("data.num_samples=40", "data.batch_size=8", "trainer.max_epochs=2", "trainer.accelerator=cpu")
            execute(directory, compose(*tiny, *overrides, "instruments=none"), quiet=True)
    assert evaluate_command.main([str(tmp_path / "sweep")]) == 0
    said = capsys.readouterr().out
    assert "optimizer.lr=0.01 (2 runs)" in said
    assert "Together" in said
    (kept,) = (tmp_path / "sweep" / "evaluations").iterdir()
    written = json.loads(kept.read_text())
    assert sorted(Path(run).name for run in written["members"]) == ["0.01-0", "0.01-1"]
    first = str(tmp_path / "sweep" / "0.01-0")
    assert evaluate_command.main([first, first]) == 2
    assert "named twice" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["gaussian", "quantiles"])
def test_distributions_are_combined_as_such(distribution: str, train: Train) -> None:
    # without a linear part, which a network so little trained adds nothing to
    alone = ("model.linear=none", "data.log=false", "instruments=none")  # the mean of logarithms is another one
    runs = [train("data=csv", f"task.distribution={distribution}", f"seed={s}", *alone) for s in (1, 2)]
    together = evaluate_together(members(*runs))
    assert together.ensemble["test/crps"] < together.mean("test/crps")
    same = evaluate_together(members(runs[0], runs[0]))
    # but for the loss, which sees quantiles that cross before they are put in order
    scores = [name for name in same.ensemble if name != "test/loss"]
    assert [same.ensemble[name] for name in scores] == pytest.approx(
        [same.members[0][name] for name in scores], rel=1e-4
    )
    assert same.ensemble["test/loss"] <= same.members[0]["test/loss"] + 1e-6


def test_a_mixture_of_two_normals_has_its_mean_and_variance() -> None:
    gaussian = Gaussian()
    a, b = (gaussian.around(torch.tensor([m]), torch.tensor([s])) for m, s in ((-1.0, 0.5), (3.0, 1.5)))
    both = gaussian.in_units(gaussian.combine(torch.stack([a, b])), torch.zeros(1), torch.ones(1), log=False)
    variance = (0.5**2 + 1.5**2) / 2 + 2.0**2
    assert both[0].tolist() == pytest.approx([1.0, variance**0.5], rel=1e-5)


def test_the_mean_of_the_members_is_of_all_of_them() -> None:
    together = Together([{"test/loss": 1.0}, {"test/loss": 2.0}, {"test/loss": 6.0, "test/mae": 3.0}], {})
    assert together.mean("test/loss") == 3.0
    assert math.isnan(together.mean("test/mae"))  # two have none


def test_members_that_learned_different_things_are_refused(train: Train, tmp_path: Path) -> None:
    """As of a file that has changed between their trainings."""
    runs = []
    for number, level in enumerate((0, 1000)):
        (tmp_path / "y.csv").write_text("y\n" + "".join(f"{level + k % 7}\n" for k in range(60)))
        data = ("data=csv", f"data.path={tmp_path / 'y.csv'}", "data.target=y", "data.length=4")
        runs.append(train(*data, f"seed={number}", "model.hidden_size=4", "instruments=none"))
    for use in (evaluate_together, open_runs):
        with pytest.raises(
            InputError, match=r"have learned different things from their training data.*both on the same"
        ):
            use(members(*runs))
    assert len(evaluate_together(members(runs[0], runs[0])).members) == 2


def test_a_batch_is_put_in_patches_as_sequences_are() -> None:
    x = torch.randn(4, 7, 2)
    lengths = torch.tensor([7, 1, 3, 6])
    together, valid = in_patches(
        x.masked_fill(torch.arange(7)[None, :, None] >= lengths[:, None, None], torch.nan), lengths, 3
    )
    assert valid is not None and valid.tolist() == [3, 1, 1, 2]
    for row, out, length, steps in zip(x, together, lengths.tolist(), valid.tolist(), strict=True):
        assert out[:steps].tolist() == patched(row[:length].numpy(), 3).tolist()
    alone, none = in_patches(x, None, 3)
    assert none is None and alone[0].tolist() == patched(x[0].numpy(), 3).tolist()


def test_members_may_read_in_patches_of_their_own(train: Train, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    lines = []
    for number in range(60):
        values = torch.randn(6 + number % 5, generator=rng) + number % 3
        lines.append(",".join(f"{value:.3f}" for value in values.tolist()) + f":{'abc'[number % 3]}")
    path = tmp_path / "own.ts"
    path.write_text("@classLabel true a b c\n@data\n" + "\n".join(lines) + "\n")
    own = ("data=ucr", f"data.path={path}", "data.num_samples=null", "instruments=none", "trainer.max_steps=20")
    runs = [
        train(*own, "model=gru", "model.hidden_size=8", "data.patch=1"),
        train(*own, "model=esn", "model.hidden_size=12", "data.patch=4"),
    ]
    together = evaluate_together(members(*runs))
    for outcome, scores in zip(runs, together.members, strict=True):
        assert scores["test/loss"] == pytest.approx(outcome.metrics["test/loss"], rel=1e-5)
    assert together.ensemble["test/loss"] < together.mean("test/loss")
    both = open_runs(members(*runs))
    new = [torch.randn(steps, 1, generator=rng).numpy() for steps in (5, 9, 1)]
    said = [open_runs(members(outcome)).predict(new)["p(a)"].to_numpy() for outcome in runs]
    assert both.predict(new)["p(a)"].to_numpy() == pytest.approx((said[0] + said[1]) / 2, abs=1e-5)
    with pytest.raises(InputError, match=r"read 1, 4 steps at once"):
        both.predict(new, steps=True)
