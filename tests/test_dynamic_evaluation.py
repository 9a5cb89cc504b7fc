"""A network that learns on from the text that it is tested on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_language import model, text
from torch import Tensor

from rnnlab.errors import InputError
from rnnlab.runs.evaluation import evaluate
from rnnlab.runs.execution import Outcome
from rnnlab.spec import Batch
from rnnlab.tasks.dynamic_evaluation import learning_on
from rnnlab.tasks.language_modeling import LanguageModeling

Train = Callable[..., Outcome]
OPTIONS = ("data=text", "data.length=16", "data.num_samples=300", "instruments=none", "model.hidden_size=8")


def answers(task: LanguageModeling, batches: list[Batch], rate: float) -> list[Tensor]:
    return [output for output, _ in learning_on(task.network, batches, task.loss, rate)]


def test_nothing_is_learned_from_what_is_still_to_be_predicted(tmp_path: Path) -> None:
    data = text(tmp_path)
    task, batches = model(data), list(data.in_order("train", batch_size=1))[:6]
    other = [*batches[:3], *reversed(batches[3:])]
    for here, there in zip(answers(task, batches, 0.1)[:3], answers(task, other, 0.1)[:3], strict=True):
        assert torch.equal(here, there)


def test_all_that_was_predicted_before_is_learned_from(tmp_path: Path) -> None:
    data = text(tmp_path)
    task, batches = model(data), list(data.in_order("train", batch_size=1))[:3]
    first, *_, last = answers(task, batches, 0.1)
    without = answers(task, batches, 1e-12)
    assert torch.equal(first, without[0])
    assert not torch.allclose(last, without[-1], atol=1e-3)


def test_the_state_is_carried_and_the_network_stays_as_it_is(tmp_path: Path) -> None:
    data = text(tmp_path)
    task, batches = model(data), list(data.in_order("test", batch_size=1))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    with torch.inference_mode():
        whole, _ = task.network(torch.cat([batch.inputs for batch in batches], 1))
        found = answers(task, batches, 1e-12)
        answers(task, batches, 0.1)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in task.network.state_dict().items())


def test_who_learns_on_reads_what_repeats_itself_better(train: Train) -> None:
    outcome = train(*OPTIONS, "task.dynamic_evaluation=0.01")
    scores = outcome.metrics
    assert scores["test/dynamic/bits_per_character"] < scores["test/bits_per_character"] - 0.2
    again = evaluate(outcome.directory.config, outcome.directory)
    for name in ("test/bits_per_character", "test/dynamic/bits_per_character", "test/dynamic/accuracy"):
        assert again[name] == pytest.approx(scores[name], rel=1e-6)
    assert "test/dynamic/loss" not in train(*OPTIONS).metrics


def test_sequences_that_stand_for_themselves_are_refused(tmp_path: Path) -> None:
    data = text(tmp_path)
    with pytest.raises(InputError, match=r"task\.dynamic_evaluation=0\.001 .*each sequence"):
        LanguageModeling(model(data).network, replace(data.spec, streamed=False), dynamic_evaluation=1e-3)
