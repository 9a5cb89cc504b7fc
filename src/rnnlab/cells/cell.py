"""The contract of a recurrence."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.checks import check_call, check_traced, is_transformed
from rnnlab.errors import InputError
from rnnlab.kernels import run
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import is_stacked, is_tracing
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, State, StateSequence, StateStep, Step

S = TypeVar("S", bound=State)


class Cell(nn.Module, ABC, Generic[S]):
    """One layer, one direction of a recurrent network, with a state of type ``S``.

    A cell says how its state starts and how one step updates it; ``unroll`` is
    then the definition of the layer. A faster path to the same values and
    gradients may stand in ``_forward``: it is called with arguments that were
    checked, and only where it applies. Under one level of ``torch.func.vmap`` a
    layer runs for all members together (:mod:`rnnlab.kernels.members`); other
    transforms of ``torch.func``, forward-mode derivatives and
    ``torch.jit.trace`` get the loop over ``step``; under ``torch.compile`` a
    layer runs as it does without.
    """

    backend: str = "auto"
    """``reference`` is always the loop over ``step``; ``eager`` on a CPU, too, what runs on a GPU."""
    separable: bool = True
    """Whether each number of the state means the same whatever the others are, so that it may be kept while they move
    on (:mod:`rnnlab.cells.zoneout`)."""
    uses_elapsed: ClassVar[bool] = False
    """Whether it knows what to do with the time since the step before. Such a class has an argument ``elapsed``, false
    by default, which the network says of its data: the last feature is that time (:meth:`_since`)."""
    uses_masks: ClassVar[bool] = False
    """Whether it knows what to do with features that are missing. Such a class has an argument ``masks``, as
    :attr:`rnnlab.spec.InputSpec.masks`."""
    elapsed: bool = False
    """Whether the last feature is the time since the step before."""
    masks: Sequence[Sequence[int]] = ()
    """Of the features, where it was told which are missing."""
    starts_anywhere: ClassVar[bool] = True
    """Whether it can go on from a state of any real numbers."""
    takes_padding: ClassVar[bool] = True
    """Whether ``_forward`` takes an input that holds anything on padding, not-a-number included. A class with a
    ``_forward`` of its own that doesn't say so is handed zeros there."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            raise InputError(f"{cls.__name__}.forward: a cell's faster path is named _forward, Cell.forward calls it")
        # it is said of the _forward that this class has, wherever it stands
        owner = next(each for each in cls.__mro__ if "_forward" in vars(each))
        cls.takes_padding = vars(owner).get("takes_padding", False)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

    @abstractmethod
    def initial_state(self, batch_size: int) -> S:
        """The state before the first step, each tensor ``(batch, …)``, zero unless the paper says otherwise."""

    @abstractmethod
    def step(self, x: Step, state: S) -> tuple[Hidden, S]:
        """One time step: ``(batch, features)`` and a state to ``(batch, hidden)`` and the next state."""

    @final
    def unroll(
        self, x: Features, state: S | None = None, lengths: Lengths | None = None, record: list[S] | None = None
    ) -> tuple[HiddenSequence, S]:
        """The obvious loop over ``step``: the reference that every faster path must equal.

        Args:
            x: ``(batch, time, features)``.
            state: of the step before the first; ``initial_state`` by default.
            lengths: ``(batch,)`` valid steps of each sequence. Beyond them the
                output is zero and the state stays what it was.
            record: each step's state is appended to it just as ``step`` gave
                it, so that a loss can be differentiated with respect to it.

        Returns:
            Outputs ``(batch, time, hidden)`` and each sequence's state after
            its last valid step.
        """
        check_call(self, x, state, lengths)
        state = self.initial_state(len(x)) if state is None else state
        return self._unroll(zero_padding(x, lengths), state, lengths, record)

    def _unroll(
        self, x: Features, state: S, lengths: Lengths | None = None, record: list[S] | None = None
    ) -> tuple[HiddenSequence, S]:
        outputs = []
        # unbind, since indexing x[:, t] would make the backward pass quadratic in time
        for t, x_t in enumerate(x.unbind(1)):
            output, new_state = self.step(x_t, state)
            if record is not None:
                record.append(new_state)
            if lengths is not None:
                where_valid = partial(_where, t < lengths)
                output = where_valid(output, torch.zeros_like(output))
                new_state = map_state(where_valid, new_state, state)
            outputs.append(output)
            state = new_state
        return torch.stack(outputs, 1), state

    @final  # type: ignore[misc]  # nn.Module declares it as an attribute
    def forward(self, x: Features, state: S | None = None, lengths: Lengths | None = None) -> tuple[HiddenSequence, S]:
        """As ``unroll``, by the fastest path that there is.

        Args:
            x: ``(batch, time, features)``; padding may hold anything, not-a-number included.
            state: of the step before the first; ``initial_state`` by default.
            lengths: ``(batch,)`` valid steps of each sequence, from 0 to ``time``.

        Raises:
            InputError: a size, a type or a device doesn't fit the cell (:mod:`rnnlab.cells.checks`).
        """
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            return _uncompiled(self, x, state, lengths)
        longest: int | None = x.shape[1]
        if not is_tracing() and not torch.compiler.is_exporting():
            longest = check_call(self, x, state, lengths)
        check_traced(self)
        start = self.initial_state(len(x)) if state is None else state
        lengths = None if lengths is None else lengths.long()
        if longest == 0 or x.shape[0] == 0:
            # one step suffices for a graph that reaches every argument
            output, last = self._unroll(zero_padding(x[:, :1], lengths), start, lengths)
            return F.pad(output, (0, 0, 0, x.shape[1] - 1)), last
        if self.backend == "reference" or (is_transformed() and not is_stacked()):
            return self._unroll(zero_padding(x, lengths), start, lengths)
        return self._forward(x if self.takes_padding else zero_padding(x, lengths), start, lengths)

    def _forward(self, x: Features, state: S, lengths: Lengths | None) -> tuple[HiddenSequence, S]:
        """A faster path than the layer that is derived from ``step``; ``x`` is zero on padding, unless the class says
        :attr:`takes_padding`.
        """
        return run(self, x, state, lengths)

    def _since(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """The other features ``(…, features)``, and the time ``(…, 1)`` since the step before: 1 where nobody told."""
        return (x[..., :-1], x[..., -1:]) if self.elapsed else (x, 1.0)

    # ---- what an observer asks ------------------------------------------------------------------

    @property
    def title(self) -> str:
        """What it is called in tables, pictures and messages."""
        return type(self).__name__

    def memory(self, state: S) -> Tensor:
        """``(batch, hidden)``: the part of a state that is plotted as the hidden state, by default its first tensor."""
        return state if isinstance(state, Tensor) else state[0]

    def gates(self, x: Step, state: S) -> dict[str, Tensor]:
        """The gates of one :meth:`step` from this state, by name: each ``(batch, hidden)`` within 0 and 1; none by
        default.
        """
        return {}

    def recurrent_weights(self) -> dict[str, Tensor]:
        """The ``(hidden, hidden)`` matrices through which the hidden state acts on its successor, by gate."""
        return {}


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _uncompiled(cell: Cell[Any], *arguments: Any) -> Any:
    """A layer as it runs without ``torch.compile``, which would write the loop over its steps out, one by one."""
    return cell.forward(*arguments)


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """Applies ``function`` to the tensors of one state, or to those of several alike, side by side."""
    if isinstance(states[0], Tensor):
        return function(*states)  # type: ignore[return-value]
    return tuple(function(*tensors) for tensors in zip(*states, strict=True))  # type: ignore[return-value]


def detach_state(state: S) -> S:
    """The same state with no history: where truncated backpropagation through time cuts."""
    return map_state(Tensor.detach, state)


def reverse_valid(x: Tensor, lengths: Lengths | None = None) -> Tensor:
    """Turns ``(batch, time, …)`` around in time, each sequence within its own length; padding stays at the end."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return x.gather(1, _like(index, x).expand_as(x))


def last_valid(
    output: StateSequence, start: StateStep, lengths: Lengths | None = None
) -> tuple[StateSequence, StateStep]:
    """What a layer whose state is its output gives, when it has run over the padding too.

    Args:
        output: ``(batch, time, hidden)``.
        start: ``(batch, hidden)``, the state before the first step.
        lengths: ``(batch,)`` valid steps of each sequence.

    Returns:
        The output, zero on padding, and each sequence's output after its last valid step.
    """
    if lengths is None:
        return output, output[:, -1]
    return zero_padding(output, lengths), at_the_end(output, start, lengths)


def at_the_end(output: StateSequence, start: StateStep, lengths: Lengths) -> StateStep:
    """``(batch, hidden)`` of each sequence's last valid step in ``(batch, time, hidden)``, ``start`` without any."""
    rows = torch.arange(len(output), device=output.device)
    return torch.where((lengths > 0)[:, None], output[rows, (lengths - 1).clamp_min(0)], start)


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(_like(mask, yes), yes, no)


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (tensor.dim() - mask.dim()))
