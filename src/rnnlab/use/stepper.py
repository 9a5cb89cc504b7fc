"""Networks of one direction, one step at a time: what a stream and a generator need."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.pooling import POOLED, statistics_so_far
from rnnlab.stepping import NetworkStep
from rnnlab.stepping import StepState as StateOfOne

StepState = list[StateOfOne]
"""Of each network."""


class Stepper:
    """Takes networks through time, their outputs combined: the same as a pass over the whole, to rounding.

    Args:
        networks: for the same data.
        combine: ``(members, …)`` outputs to ``(…)``.

    Raises:
        InputError: one reads in both directions.
    """

    def __init__(self, networks: Sequence[Network], combine: Callable[[Tensor], Tensor]) -> None:
        whole = next((network.whole for network in networks if network.whole is not None), None)
        if whole is not None:
            raise InputError(
                f"this run reads several steps at once ({whole}), and carries no state from step to step: predict "
                "whole sequences, without --stream and --steps"
            )
        if any(network.rebuilds for network in networks):
            raise InputError(
                "this run reads a whole sequence before it rebuilds a step of it (task=reconstruction): predict whole "
                "sequences, without --stream and --steps"
            )
        if any(network.bidirectional for network in networks):
            raise InputError(
                "this run reads each sequence from both its ends (model.bidirectional=true), so that it can say "
                "nothing before the end: predict whole sequences, without --stream and --steps"
            )
        self.networks, self.combine = list(networks), combine
        self._steps = [NetworkStep(network) for network in networks]

    @torch.inference_mode()
    def initial(self, batch: int = 1) -> StepState:
        """Before the first step."""
        return [(network.initial_state(batch), None) for network in self.networks]

    def __call__(self, x: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """One step: ``(batch, features)`` or ``(batch,)`` tokens, to ``(batch, size)`` and the next state."""
        outputs, after = [], []
        for step, before in zip(self._steps, state, strict=True):
            output, new = step(x, before)
            outputs.append(output)
            after.append(new)
        return outputs[0] if len(outputs) == 1 else self.combine(torch.stack(outputs)), after

    @torch.inference_mode()
    def read(self, inputs: Tensor) -> tuple[Tensor, StepState]:
        """Many steps at once, ``(batch, time)`` tokens, where a prediction is made at every step.

        Returns:
            ``(batch, size)`` at the last step, and the state after it.
        """
        outputs: list[Tensor] = []
        state: StepState = []
        for network in self.networks:
            output, after = network(inputs)
            outputs.append(output[:, -1])
            state.append((list(after), None))
        return outputs[0] if len(outputs) == 1 else self.combine(torch.stack(outputs)), state


def each_step(network: Network, inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """``(batch, time, size)`` what a network would say if each step were the last."""
    hidden, _ = network.hidden(inputs, None, lengths)
    if network.readout_kind in POOLED:
        thresholds = network.thresholds if network.readout_kind == "statistics" else None
        hidden = statistics_so_far(POOLED[network.readout_kind], hidden, thresholds)
    return network.readout(hidden)
