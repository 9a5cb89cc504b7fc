"""The callback that owns a run's files while it trains: rows, checkpoints, the way to stop."""

import math
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch import Tensor

from rnnlab.errors import Interrupted, RunFailed
from rnnlab.runs.checkpoint import snapshot, write_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.lightning_internals import checkpoint_of_weights
from rnnlab.signals import IN_A_STEP, SECONDS, heard, is_another, set_patience
from rnnlab.tasks.scored import data_of


class StopSignals:
    """Ctrl-C and SIGTERM end a run at once, but while it trains: then they ask it to stop after its step, with a
    checkpoint, and a second one ends it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._trains = False
        self._received_at = 0.0
        self._before: dict[int, Any] = {}

    @property
    def trains(self) -> bool:
        """Whether it trains, and a signal waits for the end of the step."""
        return self._trains

    @trains.setter
    def trains(self, trains: bool) -> None:
        self._trains = trains
        set_patience(IN_A_STEP if trains else SECONDS)

    def install(self) -> None:
        """Takes the signals over; Lightning does the same at the start of a fit, so it is called again then."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before.setdefault(number, signal.getsignal(number))
            signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, frame: Any) -> None:
        heard()
        if self.received is not None:
            if is_another(number, time.monotonic() - self._received_at):
                raise KeyboardInterrupt
            return
        self.received, self._received_at = number, time.monotonic()
        if not self.trains:
            raise Interrupted(number)

    def check(self) -> None:
        """Raises Interrupted if a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)


@runtime_checkable
class Companions(Protocol):
    """The runs that one is trained with: how its numbers are rounded depends on them, so that after a kill the
    checkpoints of all of them must be of the same moment.
    """

    alone: bool
    """It computes its steps by itself after all."""

    @property
    def due(self) -> bool:
        """Whether all of them write a checkpoint at the end of this epoch."""

    @property
    def moment(self) -> int:
        """The number of the moment that the next checkpoint is of."""

    def saved(self, path: Path) -> None:
        """A checkpoint waits on the disk; it counts when all have written theirs."""

    def wait(self) -> None:
        """Returns when the checkpoint that was written counts."""


def described(data: Any) -> dict[str, Any]:
    """What a checkpoint holds of the data, so that the weights can be used without it."""
    return {"spec": data.spec.plain(), "reader": data.reader.plain(), "lengths": list(data.training_lengths)}


class Recorder(Checkpoint):
    """Writes a row an epoch, keeps the best and the last checkpoint, stops when asked.

    Where ``keep`` is ``last`` the last epoch counts as the best one, whatever its score.

    The best weights wait in memory and go to the disk together with the last
    checkpoint, at most every ``checkpoint_seconds`` and when training ends,
    for whatever reason: the disk never costs more than the training.

    The random state is a function of ``(seed, epoch)`` at each epoch's start,
    and goes with a checkpoint that is written in the middle of one, so that a
    resumed run draws the numbers that it would have drawn.

    Raises:
        RunFailed: the monitored score became no finite number.
        Interrupted: a signal asked to stop; the last checkpoint is on the disk.
    """

    def __init__(
        self,
        directory: RunDirectory,
        monitor: str,
        mode: Literal["min", "max"],
        seed: int,
        checkpoint_seconds: float = 10.0,
        stop: StopSignals | None = None,
        companions: Companions | None = None,
        keep: Literal["best", "last"] = "best",
    ) -> None:
        self.keep = keep
        self.directory, self.monitor, self.mode, self.seed = directory, monitor, mode, seed
        self.companions = companions
        self.checkpoint_seconds, self.stop = checkpoint_seconds, stop
        self.best_score: float | None = None
        self.best_epoch = 0
        self.rows: list[dict[str, float]] = []
        self._best: dict[str, Any] | None = None
        self._described: dict[str, Any] | None = None
        self._saved_at = time.monotonic()
        self._started_at = time.monotonic()
        self.seconds_before = 0.0  # of training, by all that was done before this start
        self.seconds_of_training = 0.0
        self._random_state: Mapping[str, Tensor] | None = None

    # ---- what a checkpoint remembers of this ----------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        epochs = len(self.rows)
        state = {"best_epoch": self.best_epoch, "epochs": epochs, "seconds": self.seconds, "random": random_state()}
        if self.companions is not None:
            state["moment"] = self.companions.moment
        return state if self.best_score is None else state | {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict.get("best_score"), state_dict["best_epoch"]
        # rows after the checkpoint belong to work that is done again
        self.rows = [row for row in self.directory.epochs if row["epoch"] <= state_dict["epochs"]]
        self.seconds_before = state_dict["seconds"]
        self._random_state = state_dict["random"]

    @property
    def seconds(self) -> float:
        """Training so far, over all resumes, in seconds."""
        return self.seconds_before + time.monotonic() - self._started_at

    # ---- training -----------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stop is not None:
            # with the handler that Lightning has just installed the processes of a data-parallel run would communicate
            # in the middle of a step, and wait for ever
            self.stop.install()
            self.stop.check()
            self.stop.trains = True
        if trainer.is_global_zero:
            self.directory.write_epochs(self.rows)
        self._started_at = self._saved_at = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seed_generators(_epoch_seed(self.seed, trainer.current_epoch))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._random_state is not None:
            if batch_idx:  # resumed in the middle of an epoch
                restore_random_state(self._random_state)
            self._random_state = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # at the end of an epoch the row comes first
        if batch_idx + 1 < trainer.num_training_batches and self._is_stopped(trainer):
            self._save(trainer)
            self._stop()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        scores = {name: _shortest(value) for name, value in trainer.callback_metrics.items()}
        row = {"epoch": epoch, "step": trainer.global_step} | scores
        self.rows.append(row)
        if trainer.is_global_zero:
            self.directory.append_epoch(row)
        score = scores.get(self.monitor)
        if score is not None:
            if not math.isfinite(score):
                if self.companions is None:
                    self._save(trainer)
                raise RunFailed(f"{self.monitor} became {score} in epoch {epoch}: try a smaller optimizer.lr")
            if self.best_score is None or self.keep == "last" or self._is_better(score, self.best_score):
                self.best_score, self.best_epoch = score, epoch
                best = checkpoint_of_weights(trainer)
                facts = {"epoch": epoch, "monitor": self.monitor, "score": score}
                best = kept_weights(trainer, {**best, **facts})
                self._best = {**snapshot(best), "data": self._data(trainer)}
        if self.companions is not None and not self.companions.alone:
            due = self.companions.due
        else:
            due = time.monotonic() - self._saved_at >= self.checkpoint_seconds
        stopped = self._is_stopped(trainer)
        if trainer.strategy.broadcast(due or stopped):
            self._save(trainer)
        if stopped:
            self._stop()

    def _is_better(self, score: float, than: float) -> bool:
        return score < than if self.mode == "min" else score > than

    def _data(self, trainer: Trainer) -> dict[str, Any]:
        """What the data says of itself, with which the weights can be used where the training data is not."""
        if self._described is None:
            self._described = described(data_of(trainer))
        return self._described

    @staticmethod
    def untrained(task: LightningModule, data: Any) -> dict[str, Any]:
        """A checkpoint of weights that are not trained further, for whoever uses them."""
        state = {"state_dict": task.state_dict(), "epoch": 0, "global_step": 0, type(data).__name__: data.state_dict()}
        return {**snapshot(state), "data": described(data)}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds_of_training = self.seconds
        self._save(trainer)
        if self.stop is not None:
            self.stop.trains = False
        if self.companions is not None:
            self.companions.wait()

    def _is_stopped(self, trainer: Trainer) -> bool:
        """Whether a signal came, to any of the processes of a data-parallel run: they stop after the same step."""
        received = self.stop is not None and self.stop.received is not None
        if trainer.world_size == 1:
            return received
        return trainer.strategy.reduce_boolean_decision(received, all=False)

    def _stop(self) -> None:
        if self.stop is not None:
            self.stop.check()
        raise Interrupted(signal.SIGTERM)  # another process was told

    def _save(self, trainer: Trainer) -> None:
        # the best first: a kill between the two leaves a best that the repeated epochs find again
        if self._best is not None:
            if trainer.is_global_zero:
                write_checkpoint(self._best, self.directory.best_checkpoint)
            self._best = None
        if self.companions is None or self.companions.alone:
            trainer.save_checkpoint(self.directory.last_checkpoint)
            if trainer.is_global_zero:
                next_checkpoint(self.directory).unlink(missing_ok=True)  # of a fleet that it was in before
        else:
            trainer.save_checkpoint(next_checkpoint(self.directory))
            self.companions.saved(next_checkpoint(self.directory))
        self._saved_at = time.monotonic()


def kept_weights(trainer: Trainer, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with the weights that were validated: their average, where a callback makes one."""
    attached: Any = trainer  # Lightning annotates no callbacks
    for callback in attached.callbacks:
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, trainer.lightning_module, checkpoint)
            checkpoint = {name: part for name, part in checkpoint.items() if name not in OF_AVERAGING}
    return checkpoint


OF_AVERAGING = ("current_model_state", "averaging_state")
"""What Lightning adds to a checkpoint whose weights are an average, to go on with."""


def next_checkpoint(directory: RunDirectory) -> Path:
    """Where the checkpoint of a run waits until those of its companions are written, too."""
    return directory.last_checkpoint.with_name("next.ckpt")


def _shortest(value: Tensor) -> float:
    """The shortest decimal that is this float32: 0.003 and not 0.003000000026077032."""
    return float(str(np.float32(value.item()))) if value.dtype == torch.float32 else float(value)


def _epoch_seed(seed: int, epoch: int) -> int:
    # far apart for neighbouring seeds and epochs, below torch's 64 bits
    return (seed * 1_000_003 + epoch * 8_191 + 17) % (2**63)


def seed_generators(seed: int) -> None:
    """Seeds the generators in use, as ``torch.manual_seed``, which has every other kind of device remember it, with a
    stack trace each.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """Of the CPU's generator, and of the GPU's where one is in use."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor]) -> None:
    """Takes back what :func:`random_state` gave."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
