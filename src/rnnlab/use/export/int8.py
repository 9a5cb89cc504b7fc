"""Weights as whole numbers of 8 bits: a quarter of the bytes, and what that costs.

Each row of a matrix has a scale of its own, its largest absolute value over 127 (B. Jacob et al., "Quantization and
training of neural networks for efficient integer-arithmetic-only inference", 2018, section 3, symmetric and per row).
The network is first given the rounded weights, so that its scores are those of the file; the file then holds whole
numbers and scales, which ``DequantizeLinear`` multiplies where it is loaded. Activations and states stay floating
point, in which a recurrence adds its rounding errors up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError, RunFailed
from rnnlab.tasks.direction import direction
from rnnlab.tasks.task import Task

FEWEST = 256
"""Numbers of a matrix below which it stays as it is: there is little to gain."""
EXACT = 1e-6
"""Of the largest value of a row: how far whole numbers times a scale may be from the weights, which is rounding."""


@dataclass(frozen=True)
class Loss:
    """What whole numbers cost.

    Attributes:
        score: the name of the score, of the test part.
        before: with the weights as they were trained.
        after: with the rounded ones.
        weights: numbers that are rounded.
        of: all numbers of the network.
    """

    score: str
    before: float
    after: float
    weights: int
    of: int

    def __str__(self) -> str:
        name = self.score.replace("_", " ")
        change = self.after - self.before
        worse = change if direction(self.score) == "min" else -change
        how = "no worse" if worse <= 0 else f"{abs(change):.4g} worse"
        return f"test {name} {self.before:.4g} with 32 bits, {self.after:.4g} with 8 ({how})"

    def plain(self) -> dict[str, Any]:
        """For the description of the file."""
        return {
            "score": f"test/{self.score}",
            "float32": self.before,
            "int8": self.after,
            "weights": self.weights,
            "of": self.of,
        }


def quantize(task: Task, data: SequenceData) -> Loss:
    """Rounds a network's matrices, in place.

    Args:
        task: with the trained weights, on a CPU.
        data: whose test part the loss is measured on.

    Raises:
        InputError: there is no matrix that is worth it.
    """
    chosen = [parameter for parameter in task.network.parameters() if _worth(parameter)]
    if not chosen:
        raise InputError(
            f"--int8: this network has no matrix of at least {FEWEST} numbers, so that nothing is gained: leave it out"
        )
    before = _score(task, data)
    with torch.no_grad():
        for parameter in chosen:
            parameter.copy_(rounded(parameter))
    return Loss(
        task.verdict_score,
        before,
        _score(task, data),
        sum(parameter.numel() for parameter in chosen),
        sum(parameter.numel() for parameter in task.network.parameters()),
    )


def rounded(weights: Tensor) -> Tensor:
    """``(rows, …)`` weights as whole numbers from -127 to 127 times a scale of each row."""
    rows = weights.detach().flatten(1)
    scale = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(rows.dtype).tiny)
    return ((rows / scale).round() * scale).view_as(weights)


def _worth(parameter: nn.Parameter) -> bool:
    return parameter.dim() >= 2 and parameter.numel() >= FEWEST and parameter.dtype == torch.float32


def _score(task: Task, data: SequenceData) -> float:
    """The score of the test part by which a run is held against its baselines."""
    with torch.no_grad():
        task.eval()
        batches = data.test_dataloader()
        scores = task.measure((task.answer(batch), batch) for batch in batches)
    return scores[task.verdict_score]


def compress(content: bytes) -> bytes:
    """An ONNX file whose rounded weights are stored as whole numbers of 8 bits.

    Raises:
        RunFailed: no weights of the file are those that were rounded.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    graph, nodes, kept, parts = model.graph, [], [], []
    for weights in graph.initializer:
        values = numpy_helper.to_array(weights) if weights.data_type == TensorProto.FLOAT else np.empty(0)
        whole = _as_whole(values) if values.size >= FEWEST else None
        if whole is None:
            kept.append(weights)
            continue
        axis, numbers, scale = whole
        names = [f"{weights.name}_int8", f"{weights.name}_scale"]
        parts += [numpy_helper.from_array(numbers, names[0]), numpy_helper.from_array(scale, names[1])]
        nodes.append(helper.make_node("DequantizeLinear", names, [weights.name], axis=axis))
    if not nodes:
        raise RunFailed(
            "--int8: the converter has changed all matrices of this network, so that none is left in the file"
        )
    del graph.initializer[:]
    graph.initializer.extend([*kept, *parts])
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return model.SerializeToString()


def _as_whole(values: np.ndarray) -> tuple[int, np.ndarray, np.ndarray] | None:
    """The axis that scales go along, whole numbers and scales; ``None`` where weights are no such products."""
    for axis in range(values.ndim):
        others = tuple(k for k in range(values.ndim) if k != axis)
        largest = np.abs(values).max(others, keepdims=True)
        scale = np.maximum(largest / np.float32(127), np.finfo(np.float32).tiny).astype(np.float32)
        numbers = np.round(values / scale)
        if (np.abs(numbers * scale - values) <= EXACT * largest).all() and values.shape[axis] < values.size:
            return axis, numbers.astype(np.int8), scale.reshape(-1)
    return None
