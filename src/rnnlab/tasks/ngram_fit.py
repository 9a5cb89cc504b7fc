"""Logistic regression on the tokens and n-grams of texts, for :class:`rnnlab.ngrams.NGramRegression`.

The weight of a term i for a class c is r_ic v_ic, where r_ic is the logarithm of how much more often texts of the class
have the term than others, and v minimizes

    Σ_texts cross-entropy + λ/2 Σ_ic v_ic²

so that a term that says little of a class gets little weight: a regression with the features of naive Bayes (S. Wang &
C. Manning, "Baselines and bigrams: simple, good sentiment and topic classification" (2012), section 2.3, which has a
support vector machine). The problem is convex, and L-BFGS solves it. λ is the one of :data:`PENALTIES` with which the
regression of the first fold has the least cross-entropy on the texts that it was fitted without.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ngrams import FOLDS, NGramRegression
from rnnlab.spec import Batch, valid_steps

PENALTIES = (0.3, 0.1, 0.03)
"""λ, the largest first: each is solved from where the one before ended."""
PRIOR = 1.0
"""Texts of each class and of the others in which each term is counted beside those that have it."""
ITERATIONS = 30
"""Of L-BFGS at most, for each λ."""


@dataclass(frozen=True)
class Regression:
    """How it was fitted.

    Attributes:
        penalty: λ that was chosen.
        loss: mean cross-entropy on the folds left out, in nats.
        accuracy: there.
    """

    penalty: float
    loss: float
    accuracy: float


@torch.no_grad()
def fit_ngrams(classifier: NGramRegression, batches: Callable[[], Iterable[Batch]]) -> Regression:
    """Sets the weights of a classifier, and those of its folds.

    Args:
        classifier: whose weights are all replaced.
        batches: the training split.
    """
    texts = _Texts.of(classifier, batches())
    said = torch.zeros(len(texts.labels), len(classifier.bias), dtype=torch.float64)
    best = PENALTIES[0]
    for fold in range(FOLDS):
        left_out = texts.folds == fold
        rest, others = texts.take(left_out), texts.take(~left_out)
        if not len(others.labels):
            continue
        problem = _Problem(others, classifier)
        if fold == 0 and len(rest.labels):
            best = min(PENALTIES, key=lambda penalty: _loss(problem, penalty, rest))
        weight, bias = problem.solve(best)
        classifier.held_out[fold].copy_(weight)
        classifier.held_out_bias[fold].copy_(bias)
        if len(rest.labels):
            said[left_out] = rest.matrix(len(weight)) @ weight + bias
    weight, bias = _Problem(texts, classifier).solve(best)
    classifier.weight.copy_(weight)
    classifier.bias.copy_(bias)
    accuracy = (said.argmax(1) == texts.labels).double().mean()
    return Regression(best, float(F.cross_entropy(said, texts.labels)), float(accuracy))


def _loss(problem: "_Problem", penalty: float, rest: "_Texts") -> float:
    weight, bias = problem.solve(penalty)
    return float(F.cross_entropy(rest.matrix(len(weight)) @ weight + bias, rest.labels))


@dataclass(frozen=True)
class _Texts:
    """Terms one after the other, and of which text each is.

    Attributes:
        terms: ``(terms,)`` the rows of the tokens and n-grams of all texts.
        numbers: ``(texts,)`` how many each has.
        labels: ``(texts,)`` their classes.
        folds: ``(texts,)``.
    """

    terms: Tensor
    numbers: Tensor
    labels: Tensor
    folds: Tensor

    @classmethod
    def of(cls, classifier: NGramRegression, batches: Iterable[Batch]) -> "_Texts":
        terms, numbers, labels, folds = [], [], [], []
        for batch in batches:
            places, valid = classifier.places(batch.inputs), valid_steps(batch.inputs, batch.lengths)
            terms.append(places[valid].flatten().cpu())
            numbers.append((valid.sum(1) * places.shape[2]).cpu())
            labels.append(batch.targets.cpu())
            folds.append(classifier.folds(places, batch.lengths).cpu())
        return cls(*map(torch.cat, (terms, numbers, labels, folds)))

    def take(self, chosen: Tensor) -> "_Texts":
        """Those where ``(texts,)`` is true."""
        terms = self.terms[chosen.repeat_interleave(self.numbers)]
        return _Texts(terms, self.numbers[chosen], self.labels[chosen], self.folds[chosen])

    def matrix(self, rows: int) -> Tensor:
        """``(texts, rows)`` sparse: how often a text has each term, over the root of how many terms it has."""
        text = torch.arange(len(self.labels)).repeat_interleave(self.numbers)
        values = self.numbers.double().rsqrt().repeat_interleave(self.numbers)
        shape = (len(self.labels), rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that torch still works at what else these can do
            return _by_rows(
                torch.sparse_coo_tensor(torch.stack([text, self.terms]), values, shape, check_invariants=True)
            )


class _Problem:
    """The regression on some texts, solved for one λ after another."""

    def __init__(self, texts: _Texts, classifier: NGramRegression) -> None:
        rows, terms = texts.terms.unique(return_inverse=True)
        classes = len(classifier.bias)
        self.texts = _Texts(terms, texts.numbers, texts.labels, texts.folds)
        self.rows, self.shape = rows, classifier.weight.shape
        self.matrix = self.texts.matrix(len(rows))
        self.transposed = _by_rows(self.matrix.to_sparse_coo().t())
        self.ratios = _ratios(self.texts, len(rows), classes)
        self.v = torch.zeros(len(rows), classes, dtype=torch.float64)
        # that of each class alone: where a text says nothing, its class is as likely as it is frequent
        frequencies = torch.bincount(texts.labels, minlength=classes).double() + PRIOR
        self.bias = (frequencies / frequencies.sum()).log()

    def solve(self, penalty: float) -> tuple[Tensor, Tensor]:
        """The weights of all rows, zero where no text has the term, and of the classes."""
        wanted, number = F.one_hot(self.texts.labels, len(self.bias)).double(), len(self.texts.labels)
        optimizer = torch.optim.LBFGS(
            [self.v, self.bias], max_iter=ITERATIONS, tolerance_change=1e-7, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            scores = self.matrix @ (self.ratios * self.v) + self.bias
            excess = (scores.softmax(1) - wanted) / number
            self.v.grad = self.ratios * (self.transposed @ excess) + penalty / number * self.v
            self.bias.grad = excess.sum(0)
            return F.cross_entropy(scores, self.texts.labels) + penalty / 2 / number * self.v.square().sum()

        optimizer.step(loss)
        weight = torch.zeros(self.shape, dtype=torch.float64)
        weight[self.rows] = self.ratios * self.v
        return weight, self.bias.clone()


def _by_rows(matrix: Tensor) -> Tensor:
    """Whose products with dense matrices are fast; what has one place several times is summed."""
    return matrix.coalesce().to_sparse_csr()


def _ratios(texts: _Texts, rows: int, classes: int) -> Tensor:
    """``(rows, classes)`` logarithms of how often texts of the class have a term, over how often others have it."""
    of_text = torch.arange(len(texts.labels)).repeat_interleave(texts.numbers)
    pairs = (of_text * rows + texts.terms).unique()  # a term counts once in a text
    counts = torch.zeros(rows * classes, dtype=torch.float64)
    where = pairs % rows * classes + texts.labels[pairs // rows]
    counts = counts.index_add(0, where, torch.ones(len(where), dtype=torch.float64)).view(rows, classes)
    inside, outside = counts + PRIOR, counts.sum(1, keepdim=True) - counts + PRIOR
    return (inside / inside.sum(0)).log() - (outside / outside.sum(0)).log()
