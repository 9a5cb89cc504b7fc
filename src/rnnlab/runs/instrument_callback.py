"""Writes what the instruments of a run draw: as PNG files and to TensorBoard."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rnnlab.data.sequence import SequenceData
from rnnlab.instruments.instrument import Instrument
from rnnlab.instruments.subject import Subject, history_of
from rnnlab.instruments.tensorboard import TensorBoard
from rnnlab.spec import Batch
from rnnlab.store.files import replace
from rnnlab.store.verdict import Verdict
from rnnlab.tasks.task import Task, task_of

log = logging.getLogger("rnnlab")


class InstrumentCallback(Callback):
    """Lets each instrument that applies watch the training, and draws at its end."""

    state_key = "Gallery"
    """Under which checkpoints hold its state: its name before, so that those of then are read."""

    def __init__(self, instruments: Sequence[Instrument[Any]], data: SequenceData) -> None:
        self.instruments = instruments
        self.data = data
        self.baseline: dict[str, float] = {}

    def _observe(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        if trainer.is_global_zero:
            subject = Subject("", task_of(module), self.data)
            for instrument in self.instruments:
                if instrument.left_out(subject) is None:
                    instrument.observe(subject, epoch)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0 and trainer.global_step == 0:
            self._observe(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._observe(trainer, pl_module, trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        return {instrument.name: dict(instrument.state()) for instrument in self.instruments}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for instrument in self.instruments:
            if instrument.name in state_dict:
                instrument.restore(state_dict[instrument.name])

    def draw(
        self,
        task: Task,
        folder: Path,
        history: Sequence[Mapping[str, float]],
        baseline: Mapping[str, float],
        tensorboard: TensorBoard,
        epoch: int,
        verdict: Verdict | None,
    ) -> list[str]:
        """Draws all figures of a trained task, whose weights are those of ``epoch``, beside the verdict on them.

        Returns:
            The paths of the PNG files, relative to the run directory.
        """
        drawn = []
        subject = Subject("", task, self.data, history=history_of(history, baseline, epoch), verdict=verdict)
        subject.sequences = tuple(number for number in subject.sequences if number < subject.size)
        task.eval()
        for instrument in self.instruments:
            try:
                if instrument.left_out(subject) is not None:
                    continue
                png = render(instrument.draw(subject, instrument.measure(subject)).figure)
            except Exception as error:
                # a picture that cannot be drawn, perhaps of somebody's own cell, costs no run its result
                log.exception("%s", instrument.name)
                print(f"figure {instrument.name} could not be drawn ({type(error).__name__}: {error}); see train.log")
                continue
            replace(folder / f"{instrument.name}.png", png, inside=folder.parent)
            tensorboard.add_image(instrument.name, png, epoch)
            drawn.append(f"{folder.name}/{instrument.name}.png")
        return drawn


def render(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a font without a glyph is no news to a person
        # what figure.savefig does, without drawing everything once before for a box that is not cut
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def validation_batches(task: Task, data: SequenceData) -> Iterator[Batch]:
    """The whole validation split, on the task's device and in its precision; a loader would give a process its share of
    it.
    """
    split = data.split("val")
    precision = next((part.dtype for part in task.parameters() if part.is_floating_point()), torch.float32)
    for start in range(0, len(split), data.batch_size):
        batch = move_data_to_device(split.batch(slice(start, start + data.batch_size)), task.device)
        # what is in double precision, as the units of a series are, stays so
        yield batch.map(lambda part: part.to(precision) if part.dtype == torch.float32 else part)
