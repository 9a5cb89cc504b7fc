"""Weights of Keras' LSTM, GRU and SimpleRNN as ours, and ours as theirs.

Keras computes ``x W + h U + b``, and orders an LSTM's gates i, f, c, o as torch does, a GRU's z, r, h where torch has
r, z, n (https://keras.io/api/layers/recurrent_layers/). ``reset_after=True``, its default, is torch's GRU.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.errors import InputError, one_line
from rnnlab.extras import need
from rnnlab.store.files import open_regular

SUFFIXES = (".h5", ".hdf5", ".keras", ".npz")
INSIDE = "model.weights.h5"
"""Where a ``.keras`` file has them."""
GATES = {4: (0, 1, 2, 3), 3: (1, 0, 2), 1: (0,)}
"""By the number of blocks of units: where torch's gates stand among Keras'; the other way round they are the same."""
LAYERS = {4: "lstm", 3: "gru", 1: "simple_rnn"}
LEAVES = {"kernel": "0", "recurrent_kernel": "1", "bias": "2", "embeddings": "0"}
LARGEST = 4 * 1024**3
"""Bytes of one file's arrays."""


@dataclass(frozen=True)
class Layer:
    """Arrays of one Keras layer, or of one direction of it: kernel, recurrent kernel, bias, what there is of them."""

    name: str
    backward: bool
    arrays: tuple[np.ndarray, ...]

    @property
    def kind(self) -> str:
        """``recurrent``, ``dense`` or ``embedding``."""
        if len(self.arrays) > 1 and self.arrays[1].ndim == 2:
            return "recurrent"
        return "embedding" if len(self.arrays) == 1 and "embed" in self.name else "dense"


def read_keras(path: Path, key: str) -> dict[str, Tensor]:
    """The weights of a file by the names that a network of ours has.

    Recurrent layers are numbered in the order of their names (``lstm``, ``lstm_1``), or of the arrays where these have
    none (``np.savez(file, *model.get_weights())``); the last dense layer is the readout.

    Args:
        path: ``*.weights.h5``, ``*.keras``, an older ``*.h5``, or ``*.npz``.
        key: as it was typed, for messages.

    Raises:
        InputError: it cannot be read, or holds no recurrent layer that torch's cells could be.
    """
    arrays = dict(_arrays(path, key))
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        raise InputError(f"{key}: more than {LARGEST // 1024**3} GiB of weights")
    nameless = all(re.fullmatch(r"arr_\d+", name) for name in arrays)
    layers = _by_shape(list(arrays.values())) if nameless else _by_name(arrays)
    recurrent = [layer for layer in layers if layer.kind == "recurrent"]
    if not recurrent:
        raise InputError(f"{key}: no LSTM, GRU or SimpleRNN of Keras is in it (it holds {', '.join(list(arrays)[:6])})")
    found: dict[str, Tensor] = {}
    names = list(dict.fromkeys(layer.name for layer in recurrent))
    for layer in recurrent:
        prefix = f"layers.{names.index(layer.name)}.{int(layer.backward)}"
        found |= {f"{prefix}.{name}": tensor for name, tensor in _to_torch(layer, key).items()}
    for layer in layers:
        if layer.kind == "embedding":
            found["encoder.weight"] = torch.from_numpy(layer.arrays[0].copy())
        elif layer.kind == "dense":  # the last one stays
            found["readout.weight"] = torch.from_numpy(layer.arrays[0].T.copy())
            if len(layer.arrays) > 1:
                found["readout.bias"] = torch.from_numpy(layer.arrays[1].copy())
    return found


