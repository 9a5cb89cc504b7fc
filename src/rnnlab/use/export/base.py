"""What the forecasts of a network are added to, as a part of the file: a linear map, constant in the graph.

A network of time series learns the difference from a linear forecast, or from a naive one, which is linear, too
(:mod:`rnnlab.data.layout`). The file takes the scaled values beside the network's inputs, and puts out the whole
forecast.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.data.layout import Layout
from rnnlab.data.linear import Linear
from rnnlab.data.sequence import SequenceData
from rnnlab.data.series import SeriesData
from rnnlab.tasks.distribution import Distribution
from rnnlab.tasks.task import Task


class Base(nn.Module):
    """Adds the base to a network's output.

    Args:
        layout: of the windows, with a base.
        distribution: what the network puts out of each value.
    """

    def __init__(self, layout: Layout, distribution: Distribution) -> None:
        super().__init__()
        linear = layout.base_map
        assert linear is not None
        self.layout, self.linear, self.distribution = layout, linear, distribution
        steps, _, targets = linear.weights.shape
        for name, constant in (
            ("weights", linear.weights[:, ::-1]),
            ("others", linear.others.transpose(1, 0, 2).reshape(-1, steps * targets)),
            ("constant", linear.constant.ravel()),
            ("divisor", np.asarray(layout.divisor or np.ones(steps * targets))),
        ):
            self.register_buffer(name, torch.tensor(np.ascontiguousarray(constant), dtype=torch.float32))

    weights: Tensor
    others: Tensor
    constant: Tensor
    divisor: Tensor

    @property
    def names(self) -> list[str]:
        """Of its inputs."""
        return ["values", "others"] if len(self.others) else ["values"]

    def zeros(self, batch: int, time: int) -> tuple[Tensor, ...]:
        """Inputs of these sizes."""
        values = torch.zeros(batch, self.linear.order - 1 + time, self.linear.weights.shape[2])
        return (values, torch.zeros(batch, time, len(self.others))) if len(self.others) else (values,)

    def forward(self, output: Tensor, values: Tensor, *others: Tensor) -> Tensor:
        """Adds it.

        Args:
            output: ``(batch, time, parameters * horizon * targets)``.
            values: ``(batch, order - 1 + time, targets)`` scaled, up to the last of the steps.
            others: ``(batch, time, features)``, where the linear map reads any.

        Returns:
            As ``output``, of scaled values.
        """
        # the oldest lag first; all sizes are the output's, since a tracer compares those that it takes for different
        places = torch.arange(output.shape[1])[:, None] + torch.arange(self.linear.order)
        base = torch.einsum("btok,hok->bthk", values[:, places], self.weights).flatten(2) + self.constant
        for features in others:
            base = base + features @ self.others
        forecast = self.distribution.in_units(self.distribution.split(output), base, self.divisor, False)
        return forecast.transpose(-1, -2).flatten(2)


class History:
    """Values and other features by which a file is tried.

    Args:
        base: that reads them.
        values: ``(steps, targets)`` scaled, in the order of time.
    """

    def __init__(self, base: Base, values: np.ndarray) -> None:
        self.base, self.steps = base, torch.tensor(values, dtype=torch.float32)

    @classmethod
    def of(cls, base: Base, data: SeriesData) -> "History":
        """The values of the first series."""
        end = int(data.panel.starts[1])
        rows = np.arange(end)[None]
        return cls(base, data.exact(rows, np.zeros(1, np.int64))[0, :, : base.linear.weights.shape[-1]])

    def cut(self, batch: int, time: int) -> list[Tensor]:
        """Inputs of :class:`Base`, every sequence from another place."""
        length = self.base.linear.order - 1 + time
        starts = torch.arange(batch)[:, None] * (len(self.steps) // batch)
        found = [self.steps[(starts + torch.arange(length)) % len(self.steps)]]
        if len(self.base.others):
            random = torch.Generator().manual_seed(0)
            found.append(torch.randn(batch, time, len(self.base.others), generator=random))
        return found

    def part(self, inputs: Sequence[Tensor], start: int, end: int) -> list[Tensor]:
        """Of some steps alone."""
        values, *others = inputs
        return [values[:, start : end + self.base.linear.order - 1], *(each[:, start:end] for each in others)]

    def added(self, output: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """What the run says: the network's output added to what its linear map gives in double precision."""
        linear: Linear = self.base.linear
        values, *others = (each.double().numpy() for each in inputs)
        time = output.shape[1]
        lags = linear.order - 1 + np.arange(time)[:, None] - np.arange(linear.order)
        features = others[0] if others else np.zeros((len(values), time, 0))
        base = torch.from_numpy(linear.of(values[:, lags], features)).to(output).flatten(2)
        distribution = self.base.distribution
        divisor = output.new_tensor(self.base.layout.divisor or [1.0] * base.shape[-1])
        forecast = distribution.in_units(distribution.split(output), base, divisor.expand_as(base), False)
        return forecast.transpose(-1, -2).flatten(2)


def history_of(task: Task, data: SequenceData) -> History | None:
    """The base of a run's forecasts, and values by which it is tried; ``None`` where its network's output is added to
    nothing.
    """
    if not (isinstance(data, SeriesData) and task.forecasts and data.final_layout.base_map is not None):
        return None
    return History.of(Base(data.final_layout, task.distribution), data)
