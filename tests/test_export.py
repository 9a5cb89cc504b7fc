"""A run as a file: what it says, when it is refused, and that it needs no rnnlab."""

import copy
import hashlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from conftest import TINY, choices, compose
from torch import Tensor, nn

from rnnlab.cells.cell import Cell, map_state
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.commands import export as export_command
from rnnlab.commands import predict as predict_command
from rnnlab.errors import RunFailed
from rnnlab.network import Network
from rnnlab.runs.build import build
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import Outcome, execute
from rnnlab.shapes import Hidden, PositiveInt, Step
from rnnlab.spec import InputSpec, TargetSpec
from rnnlab.use.export import artifact, target
from rnnlab.use.export.check import Steps, Verdict, check
from rnnlab.use.export.formats import convert, serve
from rnnlab.use.export.over_time import OverTime
from rnnlab.use.export.portable import Portable
from rnnlab.use.export.step_graph import StepGraph, parts

Train = Callable[..., Outcome]
MODELS = choices("model")
needs_onnx = pytest.mark.needs("export")


def cell_of(model: str, *overrides: str) -> Cell[Any]:
    """The cell of a model, 3 features and 4 units, its weights drawn anew."""
    torch.manual_seed(0)
    node = compose(f"model={model}", *overrides)["model"]["cell"]
    cell = build(node, "model.cell")(3, 4)
    assert isinstance(cell, Cell)
    return cell.eval()


STEPS = Steps(torch.randn(101, 3, generator=torch.Generator().manual_seed(0)))


def checked(network: Network, format: target.Format, length: int = 6) -> Verdict:
    _, content = convert(network, torch.zeros(3, 5, 3), format)
    return check(serve(content, format), network, STEPS, length)


# ---- the step, cut into pieces ---------------------------------------------------------------------


