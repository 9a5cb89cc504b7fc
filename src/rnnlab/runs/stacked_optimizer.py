"""The optimizer of several members: a row of its state each."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop, Rprop

from rnnlab.runs.stacked_members import Member

ELEMENTWISE = (Adam, AdamW, SGD, RMSprop, NAdam, RAdam, Adagrad, Adamax, Adadelta, Rprop)
"""Optimizers that treat each number by itself, so that it makes no difference what stands beside it."""


class StackedOptimizer:
    """An optimizer of the members' own kind over the stack's rows, its groups those with equal hyperparameters."""

    def __init__(
        self,
        members: Sequence[Member],
        own: Sequence[Sequence[Tensor]],
        sizes: Sequence[int],
        flat: Tensor,
        gradient: Tensor,
    ) -> None:
        self.members, self.own, self.sizes = members, own, sizes
        bounds = [row for row, member in enumerate(members) if not row or member.sort_key != members[row - 1].sort_key]
        self.spans = list(zip(bounds, [*bounds[1:], len(members)], strict=True))
        groups = []
        for begin, end in self.spans:
            rows = flat[begin:end].detach().requires_grad_()
            rows.grad = gradient[begin:end]
            groups.append({**members[begin].hyperparameters, "params": [rows]})
        kind: Callable[..., Optimizer] = type(members[0].optimizer)
        self.optimizer = kind(groups)
        for (begin, end), group in zip(self.spans, self.optimizer.param_groups, strict=True):
            states = [self._state(row) for row in range(begin, end)]
            if any(states):
                self.optimizer.state[group["params"][0]] = {
                    name: torch.stack([state[name] for state in states]) if states[0][name].dim() else
                    states[0][name].clone() for name in states[0]
                }  # fmt: skip
        self._scheduled = any(member.scheduled for member in members)

    def _state(self, row: int) -> dict[str, Tensor]:
        """A member's state, its parameters' parts one behind the other."""
        states = [self.members[row].optimizer.state.get(p, {}) for p in self.own[row]]
        return {
            name: torch.cat([state[name].flatten() for state in states]) if value.shape == parameter.shape
            else torch.as_tensor(value)
            for parameter, (name, value) in ((self.own[row][0], item) for item in states[0].items())
            if value is not None
        }  # fmt: skip

    def step(self) -> None:
        if self._scheduled:
            for (begin, _), group in zip(self.spans, self.optimizer.param_groups, strict=True):
                group.update(self.members[begin].hyperparameters)
        self.optimizer.step()

    def write_back(self) -> None:
        """Gives each member's optimizer its part of the state."""
        for (begin, end), group in zip(self.spans, self.optimizer.param_groups, strict=True):
            rows = group["params"][0]
            for name, value in self.optimizer.state.get(rows, {}).items():
                for row in range(begin, end):
                    own = value[row - begin].split(self.sizes) if value.shape == rows.shape else None
                    for number, parameter in enumerate(self.own[row]):
                        state = self.members[row].optimizer.state[parameter]
                        state[name] = value.clone() if own is None else own[number].view_as(parameter).clone()
