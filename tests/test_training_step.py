"""What a training step is made of, beside what a whole training shows."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import PATIENCE
from torch import nn

from rnnlab.runs.epoch_loop import forget_gradients
from rnnlab.tasks.step import TrainingTotals, clip


@pytest.mark.parametrize("bound", [0.0, 0.5, 0.999, 0.9999999, 1.0, 1.0000001, 1.0011, 2.0, math.inf])
@pytest.mark.parametrize("spoiled", [None, math.inf, math.nan], ids=["", "infinite", "no number"])
def test_gradients_are_clipped_as_torch_clips_them(bound: float, spoiled: float | None) -> None:
    """The bound is a multiple of the norm."""
    torch.manual_seed(0)
    gradients = [torch.randn(5, 3), torch.randn(7)]
    norm = float(nn.utils.get_total_norm(gradients))
    if spoiled is not None:
        gradients[1][2] = spoiled

    def parameters() -> list[nn.Parameter]:
        made = [nn.Parameter(torch.zeros_like(each)) for each in gradients]
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        return made

    ours, theirs = parameters(), parameters()
    before = clip(ours, bound * norm, by_value=False)
    # Lightning leaves an infinite bound out
    expected = (
        nn.utils.get_total_norm(gradients) if math.isinf(bound) else nn.utils.clip_grad_norm_(theirs, bound * norm)
    )
    assert torch.equal(before.nan_to_num(), expected.nan_to_num())
    for own, other in zip(ours, theirs, strict=True):
        assert own.grad is not None and other.grad is not None
        assert torch.equal(own.grad.nan_to_num(7.0, 8.0, 9.0), other.grad.nan_to_num(7.0, 8.0, 9.0))


def test_totals_are_means_over_elements_and_go_on_where_a_checkpoint_stands() -> None:
    whole, parts = TrainingTotals(("loss", "accuracy")), TrainingTotals(("loss", "accuracy"))
    steps = [(2.5, 0.5, 4, 3.0), (1.0, 1.0, 2, 0.25), (0.5, 0.75, 8, 7.0)]
    for number, (loss, accuracy, weight, norm) in enumerate(steps):
        if number == 1:
            state, parts = parts.state(), TrainingTotals(("loss", "accuracy"))
            parts.restore(state)
        for totals in (whole, parts):
            totals.add((torch.tensor(loss), torch.tensor(accuracy)), torch.tensor(weight) if number else weight)
            totals.add_gradient(torch.tensor(norm), 1.0)
    for totals in (whole, parts):
        assert totals.means() == {"loss": 16 / 14, "accuracy": 10 / 14}
        assert totals.gradients() == {"norm": 10.25 / 3, "clipped": 2 / 3}
        assert totals.weight == 14 and totals.largest_norm == 7.0


def test_totals_of_an_epoch_that_has_not_begun_are_read_from_older_checkpoints() -> None:
    totals = TrainingTotals(("loss", "accuracy"))
    older = {name: torch.tensor(0.0) for name in ("_sums", "_norms", "_clipped", "_largest")}
    totals.restore({**older, "_weight": 0, "_steps": 0})
    totals.add((torch.tensor(3.0), torch.tensor(0.5)), 2)
    assert totals.means() == {"loss": 3.0, "accuracy": 0.5}


def test_an_optimizer_may_have_its_own_way_to_forget_gradients() -> None:
    class Own(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            super().zero_grad(set_to_none=False)

    for kind, forgotten in ((torch.optim.SGD, None), (Own, 0.0)):
        parameter = nn.Parameter(torch.tensor(1.0))
        parameter.grad = torch.tensor(5.0)
        forget_gradients(kind([parameter]))
        assert (None if parameter.grad is None else float(parameter.grad)) == forgotten


LATE = """
import sys
from rnnlab.commands import train
from rnnlab.runs.epoch_loop import EpochLoop

seen, advance = [], EpochLoop.advance

def first_step(self, *arguments):
    advance(self, *arguments)
    seen.append(seen[0] if seen else set(sys.modules))

EpochLoop.advance = first_step
status = train.main(sys.argv[1:])
late = sorted(name for name in sys.modules if name.startswith("rnnlab.") and name not in seen[0])
sys.exit(f"status {status}, imported late: {late}" if status or late else 0)
"""


@pytest.mark.slow
def test_nothing_of_ours_is_imported_once_a_step_is_made(tmp_path: Path) -> None:
    """Whoever works on the code while a run trains has other files there when it ends."""
    options = ["data=sine", "trainer.max_steps=40", "model.hidden_size=4", "trainer.accelerator=cpu"]
    command = [sys.executable, "-c", LATE, *options, f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
