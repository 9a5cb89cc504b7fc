"""The contract of a recurrence."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Generic, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.checks import check_call, check_step, check_traced, is_transformed
from rnnlab.cells.states import S, at_the_end, detach_state, last_valid, map_state, reverse_valid, where_valid
from rnnlab.cells.torch_kernels import Kernel, Weights, run_kernel
from rnnlab.errors import InputError
from rnnlab.kernels import run
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import is_stacked, is_tracing
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, Step

__all__ = ["Cell", "S", "at_the_end", "detach_state", "last_valid", "map_state", "reverse_valid"]


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

    def __setattr__(self, name: str, value: Any) -> None:
        # a method of that name would hide the module or parameter from whoever reads it
        if isinstance(value, nn.Module | Tensor) and hasattr(Cell, name):
            raise InputError(f"{type(self).__name__}.{name}: every cell has a method of this name; take another for it")
        super().__setattr__(name, value)

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
            made = self.step(x_t, state)
            if not t:
                check_step(self, made, state, len(x))
            output, new_state = made
            if record is not None:
                record.append(new_state)
            if lengths is not None:
                valid = partial(where_valid, t < lengths)
                output = valid(output, torch.zeros_like(output))
                new_state = map_state(valid, new_state, state)
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
        """The fastest path that there is: here the layer that is derived from ``step``, or torch's own kernel.

        A class of which a parallel scan is faster has another one; ``x`` is zero on padding there, unless the class
        says :attr:`takes_padding`.
        """
        preferred = self.backend == "torch" or (self.backend == "auto" and (x.is_cuda or self.prefers_torch(lengths)))
        # torch's kernels know no members
        if preferred and not is_stacked() and self.torch_kernel() is not None:
            return self._otherwise(zero_padding(x, lengths), state, lengths)
        return run(self, x, state, lengths, self._otherwise)

    def _otherwise(self, x: Features, state: S, lengths: Lengths | None) -> tuple[HiddenSequence, S]:
        """Where no layer is derived: torch's own kernel, or the loop; ``x`` is zero on padding."""
        torchs = self.torch_kernel()
        return self._unroll(x, state, lengths) if torchs is None else run_kernel(*torchs, x, state, lengths)

    def torch_kernel(self) -> tuple[Kernel, Weights] | None:
        """Torch's own function for such a layer, and the weights that it takes; ``None`` where torch has none."""
        return None

    def prefers_torch(self, lengths: Lengths | None) -> bool:
        """Whether on a CPU :meth:`torch_kernel` is faster than the layer that is derived from ``step``."""
        return False

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


def _call(cell: Cell[Any], *arguments: Any) -> Any:
    return cell.forward(*arguments)


_uncompiled = torch.compiler.disable(_call)
"""A layer as it runs without ``torch.compile``, which would write the loop over its steps out, one by one."""
