"""A long short-term memory at every place of an image, which sees its neighbours.

    i_t = σ(W_xi * X_t + W_hi * H_{t-1} + W_ci ⊙ C_{t-1} + b_i)      input gate
    f_t = σ(W_xf * X_t + W_hf * H_{t-1} + W_cf ⊙ C_{t-1} + b_f)      forget gate
    C_t = f_t ⊙ C_{t-1} + i_t ⊙ tanh(W_xc * X_t + W_hc * H_{t-1} + b_c)
    o_t = σ(W_xo * X_t + W_ho * H_{t-1} + W_co ⊙ C_t + b_o)          output gate
    H_t = o_t ⊙ tanh(C_t)                                            * is a convolution over places

X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong & W.-C. Woo, "Convolutional
LSTM network: a machine learning approach for precipitation nowcasting" (2015),
arXiv 1506.04214, equation 3. As they say there, an LSTM is the same at a single
place; that is what it is on data without frames.

The weights W_ci, W_cf and W_co (peepholes) are those of a place in the paper;
here they are of a channel, the same at all places, as everything else is.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.initialization import initialize_
from rnnlab.errors import InputError
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step

Maps = Float[Tensor, "B C Y X"]
"""``(batch, channels, height, width)``."""
GateMaps = Float[Tensor, "B G Y X"]
"""The same of all gates, their channels one after the other."""
ConvLSTMState = tuple[Maps, Maps]
"""H and C."""


class ConvLSTM(Cell[ConvLSTMState]):
    """Reads and puts out frames as rows of numbers: channel after channel, row by row.

    Args:
        input_size: features of a step, ``channels * height * width``.
        hidden_size: of a step of the output, ``channels * height * width`` with its own number of channels.
        kernel_size: places of a side of what a place sees; odd.
        peepholes: the gates see the memory C, too.
        init: see :mod:`rnnlab.cells.initialization`, of the middle of each kernel; around it recurrent weights start
            small, and the forget gate's bias at 1.
        backend: ``reference`` is the loop over ``step``; with ``auto`` the input is convolved for all steps at once.
        places: height and width; the network says it of its data.

    Raises:
        InputError: the kernel has no middle, or the sizes are no whole number of places.
    """

    on_places: ClassVar[bool] = True

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        kernel_size: PositiveInt = 3,
        peepholes: bool = True,
        init: Literal["orthogonal", "torch"] = "orthogonal",
        backend: Literal["auto", "reference"] = "auto",
        places: Sequence[PositiveInt] = (1, 1),
    ) -> None:
        super().__init__(input_size, hidden_size)
        height, width = places
        if kernel_size % 2 == 0:
            raise InputError(
                f"model.cell.kernel_size={kernel_size} has no middle: give {kernel_size - 1} or {kernel_size + 1}"
            )
        if input_size % (height * width) or hidden_size % (height * width):
            raise InputError(
                f"model.cell.places=[{height},{width}]: {input_size} features and {hidden_size} units are not as many "
                "at each place: leave it out, since the data says it"
            )
        self.backend, self.places, self.padding = backend, (height, width), kernel_size // 2
        self.channels, inputs = hidden_size // (height * width), input_size // (height * width)
        self.weight_ih = nn.Parameter(torch.empty(4 * self.channels, inputs, kernel_size, kernel_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * self.channels, self.channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(4 * self.channels))
        self.peepholes = nn.Parameter(torch.zeros(3, self.channels, 1, 1)) if peepholes else None
        self._initialize(init)

    @torch.no_grad()
    def _initialize(self, init: Literal["orthogonal", "torch"]) -> None:
        middle = self.padding
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.normal_(self.weight_hh, std=0.1 / self.weight_hh[0].numel() ** 0.5)
        weight_ih, weight_hh = torch.empty_like(self.weight_ih[..., 0, 0]), torch.empty_like(self.weight_hh[..., 0, 0])
        initialize_(init, weight_ih, weight_hh, self.bias)
        self.weight_hh[..., middle, middle] = weight_hh
        if self.places == (1, 1):  # the rest is never seen
            self.weight_ih[..., middle, middle] = weight_ih
        if init == "orthogonal":
            nn.init.ones_(self.bias[self.channels : 2 * self.channels])

    def initial_state(self, batch_size: int) -> ConvLSTMState:
        zeros = self.weight_hh.new_zeros(batch_size, self.channels, *self.places)
        return zeros, zeros

    def step(self, x: Step, state: ConvLSTMState) -> tuple[Hidden, ConvLSTMState]:
        return self._step(self._read(x), state)

    def _read(self, x: Tensor) -> GateMaps:
        """What the input says to the gates and the candidate, of ``(batch, features)``."""
        return F.conv2d(x.unflatten(1, (-1, *self.places)), self.weight_ih, self.bias, padding=self.padding)

    def _step(self, read: GateMaps, state: ConvLSTMState) -> tuple[Hidden, ConvLSTMState]:
        before, memory = state
        i, f, g, o = self._before_squashing(read, before, memory)
        memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
        if self.peepholes is not None:
            o = o + self.peepholes[2] * memory
        output = o.sigmoid() * memory.tanh()
        return output.flatten(1), (output, memory)

    def _before_squashing(self, read: GateMaps, before: Maps, memory: Maps) -> tuple[Tensor, ...]:
        """i, f, g, o, the last one without what it sees of the memory after the step."""
        i, f, g, o = (read + F.conv2d(before, self.weight_hh, padding=self.padding)).chunk(4, 1)
        if self.peepholes is not None:
            i, f = i + self.peepholes[0] * memory, f + self.peepholes[1] * memory
        return i, f, g, o

    def _forward(
        self, x: Features, state: ConvLSTMState, lengths: Lengths | None
    ) -> tuple[HiddenSequence, ConvLSTMState]:
        batch, time, _ = x.shape
        outputs = []
        for t, read in enumerate(self._read(x.flatten(0, 1)).unflatten(0, (batch, time)).unbind(1)):
            output, after = self._step(read, state)
            if lengths is not None:
                valid = t < lengths
                output = output.where(valid[:, None], 0.0)
                here = valid[:, None, None, None]
                after = (after[0].where(here, state[0]), after[1].where(here, state[1]))
            outputs.append(output)
            state = after
        return torch.stack(outputs, 1), state

    @property
    def title(self) -> str:
        height, width = self.places
        return "ConvLSTM" if height * width == 1 else f"ConvLSTM of {height} x {width} places"

    def memory(self, state: ConvLSTMState) -> Tensor:
        return state[0].flatten(1)

    def gates(self, x: Step, state: ConvLSTMState) -> dict[str, Tensor]:
        read = self._read(x)
        i, f, _, o = self._before_squashing(read, *state)
        if self.peepholes is not None:
            o = o + self.peepholes[2] * self._step(read, state)[1][1]
        return {name: gate.sigmoid().flatten(1) for name, gate in (("input", i), ("forget", f), ("output", o))}

    def recurrent_weights(self) -> dict[str, Tensor]:
        """At a single place; of several the map from one hidden state to the next is no matrix of weights."""
        if self.places != (1, 1):
            return {}
        middle = self.weight_hh[..., self.padding, self.padding]
        return dict(zip(("input", "forget", "candidate", "output"), middle.chunk(4), strict=True))
