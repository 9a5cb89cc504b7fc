"""What a task logs of an epoch reaches everybody as Lightning's own ``log`` would have it."""

from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, compose
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rnnlab.commands.outcome import same_as_loss
from rnnlab.instruments.tensorboard import tag
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.preparation import prepare
from rnnlab.tasks.task import Task


def test_scores_are_logged_as_by_lightnings_own_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(self: Task, scores: dict[str, Any]) -> None:
        log_scores(self, scores)
        self.log_dict({f"own {name}": score for name, score in scores.items()})

    log_scores = Task.log_scores
    monkeypatch.setattr(Task, "log_scores", both)
    directory = RunDirectory.claim(tmp_path / "run")
    execute(directory, compose(*TINY, "trainer.max_epochs=2", "instruments=none"), quiet=True)
    assert len(directory.epochs) == 2
    for row in directory.epochs:
        ours = {name: score for name, score in row.items() if f"own {name}" in row}
        assert {"train/loss", "val/mse", "gradient/norm", "lr"} <= set(ours)
        assert ours == {name: row[f"own {name}"] for name in ours}
    events = EventAccumulator(str(directory.path)).Reload()
    assert tag("val/mse") not in events.Tags()["scalars"], "it is val/loss once more"
    for name in ours.keys() - {"val/mse"}:
        tags = (tag(name), tag(f"own {name}"))
        one, other = ([(event.step, event.value) for event in events.Scalars(shown)] for shown in tags)
        assert one == other


@pytest.mark.parametrize(
    "overrides",
    [
        ("task.loss=mse",),
        ("task.loss=mae", "monitor=val/mae"),
        ("task.loss=huber",),
        ("task.distribution=gaussian",),
        ("data=adding",),
        ("data=classification",),
    ],
    ids=" ".join,
)
def test_the_score_that_is_the_loss_is_drawn_once(overrides: tuple[str, ...], tmp_path: Path) -> None:
    directory = RunDirectory.claim(tmp_path / "run")
    config = compose("instruments=none", "data.num_samples=40", "trainer.max_epochs=1", "model=rnn", *overrides)
    outcome = execute(directory, config, quiet=True)
    once = same_as_loss(outcome.metrics)
    assert prepare(config).task.loss_name == once
    drawn = EventAccumulator(str(directory.path)).Reload().Tags()["scalars"]
    assert {"val/loss", "when done/test/loss"} <= set(drawn)
    for score in (name.removeprefix("val/") for name in outcome.metrics if name.startswith("val/")):
        shown = [f"val/{score}" in drawn, f"when done/test/{score}" in drawn, f"when done/best/val/{score}" in drawn]
        assert shown == [score != once] * 3
