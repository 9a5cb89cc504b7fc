"""What is corrected in the weights once, after training."""

from collections.abc import Iterable, Iterator
from typing import Any

from rnnlab.data.sequence import SequenceData
from rnnlab.runs.checkpoint import load_weights, write_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.instrument_callback import validation_batches
from rnnlab.spec import Batch
from rnnlab.tasks.task import Task


def calibrate(task: Task, data: SequenceData, directory: RunDirectory, writes: bool) -> dict[str, float]:
    """Loads the best weights and corrects them by the validation part, where the task has something to correct.

    Returns:
        What was corrected, and the validation scores after it, by name as in ``metrics.json``.
    """
    checkpoint = load_weights(task, directory.best_checkpoint)
    if "calibrated" in checkpoint:  # of a run that was stopped behind it
        return {name: float(value) for name, value in checkpoint["calibrated"].items()}
    training = task.training
    task.eval()
    corrected = task.calibrate(validation_batches(task, data))
    task.train(training)
    if not corrected:
        return {}
    found = {f"calibration/{name}": value for name, value in corrected.items()}
    scores = task.measure(_answers(task, validation_batches(task, data)))
    found |= {f"val/{name}": value for name, value in scores.items()}
    if writes:
        state = {name: part.detach().cpu().clone() for name, part in task.state_dict().items()}
        write_checkpoint({**checkpoint, "state_dict": state, "calibrated": found}, directory.best_checkpoint)
    return found


def _answers(task: Task, batches: Iterable[Batch]) -> Iterator[tuple[Any, Batch]]:
    for batch in batches:
        yield task.answer(batch), batch
