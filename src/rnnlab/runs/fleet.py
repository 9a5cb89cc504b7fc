"""Several runs whose training steps are computed together; in all else each is a run like any other.

Each run has a thread and a Lightning trainer of its own, which does everything
but the steps of an epoch: validation, rows, checkpoints, early stopping, test.
For the steps the run waits. When all runs wait, the fleet computes the steps of
all of them together (:mod:`rnnlab.runs.stack`) and lets them go on. At any time
one thread computes.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning import Trainer

from rnnlab.data.batches import Batches
from rnnlab.data.sequence import SequenceData
from rnnlab.errors import InputError
from rnnlab.runs.checkpoint import read_checkpoint
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.epoch_loop import EpochLoop
from rnnlab.runs.lightning_internals import Fetcher, call_hooks, note_that_it_steps
from rnnlab.runs.recorder import StopSignals, next_checkpoint, random_state, restore_random_state
from rnnlab.runs.stack import check_together, train_together
from rnnlab.runs.stacked_members import Member, Unstackable
from rnnlab.tasks.task import Task


class Fleet:
    """Runs that are trained together.

    How a number is rounded may depend on the other members of the stack and on the order of all of them. So that a
    resumed run has the same numbers, all checkpoints are of one moment: each run writes its own when all do, at the
    end of an epoch or where all are stopped, and they count when the last of them is on the disk. A run that has made
    its last step waits for that.

    Attributes:
        due: checkpoints are written at the end of this epoch.
        moment: the number of the next moment of which all have one.
        stopped: the signal, as far as the runs know of it: all of them after the same step.

    Args:
        stop: what asks all of them to stop.
        report: called with a run that cannot be trained with the others, and the reason in a line.
        moment: the number of the last moment of which all runs have a checkpoint, as :func:`settle` says.
    """

    def __init__(self, stop: StopSignals, report: Callable[["FleetRun", str], None], moment: int = 0) -> None:
        self.stop, self.report = stop, report
        self.graphs: dict[str, Any] = {}
        self.due, self.moment = False, 1 + moment
        self.stopped: int | None = None
        self._settled_at = time.monotonic()
        self._data: dict[str, SequenceData] = {}

    def run(self, jobs: Sequence[Callable[["FleetRun"], None]]) -> None:
        """Calls every job, in a thread of its own, with its run in this fleet; returns when all of them have ended.

        Raises:
            Exception: the first that a job raised.
        """
        fleet_runs = [FleetRun(self, number) for number in range(len(jobs))]
        for fleet_run, job in zip(fleet_runs, jobs, strict=True):
            fleet_run.start(job)
        self._settled_at = time.monotonic()
        while self._settle(fleet_runs) or any(fleet_run.member is not None for fleet_run in fleet_runs):
            ended = [fleet_run for fleet_run in fleet_runs if fleet_run.is_settled]
            for fleet_run in ended:
                fleet_run.go_on()
            training = [fleet_run for fleet_run in fleet_runs if fleet_run.member is not None]
            pause = min((fleet_run.checkpoint_seconds for fleet_run in training), default=0.0)
            # a run that has made its last step waits for the others' checkpoints of that moment or a later one
            self.due = (
                time.monotonic() - self._settled_at >= pause
                or self.stop.received is not None
                or any(fleet_run.waits for fleet_run in fleet_runs)
            )
            self._train(training)
            self.stopped = self.stop.received
            for fleet_run in training:
                fleet_run.go_on()
        for fleet_run in fleet_runs:
            if fleet_run.raised is not None:
                raise fleet_run.raised

    def _settle(self, fleet_runs: Sequence["FleetRun"]) -> bool:
        """Makes the checkpoints valid that were written, once all runs that are at work have written theirs.

        Returns:
            Whether a run waited for that and can go on.
        """
        written = [fleet_run for fleet_run in fleet_runs if fleet_run.written is not None]
        if written and all(
            fleet_run.written is not None or fleet_run.is_settled for fleet_run in fleet_runs if fleet_run.is_at_work
        ):
            for fleet_run in written:
                fleet_run.settle()
            self.moment += 1
            self._settled_at = time.monotonic()
        return any(fleet_run.is_settled for fleet_run in fleet_runs)

    def _train(self, fleet_runs: Sequence["FleetRun"]) -> None:
        """Computes the steps that the runs wait for."""
        fresh = [fleet_run for fleet_run in fleet_runs if not fleet_run.checked]
        if fresh:
            self._check(fresh)
        by_left: dict[int, list[FleetRun]] = {}
        for fleet_run in fleet_runs:
            if not fleet_run.alone and fleet_run.error is None and fleet_run.member is not None:
                by_left.setdefault(fleet_run.member.left, []).append(fleet_run)
        for together in by_left.values():
            members = [fleet_run.member for fleet_run in together if fleet_run.member is not None]
            with together[0].precision():
                try:
                    train_together(members, lambda: self.stop.received is not None)
                except Exception as error:  # noqa: BLE001 (each run fails of it by itself)
                    for fleet_run in together:
                        fleet_run.error = error

    def _check(self, fleet_runs: Sequence["FleetRun"]) -> None:
        """Runs that cannot be trained together compute their steps alone."""
        for fleet_run in fleet_runs:
            fleet_run.checked = True
        members = [fleet_run.member for fleet_run in fleet_runs if fleet_run.member is not None]
        try:
            with fleet_runs[0].precision():
                check_together(members)
        except Unstackable as error:
            for fleet_run in fleet_runs:
                fleet_run.alone = True
                self.report(fleet_run, str(error))
        except Exception as error:  # noqa: BLE001 (each run fails of it by itself)
            for fleet_run in fleet_runs:
                fleet_run.error = error

    def share(self, config: Mapping[str, Any], data: SequenceData) -> None:
        """Runs on the same data keep it in memory once."""
        key = json.dumps({name: value for name, value in config.items() if name not in ORDER_KEYS}, sort_keys=True)
        data.loaded = self._data.setdefault(key, data).loaded


ORDER_KEYS = ("shuffle_seed", "batch_size", "num_workers", "bucket", "augmentation")
"""Of a data set's options those that change only how its samples are served."""


