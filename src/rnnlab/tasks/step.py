"""One training step: what a task under Lightning, our loop over an epoch and a fleet share of it.

In a fleet each number has a leading axis of members, and the steps of all of them are made at once.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.spec import Batch
from rnnlab.tasks.objective import Objective

LOSS_EVERY_N_STEPS = 50
"""How often the loss of a single step goes to the logger; every epoch's mean does anyway."""


def training_loss(objective: Objective, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss of a batch, to be differentiated; and what is kept of it, itself and the cheap scores of training."""
    output = objective(batch)
    loss = objective.loss(output, batch)
    return loss, (loss.detach(), *objective.score_training(output.detach(), batch))


def side_by_side(means: Sequence[Tensor]) -> Tensor:
    """Means over a batch as one tensor in single precision."""
    return torch.stack([mean.detach().float() for mean in means])


def is_logged(number: int) -> bool:
    """Whether the loss of a step, by its number in the epoch, goes to the logger."""
    return number % LOSS_EVERY_N_STEPS == 0


def is_looked_at(number: int, device: torch.device) -> bool:
    """Whether the loss of a step is looked at: on a CPU that is free, on a GPU it would wait for every step."""
    return is_logged(number) or device.type == "cpu"


def has_failed(loss: float) -> bool:
    """Whether a training ends, since its loss is no finite number."""
    return not math.isfinite(loss)


def clip(parameters: Sequence[nn.Parameter], bound: float, by_value: bool) -> Tensor:
    """Clips gradients in place as Lightning would; returns the norm that they had before.

    Args:
        parameters: that have one.
        bound: infinite for none.
        by_value: each number is clipped to it, and not the norm of all of them.
    """
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if by_value:
        nn.utils.clip_grad_value_(parameters, bound)
    # on a CPU it is free to look: a norm clearly below the bound would multiply all gradients by 1
    elif math.isfinite(bound) and not (norm.is_cpu and norm.item() < 0.999 * bound):
        nn.utils.clip_grads_with_norm_(parameters, bound, norm)
    return norm


def clip_members(gradient: Tensor, norm_bound: Tensor, value_bound: Tensor) -> Tensor:
    """As :func:`clip` for the members of a fleet; returns the norms ``(members,)``.

    Args:
        gradient: ``(members, parameters)``, clipped in place.
        norm_bound: ``(members,)``, infinite where there is none.
        value_bound: ``(members,)``, of each number.
    """
    norm = torch.linalg.vector_norm(gradient, dim=1)
    gradient.mul_((norm_bound / (norm + 1e-6)).clamp(max=1.0)[:, None])
    if value_bound.isfinite().any():
        gradient.copy_(gradient.clamp(-value_bound[:, None], value_bound[:, None]))
    return norm


class TrainingTotals:
    """Sums over an epoch's training steps.

    On a GPU they are kept there, so that no step waits to log; on a CPU they are plain numbers, since an operation of
    PyTorch takes many times as long as one of Python.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.reset()
        self._largest: Tensor | float = 0.0

    def reset(self) -> None:
        self._sums: Tensor | list[float] = [0.0] * len(self.names)
        self._weight: Tensor | int = 0
        self._norms: Tensor | float = 0.0
        self._clipped: Tensor | float = 0.0
        self._steps = 0

    def add(self, means: tuple[Tensor, ...], weight: Tensor | int) -> None:
        if all(mean.is_cpu for mean in means):
            weight = int(weight)  # elements
            sums = self._sums if isinstance(self._sums, list) else self._sums.tolist()
            self._sums = [sum_ + mean.float().item() * weight for sum_, mean in zip(sums, means, strict=True)]
        else:
            now = side_by_side(means).double() * weight
            self._sums = torch.as_tensor(self._sums, dtype=now.dtype, device=now.device) + now
        self._weight = self._weight + weight

    def add_gradient(self, norm: Tensor, bound: Tensor | float) -> None:
        if norm.is_cpu:
            value = norm.item()
            self._norms = self._norms + value
            self._clipped = self._clipped + (value > bound)
            self._largest = value if value > self._largest or math.isnan(value) else self._largest
        else:
            self._norms = self._norms + norm
            self._clipped = self._clipped + (norm > bound)
            self._largest = torch.maximum(norm, torch.as_tensor(self._largest, dtype=norm.dtype, device=norm.device))
        self._steps += 1

    def means(self) -> dict[str, float]:
        sums = torch.as_tensor(self._sums, dtype=torch.float64)
        return dict(zip(self.names, (sums / max(self.weight, 1)).tolist(), strict=True))

    def gradients(self) -> dict[str, float]:
        """Mean norm before clipping, and the share of steps that were clipped."""
        steps = max(self._steps, 1)
        return {"norm": float(self._norms) / steps, "clipped": float(self._clipped) / steps}

    @property
    def weight(self) -> int:
        """Elements that the means are over."""
        return int(self._weight)

    @property
    def largest_norm(self) -> float:
        return float(self._largest)

    def state(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("_sums", "_norms", "_clipped", "_largest")}
        tensors = {
            name: value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
            for name, value in values.items()
        }
        return {**tensors, "_weight": int(self._weight), "_steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        sums = torch.as_tensor(state["_sums"]).expand(len(self.names))  # a single 0 in older checkpoints
        for name, value in {**state, "_sums": sums}.items():
            setattr(self, name, value.tolist() if isinstance(value, Tensor) and value.is_cpu else value)


class StackedTotals:
    """The :class:`TrainingTotals` of several members, a row each."""

    def __init__(self, totals: Sequence[TrainingTotals], like: Tensor) -> None:
        self.totals = totals
        states = [own.state() for own in totals]
        self.sums = torch.stack([state["_sums"].double().to(like.device) for state in states])
        dtype = like.dtype
        self.norms, self.clipped, self.largest = (
            torch.stack([state[name].to(like.device, dtype) for state in states])
            for name in ("_norms", "_clipped", "_largest")
        )
        self.weights = [state["_weight"] for state in states]
        self.steps = [state["_steps"] for state in states]
        self._before = (self.sums, self.weights)

    def add(self, losses: Tensor, scores: Tensor, weights: Sequence[int]) -> None:
        self._before = (self.sums, self.weights)
        weight = torch.tensor(weights, device=self.sums.device, dtype=torch.float64)
        self.sums = self.sums + scores.double() * weight[:, None]
        self.weights = [before + now for before, now in zip(self.weights, weights, strict=True)]

    def undo(self) -> None:
        """Takes back what was added last."""
        self.sums, self.weights = self._before

    def add_gradient(self, norm: Tensor, bound: Tensor) -> None:
        self.norms = self.norms + norm
        self.clipped = self.clipped + (norm > bound)
        self.largest = torch.maximum(self.largest, norm)
        self.steps = [steps + 1 for steps in self.steps]

    def write_back(self) -> None:
        """Gives each member its row."""
        for row, own in enumerate(self.totals):
            own.restore(
                {
                    "_sums": self.sums[row].clone(),
                    "_norms": self.norms[row].clone(),
                    "_clipped": self.clipped[row].clone(),
                    "_largest": self.largest[row].clone(),
                    "_weight": self.weights[row],
                    "_steps": self.steps[row],
                }
            )
