"""Scores of sequences that are said, held against those that were asked for."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.text import BLEUScore, CHRFScore

from rnnlab.spec import IGNORED
from rnnlab.tasks.writing import Writer


class Answer(NamedTuple):
    """What a predictor says of a batch.

    scores
        ``(batch, steps, size)`` of each token when the true ones before it are known, for the loss.
    tokens
        ``(batch, said)`` what it says by itself, without the end, ``IGNORED`` behind the last.
    """

    scores: Tensor
    tokens: Tensor


class Aligned(NamedTuple):
    """What a network says step by step, and what that comes to.

    scores
        ``(batch, steps, size)`` of each token, the blank among them.
    tokens
        ``(batch, said)`` what is said, ``IGNORED`` behind the last of each.
    blanks
        ``(batch,)`` steps at which the blank is most probable.
    lengths
        ``(batch,)`` valid steps.
    """

    scores: Tensor
    tokens: Tensor
    blanks: Tensor
    lengths: Tensor


class Truth(NamedTuple):
    """What was asked for.

    targets
        ``(batch, steps)`` with the end, ``IGNORED`` behind it.
    references
        ``(batch, answers, steps)`` all that are right, without the end; one that is never right is below 0 but not
        ``IGNORED``.
    """

    targets: Tensor
    references: Tensor


def edit_distance(said: Tensor, truth: Tensor) -> Tensor:
    """``(batch,)`` the fewest tokens to insert, leave out or replace (V. I. Levenshtein 1966).

    Args:
        said: ``(batch, m)`` tokens, ``IGNORED`` behind the last of each.
        truth: ``(batch, n)`` tokens, ``IGNORED`` behind the last of each.
    """
    lengths, steps = (said != IGNORED).sum(1), torch.arange(truth.shape[1] + 1, device=truth.device)
    row = steps.expand(len(truth), -1)
    for i in range(said.shape[1]):
        replaced = row[:, :-1] + (truth != said[:, i : i + 1])
        best = torch.cat([row[:, :1] + 1, torch.minimum(row[:, 1:] + 1, replaced)], 1)
        # left out in a run: the least of best[k] + (j - k) over all k up to j
        after = (best - steps).cummin(1).values + steps
        row = torch.where((i < lengths)[:, None], after, row)
    return row.gather(1, (truth != IGNORED).sum(1, keepdim=True))[:, 0]


def errors(said: Tensor, truth: Truth) -> tuple[Tensor, Tensor]:
    """``(batch,)`` tokens to mend until what is said is right, and how many the right answer has that it is nearest to;
    at least one, so that a rate can be taken.
    """
    batch, answers = truth.references.shape[:2]
    every = edit_distance(said.repeat_interleave(answers, 0), truth.references.flatten(0, 1)).view(batch, answers)
    distance, nearest = every.min(1)
    sizes = (truth.references != IGNORED).sum(2).clamp_min(1)
    return distance, sizes.gather(1, nearest[:, None])[:, 0]


def right(said: Tensor, truth: Truth) -> Tensor:
    """``(batch,)`` whether each is one of the right answers, token for token."""
    return errors(said, truth)[0] == 0


class ErrorRate(Metric):
    """Tokens to mend, of all that were asked for: the character error rate where a token is a character, as
    :class:`torchmetrics.text.CharErrorRate` has it.
    """

    higher_is_better = False
    wrong: Tensor
    asked: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("wrong", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("asked", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answer: Answer | Aligned, truth: Truth) -> None:
        wrong, asked = errors(answer.tokens, truth)
        self.wrong = self.wrong + wrong.sum()
        self.asked = self.asked + asked.sum()

    def compute(self) -> Tensor:
        return self.wrong / self.asked


class _Share(Metric):
    """A part of a whole, both counted."""

    right: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        return self.right / self.count


class ExactMatch(_Share):
    """Share of the sequences that are right from the first token to the last."""

    higher_is_better = True

    def update(self, answer: Answer | Aligned, truth: Truth) -> None:
        self.right = self.right + right(answer.tokens, truth).sum()
        self.count = self.count + len(answer.tokens)


class TokenAccuracy(_Share):
    """Share of the tokens, the end among them, that are right when all true ones before them are known."""

    higher_is_better = True

    def update(self, answer: Answer, truth: Truth) -> None:
        self.right = self.right + (answer.scores.argmax(-1) == truth.targets).sum()
        self.count = self.count + (truth.targets != IGNORED).sum()


class Unfinished(_Share):
    """Share of the sequences that are as long as may be said, and so most likely never came to an end.

    Args:
        longest: tokens of a sequence, at most.
    """

    higher_is_better = False

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest

    def update(self, answer: Answer | Aligned, truth: Truth) -> None:
        self.right = self.right + ((answer.tokens != IGNORED).sum(1) >= self.longest).sum()
        self.count = self.count + len(answer.tokens)


class WordErrorRate(Metric):
    """Words to mend, of all that were asked for, where a token is a character; as
    :class:`torchmetrics.text.WordErrorRate` has it.

    Args:
        space: the token between two words.
    """

    higher_is_better = False
    wrong: Tensor
    asked: Tensor

    def __init__(self, space: int) -> None:
        super().__init__()
        self.space = space
        self.add_state("wrong", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("asked", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answer: Answer | Aligned, truth: Truth) -> None:
        wrong, asked = word_errors(answer.tokens, truth, self.space)
        self.wrong = self.wrong + wrong.sum()
        self.asked = self.asked + asked.sum()

    def compute(self) -> Tensor:
        return self.wrong / self.asked


def word_errors(said: Tensor, truth: Truth, space: int) -> tuple[Tensor, Tensor]:
    """As :func:`errors`, of words: what stands between two ``space`` tokens."""
    numbers: dict[tuple[int, ...], int] = {}

    def words(rows: Tensor) -> Tensor:
        found = []
        for row in rows.tolist():
            parts: list[list[int]] = [[]]
            for token in row:
                if token == space:
                    parts.append([])
                elif token != IGNORED:
                    parts[-1].append(token)
            found.append([numbers.setdefault(tuple(part), len(numbers)) for part in parts if part])
        most = max(1, *map(len, found)) if found else 1
        return torch.tensor([[*row, *[IGNORED] * (most - len(row))] for row in found], device=rows.device)

    references = words(truth.references.flatten(0, 1)).view(*truth.references.shape[:2], -1)
    return errors(words(said), Truth(truth.targets, references))


class BlankShare(_Share):
    """Share of the steps at which the blank is most probable (:class:`rnnlab.tasks.transcription.Transcription`)."""

    higher_is_better = None

    def update(self, answer: Aligned, truth: Truth) -> None:
        self.right = self.right + answer.blanks.sum()
        self.count = self.count + answer.lengths.sum()


def texts(writer: Writer, answer: Answer, truth: Truth) -> tuple[list[str], list[list[str]]]:
    """What is said, and all that is right, in words."""
    references = [list(dict.fromkeys(writer.texts(rows))) for rows in truth.references.tolist()]
    return writer.texts(answer.tokens.tolist()), references


class Bleu(BLEUScore):
    """BLEU of up to four words, from 0 to 1 (K. Papineni et al., "BLEU: a method for automatic evaluation of machine
    translation", 2002), by torchmetrics, of all sequences together; a word is what stands between spaces.

    Args:
        writer: makes texts of tokens.
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.writer = writer

    def update(self, preds: Any, target: Any) -> None:
        """Takes an :class:`Answer` and the :class:`Truth`."""
        super().update(*texts(self.writer, preds, target))


class ChrF(CHRFScore):
    """chrF, from 0 to 1: the F-score of n-grams of up to six characters, recall counting twice as much (M. Popović,
    "chrF: character n-gram F-score for automatic MT evaluation", 2015), by torchmetrics.

    Args:
        writer: makes texts of tokens.
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__(n_word_order=0)
        self.writer = writer

    def update(self, preds: Any, target: Any) -> None:
        """Takes an :class:`Answer` and the :class:`Truth`."""
        super().update(*texts(self.writer, preds, target))
