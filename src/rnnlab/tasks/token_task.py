"""What objectives for a token at each step have in common."""

from typing import Any

from torch import Tensor

from rnnlab.spec import IGNORED, Batch
from rnnlab.tasks.objective import SOFTMAX, mean_probability, named
from rnnlab.tasks.task import Task


class TokenTask(Task):
    """An objective whose outputs are scores of tokens, at each step at which one is asked."""

    target_kind = "tokens"

    def combine(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs)

    def predictions(self, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """A row for each step at which a token is asked."""
        rows, steps = (batch.targets != IGNORED).nonzero(as_tuple=True)
        probabilities = self(batch)[rows, steps].softmax(-1)
        truth, names = batch.targets[rows, steps], self.spec.target.names
        return rows, {
            "step": steps.numpy(),
            "truth": named(truth, names),
            "prediction": named(probabilities.argmax(-1), names),
            "p(truth)": probabilities.gather(-1, truth[:, None])[:, 0].numpy(),
        }

    def said(self, output: Tensor) -> dict[str, Any]:
        """The most probable token."""
        best, number = output.softmax(-1).max(-1)
        return {"prediction": named(number, self.spec.target.names), "p(prediction)": best.numpy()}

    def reading(self) -> dict[str, Any]:
        target = self.spec.target
        blank = {} if target.blank is None else {"blank": target.blank}
        return {"kind": "tokens", "names": list(target.labels), "rule": f"{SOFTMAX}, at every step", **blank}
