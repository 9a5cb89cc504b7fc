"""Instruments: what they measure is right, what they draw can be read, and they leave no trace."""

import inspect
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import get_class
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from omegaconf import OmegaConf
from torch import Tensor

from rnnlab.cells.gru import GRU
from rnnlab.cells.indrnn import IndRNN
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN
from rnnlab.data.classification import Classification as Waveforms
from rnnlab.data.csv import CSV
from rnnlab.data.random import Random
from rnnlab.data.sequence import SequenceData
from rnnlab.data.sine import Sine
from rnnlab.data.text import Text
from rnnlab.data.tokens import Tokens
from rnnlab.instruments import style
from rnnlab.instruments.confusion import ConfusionMatrix
from rnnlab.instruments.forecast import Forecast
from rnnlab.instruments.gradient_flow import GradientFlow
from rnnlab.instruments.hidden_states import HiddenStates, States, spread
from rnnlab.instruments.instrument import Instrument, cell_name, some
from rnnlab.instruments.learning_curves import AccuracyCurves, LossCurves
from rnnlab.instruments.principal_components import PrincipalComponents
from rnnlab.instruments.score_by_length import Groups, ScoreByLength
from rnnlab.instruments.spectrum import Spectrum, radius
from rnnlab.instruments.style import short
from rnnlab.instruments.subject import Subject, history_of
from rnnlab.network import Network
from rnnlab.spec import DataSpec, Scaling
from rnnlab.store.verdict import Judgement, Verdict
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.language_modeling import LanguageModeling
from rnnlab.tasks.task import Task
from rnnlab.use.inspection import catalogue

CONF = Path(__file__).parents[1] / "conf" / "instruments"
ALL = (LossCurves, AccuracyCurves, ScoreByLength, Forecast, ConfusionMatrix, HiddenStates, GradientFlow, Spectrum)
HISTORY = [
    {"epoch": 1, "train/loss": 1.0, "val/loss": 0.9, "train/accuracy": 0.2, "val/accuracy": 0.3},
    {"epoch": 2, "train/loss": 0.6, "val/loss": 0.5, "train/accuracy": 0.6, "val/accuracy": 0.7, "kept": 1.0},
    {"epoch": 3, "train/loss": 0.4, "val/loss": 0.8, "train/accuracy": 0.8, "val/accuracy": 0.6},
]


def task_for(data: SequenceData, cell: Any = RNN, **options: Any) -> Task:
    torch.manual_seed(0)
    network = Network(data.spec.input, data.spec.target, cell, **{"hidden_size": 5, **options})
    return (Forecasting if data.spec.target.kind == "values" else Classification)(network, data.spec)


def waves(**options: Any) -> Sine:
    return Sine(**{"num_samples": 30, "length": 12, "future_length": 6, **options})


@dataclass(kw_only=True, eq=False)
class Degrees(Sine):
    """Waves whose network sees them scaled, with a unit."""

    @property
    def spec(self) -> DataSpec:
        return replace(super().spec, scaling=Scaling((10.0,), (2.0,)), unit="°C", step_unit="month")


def drawing(instrument: Instrument[Any], task: Task, data: SequenceData, history: Any = HISTORY) -> Figure:
    """What an instrument draws after training."""
    subject = Subject("", task, data, history=history)
    return instrument.draw(subject, instrument.measure(subject)).figure


def last_norms(task: Task, data: SequenceData, **options: Any) -> Tensor:
    """``(cells, time)`` gradient norms of the network as it is."""
    return list(GradientFlow(**options).measure(Subject("", task, data)).norms.values())[-1]


def lines(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The named lines of the first plot."""
    return {
        str(line.get_label()): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
        for line in figure.axes[0].lines
    }


# ---- gradients through time -----------------------------------------------------------------------


class Nudged(RNN):
    """An RNN whose state gets a push after a step of one's choice: for finite differences."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, backend="reference")
        self.at, self.push = -1, torch.zeros(())

    def initial_state(self, batch_size: int) -> Tensor:
        self.steps = 0
        return super().initial_state(batch_size)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        _, h = super().step(x, state)
        h = h + self.push if self.steps == self.at else h
        self.steps += 1
        return h, h


@pytest.mark.parametrize(
    "data",
    [
        Sine(num_samples=20, length=4, future_length=0),
        Random(num_samples=20, length=4, features=2),
        Waveforms(num_samples=200, min_length=3, length=5),
    ],
    ids=["last step of values", "class", "class, varying lengths"],
)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=["one", "deep", "both ways"])
def test_gradients_equal_finite_differences(data: SequenceData, options: dict[str, Any]) -> None:
    task = task_for(data, Nudged, hidden_size=2, **options).double()
    measured = last_norms(task, data, sequences=2)
    split = data.split("test")
    full = (
        torch.arange(len(split)) if split.lengths is None else torch.nonzero(split.lengths == split.lengths.max())[:, 0]
    )
    batch = split.batch(full[:2])
    steps, h = batch.inputs.shape[1], 1e-5

    def loss_of(sequence: int) -> Tensor:
        output = task.network(batch.inputs.double())[0]
        if task.spec.target.per_step:
            return (output[sequence, -1] - batch.targets[sequence, -1]).square().mean()
        return -output[sequence].log_softmax(-1)[batch.targets[sequence]]

    with torch.no_grad():
        for number, cell in enumerate(task.network.cells()):
            assert isinstance(cell, Nudged)
            for t in range(steps):
                backward = task.network.bidirectional and number % 2
                cell.at = steps - 1 - t if backward else t
                gradient = torch.zeros(len(full[:2]), 2, dtype=torch.float64)
                for (sequence, unit), _ in np.ndenumerate(gradient.numpy()):
                    for sign in (1, -1):
                        cell.push = torch.zeros_like(gradient)
                        cell.push[sequence, unit] = sign * h
                        gradient[sequence, unit] += sign * loss_of(sequence) / (2 * h)
                torch.testing.assert_close(measured[number, t], gradient.norm(dim=-1).mean(), rtol=1e-5, atol=1e-9)
            cell.at = -1


