"""Encoder → stacked, perhaps bidirectional, recurrent layers → readout or decoder.

A network is read in four files: what stands in front (:mod:`rnnlab.front`), the layers
(:mod:`rnnlab.recurrence`), what is made of them (:mod:`rnnlab.readout`), and here its options and how it is called.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Le
from torch import Tensor

from rnnlab.cells.cell import Cell
from rnnlab.cells.checks import check_state
from rnnlab.cells.recomputation import recomputed
from rnnlab.elapsed import declares
from rnnlab.encoder_decoder import EncoderDecoder, copied_tokens
from rnnlab.errors import InputError
from rnnlab.places import placed
from rnnlab.readout import check_options
from rnnlab.recurrence import CellFactory, Run, each_layer
from rnnlab.recurrence import NetworkState as NetworkState
from rnnlab.shapes import Fraction, Inputs, Lengths, Names, PositiveFloat, PositiveInt, Sizes, State, Window
from rnnlab.spec import InputSpec, TargetSpec
from rnnlab.stepping import NetworkStep
from rnnlab.summary import Layer, summary
from rnnlab.trajectories import Recorder, Trace


class Network(EncoderDecoder):
    """Any cell, stacked, between an encoder and a readout that fit the data.

    Args:
        input: what a step of the input is. Tokens are embedded, features pass as they are
            (or through a linear layer where ``embedding_size`` is given).
        target: what is predicted: at every step, or once for the sequence.
        cell: called with ``(input_size, hidden_size)`` for each layer and direction.
        hidden_size: units of each layer and direction; of a cell with a state at every place of a frame, of each place;
            or a list, a number for each layer.
        num_layers: layers on top of each other; as many as a list has where ``hidden_size`` or ``layers`` is one.
        layers: of models, such as ``[gru, lru]``: the cell of each layer, as the configs of these models have it; the
            names stand for ``cells``, which a composed config has.
        cells: as ``cell``, of each layer.
        bidirectional: each layer also reads the sequence from its own end.
        merge: the outputs of both directions: side by side (``concat``), or their ``sum``, ``mean`` or ``product``.
        block: what stands around the cell of each layer: ``plain`` (nothing), ``residual``, ``prenorm``, ``glu`` or
            ``gated_mlp`` (:mod:`rnnlab.blocks`).
        short_conv: steps that a causal convolution in front of each cell sees
            (:mod:`rnnlab.cells.short_convolution`); ``None`` for none.
        dropout: share of the units dropped between layers; in a block that is not plain, of what it adds to its input.
        token_dropout: share of the tokens that are dropped, and of the n-grams: their embedding is zero.
        embedding_dropout: share of the channels of the embedding, or of the features, that are dropped, the same ones
            at all steps of a sequence ("variational": Gal and Ghahramani 2016, arXiv 1512.05287).
        readout_dropout: share of the units that are dropped before the readout, for a prediction at every step the
            same ones at all steps of a sequence.
        recurrent_dropout: share of the units that no recurrent product reads, drawn once a batch
            (:mod:`rnnlab.cells.recurrent_dropout`).
        zoneout: share of the units that keep what they held one step before, drawn for each step
            (:mod:`rnnlab.cells.zoneout`).
        embedding_size: of tokens (``hidden_size`` by default) or of a linear input layer (none by default); of a list
            the first, since a config may name ``hidden_size``.
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
            leave-one-out error, for a series by blocks at its end.
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

    def __init__(
        self,
        input: InputSpec,
        target: TargetSpec,
        cell: CellFactory,
        hidden_size: PositiveInt | Sizes = 64,
        num_layers: Annotated[PositiveInt, Le(1000)] = 1,
        bidirectional: bool = False,
        dropout: Fraction = 0.0,
        token_dropout: Fraction = 0.0,
        embedding_dropout: Fraction = 0.0,
        readout_dropout: Fraction = 0.0,
        recurrent_dropout: Fraction = 0.0,
        zoneout: Fraction = 0.0,
        embedding_size: PositiveInt | Sizes | None = None,
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
        block: Literal["plain", "residual", "prenorm", "glu", "gated_mlp"] = "plain",
        short_conv: Window | None = None,
        merge: Literal["concat", "sum", "mean", "product"] = "concat",
        layers: Names | None = None,
        cells: Sequence[CellFactory] | None = None,
    ) -> None:
        check_options(
            target, readout, beside, transpose, solver, tie_embeddings,
            {
                "attention": attention, "input_feeding": input_feeding, "bridge": bridge, "coverage": coverage,
                "pointer": pointer,
            },
            {
                "token_dropout": token_dropout, "embedding_dropout": embedding_dropout,
                "readout_dropout": readout_dropout, "recurrent_dropout": recurrent_dropout, "zoneout": zoneout,
            },
        )  # fmt: skip
        of_layers, sizes = each_layer(cell, cells, layers, hidden_size, num_layers)
        # a cell with a state at every place of a frame reads the frames themselves
        whole = encoder == "none" and embedding_size is None and not transpose
        made = [placed(make, input, whole) for make in of_layers]
        widths = [size * places for size, (_, places) in zip(sizes, made, strict=True)]
        embedding_size = next(iter(embedding_size), None) if isinstance(embedding_size, Sequence) else embedding_size
        if merge != "concat" and not bidirectional:
            raise InputError(
                f"model.merge={merge} is of both directions of a layer: add model.bidirectional=true, or leave it out"
            )
        front = {
            "input": input, "target": target, "width": sizes[0], "encoder": encoder, "encoder_stride": encoder_stride,
            "embedding_size": embedding_size, "embedding_scale": embedding_scale, "beside": beside,
            "transpose": transpose, "solver": solver, "token_dropout": token_dropout,
            "embedding_dropout": embedding_dropout, "reads_elapsed": declares(made[0][0], "uses_elapsed"),
        }  # fmt: skip
        super().__init__(
            front, [make for make, _ in made], widths, bidirectional, merge, block, short_conv, dropout,
            recurrent_dropout, zoneout, initial_state,
        )  # fmt: skip
        self.solver, self.penalty, self.recompute = solver, penalty, recompute
        self.decodes = target.of_own_length
        self.rebuilds = target.code is not None
        changes = target.frame is not None and target.frame == input.frame and not self.rebuilds
        self.continues = changes and solver == "gradient"
        every = target.per_step and not self.rebuilds
        self.readout_kind = "every" if every else "last" if readout == "auto" else readout
        self.build_readout(target, readout_dropout, tie_embeddings, made[-1][1])
        if self.rebuilds:
            self.build_rebuilder(target, of_layers[-1], sizes[-1])
        if self.decodes:
            size = embedding_size or sizes[-1]
            dropouts = (dropout, embedding_dropout)
            self.build_decoder(
                target, decoder_cell or of_layers[-1], sizes[-1], decoder_cell is not None, size, attention,
                input_feeding, bridge, *dropouts, coverage,
                copied_tokens(input, target, encoder_stride) if pointer else None,
            )  # fmt: skip

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
        return self.onto(inputs, self.made(inputs, hidden, lengths)), state

    def onto(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Of the next frames it is the change of each pixel that is read out; of all else what is predicted itself."""
        return inputs + output if self.continues else output

    def hidden(
        self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, NetworkState]:
        """The last layer's output ``(batch, time, directions * hidden)`` and the new state, as in ``forward``."""
        run = recomputed if self.recompute else Cell.__call__
        return self.stack(run, inputs, self._starts(inputs, state, lengths), lengths)

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
        recorder = Recorder()
        hidden, _ = self.stack(recorder, inputs, self._starts(inputs, state, lengths), lengths)
        output = self.onto(inputs, self.made(inputs, hidden, lengths))
        return Trace(output, recorder.states, recorder.starts, recorder.inputs)

    def stack(
        self,
        run: Run,
        inputs: Inputs,
        starts: Sequence[State],
        lengths: Lengths | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """The encoder and the layers, as in ``hidden``.

        Args:
            run: see :data:`rnnlab.recurrence.Run`.
            inputs: as in :meth:`forward`.
            starts: as :meth:`initial_state` gives them.
            lengths: as in :meth:`forward`.
        """
        x, final = self.run_layers(run, inputs, starts, lengths)
        return x, final if self.streams else ()

    def summary(self, length: int | None = None) -> list[Layer]:
        """See :func:`rnnlab.summary.summary`."""
        return summary(self, length)
