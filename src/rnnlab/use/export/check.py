"""Whether a file says what its run says: both are run on the same inputs, and held against each other."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from rnnlab.data.sequence import SequenceData
from rnnlab.network import Network
from rnnlab.runs.threads import one_thread
from rnnlab.shapes import Inputs, State
from rnnlab.spec import valid_steps
from rnnlab.use.export.base import History
from rnnlab.use.export.formats import Served
from rnnlab.use.export.step_graph import parts

LIMIT = 1e-5
"""Of the error relative to the largest value. Where the run's own rounding, as double precision shows it, is more than
a tenth of that (a network that amplifies what it reads), ten times this rounding."""
LONGEST = 200
"""Steps that are tried at most."""
TINY = 1e-6
"""Of which errors are taken where the largest value is smaller."""
TIMED = 0.1
"""Seconds for which calls of one size are timed, two of each at least."""


@dataclass(frozen=True)
class Case:
    """What came out at one size.

    Attributes:
        batch: sequences; in one call all but the first are shorter than ``time``.
        time: steps; in one call, and in two with the state handed on.
        absolute: the largest difference in any number of the output and of the state.
        relative: the same, each relative to the largest number of its tensor.
        rounding: as ``relative``, of the run in single against double precision.
        seconds: of a call of the file, and of the run, both on one thread.
    """

    batch: int
    time: int
    absolute: float
    relative: float
    rounding: float
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """All cases together.

    Attributes:
        cases: of each size.
        loss: what rounded weights cost, in words; ``None`` where none are.
    """

    cases: list[Case]
    loss: str | None = None

    @property
    def absolute(self) -> float:
        return max(case.absolute for case in self.cases)

    @property
    def relative(self) -> float:
        return max(case.relative for case in self.cases)

    @property
    def limit(self) -> float:
        """Of ``relative``."""
        return max(LIMIT, 10 * max(case.rounding for case in self.cases))

    @property
    def holds(self) -> bool:
        # so that what is not a number fails
        return self.relative <= self.limit


class Steps:
    """Steps in their order, from which inputs of any size are cut.

    Args:
        steps: ``(steps, features)``, or ``(steps,)`` token numbers.
    """

    def __init__(self, steps: Tensor) -> None:
        self.steps = steps

    @classmethod
    def of(cls, data: SequenceData) -> "Steps":
        """Those of the first batch of the test data, one sequence after the other."""
        data.setup("test")
        batch = next(iter(data.test_dataloader()))
        return cls(batch.inputs[valid_steps(batch.inputs, batch.lengths)])

    def cut(self, batch: int, time: int) -> Inputs:
        """``(batch, time, …)``, every sequence from another place, from the start again where there is no more."""
        starts = torch.arange(batch)[:, None] * (len(self.steps) // batch)
        return self.steps[(starts + torch.arange(time)) % len(self.steps)]


def sizes(length: int) -> list[tuple[int, int]]:
    """Batches and lengths that are tried for data of this length."""
    longest = max(3, min(length, LONGEST))
    return [(1, 1), (1, longest), (2, 2), (3, longest + 1), (32, longest)]


def check(served: Served, network: Network, steps: Steps, length: int, history: History | None = None) -> Verdict:
    """Runs a file and its network at several sizes.

    Args:
        served: the file.
        network: in evaluation mode.
        steps: to make inputs of.
        length: of the data's sequences.
        history: what the network's output is added to, and values for it to read.
    """
    exact = copy.deepcopy(network).double()
    with one_thread():
        return Verdict([_try(served, network, exact, steps, history, *size) for size in sizes(length)])


Call = tuple[Tensor, Tensor, Sequence[Tensor]]
"""``(batch, time, …)`` inputs, ``(batch,)`` lengths, and what the base reads."""


@torch.no_grad()
def _try(
    served: Served, network: Network, exact: Network, steps: Steps, history: History | None, batch: int, time: int
) -> Case:
    inputs = steps.cut(batch, time)
    lengths = torch.linspace(time, 1, batch).round().long()
    past = [] if history is None else history.cut(batch, time)
    calls: list[list[Call]] = [[(inputs, lengths, past)]]
    if time > 1 and network.streams:
        half = -(-time // 2)
        calls.append([
            (
                inputs[:, start:end],
                torch.full((batch,), end - start),
                [] if history is None else history.part(past, start, end),
            )
            for start, end in ((0, half), (half, time))
        ])  # fmt: skip
    found = [_compare(served, network, exact, history, each) for each in calls]
    absolute, relative, rounding = (max(each) for each in zip(*found, strict=True))
    return Case(batch, time, absolute, relative, rounding, _seconds(served, network, inputs, past))


def _compare(
    served: Served, network: Network, exact: Network, history: History | None, calls: Sequence[Call]
) -> tuple[float, float, float]:
    """The largest error, absolute and relative, and the run's own rounding, over calls that hand on their states."""
    (inputs, *_), *_ = calls
    own, double = (tuple(net.initial_state(len(inputs))) if net.streams else None for net in (network, exact))
    state = _tensors(own)
    absolute = relative = rounding = 0.0
    for chunk, lengths, past in calls:
        output, *state = served(chunk, lengths, state, past)
        expected, own = network(chunk, own, lengths)
        precise, double = exact(chunk.double() if chunk.is_floating_point() else chunk, double, lengths)
        if history is not None:
            expected, precise = (history.added(each, past) for each in (expected, precise))
        triples = zip([output, *state], [expected, *_tensors(own)], [precise, *_tensors(double)], strict=True)
        for ours, theirs, truth in triples:
            scale = max(float(theirs.abs().max()), TINY)
            error = float((ours - theirs).abs().max())
            # not a number is larger than any, which Python's max does not know
            absolute, relative = (
                max(was, now) if now == now else math.inf for was, now in ((absolute, error), (relative, error / scale))
            )
            rounding = max(rounding, float((theirs - truth).abs().max()) / scale)
    return absolute, relative, rounding


def _tensors(states: Sequence[State] | None) -> list[Tensor]:
    return [part for state in states or () for part in parts(state)]


def _seconds(served: Served, network: Network, inputs: Tensor, past: Sequence[Tensor]) -> tuple[float, float]:
    """The median of a call of each, turn by turn."""
    batch, steps = inputs.shape[:2]
    lengths = torch.full((batch,), steps)
    state = _tensors(tuple(network.initial_state(batch))) if network.streams else []
    calls: list[Callable[[], Any]] = [lambda: served(inputs, lengths, state, past), lambda: network(inputs)]
    taken: list[list[float]] = [[], []]
    begun = perf_counter()
    while len(taken[0]) < 2 or perf_counter() - begun < TIMED:
        for call, times in zip(calls, taken, strict=True):
            started = perf_counter()
            call()
            times.append(perf_counter() - started)
    ours, theirs = map(median, taken)
    return ours, theirs
