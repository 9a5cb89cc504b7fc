"""A rival for text classifiers: logistic regression on the n-grams of a text, in which their order is lost.

Each n-gram of a text counts by tf-idf (1 + log of how often it is in the text, times how seldom texts have it: G.
Salton & C. Buckley, "Term-weighting approaches in automatic text retrieval" (1988)), and a linear classifier weighs
them: a baseline that is hard to beat (S. Wang & C. Manning, "Baselines and bigrams: simple, good sentiment and topic
classification" (2012)). scikit-learn does both.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.corpus import Unit
from rnnlab.data.text_encoder import tokens

NGRAMS = {"character": (1, 5), "byte": (1, 5), "word": (1, 2)}
"""The fewest and the most tokens of an n-gram."""
INVERSE_PENALTY = 10.0
"""scikit-learn's ``C``."""
MOST_TOKENS = 500_000
"""Of the training texts that are fitted: of more, texts at equal distances are taken, so that it stays a matter of
seconds."""


def is_there() -> bool:
    """Whether scikit-learn is installed (extra ``datasets``)."""
    return find_spec("sklearn") is not None


# the seeds of a sweep have the same texts
@lru_cache(maxsize=4)
def ngram_regression(
    train: tuple[str, ...], labels: tuple[int, ...], test: tuple[str, ...], unit: Unit, max_length: int | None
) -> Tensor:
    """``(test texts, classes)`` logarithmic probabilities.

    Args:
        train: normalized texts.
        labels: of these, all classes among them.
        test: normalized texts.
        unit: of a token.
        max_length: tokens after which a text is cut.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    cut: Callable[[str], Sequence[str]] = partial(_tokens, unit=unit, max_length=max_length)
    vectorizer = TfidfVectorizer(
        tokenizer=cut, token_pattern=None, lowercase=False, ngram_range=NGRAMS[unit], sublinear_tf=True
    )
    every = -(-sum(len(cut(text)) for text in train) // MOST_TOKENS)
    classifier = LogisticRegression(C=INVERSE_PENALTY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could be fitted further
        classifier.fit(vectorizer.fit_transform(train[::every]), labels[::every])
    found = np.full((len(test), max(labels) + 1), -np.inf)
    found[:, classifier.classes_] = classifier.predict_log_proba(vectorizer.transform(test))
    return torch.from_numpy(found).clamp_min(-100)


def _tokens(text: str, unit: Unit, max_length: int | None) -> Sequence[str]:
    return tokens(text, unit)[:max_length]
