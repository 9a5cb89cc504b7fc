"""What stands in front of the recurrence, and what stands beside it: from the input to what the first layer reads.

    tokens      → embedding (and n-grams)       → dropout → convolutions → transposition → the first layer
    features    → a linear layer, or as they are ↗
    images      → convolutions over their places ↗

The layers are in :mod:`rnnlab.recurrence`.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.cells.checks import check_like
from rnnlab.dropout import LayerDropout, masked
from rnnlab.elapsed import apart, strided, without
from rnnlab.encoder import Convolutions, check_stride, fully_convolutional
from rnnlab.errors import InputError
from rnnlab.image_encoder import ImageEncoder, image_encoder
from rnnlab.kernels.layout import zero_padding
from rnnlab.ngrams import NGramClassifier, NGramRegression, TokenEmbedding
from rnnlab.shapes import Inputs, Lengths
from rnnlab.spec import InputSpec, TargetSpec

USUAL = {
    "model.encoder=conv": "model.encoder=none",
    "model.beside=fcn": "model.beside=none",
    "model.beside=ngrams": "model.beside=none",
    "model.beside=ngram_regression": "model.beside=none",
    "model.transpose=true": "model.transpose=false",
}
"""Of the options by which a network reads several steps at once what it is without them."""


class Front(nn.Module):
    """The first part of a :class:`rnnlab.network.Network`, whose arguments these are.

    Args:
        input: what a step of the input is.
        target: what is predicted.
        width: units of the first layer, of which embeddings and convolutions are wide by default.
        encoder: in front of the recurrence.
        encoder_stride: of its convolutions.
        embedding_size: of tokens, or of a linear input layer.
        embedding_scale: of the embeddings of tokens before training.
        beside: what is read out together with the recurrence.
        transpose: whether the recurrence reads the features one after the other.
        solver: of the readout.
        token_dropout: share of the tokens that are dropped.
        embedding_dropout: share of the channels that are dropped.
        reads_elapsed: the first layer knows what to do with the time since the step before.

    Raises:
        InputError: one of them does not fit the data, or another one.
    """

    def __init__(
        self,
        input: InputSpec,
        target: TargetSpec,
        width: int,
        encoder: Literal["none", "linear", "conv", "conv2d"],
        encoder_stride: int,
        embedding_size: int | None,
        embedding_scale: float,
        beside: Literal["none", "fcn", "ngrams", "ngram_regression"],
        transpose: bool,
        solver: str,
        token_dropout: float,
        embedding_dropout: float,
        reads_elapsed: bool = False,
    ) -> None:
        super().__init__()
        if token_dropout and input.vocabulary is None:
            raise InputError(
                f"model.token_dropout={token_dropout} drops tokens, and the input of this data is features: use "
                "model.embedding_dropout"
            )
        self.encoder: nn.Module = nn.Identity()
        size = self.features = input.features or 0
        """Of a step of the input, where it is no token."""
        self.elapsed = input.elapsed
        # what stands beside the cell, and knows no times, reads it as a feature
        self.drops_elapsed = reads_elapsed and encoder != "conv" and beside != "fcn" and not transpose
        size -= self.drops_elapsed and self.elapsed is not None
        as_they_are = encoder == "none" and embedding_size is None and not transpose and not target.of_own_length
        self.masks = without(input.masks, self.elapsed if self.drops_elapsed else None) if as_they_are else []
        """Of the features that the first layer reads, as :attr:`rnnlab.spec.InputSpec.masks`."""
        if encoder == "conv2d":
            size = embedding_size or width
            self.encoder = image_encoder(input, size, target.of_own_length)
        elif input.vocabulary is not None:
            size = embedding_size or width
            at_each = None if beside.startswith("ngram") else input.ngrams
            self.encoder = TokenEmbedding(input.vocabulary, size, at_each, input.buckets)
            self.encoder.weight.data.mul_(embedding_scale)
            if encoder == "linear":
                raise InputError(
                    "model.encoder=linear: tokens are embedded, and need no linear layer: use none or conv"
                )
        elif encoder == "linear" or (encoder == "none" and embedding_size is not None):
            self.encoder = nn.Linear(size, embedding_size or width)
            size = embedding_size or width
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
            at_certain = target.per_step and target.kind != "aligned" and target.code is None
            check_stride(encoder_stride, at_certain)
            channels = embedding_size or width
            self.convolutions = Convolutions(size, channels, encoder_stride, causal=at_certain)
            size = channels
        elif encoder_stride > 1:
            raise InputError(f"model.encoder_stride={encoder_stride} is for model.encoder=conv")
        self.steps: int | None = None
        if transpose:
            self.longest, self.channels = _longest(input, target), size
            self.steps = -(-self.longest // encoder_stride)
            size = self.steps
        self.width = size
        """Of what the first layer reads."""
        self.token_dropout = LayerDropout(token_dropout)
        self.embedding_dropout = LayerDropout(embedding_dropout)

    @property
    def beside_channels(self) -> int:
        """Of convolutions beside the recurrence, which are read out."""
        return self.beside.channels if isinstance(self.beside, Convolutions) else 0

    @property
    def whole(self) -> str | None:
        """The option by which a step of the network needs other steps of the sequence than those before it."""
        if self.convolutions is not None:
            return "model.encoder=conv"
        if self.beside is not None:
            regression = isinstance(self.beside, NGramRegression)
            return f"model.beside={'fcn' if self.beside_channels else 'ngram_regression' if regression else 'ngrams'}"
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
    def stride(self) -> int:
        """Steps of the input from one hidden state to the next."""
        return 1 if self.convolutions is None else self.convolutions.stride

    def read_lengths(self, lengths: Lengths | None) -> Lengths | None:
        """Valid steps of the hidden sequence, of those of the input."""
        if self.steps is not None:
            return None if lengths is None else torch.full_like(lengths, self.channels)
        return lengths if self.convolutions is None else self.convolutions.lengths(lengths)

    def check_inputs(self, inputs: Tensor, like: Tensor) -> None:
        """Holds an input against what the network reads, and its type and device against those of a weight.

        Raises:
            InputError: it doesn't fit.
        """
        if isinstance(self.encoder, nn.Embedding):
            if inputs.dim() != 2 or inputs.dtype not in (torch.int64, torch.int32):
                raise InputError(
                    "the input of this network must be token numbers, torch.int64 of the shape (batch, time), "
                    f"and is {inputs.dtype} of the shape {tuple(inputs.shape)}"
                )
            return
        features = self.features
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
        check_like("the input of this network", inputs, like)

    def read_in(
        self, inputs: Inputs, before: Any, lengths: Lengths | None, maps: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Lengths | None, Tensor | None]:
        """From the input to what the first layer reads.

        Args:
            inputs: as :meth:`rnnlab.network.Network.forward`.
            before: the tokens before, where n-grams are read.
            lengths: ``(batch,)`` valid steps of each sequence.
            maps: of an image encoder, where they are there already.

        Returns:
            ``(batch, time, width)``; ``(batch, channels)`` of what stands beside the recurrence, ``None`` for nothing;
            the valid steps of the first; and ``(batch, time, 1)`` the time since the step before, ``None`` where nobody
            knows.
        """
        elapsed = None
        if self.elapsed is not None:
            inputs, elapsed = apart(inputs, self.elapsed, self.drops_elapsed)
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
            elapsed = None if elapsed is None else strided(elapsed, lengths, self.stride)
            lengths = self.convolutions.lengths(lengths)
        if self.steps is not None:
            elapsed = None
            x = zero_padding(x, lengths)
            x = F.pad(x, (0, 0, 0, self.steps - x.shape[1])).transpose(1, 2)
            lengths = None
        return x, beside, lengths, elapsed


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
