"""N-grams of tokens: embeddings that are added to those of tokens, and a linear classifier beside a recurrence.

An n-gram has no number of its own: a hash of its tokens chooses one of a fixed number of rows, which n-grams of one
hash share (the hashing trick: K. Weinberger et al., "Feature hashing for large scale multitask learning" (2009), arXiv
0902.2206; for n-grams of characters and words P. Bojanowski et al., "Enriching word vectors with subword information"
(2017), arXiv 1607.04606, and A. Joulin et al., "Bag of tricks for efficient text classification" (2017), arXiv
1607.01759).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.shapes import Lengths, Tokens

MODULUS = 2**31 - 1
"""A prime: products of two numbers below it fit into 64 bits, so that a hash is the same on every device."""
MULTIPLIER = 506_952_114
"""2³² over the golden ratio, modulo the above (D. Knuth, "The Art of Computer Programming" 3 (1998), section 6.4)."""
RATE = 16.0
"""By which the weights of n-grams that stand beside a network are multiplied, and so learn the faster."""
FOLDS = 5
"""Parts of the training texts, each of which has a regression that was fitted without it."""


class TokenEmbedding(nn.Embedding):
    """A row for each token and, where ``ngrams`` are given, the sum with those of the n-grams that end with it.

    ::

        ngrams=(2, 3), the token c of      ∅ a b c d      embedding = row(c) + hashed(b c) + hashed(a b c)
        its first token a, after nothing   ∅ a b c d      embedding = row(a) + hashed(∅ a) + hashed(∅ ∅ a)

    What comes after a token changes nothing, so that a language model may read n-grams, a text can be read in pieces
    (``before`` is what is handed on), and padding at the end counts for nothing. Rows of n-grams start at zero: those
    that training never meets add nothing, and training begins as it does without them.

    Args:
        vocabulary: how many tokens there are.
        size: of an embedding.
        ngrams: the fewest and the most tokens of an n-gram; ``None`` for none.
        buckets: rows that n-grams share.
    """

    def __init__(self, vocabulary: int, size: int, ngrams: Sequence[int] | None = None, buckets: int = 0) -> None:
        super().__init__(vocabulary, size)
        self.ngrams, self.buckets = ngrams, buckets
        self.hashed = None if ngrams is None else nn.Parameter(torch.zeros(buckets, size))

    @property
    def memory(self) -> int:
        """Tokens that are to be known of those before a piece of text."""
        return 0 if self.ngrams is None else self.ngrams[1] - 1

    def start(self, batch_size: int) -> Tensor:
        """``(batch, memory)`` what stands before the first token: a number that no token has."""
        return torch.full((batch_size, self.memory), self.num_embeddings, device=self.weight.device)

    def check(self, before: Any, batch_size: int) -> None:
        """Holds what a caller hands in for ``before`` against :meth:`start`.

        Raises:
            InputError: it is another thing.
        """
        shape = (batch_size, self.memory)
        if not isinstance(before, Tensor) or before.shape != shape or before.dtype != torch.int64:
            has = f"{before.dtype} of {tuple(before.shape)}" if isinstance(before, Tensor) else type(before).__name__
            raise InputError(
                f"the last part of this network's state is the {self.memory} tokens before, torch.int64 of the shape "
                f"{shape}, and was given as {has}"
            )

    def forward(
        self, tokens: Tokens, before: Tensor | None = None, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """``(batch, time, size)``.

        Args:
            tokens: ``(batch, time)``.
            before: ``(batch, memory)`` the tokens before these; :meth:`start` by default.
            drop: dropout of rows ``(…, size)``, before they are summed.
        """
        row = super().forward(tokens)
        if self.hashed is None:
            return row if drop is None else drop(row)
        before = self.start(len(tokens)) if before is None else before
        rows = torch.cat([row[:, :, None], F.embedding(self.places(tokens, before), self.hashed)], 2)
        return (rows if drop is None else drop(rows)).sum(2)

    def places(self, tokens: Tokens, before: Tensor) -> Tensor:
        """``(batch, time, lengths of n-grams)`` the rows of the n-grams that end at each token."""
        assert self.ngrams is not None
        return ngram_rows(tokens, before, self.ngrams, self.buckets)

    def after(self, tokens: Tokens, before: Tensor, lengths: Lengths | None) -> Tensor:
        """``(batch, memory)`` the last valid tokens: ``before`` of what comes next."""
        whole = torch.cat([before, tokens], 1)
        if lengths is None:
            return whole[:, tokens.shape[1] :]
        return whole.gather(1, lengths[:, None] + torch.arange(self.memory, device=whole.device))


class NGramClassifier(nn.Module):
    """A weight of every token and n-gram of a text for each class, summed over the text: no order but that within them.

    ::

        ngrams=(2, 2), the text a b c      (weight(a) + weight(b) + weight(c) + hashed(∅ a) + hashed(a b) + hashed(b c))
                                           / √6

    The linear model of T. Joachims, "Text categorization with support vector machines: learning with many relevant
    features" (1998) and, hashed and learned by gradients, of A. Joulin et al. (2017), without the layer between. The
    square root makes a text's score as large as chance alone would, whatever its length. Weights start at zero. Since
    most are met a few times only, in training, they are kept in units of 1 / :data:`RATE`, so that an optimizer that
    moves all weights by steps of about one size moves these faster.

    Args:
        vocabulary: how many tokens there are.
        classes: how many numbers there are to predict.
        ngrams: the fewest and the most tokens of an n-gram.
        buckets: weights of a class that n-grams share.
    """

    def __init__(self, vocabulary: int, classes: int, ngrams: Sequence[int], buckets: int) -> None:
        super().__init__()
        self.vocabulary, self.ngrams, self.buckets = vocabulary, ngrams, buckets
        self.weight = nn.Parameter(torch.zeros(vocabulary + buckets, classes))

    def forward(
        self, tokens: Tokens, lengths: Lengths | None = None, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """``(batch, classes)``.

        Args:
            tokens: ``(batch, time)``.
            lengths: ``(batch,)`` valid tokens of each text, at least one; ``None`` where all are.
            drop: dropout of rows ``(…, classes)``, before they are summed.
        """
        rows = F.embedding(self.places(tokens), self.weight)
        rows = rows if drop is None else drop(rows)
        return RATE * self._total(rows, lengths)

    def places(self, tokens: Tokens) -> Tensor:
        """``(batch, time, 1 + lengths of n-grams)`` the rows of each token and of the n-grams that end with it."""
        before = tokens.new_full((tokens.shape[0], self.ngrams[1] - 1), self.vocabulary)
        rows = ngram_rows(tokens, before, self.ngrams, self.buckets) + self.vocabulary
        return torch.cat([tokens[:, :, None], rows], 2)

    def _total(self, rows: Tensor, lengths: Lengths | None) -> Tensor:
        """``(batch, time, terms, classes)`` to their sum over the terms of valid steps, by the root of how many."""
        terms = rows.shape[2]
        rows = rows.sum(2)
        number: Tensor | int = rows.shape[1]
        if lengths is not None:
            rows = rows.masked_fill((torch.arange(rows.shape[1], device=rows.device) >= lengths[:, None])[..., None], 0)
            number = lengths[:, None].to(rows)
        return rows.sum(1) / (number * terms) ** 0.5


class NGramRegression(NGramClassifier):
    """The same classifier, fitted before training by logistic regression, and never changed by a gradient.

    A regression on rare n-grams knows the texts that it was fitted to by heart, and a recurrence that learned what it
    leaves of them would learn nothing. So there are :data:`FOLDS` further ones, each fitted without the texts of one
    fold, and in training a text is told what that of its fold says, as in stacked generalisation (D. Wolpert (1992)).
    In evaluation the one that was fitted to all texts speaks. Which fold a text is in follows from its tokens alone, so
    that equal texts are in one, whatever their order and however often one comes.

    Attributes:
        weight: ``(vocabulary + buckets, classes)``, all zero until it is fitted (:mod:`rnnlab.tasks.ngram_fit`).
        held_out: ``(folds, vocabulary + buckets, classes)``.
    """

    held_out: Tensor
    held_out_bias: Tensor

    def __init__(self, vocabulary: int, classes: int, ngrams: Sequence[int], buckets: int) -> None:
        super().__init__(vocabulary, classes, ngrams, buckets)
        self.weight.requires_grad_(False)
        self.bias = nn.Parameter(torch.zeros(classes), requires_grad=False)
        self.register_buffer("held_out", torch.zeros(FOLDS, *self.weight.shape))
        self.register_buffer("held_out_bias", torch.zeros(FOLDS, classes))

    @property
    def fitted(self) -> bool:
        """Whether it was."""
        return bool(self.weight.any())

    def forward(
        self, tokens: Tokens, lengths: Lengths | None = None, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """As :meth:`NGramClassifier.forward`; nothing is dropped."""
        places = self.places(tokens)
        if not self.training:
            return self._total(F.embedding(places, self.weight), lengths) + self.bias
        folds = self.folds(places, lengths)
        rows = F.embedding(places + (folds * len(self.weight))[:, None, None], self.held_out.flatten(0, 1))
        return self._total(rows, lengths) + self.held_out_bias[folds]

    def folds(self, places: Tensor, lengths: Lengths | None = None) -> Tensor:
        """``(batch,)`` the fold of each text, of the ``places`` of its tokens and n-grams."""
        sums = places.sum(2)
        if lengths is not None:
            sums = sums.masked_fill(torch.arange(sums.shape[1], device=sums.device) >= lengths[:, None], 0)
        return sums.sum(1) % FOLDS


def ngram_rows(tokens: Tokens, before: Tensor, ngrams: Sequence[int], buckets: int) -> Tensor:
    """``(batch, time, lengths of n-grams)`` of the n-grams that end at each token, numbers below ``buckets``.

    Args:
        tokens: ``(batch, time)``.
        before: ``(batch, most - 1)`` the tokens before these.
        ngrams: the fewest and the most tokens of an n-gram.
        buckets: how many numbers there are.
    """
    shortest, longest = ngrams
    whole, time = torch.cat([before, tokens], 1), tokens.shape[1]
    hashes, found = tokens + 1, []
    for back in range(1, longest):
        earlier = whole[:, longest - 1 - back : longest - 1 - back + time]
        hashes = (hashes * MULTIPLIER + earlier + 1) % MODULUS
        if back + 1 >= shortest:
            found.append(hashes % buckets)
    return torch.stack(found, 2)
