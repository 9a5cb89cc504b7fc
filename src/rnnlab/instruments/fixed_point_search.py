"""The search for fixed points of a network's step: Adam on the speed, then Newton's method."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells.cell import map_state
from rnnlab.network import Network
from rnnlab.shapes import State

STEPS, NEWTON = 500, 12
STILL = 1e-9
"""The speed, as a share of the size of the trajectories, below which a state stands still."""
APART = 1e-3
"""The distance, as such a share, from which two fixed points are two."""
REACH = 1.5
"""How far beyond the trajectories a fixed point may lie to have to do with them."""


class Step:
    """The step of a network whose input stays the same, of states as rows ``(batch, n)``.

    Args:
        network: in double precision and evaluation.
        x: ``(1, 1, features)``, or ``(1, 1)`` of a token.
    """

    def __init__(self, network: Network, x: Tensor) -> None:
        self.network, self.x = network, x
        self._like = network.initial_state(1)

    def __call__(self, states: Tensor) -> Tensor:
        """The states one step later."""
        return flat(self._step(states)[1])

    def output(self, states: Tensor) -> Tensor:
        """``(batch, size)`` what the network says at this step."""
        with torch.no_grad():
            said = self._step(states)[0]
        return said.reshape(len(states), said.shape[-1])

    def _step(self, states: Tensor) -> tuple[Tensor, Any]:
        inputs = self.x.expand(len(states), *self.x.shape[1:])
        return self.network(inputs, unflat(states, self._like))

    def jacobian(self, states: Tensor) -> Tensor:
        """``(batch, n, n)`` row i, column j is ∂F_i / ∂h_j."""
        batch, size = states.shape
        with torch.inference_mode(False), torch.enable_grad():
            copies = states.detach().repeat_interleave(size, 0).requires_grad_()
            rows = torch.eye(size, dtype=states.dtype, device=states.device).repeat(batch, 1)
            after = self(copies)
            (gradient,) = torch.autograd.grad(after, copies, rows, allow_unused=True, materialize_grads=True)
        return gradient.view(batch, size, size)


def find(step: Step, seen: Tensor, starts: int) -> tuple[Tensor, int]:
    """Fixed points near the ``(states, n)`` that were seen.

    Returns:
        ``(points, n)``, each once, and how many of the starts ended at one.
    """
    center = seen.mean(0)
    size = float((seen - center).square().sum(1).mean().sqrt()) or 1.0
    states = _starts(seen, starts)
    with torch.inference_mode(False), torch.enable_grad():
        states = states.clone().requires_grad_()
        optimizer = torch.optim.Adam([states], lr=0.05 * size / max(1, states.shape[1]) ** 0.5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        for _ in range(STEPS):
            speed = (step(states) - states).square().sum() / 2
            # each state has its own speed, so that the sum moves each by itself
            (states.grad,) = torch.autograd.grad(speed, states)
            optimizer.step()
            schedule.step()
    near = states.detach()
    points = _newton(step, near)
    with torch.no_grad():
        speeds = (step(points) - points).norm(dim=1)
    farthest = (seen - center).norm(dim=1).max()
    kept = (speeds < STILL * size) & ((points - center).norm(dim=1) <= REACH * farthest)
    points, speeds = points[kept], speeds[kept]
    return _unique(points[speeds.argsort()], APART * size), int(kept.sum())


def _starts(seen: Tensor, number: int) -> Tensor:
    """States of the trajectories, half of them as they are, half in the middle of two of them, where saddles lie."""
    random = torch.Generator().manual_seed(0)

    def drawn(count: int) -> Tensor:
        return seen[torch.randint(len(seen), (count,), generator=random).to(seen.device)]

    between = number // 2
    return torch.cat([drawn(number - between), (drawn(between) + drawn(between)) / 2])


@torch.no_grad()
def _newton(step: Step, states: Tensor) -> Tensor:
    """Each state after Newton's method for F(h) - h = 0; where that makes it faster, it stays."""
    speeds = (step(states) - states).norm(dim=1)
    eye = torch.eye(states.shape[1], dtype=states.dtype, device=states.device)
    for _ in range(NEWTON):
        moving = speeds > torch.finfo(states.dtype).eps * 10
        if not moving.any():
            break
        some = states[moving]
        # what doesn't move at all in some direction, as a line of fixed points, has no inverse
        jacobian = step.jacobian(some) - eye
        move = torch.linalg.lstsq(jacobian, (step(some) - some)[..., None], driver=_driver(some)).solution[..., 0]
        tried = some - move
        after = (step(tried) - tried).norm(dim=1)
        better = after < speeds[moving]
        states[moving] = torch.where(better[:, None], tried, some)
        speeds[moving] = torch.where(better, after, speeds[moving])
        if not better.any():
            break
    return states


def _driver(like: Tensor) -> str:
    return "gelsy" if like.device.type == "cpu" else "gels"


def _unique(points: Tensor, apart: float) -> Tensor:
    """Of points that are nearer than that to each other the first."""
    kept: list[Tensor] = []
    for point in points:
        if all(float((point - other).norm()) > apart for other in kept):
            kept.append(point)
    return torch.stack(kept) if kept else points[:0]


def flat(state: Sequence[State]) -> Tensor:
    """``(batch, n)`` of the states of all cells."""
    parts = [part for each in state for part in ((each,) if isinstance(each, Tensor) else each)]
    return torch.cat([part.flatten(1) for part in parts], 1)


def unflat(flat: Tensor, like: Sequence[State]) -> tuple[State, ...]:
    """The states of all cells of ``(batch, n)``."""
    sizes = [part[0].numel() for each in like for part in ((each,) if isinstance(each, Tensor) else each)]
    parts = iter(flat.split(sizes, 1))

    def shaped(part: Tensor) -> Tensor:
        return next(parts).reshape(len(flat), *part.shape[1:])

    return tuple(map_state(shaped, each) for each in like)
