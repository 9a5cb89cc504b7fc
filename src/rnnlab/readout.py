"""From the hidden sequence to the prediction: pooling and the readout."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_lengths, check_traced
from rnnlab.cells.recomputation import recomputed
from rnnlab.decoder import Decoder
from rnnlab.dropout import LayerDropout, masked
from rnnlab.errors import InputError
from rnnlab.front import USUAL
from rnnlab.kernels.members import NARROW, across_members, is_stacked, is_tracing, narrow_linear
from rnnlab.ngrams import NGramRegression
from rnnlab.places import PlaceReadout, readout_of
from rnnlab.pooling import POOLED, statistic
from rnnlab.rebuilding import Rebuilder, check_rebuildable
from rnnlab.recurrence import CellFactory, NetworkState, Recurrence
from rnnlab.shapes import HiddenSequence, Inputs, Lengths, State
from rnnlab.spec import TargetSpec, valid_steps


class Readout(Recurrence):
    """The third part of a :class:`rnnlab.network.Network`: what is made of the hidden sequence.

    Attributes:
        readout_kind: ``every`` for a prediction at each step, else what is pooled.
        readout: the linear layer.
        decoder: for a target of its own length (:class:`rnnlab.encoder_decoder.EncoderDecoder`).
        rebuilder: for values that are made of a code of the whole sequence.
    """

    thresholds: Tensor
    quantiles: Tensor
    readout: nn.Linear
    readout_dropout: LayerDropout
    decoder: Decoder | None
    rebuilder: Rebuilder | None
    readout_kind: str
    recompute: bool

    def build_readout(self, target: TargetSpec, dropout: float, tied: bool, places: int) -> None:
        """Makes the readout; of a decoder see :mod:`rnnlab.encoder_decoder`.

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