def _to_torch(layer: Layer, key: str) -> dict[str, Tensor]:
    kernel, recurrent = layer.arrays[:2]
    units = len(recurrent)
    blocks, rest = divmod(recurrent.shape[1], units)
    if rest or blocks not in GATES or kernel.shape[1] != recurrent.shape[1]:
        raise InputError(
            f"{key}: {layer.name} has kernels of {kernel.shape} and {recurrent.shape}: no LSTM, GRU or SimpleRNN"
        )
    bias = layer.arrays[2] if len(layer.arrays) > 2 else np.zeros((2, blocks * units), np.float32)
    if bias.shape not in ((blocks * units,), (2, blocks * units)):
        raise InputError(f"{key}: {layer.name} has a bias of {bias.shape} beside kernels of {recurrent.shape}")
    if blocks == 3 and bias.ndim == 1:
        raise InputError(
            f"{key}: {layer.name} is a GRU with reset_after=False, which multiplies by the reset gate before the "
            "recurrent weights; ours, as torch's, does it afterwards"
        )
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    order = list(GATES[blocks])

    def turned(array: np.ndarray) -> Tensor:
        gates = np.split(array, blocks, -1)
        return torch.from_numpy(np.concatenate([gates[gate] for gate in order], -1).T.copy())

    return {
        "weight_ih": turned(kernel), "weight_hh": turned(recurrent),
        "bias_ih": turned(both[0]), "bias_hh": turned(both[1]),
    }  # fmt: skip


# ---- files ---------------------------------------------------------------------------------------------


def _arrays(path: Path, key: str) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with open_regular(path) as file:
            if path.suffix == ".npz":
                with np.load(file, allow_pickle=False) as archive:
                    yield from ((name, _numbers(archive[name], name, key)) for name in archive.files)
                return
            content: IO[bytes] = file
            if path.suffix == ".keras":
                with zipfile.ZipFile(file) as archive:
                    if archive.getinfo(INSIDE).file_size > LARGEST:
                        raise InputError(f"{key}: more than {LARGEST // 1024**3} GiB of weights")
                    content = io.BytesIO(archive.read(INSIDE))
            yield from _of_hdf5(content, key)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{key}: it cannot be read as weights of Keras ({one_line(error)[:200]})") from None


def _of_hdf5(content: IO[bytes], key: str) -> Iterator[tuple[str, np.ndarray]]:
    need("keras", "h5py", f"{key} (HDF5)")
    import h5py

    with h5py.File(content, "r") as file:
        names: list[str] = []
        file.visit(names.append)  # follows no link to elsewhere
        left = LARGEST
        for name in sorted(names, key=_natural):
            node = file[name]
            if not isinstance(node, h5py.Dataset) or "optimizer" in name:
                continue
            left -= node.nbytes
            if node.external or node.is_virtual or left < 0:
                raise InputError(f"{key}: {name} lies in another file, or is too large")
            yield name, _numbers(node[()], name, key)


