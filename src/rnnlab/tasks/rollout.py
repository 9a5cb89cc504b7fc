"""The closed loop: a network that lives on its own predictions beyond the window."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def closed_loop(
    network: Any, point: Callable[[Tensor], Tensor], inputs: Tensor, horizon: int, steps: int, ahead: Tensor | None
) -> Tensor:
    """``(batch, horizon + steps, output)`` of the network: from the truth, then from its own point forecasts.

    Args:
        network: that predicts its own later inputs; an ensemble stands for one, too.
        point: of ``(batch, output)``, the ``(batch, values)`` that are fed back.
        inputs: ``(batch, time, features)``, at least ``horizon`` steps.
        horizon: steps from an input to the target that is its value.
        steps: beyond what is predicted from the truth.
        ahead: ``(batch, steps, others)`` inputs beside the predicted values.
    """
    was_training = network.training
    network.eval()
    output, state = network(inputs)
    # what is predicted for the steps between the window and the first value of the rollout
    known = list(output[:, -horizon:].unbind(1))
    window = inputs
    for step in range(steps):
        x = point(known[step])[:, None]
        if ahead is not None:
            x = torch.cat([x, ahead[:, step : step + 1]], -1)
        if not network.streams:  # has no state to carry: reads the moved window again
            window = torch.cat([window[:, 1:], x], 1)
            output = network(window)[0][:, -1:]
        else:
            output, state = network.step(x, state)
        known.append(output[:, 0])
    network.train(was_training)
    return torch.stack(known, 1)
