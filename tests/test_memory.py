"""Diagnostics of memory: answers follow from inputs, and baselines are what their docstrings say in closed form."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from math import log
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnlab.cells.gru import GRU
from rnnlab.data.adding import Adding
from rnnlab.data.an_bn import AnBn
from rnnlab.data.associative_recall import AssociativeRecall
from rnnlab.data.copy_memory import CopyMemory
from rnnlab.data.diagnostic import Diagnostic
from rnnlab.data.duplicate_string import DuplicateString
from rnnlab.data.dyck import Dyck
from rnnlab.data.modular_arithmetic import ModularArithmetic
from rnnlab.data.parity import Parity
from rnnlab.data.remember_first import RememberFirst
from rnnlab.data.reverse_string import ReverseString
from rnnlab.data.selective_copy import SelectiveCopy
from rnnlab.data.sequence import SequenceData
from rnnlab.data.split import Split, SplitName
from rnnlab.data.temporal_order import END, START, TemporalOrder, X
from rnnlab.errors import InputError
from rnnlab.instruments.gradient_flow import GradientFlow
from rnnlab.instruments.score_by_length import ScoreByLength
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.runs.execution import Outcome
from rnnlab.spec import IGNORED, Batch, DataSpec, InputSpec, Scaling, TargetSpec
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.language_modeling import LanguageModeling
from rnnlab.tasks.mean_by_length import MeanByLength
from rnnlab.tasks.regression import Regression
from rnnlab.tasks.task import Task

NO = IGNORED
TASKS: dict[str, type[Task]] = {"class": Classification, "value": Regression, "tokens": Labelling}


def task_for(spec: DataSpec, **options: Any) -> Task:
    torch.manual_seed(0)
    return TASKS[spec.target.kind](Network(spec.input, spec.target, GRU, **{"hidden_size": 4, **options}), spec)


def rows(split: Split) -> list[tuple[list[Any], Any]]:
    """Input and target of each sequence, without padding."""
    lengths = [split.inputs.shape[1]] * len(split) if split.lengths is None else split.lengths.tolist()
    targets = split.targets.tolist()
    if split.targets.dim() == 2 and not split.targets.is_floating_point():
        targets = [target[:n] for target, n in zip(targets, lengths, strict=True)]
    return [(x[:n], y) for x, n, y in zip(split.inputs.tolist(), lengths, targets, strict=True)]


# ---- every answer follows from its input ------------------------------------------------------


def asked(prompt: list[int], answer: list[int]) -> list[int]:
    return [IGNORED] * len(prompt) + answer


def add(x: list[list[float]]) -> list[float]:
    assert sum(mark for _, mark in x) == 2 and all(mark in (0, 1) and 0 <= number < 1 for number, mark in x)
    return [sum(number for number, mark in x if mark)]


def copy(x: list[int]) -> list[int]:
    symbols, rest = x[:10], x[10:]
    assert set(symbols) <= set(range(1, 9)) and set(rest[:-11]) <= {0} and rest[-11:] == [9] * 11
    return [0] * (len(x) - 10) + symbols


def copy_selectively(x: list[int]) -> list[int]:
    prompt, cues = x[:-8], x[-8:]
    assert cues == [15] * 8 and 15 not in prompt
    return asked(prompt, [token - 1 for token in prompt if token])


def calculate(x: list[int]) -> int:
    return eval("".join("+-*"[token - 5] if token > 4 else str(token) for token in x)) % 5


def reverse(x: list[int]) -> list[int]:
    prompt = x[: len(x) // 2]
    assert x[len(prompt) :] == [2] * len(prompt) and 2 not in prompt
    return asked(prompt, prompt[::-1])


def duplicate(x: list[int]) -> list[int]:
    prompt = x[: len(x) // 3]
    assert x[len(prompt) :] == [2] * 2 * len(prompt) and 2 not in prompt
    return asked(prompt, prompt * 2)


def is_nested(x: list[int]) -> int:
    text = "".join("()"[token] for token in x)
    while "()" in text:
        text = text.replace("()", "")
    return int(not text)


def recall(x: list[int]) -> list[int]:
    values = dict(zip(x[:8:2], x[1:8:2], strict=True))
    assert len(values) == 4 and all(1 <= key <= 32 < value <= 64 for key, value in values.items())
    return asked(x[:8], [values[token] - 33 if token else IGNORED for token in x[8:]])


def order(x: list[int]) -> int:
    assert x[0] == START and x[-1] == END and not {START, END} & set(x[1:-1])
    at = [t for t, token in enumerate(x) if token in (X, X + 1)]
    assert 0.1 * len(x) - 1 < at[0] <= 0.2 * len(x) and 0.5 * len(x) - 1 < at[1] <= 0.6 * len(x)
    return 2 * (x[at[0]] - X) + x[at[1]] - X


@pytest.mark.parametrize(
    ("data", "solve"),
    [
        (Adding(min_length=2, length=30), add),
        (CopyMemory(min_length=1, length=20), copy),
        (SelectiveCopy(min_length=8, length=30), copy_selectively),
        (RememberFirst(min_length=1, length=20), lambda x: x[0]),
        (Parity(num_samples=1000, test_length=(41, 60)), lambda x: sum(x) % 2),
        (ModularArithmetic(num_samples=1000, test_length=(41, 60)), calculate),
        (ReverseString(num_samples=500), reverse),
        (DuplicateString(num_samples=500), duplicate),
        (AnBn(num_samples=500), lambda x: int(x == [0] * (len(x) // 2) + [1] * (len(x) // 2))),
        (Dyck(num_samples=500), is_nested),
        (AssociativeRecall(num_samples=500, min_length=16), recall),
        (TemporalOrder(num_samples=500, min_length=10), order),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Diagnostic) else "",
)
def test_the_answer_follows_from_the_input(data: Diagnostic, solve: Callable[[list[Any]], Any]) -> None:
    splits: tuple[SplitName, ...] = ("train", "test")
    for split in splits:
        for x, y in rows(data.split(split)):
            assert solve(x) == (pytest.approx(y, abs=1e-5) if isinstance(data, Adding) else y)


# ---- closed forms -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Adding(num_samples=4000, length=3), {"mse": 1 / 6, "loss": 1 / 6, "mae": 1 / 3}),
        (CopyMemory(num_samples=1000, length=30), {"loss": 10 * log(8) / 50, "accuracy": 1 / 8}),
        (CopyMemory(num_samples=1000, length=5, symbols=2, copied=3), {"loss": 3 * log(2) / 11, "exact_match": 1 / 8}),
        (SelectiveCopy(num_samples=1000), {"loss": log(14), "accuracy": 1 / 14}),
        (RememberFirst(num_samples=2000, length=2), {"accuracy": 1 / 8, "loss": log(8)}),
        (Parity(num_samples=2000), {"accuracy": 1 / 2, "loss": log(2)}),
        (ModularArithmetic(num_samples=2000, operators=("+", "-")), {"accuracy": 1 / 5, "loss": log(5)}),
        (ReverseString(num_samples=2000), {"accuracy": 1 / 2, "loss": log(2)}),
        (ReverseString(num_samples=2000, length=2, test_length=None, symbols=3), {"exact_match": (1 / 3 + 1 / 9) / 2}),
        (DuplicateString(num_samples=2000, symbols=4), {"accuracy": 1 / 4, "loss": log(4)}),
        (AnBn(num_samples=2000), {"accuracy": 1 / 2, "loss": log(2)}),
        (Dyck(num_samples=2000), {"accuracy": 1 / 2, "loss": log(2)}),
        (AssociativeRecall(num_samples=1000), {"accuracy": 1 / 32, "loss": log(32)}),
        (TemporalOrder(num_samples=2000, min_length=10, length=10), {"accuracy": 1 / 4, "loss": log(4)}),
        (TemporalOrder(num_samples=2000, min_length=10, length=10, relevant=3), {"accuracy": 1 / 8, "loss": log(8)}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Diagnostic) else "",
)
def test_the_baseline_is_its_closed_form(data: Diagnostic, expected: dict[str, float]) -> None:
    split = data.split("train")
    batch = split.batch(slice(0, len(split)))
    scores = task_for(data.spec).measure_baseline([batch])
    for name, value in expected.items():
        is_share = name in ("accuracy", "exact_match")
        spread = (value * (1 - value) / len(split)) ** 0.5 if is_share else 0.0
        assert scores[name] == pytest.approx(value, abs=4 * spread, rel=0.05), name


def test_products_are_zero_more_often_than_sums() -> None:
    """P(0) of two factors is 1 - (4/5)², and that of any sum with a single number in it is 1/5."""
    two = ModularArithmetic(num_samples=3000, min_length=3, length=3, operators=("*",))
    assert two.spec.class_frequencies[0] == pytest.approx(1 - 0.8**2, abs=0.03)
    long = ModularArithmetic(num_samples=3000, min_length=39, length=39)
    assert long.spec.class_frequencies == pytest.approx([0.2] * 5, abs=0.03)


# ---- what is drawn ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data_set", "steps"),
    [(Parity, 1), (ReverseString, 2), (DuplicateString, 3), (AnBn, 2), (Dyck, 2)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_test_may_be_longer_than_training(data_set: type[Diagnostic], steps: int) -> None:
    data = data_set(num_samples=600, length=6, test_length=(8, 11))

    def lengths(split: SplitName) -> set[int]:
        return {len(x) // steps for x, _ in rows(data.split(split))}

    assert lengths("train") == lengths("val") == set(range(1, 7)) and lengths("test") == set(range(8, 12))
    assert data.spec.length == 11 * steps and "8 to 11" in data.spec.note
    same = data_set(num_samples=600, length=6, test_length=None)
    assert torch.equal(same.split("train").inputs, data.split("train").inputs)
    assert {len(x) // steps for x, _ in rows(same.split("test"))} == set(range(1, 7)) and same.spec.length == 6 * steps


def test_nested_strings_are_drawn_evenly() -> None:
    data = Dyck(num_samples=3000, min_length=3, length=3)
    nested = Counter(tuple(x) for x, y in rows(data.split("train")) if y)
    assert len(nested) == 5  # Catalan's third number
    expected = sum(nested.values()) / 5
    assert all(abs(count - expected) < 5 * expected**0.5 for count in nested.values())
    others = [x for x, y in rows(data.split("train")) if not y]
    balanced = np.mean([sum(x) == 3 for x in others])
    assert balanced == pytest.approx(0.5, abs=0.06)


def test_strings_that_are_not_of_the_language_have_any_other_number_of_a() -> None:
    data = AnBn(num_samples=4000, min_length=3, length=3)
    count = Counter(6 - sum(x) for x, y in rows(data.split("train")) if not y)
    assert sorted(count) == [0, 1, 2, 4, 5, 6]
    assert all(n == pytest.approx(count.total() / 6, rel=0.25) for n in count.values())


def test_any_two_steps_are_marked() -> None:
    marks = Adding(num_samples=4000, length=5).split("train").inputs[..., 1]
    pairs = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in marks)
    assert len(pairs) == 10
    assert all(n == pytest.approx(len(marks) / 10, rel=0.25) for n in pairs.values())


def test_queries_come_sooner_rather_than_later() -> None:
    def first_gaps(power: float) -> Tensor:
        targets = AssociativeRecall(num_samples=2000, pairs=2, length=44, power=power).split("train").targets
        return (targets != IGNORED)[:, 4::2].float().mean(0)

    soon, even = first_gaps(0.01), first_gaps(1.0)
    assert soon[0] > 2 * soon[4] > 4 * soon[19]
    assert even.tolist() == pytest.approx([2 / 20] * 20, abs=0.03)


@pytest.mark.parametrize(
    ("data_set", "options", "named"),
    [
        (Parity, {"min_length": 50}, ["data.min_length=50", "data.length=40"]),
        (Parity, {"test_length": (500, 41)}, ["data.test_length=[500, 41]"]),
        (Adding, {"length": 1}, ["data.length=1", "2"]),
        (Adding, {"test_length": (1, 9)}, ["data.test_length=(1, 9)", "2"]),
        (SelectiveCopy, {"length": 7}, ["data.length=7", "8"]),
        (SelectiveCopy, {"min_length": 7}, ["data.min_length=7", "8"]),
        (AssociativeRecall, {"pairs": 17}, ["data.length=64", "68"]),
        (AssociativeRecall, {"pairs": 40, "length": 200}, ["data.pairs=40", "data.num_keys=32"]),
        (TemporalOrder, {"min_length": 9}, ["data.min_length=9", "10"]),
        (ModularArithmetic, {"operators": ("+", "+")}, ["data.operators=['+', '+']"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else getattr(value, "__name__", str(value)),
)
def test_what_cannot_work_is_one_line(data_set: type[Diagnostic], options: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        data_set(**options)
    assert "\n" not in str(error.value)
    assert [part for part in named if part not in str(error.value)] == []


# ---- labelling and regression -------------------------------------------------------------------


def labelling(blank: int | None = None, size: int = 3) -> Task:
    return task_for(DataSpec(InputSpec(vocabulary=4), TargetSpec("tokens", size, blank=blank), length=4))


def says(*tokens: list[int], sure: float = 20.0, size: int = 3) -> Tensor:
    """Scores that put all probability on these tokens."""
    return sure * nn.functional.one_hot(torch.tensor(tokens), size).float()


def measure(task: Task, *batches: tuple[Tensor, list[list[int]]]) -> dict[str, float]:
    for output, targets in batches:
        batch = Batch(torch.zeros(*output.shape[:2], dtype=torch.int64), torch.tensor(targets))
        task._score(task.scores["test"], output, batch)
    return {name: float(value) for name, value in task.scores["test"].compute().items()}  # type: ignore[operator]


def test_what_is_not_asked_counts_nowhere() -> None:
    targets = [[NO, 1, NO, 1], [0, 2, 1, NO]]
    scores = measure(labelling(), (says([0, 1, 2, 1], [2, 2, 0, 0]), targets))
    assert scores["accuracy"] == pytest.approx(3 / 5) and scores["exact_match"] == 1 / 2
    assert scores["loss"] == pytest.approx(2 * 20 / 5, rel=1e-4)


def test_a_blank_counts_in_the_loss_alone() -> None:
    batch = says([1, 0, 1], [0, 0, 1]), [[0, 0, 1], [0, 0, 2]]
    scores = measure(labelling(blank=0), batch)
    assert scores["accuracy"] == scores["exact_match"] == 1 / 2
    assert scores["loss"] == pytest.approx(2 * 20 / 6, rel=1e-4)
    assert measure(labelling(), batch)["accuracy"] == pytest.approx(4 / 6)


def test_batches_count_by_what_they_ask() -> None:
    two = says([0, 1]), [[0, 0]]
    six = says([0, 1, 1, 1], [1, 0, 0, 0]), [[1, 1, 1, 1], [1, 1, NO, NO]]
    losses = [measure(labelling(), batch)["loss"] for batch in (two, six)]
    assert measure(labelling(), two, six)["loss"] == pytest.approx((2 * losses[0] + 6 * losses[1]) / 8)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [Labelling, LanguageModeling])
def test_a_batch_that_asks_nothing_teaches_nothing(kind: type[Any], smoothing: float) -> None:
    """Its loss is no NaN, which would stop the run with advice about its learning rate."""
    spec = DataSpec(InputSpec(vocabulary=4), TargetSpec("tokens", 3), length=4)
    network = Network(spec.input, spec.target, partial(GRU, init="torch"), hidden_size=4)
    task = kind(network, spec, label_smoothing=smoothing)
    inputs = torch.randint(4, (2, 4))
    for targets in (torch.full((2, 4), NO), torch.tensor([[NO, 1, NO, 2], [0, NO, NO, 1]])):
        batch = Batch(inputs, targets)
        output = task(batch)
        loss = task.loss(output, batch)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        expected = torch.zeros(())
        if (targets != NO).any():
            expected = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
        assert loss.item() == pytest.approx(expected.item())
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients) == bool((targets != NO).any())
        if isinstance(task, Labelling):
            assert all(score.isfinite() for score in task.score_training(output, batch))
    empty = says([0, 1]), [[NO, NO]]
    assert measure(labelling(), empty, (says([0, 1]), [[0, 0]]))["loss"] == pytest.approx(10, rel=1e-4)


@pytest.mark.parametrize(
    "data", [ReverseString(num_samples=60, length=9), CopyMemory(num_samples=60, min_length=1, length=9)], ids=str
)
def test_padding_changes_no_score(data: SequenceData) -> None:
    task, split = task_for(data.spec), data.split("train")
    whole = split.batch(torch.arange(8))
    assert whole.lengths is not None and len(set(whole.lengths.tolist())) > 1
    single = [split.batch(torch.tensor([i])) for i in range(8)]
    weights = torch.tensor([float(task.weight(batch)) for batch in single])
    losses = torch.stack([task.loss(task(batch), batch) for batch in single])
    torch.testing.assert_close(task.loss(task(whole), whole), (weights * losses).sum() / weights.sum())
    accuracies = torch.cat([task.sequence_score(task(batch), batch) for batch in single])  # type: ignore[misc]
    torch.testing.assert_close(task.sequence_score(task(whole), whole), accuracies)


def test_regression_scores_are_in_the_data_s_units() -> None:
    spec = DataSpec(InputSpec(features=1), TargetSpec("value", 1), 3, scaling=Scaling((10.0,), (2.0,)))
    task = task_for(spec)
    batch = Batch(torch.zeros(2, 3, 1), torch.tensor([[1.0], [-1.0]]))
    scores = task.measure_baseline([batch])  # the scaled mean, 0, is 10 in the data's units, and the truth 12 and 8
    assert scores == pytest.approx({"loss": 1.0, "mse": 4.0, "mae": 2.0})


@pytest.mark.parametrize(
    ("data", "score", "enough"),
    [
        (CopyMemory(num_samples=1000, length=2, copied=2, symbols=4), "exact_match", 0.95),
        (AssociativeRecall(num_samples=1000, length=8, pairs=2, num_keys=2, num_values=2), "accuracy", 0.95),
        (Adding(num_samples=1000, length=3), "mse", 0.02),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Diagnostic) else "",
)
def test_it_can_be_learned(data: Diagnostic, score: str, enough: float) -> None:
    task, train = task_for(data.spec, hidden_size=32), data.split("train")
    optimizer = torch.optim.Adam(task.parameters(), lr=0.02)
    batch = train.batch(slice(0, len(train)))
    for _ in range(120):
        optimizer.zero_grad()
        task.loss(task(batch), batch).backward()
        optimizer.step()
    with torch.no_grad():
        for batch in data.val_dataloader():
            task._score(task.scores["val"], task(batch), batch)
    reached = float(task.scores["val"].compute()[score])  # type: ignore[operator]
    assert reached <= enough if score == "mse" else reached >= enough


# ---- by length ----------------------------------------------------------------------------------


def test_accuracy_is_gathered_by_length() -> None:
    metric = MeanByLength()
    metric.update(torch.tensor([1.0, 0.0, 0.5]), torch.tensor([3, 10, 11]))
    metric.update(torch.tensor([1.0, 1.0]), torch.tensor([20, 20_000]))
    scores = {name: float(value) for name, value in metric.compute().items()}
    assert scores == {"accuracy_length_10": 0.5, "accuracy_length_20": 0.75}


def test_the_picture_shows_each_split_over_its_lengths() -> None:
    data = Parity(num_samples=1000, length=8, test_length=(9, 30))
    task, instrument = task_for(data.spec), ScoreByLength(points=5)
    subject = Subject("", task, data, history=[{"epoch": 1, "baseline/accuracy": 0.5}])
    assert instrument.missing(subject) is None
    assert instrument.missing(Subject("", task, Parity(num_samples=40, min_length=8, length=8, test_length=None)))
    # a network that has learned nothing but to say "even" is right where the string is even
    nn.init.zeros_(task.network.readout.weight)
    task.network.readout.bias.data = torch.tensor([1.0, 0.0])
    measured = instrument.measure(subject)
    lengths, accuracy = measured.of["test"]
    assert accuracy.tolist() == [1.0 - y for _, y in rows(data.split("test"))]
    figure = instrument.draw(subject, measured).figure
    drawn = {bars.get_label(): np.asarray(bars.lines[0].get_xydata()) for bars in figure.axes[0].containers}
    test, val = drawn["test"], drawn["validation"]
    assert len(test) == 5 and (np.diff(test[:, 0]) > 0).all() and (val[:, 0] <= 8).all() and (test[:, 0] >= 9).all()
    counts = np.histogram(lengths - 9, np.linspace(0, np.ptp(lengths) + 1, 6))[0]
    assert (test[:, 1] * counts).sum() == pytest.approx(accuracy.sum())


def test_whole_sequences_have_a_line_where_there_are_many_answers() -> None:
    data = ReverseString(num_samples=60, length=4, test_length=(5, 6))
    subject = Subject("", task_for(data.spec), data)
    figure = ScoreByLength().draw(subject, ScoreByLength().measure(subject)).figure
    assert "test, all answers right" in {bars.get_label() for bars in figure.axes[0].containers}


def test_the_gradient_is_that_of_the_last_answer() -> None:
    data = AssociativeRecall(num_samples=100, length=24)
    task = task_for(data.spec)
    norms = GradientFlow(sequences=1).measure(Subject("", task, data)).norms["now"][0]
    last = int((data.split("test").targets[0] != IGNORED).nonzero().max())
    assert last < 23
    assert (norms[: last + 1] > 0).all() and not norms[last + 1 :].any()


@pytest.mark.slow
def test_a_run_reports_accuracy_by_length(train: Callable[..., Outcome]) -> None:
    outcome = train("data=parity", "data.test_length=[41,120]", "model.hidden_size=4")
    assert (
        {f"test/accuracy_length_{length}" for length in (50, 100, 200)}
        >= {name for name in outcome.metrics if "_length_" in name}
        != set()
    )
    assert "figures/score_by_length.png" in outcome.figures


@pytest.mark.slow
def test_an_error_is_gathered_by_length_too(train: Callable[..., Outcome]) -> None:
    outcome = train("data=adding", "data.length=10", "data.test_length=[11,40]", "model.hidden_size=4")
    by_length = {name: value for name, value in outcome.metrics.items() if name.startswith("test/mse_length_")}
    assert set(by_length) == {"test/mse_length_20", "test/mse_length_50"}
    # the mean of all lies between the means of its parts
    assert min(by_length.values()) <= outcome.metrics["test/mse"] <= max(by_length.values())
    assert "figures/score_by_length.png" in outcome.figures


@pytest.mark.slow
@pytest.mark.parametrize("data", ["adding", "copy_memory"])
def test_every_picture_of_them_can_be_drawn(data: str, train: Callable[..., Outcome]) -> None:
    outcome = train(f"data={data}", "model.hidden_size=4", "data.length=12", "instruments=default")
    assert {"figures/loss_curves.png", "figures/hidden_states.png", "figures/gradient_flow.png"} <= set(outcome.figures)
    assert ("figures/accuracy_curves.png" in outcome.figures) == (data == "copy_memory")
