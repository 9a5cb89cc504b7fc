"""What stands around the recurrence of a layer: a norm in front, a skip connection past it, a gate behind.

With r the cell of the layer, or both its cells merged, and x brought to the width of what r puts out by a linear layer
where it has another one:

    plain        y = r(x)                                     no linear layer either
    residual     y = x + r(x)
    prenorm      y = x + r(norm(x))
    glu          y = x + (A h + a) ⊙ σ(B h + b),              h = r(norm(x))
    gated_mlp    u = x + r(norm(x)),    y = u + C (gelu(G norm(u) + g) ⊙ (F norm(u) + f)) + c

norm is layer normalisation (J. L. Ba, J. R. Kiros & G. E. Hinton 2016, arXiv 1607.06450). ``glu`` is the layer around
linear recurrences of A. Gu et al., "On the parameterization and initialization of diagonal state space models" (2022),
arXiv 2206.11893, and A. Orvieto et al. (2023), arXiv 2303.06349, figure 1, whose nonlinearity GELU is in our cells;
that of S5 (2208.04933) has h in place of A h + a. ``gated_mlp`` is the residual block of S. De et al., "Griffin"
(2024), arXiv 2402.19427, section 2, with their expansion factor of 3, in which their recurrent branch is the cell
alone; the block of xLSTM's sLSTM (M. Beck et al. 2024, arXiv 2405.04517, figure 10) differs in its expansion of 4/3.

What is added to x is dropped first, a unit at a step, by ``model.dropout``; a plain stack drops between its layers.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Lengths

Kind = Literal["plain", "residual", "prenorm", "glu", "gated_mlp"]
Merge = Literal["concat", "sum", "mean", "product"]
EXPANSION = 3
"""Of the width within a gated MLP."""


class Block(nn.Module):
    """A block that is not plain, without its recurrence; it does with each step the same.

    Args:
        kind: see above.
        input_size: of x as it comes.
        size: of what the recurrence puts out, and of y.
    """

    def __init__(self, kind: Kind, input_size: int, size: int) -> None:
        super().__init__()
        self.kind = kind
        self.input = nn.Linear(input_size, size) if input_size != size else None
        self.norm = None if kind == "residual" else nn.LayerNorm(size)
        if kind == "glu":
            self.gate = nn.Linear(size, 2 * size)
        elif kind == "gated_mlp":
            self.second_norm = nn.LayerNorm(size)
            self.gate = nn.Linear(size, 2 * EXPANSION * size)
            self.output = nn.Linear(EXPANSION * size, size)

    def before(self, x: Tensor, lengths: Lengths | None = None) -> tuple[Tensor, Tensor]:
        """x ``(…, size)`` of its width, and what the recurrence reads; padding may hold anything."""
        # the gradients of the weights must not meet what padding holds
        x = x if lengths is None else zero_padding(x, lengths)
        x = x if self.input is None else self.input(x)
        return x, x if self.norm is None else self.norm(x)

    def after(self, x: Tensor, h: Tensor, dropout: nn.Module, lengths: Lengths | None = None) -> Tensor:
        """y ``(…, size)``, zero on padding.

        Args:
            x: as :meth:`before` gives it.
            h: of the recurrence.
            dropout: of what is added.
            lengths: ``(batch,)`` valid steps of each sequence.
        """
        if self.kind == "glu":
            h = F.glu(self.gate(h), -1)
        y = x + dropout(h)
        if self.kind == "gated_mlp":
            gate, value = self.gate(self.second_norm(y)).chunk(2, -1)
            y = y + dropout(self.output(F.gelu(gate) * value))
        return y if lengths is None else zero_padding(y, lengths)


def merged(how: Merge, forward: Tensor, backward: Tensor) -> Tensor:
    """What both directions of a layer put out, as one."""
    if how == "concat":
        return torch.cat([forward, backward], -1)
    if how == "product":
        return forward * backward
    both = forward + backward
    return both / 2 if how == "mean" else both
