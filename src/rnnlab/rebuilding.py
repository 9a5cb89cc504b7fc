"""From a few numbers, made of a whole sequence, back to each of its steps: the second half of an autoencoder.

    c = W h_n + b                            the code: of the state in which the encoder leaves the sequence
    s_0 = tanh(U c + d)                      where the decoding cell begins
    s_1, …, s_n = cell(c, …, c)              it reads the code at every step, and nothing else
    x̂_{n+1-t} = V s_t + a                    the last step first

N. Srivastava, E. Mansimov & R. Salakhutdinov, "Unsupervised learning of video representations using LSTMs" (2015),
arXiv 1502.04681, section 2.1: the order is reversed, since the last step is what the encoder remembers best.
P. Malhotra et al., "LSTM-based encoder-decoder for multi-sensor anomaly detection" (2016), arXiv 1607.00148. There the
decoder also reads its own step before (or in training the true one). Here it does not (the "unconditioned" decoder of
Srivastava et al.): a step is never told its neighbour, which it could copy, and all steps run at once by
whatever executes the cell.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.cells.cell import Cell, map_state, reverse_valid
from rnnlab.errors import InputError
from rnnlab.shapes import Lengths, State


class Rebuilder(nn.Module):
    """A bottleneck and a decoding cell behind it.

    Args:
        summary_size: of what the encoder says of a sequence.
        code_size: numbers that are kept of it.
        cell: that reads them at each step.
    """

    def __init__(self, summary_size: int, code_size: int, cell: Cell[Any]) -> None:
        super().__init__()
        self.bottleneck, self.cell = nn.Linear(summary_size, code_size), cell
        start = cell.initial_state(1)
        parts = start if isinstance(start, tuple) else (start,)
        # what is no real number, such as a count of steps, begins as it does in the encoder
        self.begin = nn.ModuleList(
            nn.Linear(code_size, part[0].numel())
            for part in parts if part.is_floating_point() and cell.starts_anywhere
        )  # fmt: skip

    def forward(
        self, run: Callable[..., tuple[Tensor, State]], summary: Tensor, inputs: Tensor, lengths: Lengths | None
    ) -> Tensor:
        """``(batch, time, hidden)`` in the order of the input, from ``(batch, summary size)``.

        Args:
            run: ``run(cell, x, start, lengths)`` takes the cell over all steps.
            summary: of each sequence.
            inputs: ``(batch, time, …)`` that tell how many steps there are, and nothing else.
            lengths: ``(batch,)`` valid steps of each.
        """
        code = self.bottleneck(summary)
        # a number of steps would be fixed in an exported file
        x = code[:, None] + torch.zeros_like(inputs[..., :1])
        begin = iter(self.begin)
        anywhere = self.cell.starts_anywhere

        def started(part: Tensor) -> Tensor:
            """Of each sequence, of a part of the state of one."""
            if anywhere and part.is_floating_point():
                made: Tensor = next(begin)(code).tanh().reshape(-1, *part.shape[1:])
                return made
            return part.expand(code.shape[0], *part.shape[1:])

        start = map_state(started, self.cell.initial_state(1))
        decoded, _ = run(self.cell, x, start, lengths)
        return reverse_valid(decoded, lengths)


def check_rebuildable(readout: str, beside: str, tie_embeddings: bool) -> None:
    """Refuses options that have no meaning where a sequence is rebuilt.

    Raises:
        InputError: naming the key.
    """
    refused = {"beside": (beside, "none"), "tie_embeddings": (tie_embeddings, False)}
    if readout in ("statistics", "vote"):
        refused["readout"] = (readout, "auto")
    for name, (value, usual) in refused.items():
        if value != usual:
            raise InputError(
                f"model.{name}={str(value).lower()}: task=reconstruction makes a code of the whole sequence (by "
                f"model.readout=last, mean, max or mean_max), and rebuilds it from that: use "
                f"model.{name}={str(usual).lower()}"
            )
