"""How the training is going: a bar on a terminal, a line that changes in a notebook, plain lines elsewhere."""

import sys
import time
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from rnnlab.instruments.console import console
from rnnlab.tasks.task import Task

REFRESH_SECONDS = 0.2
LINE_SECONDS = 1.0
"""Between two plain lines; the first and the last epoch always get theirs."""
SOLVED_SECONDS = 5.0
"""The same while a readout is solved, which often takes less."""

Kind = Literal["bar", "notebook", "lines", "none"]


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows what is displayed."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Progress(Callback):
    """Loss, monitored score, speed and time left, refreshed by the clock and not by the step.

    Args:
        monitor: the score to show beside the training loss.
        kind: ``bar``, ``lines``, ``none``; ``auto`` is a bar on a terminal, one line that changes in a notebook, and
            lines elsewhere.
    """

    def __init__(self, monitor: str, kind: Literal["auto", "bar", "lines", "none"] = "auto") -> None:
        self.monitor = monitor
        self.console = console()
        here: Kind = "bar" if self.console.is_terminal else "notebook" if in_notebook() else "lines"
        self.kind: Kind = here if kind == "auto" else kind
        self._bar: Bar | None = None
        self._cell: Any = None  # the output of a notebook's cell that changes
        self._shown_at = 0.0
        self._steps_at_start = 0
        self._first_epoch = 0
        self._started_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started_at, self._steps_at_start = time.monotonic(), trainer.global_step
        self._first_epoch = trainer.current_epoch
        if not trainer.is_global_zero:
            self.kind = "none"
        if isinstance(pl_module, Task):
            pl_module.on_solved = self._solved
        if self.kind == "bar":
            self._bar = Bar(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[scores]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
                auto_refresh=False,
            )
            self._task = self._bar.add_task("", total=trainer.max_epochs, scores="", completed=trainer.current_epoch)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._shown_at <= REFRESH_SECONDS:
            return
        if self._bar is not None:
            self._refresh(trainer, trainer.current_epoch + (batch_idx + 1) / max(1, int(trainer.num_training_batches)))
        elif self.kind == "notebook":
            self._display(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # at its end an epoch has not yet logged its training scores
        if trainer.current_epoch > self._first_epoch:
            self._line(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, Task):
            pl_module.on_solved = None
        if self._bar is not None:
            self._refresh(trainer, trainer.current_epoch)
            self._close()
        self._line(trainer, last=True)
        if self.kind == "notebook":
            self._display(trainer, last=True)
        if trainer.current_epoch < (trainer.max_epochs or 0) and self.kind != "none":
            self.console.print(f"stopped early: {self.monitor} has not improved any more")

    def _solved(self, number: int, done: int, of: int) -> None:
        """Where a readout is solved there is one epoch, and nothing to tell before its end but how far it is."""
        now = time.monotonic()
        if now - max(self._shown_at, self._started_at) <= (
            REFRESH_SECONDS if self._bar is not None else SOLVED_SECONDS
        ):
            return
        share = f", {100 * done // of} %" if of else ""
        said = f"solving in closed form: pass {number} over the data{share}"
        if self._bar is not None:
            self._bar.update(self._task, scores=said)
            self._bar.refresh()
        elif self.kind in ("lines", "notebook"):
            self.console.print(said)
        self._shown_at = now

    def _line(self, trainer: Trainer, last: bool = False) -> None:
        epoch = trainer.current_epoch
        first = epoch == self._first_epoch + 1
        if self.kind == "lines" and (last or first or time.monotonic() - self._shown_at > LINE_SECONDS):
            self._shown_at = time.monotonic()
            self.console.print(self._state(trainer, last))

    def _state(self, trainer: Trainer, last: bool) -> str:
        epoch = trainer.current_epoch
        left = "" if last else self._seconds_left(trainer, epoch)
        return f"epoch {epoch}/{trainer.max_epochs}  {self._scores(trainer)}  {left}".rstrip()

    def _display(self, trainer: Trainer, last: bool = False) -> None:
        from IPython.display import display

        self._shown_at = time.monotonic()
        shown = {"text/plain": self._state(trainer, last)}
        if self._cell is None:
            self._cell = display(shown, raw=True, display_id=True)
        else:
            self._cell.update(shown, raw=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _refresh(self, trainer: Trainer, epochs: float) -> None:
        assert self._bar is not None
        self._shown_at = time.monotonic()
        self._bar.update(self._task, completed=round(epochs, 2), scores=self._scores(trainer))
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _scores(self, trainer: Trainer) -> str:
        shown = {name: trainer.callback_metrics.get(name) for name in dict.fromkeys(("train/loss", self.monitor))}
        scores = "  ".join(f"{name} {float(value):.4g}" for name, value in shown.items() if value is not None)
        seconds = max(time.monotonic() - self._started_at, 1e-9)
        done = trainer.global_step - self._steps_at_start  # none where a readout is solved in closed form
        return f"{scores}  {done / seconds:.0f} steps/s".strip() if done else scores

    def _seconds_left(self, trainer: Trainer, epoch: int) -> str:
        done = trainer.global_step - self._steps_at_start
        if not done or not trainer.max_epochs:
            return ""
        remaining = (trainer.max_epochs - epoch) * int(trainer.num_training_batches)
        return f"{(time.monotonic() - self._started_at) / done * remaining:.0f} s left"