def only(task: Task) -> RNN:
    """The one cell of a simple network."""
    (cell,) = task.network.cells()
    assert isinstance(cell, RNN)
    return cell


def scaled(task: Task, factor: float, bias: float = 0.0) -> Task:
    """The task with a multiple of the identity for recurrent weights."""
    with torch.no_grad():
        only(task).weight_hh.copy_(factor * torch.eye(5))
        only(task).bias_ih.fill_(bias)
    return task


def test_small_recurrent_weights_let_the_gradient_vanish() -> None:
    data = waves(length=30)
    norms = last_norms(scaled(task_for(data), 0.4), data)[0]
    assert norms[0] < 1e-9 * norms[-1]
    assert (norms[:-1] < norms[1:]).all()


def test_a_linear_recurrence_multiplies_the_gradient_by_its_spectral_radius() -> None:
    data = waves(length=30)
    # a bias so large that every unit stays in its linear half
    task = scaled(task_for(data, partial(RNN, nonlinearity="relu")), 1.5, bias=10.0)
    norms = last_norms(task, data)[0]
    torch.testing.assert_close(norms[:-1] / norms[1:], torch.full((29,), 1.5, dtype=torch.float64), rtol=1e-4, atol=0)


def test_gradients_below_the_square_root_of_single_precision_are_seen() -> None:
    data = waves(length=60)
    norms = last_norms(scaled(task_for(data), 0.3), data)[0]
    assert 0 < norms[0] < 1e-25


def test_gradients_are_observed_before_training_and_at_powers_of_two() -> None:
    data, flow = waves(), GradientFlow()
    task = task_for(data)
    for epoch in range(11):
        flow.observe(Subject("", task, data), epoch)
        with torch.no_grad():
            only(task).weight_hh.mul_(1.01)
    drawn = drawing(flow, task, data, HISTORY)
    assert list(lines(drawn)) == [
        "before training",
        "epoch 1",
        "epoch 2",
        "epoch 4",
        "epoch 8",
        "kept weights (epoch 2)",
    ]
    assert "last step alone" in " ".join(text.get_text() for text in drawn.texts)


# ---- spectrum -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM, IndRNN])
def test_eigenvalues_equal_numpys_before_and_after_training(cell: Any) -> None:
    data, spectrum = waves(), Spectrum()
    task = task_for(data, cell)
    before = {
        gate: weights.detach().numpy().copy() for gate, weights in task.network.cells()[0].recurrent_weights().items()
    }
    spectrum.observe(Subject("", task, data), 0)
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.mul_(2.0)
    spectrum.observe(Subject("", task, data), 1)  # is not the beginning
    figure = drawing(spectrum, task, data, HISTORY)
    assert len([ax for ax in figure.axes if ax.get_visible()]) == len(before)
    for ax, (gate, weights) in zip(figure.axes, before.items(), strict=False):
        expected = np.linalg.eigvals(weights.astype(float))
        initial, trained = (np.asarray(dots.get_offsets()) @ [1, 1j] for dots in ax.collections)
        # no order is given, so each must be near one of the others
        for found, wanted in ((initial, expected), (trained, 2 * expected)):
            assert np.abs(found[:, None] - wanted).min(1).max() < 1e-5
            assert np.abs(found[:, None] - wanted).min(0).max() < 1e-5
        rho = np.abs(expected).max()
        assert f"{gate}: ρ = {rho:.2f} → {2 * rho:.2f}" in ax.get_title(loc="left")


