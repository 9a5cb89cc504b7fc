"""Looking inside: what the views measure is right, what cannot be seen is said, and nothing is overwritten."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import choices, compose
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.mlstm import MLSTM
from rnnlab.cells.rnn import RNN
from rnnlab.commands.inspect import main
from rnnlab.data.adding import Adding
from rnnlab.data.classification import Classification as Waveforms
from rnnlab.data.copy_memory import CopyMemory
from rnnlab.data.remember_first import RememberFirst
from rnnlab.data.sequence import SequenceData
from rnnlab.data.sine import Sine
from rnnlab.data.tokens import Tokens
from rnnlab.instruments.calibration import Calibration, reliability
from rnnlab.instruments.embedding_neighbours import EmbeddingNeighbours
from rnnlab.instruments.gates import OPEN, SHUT, GateSaturation, gates_along
from rnnlab.instruments.gradient_by_lag import GradientByLag, by_lag, remembered
from rnnlab.instruments.lyapunov import Lyapunov, jacobian, lyapunov_exponents
from rnnlab.instruments.saliency import Saliency, gradients, integrated_gradients, question
from rnnlab.instruments.subject import Subject, walk
from rnnlab.instruments.worst_examples import WorstExamples
from rnnlab.network import Network
from rnnlab.runs.build import build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome
from rnnlab.tasks.classification import Classification
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.labelling import Labelling
from rnnlab.tasks.regression import Regression
from rnnlab.tasks.task import Task
from rnnlab.tasks.translation import Translation
from rnnlab.use import inspection, inspection_page
from rnnlab.use.inspection import Inspected, Question, catalogue, instruments_for, look, open_subject

Train = Callable[..., Outcome]
TASKS: dict[str, Any] = {
    "values": Forecasting,
    "value": Regression,
    "class": Classification,
    "tokens": Labelling,
    "sequence": Translation,
}


def inspected(data: SequenceData, cell: Any = RNN, task: dict[str, Any] | None = None, **options: Any) -> Subject:
    """An untrained network on some data."""
    torch.manual_seed(0)
    kind, task = TASKS[data.spec.target.kind], task or {}
    network = Network(data.spec.input, kind.output(data.spec, **task), cell, **{"hidden_size": 5, **options})
    made: Task = kind(network, data.spec, **task).eval()
    return Subject("a run", made, data)


def waves(**options: Any) -> Sine:
    return Sine(**{"num_samples": 30, "length": 20, "future_length": 4, **options})


def linear(factor: float, **options: Any) -> Subject:
    """A recurrence h_t = factor h_{t-1} + W x_t + b: ReLUs whose bias is so large that none is ever shut."""
    subject = inspected(waves(**options), partial(RNN, nonlinearity="relu"))
    (cell,) = subject.network.cells()
    assert isinstance(cell, RNN)
    with torch.no_grad():
        cell.weight_hh.copy_(factor * torch.eye(5))
        cell.bias_ih.fill_(10.0)
    return subject


def cell_of(model: str) -> Any:
    torch.manual_seed(0)
    return build(compose(f"model={model}")["model"]["cell"], "cell")(3, 4)


def random_state(cell: Any, batch: int = 2) -> Any:
    state = cell.initial_state(batch)
    return torch.randn_like(state) if isinstance(state, Tensor) else tuple(map(torch.randn_like, state))


# ---- gates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.few("gru", "lstm", "cfc", "lru", "s6")
def test_gates_are_one_a_unit_within_0_and_1(model: str) -> None:
    cell = cell_of(model)
    gates = cell.gates(torch.randn(2, 3), random_state(cell))
    for gate in gates.values():
        assert gate.shape == (2, 4)
        assert (gate >= 0).all() and (gate <= 1).all()
    assert bool(gates) == (model in WITH_GATES)


WITH_GATES = (
    "gru", "lstm", "layer_norm_lstm", "min_gru", "min_lstm", "qrnn", "rg_lru", "gilr", "mlstm", "mogrifier_lstm",
    "slstm", "lem", "cfc", "ltc", "gru_d", "s6", "delta_net", "conv_lstm",
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("lstm", lambda gates, cell: gates["forget"]),
        ("layer_norm_lstm", lambda gates, cell: gates["forget"]),
        ("qrnn", lambda gates, cell: gates["forget"]),
        ("gilr", lambda gates, cell: gates["forget"]),
        ("mogrifier_lstm", lambda gates, cell: gates["forget"]),
        ("slstm", lambda gates, cell: gates["forget"]),
        ("min_gru", lambda gates, cell: 1 - gates["update"]),
        ("min_lstm", lambda gates, cell: gates["forget"] / (gates["forget"] + gates["input"])),
        ("rg_lru", lambda gates, cell: cell.decay.sigmoid() ** (8 * gates["recurrence"])),
    ],
)
def test_what_a_gate_keeps_is_the_derivative_of_the_memory(model: str, kept: Any) -> None:
    cell = cell_of(model)
    x, state = torch.randn(2, 3), random_state(cell)
    # the part that is carried on unit by unit: c of an LSTM, the first tensor of a QRNN, else the whole state
    which = 1 if model.endswith("lstm") and model != "min_lstm" else 0
    parts = [state] if isinstance(state, Tensor) else list(state)
    memory = parts[which].requires_grad_()
    _, after = cell.step(x, state if isinstance(state, Tensor) else tuple(parts))
    new = after if isinstance(after, Tensor) else after[which]
    (derivative,) = torch.autograd.grad(new.sum(), memory)
    torch.testing.assert_close(derivative, kept(cell.gates(x, state), cell))


def test_the_gates_of_gru_and_lstm_give_their_next_state() -> None:
    gru, lstm = cell_of("gru"), cell_of("lstm")
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    r, z = gru.gates(x, h).values()
    n = (F.linear(x, gru.weight_ih[8:], gru.bias_ih[8:]) + r * F.linear(h, gru.weight_hh[8:], gru.bias_hh[8:])).tanh()
    torch.testing.assert_close(gru.step(x, h)[0], (1 - z) * n + z * h)
    i, f, o = lstm.gates(x, (h, c)).values()
    g = (F.linear(x, lstm.weight_ih[8:12]) + F.linear(h, lstm.weight_hh[8:12])) + (lstm.bias_ih + lstm.bias_hh)[8:12]
    torch.testing.assert_close(lstm.step(x, (h, c))[0], o * (f * c + i * g.tanh()).tanh())


def test_gates_along_a_sequence_are_those_of_its_steps() -> None:
    subject = inspected(waves(), LSTM, num_layers=2)
    batch = subject.take(slice(0, 2))
    ways = walk(subject.network, batch)
    lower, upper = subject.network.cells()
    found = gates_along(subject.network, 1, ways[1])["forget"]
    states = [cell.initial_state(2) for cell in (lower, upper)]
    with torch.no_grad():
        for t in range(batch.inputs.shape[1]):
            x, states[0] = lower.step(batch.inputs[:, t], states[0])
            torch.testing.assert_close(found[:, t], upper.gates(x, states[1])["forget"])
            _, states[1] = upper.step(x, states[1])


def test_saturation_is_of_valid_steps_alone() -> None:
    subject = inspected(Waveforms(num_samples=100, min_length=3, length=9), GRU)
    (measured,) = GateSaturation().measure(subject).values()
    batch = subject.take(slice(0, 64))
    assert batch.lengths is not None
    gates = gates_along(subject.network, 0, walk(subject.network, batch)[0])["update"]
    rows = [gate[:length] for gate, length in zip(gates, batch.lengths.tolist(), strict=True)]
    values = torch.cat(rows)
    np.testing.assert_allclose(measured.shut["update"], (values < SHUT).double().mean(0))
    np.testing.assert_allclose(measured.open["update"], (values > OPEN).double().mean(0))
    assert measured.values["update"].sum() == pytest.approx(1)


# ---- dynamics --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", choices("model"))
def test_a_jacobian_is_that_of_one_step(model: str) -> None:
    cell = cell_of(model)
    x, state = torch.randn(2, 3), random_state(cell)
    found = jacobian(cell, x, state)
    shapes = [part.shape[1:] for part in ((state,) if isinstance(state, Tensor) else state)]

    def step(flat: Tensor, x: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        whole = tuple(part.reshape(1, *shape) for part, shape in zip(parts, shapes, strict=True))
        _, after = cell.step(x[None], whole[0] if isinstance(state, Tensor) else whole)
        return torch.cat([part.flatten() for part in ((after,) if isinstance(after, Tensor) else after)])

    for row in range(2):
        flat = torch.cat([part[row].flatten() for part in ((state,) if isinstance(state, Tensor) else state)])
        expected = torch.autograd.functional.jacobian(partial(step, x=x[row]), flat)
        torch.testing.assert_close(found[row], expected)


def test_a_state_too_large_for_its_jacobian_is_told() -> None:
    reason = Lyapunov().missing(inspected(waves(), MLSTM, hidden_size=40))
    assert reason == "a state of MLSTM is 1,641 numbers, too many for its Jacobian (at most 1,536)"
    assert Lyapunov().missing(inspected(waves(), MLSTM)) is None


def test_exponents_of_a_linear_recurrence_are_the_logarithms_of_its_eigenvalues() -> None:
    torch.manual_seed(0)
    basis = torch.randn(4, 4, dtype=torch.float64)
    values = torch.tensor([1.3, 0.9, -0.5, 0.2], dtype=torch.float64)
    matrix = basis @ values.diag() @ torch.linalg.inv(basis)  # far from normal
    found = lyapunov_exponents(matrix.expand(300, 1, 4, 4), transient=0.5)
    torch.testing.assert_close(found[0], values.abs().log(), atol=1e-6, rtol=0)


def test_exponents_of_a_diagonal_recurrence_are_the_mean_logarithms_of_its_factors() -> None:
    torch.manual_seed(0)
    factors = torch.rand(50, 2, 3, dtype=torch.float64) + 0.2
    found = lyapunov_exponents(torch.diag_embed(factors), transient=0)
    torch.testing.assert_close(found, factors.log().mean(0).sort(-1, descending=True).values)


def test_a_rotation_neither_shrinks_nor_grows_and_what_is_lost_is_lost_for_good() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(lyapunov_exponents(turn.expand(40, 1, 2, 2)), torch.zeros(1, 2, dtype=torch.float64))
    projection = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert lyapunov_exponents(projection.expand(40, 1, 2, 2)).tolist() == [[0.0, -math.inf]]


@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_a_linear_network_has_the_exponents_of_its_weights(factor: float) -> None:
    (measured,) = Lyapunov().measure(linear(factor)).values()
    np.testing.assert_allclose(measured.exponents, math.log(factor), rtol=1e-4)
    np.testing.assert_allclose(measured.eigenvalues, factor, rtol=1e-4)
    assert measured.radius == pytest.approx(factor, rel=1e-4)


# ---- memory ----------------------------------------------------------------------------------------


def test_memory_of_a_linear_recurrence_is_a_power_of_its_factor() -> None:
    measured = GradientByLag().measure(linear(0.5))
    (lines,) = measured.cells.values()
    np.testing.assert_allclose(lines["kept weights"], 0.5 ** np.arange(20), rtol=1e-4)
    assert remembered(lines["kept weights"]) == 6  # 2^-6 is above 1 %, 2^-7 is not
    assert remembered(np.ones(9)) == 8


def test_lags_count_from_the_last_step_that_the_loss_reaches() -> None:
    norms = torch.tensor([1.0, 2.0, 4.0, 0.0, 0.0])
    np.testing.assert_allclose(by_lag(norms), [1, 0.5, 0.25])
    np.testing.assert_allclose(by_lag(norms.flip(0), backward=True), [1, 0.5, 0.25])


def test_the_first_weights_are_those_that_the_run_began_with(train: Train) -> None:
    outcome = train(
        "model.hidden_size=5",
        "data.length=8",
        "trainer.max_epochs=2",
        "instruments=none",
        "+instruments.gradient_flow._target_=rnnlab.instruments.gradient_flow.GradientFlow",
    )
    directory = outcome.directory
    subject = open_subject(Inspected("it", directory, directory.config), Question())
    recorded = GradientByLag().measure(subject)
    assert list(subject.recorded) == [0, 1, 2]
    subject.recorded = {}
    measured = GradientByLag().measure(subject)
    first = next(iter(measured.cells.values()))
    np.testing.assert_allclose(
        first["before training"], next(iter(recorded.cells.values()))["before training"], rtol=1e-5
    )
    kept = {name: value.clone() for name, value in subject.network.state_dict().items()}
    with subject.at("before training"):
        assert any(not kept[name].equal(value) for name, value in subject.network.state_dict().items())
    assert all(kept[name].equal(value) for name, value in subject.network.state_dict().items())


# ---- saliency --------------------------------------------------------------------------------------


def test_saliency_of_a_linear_recurrence_falls_by_its_factor() -> None:
    subject = linear(0.8)
    batch = subject.one(0)
    asked, _ = question(subject, batch)
    gradient = gradients(subject, batch, asked)[0, :, 0]
    torch.testing.assert_close(gradient[:-1] / gradient[1:], torch.full((19,), 0.8), rtol=1e-4, atol=0)
    integrated, change = integrated_gradients(subject, batch, asked)
    torch.testing.assert_close(integrated[:, 0], gradient * batch.inputs[0, :, 0], rtol=1e-3, atol=1e-6)
    assert float(integrated.sum()) == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize(
    "data",
    [
        Tokens(num_samples=60, length=7, min_length=7),
        CopyMemory(num_samples=30, length=4),
        Adding(num_samples=40, length=9),
    ],
    ids=["class of tokens", "tokens", "value"],
)
def test_integrated_gradients_sum_to_the_change(data: SequenceData) -> None:
    subject = inspected(data, GRU)
    for explained in Saliency().measure(subject).chosen:
        assert explained.integrated.sum() == pytest.approx(explained.change, rel=0.01, abs=1e-3)
        assert len(explained.gradient) == len(explained.inputs)


def test_what_must_be_remembered_is_the_first_step() -> None:
    data = RememberFirst(num_samples=400, length=6, num_classes=4)
    subject = inspected(data, GRU, hidden_size=16)
    optimizer = torch.optim.Adam(subject.network.parameters(), lr=0.02)
    split = data.split("train")
    for step in range(120):
        batch = split.batch(torch.arange(64) + step % 4 * 64)
        optimizer.zero_grad()
        subject.task.loss(subject.network(batch.inputs)[0], batch).backward()
        optimizer.step()
    batch = data.split("test").batch(slice(0, 40))
    assert (subject.network(batch.inputs)[0].argmax(-1) == batch.targets).float().mean() > 0.95
    profile = Saliency().measure(subject).profile
    assert profile.argmax() == 0
    assert profile.sum() == pytest.approx(1)


# ---- embeddings, calibration, examples ---------------------------------------------------------------


def test_neighbours_point_the_same_way() -> None:
    subject = inspected(Tokens(num_samples=600, length=9, min_length=5), GRU)
    encoder = subject.network.encoder
    assert isinstance(encoder, nn.Embedding)
    with torch.no_grad():
        encoder.weight[3] = 2 * encoder.weight[5]
    measured = EmbeddingNeighbours().measure(subject)
    three, five = measured.names.index("3"), measured.names.index("5")
    assert measured.cosine[three, five] == pytest.approx(1)
    table = EmbeddingNeighbours().draw(subject, measured).table
    assert table is not None
    row = next(row for row in table.rows if row[0] == "3")
    assert str(row[2]).startswith("5 1.00")


def test_calibration_error_of_known_answers() -> None:
    honest = reliability(np.full(10, 0.7), np.array([1.0] * 7 + [0.0] * 3))
    assert honest.error == pytest.approx(0)
    boastful = reliability(np.array([1.0] * 4 + [0.5] * 4), np.array([1, 1, 0, 0, 1, 1, 0, 0.0]))
    assert boastful.error == pytest.approx(0.25)  # half of the answers claim 100 % and have 50 %
    assert boastful.surplus == pytest.approx(0.25)
    assert boastful.spread.sum() == pytest.approx(1)


@pytest.mark.parametrize("distribution", ["gaussian", "quantiles"])
def test_calibration_of_a_forecast_counts_the_truth_below_each_quantile(distribution: str) -> None:
    subject = inspected(waves(), GRU, {"distribution": distribution})
    measured = Calibration().measure(subject)
    task = subject.task
    assert isinstance(task, Forecasting)
    batch = subject.take(slice(None))
    with torch.no_grad():
        forecast = task.distribution.split(task.network(batch.inputs)[0])[:, :, 0].double()
    truth = batch.targets[..., 0].double()
    for level, below in zip(measured.claimed, measured.observed, strict=True):
        if distribution == "gaussian":
            deviation = F.softplus(forecast[..., 1]) + 1e-3
            quantile = torch.distributions.Normal(forecast[..., 0], deviation).icdf(torch.tensor(float(level)).double())
        else:
            quantile = task.distribution.ordered(forecast)[..., round(10 * level) - 1]
        assert below == pytest.approx(float((truth <= quantile).double().mean()), abs=2e-3)


def test_calibration_of_tokens_leaves_blanks_and_unasked_steps_out() -> None:
    subject = inspected(CopyMemory(num_samples=40, length=5), GRU)
    measured = Calibration().measure(subject)
    targets = torch.cat([answer.batch.targets for answer in subject.answers])
    blank = subject.task.spec.target.blank
    assert blank is not None
    assert measured.answers == int(((targets != blank) & (targets >= 0)).sum())


@pytest.mark.parametrize(
    "data",
    [waves(), Waveforms(num_samples=100, min_length=3, length=9), CopyMemory(num_samples=40, length=4)],
    ids=["values", "class", "tokens"],
)
def test_the_worst_examples_have_the_largest_losses(data: SequenceData) -> None:
    subject = inspected(data, GRU)
    measured = WorstExamples().measure(subject)
    batch = subject.take(slice(None))
    with torch.no_grad():
        whole = float(subject.task.loss(subject.network(batch.inputs, lengths=batch.lengths)[0], batch))
    assert measured.losses.mean() == pytest.approx(whole, rel=1e-4)
    assert (np.diff(measured.losses) <= 0).all()
    number, loss, _, _ = measured.shown[0]
    worst = subject.one(number) if batch.lengths is None else None
    assert loss == measured.losses[0]
    if worst is not None:
        with torch.no_grad():
            assert loss == pytest.approx(float(subject.task.loss(subject.network(worst.inputs)[0], worst)), rel=1e-4)


# ---- every model -------------------------------------------------------------------------------------


@pytest.mark.few(slow=("gru", "rnn", "esn", "lru", "conv_lstm", "ltc"))
@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize(
    "data",
    [
        waves(num_samples=40, length=6),
        Waveforms(num_samples=60, min_length=3, length=6),
        Tokens(num_samples=60, length=5, min_length=3, vocabulary=6),
    ],
    ids=["values", "class", "tokens"],
)
def test_every_model_has_all_views_that_say_something(model: str, data: SequenceData) -> None:
    config = compose(f"model={model}", "model.hidden_size=4")["model"]
    torch.manual_seed(0)
    network = build(config, "model", input=data.spec.input, target=data.spec.target)
    subject = Subject("it", TASKS[data.spec.target.kind](network, data.spec).eval(), data)
    missing = set()
    for view in instruments_for([], Question())[0]:
        if view.rank == 100:  # of a run's own gallery
            continue
        if view.missing(subject) is None:
            assert view.measure(subject) is not None
        else:
            missing.add(view.name)
    expected = set() if model in WITH_GATES else {"gates_over_time", "gate_saturation"}
    expected |= set() if data.spec.input.vocabulary else {"embedding_neighbours"}
    # of series, of sequences that are answered by sequences, of images, of videos and of autoencoders
    expected |= {
        "attention_maps",
        "said_examples",
        "error_by_length",
        "posteriors",
        "attention_places",
        "linear_part",
        "predicted_frames",
        "reconstruction",
    }
    expected.add("calibration" if data.spec.target.kind == "values" else "anomaly_scores")
    assert missing == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("model.num_layers=2", "model.bidirectional=true", "data=classification", "data.min_length=4"),
        ("data=text", "data.num_samples=null", "model=lstm"),
        # beside a linear part the network may add nothing, and has no gradient then
        ("data=csv", "task.distribution=gaussian", "model.linear=none"),
        ("data=copy_memory", "data.length=4"),
        ("data=adding", "data.length=8"),
        ("data=names",),
    ],
    ids=["deep, both ways", "text", "csv", "labelling", "regression", "names"],
)
def test_a_trained_run_is_drawn_whole(overrides: tuple[str, ...], train: Train) -> None:
    if overrides == ("data=names",):
        overrides = ("experiment=names", "data.num_samples=600")
    outcome = train("model.hidden_size=6", "instruments=none", *overrides)
    directory = outcome.directory
    found = look(Inspected("it", directory, directory.config), Question())
    assert not [reason for _, reason in found.left_out if "could not be drawn" in reason]
    assert {"gradient_by_lag", "lyapunov", "saliency", "worst_examples", "hidden_states"} <= {
        each.name for each in found.shown
    }
    assert all(each.reading and each.png.startswith(b"\x89PNG") for each in found.shown)


# ---- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures in place of all."""
    only(monkeypatch, "gradient_by_lag", "embedding_neighbours")


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Some instruments in place of all."""
    nodes = {name: node for name, node in catalogue().items() if name in names}
    monkeypatch.setattr(inspection, "catalogue", lambda: dict(nodes))


@pytest.mark.usefixtures("few")
def test_a_page_that_holds_all_it_shows(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = train("instruments=none", "model.hidden_size=5")
    place = outcome.directory.path
    assert main([str(place), "--sequences", "1,0"]) == 0
    out = capsys.readouterr().out
    assert "memory: the gradient" in out
    assert "left out: Embeddings (the input is real numbers" in out
    folder = place / "inspect"
    assert {file.name for file in folder.iterdir()} == {
        "gradient_by_lag.png", "gradient_by_lag.csv", "index.html", "inspect.json",
    }  # fmt: skip
    assert (folder / "gradient_by_lag.csv").read_text().startswith("weights,")
    page = (folder / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert "default-src 'none'" in page
    told = json.loads((folder / "inspect.json").read_text())
    assert told["tables"]["gradient_by_lag"]["rows"][-1][0] == "kept weights"

    before = (folder / "index.html").read_bytes()
    assert main([str(place)]) == 2
    error = capsys.readouterr().err
    assert "--force" in error and error.count("\n") == 1
    assert (folder / "index.html").read_bytes() == before
    (folder / "mine.png").write_text("mine")
    assert main([str(place), "--force", "data.noise=0.5"]) == 0
    assert (folder / "mine.png").read_text() == "mine"
    assert (folder / "index.html").read_bytes() != before


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sequences", "0,99"], "--sequences 99: the test split has sequences 0 … 3"),
        (["--sequences", "first"], "such as 0,5"),
        (["--output", "no/where"], "there is no directory"),
        (["data.nois=1"], "did you mean"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], said: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    place = train("instruments=none", "model.hidden_size=3").directory.path
    assert main([str(place), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (place / "inspect").exists()


@pytest.mark.usefixtures("few")
def test_runs_that_cannot_be_inspected_are_one_line(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "there is no such directory" in refused(str(tmp_path / "nothing"))
    place = train("instruments=none", "model.hidden_size=3").directory.path
    assert "by --output DIR" in refused(str(place), str(place))
    file = place / "checkpoints" / "best.ckpt"
    content = bytearray(file.read_bytes())
    file.write_bytes(content[: len(content) // 2])
    assert "is damaged" in refused(str(place))
    file.unlink()
    assert "has no checkpoint yet" in refused(str(place))
    assert not (place / "inspect").exists()


OWN_INSTRUMENT = '''
from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table


class ReadoutNorm(Instrument):
    """How large the readout's weights are.

    Not read.
    """

    def measure(self, subject):
        return float(subject.network.readout.weight.detach().norm())

    def draw(self, subject, measured):
        return self.compare({subject.name: measured})

    def compare(self, measured):
        return Picture(style.figure("Norms"), Table(("run", "norm"), list(measured.items())), {"norm": "told"})
'''


@pytest.mark.usefixtures("few")
def test_an_instrument_of_ones_own_is_shown_of_one_run_and_of_several(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_instruments.py").write_text(OWN_INSTRUMENT)
    monkeypatch.syspath_prepend(tmp_path)
    chosen = "+instruments.mine._target_=own_instruments.ReadoutNorm"
    place = train("instruments=none", "model.hidden_size=3", chosen).directory.path
    assert (place / "figures" / "readout_norm.png").exists()
    assert main([str(place)]) == 2
    assert "add --allow own_instruments" in capsys.readouterr().err
    assert main([str(place), "--allow", "own_instruments"]) == 0
    assert "norm: told" in capsys.readouterr().out
    numbers = json.loads((place / "inspect" / "inspect.json").read_text())
    assert numbers["tables"]["readout_norm"]["rows"][0][0] == place.name
    page = (place / "inspect" / "index.html").read_text()
    assert "<h2>Readout norm</h2>" in page and "How large the readout&#x27;s weights are.</p>" in page

    # of a run that was trained without it, of several runs, and of a file
    other = train("instruments=none", "model.hidden_size=3", "seed=1").directory.path
    out, allow = str(tmp_path / "out"), ["--allow", "own_instruments"]
    assert main([str(other), chosen, "--output", out, *allow]) == 0
    assert main([str(other), str(place), "--output", out, "--force", *allow]) == 0
    numbers = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert [row[0] for row in numbers["tables"]["readout_norm"]["rows"]] == [other.name, place.name]
    file = tmp_path / "waves.jsonl"
    file.write_text("[[0.1], [0.2], [0.3]]\n")
    assert main([str(place), "--input", str(file), "--output", out, "--force", *allow]) == 0
    assert (tmp_path / "out" / "readout_norm.png").exists()
    assert main([str(place), "--input", str(file), "--output", out, "--force"]) == 0
    assert "left out: mine (instruments.mine._target_=own_instruments.ReadoutNorm" in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_what_fails_half_way_leaves_nothing(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    place = train("instruments=none", "model.hidden_size=3").directory.path
    wrote = inspection_page.replace

    def fails(path: Path, content: Any) -> None:
        if path.name == "index.html":
            raise KeyboardInterrupt
        wrote(path, content)

    monkeypatch.setattr(inspection_page, "replace", fails)
    assert main([str(place)]) == 130
    assert sorted(entry.name for entry in place.iterdir() if "inspect" in entry.name) == []


@pytest.mark.usefixtures("few")
def test_a_view_that_fails_costs_none_of_the_others(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = train("instruments=none", "model.hidden_size=3").directory
    monkeypatch.setattr(EmbeddingNeighbours, "missing", lambda self, subject: 1 / 0)
    found = look(Inspected("it", directory, directory.config), Question("val"))
    assert [each.name for each in found.shown] == ["gradient_by_lag"]
    assert "ZeroDivisionError" in dict(found.left_out)[EmbeddingNeighbours.title]


def test_a_sweep_shows_its_architectures_side_by_side(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "gradient_by_lag", "gate_saturation", "hidden_states")
    sweep = tmp_path / "<b>sweep"
    sweep.mkdir()
    for model, seed in (("rnn", 0), ("gru", 0), ("gru", 1)):
        directory: RunDirectory = train(
            f"model={model}", "model.hidden_size=4", "instruments=none", f"seed={seed}", "data.length=8"
        ).directory
        directory.update_status(choices={"model": model, "data": "sine"}, overrides=[f"model={model}", f"seed={seed}"])
        directory.path.rename(sweep / f"{model}{seed}")
    assert main([str(sweep)]) == 0
    out = capsys.readouterr().out
    assert "rnn: RNN" in out and "gru: GRU" in out and "gru (2)" not in out
    assert "left out: Saturation of the gates (rnn: RNN has no gates" in out
    folder = sweep / "inspect"
    assert (folder / "gradient_by_lag.png").exists() and (folder / "hidden_paths.png").exists()
    assert "<b>sweep" not in (folder / "index.html").read_text()
    told = json.loads((folder / "inspect.json").read_text())
    assert [row[0] for row in told["tables"]["hidden_paths"]["rows"]] == list(told["about"])
