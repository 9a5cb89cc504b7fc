"""Attention: which steps of what was read count for what is said next.

    e_ts = score(q_t, m_s)          how well step s of the memory fits the query of step t
    a_t  = softmax_s(e_ts)          over the valid steps alone
    c_t  = Σ_s a_ts m_s             the context

    additive  score(q, m) = vᵀ tanh(W q + U m + b)    D. Bahdanau, K. Cho & Y. Bengio, "Neural machine translation by
                                                      jointly learning to align and translate" (2015), appendix A.1.2
    general   score(q, m) = qᵀ W m                    M.-T. Luong, H. Pham & C. D. Manning, "Effective approaches to
    dot       score(q, m) = qᵀ m                      attention-based neural machine translation" (2015), equation 8

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
    """

    hidden: Tensor
    valid: Tensor
    keys: Tensor

    def select(self, rows: Tensor) -> "Memory":
        """Of these sequences alone, ``(rows,)`` numbers of them, some perhaps several times."""
        return Memory(*(part.index_select(0, rows) for part in self))


class Attention(nn.Module):
    """One head over a memory.

    Args:
        score: see the top of this file.
        query_size: of what asks.
        memory_size: of a step of the memory.

    Raises:
        InputError: ``dot`` of vectors of different size.
    """

    def __init__(self, score: Score, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.score = score
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

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            query: ``(batch, steps, query size)``.
            memory: with :meth:`keys`.

        Returns:
            The context ``(batch, steps, memory size)``, and the weights ``(batch, steps, time)``.
        """
        if self.score == "additive":
            scores = self.weigh((self.of_query(query)[:, :, None] + memory.keys[:, None]).tanh()).squeeze(-1)
        else:
            scores = query @ memory.keys.transpose(1, 2)
        weights = scores.masked_fill(~memory.valid[:, None], -torch.inf).softmax(-1)
        return weights @ memory.hidden, weights
