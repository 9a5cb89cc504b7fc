"""A recurrent decoder: from what was read to a sequence of its own length.

    s_0 = bridge(final states of the encoder)
    s_t = cell([E y_{t-1}; f_{t-1}], s_{t-1})        f: the attentional vector before, with input feeding
    c_t = attention(s_t, memory)
    h_t = tanh(W [c_t; s_t])                         the attentional vector, which is read out

I. Sutskever, O. Vinyals & Q. V. Le, "Sequence to sequence learning with neural
networks" (2014); M.-T. Luong, H. Pham & C. D. Manning, "Effective approaches to
attention-based neural machine translation" (2015), equations 5 and section 3.3
(input feeding). With coverage the attention knows where it has looked before; with a pointer a step copies a token that
was read, or says one of its own:

    P(w) = p P_own(w) + (1 - p) Σ_{i: token i is w} a_ti        p = σ(w h_t + b)

A. See, P. J. Liu & C. D. Manning, "Get to the point: summarization with
pointer-generator networks" (2017), equations 8 to 11. There p is of the context,
the state and the token before; here of h_t, which holds the first two. What
looks at a token that cannot be said counts for P_own.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from rnnlab.attention import Attention, Memory, Score
from rnnlab.cells.cell import Cell, map_state
from rnnlab.dropout import LayerDropout, drops
from rnnlab.errors import InputError
from rnnlab.shapes import State

BridgeKind = Literal["copy", "linear", "none"]


class DecoderState(NamedTuple):
    """What a decoder carries from token to token.

    cells
        The state of each layer.
    fed
        ``(batch, hidden)`` the attentional vector of the step before; ``None`` without input feeding.
    covered
        ``(batch, time)`` how much attention each step of the memory has had; ``None`` without coverage.
    """

    cells: tuple[State, ...]
    fed: Tensor | None
    covered: Tensor | None = None

    def select(self, rows: Tensor) -> "DecoderState":
        """Of these sequences alone, ``(rows,)`` numbers of them, some perhaps several times."""
        cells = tuple(map_state(lambda part: part.index_select(0, rows), state) for state in self.cells)
        fed, covered = (None if part is None else part.index_select(0, rows) for part in (self.fed, self.covered))
        return DecoderState(cells, fed, covered)


class Bridge(nn.Module):
    """Where a decoder starts from.

    ``copy``: each layer from the state in which the encoder's layer of the same
    number left its sequence, reading forwards; a part of a state whose shape is
    another one there starts afresh. ``linear``: each part of each state from
    what the encoder's last layer says at its end (or both its ends), through a
    linear layer and tanh. ``none``: every sequence from the same state.

    Args:
        kind: of the three.
        cells: of the decoder, the first layer's first.
        summary_size: of what the encoder says at its end.

    Raises:
        InputError: ``linear`` for a state that holds other than real numbers.
    """

    def __init__(self, kind: BridgeKind, cells: Sequence[Cell[Any]], summary_size: int) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.ModuleList()
        if kind != "linear":
            return
        for cell in cells:
            for part in _parts(cell.initial_state(1)):
                if not part.is_floating_point():
                    raise InputError(
                        f"model.bridge=linear makes real numbers, and the state of a {cell.title} has others: use "
                        "model.bridge=copy or none"
                    )
                self.linear.append(nn.Linear(summary_size, part[0].numel()))

    def forward(self, starts: Sequence[State], final: Sequence[State], summary: Tensor) -> tuple[State, ...]:
        """The state of each layer before the first token.

        Args:
            starts: as the cells' own ``initial_state`` has them.
            final: of the encoder's layers.
            summary: ``(batch, summary size)``.
        """
        if self.kind == "none":
            return tuple(starts)
        if self.kind == "linear":
            layers = iter(self.linear)
            return tuple(map_state(lambda part: next(layers)(summary).tanh().view_as(part), state) for state in starts)
        return tuple(
            map_state(lambda own, other: other if own.shape == other.shape else own, start, state)
            for start, state in zip(starts, final, strict=True)
        )


class Decoder(nn.Module):
    """A stack of cells over the tokens that were said, looking at what was read.

    Args:
        tokens: that can be said; a further one, of this number, stands for the start.
        embedding_size: of a token.
        hidden_size: units of each layer.
        cells: makes the cell of a layer, from the size of its input.
        num_layers: layers on top of each other.
        memory_size: units of a step of what was read.
        attention: its score; ``None`` for none.
        input_feeding: each step also reads the attentional vector of the step before.
        dropout: share of the units dropped between layers.
        embedding_dropout: share of the channels of the embedding that are dropped, the same at all steps.
        coverage: the attention knows how much it has looked at each step before.
        pointer: a step may copy a token that was read.
    """

    def __init__(
        self,
        tokens: int,
        embedding_size: int,
        hidden_size: int,
        cells: Callable[[int], Cell[Any]],
        num_layers: int,
        memory_size: int,
        attention: Score | None,
        input_feeding: bool,
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        coverage: bool = False,
        pointer: bool = False,
    ) -> None:
        super().__init__()
        self.coverage = coverage
        self.start, self.hidden_size, self.input_feeding = tokens, hidden_size, input_feeding
        self.embedding = nn.Embedding(tokens + 1, embedding_size)
        first = embedding_size + (hidden_size if input_feeding else 0)
        self.layers = nn.ModuleList(cells(hidden_size if layer else first) for layer in range(num_layers))
        self.dropout, self.embedding_dropout = LayerDropout(dropout), LayerDropout(embedding_dropout)
        self.attention: Attention | None = None
        if attention is not None:
            self.attention = Attention(attention, hidden_size, memory_size, coverage)
            self.combine = nn.Linear(memory_size + hidden_size, hidden_size)
        self.gate = nn.Linear(hidden_size, 1) if pointer else None

    def cells(self) -> list[Cell[Any]]:
        """The first layer's first."""
        return [layer for layer in self.layers if isinstance(layer, Cell)]

    def memory(self, hidden: Tensor, valid: Tensor, copies: Tensor | None = None) -> Memory:
        """What was read, ready to be attended to; see :class:`rnnlab.attention.Memory`."""
        return Memory(hidden, valid, hidden if self.attention is None else self.attention.keys(hidden), copies)

    def start_state(self, cells: tuple[State, ...], memory: Memory) -> DecoderState:
        """The state before the first token, of that of the layers."""
        # len() would fix the batch of an exported file
        batch = memory.hidden.shape[0]
        fed = memory.hidden.new_zeros(batch, self.hidden_size) if self.input_feeding else None
        return DecoderState(cells, fed, torch.zeros_like(memory.hidden[..., 0]) if self.coverage else None)

    def pointed(self, scores: Tensor, output: Tensor, weights: Tensor | None, memory: Memory) -> Tensor:
        """The logarithm of the probability of each token where a step may copy one; else the scores as they are.

        Args:
            scores: ``(batch, steps, tokens)`` that the decoder says by itself.
            output: ``(batch, steps, hidden)`` the attentional vectors.
            weights: ``(batch, steps, time)`` of the attention.
            memory: what was read.
        """
        if self.gate is None or weights is None or memory.copies is None:
            return scores
        copied = self.gate(output).neg().sigmoid() * weights.masked_fill((memory.copies < 0)[:, None], 0)
        tokens = memory.copies.clamp_min(0)[:, None].expand_as(copied)
        by_token = torch.zeros_like(scores).scatter_add(-1, tokens, copied)
        # never quite 1: a token that was not read stays possible, and the logarithm a number
        left = (1 - copied.sum(-1, keepdim=True)).clamp_min(torch.finfo(scores.dtype).eps)
        own = scores.log_softmax(-1) + left.log()
        return torch.logaddexp(own, by_token.clamp_min(torch.finfo(scores.dtype).tiny).log())

    def forward(
        self,
        tokens: Tensor,
        state: DecoderState,
        memory: Memory,
        run: Callable[..., tuple[Tensor, State]],
        forced: float = 1.0,
        say: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Every step, told what was said before it (teacher forcing): all of them at once where no step needs to know
        what came of the one before.

        Args:
            tokens: ``(batch, steps)`` the true tokens before each step, the start first.
            state: before the first.
            memory: as :meth:`memory` gives it.
            run: ``run(cell, x, start, lengths)`` takes a layer over all steps.
            forced: share of the true tokens that it is told; in place of each other one the one that it finds most
                probable itself (S. Bengio et al., "Scheduled sampling for sequence prediction with recurrent neural
                networks", 2015).
            say: the scores ``(batch, tokens)`` of an attentional vector and the weights beside it, where ``forced`` is
                below 1.

        Returns:
            The attentional vectors ``(batch, steps, hidden)``, and the weights of the attention
            ``(batch, steps, time)``; ``None`` where there is none.
        """
        kept = None
        if drops(self.embedding_dropout):
            kept = self.embedding_dropout(
                torch.ones(len(tokens), 1, self.embedding.embedding_dim, device=tokens.device,
                           dtype=self.embedding.weight.dtype)
            )  # fmt: skip
        if self.input_feeding or self.coverage or forced < 1:
            outputs: list[Tensor] = []
            weights: list[Tensor | None] = []
            before = tokens[:, 0]
            for step in range(tokens.shape[1]):
                if step:
                    before = tokens[:, step]
                    if forced < 1 and say is not None:
                        own = say(outputs[-1].detach(), weights[-1]).argmax(-1)
                        told = torch.rand(len(tokens), device=tokens.device) < forced
                        before = torch.where(told, before, own)
                output, state, weight = self.step(before, state, memory, kept)
                outputs.append(output)
                weights.append(weight)
            seen = None if weights[0] is None else torch.stack([w for w in weights if w is not None], 1)
            return torch.stack(outputs, 1), seen
        x = self.embedding(tokens)
        x = x if kept is None else x * kept
        for layer, (cell, start) in enumerate(zip(self.cells(), state.cells, strict=True)):
            x = self.dropout(x) if layer else x
            x, _ = run(cell, x, start, None)
        return self._attend(x, memory)

    def step(
        self, tokens: Tensor, state: DecoderState, memory: Memory, kept: Tensor | None = None
    ) -> tuple[Tensor, DecoderState, Tensor | None]:
        """One step after ``(batch,)`` tokens, by each cell's own ``step``.

        Returns:
            The attentional vector ``(batch, hidden)``, the state, and the weights ``(batch, time)`` of the attention.
        """
        x = self.embedding(tokens)
        x = x if kept is None else x * kept[:, 0]
        if state.fed is not None:
            x = torch.cat([x, state.fed], -1)
        after: list[State] = []
        for layer, (cell, before) in enumerate(zip(self.cells(), state.cells, strict=True)):
            x, new = cell.step(self.dropout(x) if layer else x, before)
            after.append(new)
        output, weights = self._attend(x[:, None], memory, state.covered)
        covered = state.covered
        if covered is not None and weights is not None:
            covered = covered + weights[:, 0]
        return (
            output[:, 0],
            DecoderState(tuple(after), output[:, 0] if self.input_feeding else None, covered),
            None if weights is None else weights[:, 0],
        )

    def _attend(self, x: Tensor, memory: Memory, covered: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if self.attention is None:
            return x, None
        context, weights = self.attention(x, memory, covered)
        return self.combine(torch.cat([context, x], -1)).tanh(), weights


def _parts(state: State) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)
