"""Attention: which steps of what was read count for what is said next.

    e_ts = score(q_t, m_s)          how well step s of the memory fits the query of step t
    a_t  = softmax_s(e_ts)          over the valid steps alone
    c_t  = Σ_s a_ts m_s             the context

    additive  score(q, m) = vᵀ tanh(W q + U m + b)    D. Bahdanau, K. Cho & Y. Bengio, "Neural machine translation by
                                                      jointly learning to align and translate" (2015), appendix A.1.2
    general   score(q, m) = qᵀ W m                    M.-T. Luong, H. Pham & C. D. Manning, "Effective approaches to
    dot       score(q, m) = qᵀ m                      attention-based neural machine translation" (2015), equation 8

With coverage each score also knows how much attention a step has had already,
Σ_{t' < t} a_t's (A. See, P. J. Liu & C. D. Manning, "Get to the point:
summarization with pointer-generator networks" (2017), equations 10 and 11): as
w_c times it inside tanh, or, of the other scores, added to them.

Bahdanau et al. query with the decoder's state before the step; here, as in
Luong et al., with its output, for all scores: a whole sequence is then
attended to at once.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.errors import InputError

Score = Literal["additive", "general", "dot"]


class Memory(NamedTuple):
    """What was read, as a decoder looks at it.

    hidden
        ``(batch, time, units)`` the encoder's output, zero on padding.
    valid
        ``(batch, time)`` true where a step is no padding.
    keys
        What the scores are computed from, once for all steps of the decoder; its batch comes first.
    copies
        ``(batch, time)`` the token that says the same as the one that was read, -1 where there is none; ``None``
        where nothing is copied.
    """

    hidden: Tensor
    valid: Tensor
    keys: Tensor
    copies: Tensor | None = None

    def select(self, rows: Tensor) -> "Memory":
        """Of these sequences alone, ``(rows,)`` numbers of them, some perhaps several times."""
        hidden, valid, keys = (part.index_select(0, rows) for part in self[:3])
        return Memory(hidden, valid, keys, None if self.copies is None else self.copies.index_select(0, rows))


class Attention(nn.Module):
    """One head over a memory.

    Args:
        score: see the top of this file.
        query_size: of what asks.
        memory_size: of a step of the memory.
        coverage: whether a score knows how much attention a step has had already.

    Raises:
        InputError: ``dot`` of vectors of different size.
    """

    def __init__(self, score: Score, query_size: int, memory_size: int, coverage: bool = False) -> None:
        super().__init__()
        self.score = score
        self.of_coverage: nn.Linear | None = None
        if coverage:
            self.of_coverage = nn.Linear(1, query_size if score == "additive" else 1, bias=False)
        if score == "dot" and query_size != memory_size:
            raise InputError(
                f"model.attention=dot multiplies the decoder's {query_size} units with the encoder's {memory_size}: "
                "use model.attention=general, or model.bidirectional=false"
            )
        if score == "additive":
            self.of_query = nn.Linear(query_size, query_size)
            self.of_memory = nn.Linear(memory_size, query_size, bias=False)
            self.weigh = nn.Linear(query_size, 1, bias=False)
        elif score == "general":
            self.of_memory = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, hidden: Tensor) -> Tensor:
        """``(batch, time, query size)`` of a memory ``(batch, time, memory size)``."""
        return hidden if self.score == "dot" else self.of_memory(hidden)

    def forward(self, query: Tensor, memory: Memory, covered: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query: ``(batch, steps, query size)``; with coverage of one step alone.
            memory: with :meth:`keys`.
            covered: ``(batch, time)`` the sum of the weights of all steps before, with coverage.

        Returns:
            The context ``(batch, steps, memory size)``, and the weights ``(batch, steps, time)``.
        """
        had: Tensor | float = 0.0
        if self.of_coverage is not None and covered is not None:
            had = self.of_coverage(covered[:, None, :, None])
        if self.score == "additive":
            told = self.of_query(query)[:, :, None] + memory.keys[:, None] + had
            scores = self.weigh(told.tanh()).squeeze(-1)
        else:
            scores = query @ memory.keys.transpose(1, 2)
            scores = scores + had.squeeze(-1) if isinstance(had, Tensor) else scores
        weights = scores.masked_fill(~memory.valid[:, None], -torch.inf).softmax(-1)
        return weights @ memory.hidden, weights
