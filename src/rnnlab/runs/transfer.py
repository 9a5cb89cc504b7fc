"""Weights that a training begins with: another run's, a checkpoint's, or those of layers of ``torch.nn``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError, nearest
from rnnlab.runs.checkpoint import DAMAGED, read_checkpoint, read_tensors
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.keras_weights import SUFFIXES, read_keras
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS
from rnnlab.tasks.task import Task

WRAPPERS = re.compile(r"^(?:_orig_mod\.|module\.|model\.|network\.|net\.)+")
"""What wrapping a network puts before the names of its weights."""
OF_TORCH = re.compile(r"(?:.*\.)?(weight|bias)_(ih|hh)_l(\d+)(_reverse)?$")
"""A weight of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, whatever the module that holds it calls it."""
EMBEDDINGS = re.compile(r"(?:.*\.)?(?:emb|embed|embedding|embeddings|encoder|word_embeddings?)\.weight$")
HEADS = re.compile(
    r"(?:.*\.)?(?:readout|fc|linear|head|out|output|decoder|dense|classifier|proj|projection)\.(weight|bias)$"
)
ROOTS = ("layers.", "blocks.", "convolutions.", "beside.", "initial.", "readout.")
"""How the names of weights of a network of ours begin."""
ALIASES = {"encoder": ("encoder", "convolutions"), "convolutions": ("convolutions",)}
"""Parts that stand for others, too: whatever is in front of the recurrence is its encoder."""
SHOWN = 6


@dataclass(frozen=True)
class Transfer:
    """What of a network's weights came from elsewhere.

    Attributes:
        source: where from.
        taken: weights that were taken whole.
        rows: of weights with a row a token or a class, how many of how many rows were taken, by name.
        new: weights that are as they are initialised, and why.
        unused: weights of the source that stand for nothing here.
    """

    source: str
    taken: tuple[str, ...] = ()
    rows: Mapping[str, str] = field(default_factory=dict)
    new: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As ``status.json`` holds it."""
        return {
            "from": self.source, "taken": list(self.taken), "rows": dict(self.rows), "new": dict(self.new),
            "unused": list(self.unused),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """What the summary says."""
        found = [f"{self.source}: {len(self.taken)} weights taken ({_listed(self.taken)})"]
        found += [f"{name}: {what}" for name, what in self.rows.items()]
        if self.new:
            found.append("new: " + "; ".join(f"{name} ({why})" for name, why in list(self.new.items())[:SHOWN]))
        if self.unused:
            found.append(f"of no use here: {_listed(self.unused)}")
        return found


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        source: where it is.
        tensors: by name, as in a network of ours.
        tokens: what the rows of an embedding stand for; empty where nobody knows.
        names: what the rows of the readout stand for.
    """

    source: str
    tensors: Mapping[str, Tensor]
    tokens: Sequence[str] = ()
    names: Sequence[str] = ()


def read_weights(place: Path, given: str | None = None) -> Weights:
    """The weights of a run's directory, of a checkpoint, of a ``state_dict`` that ``torch.save`` wrote, or of Keras.

    Args:
        place: of the directory or the file.
        given: as it was typed.

    Raises:
        InputError: there are none, or the file holds more than tensors and plain values.
    """
    key = f"init_from={given or place}"
    if place.is_dir():
        if not is_there(place / STATUS):
            raise InputError(f"{key}: this directory is no run: give a run's, a checkpoint, or a state_dict in a file")
        place = RunDirectory.open(place).best_checkpoint
    if not place.is_file():
        beside = [file.name for file in place.parent.iterdir()] if place.parent.is_dir() else []
        raise InputError(f"{key}: there is no such run or file{nearest(place.name, beside)}")
    if place.suffix == ".ckpt":
        checkpoint = read_checkpoint(place)
        tensors = checkpoint["state_dict"]
        data = checkpoint.get("data") or {}
        reader, spec = data.get("reader") or {}, data.get("spec") or {}
        tokens = reader.get("vocabulary") or ()
        names = (spec.get("target") or {}).get("names") or ()
        return Weights(str(place), _ours(tensors), tokens if isinstance(tokens, list | tuple) else (), names)
    if place.suffix in SUFFIXES:
        return Weights(str(place), read_keras(place, key))
    try:
        tensors = read_tensors(place)
    except DAMAGED as error:
        raise InputError(f"{key}: {str(error).strip().splitlines()[0][:200]}") from None
    return Weights(str(place), _ours(tensors))


def _ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By the names that a network of ours has: those of torch's own layers are other ones."""
    found: dict[str, Tensor] = {}
    for given, tensor in tensors.items():
        name = _plain(WRAPPERS.sub("", given))
        if match := OF_TORCH.fullmatch(name):
            kind, of, layer, back = match.groups()
            name = f"layers.{layer}.{1 if back else 0}.{kind}_{of}"
        elif name.startswith(ROOTS):
            pass
        elif EMBEDDINGS.fullmatch(name) and tensor.dim() == 2:
            name = "encoder.weight"
        elif match := HEADS.fullmatch(name):
            name = f"readout.{match[1]}"
        found.setdefault(name, tensor)
    return found


def _plain(name: str) -> str:
    """The name of a cell's weight, without what is wrapped around it: zoneout, a short convolution, or both."""
    return re.sub(r"^(layers\.\d+\.\d+\.)(?:cell\.)+", r"\1", name)


def torch_names(network: nn.Module) -> dict[str, Tensor]:
    """The weights of the recurrent layers as ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` call them.

    Raises:
        InputError: the cells are others.
    """
    found = {}
    for name, tensor in network.named_parameters():
        if not name.startswith("layers."):
            continue
        match = re.fullmatch(r"layers\.(\d+)\.([01])\.((?:weight|bias)_(?:ih|hh))", _plain(name))
        if match is None:
            raise InputError(f"torch.nn has no layer with the weight {name}: its RNN, LSTM and GRU have none such")
        layer, back, kind = match.groups()
        found[f"{kind}_l{layer}{'_reverse' * int(back)}"] = tensor.detach().clone()
    return found


def take(task: Task, data: SequenceData, weights: Weights, parts: Sequence[str] | None = None) -> Transfer:
    """Puts weights into a task's network, by name and shape; rows of tokens and classes by what they stand for.

    Args:
        task: whose network it is.
        data: tells what its tokens stand for.
        weights: what there is.
        parts: of the network, that are taken; ``None`` for all that fit.

    Raises:
        InputError: a part is not there, or none of the weights fits.
    """
    network = task.network
    allowed = None if parts is None else set(named_in(network, parts, "init_parts"))
    own = dict(network.named_parameters(remove_duplicate=False)) | dict(network.named_buffers())
    taken, rows, new = [], {}, {}
    with torch.no_grad():
        for name, mine in own.items():
            other = weights.tensors.get(_plain(name))
            if allowed is not None and name not in allowed:
                new[name] = "not in init_parts"
            elif other is None:
                new[name] = "there is none of its name"
            elif (shared := _rows(name, mine, other, weights, data, task)) is not None:
                at, there = shared
                mine[at] = other[there].to(mine)
                rows[name] = f"{len(at)} of {len(mine)} rows, by what they stand for"
                if not at:
                    del rows[name]
                    new[name] = "no token or class is in both"
            elif other.shape == mine.shape:
                mine.copy_(other)
                taken.append(name)
            else:
                new[name] = f"{_size(mine)} here, {_size(other)} there"
    known = set(map(_plain, own))
    unused = tuple(name for name in weights.tensors if name not in known)
    body = [name for name in (*taken, *rows) if not name.startswith("readout.")]
    if not body and (allowed is None or any(not name.startswith("readout.") for name in allowed)):
        raise InputError(f"init_from={weights.source}: none of its weights fits: {_why(own, weights)}")
    return Transfer(
        weights.source,
        tuple(taken),
        rows,
        new,
        unused,
    )


def _rows(
    name: str, mine: Tensor, other: Tensor, weights: Weights, data: SequenceData, task: Task
) -> tuple[list[int], list[int]] | None:
    """Which rows of a weight stand for the same here and there; ``None`` where its rows have no names, or the same."""
    here: Sequence[str] = ()
    there: Sequence[str] = ()
    if name == "encoder.weight":
        here, there = getattr(data.reader, "vocabulary", ()), weights.tokens
        here = here if isinstance(here, list | tuple) else ()
    elif name in ("readout.weight", "readout.bias"):
        here, there = task.spec.target.names, weights.names
    if not here or not there or list(here) == list(there):
        return None
    if mine.shape[1:] != other.shape[1:] or (len(mine), len(other)) != (len(here), len(there)):
        return None
    places = {word: number for number, word in enumerate(there)}
    both = [(number, places[word]) for number, word in enumerate(here) if word in places]
    return [at for at, _ in both], [at for _, at in both]


def _size(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _why(own: Mapping[str, Tensor], weights: Weights) -> str:
    """A weight of the recurrence as it is expected and as it came."""
    for name, mine in own.items():
        other = weights.tensors.get(_plain(name))
        if other is not None and other.shape != mine.shape and not name.startswith("readout."):
            return f"{name} is {_size(mine)} here and {_size(other)} there"
    wanted = next((name for name in own if name.startswith("layers.")), next(iter(own)))
    return (
        f"this network has {wanted} {_size(own[wanted])}, and it has {_listed(list(weights.tensors))}"
        f"{nearest(wanted, weights.tensors)}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


# ---- parts of a network -------------------------------------------------------------------------------


def named_in(network: nn.Module, parts: Iterable[str], key: str) -> list[str]:
    """The parameters and buffers of some parts of a network, such as ``encoder`` or ``layers.0``.

    Raises:
        InputError: it has no such part.
    """
    names = [
        *(name for name, _ in network.named_parameters(remove_duplicate=False)),
        *(name for name, _ in network.named_buffers()),
    ]
    found: list[str] = []
    for part in parts:
        prefixes = ALIASES.get(part, (part,))
        inside = [name for name in names if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)]
        if not inside:
            there = dict.fromkeys(".".join(name.split(".")[:depth]) for name in names for depth in (1, 2))
            known = [name for name in there if not re.search(r"(weight|bias)", name)]
            raise InputError(f"{key}={part}: this network has no such part{nearest(part, known)} ({', '.join(known)})")
        found += inside
    return list(dict.fromkeys(found))


def freeze(network: nn.Module, parts: Sequence[str]) -> None:
    """Leaves parts of a network as they are.

    Raises:
        InputError: it has no such part, or nothing is left to learn.
    """
    frozen = set(named_in(network, parts, "freeze"))
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if name in frozen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"freeze=[{','.join(parts)}]: nothing is left that could learn: freeze less, or train=false")


def rates(network: nn.Module, factors: Mapping[str, float]) -> list[tuple[float, list[str]]]:
    """The factors of the learning rate that differ from 1, and the parameters that each is for.

    Raises:
        InputError: the network has no such part, or a parameter has two factors.
    """
    owner: dict[str, str] = {}
    found = []
    parameters = [name for name, _ in network.named_parameters()]
    for part, factor in factors.items():
        inside = [name for name in named_in(network, [part], "lr_factors") if name in parameters]
        twice = next((name for name in inside if name in owner), None)
        if twice is not None:
            raise InputError(f"lr_factors.{part}={factor}: {twice} has that of lr_factors.{owner[twice]} already")
        owner |= dict.fromkeys(inside, part)
        found.append((float(factor), inside))
    return found