# ---- forecasts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 3])
def test_forecast_shows_truth_predictions_and_the_rollout_in_units(horizon: int) -> None:
    data = Degrees(num_samples=30, length=12, horizon=horizon, future_length=6)
    task = task_for(data)
    batch = data.split("test").batch(slice(0, 1))
    figure = drawing(Forecast(sequences=2), task, data, HISTORY)
    drawn = lines(figure)

    noisy, clean = drawn["truth, with noise"], drawn["truth, without noise"]
    assert len(noisy[0]) == 12 + horizon
    assert "none beyond" in figure.texts[1].get_text()
    times, truth = (np.concatenate(parts) for parts in zip(noisy, clean, strict=True))
    wave = torch.cat([batch.inputs[0, :horizon], batch.targets[0], batch.future[0]])[:, 0]  # type: ignore[index]
    assert times.tolist() == list(range(12 + horizon + 6))
    np.testing.assert_allclose(truth, 10 + 2 * wave, rtol=1e-5)

    output = task(batch).detach()[0, :, 0]
    times, predicted = drawn["predicted one step ahead" if horizon == 1 else "predicted 3 steps ahead"]
    assert times.tolist() == list(range(horizon, 12))
    np.testing.assert_allclose(predicted, 10 + 2 * output[:-horizon], rtol=1e-5)

    times, alone = drawn["on its own predictions"]
    assert times.tolist() == list(range(12, 12 + horizon + 6))  # right after the window's last step, 11
    np.testing.assert_allclose(alone[:horizon], 10 + 2 * output[-horizon:], rtol=1e-5)
    assert isinstance(task, Forecasting)
    np.testing.assert_allclose(alone[horizon:], 10 + 2 * task.rollout(batch.inputs, 6)[0, :, 0], rtol=1e-5)
    assert drawn["end of the window"][0].tolist() == [11.5, 11.5]
    assert figure.axes[0].get_ylabel() == "wave (°C)"
    assert figure.axes[-1].get_xlabel() == "time (month)"


def test_forecast_says_the_error_of_the_drawn_sequences() -> None:
    data = Degrees(num_samples=30, length=12, future_length=6)
    task = task_for(data)
    assert isinstance(task, Forecasting)
    batch = data.split("test").batch(slice(0, 3))
    one_step = 2 * (task(batch).detach() - batch.targets).square().mean().sqrt()
    rollout = 2 * (task.rollout(batch.inputs, 6) - batch.future).square().mean().sqrt()  # type: ignore[operator]
    said = drawing(Forecast(sequences=3), task, data, HISTORY).texts[1].get_text()
    assert f"{short(float(one_step))} °C one step ahead" in said
    assert f"{short(float(rollout))} °C over 6 steps" in said


def test_forecast_without_a_known_future_goes_on_all_the_same() -> None:
    data = waves(future_length=0)
    drawn = lines(drawing(Forecast(sequences=1, steps=9), task_for(data), data, HISTORY))
    assert len(drawn["truth"][0]) == 13
    assert len(drawn["on its own predictions"][0]) == 10


def test_a_rollout_that_runs_away_does_not_press_the_truth_flat() -> None:
    data = waves(future_length=40)
    task = scaled(task_for(data, partial(RNN, nonlinearity="relu")), 1.5, bias=1.0)
    figure = drawing(Forecast(sequences=1), task, data, HISTORY)
    low, high = figure.axes[0].get_ylim()
    names = ("truth, with noise", "truth, without noise", "predicted one step ahead")
    shown = np.concatenate([lines(figure)[name][1] for name in names])
    assert np.abs(lines(figure)["on its own predictions"][1]).max() > 100 * np.abs(shown).max()
    assert high - low <= 2.01 * (shown.max() - shown.min())


# ---- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [Tokens(num_samples=300, batch_size=3), Waveforms(num_samples=300, segments=1)])
def test_confusion_counts_equal_a_count_by_hand(data: SequenceData) -> None:
    task = task_for(data)
    expected = np.zeros((data.spec.target.size,) * 2, int)
    split = data.split("test")
    for i in range(len(split)):
        steps = split.lengths[i] if split.lengths is not None else None
        output = task.network(split.inputs[i : i + 1, :steps])[0]
        expected[int(split.targets[i]), int(output.argmax())] += 1
    counts = ConfusionMatrix().measure(Subject("", task, data))
    np.testing.assert_array_equal(counts, expected)
    figure = drawing(ConfusionMatrix(), task, data, HISTORY)
    shares = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shares.sum(1), expected.any(1))  # type: ignore[union-attr]
    assert f"{np.trace(expected)} of {len(split)} " in figure.texts[1].get_text()
    written = {(text.get_position()[::-1], text.get_text()) for text in figure.axes[0].texts}
    assert {((row, column), str(count)) for (row, column), count in np.ndenumerate(expected) if count} <= written


