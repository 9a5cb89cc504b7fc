"""Several runs whose training steps are made together, each of them otherwise a run like any other.

Each run is a thread of its own with its own Lightning trainer, and all of it is
as ever: its epochs, validation, rows, checkpoints, early stopping, test. Only
the steps of an epoch it does not make itself. It hands them to the fleet and
waits; when all runs wait, the fleet makes the steps of all of them together
(:mod:`rnnlab.runs.stack`) and lets them go on. At any time one thread computes.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.trainer import call

from rnnlab.data.sequence import Batches, SequenceData
from rnnlab.runs.epoch_loop import EpochLoop
from rnnlab.runs.recorder import StopSignals, random_state, restore_random_state
from rnnlab.runs.stack import Member, Unstackable, check_together, train_together
from rnnlab.tasks.task import Task


class Fleet:
    """Runs that are trained together.

    Args:
        stop: what asks all of them to stop.
        told: is told in a line what could not be done together, and of which run.
    """

    def __init__(self, stop: StopSignals, told: Callable[["Seat", str], None]) -> None:
        self.stop, self.told = stop, told
        self.graphs: dict[str, Any] = {}
        self._data: dict[str, SequenceData] = {}

    def run(self, jobs: Sequence[Callable[["Seat"], None]]) -> None:
        """Calls every job, in a thread of its own, with a seat in this fleet; returns when all of them have ended.

        Raises:
            Exception: the first that a job raised.
        """
        seats = [Seat(self, number) for number in range(len(jobs))]
        for seat, job in zip(seats, jobs, strict=True):
            seat.start(job)
        while waiting := [seat for seat in seats if seat.member is not None]:
            self._train(waiting)
            for seat in waiting:
                seat.go_on()
        for seat in seats:
            if seat.raised is not None:
                raise seat.raised

    def _train(self, seats: Sequence["Seat"]) -> None:
        """Makes the steps that are asked for."""
        fresh = [seat for seat in seats if not seat.checked]
        if fresh:
            self._check(fresh)
        by_left: dict[int, list[Seat]] = {}
        for seat in seats:
            if not seat.alone and seat.error is None and seat.member is not None:
                by_left.setdefault(seat.member.left, []).append(seat)
        for together in by_left.values():
            members = [seat.member for seat in together if seat.member is not None]
            with together[0].precision():
                try:
                    train_together(members, lambda: self.stop.received is not None)
                except Exception as error:  # noqa: BLE001 (it is each run's own to fail of it)
                    for seat in together:
                        seat.error = error

    def _check(self, seats: Sequence["Seat"]) -> None:
        """Who cannot be trained with the others makes his steps alone."""
        for seat in seats:
            seat.checked = True
        members = [seat.member for seat in seats if seat.member is not None]
        try:
            with seats[0].precision():
                check_together(members)
        except Unstackable as error:
            for seat in seats:
                seat.alone = True
                self.told(seat, str(error))
        except Exception as error:  # noqa: BLE001 (it is each run's own to fail of it)
            for seat in seats:
                seat.error = error

    def share(self, config: Mapping[str, Any], data: SequenceData) -> None:
        """Runs on the same data keep it in memory once."""
        key = json.dumps({name: value for name, value in config.items() if name not in ORDER_KEYS}, sort_keys=True)
        data._splits = self._data.setdefault(key, data)._splits


ORDER_KEYS = ("shuffle_seed", "batch_size", "num_workers", "bucket", "augmentation")
"""Of a data set's options those that change only how its samples are served."""


