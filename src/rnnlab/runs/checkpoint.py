"""Checkpoint files: written whole or not at all, read without running any code in them."""

import io
import logging
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnlab.errors import InputError, OtherNetwork
from rnnlab.store.archive import check_archive
from rnnlab.store.files import open_regular, remove, replace

log = logging.getLogger("rnnlab")


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes beside the old file, to the disk, then takes its place: a kill leaves the one or the other."""
    buffer = io.BytesIO()  # torch's own file writer says of a full disk only that a position is unexpected
    torch.save(checkpoint, buffer)
    replace(path, buffer.getbuffer(), inside=path.parent.parent)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint on the CPU; nothing in it is executed (``weights_only``).

    Raises:
        InputError: there is none, it is damaged, or holds more than tensors and plain values.
    """
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file that is none of torch's; what matters is raised
            check_archive(file)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"there is no checkpoint {path}") from None
    except DAMAGED as error:
        reason = str(error).strip().split("\n")[0][:200]
        unsafe = isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error).lower()
        what = "holds more than tensors and plain values and is not loaded" if unsafe else f"is damaged: {reason}"
        raise InputError(f"checkpoint {path} {what}") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise InputError(f"checkpoint {path} is none of rnnlab's: it has no state_dict")
    for name, kind in PARTS.items():
        if name in checkpoint and not isinstance(checkpoint[name], kind):
            raise InputError(f"checkpoint {path} is damaged: its {name} is a {type(checkpoint[name]).__name__}")
    if not all(isinstance(weights, Tensor) for weights in checkpoint["state_dict"].values()):
        raise InputError(f"checkpoint {path} is damaged: its state_dict holds more than tensors")
    return checkpoint


PARTS: Mapping[str, type] = {
    "state_dict": dict, "epoch": int, "global_step": int, "loops": dict, "callbacks": dict, "optimizer_states": list,
    "lr_schedulers": list, "data": dict, "training_totals": dict,
}  # fmt: skip
"""What a checkpoint of ours may hold, beside what a data set says of itself."""


DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError,
    OverflowError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What unpickling arbitrary bytes ends with."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``state_dict`` that ``torch.save`` wrote, alone or under that name; nothing is executed.

    Raises:
        InputError: it is none, or holds more than tensors and plain values.
        OSError: or another of :data:`DAMAGED`, where it cannot be read.
    """
    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_archive(file)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"init_from={path} is no file of torch.save, or holds more than tensors and plain values, and is not "
                "loaded: save model.state_dict()"
            ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    tensors = {
        name: value for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }  # fmt: skip
    if not tensors:
        raise InputError(f"init_from={path} holds no tensors by name: save model.state_dict()")
    return tensors


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Loads a checkpoint's weights into a task.

    Returns:
        The whole checkpoint.

    Raises:
        InputError: as :func:`read_checkpoint`, or the weights do not fit the task.
    """
    checkpoint = read_checkpoint(path)
    fit_weights(module, checkpoint, path)
    return checkpoint


def fit_weights(module: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """The same of a checkpoint that has been read.

    Raises:
        OtherNetwork: the weights do not fit the task.
    """
    own, other = module.state_dict(), checkpoint["state_dict"]
    for name in [*own, *other]:
        shapes = [tuple(part[name].shape) if name in part else "nothing" for part in (own, other)]
        if shapes[0] != shapes[1]:
            raise OtherNetwork(
                f"checkpoint {path} does not fit this model: {name} is {shapes[1]} there, {shapes[0]} here",
                f"that makes another network than the weights are of ({name} would be {shapes[0]}, and is {shapes[1]})",
            )
    module.load_state_dict(other)


def snapshot(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy that training does not change any more."""
    return tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, checkpoint)


def is_plain(state: Any) -> bool:
    """Whether a checkpoint can be read again that holds it: tensors, numbers, texts, and containers of these."""
    if isinstance(state, Mapping):
        return all(is_plain(key) and is_plain(value) for key, value in state.items())
    if type(state) in (list, tuple, set):
        return all(map(is_plain, state))
    return state is None or type(state) in (bool, int, float, complex, str, bytes) or isinstance(state, Tensor)


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints, through :func:`write_checkpoint` and :func:`read_checkpoint`."""

    def __init__(self) -> None:
        self._left_out: set[str] = set()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        states = checkpoint.get("callbacks", {})
        for name in [name for name, state in states.items() if not is_plain(state)]:
            del states[name]
            if name not in self._left_out:
                self._left_out.add(name)
                log.warning(
                    "%s: its state holds more than tensors and plain values, and isn't kept: resumed, it starts anew",
                    name.partition("{")[0],
                )
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        remove(Path(path), inside=Path(path).parent.parent)
