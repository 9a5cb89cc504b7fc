"""GRU and LSTM by ONNX's own operators, which take a whole sequence and have a kernel of their own in runtimes.

ONNX has an operator of the simple RNN too, but onnxruntime 1.32's takes three
times as long as the loop over its step does (64 units, batch 32, 50 steps).
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.onnx import ops

from rnnlab.cells.cell import Cell
from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, State, Step
from rnnlab.use.export.step_graph import parts

ORDER: dict[type[Cell[Any]], tuple[int, ...]] = {GRU: (1, 0, 2), LSTM: (0, 3, 1, 2)}
"""Which of torch's gates stands where in ONNX: GRU z, r, h for r, z, n; LSTM i, o, f, c for i, f, g, o."""
VERSION = 14
"""Of both operators."""


class OnnxOperator(Cell[Any]):
    """A layer that is one operator of ONNX; it can be traced, but computes nothing by itself.

    Args:
        cell: a GRU or an LSTM, whose reset gate, as in torch, acts after the recurrent product.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor

    def __init__(self, cell: GRU | LSTM) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self._kind = type(cell)
        order = ORDER[self._kind]

        def ordered(weight: Tensor) -> Tensor:
            gates = weight.detach().chunk(len(order))
            return torch.cat([gates[gate] for gate in order])

        # one layer, one direction
        self.register_buffer("weight_ih", ordered(cell.weight_ih)[None])
        self.register_buffer("weight_hh", ordered(cell.weight_hh)[None])
        self.register_buffer("bias", torch.cat([ordered(cell.bias_ih), ordered(cell.bias_hh)])[None])

    def initial_state(self, batch_size: int) -> State:
        zeros = self.bias.new_zeros(batch_size, self.hidden_size)
        return (zeros, zeros.clone()) if self._kind is LSTM else zeros

    def step(self, x: Step, state: State) -> tuple[Hidden, State]:
        output, after = self._forward(x[:, None], state, None)
        return output[:, 0], after

    def _forward(self, x: Features, state: State, lengths: Lengths | None) -> tuple[HiddenSequence, State]:
        batch, time = x.shape[:2]
        start = parts(state)
        valid = None if lengths is None else lengths.to(torch.int32)
        weights = (self.weight_ih, self.weight_hh, self.bias)
        options: dict[str, Any] = {"hidden_size": self.hidden_size}
        if self._kind is GRU:
            options["linear_before_reset"] = 1
        layer = (1, batch, self.hidden_size)
        output, *final = ops.symbolic_multi_out(
            self._kind.__name__,
            (x.transpose(0, 1), *weights, valid, *[each[None] for each in start]),
            options,
            dtypes=[x.dtype] * (1 + len(start)),
            shapes=[(time, 1, batch, self.hidden_size), *[layer] * len(start)],
            version=VERSION,
        )
        after = tuple(each[0] for each in final)
        return zero_padding(output[:, 0].transpose(0, 1), lengths), after if self._kind is LSTM else after[0]


def has_operator(cell: Cell[Any]) -> TypeGuard[GRU | LSTM]:
    """Whether ONNX has an operator of this very cell."""
    return type(cell) in ORDER