class _FleetStop(StopSignals):
    """What a run in a fleet knows of signals: as the others, as long as it is trained with them."""

    def __init__(self, fleet_run: "FleetRun") -> None:
        self.fleet_run = fleet_run
        super().__init__()

    @property
    def received(self) -> int | None:
        """The signal that asks it to stop."""
        fleet = self.fleet_run.fleet
        return fleet.stop.received if self.fleet_run.alone or self.fleet_run.is_over else fleet.stopped

    @received.setter
    def received(self, number: int | None) -> None:
        """The fleet has it."""


class FleetRun:
    """One run's place in a fleet.

    Attributes:
        member: the steps that it waits for; ``None`` while it does something else, and when it has ended.
        alone: its steps are computed in its own thread.
        error: the exception that ended the steps.
        raised: the exception that ended the run.
        written: the checkpoint that waits for those of the others.
        waits: the run has made its last step, and goes on when its checkpoint counts.
        is_over: it has done so.
    """

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet, self.number = fleet, number
        self.member: Member | None = None
        self.alone = self.checked = False
        self.error: Exception | None = None
        self.raised: BaseException | None = None
        self.written: Path | None = None
        self.waits = self.is_over = False
        self.checkpoint_seconds = 0.0
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._trainer: Trainer | None = None

    @property
    def stop(self) -> StopSignals:
        return _FleetStop(self)

    @property
    def due(self) -> bool:
        return self.fleet.due

    @property
    def moment(self) -> int:
        return self.fleet.moment

    @property
    def is_at_work(self) -> bool:
        """Whether it goes on when it is let."""
        return self.member is not None or self.waits

    @property
    def is_settled(self) -> bool:
        """Whether it has made its last step, and its checkpoint counts."""
        return self.waits and self.written is None

    @property
    def graphs(self) -> dict[str, Any]:
        """Of the fleet's networks, for TensorBoard."""
        return self.fleet.graphs

    # ---- of the fleet's thread ------------------------------------------------------------------

    def start(self, job: Callable[["FleetRun"], None]) -> None:
        """Starts the run and returns when it waits or has ended."""

        def run() -> None:
            try:
                job(self)
            except BaseException as error:  # noqa: BLE001 (raised again in the fleet's thread)
                self.raised = error
            finally:
                self.member, self.waits = None, False
                self._rests.release()

        threading.Thread(target=run, name=f"member {self.number}", daemon=True).start()
        self._rests.acquire()

    def go_on(self) -> None:
        """Lets the run go on and returns when it waits again or has ended."""
        self.member, self.waits = None, False
        self._go.release()
        self._rests.acquire()

    def settle(self) -> None:
        """Its checkpoint takes the place of the last one."""
        if self.written is not None:
            os.replace(self.written, self.written.with_name("last.ckpt"))
            self.written = None

    def precision(self) -> Any:
        """The context in which the run's steps are made."""
        assert self._trainer is not None
        return self._trainer.precision_plugin.train_step_context()

    # ---- of the run's own thread ------------------------------------------------------------------

    def take_part(self, trainer: Trainer, config: Mapping[str, Any], data: SequenceData) -> None:
        """Called before a trainer starts to fit."""
        self._trainer = trainer
        self.checkpoint_seconds = float(config["trainer"].get("checkpoint_seconds", 10.0))
        self.fleet.share(config["data"], data)
        _FleetsLoop.install(trainer, fleet_run=self)

    def train(self, member: Member) -> None:
        """Waits until the steps are made."""
        self.member = member
        self._rests.release()
        self._go.acquire()
        if self.error is not None:
            raise self.error

    def saved(self, path: Path) -> None:
        self.written = path

    def wait(self) -> None:
        if self.written is None:
            return
        self.waits = True
        self._rests.release()
        self._go.acquire()
        self.is_over = True


