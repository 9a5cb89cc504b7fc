"""Which weights a run keeps, and what it says of that."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from rnnlab.runs.execution import Outcome
from rnnlab.runs.kept import LEAST, decays, how_solved, which_weights
from rnnlab.tasks.schedules import cosine, one_cycle, step, warmup


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, False), (one_cycle, True), (cosine, True), (partial(cosine, final=0.5), False), (warmup, False),
        (step, True), (torch.optim.lr_scheduler.ReduceLROnPlateau, False),
    ],
)  # fmt: skip
def test_which_schedules_decay(schedule: Any, expected: bool) -> None:
    assert decays(schedule) is expected


@pytest.mark.parametrize(
    ("keep", "monitor", "schedule", "validated", "expected"),
    [
        ("auto", "val/loss", one_cycle, LEAST - 1, "last"),
        ("auto", "val/loss", one_cycle, LEAST, "best"),
        ("auto", "val/loss", None, 1, "best"),
        ("auto", "train/loss", one_cycle, 1, "best"),
        ("best", "val/loss", one_cycle, 1, "best"),
        ("last", "val/loss", None, 1000, "last"),
    ],
)
def test_what_is_kept(keep: Any, monitor: str, schedule: Any, validated: int, expected: str) -> None:
    assert which_weights(keep, monitor, schedule, validated).which == expected


def test_of_a_readout_in_closed_form_the_last_weights_are_kept() -> None:
    assert which_weights("best", "val/loss", None, 1000, closed_form=True).which == "last"
    once, again = (how_solved("auto", 0, refitted) for refitted in (False, True))
    assert once == "its penalty by the leave-one-out error"
    assert "solved once more, with the validation part" in again.removeprefix(once)
    assert how_solved(0.5, 0, False) == "its penalty model.penalty=0.5"


def test_a_run_that_keeps_its_last_weights_trains_to_the_end_and_says_so(train: Callable[..., Outcome]) -> None:
    # a rate at which nothing changes, so that the first epoch is the best one
    still = ("data=classification", "model.hidden_size=4", "instruments=none", "optimizer.lr=1e-30",
            "trainer.max_epochs=6", "early_stopping.patience=1")  # fmt: skip
    best, last = train(*still, "keep=best"), train(*still, "keep=last")
    assert last.metrics["epochs"] == last.metrics["best_epoch"] == 6
    assert best.metrics["epochs"] < 6
    assert best.directory.status.kept == "the best by val/loss"
    assert "last" in str(last.directory.status.kept)
