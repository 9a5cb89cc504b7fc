"""A memory of outer products under the delta rule, which trains in parallel over time.

    q_t, k_t = normed(silu(W_q x_t + b_q)), normed(silu(W_k x_t + b_k)),    v_t = silu(W_v x_t + b_v)     (d,) a head
    β_t = σ(W_β x_t + b_β)                                      one number a head
    S_t = S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ             what was stored under k gives way to v
    h_t = g ⊙ S_t q_t / rms(S_t q_t)                            rms over a head's numbers

S. Yang, B. Wang, Y. Zhang, Y. Shen & Y. Kim, "Parallelizing linear transformers with the delta rule over sequence
length" (2024), arXiv 2406.06484, sections 2.2 and 3; the rule of I. Schlag, K. Irie & J. Schmidhuber, "Linear
transformers are secretly fast weight programmers" (2021), arXiv 2102.11174. The paper's short convolutions behind the
projections are ``model.short_conv=4`` here, in front of all of them; its norm, skip connection and gated MLP are
``model.block=gated_mlp``, and its output projection is whatever linear layer is behind.

Within a chunk that starts from S the rows u_t = β_t (v_t - S_{t-1} k_t) solve one triangular system (the WY
representation, section 3.2),

    (I + diag(β) tril(K Kᵀ, -1)) U = diag(β) (V - K Sᵀ),    h = Q Sᵀ + tril(Q Kᵀ) U,    S ← S + Uᵀ K.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_heads
from rnnlab.cells.diagonal_recurrence import wide
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step

Matrices = Float[Tensor, "B N D D"]
TINY = 1e-6
"""Added to a sum or a mean of squares, whose inverse root it bounds."""


class DeltaNet(Cell[Matrices]):
    """Rows of the weights are q, k, v (each ``hidden``) and β (``heads``); they start as those of ``nn.Linear``. (The
    authors' have no biases; with them a cell can ask for what it has stored when its input says nothing.)

    Args:
        input_size: features of a step.
        hidden_size: units, of all heads together.
        num_heads: memories side by side, of (hidden/heads)² numbers each.
        chunk_size: steps that are computed at once; time and memory of a step go with it.
        backend: ``reference`` is the loop over ``step``, ``auto`` the chunkwise form.

    Raises:
        InputError: the units can't be shared out among the heads.
    """

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_heads: PositiveInt = 1,
        chunk_size: PositiveInt = 64,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        check_heads(num_heads, hidden_size)
        super().__init__(input_size, hidden_size)
        self.num_heads, self.chunk_size, self.backend = num_heads, chunk_size, backend
        self.input = nn.Linear(input_size, 3 * hidden_size + num_heads)
        self.scale = nn.Parameter(torch.ones(hidden_size))

    def initial_state(self, batch_size: int) -> Matrices:
        size = self.hidden_size // self.num_heads
        return self.scale.new_zeros(batch_size, self.num_heads, size, size)

    def step(self, x: Step, state: Matrices) -> tuple[Hidden, Matrices]:
        q, k, v, beta = self._projections(x)
        stored = (state @ k[..., None])[..., 0]
        state = state + (beta[..., None] * (v - stored))[..., :, None] * k[..., None, :]
        return self._output((state @ q[..., None])[..., 0]), state

    def _forward(self, x: Features, state: Matrices, lengths: Lengths | None) -> tuple[HiddenSequence, Matrices]:
        # (batch, heads, time, …); of half precision there is no triangular system
        q, k, v, beta = (wide(part.transpose(1, 2)) for part in self._projections(x))
        if lengths is not None:  # what stores nothing leaves the memory as it is
            beta = beta.masked_fill((torch.arange(x.shape[1], device=x.device) >= lengths[:, None])[:, None], 0.0)
        memory, outputs = wide(state), []
        chunks = (part.split(self.chunk_size, 2) for part in (q, k, v, beta))
        for q, k, v, beta in zip(*chunks, strict=True):
            h, memory = _chunk(q, k, v, beta, memory)
            outputs.append(h)
        output = self._output(torch.cat(outputs, 2).transpose(1, 2)).to(x.dtype)
        return zero_padding(output, lengths), memory.to(state.dtype)

    def memory(self, state: Matrices) -> Tensor:
        """The mean of what is stored under the d axes of the keys' space."""
        return state.mean(-1).flatten(1)

    def gates(self, x: Step, state: Matrices) -> dict[str, Tensor]:
        """β, how much of what is stored is replaced, which the units of a head share."""
        return {"write": self._projections(x)[3].repeat_interleave(self.hidden_size // self.num_heads, 1)}

    def _projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k and v, each ``(…, heads, d)``, and β ``(…, heads)``."""
        units, beta = self.input(x).split([3 * self.hidden_size, self.num_heads], -1)
        size = self.hidden_size // self.num_heads
        q, k, v = F.silu(units).unflatten(-1, (3, self.num_heads, size)).unbind(-3)
        return _normed(q), _normed(k), v, beta.sigmoid()

    def _output(self, h: Tensor) -> Tensor:
        """``(…, heads, d)`` as ``(…, hidden)``, each head of mean square one."""
        return self.scale * (h * (h.square().mean(-1, keepdim=True) + TINY).rsqrt()).flatten(-2)


def _normed(x: Tensor) -> Tensor:
    return x * (x.square().sum(-1, keepdim=True) + TINY).rsqrt()


def _chunk(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Steps all at once: ``(batch, heads, time, d)``, β without d, to S q and the last S."""
    beta, keys = beta[..., None], k.transpose(-1, -2)
    met = (beta * (k @ keys)).tril(-1)
    entering = beta * (v - k @ memory.transpose(-1, -2))
    # its diagonal is taken for ones
    u = torch.linalg.solve_triangular(met, entering, upper=False, unitriangular=True)
    h = q @ memory.transpose(-1, -2) + (q @ keys).tril() @ u
    return h, memory + u.transpose(-1, -2) @ k