def settle(directories: Sequence[RunDirectory]) -> int:
    """Brings the checkpoints of runs that were trained together to the same moment, after whatever stopped them.

    Where all that are at work had written theirs, the ones that wait take their places; else they are worth nothing.

    Returns:
        The number of that moment.
    """
    for directory in directories:
        if directory.status.state == "done":
            next_checkpoint(directory).unlink(missing_ok=True)
    directories = [directory for directory in directories if directory.status.state != "done"]
    waiting: dict[Path, int] = {}
    moments: dict[Path, int] = {}
    for directory in directories:
        for path, found in ((next_checkpoint(directory), waiting), (directory.last_checkpoint, moments)):
            with suppress(InputError):
                found[path] = _moment(path)
    newest = max(waiting.values(), default=0)
    late = [
        directory
        for directory in directories
        if waiting.get(next_checkpoint(directory)) != newest
        and moments.get(directory.last_checkpoint) != newest
        # one that failed, or that has not begun
        and directory.last_checkpoint in moments
    ]
    for directory in directories:
        path = next_checkpoint(directory)
        if waiting.get(path) == newest and not late:
            os.replace(path, directory.last_checkpoint)
        path.unlink(missing_ok=True)
    return max([*moments.values(), 0 if late else newest], default=0)


def _moment(path: Path) -> int:
    state = read_checkpoint(path).get("callbacks", {})
    return int(next((each["moment"] for each in state.values() if isinstance(each, dict) and "moment" in each), 0))


class _FleetsLoop(EpochLoop):
    """A loop over the batches of an epoch, all of which are one step of it: the fleet makes them."""

    def __init__(self, trainer: Trainer, *, fleet_run: FleetRun, **limits: Any) -> None:
        super().__init__(trainer, **limits)
        self.fleet_run = fleet_run

    def advance(self, data_fetcher: Fetcher) -> None:
        resumes_at_the_end = self.restarting and self.is_validated_now(data_fetcher)
        if self.fleet_run.alone or resumes_at_the_end:
            super().advance(data_fetcher)
            return
        trainer = self.trainer
        task, loader = trainer.lightning_module, trainer.train_dataloader
        assert isinstance(task, Task) and isinstance(loader, Batches)
        first = self.batch_progress.current.ready
        self.val_loop.restarting = False
        call_hooks(trainer, "on_train_batch_start", None, first)
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
            number=self.fleet_run.number,
        )
        note_that_it_steps(trainer.optimizers[0])
        before = trainer.global_step
        self.fleet_run.train(member)
        restore_random_state(member.random)
        if self.fleet_run.alone:
            loader.load_state_dict(loader.state_dict())  # which the fetcher has not asked yet
            super().advance(data_fetcher)
            return
        for number, loss in member.losses.items():
            if task.logger is not None:
                task.logger.log_metrics({"step/loss": loss}, before + number - first)
        if member.failed is not None:
            task.fail(member.failed)
        if not member.left:
            self.batch_progress.is_last_batch = data_fetcher.done = True
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        call_hooks(trainer, "on_train_batch_end", None, None, first + member.done - 1)
        self.batch_progress.increment_completed()

    def _stepped(self, loader: Batches) -> None:
        """Counts one step as Lightning does."""
        self.end_the_batch_before()
        self.batch_progress.increment_ready()
        self.batch_progress.increment_started()
        self.batch_progress.increment_processed()
        self.count_step()
        loader.passed()
        if self.trainer.lr_scheduler_configs:
            self.update_lr_schedulers("step", update_plateau_schedulers=False)