def test_a_confusion_matrix_without_a_mistake_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Tokens(num_samples=30, num_classes=3, min_length=5, length=6, share=0.5)
    for counts, said in ((np.diag([3, 2, 4]), "9 of 9 "), (np.diag([3, 2, 4]) + np.eye(3, k=2, dtype=int), "9 of 10 ")):
        monkeypatch.setattr(ConfusionMatrix, "measure", lambda self, subject, counts=counts: counts)
        subtitle = drawing(ConfusionMatrix(), task_for(data), data, HISTORY).texts[1].get_text()
        assert subtitle.startswith(said)
        assert ("most often mistaken" in subtitle) is ("10" in said)


def test_fifty_classes_are_named_and_not_numbered() -> None:
    data = Tokens(num_samples=300, num_classes=50, min_length=50, length=60, share=0.5)
    figure = drawing(ConfusionMatrix(), task_for(data), data, HISTORY)
    assert len(figure.axes[0].get_yticklabels()) == 50
    assert not figure.axes[0].texts


# ---- hidden states --------------------------------------------------------------------------------


def titled(figure: Figure, title: str) -> Axes:
    """The plot whose title begins so."""
    return next(ax for ax in figure.axes if ax.get_title(loc="left").startswith(title))


def test_hidden_paths_are_as_long_as_their_sequences() -> None:
    data = Tokens(num_samples=60)
    task = task_for(data, GRU)
    figure = drawing(HiddenStates(sequences=4), task, data, HISTORY)
    image = np.asarray(titled(figure, "activation of each unit").images[0].get_array())
    split = data.split("test")
    numbers = spread(split.targets, 4)
    assert split.lengths is not None
    lengths = split.lengths[numbers]
    longest = int(numbers[lengths.argmax()])
    hidden, _ = task.network.hidden(split.inputs[longest : longest + 1, : split.lengths[longest]])
    # the same activations, the units in another order
    np.testing.assert_allclose(np.sort(image, 0), np.sort(hidden[0].detach().numpy().T, 0), atol=1e-6)
    paths = titled(figure, "their paths")
    drawn = [len(np.asarray(line.get_xdata())) for line in paths.lines if line.get_marker() == "None"]
    assert drawn == lengths.tolist()
    assert f"test sequence {longest} " in figure.texts[1].get_text()
    figure.draw_without_rendering()
    path = titled(figure, "its path")
    legend = path.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= path.get_window_extent().y1 - 1  # above the plot, never over the path


