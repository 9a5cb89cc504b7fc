"""The next frame at every step."""

from typing import Any

import torch
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import DataSpec
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.tasks.optimization import OptimizerFactory, SchedulerFactory


class NextFrames(Forecasting):
    """Forecasting of the pixels of the frame to come, by their squared error.

    Scores are ``mse``, ``mae`` and ``r2`` of the next frame, and ``rollout/mse``
    of the frames after the end of the sequence, where the network reads its own
    frames; ``rollout/mse@k`` of the k-th. What the network reads out is by how much
    each pixel changes (:meth:`rnnlab.network.Network.onto`). The trivial predictor is persistence:
    the last frame stands still.

    Raises:
        InputError: the targets are no frames.
    """

    baseline_name = "persistence"

    def __init__(
        self,
        network: Network,
        spec: DataSpec,
        optimizer: OptimizerFactory = torch.optim.Adam,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "val/loss",
    ) -> None:
        if spec.target.frame is None:
            raise InputError("task next_frames is for data whose targets are frames (data=next_shapes, say)")
        super().__init__(network, spec, optimizer, scheduler, monitor)

    def point(self, output: Tensor) -> Tensor:
        """A pixel is between black and white."""
        return super().point(output).clamp(0, 1)

    def said(self, output: Tensor, moments: Any = None) -> dict[str, Any]:
        return super().said(output.clamp(0, 1), moments)
