"""Weights of 8 bits: the file says what the rounded network says, is smaller, and tells what that costs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab.cells.gru import GRU
from rnnlab.cells.lru import LRU
from rnnlab.cells.lstm import LSTM
from rnnlab.commands.export import main
from rnnlab.data.classification import Classification as Waveforms
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.execution import Outcome
from rnnlab.tasks.classification import Classification
from rnnlab.use.export.check import Steps, check
from rnnlab.use.export.formats import convert, serve
from rnnlab.use.export.int8 import compress, quantize, rounded
from rnnlab.use.export.target import choose_target


def task_of(cell: Any, hidden_size: int) -> tuple[Classification, Waveforms]:
    torch.manual_seed(0)
    data = Waveforms(num_samples=100, min_length=5, length=8, segments=1)
    network = Network(data.spec.input, data.spec.target, cell, hidden_size=hidden_size)
    return Classification(network, data.spec).eval(), data


def test_rounded_weights_are_255_multiples_of_a_scale_of_their_row() -> None:
    weights = torch.randn(5, 300) * torch.tensor([1e-6, 1.0, 3.0, 1e4, 0.0])[:, None]
    whole = rounded(weights)
    step = weights.abs().amax(1, keepdim=True) / 127
    assert ((whole - weights).abs() <= 0.5001 * step + 1e-30).all()
    assert all(len(row.unique()) <= 255 for row in whole)
    torch.testing.assert_close(rounded(whole), whole)  # and are rounded once and for all


def test_where_nothing_is_gained_it_is_refused(tmp_path: Path) -> None:
    task, data = task_of(GRU, 2)
    with pytest.raises(InputError, match="no matrix of at least 256"):
        quantize(task, data)
    with pytest.raises(InputError, match="use --format onnx"):
        choose_target(tmp_path, "pt2", None, False, int8=True)


@pytest.mark.slow
@pytest.mark.needs("export")
@pytest.mark.parametrize("cell", [GRU, LSTM, LRU])
def test_the_file_is_the_rounded_network(cell: Any) -> None:
    task, data = task_of(cell, 48)
    kept = {name: value.clone() for name, value in task.network.state_dict().items()}
    loss = quantize(task, data)
    assert any(not torch.equal(value, kept[name]) for name, value in task.network.state_dict().items())
    assert loss.score == "accuracy" and 0 <= loss.after <= 1 and loss.weights > 0.8 * loss.of
    _, content = convert(task.network, torch.zeros(3, 5, 1), "onnx")
    small = compress(content)
    assert len(small) < 0.6 * len(content)
    assert check(serve(small, "onnx"), task.network, Steps.of(data), 8).holds


@pytest.mark.slow
@pytest.mark.needs("export")
def test_the_command_tells_scores_and_sizes(train: Callable[..., Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    place = train("instruments=none", "model.hidden_size=32").directory.path
    assert main([str(place), "--int8"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "with 32 bits" in out and "with 8" in out and "bytes before" in out
    told = json.loads((place / "export" / "model.int8.onnx.json").read_text())["int8"]
    assert told["bytes"]["int8"] < told["bytes"]["float32"]
    assert main([str(place), "--int8", "--format", "pt2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
