"""Encoder → stacked, perhaps bidirectional, recurrent layers → readout or decoder.

In one file, so that a network is read from its options to its output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Le
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.attention import Memory, Score
from rnnlab.cells.cell import Cell, map_state, reverse_valid
from rnnlab.cells.checks import check_lengths, check_like, check_state, check_traced
from rnnlab.cells.recomputation import recomputed
from rnnlab.cells.recurrent_dropout import RecurrentDropout
from rnnlab.cells.zoneout import Zoneout, with_masks
from rnnlab.decoder import Bridge, Decoder, DecoderState
from rnnlab.dropout import LayerDropout, drops, masked
from rnnlab.encoder import Convolutions, check_stride, fully_convolutional
from rnnlab.errors import InputError
from rnnlab.image_encoder import ImageEncoder, image_encoder
from rnnlab.kernels.layout import zero_padding
from rnnlab.kernels.members import NARROW, across_members, is_stacked, narrow_linear
from rnnlab.ngrams import NGramClassifier, NGramRegression, TokenEmbedding
from rnnlab.places import PlaceReadout, placed, readout_of
from rnnlab.pooling import POOLED, statistic
from rnnlab.shapes import Fraction, HiddenSequence, Inputs, Lengths, PositiveFloat, PositiveInt, State
from rnnlab.spec import InputSpec, TargetSpec, valid_steps
from rnnlab.stepping import NetworkStep
from rnnlab.summary import Layer, summary

CellFactory = Callable[[int, int], Cell[Any]]
NetworkState = tuple[State, ...]
"""One cell state a layer and, where n-grams are read, the tokens before; only a network of one direction hands it in
and out.
"""


USUAL = {
    "model.encoder=conv": "model.encoder=none",
    "model.beside=fcn": "model.beside=none",
    "model.beside=ngrams": "model.beside=none",
    "model.beside=ngram_regression": "model.beside=none",
    "model.transpose=true": "model.transpose=false",
}
"""Of the options by which a network reads several steps at once what it is without them."""


@dataclass(frozen=True)
class Trace:
    """A forward pass with every state on its way, all of one graph.

    Attributes:
        output: as :meth:`Network.forward` gives it.
        states: ``states[k][s]`` is the state of cell ``k`` of
            :meth:`Network.cells` after it has read ``s + 1`` steps, just as
            its ``step`` gave it, so that ``torch.autograd.grad`` of a loss
            with respect to its tensors follows every path from there: through
            later steps and through the layers above. A backward cell reads
            from the end, so its ``s`` counts from there. Beyond the end of a
            sequence the values mean nothing and the gradient is zero.
        starts: the state of each cell before its first step.
        inputs: ``inputs[k]`` ``(batch, time, features)`` is what cell ``k``
            reads, in the order in which it reads it.
    """

    output: Tensor
    states: list[list[State]]
    starts: list[State]
    inputs: list[Tensor]


class Network(nn.Module):
    """Any cell, stacked, between an encoder and a readout that fit the data.

    Args:
        input: what a step of the input is. Tokens are embedded, features pass as they are
            (or through a linear layer where ``embedding_size`` is given).
        target: what is predicted: at every step, or once for the sequence.
        cell: called with ``(input_size, hidden_size)`` for each layer and direction.
        hidden_size: units of each layer and direction; of a cell with a state at every place of a frame, of each place.
        num_layers: layers on top of each other.
        bidirectional: each layer also reads the sequence from its own end; the
            outputs of both directions stand side by side.
        dropout: share of the units dropped between layers.
        token_dropout: share of the tokens that are dropped, and of the n-grams: their embedding is zero.
        embedding_dropout: share of the channels of the embedding, or of the features, that are dropped, the same ones
            at all steps of a sequence ("variational": Gal and Ghahramani 2016, arXiv 1512.05287).
        readout_dropout: share of the units that are dropped before the readout, for a prediction at every step the
            same ones at all steps of a sequence.
        recurrent_dropout: share of the units that no recurrent product reads, drawn once a batch
            (:mod:`rnnlab.cells.recurrent_dropout`).
        zoneout: share of the units that keep what they held one step before, drawn for each step
            (:mod:`rnnlab.cells.zoneout`).
        embedding_size: of tokens (``hidden_size`` by default) or of a linear input layer (none by default).
        embedding_scale: standard deviation of the embeddings of tokens before training. Of many tokens that are seldom
            each stays about where it began: with 0.1 it hardly counts, with 1 it is noise.
        readout: for one prediction a sequence: the ``last`` valid step, the
            ``mean`` or ``max`` over the valid steps, or both (``mean_max``) side
            by side; ``statistics``: of each unit its mean, standard deviation,
            share of steps above a threshold of its own, and maximum; ``vote``:
            every step makes a prediction, and their mean counts, which is ``mean``
            but for ``solver=ridge``: there it is solved for the steps. ``auto`` is
            ``last``. For a prediction at every step only ``auto`` makes sense.
        initial_state: ``zero``, or ``learned`` with the weights.
        tie_embeddings: the readout's weights are the embeddings of the tokens
            (Press and Wolf 2017, arXiv 1608.05859; Inan et al. 2017, arXiv 1611.01462).
        recompute: keep the states of every √T-th step alone, and compute what is between once more for the
            gradients: for sequences of thousands of steps (:mod:`rnnlab.cells.recomputation`).
        encoder: of features, in front of the recurrence: ``none``, ``linear`` (a layer of ``embedding_size`` or
            ``hidden_size`` units at each step) or ``conv`` (:mod:`rnnlab.encoder`, of as many channels; tokens are
            embedded first); of images ``conv2d``, which makes a vector of as many units of each
            (:mod:`rnnlab.image_encoder`), and of whose places a decoder's attention chooses.
        encoder_stride: steps from one output of the convolutions to the next.
        beside: ``fcn``: what a fully convolutional network (:func:`rnnlab.encoder.fully_convolutional`) says of the
            whole sequence is read out together with the recurrence, whose input it reads, too. ``ngrams``: what a
            linear classifier says of the tokens and n-grams of a text (:class:`rnnlab.ngrams.NGramClassifier`) is added
            to what the recurrence says, which then reads tokens alone. ``ngram_regression``: the same classifier is
            fitted first, by logistic regression (:class:`rnnlab.ngrams.NGramRegression`), and the recurrence learns
            what it leaves over, from a readout of zeros.
        transpose: the recurrence reads the features one after the other, each at all steps at once ("dimension
            shuffle": Karim et al. 2018, arXiv 1709.05206), and zeros beyond the end of a sequence.
        solver: ``gradient``; or ``ridge``: the readout in closed form, by ridge regression
            (:mod:`rnnlab.ridge`), all other weights as they were drawn.
        penalty: of that regression, in the mean squared singular value of what is read out; ``auto`` chooses by the
            leave-one-out error.
        attention: of the decoder, where the target is a sequence of its own length: ``additive``, ``general``, ``dot``
            (:mod:`rnnlab.attention`) or ``none``; ``auto`` is ``additive``.
        input_feeding: each step of the decoder also reads what the attention made of the step before: step by step, and
            so slower.
        bridge: from the encoder's end to the decoder's start (:class:`rnnlab.decoder.Bridge`): ``copy``, ``linear`` or
            ``none``; ``auto`` is ``copy``, and ``linear`` where the decoder's cell is another one.
        coverage: the decoder's attention knows how much it has looked at each step before
            (:mod:`rnnlab.attention`): step by step, and so slower.
        pointer: a step of the decoder may copy a token that was read (:mod:`rnnlab.decoder`), where both sides have
            tokens of one name.
        decoder_cell: as ``cell``, of the decoder; ``None`` for the same one. It has as many layers as the encoder and
            reads forwards.
        linear: ``ridge`` or ``none``: whether the network learns what a linear forecast leaves over. The data fits that
            (:mod:`rnnlab.data.linear`); ``None``: where it is a time series.

    Raises:
        InputError: the readout or the encoder does not fit the data, or there is nothing to tie.
    """

    thresholds: Tensor
    quantiles: Tensor
    copies: Tensor
    """``(vocabulary,)`` of each token of the input the one of the target that is the same, -1 where there is none."""

    def __init__(
        self,
        input: InputSpec,
        target: TargetSpec,
        cell: CellFactory,
        hidden_size: PositiveInt = 64,
        num_layers: Annotated[PositiveInt, Le(1000)] = 1,
        bidirectional: bool = False,
        dropout: Fraction = 0.0,
        token_dropout: Fraction = 0.0,
        embedding_dropout: Fraction = 0.0,
        readout_dropout: Fraction = 0.0,
        recurrent_dropout: Fraction = 0.0,
        zoneout: Fraction = 0.0,
        embedding_size: PositiveInt | None = None,
        embedding_scale: PositiveFloat = 1.0,
        readout: Literal["auto", "last", "mean", "max", "mean_max", "statistics", "vote"] = "auto",
        initial_state: Literal["zero", "learned"] = "zero",
        tie_embeddings: bool = False,
        recompute: bool = False,
        encoder: Literal["none", "linear", "conv", "conv2d"] = "none",
        encoder_stride: PositiveInt = 1,
        beside: Literal["none", "fcn", "ngrams", "ngram_regression"] = "none",
        transpose: bool = False,
        solver: Literal["gradient", "ridge"] = "gradient",
        penalty: PositiveFloat | Literal["auto"] = "auto",
        linear: Literal["ridge", "none"] | None = None,
        attention: Literal["auto", "additive", "general", "dot", "none"] = "auto",
        input_feeding: bool = False,
        bridge: Literal["auto", "copy", "linear", "none"] = "auto",
        decoder_cell: CellFactory | None = None,
        coverage: bool = False,
        pointer: bool = False,
    ) -> None:
        super().__init__()
        self.solver, self.penalty = solver, penalty
        self.decodes = target.of_own_length
        self.continues = target.frame is not None and target.frame == input.frame and solver == "gradient"
        if self.decodes:
            _check_decodable(readout, beside, transpose, solver, tie_embeddings)
        else:
            given = {"attention": attention, "input_feeding": input_feeding, "bridge": bridge}
            given |= {"coverage": coverage, "pointer": pointer}
            for name, value in given.items():
                if value not in ("auto", False):
                    raise InputError(
                        f"model.{name}={str(value).lower()} is of a decoder, for data whose target is a sequence of "
                        "its own length, such as data=number_words: leave it out"
                    )
        if target.per_step and readout != "auto":
            raise InputError(
                f"model.readout={readout} gives one prediction a sequence, and this data wants one a step: "
                "use model.readout=auto"
            )
        if target.kind == "aligned" and solver == "ridge":
            raise InputError(
                "model.solver=ridge solves a readout by least squares, and which step is to say what nobody tells: use "
                "model.solver=gradient"
            )
        self.readout_kind = "every" if target.per_step else "last" if readout == "auto" else readout
        cell, places = placed(cell, input, encoder == "none" and embedding_size is None and not transpose)
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.hidden_size = width = hidden_size * places
        self.recompute = recompute
        if token_dropout and input.vocabulary is None:
            raise InputError(
                f"model.token_dropout={token_dropout} drops tokens, and the input of this data is features: use "
                "model.embedding_dropout"
            )
        shares = {
            "token_dropout": token_dropout,
            "embedding_dropout": embedding_dropout,
            "readout_dropout": readout_dropout,
            "recurrent_dropout": recurrent_dropout,
            "zoneout": zoneout,
        }
        for name, share in shares.items():
            if share and solver == "ridge":
                raise InputError(
                    f"model.{name}={share}: nothing is dropped where the readout is solved in closed form "
                    "(model.solver=ridge), and all else is as it was drawn"
                )
        self.encoder: nn.Module = nn.Identity()
        size = input.features or 0
        if encoder == "conv2d":
            size = embedding_size or hidden_size
            self.encoder = image_encoder(input, size, self.decodes)
        elif input.vocabulary is not None:
            size = embedding_size or hidden_size
            at_each = None if beside.startswith("ngram") else input.ngrams
            self.encoder = TokenEmbedding(input.vocabulary, size, at_each, input.buckets)
            self.encoder.weight.data.mul_(embedding_scale)
            if encoder == "linear":
                raise InputError(
                    "model.encoder=linear: tokens are embedded, and need no linear layer: use none or conv"
                )
        elif encoder == "linear" or (encoder == "none" and embedding_size is not None):
            self.encoder = nn.Linear(size, embedding_size or hidden_size)
            size = embedding_size or hidden_size
        self.beside: Convolutions | NGramClassifier | None = None
        if beside != "none" and target.per_step:
            raise InputError(
                f"model.beside={beside} says one thing of a whole sequence, and this data wants a prediction at each "
                "step: use model.beside=none"
            )
        if beside == "fcn":
            self.beside = fully_convolutional(size)
        if beside == "ngrams" or beside == "ngram_regression":
            self.beside = _classifier(beside, input, target, solver)
        self.convolutions: Convolutions | None = None
        if encoder == "conv":
            # what is said somewhere, and at no certain step, may hang on what follows
            at_certain = target.per_step and target.kind != "aligned"
            check_stride(encoder_stride, at_certain)
            channels = embedding_size or hidden_size
            self.convolutions = Convolutions(size, channels, encoder_stride, causal=at_certain)
            size = channels
        elif encoder_stride > 1:
            raise InputError(f"model.encoder_stride={encoder_stride} is for model.encoder=conv")
        self.steps: int | None = None
        if transpose:
            self.longest, self.channels = _longest(input, target), size
            self.steps = -(-self.longest // encoder_stride)
            size = self.steps
        directions = 2 if bidirectional else 1

        def build(size: int) -> Cell[Any]:
            return Zoneout(cell(size, width), zoneout) if zoneout else cell(size, width)

        self.layers = nn.ModuleList(
            nn.ModuleList(build(size if layer == 0 else directions * width) for _ in range(directions))
            for layer in range(num_layers)
        )
        self.dropout = LayerDropout(dropout)
        self.token_dropout = LayerDropout(token_dropout)
        self.embedding_dropout = LayerDropout(embedding_dropout)
        self.readout_dropout = LayerDropout(readout_dropout)
        self.recurrent_dropout = LayerDropout(recurrent_dropout) if recurrent_dropout else None
        self.zoneout = LayerDropout(zoneout) if zoneout else None
        self._dropping = [RecurrentDropout(each, recurrent_dropout) for each in self.cells() if recurrent_dropout]
        # no modules of their own: they have the cells of those whose masks are their mean
        self._drawn = [
            Zoneout(each.cell, zoneout, drawn=True) for each in self.cells() if isinstance(each, Zoneout)
        ]  # fmt: skip
        self.initial = nn.ParameterList()
        if initial_state == "learned":
            for each in self.cells():
                state = each.initial_state(1)
                for part in state if isinstance(state, tuple) else (state,):
                    self.initial.append(nn.Parameter(part.detach().clone()))
        pooled = len(POOLED.get(self.readout_kind, ("last",)))
        self.units = directions * width
        self.readout = readout_of(pooled * self.units + self._channels, target, places)
        if isinstance(self.beside, NGramRegression):
            for parameter in self.readout.parameters():
                nn.init.zeros_(parameter)
        self.decoder: Decoder | None = None
        if self.decodes:
            if bridge == "auto":
                bridge = "copy" if decoder_cell is None else "linear"
            score: Score | None = "additive" if attention == "auto" else None if attention == "none" else attention
            if score is None and bridge == "none":
                raise InputError(
                    "model.attention=none and model.bridge=none: the decoder would know nothing of what was read: give "
                    "one of them another value"
                )
            for name, wished in (("coverage", coverage), ("pointer", pointer)):
                if wished and score is None:
                    raise InputError(
                        f"model.{name}=true is of an attention: use model.attention=additive, general or dot"
                    )
            if pointer:
                self.register_buffer("copies", _copies(input, target, encoder_stride), persistent=False)
            made = decoder_cell or cell
            self.decoder = Decoder(
                target.size,
                embedding_size or hidden_size,
                hidden_size,
                lambda size: made(size, hidden_size),
                num_layers,
                self.encoder.channels if isinstance(self.encoder, ImageEncoder) else self.units,
                score,
                input_feeding,
                dropout,
                embedding_dropout,
                coverage,
                pointer,
            )
            self.bridge = Bridge(bridge, self.decoder.cells(), self.units)
            self.readout = nn.Linear(hidden_size, target.size)
        if self.readout_kind == "statistics":
            # in what a unit takes on in training, once that is known; which quantile is each unit's own
            self.register_buffer("thresholds", torch.zeros(self.units))
            self.register_buffer("quantiles", torch.rand(self.units))
        if tie_embeddings and solver == "ridge":
            raise InputError(
                "model.tie_embeddings=true: a readout in closed form (model.solver=ridge) has its own weights"
            )
        if tie_embeddings:
            self._tie()

    @property
    def _channels(self) -> int:
        """Of convolutions beside the recurrence, which are read out."""
        return self.beside.channels if isinstance(self.beside, Convolutions) else 0

    @property
    def streams(self) -> bool:
        """Whether a state can be carried from one chunk of a sequence to the next."""
        return not self.bidirectional and self.whole is None and not self.decodes

    @property
    def whole(self) -> str | None:
        """The option by which a step of the network needs other steps of the sequence than those before it."""
        if self.convolutions is not None:
            return "model.encoder=conv"
        if self.beside is not None:
            regression = isinstance(self.beside, NGramRegression)
            return f"model.beside={'fcn' if self._channels else 'ngram_regression' if regression else 'ngrams'}"
        return None if self.steps is None else "model.transpose=true"

    @property
    def transposed(self) -> bool:
        """Whether the steps of the recurrence are the features of the input."""
        return self.steps is not None

    @property
    def ngrams(self) -> TokenEmbedding | None:
        """The encoder where it reads n-grams: the tokens before a chunk are then the last part of the state."""
        encoder = self.encoder
        return encoder if isinstance(encoder, TokenEmbedding) and encoder.ngrams is not None else None

    @property
    def state_parts(self) -> int:
        """Parts of the state that is carried."""
        return self.num_layers + (self.ngrams is not None)

    @property
    def stride(self) -> int:
        """Steps of the input from one hidden state to the next."""
        return 1 if self.convolutions is None else self.convolutions.stride

    def read_lengths(self, lengths: Lengths | None) -> Lengths | None:
        """Valid steps of the hidden sequence, of those of the input."""
        if self.steps is not None:
            return None if lengths is None else torch.full_like(lengths, self.channels)
        return lengths if self.convolutions is None else self.convolutions.lengths(lengths)

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

    def cells(self) -> list[Cell[Any]]:
        """All cells: layer by layer, the forward direction before the backward one."""
        return [cell for layer in self.layers for cell in layer]  # type: ignore[attr-defined]

    def initial_state(self, batch_size: int) -> list[State]:
        """The state of each cell of :meth:`cells` before the first step, zero or learned; then the tokens before."""
        states = [cell.initial_state(batch_size) for cell in self.cells()]
        if self.initial:
            learned = iter(self.initial)
            states = [map_state(lambda zero: next(learned).expand_as(zero), state) for state in states]
        if self.ngrams is not None:
            states.append(self.ngrams.start(batch_size))
        return states

    def forward(
        self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Predicts.

        Args:
            inputs: ``(batch, time, features)`` or token numbers ``(batch, time)``.
            state: as returned for the chunk before.
            lengths: ``(batch,)`` valid steps of each sequence, at least one where one prediction is made for it.

        Returns:
            ``(batch, time, size)`` or, for one prediction a sequence,
            ``(batch, size)``; and the state to hand in with the next chunk
            (empty for a bidirectional network).

        Raises:
            InputError: a state is handed to a bidirectional network; or a size, a type or a device doesn't fit.
        """
        if self.decodes:
            raise InputError(
                "this network says a sequence of its own length, token by token: rnnlab.decoding has how (greedy)"
            )
        hidden, state = self.hidden(inputs, state, lengths)
        return self.onto(inputs, self.read(hidden, self.read_lengths(lengths))), state

    def onto(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Of the next frames it is the change of each pixel that is read out; of all else what is predicted itself."""
        return inputs + output if self.continues else output

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
        hidden, final = self._layers(run, inputs, started, lengths, maps)
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

    # ---- what is predicted at each step, or once ----------------------------------------------------

    def hidden(
        self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, NetworkState]:
        """The last layer's output ``(batch, time, directions * hidden)`` and the new state, as in ``forward``."""
        run = recomputed if self.recompute else Cell.__call__
        hidden, state = self.stack(run, inputs, self._starts(inputs, state, lengths), lengths)
        return hidden, state if self.streams else ()

    def step(self, inputs: Inputs, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Predicts as ``forward`` does, in evaluation, for a chunk of one step, in half the time
        (:class:`rnnlab.stepping.NetworkStep`).
        """
        starts = self._starts(inputs, state)
        for cell, start in zip(self.cells(), starts, strict=self.ngrams is None):
            check_state(cell, start, len(inputs))
        output, (after, _) = NetworkStep(self)(inputs[:, 0], (list(starts), None))
        return output[:, None] if self.readout_kind == "every" else output, tuple(after)

    def trace(self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None) -> Trace:
        """Predicts as ``forward`` does, step by step through every cell's ``unroll``, and keeps every state."""
        states: list[list[State]] = []
        starts: list[State] = []
        read: list[Tensor] = []

        def unroll(cell: Cell[Any], x: Tensor, start: State, lengths: Tensor | None) -> tuple[Tensor, State]:
            states.append([])
            starts.append(start)
            read.append(x)
            return cell.unroll(x, start, lengths, record=states[-1])

        hidden, _ = self.stack(unroll, inputs, self._starts(inputs, state, lengths), lengths)
        output = self.onto(inputs, self.read(hidden, self.read_lengths(lengths)))
        return Trace(output, states, starts, read)

    def _starts(self, inputs: Tensor, state: NetworkState | None, lengths: Lengths | None = None) -> Sequence[State]:
        """What each cell starts from.

        Raises:
            InputError: the arguments of the network don't fit it.
        """
        tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if not tracing:
            self._check(inputs, lengths)
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
        if state is None:
            return self.initial_state(len(inputs))
        given: Any = state  # a caller's, whatever its annotation says
        if not isinstance(given, tuple | list) or len(given) != self.state_parts:
            has = f"{len(given)} parts" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
            raise InputError(
                f"the state of a network is a tuple of one cell state a layer, {self.num_layers} of them"
                f"{', and the tokens before' if self.ngrams is not None else ''}; it has {has}"
            )
        if self.ngrams is not None and not tracing:
            self.ngrams.check(given[-1], len(inputs))
        return state

    def _check(self, inputs: Tensor, lengths: Lengths | None) -> None:
        """Holds the input and the lengths against the network; each cell looks at its own arguments."""
        if isinstance(self.encoder, nn.Embedding):
            if inputs.dim() != 2 or inputs.dtype not in (torch.int64, torch.int32):
                raise InputError(
                    "the input of this network must be token numbers, torch.int64 of the shape (batch, time), "
                    f"and is {inputs.dtype} of the shape {tuple(inputs.shape)}"
                )
        else:
            linear = self.encoder if isinstance(self.encoder, nn.Linear) else None
            features = self.cells()[0].input_size if linear is None else linear.in_features
            features = self.encoder.features if isinstance(self.encoder, ImageEncoder) else features
            features = features if self.steps is None else self.channels
            features = features if self.convolutions is None else self.convolutions.features
            if inputs.dim() != 3 or inputs.shape[2] != features:
                raise InputError(
                    f"the input of this network must have the shape (batch, time, {features}), "
                    f"and has {tuple(inputs.shape)}"
                )
            if self.steps is not None and inputs.shape[1] > self.longest:
                raise InputError(
                    f"the sequence has {inputs.shape[1]} steps, and this network reads all steps of a feature at once, "
                    f"{self.longest} at most, as many as the data it was built for has (model.transpose=true)"
                )
            check_like("the input of this network", inputs, self.readout.weight)
        if lengths is not None:
            # what is read out for a whole sequence is that of a step at least
            least = 0 if self.readout_kind == "every" else 1
            check_lengths(lengths, len(inputs), inputs.shape[1], inputs.device, least)

    def stack(
        self,
        run: Callable[..., tuple[Tensor, State]],
        inputs: Inputs,
        starts: Sequence[State],
        lengths: Lengths | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """The encoder and the layers, as in ``hidden``.

        Args:
            run: ``run(cell, x, start, lengths)`` takes one direction of one layer over time.
            inputs: as in :meth:`forward`.
            starts: as :meth:`initial_state` gives them.
            lengths: as in :meth:`forward`.
        """
        x, final = self._layers(run, inputs, starts, lengths)
        return x, final if self.streams else ()

    def _layers(
        self,
        run: Callable[..., tuple[Tensor, State]],
        inputs: Inputs,
        starts: Sequence[State],
        lengths: Lengths | None = None,
        maps: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """The same, with the state in which each layer leaves each sequence, reading forwards, in any network; from the
        maps of an image encoder where they are there already.
        """
        cells = enumerate(zip(self.cells(), starts, strict=self.ngrams is None))
        before: Any = None if self.ngrams is None else starts[-1]
        if isinstance(self.encoder, nn.Linear):  # whose weights' gradient must not meet what padding holds
            inputs = zero_padding(inputs, lengths)
        if isinstance(self.encoder, TokenEmbedding):
            x = self.encoder(inputs, before, lambda rows: masked(self.token_dropout, rows, rows[..., :1]))
        elif isinstance(self.encoder, ImageEncoder):
            x = self.encoder(inputs, lengths) if maps is None else self.encoder.vectors(maps)
        else:
            x = self.encoder(inputs)
        x = masked(self.embedding_dropout, x, x[:, :1])
        beside = None
        if isinstance(self.beside, Convolutions):
            beside = self.beside.average(x, lengths)
        elif self.beside is not None:
            beside = self.beside(inputs, lengths, lambda rows: masked(self.token_dropout, rows, rows[..., :1]))
        if self.convolutions is not None:
            x = self.convolutions(x, lengths)
            lengths = self.convolutions.lengths(lengths)
        if self.steps is not None:
            x = zero_padding(x, lengths)
            x = F.pad(x, (0, 0, 0, self.steps - x.shape[1])).transpose(1, 2)
            lengths = None
        final: list[State] = []
        for layer in range(self.num_layers):
            if layer:
                x = self.dropout(x)
            number, (cell, start) = next(cells)
            output, last = self._regularized(run, number, cell, x, start, lengths)
            final.append(last)
            if self.bidirectional:
                number, (cell, start) = next(cells)
                backward, _ = self._regularized(run, number, cell, reverse_valid(x, lengths), start, lengths)
                output = torch.cat([output, reverse_valid(backward, lengths)], -1)
            x = output
        if beside is not None:
            x = torch.cat([x, beside[:, None].expand(-1, x.shape[1], -1)], -1)
        if self.ngrams is not None and self.streams:
            final.append(self.ngrams.after(inputs, before, lengths))
        return x, tuple(final)

    def _regularized(
        self,
        run: Callable[..., tuple[Tensor, State]],
        number: int,
        cell: Cell[Any],
        x: Tensor,
        start: State,
        lengths: Lengths | None,
    ) -> tuple[Tensor, State]:
        """Cell ``number`` over time; in training with what recurrent dropout and zoneout draw for it."""
        if self.zoneout is not None and drops(self.zoneout):
            zoned = self._drawn[number]
            x = with_masks(x, self.zoneout(x.new_ones(*x.shape[:2], zoned.width)).sign())
            cell = zoned
        if self.recurrent_dropout is not None and drops(self.recurrent_dropout):
            kept = self.recurrent_dropout(self.readout.weight.new_ones(self.hidden_size))
            return self._dropping[number](run, cell, kept, x, start, lengths)
        return run(cell, x, start, lengths)

    def read(self, hidden: HiddenSequence, lengths: Lengths | None = None) -> Tensor:
        """Pools the hidden sequence as ``readout`` says and maps it to the prediction."""
        pooled, beside = self.pool(hidden, lengths), None
        if self.beside is not None:  # of which nothing is dropped
            width = self._channels or self.readout.out_features
            pooled, beside = pooled[..., :-width], pooled[..., -width:]
        pooled = masked(self.readout_dropout, pooled, pooled[:, :1] if self.readout_kind == "every" else pooled)
        if beside is not None and self._channels:
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
            return torch.cat([end[:, : self.hidden_size], hidden[:, 0, self.hidden_size :]], -1)
        valid = valid_steps(hidden, lengths)[..., None]
        thresholds = self.thresholds if self.readout_kind == "statistics" else None
        return torch.cat([statistic(name, hidden, valid, thresholds) for name in POOLED[self.readout_kind]], -1)

    def summary(self, length: int | None = None) -> list[Layer]:
        """See :func:`rnnlab.summary.summary`."""
        return summary(self, length)


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


def _copies(input: InputSpec, target: TargetSpec, stride: int) -> Tensor:
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


def _classifier(beside: str, input: InputSpec, target: TargetSpec, solver: str) -> NGramClassifier:
    """What stands beside the recurrence of a network over tokens.

    Raises:
        InputError: the data has no n-grams or no classes, or nothing is learned by gradients.
    """
    if input.vocabulary is None:
        raise InputError(
            f"model.beside={beside} is for tokens, and the input of this data is features: use none or fcn"
        )
    if input.ngrams is None:
        raise InputError(
            f"model.beside={beside} needs to know which n-grams: give data.ngrams=[2,2] for pairs, or [2,5], and so on"
        )
    if solver == "ridge":
        raise InputError(
            f"model.beside={beside} is for a recurrence that learns by gradients, and model.solver=ridge solves the "
            "readout alone: use model.beside=none"
        )
    if beside == "ngrams":
        return NGramClassifier(input.vocabulary, target.size, input.ngrams, input.buckets)
    if not target.classifies:
        raise InputError(f"model.beside={beside} is for one class a text, and this data has none: use ngrams")
    return NGramRegression(input.vocabulary, target.size, input.ngrams, input.buckets)


def _longest(input: InputSpec, target: TargetSpec) -> int:
    """Steps of the longest sequence of the data, for a network that must know it.

    Raises:
        InputError: nobody knows, or a prediction is wanted at every step.
    """
    if target.per_step:
        raise InputError(
            "model.transpose=true reads all steps at once, and this data wants a prediction at each: use "
            "model.transpose=false"
        )
    if input.vocabulary is not None or input.length is None:
        raise InputError("model.transpose=true is for features of sequences whose longest length is known")
    return input.length
