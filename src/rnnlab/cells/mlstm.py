"""The matrix LSTM of xLSTM: a memory of outer products, which trains in parallel over time.

    q_t = W_q x_t + b_q,    k_t = (W_k x_t + b_k)/√d,    v_t = W_v x_t + b_v        (d,) a head
    m_t = max(log f_t + m_{t-1}, ĩ_t)                     stabiliser
    i_t = exp(ĩ_t - m_t),    f'_t = exp(log f_t + m_{t-1} - m_t)
    C_t = f'_t C_{t-1} + i_t v_t k_tᵀ,    n_t = f'_t n_{t-1} + i_t k_t
    h_t = σ(õ_t) ⊙ C_t q_t / max(|n_tᵀ q_t|, exp(-m_t))

M. Beck et al., "xLSTM: extended long short-term memory" (2024), arXiv
2405.04517, section 2.3 and appendix A; ĩ and f̃ are one number a head, and
log f = log σ(f̃), or f̃ itself for the exponential forget gate. The stabiliser
cancels: h is that of the plain equations, whose exp would overflow, and whose
denominator is max(|nᵀ q|, 1). The paper's block around the cell (convolution,
norm, projections, skip) is not in it.

The gates see the input alone. With b_t = log f_1 + … + log f_t since the start
of a chunk, a step s lives on in t as exp(b_t - b_s + ĩ_s), so that within a chunk all
steps are one masked product of queries and keys, and C goes from chunk to chunk.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_heads
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, Hidden, HiddenSequence, Lengths, PositiveInt, Step

Matrices = Float[Tensor, "B N D D"]
Vectors = Float[Tensor, "B N D"]
Scalars = Float[Tensor, "B N"]
MLSTMState = tuple[Matrices, Vectors, Scalars]
"""C ``(batch, heads, d, d)``, n ``(batch, heads, d)`` and m ``(batch, heads)``; d is hidden/heads."""

LOWEST = -80.0
"""Of m, where exp(-m) is taken: below it exp would overflow, and h is 0 to all digits in any case."""


class MLSTM(Cell[MLSTMState]):
    """Rows of the weights are q, k, v, o (each ``hidden``), and those of the gates i, f (each ``heads``).

    As the authors' own code has it, the gates i and f start blind to their input:
    their weights zero, b_i N(0, 0.1²), b_f spread evenly over 3 to 6 (0 with the exponential
    forget gate, which would grow); the other weights N(0, 2/(5 features)), their biases zero.

    Args:
        input_size: features of a step.
        hidden_size: units, of all heads together.
        num_heads: memories side by side, of (hidden/heads)² numbers each; the paper's networks have 4.
        forget_gate: ``sigmoid`` or ``exponential``.
        chunk_size: steps that are computed at once; time and memory of a step go with it.
        backend: ``reference`` is the loop over ``step``, ``auto`` the chunkwise form.

    Raises:
        InputError: the units can't be shared out among the heads.
    """

    separable = False  # C and n are in units of exp m

    def __init__(
        self,
        input_size: PositiveInt,
        hidden_size: PositiveInt,
        num_heads: PositiveInt = 1,
        forget_gate: Literal["sigmoid", "exponential"] = "sigmoid",
        chunk_size: PositiveInt = 64,
        backend: Literal["auto", "reference"] = "auto",
    ) -> None:
        check_heads(num_heads, hidden_size)
        super().__init__(input_size, hidden_size)
        self.num_heads, self.forget_gate, self.chunk_size, self.backend = num_heads, forget_gate, chunk_size, backend
        self.weight_ih = nn.Parameter(torch.randn(4 * hidden_size, input_size) * (2 / (5 * input_size)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        self.weight_gates = nn.Parameter(torch.zeros(2 * num_heads, input_size))
        forget = torch.linspace(3, 6, num_heads) if forget_gate == "sigmoid" else torch.zeros(num_heads)
        self.bias_gates = nn.Parameter(torch.cat([0.1 * torch.randn(num_heads), forget]))

    def initial_state(self, batch_size: int) -> MLSTMState:
        heads, size = self.num_heads, self.hidden_size // self.num_heads
        zeros = self.weight_ih.new_zeros
        return zeros(batch_size, heads, size, size), zeros(batch_size, heads, size), zeros(batch_size, heads)

    def step(self, x: Step, state: MLSTMState) -> tuple[Hidden, MLSTMState]:
        matrix, n, m = state
        q, k, v, o = self._projections(x)
        log_i, log_f = self._log_gates(x)
        kept = log_f + m
        m = torch.maximum(kept, log_i)
        let_in, kept = (log_i - m).exp(), (kept - m).exp()
        matrix = kept[..., None, None] * matrix + let_in[..., None, None] * (v[..., :, None] * k[..., None, :])
        n = kept[..., None] * n + let_in[..., None] * k
        found = (matrix @ q[..., None])[..., 0]
        h = o * _normalised(found, (n * q).sum(-1), m)
        return h.flatten(1), (matrix, n, m)

    def _forward(self, x: Features, state: MLSTMState, lengths: Lengths | None) -> tuple[HiddenSequence, MLSTMState]:
        # (batch, heads, time, …)
        q, k, v, o = (projection.transpose(1, 2) for projection in self._projections(x))
        log_i, log_f = (gate.transpose(1, 2) for gate in self._log_gates(x))
        if lengths is not None:
            # what lets nothing in and keeps everything leaves the state as it is
            padding = (torch.arange(x.shape[1], device=x.device) >= lengths[:, None])[:, None]
            log_i, log_f = log_i.masked_fill(padding, -torch.inf), log_f.masked_fill(padding, 0.0)
        found = []
        chunks = (each.split(self.chunk_size, 2) for each in (q, k, v, log_i, log_f))
        for q, k, v, log_i, log_f in zip(*chunks, strict=True):
            h, state = _chunk(q, k, v, log_i, log_f, state)
            found.append(h)
        output = (o * torch.cat(found, 2)).transpose(1, 2).flatten(2)
        return zero_padding(output, lengths), state

    def memory(self, state: MLSTMState) -> Tensor:
        """C n/(nᵀ n): what C answers to the mean of all keys, in which the stabiliser cancels; 0 where it is empty."""
        matrix, n, _ = state
        size = n.square().sum(-1, keepdim=True)
        answer = (matrix @ n[..., None])[..., 0]
        return (answer / torch.where(size > 0, size, torch.ones_like(size))).flatten(1)

    def gates(self, x: Step, state: MLSTMState) -> dict[str, Tensor]:
        """The output gate and the forget gate, which units of a head share; the input gate has no upper bound."""
        log_f = self._log_gates(x)[1]
        gates = {"output": self._projections(x)[3].flatten(1)}
        if self.forget_gate == "sigmoid":
            gates["forget"] = log_f.exp().repeat_interleave(self.hidden_size // self.num_heads, 1)
        return gates

    def _projections(self, x: Tensor) -> tuple[Tensor, ...]:
        """q, k, v and the output gate, each ``(…, heads, d)``."""
        size = self.hidden_size // self.num_heads
        q, k, v, o = F.linear(x, self.weight_ih, self.bias).unflatten(-1, (4, self.num_heads, size)).unbind(-3)
        return q, k / size**0.5, v, o.sigmoid()

    def _log_gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log i and log f, each ``(…, heads)``."""
        i, f = F.linear(x, self.weight_gates, self.bias_gates).chunk(2, -1)
        return i, F.logsigmoid(f) if self.forget_gate == "sigmoid" else f


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, log_f: Tensor, state: MLSTMState
) -> tuple[Tensor, MLSTMState]:
    """Steps all at once: ``(batch, heads, time, d)`` or without d, to h before the output gate and the last state."""
    matrix, n, m = state
    left = log_f.cumsum(-1)
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
    # (…, t, s): log of what of step s there is in step t; and of the state at the start
    within = (left[..., :, None] - left[..., None, :] + log_i[..., None, :]).masked_fill(later, -torch.inf)
    before = left + m[..., None]
    stabiliser = torch.maximum(before, within.amax(-1))
    share, start = (within - stabiliser[..., None]).exp(), (before - stabiliser).exp()
    scores = share * (q @ k.transpose(-1, -2))
    found = scores @ v + start[..., None] * (q @ matrix.transpose(-1, -2))
    weight = scores.sum(-1) + start * (q @ n[..., None])[..., 0]
    # the last step is the next chunk's start
    last, kept = share[..., -1, :, None], start[..., -1]
    matrix = kept[..., None, None] * matrix + (last * v).transpose(-1, -2) @ k
    n = kept[..., None] * n + (last * k).sum(-2)
    return _normalised(found, weight, stabiliser), (matrix, n, stabiliser[..., -1])


def _normalised(found: Tensor, weight: Tensor, m: Tensor) -> Tensor:
    """C q ``(…, d)`` over max(|nᵀ q|, exp(-m)) ``(…)``."""
    return found / torch.maximum(weight.abs(), (-m.clamp_min(LOWEST)).exp())[..., None]