def test_states_stand_below_their_steps_where_convolutions_leave_steps_out() -> None:
    data = Waveforms(num_samples=40, min_length=20, length=41)
    task = task_for(data, GRU, encoder="conv", encoder_stride=3)
    found = States.of(Subject("", task, data), 6)
    assert min(found.lengths) < max(found.lengths)
    assert [len(path) for path in found.paths] == [-(-length // 3) for length in found.lengths]
    assert all((path != 0).any(-1).all() for path in found.paths), "padding is no state"
    figure = drawing(HiddenStates(sequences=6), task, data, HISTORY)
    (image,) = titled(figure, "activation of each unit").get_images()
    left, right, *_ = image.get_extent()
    assert right - left == 3 * max(map(len, found.paths))


def test_all_classes_are_shown_where_the_test_set_is_sorted_by_class() -> None:
    classes = torch.arange(9).repeat_interleave(40)
    shown = classes[spread(classes, 24)]
    assert sorted(torch.bincount(shown).tolist()) == [2] * 3 + [3] * 6
    assert len(classes[spread(classes, 4)].unique()) == 9  # one of each, where there are more classes
    rare = torch.tensor([0] * 50 + [1])
    assert spread(rare, 6).tolist() == [0, 1, 2, 3, 4, 50]

    data = Waveforms(num_samples=800, segments=2)  # 16 classes
    task = task_for(data, GRU)
    figure = drawing(HiddenStates(), task, data, HISTORY)
    (legend,) = (legend for part in figure.subfigs for under in part.subfigs for legend in under.legends)
    assert [text.get_text() for text in legend.get_texts()] == list(data.spec.target.names)
    assert "of all 16 classes" in figure.texts[1].get_text()
    ends = [(line.get_color(), line.get_marker()) for line in titled(figure, "their paths").lines]
    assert len({look for look in ends if look[1] != "None"}) == 16  # no two classes look alike


def test_the_input_is_shown_by_its_names(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("some words and more words and some more of them " * 60)
    data: SequenceData = Text(path=str(text), unit="word", length=12, batch_size=4)
    torch.manual_seed(0)
    task: Task = LanguageModeling(Network(data.spec.input, data.spec.target, GRU, hidden_size=5), data.spec)
    top = titled(drawing(HiddenStates(), task, data, HISTORY), "input")
    tokens = data.split("test").inputs[0].tolist()
    assert [each.get_text() for each in top.texts] == [data.spec.target.names[token] for token in tokens]

    table = tmp_path / "series.csv"
    rows = [f"{day},{day % 5 + 1},{day % 3},{day % 2}" for day in range(100)]
    table.write_text("\n".join(["day,sales,price,holiday", *rows]))
    columns: dict[str, Any] = {"target": "sales", "time": "day", "past": ["price"], "known": ["holiday"]}
    series = CSV(path=str(table), length=8, horizon=2, window_scaling="global", calendar=[], **columns)
    top = titled(drawing(HiddenStates(), task_for(series, GRU), series, HISTORY), "input")
    named = [text.get_text() for text in top.get_legend().get_texts()]  # type: ignore[union-attr]
    assert named == ["sales", "price", "holiday +1", "holiday +2"]


def test_long_names_stand_in_legends_in_full(tmp_path: Path) -> None:
    wall = "relative humidity of the air in the greenhouse at the north wall"
    named = ["sales", wall, wall.replace("north", "south"), "_value $ and $"]
    table = tmp_path / "series.csv"
    rows = [f"{day},{day % 5 + 1},{day % 3},{day % 2},{day % 4}" for day in range(100)]
    table.write_text("\n".join([",".join(["day", *named]), *rows]))
    columns: dict[str, Any] = {"target": "sales", "time": "day", "past": named[1:]}
    series = CSV(path=str(table), length=8, horizon=1, window_scaling="global", calendar=[], **columns)
    figure = drawing(HiddenStates(), task_for(series, GRU), series, HISTORY)
    top, heat = titled(figure, "input"), titled(figure, "activation of each unit")
    figure.draw_without_rendering()
    legend = top.get_legend()
    assert legend is not None
    written = [" ".join(text.get_text().split()).replace(r"\$", "$") for text in legend.get_texts()]
    assert written == named
    box = legend.get_window_extent()
    assert heat.title.get_window_extent().y1 - 1 <= box.y0 < box.y1 <= top.get_window_extent().y0 + 1
    assert box.x1 <= heat.get_window_extent().x1 + 1

    data = Waveforms(num_samples=300, segments=1)
    task = task_for(data, GRU)
    classes = [f"a {name} wave, recorded on the second day with the old device" for name in data.spec.target.names]
    task.spec = replace(task.spec, target=replace(task.spec.target, names=tuple(classes)))
    figure = drawing(HiddenStates(), task, data, HISTORY)
    figure.draw_without_rendering()
    (legend,) = (legend for part in figure.subfigs for under in part.subfigs for legend in under.legends)
    assert [" ".join(text.get_text().split()) for text in legend.get_texts()] == classes
    assert titled(figure, "their paths").get_window_extent().x1 <= legend.get_window_extent().x0
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert titled(figure, "their paths").get_window_extent().width > 2.5 * style.DPI


def some_name(rng: np.random.Generator, letters: str, most: int) -> str:
    return "".join(rng.choice(list(letters), rng.integers(1, most)))


def test_names_that_are_cut_stay_different() -> None:
    rng = np.random.default_rng(0)
    for longest in range(12, 40):
        names = [
            some_name(rng, "ab_ ", 30) + middle + "the same ending of all"
            for middle in ("a", "b", "ab" * 30, "ab" * 30 + "b")
            for _ in range(4)
        ]
        names += [names[0][:10] + "c" * k + names[0][-30:] for k in range(90, 120)]
        written = style.cut_apart(names, longest)
        assert max(map(len, written)) <= longest
        assert len(set(written)) == len(set(names))
        assert all(short == name for short, name in zip(written, names, strict=True) if len(name) <= longest)
        assert style.cut_apart([names[0]] * 2, longest) == [style.cut(names[0], longest)] * 2


def test_both_ends_of_a_long_name_are_seen_and_otherwise_where_names_differ() -> None:
    assert style.cut("temperature of the water in degrees", 19) == "temperatu…n degrees"
    sides = [f"temperature of the water on the {side} side of the lake in degrees" for side in ("east", "west")]
    assert [written[10:15] for written in style.cut_apart(sides)] == [" east", " west"]


def test_a_name_is_wrapped_and_nothing_of_it_is_lost() -> None:
    rng = np.random.default_rng(0)
    for line in [*range(5, 40)] * 5:
        name = some_name(rng, "abcde_,- ", 90)
        lines = style.wrapped(name, line)
        assert "".join("".join(lines).split()) == "".join(name.split())
        assert max(map(len, lines)) <= line
    assert style.wrapped("model.hidden_size=64,optimizer.lr=0.001", 24) == [
        "model.hidden_size=64,",
        "optimizer.lr=0.001",
    ]


def test_means_by_length_have_their_intervals_and_counts() -> None:
    lengths = np.repeat([10, 20], 50)
    right = np.array([1.0] * 45 + [0.0] * 5 + [1.0] * 50)
    groups = Groups.of(lengths, right, most=20)
    assert groups.count.tolist() == [50, 50]
    # Wilson's interval by hand, with z = 1.96: of 45 in 50, and of 50 in 50
    np.testing.assert_allclose(groups.low, [0.78640, 0.92865], atol=2e-5)
    np.testing.assert_allclose(groups.high, [0.95653, 1.0], atol=2e-5)
    errors = Groups.of(lengths, np.tile([1.0, 3.0], 50), most=20)
    np.testing.assert_allclose(errors.high - errors.mean, 1.96 * np.sqrt(50 / 49 / 50))
    few = Groups.of(np.arange(1, 31), np.ones(30), most=20)
    assert few.count.tolist() == [10, 10, 10]  # no point that is a single sequence

    data = Waveforms(num_samples=300, segments=1, min_length=5, length=20)
    top, below = drawing(ScoreByLength(), task_for(data), data, HISTORY).axes
    assert len(top.containers) == 2  # bars of validation and test
    assert sum(np.asarray(below.lines[1].get_ydata())) == len(data.split("test"))


def test_neighbouring_stages_of_training_look_unlike() -> None:
    for number in range(2, 9):
        names = ["before training", *(f"epoch {2**k}" for k in range(number - 2)), "kept"]
        drawn = [(to_rgb(look["color"]), look.get("linestyle", "-")) for look in style.stages(names)]
        for (one, dash), (other, dashed) in pairwise(drawn):
            assert dash != dashed or np.linalg.norm(np.subtract(one, other)) > 0.12
    assert drawn[0][1] == "--"


def test_principal_components_are_those_of_the_covariance() -> None:
    states = np.random.default_rng(0).standard_normal((200, 6)) @ np.diag([5, 3, 1, 1, 0.5, 0.1])
    components = PrincipalComponents(states)
    variances = np.linalg.eigvalsh(np.cov(states.T))[::-1]
    np.testing.assert_allclose(components.explained, variances[:2] / variances.sum())
    np.testing.assert_allclose(components.project(states).var(0, ddof=1), variances[:2])


def test_units_that_act_alike_are_sorted_side_by_side() -> None:
    time = np.linspace(0, 4 * np.pi, 100)
    shuffled = np.array([0, 2, 1, 0, 2, 1])  # three pairs of units, each of its own phase
    states = np.sin(time[:, None] + 2 * np.pi * shuffled / 3)
    order = shuffled[PrincipalComponents(states).order(slice(None))]
    assert (order[:-1] == order[1:]).sum() == 3


# ---- learning curves ------------------------------------------------------------------------------


def test_loss_curves_mark_the_best_epoch_and_draw_a_baseline_that_is_there() -> None:
    data = waves()
    task = task_for(data)
    drawn = lines(drawing(LossCurves(), task, data, HISTORY))
    assert not any("baseline" in name for name in drawn)
    assert [each.item() for each in drawn["kept weights (epoch 2)"]] == [2, 0.5]
    assert drawn["training"][1].tolist() == [1.0, 0.6, 0.4]
    with_baseline = drawing(LossCurves(), task, data, [{**row, "baseline/loss": 2.0} for row in HISTORY])
    assert set(lines(with_baseline)["baseline (persistence)"][1]) == {2.0}
    assert "4 times below the baseline" in with_baseline.texts[1].get_text()
    # what a linear part reaches by itself is no merit of the network
    added = task_for(data)
    added.spec = replace(added.spec, residual="ridge")
    title = drawing(LossCurves(), added, data, [{**row, "baseline/loss": 2.0} for row in HISTORY]).texts[1].get_text()
    assert title.endswith("; a linear forecast is part of it") and "below" not in title


def test_the_strongest_baseline_stands_in_the_plot_of_the_same_score_alone() -> None:
    """Whatever a verdict is by: its two numbers, of the test data, are never beside the curve of another score."""

    def drawn(instrument: Instrument[Any], task: Task, data: SequenceData, score: str) -> dict[str, dict[str, float]]:
        verdict = Verdict(state=Judgement.BETTER, text="", score=score, network=0.3, baseline="linear_ar", beside=0.4)
        history = [{**row, "val/mae": row["val/loss"] / 2} for row in HISTORY]
        subject = Subject("", task, data, history=history, verdict=verdict)
        figure = instrument.draw(subject, instrument.measure(subject)).figure
        return {
            ax.get_ylabel(): {
                str(line.get_label()).partition(":")[0]: float(np.asarray(line.get_ydata())[0])
                for line in ax.lines
                if "test" in str(line.get_label())
            }
            for ax in figure.axes
        }

    compared = {"linear-ar on the test data": 0.4, "this run on the test data": 0.3}
    data = waves()
    assert drawn(LossCurves(), task_for(data), data, "mae") == {"loss": {}, "mae": compared}
    assert drawn(LossCurves(), task_for(data), data, "loss") == {"loss": compared}
    # a score that no validation has, and the loss under another name
    assert drawn(LossCurves(), task_for(data), data, "mape") == {"loss": {}}
    task = task_for(data)
    task.loss_name = "mse"
    assert drawn(LossCurves(), task, data, "mse") == {"loss": compared}
    classes = Tokens(num_samples=30)
    assert drawn(LossCurves(), task_for(classes), classes, "accuracy") == {"loss (nats)": {}}
    (accuracy,) = drawn(AccuracyCurves(), task_for(classes), classes, "accuracy").values()
    assert accuracy == compared
    (accuracy,) = drawn(AccuracyCurves(), task_for(classes), classes, "loss").values()
    assert accuracy == {}


def test_a_loss_has_a_log_axis_only_where_it_falls_far() -> None:
    data = waves()
    task = task_for(data)
    assert drawing(LossCurves(), task, data, HISTORY).axes[0].get_yscale() == "linear"
    far = [*HISTORY, {"epoch": 4, "train/loss": 0.004, "val/loss": 0.005}]
    ax = drawing(LossCurves(), task, data, far).axes[0]
    assert ax.get_yscale() == "log"
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    labels = [label.get_text() for label in ax.get_yticklabels() if label.get_text()]
    assert {"0.01", "0.1", "1"} <= set(labels)


def test_all_pictures_mark_the_epoch_whose_weights_are_kept() -> None:
    """Whichever score was monitored: the best epoch of a run is one."""
    data = Tokens(num_samples=30)
    task = task_for(data)
    history = history_of([{**row, "kept": 0.0} for row in HISTORY], {}, best_epoch=3)
    spectrum = Spectrum()
    spectrum.observe(Subject("", task, data), 0)
    for instrument in (LossCurves(), AccuracyCurves(), GradientFlow(), spectrum):
        figure = drawing(instrument, task, data, history)
        named = [str(line.get_label()) for line in [*figure.axes[0].lines, *figure.axes[0].collections]]
        assert [name for name in named if "kept" in name] == ["kept weights (epoch 3)"], instrument.name


def test_accuracy_curves_apply_to_classes_alone() -> None:
    data = Tokens(num_samples=30)
    task = task_for(data)
    subject = Subject("", task, data, history=HISTORY)
    assert AccuracyCurves().missing(subject) is None
    assert ConfusionMatrix().missing(subject) is None
    assert Forecast().missing(subject)
    assert AccuracyCurves().missing(Subject("", task, data)) == "the run has no finished epoch"
    values = waves()
    of_values = Subject("", task_for(values), values, history=HISTORY)
    assert AccuracyCurves().missing(of_values)
    assert Forecast().missing(of_values) is None


@pytest.mark.parametrize(
    "history",
    [[{"epoch": 1, "train/loss": 1.0}], [{"epoch": 1, "train/loss": float("nan"), "val/loss": float("nan")}]],
    ids=["no validation", "nan"],
)
def test_curves_of_a_history_with_holes_are_drawn(history: list[dict[str, float]]) -> None:
    data = Tokens(num_samples=30)
    for instrument in (LossCurves(), AccuracyCurves()):
        figure = drawing(instrument, task_for(data), data, history)
        figure.savefig(io.BytesIO())
        assert not any("kept" in name for name in (lines(figure) if figure.axes else {}))


# ---- all of them ----------------------------------------------------------------------------------

WORLDS: dict[str, Callable[[], tuple[SequenceData, Any, dict[str, Any]]]] = {
    "forecast, lstm": lambda: (waves(), LSTM, {}),
    "noise, bidirectional deep indrnn": lambda: (
        Random(num_samples=30, length=6, num_classes=3),
        IndRNN,
        {"bidirectional": True, "num_layers": 2, "dropout": 0.5},
    ),
    "tokens of varying length, gru": lambda: (Tokens(num_samples=30), GRU, {"readout": "mean"}),
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> tuple[Task, SequenceData]:
    data, cell, options = WORLDS[request.param]()
    return task_for(data, cell, **options), data


def drawn(task: Task, data: SequenceData) -> Iterator[tuple[Instrument[Any], Figure]]:
    for kind in ALL:
        instrument = kind()
        if instrument.missing(Subject("", task, data, history=HISTORY)) is None:
            instrument.observe(Subject("", task, data), 0)
            yield instrument, drawing(instrument, task, data, [{**row, "baseline/loss": 1.2} for row in HISTORY])


@pytest.mark.slow
def test_figures_can_be_read(world: tuple[Task, SequenceData]) -> None:
    """Every plot's axes are named, and no plot, legend or headline covers another or leaves the figure."""
    for instrument, figure in drawn(*world):
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw_without_rendering()  # lays it out
        plots = [ax for ax in figure.axes if ax.get_visible()]
        pieces = [text for text in figure.texts if text.get_text()] + plots + figure.legends
        boxes = [box for piece in pieces if (box := piece.get_tightbbox(renderer)) is not None]
        for number, box in enumerate(boxes):
            where = (instrument.name, pieces[number])
            assert figure.bbox.padded(1).contains(*box.min), where
            assert figure.bbox.padded(1).contains(*box.max), where
            for other in boxes[:number]:
                both = Bbox.intersection(box.padded(-1), other.padded(-1))
                assert both is None or both.width * both.height == 0, where
        assert figure.texts[0].get_text()
        for name in ("x", "y"):
            # inner plots of a grid share the outer ones' labels, and a scale of colours has but one axis
            labels = {getattr(ax, f"get_{name}label")() for ax in plots}
            assert labels - {""}, (instrument.name, name)


def test_looking_leaves_no_trace(world: tuple[Task, SequenceData]) -> None:
    task, data = world
    task.train()
    task.network.readout.eval()  # someone's own choice of modes is kept as well
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    modes = [module.training for module in task.modules()]
    torch.manual_seed(1)
    random = torch.get_rng_state()
    with torch.inference_mode():  # as Lightning evaluates
        for _, figure in drawn(task, data):
            assert figure.axes
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in task.modules()]
    assert all(parameter.grad is None for parameter in task.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.state_dict().items())


@pytest.mark.parametrize("kind", [GradientFlow, Spectrum])
def test_a_resumed_instrument_draws_the_whole_story(kind: Any, world: tuple[Task, SequenceData]) -> None:
    task, data = world
    first, second = kind(), kind()
    first.observe(Subject("", task, data), 0)
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.mul_(1.1)
    checkpoint = io.BytesIO()
    torch.save(first.state(), checkpoint)
    checkpoint.seek(0)
    second.restore(torch.load(checkpoint, weights_only=True))
    one, other = (drawing(instrument, task, data, HISTORY) for instrument in (first, second))
    assert "before training" in {str(artist.get_label()) for artist in other.axes[0].get_children()}
    for mine, theirs in zip(points(one), points(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def points(figure: Figure) -> list[np.ndarray]:
    """Of all lines and dots."""
    return [np.asarray(line.get_xydata()) for line in figure.findobj(Line2D)] + [  # type: ignore[union-attr]
        np.asarray(dots.get_offsets())
        for dots in figure.findobj(PathCollection)  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize("value", [float("nan"), 1e30], ids=["nan", "huge"])
def test_a_network_that_has_blown_up_is_drawn(value: float) -> None:
    data = waves()
    task = task_for(data, LSTM)
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.fill_(value)
    for _, figure in drawn(task, data):
        figure.draw_without_rendering()


def test_gradients_reach_through_layers_that_are_not_trained() -> None:
    data = Tokens(num_samples=30, min_length=5, length=5)
    task = task_for(data, num_layers=2)
    expected = last_norms(task, data)
    task.network.encoder.requires_grad_(False)
    task.network.layers[0].requires_grad_(False)
    trained = [parameter.requires_grad for parameter in task.parameters()]
    torch.testing.assert_close(last_norms(task, data), expected)
    assert [parameter.requires_grad for parameter in task.parameters()] == trained


def test_the_configs_list_every_instrument_with_its_defaults() -> None:
    config = catalogue()
    kinds = {name: get_class(entry.pop("_target_")) for name, entry in config.items()}
    assert set(kinds.values()) > set(ALL)
    for name, kind in kinds.items():
        defaults = {key: parameter.default for key, parameter in inspect.signature(kind).parameters.items()}
        assert config[name] == defaults
        assert kind().title and kind().reading
        assert kind().name == name
    assert not OmegaConf.load(CONF / "none.yaml")


def test_no_pyplot() -> None:
    source = Path(inspect.getfile(GradientFlow)).parent
    assert not [path.name for path in source.glob("*.py") if "import matplotlib.pyplot" in path.read_text()]


def test_some_keeps_the_first_and_the_last() -> None:
    assert some(1, 3) == [0]
    assert some(2, 4) == [0, 1]
    assert some(9, 3) == [0, 4, 8]
    assert some(9, 1) == [8]


def test_cells_are_named_by_layer_and_direction() -> None:
    data = waves()
    names = [cell_name(task_for(data, num_layers=2, bidirectional=True).network, k) for k in range(4)]
    assert names == ["layer 1, forward", "layer 1, backward", "layer 2, forward", "layer 2, backward"]
    assert cell_name(task_for(data).network, 0) == ""


def test_numbers_are_short() -> None:
    assert [short(x) for x in (1234.5, 0.25, 1.5e-7, 3e12)] == ["1,234", "0.25", "1.5e-7", "3e12"]


def test_radius_is_the_largest_absolute_value() -> None:
    assert radius(torch.tensor([0.5 + 0j, -3j, 1 + 1j])) == 3.0