class Seat:
    """One run's place in a fleet.

    Attributes:
        member: the steps that it waits for; ``None`` while it does something else, and when it has ended.
        alone: it makes its steps itself.
        error: what the steps died of.
        raised: what the run died of.
    """

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet, self.number = fleet, number
        self.member: Member | None = None
        self.alone = self.checked = False
        self.error: Exception | None = None
        self.raised: BaseException | None = None
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._trainer: Trainer | None = None

    @property
    def stop(self) -> StopSignals:
        return self.fleet.stop

    @property
    def graphs(self) -> dict[str, Any]:
        """Of the fleet's networks, for TensorBoard."""
        return self.fleet.graphs

    # ---- of the fleet's thread ------------------------------------------------------------------

    def start(self, job: Callable[["Seat"], None]) -> None:
        """Starts the run and returns when it waits or has ended."""

        def run() -> None:
            try:
                job(self)
            except BaseException as error:  # noqa: BLE001 (raised again in the fleet's thread)
                self.raised = error
            finally:
                self.member = None
                self._rests.release()

        threading.Thread(target=run, name=f"member {self.number}", daemon=True).start()
        self._rests.acquire()

    def go_on(self) -> None:
        """Lets the run go on and returns when it waits again or has ended."""
        self.member = None
        self._go.release()
        self._rests.acquire()

    def precision(self) -> Any:
        """The context in which the run's steps are made."""
        assert self._trainer is not None
        return self._trainer.precision_plugin.train_step_context()

    # ---- of the run's own thread ------------------------------------------------------------------

    def board(self, trainer: Trainer, config: Mapping[str, Any], data: SequenceData) -> None:
        """Called before a trainer starts to fit."""
        self._trainer = trainer
        self.fleet.share(config["data"], data)
        _FleetsLoop.install(trainer, seat=self)

    def train(self, member: Member) -> None:
        """Waits until the steps are made."""
        self.member = member
        self._rests.release()
        self._go.acquire()
        if self.error is not None:
            raise self.error


class _FleetsLoop(EpochLoop):
    """A loop over the batches of an epoch, all of which are one step of it: the fleet makes them."""

    def __init__(self, trainer: Trainer, *, seat: Seat, **limits: Any) -> None:
        super().__init__(trainer, **limits)
        self.seat = seat

    def advance(self, data_fetcher: _DataFetcher) -> None:
        resumes_at_the_end = self.restarting and self._should_check_val_fx(data_fetcher)
        if self.seat.alone or resumes_at_the_end:
            super().advance(data_fetcher)
            return
        trainer = self.trainer
        task, loader = trainer.lightning_module, trainer.fit_loop._combined_loader.flattened[0]
        assert isinstance(task, Task) and isinstance(loader, Batches)
        first = self.batch_progress.current.ready
        self.val_loop.restarting = False
        call._call_callback_hooks(trainer, "on_train_batch_start", None, first)
        member = Member(
            task=task,
            optimizer=trainer.optimizers[0],
            batches=loader,
            indices=loader.rest()[: int(trainer.num_training_batches) - first],
            first=first,
            epoch=trainer.current_epoch,
            clip=trainer.gradient_clip_val,
            by_value=trainer.gradient_clip_algorithm == "value",
            scheduled=any(config.interval == "step" for config in trainer.lr_scheduler_configs),
            stepped=lambda: self._stepped(loader),
            random=random_state(),
        )
        trainer.optimizers[0]._opt_called = True  # else a scheduler warns of a step before
        before = trainer.global_step
        self.seat.train(member)
        restore_random_state(member.random)
        if self.seat.alone:
            loader.load_state_dict(loader.state_dict())  # which the fetcher has not asked yet
            super().advance(data_fetcher)
            return
        for number, loss in member.losses.items():
            if task.logger is not None:
                task.logger.log_metrics({"step/loss": loss}, before + number - first)
        if member.failed is not None:
            task._fail(member.failed)
        if not member.left:
            self.batch_progress.is_last_batch = data_fetcher.done = True
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        call._call_callback_hooks(trainer, "on_train_batch_end", None, None, first + member.done - 1)
        self.batch_progress.increment_completed()

    def _stepped(self, loader: Batches) -> None:
        """Counts one step as Lightning does."""
        if self.batch_progress.current.completed < self.batch_progress.current.ready:  # the one before has ended
            self.batch_progress.increment_completed()
            self._batches_that_stepped += 1
        self.batch_progress.increment_ready()
        self.batch_progress.increment_started()
        self.batch_progress.increment_processed()
        progress = self.automatic_optimization.optim_progress.optimizer
        for count in (progress.step.total, progress.step.current):
            count.ready += 1
            count.completed += 1
        for zeroed in (progress.zero_grad.total, progress.zero_grad.current):
            zeroed.ready += 1
            zeroed.started += 1  # type: ignore[attr-defined]  # Lightning's annotation names a parent class
            zeroed.completed += 1
        loader.passed()
        if self.trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
