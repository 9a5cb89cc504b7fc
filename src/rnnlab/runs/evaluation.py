"""A trained run on test data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning import Trainer

from rnnlab.runs.checkpoint import load_weights, read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.preparation import Run, prepare
from rnnlab.runs.threads import use_threads
from rnnlab.runs.trainer import build_trainer, quiet_lightning
from rnnlab.runs.verdict import judge
from rnnlab.runs.verdict.gathering import evidence
from rnnlab.store.verdict import Verdict


def evaluate(config: Mapping[str, Any], directory: RunDirectory, allow: Sequence[str] = ()) -> dict[str, float]:
    """Tests a run's best weights on the data that a config describes.

    Raises:
        InputError: there is no checkpoint, it does not fit, or the config cannot work.
    """
    return evaluate_and_judge(config, directory, allow)[0]


def evaluate_and_judge(
    config: Mapping[str, Any], directory: RunDirectory, allow: Sequence[str] = ()
) -> tuple[dict[str, float], Verdict]:
    """As :func:`evaluate`, and what these scores are worth: the verdict does not look at how the run was trained.

    Raises:
        InputError: there is no checkpoint, it does not fit, or the config cannot work.
    """
    run = prepare(config, allow, trained=read_checkpoint(directory.best_checkpoint))
    load_weights(run.task, directory.best_checkpoint)
    scores = test(run, directory)
    return scores, replace(judge(evidence(run.config, run.data, run.task, scores, directory.status)), seen=(), next=())


def test(run: Run, directory: RunDirectory) -> dict[str, float]:
    """Scores of a run's task, as it is, on the test split of its data."""
    quiet_lightning()
    trainer = untrained(run, directory)
    trainer.test(run.task, datamodule=run.data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def untrained(run: Run, directory: RunDirectory) -> Trainer:
    """A trainer for a run's weights as they are: it logs nothing and keeps nothing."""
    options = {name: value for name, value in run.config["trainer"].items() if name not in ("_target_", "devices")}
    trainer = build_trainer(directory.path, [], [], **options)
    use_threads(options.get("num_threads", "auto"), run.data.batch_size, run.task.network)
    return trainer
