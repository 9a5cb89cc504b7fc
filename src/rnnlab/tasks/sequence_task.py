"""What all objectives have in common whose targets are sequences of their own length."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.sequence_scores import Bleu, ChrF, Truth, errors, right
from rnnlab.tasks.task import Task
from rnnlab.tasks.writing import Writer

NEVER = -1
"""In place of a token that has no number of its own: no answer is equal to it."""


class SequenceTask(Task):
    """A task whose target is a sequence of tokens; what its :meth:`answer` gives has the ``tokens`` that were said.

    It is judged by the error rate (``character_error_rate``, ``word_error_rate`` …): tokens to mend, of all that were
    asked for. Where an input has several right answers each counts as right.
    """

    target_kind = "sequence"
    baseline_name = "most frequent output"
    sequence_score_name = "exact_match"

    @property
    def error_rate(self) -> str:
        """What the error rate is called, by what a token is."""
        return f"{self.spec.target.unit}_error_rate"

    @property
    def verdict_score(self) -> str:
        return self.error_rate

    @property
    def end(self) -> int:
        """The token that ends a sequence."""
        assert self.spec.target.end is not None
        return self.spec.target.end

    def common(self, device: torch.device) -> Tensor:
        """``(tokens,)`` the most frequent sequence of the training split, without its end."""
        return torch.tensor(self.spec.common_target or (NEVER,), device=device)

    # ---- scores ---------------------------------------------------------------------------------------

    @abstractmethod
    def answer(self, batch: Batch) -> Any:
        """What is scored of a batch; its ``tokens`` are ``(batch, said)``, ``IGNORED`` behind the last."""

    def scores_of_prose(self) -> dict[str, Metric]:
        """BLEU and chrF, where what is said is made of words."""
        writer = Writer.of(self.spec.target)
        return {"bleu": Bleu(writer), "chrf": ChrF(writer)} if writer.prose else {}

    def compared(self, output: Any, batch: Batch) -> Any:
        return output, self.truth(batch)

    def truth(self, batch: Batch) -> Truth:
        """All that is right; a token that has no number of its own never is."""
        targets, target = batch.targets, self.spec.target
        references = targets[:, None]
        if batch.others is not None:
            others = batch.others
            short = others.shape[2] - targets.shape[1]
            first = F.pad(targets, (0, max(0, short)), value=IGNORED)[:, None]
            references = torch.cat([first, F.pad(others, (0, max(0, -short)), value=IGNORED)], 1)
        references = references.masked_fill(references == self.end, IGNORED)
        if target.unknown is not None:
            references = references.masked_fill(references == target.unknown, NEVER)
        return Truth(targets, references)

    def sequence_score(self, output: Any, batch: Batch) -> Tensor:
        return right(output.tokens, self.truth(batch)).float()

    def judge(self, output: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        wrong, asked = errors(output.tokens, self.truth(batch))
        return wrong / asked, asked

    # ---- what it says, in words -----------------------------------------------------------------------

    def written(self, tokens: Tensor) -> list[str]:
        """The texts of ``(batch, steps)`` tokens."""
        return self.texts(tokens.tolist())

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The same of tokens in lists; what is behind the last and the end are left out."""
        return Writer.of(self.spec.target).texts(rows)
