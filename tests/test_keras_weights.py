"""Weights of Keras: in and out, against Keras' equations written down in NumPy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.cells.rnn import RNN
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.keras_weights import keras_weights, read_keras, write_keras
from rnnlab.runs.transfer import torch_names
from rnnlab.spec import InputSpec, TargetSpec

CELLS = {"lstm": (LSTM, 4), "gru": (GRU, 3), "simple_rnn": (RNN, 1)}
UNITS, FEATURES, OUTPUTS = 4, 2, 3


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference(name: str, weights: Sequence[np.ndarray], x: np.ndarray, backward: bool = False) -> np.ndarray:
    """``(time, units)`` outputs of a Keras layer for ``(time, features)``, as its documentation has the equations."""
    kernel, recurrent, bias = weights
    h = c = np.zeros(UNITS)
    outputs = []
    for step in x[::-1] if backward else x:
        if name == "lstm":
            i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif name == "gru":
            x_z, x_r, x_h = np.split(step @ kernel + bias[0], 3)
            h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3)
            z = sigmoid(x_z + h_z)
            h = z * h + (1 - z) * np.tanh(x_h + sigmoid(x_r + h_r) * h_h)
        else:
            h = np.tanh(step @ kernel + h @ recurrent + bias)
        outputs.append(h)
    return np.array(outputs[::-1] if backward else outputs)


def drawn(name: str, both: bool) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """Weights of two layers, in both directions or not, and of a dense one."""
    rng = np.random.default_rng(0)
    blocks = CELLS[name][1]
    layers = []
    for features in (FEATURES, UNITS * (1 + both)):
        sizes = [(features, blocks * UNITS), (UNITS, blocks * UNITS), (2, 12) if name == "gru" else (blocks * UNITS,)]
        layers.append([rng.normal(0, 0.5, size).astype(np.float32) for size in sizes * (1 + both)])
    return layers, [rng.normal(size=size).astype(np.float32) for size in ((UNITS * (1 + both), OUTPUTS), (OUTPUTS,))]


def network(name: str, both: bool) -> Network:
    target = TargetSpec("values", OUTPUTS, ("a", "b", "c"))
    return Network(
        InputSpec(features=FEATURES), target, CELLS[name][0], hidden_size=UNITS, num_layers=2, bidirectional=both
    )


def save(path: Path, name: str, both: bool) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """A file as Keras writes it."""
    layers, dense = drawn(name, both)
    if path.suffix == ".npz":
        np.savez(path, *[array for layer in layers for array in layer], *dense)
        return layers, dense
    import h5py

    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = f"layers/{'bidirectional' if both else name}{f'_{number}' if number else ''}"
            for place, array in enumerate(layer):
                way = ("/forward_layer", "/backward_layer")[place // 3] if both else ""
                file[f"{group}{way}/cell/vars/{place % 3}"] = array
        for place, array in enumerate(dense):
            file[f"layers/dense/vars/{place}"] = array
        file["optimizer/vars/0"] = 3
    return layers, dense


@pytest.mark.parametrize("suffix", [pytest.param(".weights.h5", marks=pytest.mark.needs("keras")), ".npz"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_the_outputs_are_those_of_keras_equations(name: str, both: bool, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    layers, (kernel, bias) = save(path, name, both)
    model = network(name, both)
    state = read_keras(path, f"init_from={path}")
    assert state.keys() <= set(dict(model.named_parameters()))
    model.load_state_dict(state)
    x = np.random.default_rng(1).normal(size=(7, FEATURES))
    expected = x
    for layer in layers:
        ways = [reference(name, layer[3 * way : 3 * way + 3], expected, bool(way)) for way in range(1 + both)]
        expected = np.concatenate(ways, 1)
    with torch.no_grad():
        given = model(torch.from_numpy(x[None]).float())[0][0].numpy()
    np.testing.assert_allclose(given, expected @ kernel + bias, atol=2e-6)
    # and back
    for ours, theirs in zip(keras_weights(torch_names(model)), layers, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    write_keras(tmp_path / f"y{suffix}", torch_names(model), model)
    again = read_keras(tmp_path / f"y{suffix}", "init_from=y")
    assert all(torch.equal(again[key], state[key]) for key in state) and again.keys() == state.keys()


def bad(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda p: bad(p, a=np.zeros((2, 3))), "no LSTM, GRU or SimpleRNN of Keras is in it (it holds a)"),
        (
            lambda p: bad(p, **{f"gru/{k}": np.zeros(s) for k, s in
                                (("kernel", (2, 12)), ("recurrent_kernel", (4, 12)), ("bias", (12,)))}),
            "gru is a GRU with reset_after=False",
        ),
        (
            lambda p: bad(p, **{"x/kernel": np.zeros((2, 8)), "x/recurrent_kernel": np.zeros((4, 8))}),
            "x has kernels of (2, 8) and (4, 8): no LSTM, GRU or SimpleRNN",
        ),
        (lambda p: bad(p, a=np.array([{}], object)), "it cannot be read as weights of Keras"),
        (lambda p: p.write_text("nothing") and p, "it cannot be read as weights of Keras"),
    ],
)  # fmt: skip
def test_bad_files_are_one_line(make: Any, line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_keras(make(tmp_path / "x.npz"), "init_from=x.npz")
    assert line in str(refused.value) and str(refused.value).startswith("init_from=x.npz: ")


@pytest.mark.needs("keras")
def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["w"] = np.zeros((2, 2))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["lstm"] = h5py.ExternalLink("other.h5", "w")
    with pytest.raises(InputError, match="no LSTM"):
        read_keras(tmp_path / "x.h5", "init_from=x.h5")
