"""From the hidden sequence to a target of its own length: a decoder says it token by token."""

from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.attention import Memory, Score
from rnnlab.cells.cell import Cell
from rnnlab.cells.recomputation import recomputed
from rnnlab.decoder import Bridge, Decoder, DecoderState
from rnnlab.dropout import masked
from rnnlab.errors import InputError
from rnnlab.image_encoder import ImageEncoder
from rnnlab.readout import Readout
from rnnlab.recurrence import CellFactory
from rnnlab.shapes import Inputs, Lengths
from rnnlab.spec import InputSpec, TargetSpec, valid_steps


class EncoderDecoder(Readout):
    """What a :class:`rnnlab.network.Network` does where the target is a sequence of its own length.

    I. Sutskever, O. Vinyals & Q. V. Le, "Sequence to sequence learning with neural networks" (2014), arXiv 1409.3215;
    with attention D. Bahdanau, K. Cho & Y. Bengio (2015), arXiv 1409.0473.

    Attributes:
        bridge: from the encoder's last state to the decoder's first.
        copies: ``(vocabulary,)`` of each token of the input the one of the target that is the same, -1 where there is
            none.
    """

    bridge: Bridge
    copies: Tensor

    def build_decoder(
        self,
        target: TargetSpec,
        cell: CellFactory,
        width: int,
        other_cell: bool,
        embedding_size: int,
        attention: Literal["auto", "additive", "general", "dot", "none"],
        input_feeding: bool,
        bridge: Literal["auto", "copy", "linear", "none"],
        dropout: float,
        embedding_dropout: float,
        coverage: bool,
        pointer: Tensor | None,
    ) -> None:
        """Makes the decoder and what leads to it.

        Args:
            target: what it says.
            cell: of each of its layers.
            width: units of each.
            other_cell: whether the encoder has another one.
            embedding_size: of a token.
            attention: see :class:`rnnlab.network.Network`, as the rest.
            input_feeding: as there.
            bridge: as there.
            dropout: as there.
            embedding_dropout: as there.
            coverage: as there.
            pointer: :attr:`copies`, where tokens are copied.

        Raises:
            InputError: it would know nothing of what was read.
        """
        if bridge == "auto":
            bridge = "linear" if other_cell else "copy"
        score: Score | None = "additive" if attention == "auto" else None if attention == "none" else attention
        if score is None and bridge == "none":
            raise InputError(
                "model.attention=none and model.bridge=none: the decoder would know nothing of what was read: give "
                "one of them another value"
            )
        for name, wished in (("coverage", coverage), ("pointer", pointer is not None)):
            if wished and score is None:
                raise InputError(f"model.{name}=true is of an attention: use model.attention=additive, general or dot")
        if pointer is not None:
            self.register_buffer("copies", pointer, persistent=False)
        if len(set(self.sizes)) > 1:
            raise InputError(
                f"model.hidden_size={list(self.sizes)}: the decoder has as many layers as the encoder, all of one "
                f"width: use model.hidden_size={width} model.num_layers={self.num_layers}"
            )
        summary = self.readout.in_features  # what is read of both ends
        memory = self.encoder.channels if isinstance(self.encoder, ImageEncoder) else self.units
        self.decoder = Decoder(
            target.size, embedding_size, width, lambda size: cell(size, width), self.num_layers, memory, score,
            input_feeding, dropout, embedding_dropout, coverage, pointer is not None,
        )  # fmt: skip
        self.bridge = Bridge(bridge, self.decoder.cells(), summary)
        self.readout = nn.Linear(width, target.size)

    def encode(self, inputs: Inputs, lengths: Lengths | None = None) -> tuple[Memory, DecoderState]:
        """Reads whole sequences, for a decoder.

        Args:
            inputs: as :meth:`forward`.
            lengths: as there.

        Returns:
            What the decoder attends to, and where it starts from.
        """
        assert self.decoder is not None
        run = recomputed if self.recompute else Cell.__call__
        started = self._starts(inputs, None, lengths)
        maps = self.encoder.maps(inputs, lengths) if isinstance(self.encoder, ImageEncoder) else None
        hidden, final = self.run_layers(run, inputs, started, lengths, maps)
        inside = self.read_lengths(lengths)
        starts = [cell.initial_state(len(inputs)) for cell in self.decoder.cells()]
        cells = self.bridge(starts, final, self.pool(hidden, inside))
        valid = valid_steps(hidden, inside)
        if isinstance(self.encoder, ImageEncoder) and maps is not None:
            hidden = self.encoder.memory(maps)
            valid = valid.repeat_interleave(hidden.shape[1] // valid.shape[1], 1)
        copies = None if self.decoder.gate is None else self.copies[inputs]
        memory = self.decoder.memory(hidden, valid, copies)
        return memory, self.decoder.start_state(cells, memory)

    def teach(
        self, inputs: Inputs, targets: Tensor, lengths: Lengths | None = None, forced: float = 1.0
    ) -> tuple[Tensor, Tensor | None]:
        """The scores of each token of a target, when the true tokens before it are told.

        Args:
            inputs: as :meth:`forward`.
            targets: ``(batch, steps)`` tokens, ``IGNORED`` beyond the end of each.
            lengths: as :meth:`forward`.
            forced: share of the true tokens that is told (:meth:`rnnlab.decoder.Decoder.forward`).

        Returns:
            ``(batch, steps, size)``, and the weights ``(batch, steps, time)`` of the attention; ``None`` without one.
        """
        assert self.decoder is not None
        memory, state = self.encode(inputs, lengths)
        start = torch.full_like(targets[:, :1], self.decoder.start)
        before = torch.cat([start, targets[:, :-1].clamp_min(0)], 1)
        run = recomputed if self.recompute else Cell.__call__
        decoder = self.decoder

        def say(output: Tensor, weight: Tensor | None) -> Tensor:
            weight = None if weight is None else weight[:, None]
            return decoder.pointed(self.readout(output)[:, None], output[:, None], weight, memory)[:, 0]

        said, weights = decoder(before, state, memory, run, forced, say)
        said = masked(self.readout_dropout, said, said[:, :1])
        return decoder.pointed(self.readout(said), said, weights, memory), weights

    def say(self, tokens: Tensor, state: DecoderState, memory: Memory) -> tuple[Tensor, DecoderState, Tensor | None]:
        """The scores ``(batch, size)`` of what comes after ``(batch,)`` tokens, the state after them, and the weights
        ``(batch, time)`` of the attention.
        """
        assert self.decoder is not None
        said, state, weights = self.decoder.step(tokens, state, memory)
        scores = self.readout(said)
        if self.decoder.gate is not None and weights is not None:
            scores = self.decoder.pointed(scores[:, None], said[:, None], weights[:, None], memory)[:, 0]
        return scores, state, weights


def copied_tokens(input: InputSpec, target: TargetSpec, stride: int) -> Tensor:
    """``(vocabulary,)`` of each token of the input the one of the target that has its name, -1 where there is none.

    Raises:
        InputError: there is none at all, or an output of the encoder is of several tokens.
    """
    special = {target.end, target.unknown}
    numbers = {name: number for number, name in enumerate(target.names) if number not in special}
    copies = torch.tensor([numbers.get(name, -1) for name in input.names], dtype=torch.int64)
    if not (copies >= 0).any():
        raise InputError(
            "model.pointer=true copies tokens that were read, and none of this data's can be said: use "
            "model.pointer=false"
        )
    if stride > 1:
        raise InputError(f"model.pointer=true with model.encoder_stride={stride}: what is copied is a step by itself")
    return copies
