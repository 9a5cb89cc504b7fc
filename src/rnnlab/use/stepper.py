"""Networks of one direction, one step at a time: what a stream and a generator need."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.errors import InputError
from rnnlab.network import POOLED, TINY, Network

StepState = list[Any]
"""Of each network: its state, and what is read out so far (``None`` where the last step alone is)."""


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
        if any(network.bidirectional for network in networks):
            raise InputError(
                "this run reads each sequence from both its ends (model.bidirectional=true), so that it can say "
                "nothing before the end: predict whole sequences, without --stream and --steps"
            )
        self.networks, self.combine = list(networks), combine
        self._parts = [_Parts(network) for network in networks]

    @torch.inference_mode()
    def initial(self, batch: int = 1) -> StepState:
        """Before the first step."""
        return [(network.initial_state(batch), None) for network in self.networks]

    def __call__(self, x: Tensor, state: StepState) -> tuple[Tensor, StepState]:
        """One step: ``(batch, features)`` or ``(batch,)`` tokens, to ``(batch, size)`` and the next state."""
        outputs, after = [], []
        for parts, (before, pooled) in zip(self._parts, state, strict=True):
            states: list[Any] = []
            pool: Any = None
            h = parts.encode(x, before)
            for step, own in zip(parts.steps, before, strict=parts.ngrams is None):
                h, new = step(h, own)
                states.append(new)
            if parts.ngrams is not None:
                states.append(parts.ngrams.after(x[:, None], before[-1], None))
            if parts.pooled:
                pool = Pool.of(h, parts.thresholds) if pooled is None else pooled.with_step(h, parts.thresholds)
                h = torch.cat([pool.statistic(name) for name in parts.pooled], -1)
            outputs.append(F.linear(h, parts.weight, parts.bias))
            after.append((states, pool))
        return outputs[0] if len(outputs) == 1 else self.combine(torch.stack(outputs)), after

    @torch.inference_mode()
    def read(self, inputs: Tensor) -> tuple[Tensor, StepState]:
        """Many steps at once, ``(batch, time)`` tokens, where a prediction is made at every step.

        Returns:
            ``(batch, size)`` at the last step, and the state after it.
        """
        outputs, state = [], []
        for network in self.networks:
            output, after = network(inputs)
            outputs.append(output[:, -1])
            state.append((list(after), None))
        return outputs[0] if len(outputs) == 1 else self.combine(torch.stack(outputs)), state


class Pool(NamedTuple):
    """Statistics of each unit over the steps until now, ``(batch, hidden)`` each.

    ``squares`` is the sum of squares about the mean, brought up to date as B. P. Welford, "Note on a method for
    calculating corrected sums of squares and products" (1962), Technometrics 4(3), does it.
    """

    number: int
    mean: Tensor
    squares: Tensor
    above: Tensor
    largest: Tensor

    @classmethod
    def of(cls, h: Tensor, thresholds: Tensor | None) -> "Pool":
        above = torch.zeros_like(h) if thresholds is None else (h > thresholds).to(h.dtype)
        return cls(1, h, torch.zeros_like(h), above, h)

    def with_step(self, h: Tensor, thresholds: Tensor | None) -> "Pool":
        number = self.number + 1
        mean = self.mean + (h - self.mean) / number
        above = self.above if thresholds is None else self.above + (h > thresholds)
        squares = self.squares + (h - self.mean) * (h - mean)
        return Pool(number, mean, squares, above, torch.maximum(self.largest, h))

    def statistic(self, name: str) -> Tensor:
        if name == "mean":
            return self.mean
        if name == "deviation":
            return (self.squares / self.number + TINY).sqrt()
        return self.above / self.number if name == "share" else self.largest


class _Parts:
    """What a step of a network needs, looked up once: a module's attributes cost more than a small layer's numbers."""

    def __init__(self, network: Network) -> None:
        encoder, self.ngrams = network.encoder, network.ngrams
        self._encode: Callable[[Tensor], Tensor] | None = None
        if isinstance(encoder, nn.Embedding):
            self._encode = partial(torch.embedding, encoder.weight)
        elif isinstance(encoder, nn.Linear):
            self._encode = partial(F.linear, weight=encoder.weight, bias=encoder.bias)
        self.steps = [_step_of(cell) for cell in network.cells()]
        self.pooled = POOLED.get(network.readout_kind, ())
        self.thresholds = network.thresholds if network.readout_kind == "statistics" else None
        self.weight, self.bias = network.readout.weight, network.readout.bias

    def encode(self, x: Tensor, state: Sequence[Any]) -> Tensor:
        """``(batch, features)`` of a step, with the network's state before it."""
        if self.ngrams is not None:
            return self.ngrams(x[:, None], state[-1])[:, 0]
        return x if self._encode is None else self._encode(x)


def _step_of(cell: nn.Module) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
    """A cell's step, by torch's own kernel where it has one for a single step."""
    if type(cell) not in (LSTM, GRU) or cell.backend == "reference":
        return cell.step  # type: ignore[return-value]
    weights: Any = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)

    def lstm(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = torch.lstm_cell(x, state, *weights)
        return state[0], state

    def gru(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = torch.gru_cell(x, state, *weights)
        return state, state

    return lstm if type(cell) is LSTM else gru


def each_step(network: Network, inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """``(batch, time, size)`` what a network would say if each step were the last."""
    hidden, _ = network.hidden(inputs, None, lengths)
    if network.readout_kind in POOLED:
        steps = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)[:, None]
        exact = hidden.double()
        mean = exact.cumsum(1) / steps
        statistics = {"mean": mean, "max": hidden.cummax(1).values}
        if network.readout_kind == "statistics":
            variance = (exact.square().cumsum(1) / steps - mean.square()).clamp_min(0)
            statistics |= {
                "deviation": (variance + TINY).sqrt(),
                "share": (hidden > network.thresholds).double().cumsum(1) / steps,
            }
        hidden = torch.cat([statistics[name].to(hidden) for name in POOLED[network.readout_kind]], -1)
    return network.readout(hidden)
