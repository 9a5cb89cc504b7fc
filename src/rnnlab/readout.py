"""From the hidden sequence to the prediction: pooling and the readout, or a decoder."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.attention import Memory, Score
from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_lengths, check_traced
from rnnlab.cells.recomputation import recomputed
from rnnlab.decoder import Bridge, Decoder, DecoderState
from rnnlab.dropout import LayerDropout, masked
from rnnlab.errors import InputError
from rnnlab.front import USUAL
from rnnlab.image_encoder import ImageEncoder
from rnnlab.kernels.members import NARROW, across_members, is_stacked, is_tracing, narrow_linear
from rnnlab.ngrams import NGramRegression
from rnnlab.places import PlaceReadout, readout_of
from rnnlab.pooling import POOLED, statistic
from rnnlab.rebuilding import Rebuilder, check_rebuildable
from rnnlab.recurrence import CellFactory, NetworkState, Recurrence
from rnnlab.shapes import HiddenSequence, Inputs, Lengths, State
from rnnlab.spec import InputSpec, TargetSpec, valid_steps


class Readout(Recurrence):
    """The third part of a :class:`rnnlab.network.Network`: what is made of the hidden sequence.

    Attributes:
        readout_kind: ``every`` for a prediction at each step, else what is pooled.
        readout: the linear layer.
        decoder: for a target of its own length.
        rebuilder: for values that are made of a code of the whole sequence.
    """

    # longer than 250 lines: what is read out of all steps, and how a decoder is taught, share their state
    thresholds: Tensor
    quantiles: Tensor
    readout: nn.Linear
    readout_dropout: LayerDropout
    decoder: Decoder | None
    rebuilder: Rebuilder | None
    bridge: Bridge
    copies: Tensor
    """``(vocabulary,)`` of each token of the input the one of the target that is the same, -1 where there is none."""
    readout_kind: str
    recompute: bool

    def build_readout(self, target: TargetSpec, dropout: float, tied: bool, places: int) -> None:
        """Makes the readout; of a decoder with :meth:`build_decoder`.

        Raises:
            InputError: its weights can't be those of the embedding.
        """
        self.readout_dropout = LayerDropout(dropout)
        self.decoder, self.rebuilder = None, None
        ends = 2 if self.bidirectional and not self.apart and self.readout_kind == "last" else 1
        pooled = len(POOLED.get(self.readout_kind, ("last",))) * ends
        self.readout = readout_of(pooled * self.units + self.beside_channels, target, places)
        if isinstance(self.beside, NGramRegression):
            for parameter in self.readout.parameters():
                nn.init.zeros_(parameter)
        if self.readout_kind == "statistics":
            # in what a unit takes on in training, once that is known; which quantile is each unit's own
            self.register_buffer("thresholds", torch.zeros(self.units))
            self.register_buffer("quantiles", torch.rand(self.units))
        if tied:
            self._tie()

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

    def build_rebuilder(self, target: TargetSpec, cell: CellFactory, width: int) -> None:
        """Puts a bottleneck and a decoding cell in front of the readout.

        Args:
            target: whose ``code`` is how many numbers are kept of a sequence.
            cell: as the encoder's last layer has it.
            width: units of it.
        """
        assert target.code is not None
        # what is pooled of both ends
        self.rebuilder = Rebuilder(self.readout.in_features, target.code, cell(target.code, width))
        self.readout = nn.Linear(width, target.size)

    def at_steps(self, inputs: Inputs, hidden: HiddenSequence, lengths: Lengths | None) -> Tensor:
        """``(batch, time, units)`` that the prediction at each step is read out of."""
        if self.rebuilder is None:
            return hidden
        run = recomputed if self.recompute else Cell.__call__
        summary = self.pool(hidden, self.read_lengths(lengths))
        decoded: Tensor = self.rebuilder(run, summary, inputs, lengths)
        return decoded

    def made(self, inputs: Inputs, hidden: Tensor, lengths: Lengths | None) -> Tensor:
        """The prediction, of the hidden sequence."""
        if self.rebuilder is None:
            return self.read(hidden, self.read_lengths(lengths))
        decoded = self.at_steps(inputs, hidden, lengths)
        output: Tensor = self.readout(masked(self.readout_dropout, decoded, decoded[:, :1]))
        return output

    def _tie(self) -> None:
        if not isinstance(self.encoder, nn.Embedding) or self.encoder.num_embeddings != self.readout.out_features:
            raise InputError(
                "model.tie_embeddings=true is for data whose inputs and targets are the same tokens: "
                "use model.tie_embeddings=false"
            )
        if self.encoder.embedding_dim != self.readout.in_features:
            raise InputError(
                f"model.tie_embeddings=true needs embeddings as wide as what is read out: use "
                f"model.embedding_size={self.readout.in_features} in place of {self.encoder.embedding_dim}"
            )
        # the linear layer's initial weights, since an embedding's would make scores of the size of √hidden
        self.encoder.weight = self.readout.weight

    def read(self, hidden: HiddenSequence, lengths: Lengths | None = None) -> Tensor:
        """Pools the hidden sequence as ``readout`` says and maps it to the prediction."""
        pooled, beside = self.pool(hidden, lengths), None
        if self.beside is not None:  # of which nothing is dropped
            width = self.beside_channels or self.readout.out_features
            pooled, beside = pooled[..., :-width], pooled[..., -width:]
        pooled = masked(self.readout_dropout, pooled, pooled[:, :1] if self.readout_kind == "every" else pooled)
        if beside is not None and self.beside_channels:
            pooled, beside = torch.cat([pooled, beside], -1), None
        narrow = self.readout.out_features <= NARROW and not isinstance(self.readout, PlaceReadout)
        if narrow and is_stacked():
            output = across_members(narrow_linear, pooled, self.readout.weight, self.readout.bias)
        else:
            output = self.readout(pooled)
        return output if beside is None else output + beside

    def pool(self, hidden: HiddenSequence, lengths: Lengths | None = None) -> Tensor:
        """``(batch, time, hidden)`` to ``(batch, hidden)`` over valid steps, or unchanged for a prediction a step.

        The last valid step of a bidirectional network is each direction's own
        last: the forward one's at the end, the backward one's at the start.
        Where the units of both don't stand apart, it is both of these steps.
        """
        if self.readout_kind == "every":
            return hidden
        if self.beside is not None and hidden.shape[-1] > self.units:
            return torch.cat([self.pool(hidden[..., : self.units], lengths), hidden[:, 0, self.units :]], -1)
        if self.readout_kind == "last":
            batch = torch.arange(hidden.shape[0], device=hidden.device)
            end = hidden[:, -1] if lengths is None else hidden[batch, lengths - 1]
            if not self.bidirectional:
                return end
            if not self.apart:
                return torch.cat([end, hidden[:, 0]], -1)
            return torch.cat([end[:, : self.hidden_size], hidden[:, 0, self.hidden_size :]], -1)
        valid = valid_steps(hidden, lengths)[..., None]
        thresholds = self.thresholds if self.readout_kind == "statistics" else None
        return torch.cat([statistic(name, hidden, valid, thresholds) for name in POOLED[self.readout_kind]], -1)

    def _starts(self, inputs: Tensor, state: NetworkState | None, lengths: Lengths | None = None) -> Sequence[State]:
        """What each cell starts from.

        Raises:
            InputError: the arguments of the network don't fit it.
        """
        tracing = torch.compiler.is_compiling() or is_tracing()
        if not tracing:
            self.check_inputs(inputs, self.readout.weight)
            if lengths is not None:
                # what is read out for a whole sequence is that of a step at least
                least = 0 if self.readout_kind == "every" else 1
                check_lengths(lengths, len(inputs), inputs.shape[1], inputs.device, least)
        check_traced(self)
        if self.bidirectional and state is not None:
            raise InputError(
                "model.bidirectional=true reads each sequence from its end, so it cannot carry a state "
                "from one chunk to the next: use model.bidirectional=false"
            )
        if self.whole is not None and state is not None:
            raise InputError(
                f"{self.whole} reads several steps at once, and carries no state from one chunk to the next: use "
                f"{USUAL[self.whole]}"
            )
        if self.rebuilder is not None and state is not None:
            raise InputError(
                "an autoencoder reads a whole sequence before it rebuilds a step of it, and carries no state from one "
                "chunk to the next"
            )
        if state is None:
            return self.initial_state(len(inputs))
        self.check_state(state, len(inputs), tracing)
        return state

    # ---- a target of its own length -----------------------------------------------------------------

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


def check_options(
    target: TargetSpec, readout: str, beside: str, transpose: bool, solver: str, tie_embeddings: bool,
    of_decoders: Mapping[str, str | bool], shares: Mapping[str, float],
) -> None:  # fmt: skip
    """Holds the options of a network against each other and the target.

    Raises:
        InputError: naming the key.
    """
    if target.of_own_length:
        _check_decodable(readout, beside, transpose, solver, tie_embeddings)
    else:
        for name, value in of_decoders.items():
            if value not in ("auto", False):
                raise InputError(
                    f"model.{name}={str(value).lower()} is of a decoder, for data whose target is a sequence of "
                    "its own length, such as data=number_words: leave it out"
                )
    if target.code is not None:
        check_rebuildable(readout, beside, tie_embeddings)
    elif target.per_step and readout != "auto":
        raise InputError(
            f"model.readout={readout} gives one prediction a sequence, and this data wants one a step: "
            "use model.readout=auto"
        )
    if target.kind == "aligned" and solver == "ridge":
        raise InputError(
            "model.solver=ridge solves a readout by least squares, and which step is to say what nobody tells: use "
            "model.solver=gradient"
        )
    for name, share in shares.items():
        if share and solver == "ridge":
            raise InputError(
                f"model.{name}={share}: nothing is dropped where the readout is solved in closed form "
                "(model.solver=ridge), and all else is as it was drawn"
            )
    if tie_embeddings and solver == "ridge":
        raise InputError("model.tie_embeddings=true: a readout in closed form (model.solver=ridge) has its own weights")


def _check_decodable(readout: str, beside: str, transpose: bool, solver: str, tie_embeddings: bool) -> None:
    """Refuses options that have no meaning in front of a decoder.

    Raises:
        InputError: naming the key.
    """
    refused = {
        "readout": (readout, "auto"),
        "beside": (beside, "none"),
        "transpose": (transpose, False),
        "solver": (solver, "gradient"),
        "tie_embeddings": (tie_embeddings, False),
    }
    for name, (value, usual) in refused.items():
        if value != usual:
            raise InputError(
                f"model.{name}={str(value).lower()}: the target of this data is a sequence of its own length, which a "
                f"decoder says token by token: use model.{name}={str(usual).lower()}"
            )


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
