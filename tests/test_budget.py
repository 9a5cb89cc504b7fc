"""How long a run trains, and which batches its epochs are made of."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from conftest import compose

from rnnlab.data.batches import Batches, BatchOrder, Divided
from rnnlab.data.sine import Sine
from rnnlab.data.split import Split
from rnnlab.errors import InputError
from rnnlab.runs.budget import LEAST_BETWEEN, MAX_STEPS, plan
from rnnlab.runs.execution import Outcome
from rnnlab.runs.preparation import prepare


@pytest.mark.parametrize("batches", [1, 3, 25, 49, 50, 51, 66, 312, 1999, 2001, 60_000])
def test_a_default_run_makes_about_as_many_updates_on_data_of_any_size(batches: int) -> None:
    budget = plan({}, batches)
    each = budget.batches or batches
    assert budget.steps == budget.epochs * each
    # whole epochs alike: less than one update an epoch is lost
    assert MAX_STEPS - budget.epochs < budget.steps <= MAX_STEPS
    # a validation comes after a pass, or after some updates where a pass is shorter
    assert each >= min(max(batches, LEAST_BETWEEN), MAX_STEPS)
    assert budget.passes == pytest.approx(budget.steps / batches)
    assert budget.epochs <= MAX_STEPS / LEAST_BETWEEN


def test_passes_where_passes_are_asked_for() -> None:
    for batches, epochs in product((1, 25, 5000), (1, 30)):
        budget = plan({"max_epochs": epochs, "max_steps": "auto"}, batches)
        assert (budget.epochs, budget.batches, budget.steps, budget.passes) == (epochs, None, epochs * batches, epochs)


def test_the_smaller_of_two_budgets_ends_the_run() -> None:
    assert plan({"max_epochs": 4, "max_steps": 1000}, 25).steps == 100
    assert plan({"max_epochs": 400, "max_steps": 1000}, 25).steps == 1000
    assert plan({"max_steps": 3}, 25) == plan({"max_epochs": 9, "max_steps": 3}, 25)
    assert plan({"max_steps": 3}, 25).steps == 3


@pytest.mark.parametrize(
    ("options", "epochs", "each"),
    [
        ({"steps_per_epoch": 10, "max_steps": 100}, 10, 10),
        ({"steps_per_epoch": 10, "max_epochs": 2}, 5, 10),
        ({"steps_per_epoch": 500, "max_steps": 100}, 1, 100),
        ({"max_steps": 100, "accumulate_grad_batches": 4}, 2, 200),
        ({"limit_train_batches": 5, "max_steps": 100}, 20, None),
        ({"overfit_batches": 0.2, "max_steps": 100}, 20, None),
    ],
)
def test_epochs_as_asked_for(options: dict[str, Any], epochs: int, each: int | None) -> None:
    budget = plan(options, 25)
    assert (budget.epochs, budget.batches) == (epochs, each)


def test_a_limited_pass_has_no_other_epochs() -> None:
    with pytest.raises(InputError, match=r"steps_per_epoch=10 and trainer\.limit_train_batches=5: give one"):
        plan({"steps_per_epoch": 10, "limit_train_batches": 5}, 25)


def test_an_epoch_of_a_carried_state_stays_within_its_pass() -> None:
    assert plan({}, 7, whole_passes=True).batches is None
    # too long a pass is not finished, and no second one begins
    budget = plan({}, 60_000, whole_passes=True)
    assert (budget.epochs, budget.batches) == (1, MAX_STEPS)


@pytest.mark.parametrize("length", [1, 3, 7, 10, 23])
@pytest.mark.parametrize("lengths", [None, torch.arange(31) % 5 + 1])
def test_divided_passes_are_the_passes_one_behind_the_other(length: int, lengths: torch.Tensor | None) -> None:
    passes = BatchOrder(31, 4, lengths, seed=3)
    whole = []
    for number in range(9):
        passes.set_epoch(number)
        whole += [batch.tolist() for batch in passes]
    divided, parts = Divided(BatchOrder(31, 4, lengths, seed=3), length), []
    for epoch in range(len(whole) // length):
        divided.set_epoch(epoch)
        batches = [batch.tolist() for batch in divided]
        assert len(batches) == len(divided) == length
        parts += batches
    assert parts == whole[: len(parts)]


def test_a_divided_epoch_goes_on_in_its_middle() -> None:
    def served() -> Batches:
        x = torch.arange(10.0)[:, None, None]
        batches = Batches(Split(x, x), BatchOrder(10, 3, None, seed=1))
        assert batches.state_dict() == {"epoch": 0, "position": 0}, "of one that no batch was asked of"
        batches.divide(11)
        batches.order.set_epoch(2)
        return batches

    whole = [batch.inputs.flatten().tolist() for batch in served()]
    first = served()
    iterator = iter(first)
    begun = [next(iterator).inputs.flatten().tolist() for _ in range(5)]
    second = served()
    second.load_state_dict(first.state_dict())
    assert begun + [batch.inputs.flatten().tolist() for batch in second] == whole


@pytest.mark.parametrize("name", ["sine", "classification", "tokens", "text"])
def test_a_pass_is_counted_without_loading_it(name: str) -> None:
    data = prepare(compose(f"data={name}", "data.batch_size=7")).data
    assert data.batches_per_pass == len(data.train_dataloader())


def test_a_run_of_so_many_updates(train: Callable[..., Outcome]) -> None:
    options = ("trainer.max_epochs=null", "instruments=none", "model.hidden_size=4", "scheduler=one_cycle")
    outcome = train(*options, "trainer.max_steps=20", "trainer.steps_per_epoch=5")
    assert outcome.metrics["steps"] == 20
    assert [(row["epoch"], row["step"]) for row in outcome.directory.epochs] == [(1, 5), (2, 10), (3, 15), (4, 20)]


@pytest.mark.parametrize(("trained_on", "batch"), [(999, 16), (1000, 32)])
def test_few_sequences_come_in_small_batches(trained_on: int, batch: int) -> None:
    data: Any = Sine(num_samples=trained_on + 20, val_fraction=10 / (trained_on + 20),
                     test_fraction=10 / (trained_on + 20), batch_size="auto")  # type: ignore[arg-type]  # fmt: skip
    assert (data.size("train"), data.batch_size) == (trained_on, batch)


def test_updates_that_make_no_whole_epochs_are_said() -> None:
    short, whole = plan({"max_steps": 137}, 10), plan({"max_steps": 150}, 10)
    assert short.steps == 136 and short.note.startswith("136 of 137 updates: 2 × 68")
    assert whole.steps == 150 and not whole.note