# in the fast tests, a cell of each way that there is
WAYS = ("gru", "lstm", "lru", "mlstm", "s4d")


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=() if name in WAYS else pytest.mark.slow) for name in MODELS]
)
def test_pieces_of_a_step_are_the_loop(model: str) -> None:
    cell = cell_of(model)
    over_time = OverTime(cell)
    x, lengths = torch.randn(3, 7, 3), torch.tensor([7, 1, 4])
    start = map_state(lambda part: torch.randn(3, *part.shape[1:]).to(part), cell.initial_state(3))
    with torch.no_grad():
        output, last = over_time(x, start, lengths)
        expected, final = cell.unroll(x, start, lengths)
    assert output == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for ours, theirs in zip(parts(last), parts(final), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_what_needs_no_state_is_out_of_the_loop() -> None:
    def inside(model: str) -> list[str]:
        nodes = StepGraph(cell_of(model)).inside.run.graph.nodes
        return sorted(str(node.target) for node in nodes if node.op == "call_function")

    assert inside("min_gru") == ["aten.add.Tensor", "aten.mul.Tensor"]  # a ⊙ h + b
    assert inside("gru").count("aten.linear.default") == 1  # the product with h
    assert "aten.linear.default" not in inside("lru")  # B x before it, C h and D x after it


class OuterProduct(Cell[Tensor]):
    """A matrix memory: S_t = S_{t-1} / 2 + k_t v_tᵀ, y_t = S_t q_t."""

    def __init__(self, input_size: PositiveInt, hidden_size: PositiveInt) -> None:
        super().__init__(input_size, hidden_size)
        self.maps = nn.Linear(input_size, 3 * hidden_size)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.maps.weight.new_zeros(batch_size, self.hidden_size, self.hidden_size)

    def step(self, x: Step, state: Tensor) -> tuple[Hidden, Tensor]:
        k, v, q = self.maps(x).chunk(3, -1)
        state = state / 2 + k[..., None] * v[:, None]
        return (state @ q[..., None])[..., 0], state


def test_wide_values_stay_in_the_loop() -> None:
    cell = OuterProduct(3, 16).eval()
    graph = StepGraph(cell)
    assert max(math.prod(node.meta["val"].shape[1:]) for node in [*graph.early, *graph.late]) <= 3 * 16
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        assert OverTime(cell)(x)[0] == pytest.approx(cell.unroll(x)[0], rel=1e-4, abs=1e-6)


# ---- what is refused -----------------------------------------------------------------------------


class Meeting(OuterProduct):
    """Whose rows meet, against the law."""

    def step(self, x: Step, state: Tensor) -> tuple[Hidden, Tensor]:
        return super().step(x - x.mean(0), state)


class Asking(OuterProduct):
    """Which asks in Python what a tensor holds."""

    def step(self, x: Step, state: Tensor) -> tuple[Hidden, Tensor]:
        return super().step(x if x.sum() > 0 else -x, state)


@pytest.mark.slow
def test_a_file_that_says_something_else_is_noticed() -> None:
    assert checked(network_of(OuterProduct), "pt2").holds
    verdict = checked(network_of(Meeting), "pt2")
    assert not verdict.holds
    assert verdict.relative > 0.01


def test_not_a_number_is_noticed() -> None:
    network = network_of(OuterProduct)

    def broken(inputs: Tensor, lengths: Tensor, state: Any, history: Any) -> tuple[Tensor, ...]:
        output, last = network(inputs, tuple(state), lengths)
        return (output / 0 * 0, *last)

    assert not check(broken, network, STEPS, 6).holds


def test_a_step_that_cannot_be_traced_is_one_line() -> None:
    with pytest.raises(RunFailed, match="a network of Asking cannot be exported to pt2: ") as refused:
        checked(network_of(Asking), "pt2")
    assert "\n" not in str(refused.value)


# ---- networks ------------------------------------------------------------------------------------


def gru(input_size: int, hidden_size: int) -> Cell[Any]:
    return GRU(input_size, hidden_size)


def lstm(input_size: int, hidden_size: int) -> Cell[Any]:
    return LSTM(input_size, hidden_size)


NETWORKS: list[dict[str, Any]] = [
    {"num_layers": 2, "dropout": 0.5, "embedding_size": 5},
    {"bidirectional": True, "num_layers": 2},
    {"initial_state": "learned"},
    {"bidirectional": True, "initial_state": "learned"},
    *({"readout": readout, "bidirectional": both} for both in (True, False) for readout in ("mean", "last", "max")),
]


def network_of(cell: Callable[[int, int], Cell[Any]], **options: Any) -> Network:
    """4 units, 3 features; for classes where it has a readout."""
    torch.manual_seed(0)
    target = TargetSpec("class" if "readout" in options else "values", 2)
    network = Network(InputSpec(features=3), target, cell, **{"hidden_size": 4, **options}).eval()
    for start in network.initial:
        nn.init.normal_(start)
    return network


@pytest.mark.parametrize("options", NETWORKS[:5], ids=str)
def test_a_network_that_can_be_traced_is_the_network(options: dict[str, Any]) -> None:
    network = network_of(lstm, **options)
    portable = Portable(network, OverTime)

    def served(inputs: Tensor, lengths: Tensor, state: Any, history: Any = ()) -> tuple[Tensor, ...]:
        return portable(inputs, lengths, tuple(state))

    verdict = check(served, network, STEPS, 3)
    assert verdict.holds
    assert verdict.relative < 1e-5
    assert portable.streams is not network.bidirectional


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "cell", "format"),
    [
        *(pytest.param(options, gru, "onnx", marks=needs_onnx) for options in NETWORKS),
        *((options, lstm, "pt2") for options in NETWORKS),
        *(
            pytest.param(
                options,
                OuterProduct,
                "onnx",
                marks=[needs_onnx, *([] if number in (0, 5) else [pytest.mark.exhaustive])],
            )
            for number, options in enumerate(NETWORKS)
        ),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_networks_of_all_shapes(options: dict[str, Any], format: target.Format, cell: Any) -> None:
    verdict = checked(network_of(cell, **options), format)
    assert verdict.holds
    assert verdict.relative < 1e-5


def test_a_learned_state_is_an_input() -> None:
    network = network_of(gru, initial_state="learned")
    portable = Portable(network, OverTime)
    assert torch.equal(portable.starts[0], network.initial[0][0])
    assert portable.meanings == ["state of layer 1"]
    assert len(network.initial) == 1  # the run's network stays as it is


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that predicts sines."""
    directory = RunDirectory.claim(tmp_path_factory.mktemp("runs") / "sine")
    execute(directory, compose(*TINY, "model.hidden_size=8", "instruments=none"), quiet=True)
    return directory.path


@pytest.fixture(scope="module")
def exported(trained: Path) -> Path:
    """The same, exported as ONNX."""
    assert export_command.main([str(trained)]) == 0
    return trained


@needs_onnx
def test_the_server_in_the_documentation_says_what_the_run_says(exported: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "pages" / "export.md").read_text(encoding="utf-8")
    (script,) = re.findall(r'```python title="server.py"\n(.*?)```', page, re.DOTALL)
    assert "import torch" not in script
    assert "rnnlab" not in script
    (tmp_path / "server.py").write_text(script)
    assert predict_command.main([str(exported), "--output", str(tmp_path / "rows.csv"), "--force"]) == 0
    rows = pl.read_csv(tmp_path / "rows.csv").filter(pl.col("sequence") == 0)
    # of a sine the target is the next input
    (name,) = [column.removesuffix(" predicted") for column in rows.columns if column.endswith(" predicted")]
    lines = "\n".join(map(str, rows[name].to_list()[:-1]))
    first = compose(*TINY)
    data = build(first["data"], "data")
    data.setup("test")
    start = float(next(iter(data.test_dataloader())).inputs[0, 0])
    said = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "server.py"), str(exported / "export" / "model.onnx")],
        input=f"{start!r}\n{lines}\n", capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert list(map(float, said.split())) == pytest.approx(rows[f"{name} predicted"].to_list(), abs=1e-5)


@needs_onnx
def test_the_description_says_what_is_in_the_file(exported: Path) -> None:
    import onnx

    about = json.loads((exported / "export" / "model.onnx.json").read_text())
    content = (exported / "export" / "model.onnx").read_bytes()
    assert about["sha256"] == hashlib.sha256(content).hexdigest()
    graph = onnx.load_from_string(content).graph
    for described, values in ((about["inputs"], graph.input), (about["outputs"], graph.output)):
        assert [each["name"] for each in described] == [value.name for value in values]
        for each, value in zip(described, values, strict=True):
            size = [part.dim_param or part.dim_value for part in value.type.tensor_type.shape.dim]
            assert size == each["shape"]
    assert about["inputs"][2] | {"meaning": ""} == {
        "name": "state_0", "dtype": "float32", "shape": ["batch", 8], "meaning": "", "initial": 0,
        "next": "next_state_0",
    }  # fmt: skip
    assert about["streaming"] is True
    assert about["checked"]["largest_relative_error"] < 1e-5
    # nobody who serves it learns where it was made
    assert str(Path.home()).encode() not in content
    assert b"rnnlab/runs" not in content


def test_nothing_is_written_of_a_file_that_says_something_else(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("instruments=none", "model.hidden_size=4").directory.path
    faithful = artifact.convert

    def one_weight_wrong(network: Network, *arguments: Any) -> Any:
        wrong = copy.deepcopy(network)
        with torch.no_grad():
            wrong.readout.weight[0, 0] += 1e-3
        return faithful(wrong, *arguments)

    monkeypatch.setattr(artifact, "convert", one_weight_wrong)
    before = sorted(run.rglob("*"))
    assert export_command.main([str(run), "--format", "pt2"]) == 1
    error = capsys.readouterr().err
    assert "the exported file is not the run" in error
    assert error.count("\n") == 1
    assert sorted(run.rglob("*")) == before


def test_bad_targets_are_one_line(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "export").mkdir(exist_ok=True)
    (trained / "export" / "model.pt2").touch()
    for arguments, said in (
        (["--format", "onx"], "did you mean 'onnx'?"),
        (["--output", str(tmp_path / "a.pt")], "did you mean 'pt2'?"),
        (["--output", str(tmp_path / "a.onnx"), "--format", "pt2"], "is named *.pt2"),
        (["--output", str(tmp_path / "no" / "a.pt2")], "there is no directory"),
        (["--format", "pt2"], "exists, and nothing is overwritten"),
    ):
        assert export_command.main([str(trained), *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_one_line(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target, "PACKAGES", ("no_such_package",))
    assert export_command.main([str(trained), "--force"]) == 2
    assert "--format onnx needs the package no_such_package: make install EXTRAS=export" in capsys.readouterr().err


def test_a_run_without_weights_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = RunDirectory.claim(tmp_path / "run")
    directory.write_config(compose(*TINY))
    assert export_command.main([str(directory.path)]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert export_command.main([str(tmp_path / "nowhere")]) == 2
    assert "no such directory" in capsys.readouterr().err


# ---- everything ------------------------------------------------------------------------------------


# what single precision makes of them: small values that are normalised, and oscillators that hardly move
ROUNDED_MORE = {"layer_norm_lstm": 1e-4, "unicornn": 1e-4}

# a cell each of what is done in one of the ways that there are
EACH_WAY = ("gru", "layer_norm_lstm", "mlstm", "s4d", "lru", "cfc")


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize(
    ("model", "data", "formats"),
    [
        *(
            pytest.param(model, "sine", ("onnx", "pt2"), marks=() if model in EACH_WAY else pytest.mark.exhaustive)
            for model in MODELS
        ),
        ("gru", "csv", ("onnx", "pt2")),  # whose forecasts are added to a linear part
        *(
            pytest.param(model, "text", ("onnx",), marks=() if model == "gru" else pytest.mark.exhaustive)
            for model in EACH_WAY
        ),  # behind an embedding
    ],
)
def test_every_model_in_both_formats(model: str, data: str, formats: tuple[str, ...], train: Train) -> None:
    run = train(f"model={model}", f"data={data}", "model.hidden_size=6", "instruments=none").directory.path
    for format in formats:
        assert export_command.main([str(run), "--format", format]) == 0
        about = json.loads((run / "export" / f"model.{format}.json").read_text())
        assert about["checked"]["largest_relative_error"] < ROUNDED_MORE.get(model, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", pytest.param("onnx", marks=pytest.mark.needs("export"))])
@pytest.mark.parametrize("stride", [1, 3, 7])
def test_convolutions_that_leave_steps_out_are_exported_for_any_length(stride: int, format: target.Format) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"encoder": "conv", "encoder_stride": stride, "bidirectional": True}
    network = Network(InputSpec(features=3), TargetSpec("class", 2), GRU, hidden_size=4, readout="mean_max", **options)
    verdict = checked(network.eval(), format, length=9)
    assert verdict.holds and {case.time for case in verdict.cases} >= {2, 9}