def _numbers(array: np.ndarray, name: str, key: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{key}: {name} holds no numbers")
    return array.astype(np.float32)


def _natural(path: str) -> list[tuple[str, int]]:
    """``lstm`` before ``lstm_1``, and ``lstm_2`` before ``lstm_10``."""
    parts = (re.fullmatch(r"(.*?)_?(\d*)", part) for part in path.split("/"))
    return [(part[1], int(part[2] or -1)) for part in parts if part is not None]


def _by_name(arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    groups: dict[tuple[str, bool], dict[str, np.ndarray]] = {}
    for name in sorted(arrays, key=_natural):
        place, _, leaf = name.rpartition("/")
        leaf = leaf.removesuffix(":0")
        whole = re.sub(r"(forward|backward)_", "", place)
        groups.setdefault((whole, "backward_" in place), {})[LEAVES.get(leaf, leaf)] = arrays[name]
    return [
        Layer(name, backward, tuple(group[leaf] for leaf in sorted(group)))
        for (name, backward), group in groups.items()
        if group.keys() <= {"0", "1", "2"}
    ]


def _by_shape(arrays: Sequence[np.ndarray]) -> list[Layer]:
    """Layers of arrays without names, in their order: what Keras' ``get_weights`` returns."""
    layers: list[Layer] = []
    at = 0
    while at < len(arrays):
        kernel = arrays[at]
        after = arrays[at + 1 : at + 3]
        width = kernel.shape[-1]
        count = 1
        if after and after[0].ndim == 2 and after[0].shape[1] == width and width in [n * len(after[0]) for n in GATES]:
            count = 3 if len(after) > 1 and after[1].shape in ((width,), (2, width)) else 2
        elif after and after[0].shape == (width,):
            count = 2
        layers.append(Layer(f"{'embedding' if count == 1 and not layers else 'layer'}_{len(layers)}", False,
                            tuple(arrays[at : at + count])))  # fmt: skip
        at += count
    recurrent = [layer for layer in layers if layer.kind == "recurrent"]
    units = len(recurrent[0].arrays[1]) if recurrent else 0
    rows = [len(layer.arrays[0]) for layer in layers if layer.kind != "embedding"]
    # whoever reads both directions has twice as many rows
    if len(recurrent) % 2 == 0 and 2 * units in rows[2:]:
        pairs = {id(layer): number for number, layer in enumerate(recurrent)}
        layers = [
            Layer(recurrent[pairs[id(layer)] & ~1].name, bool(pairs[id(layer)] & 1), layer.arrays)
            if id(layer) in pairs else layer
            for layer in layers
        ]  # fmt: skip
    return layers


# ---- ours as theirs -------------------------------------------------------------------------------------


def keras_weights(weights: Mapping[str, Tensor]) -> list[list[np.ndarray]]:
    """For each recurrent layer what its ``set_weights`` takes in Keras; of both directions one after the other.

    Args:
        weights: of the recurrent layers, by the names of ``torch.nn``: :func:`rnnlab.runs.transfer.torch_names`.
    """
    layers: list[list[np.ndarray]] = []
    while f"weight_ih_l{len(layers)}" in weights:
        layer = f"l{len(layers)}"
        suffixes = [layer, f"{layer}_reverse"] if f"weight_ih_{layer}_reverse" in weights else [layer]
        layers.append([array for suffix in suffixes for array in _to_keras(weights, suffix)])
    return layers


def _to_keras(weights: Mapping[str, Tensor], suffix: str) -> list[np.ndarray]:
    parts = [
        weights[f"{name}_{suffix}"].float().cpu().numpy() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    blocks = len(parts[1]) // parts[1].shape[1]

    def turned(array: np.ndarray) -> np.ndarray:
        gates = np.split(array, blocks)
        return np.concatenate([gates[gate] for gate in GATES[blocks]]).T

    kernel, recurrent, of_input, of_state = map(turned, parts)
    return [kernel, recurrent, np.stack([of_input, of_state]) if blocks == 3 else of_input + of_state]


def write_keras(path: Path, weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Writes what ``load_weights`` of a Keras ``Sequential`` of the same layers reads: the embedding if there is one,
    the recurrent layers, and a ``Dense`` as readout; or, as ``*.npz``, what its ``set_weights`` takes, in order.

    Args:
        path: ``*.weights.h5`` or ``*.npz``.
        weights: see :func:`keras_weights`.
        network: whose they are.

    Raises:
        InputError: it is no such path, or cannot be written.
    """
    named: dict[str, np.ndarray] = {}
    parameters = {name: value.detach().float().cpu().numpy() for name, value in network.named_parameters()}
    if "encoder.weight" in parameters and "encoder.bias" not in parameters:
        named["layers/embedding/vars/0"] = parameters["encoder.weight"]
    for number, layer in enumerate(keras_weights(weights)):
        blocks = layer[1].shape[1] // len(layer[1])
        both = len(layer) == 6
        group = f"layers/{'bidirectional' if both else LAYERS[blocks]}{f'_{number}' if number else ''}"
        for place, array in enumerate(layer):
            inside = ("/forward_layer", "/backward_layer")[place // 3] if both else ""
            named[f"{group}{inside}/cell/vars/{place % 3}"] = array
    named["layers/dense/vars/0"] = parameters["readout.weight"].T
    if "readout.bias" in parameters:
        named["layers/dense/vars/1"] = parameters["readout.bias"]
    try:
        if path.suffix == ".npz":
            np.savez(path, *named.values())
        elif path.name.endswith(".weights.h5"):
            need("keras", "h5py", str(path))
            import h5py

            with h5py.File(path, "w") as file:
                for name, array in named.items():
                    file[name] = array
        else:
            raise InputError(f"{path}: Keras reads *.weights.h5, and *.npz holds what set_weights takes")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {one_line(error)}") from error
