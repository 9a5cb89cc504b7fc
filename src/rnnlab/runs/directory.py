"""The directory of a run: made once, owned by one run, every file replaced whole or not at all.

::

    config.yaml     the resolved config
    status.json     created, queued, running, done, failed or interrupted; times, reason, git, versions, device, command
    metrics.csv     every epoch, a row each
    metrics.json    final and flat: "val/loss", "test/accuracy", "baseline/loss", "parameters", "seconds" …;
                    null where a score is no finite number
    checkpoints/    best.ckpt, last.ckpt
    figures/*.png   events.out.tfevents.*   train.log
    run.lock        held by the one process that works in it
"""

import contextlib
import math
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rnnlab.errors import InputError
from rnnlab.runs.provenance import is_first_process, process_facts, started
from rnnlab.shell import pasted
from rnnlab.store import config_file, files, json_text, lock, metrics_files, status
from rnnlab.store.clock import now
from rnnlab.store.config_file import CONFIG
from rnnlab.store.files import Damaged, replace
from rnnlab.store.metrics_files import EPOCHS, METRICS
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS, State, Status

LOG, LOCK, CLAIM = "train.log", "run.lock", ".claim"
WRITTEN = (STATUS, CONFIG, METRICS, EPOCHS, LOG, LOCK, "fit-profile.txt")
"""Files that are written while a run trains."""
FOLDERS = ("checkpoints", "figures", "tensorboard", ".hydra")
"""Directories whose files are."""

_claiming = threading.Lock()
_Content = TypeVar("_Content")


class RunDirectory:
    """One run's files. Opening one reads nothing; see :meth:`claim` and :meth:`open`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._made: list[Path] = []

    @classmethod
    def claim(cls, path: str | Path, config: Mapping[str, Any] | None = None, **facts: Any) -> "RunDirectory":
        """Makes the directory of a new run, and locks it.

        Config and status appear in it in one step: a process that is killed
        before leaves nothing that the next claim would not take for its own,
        and one that is killed after it leaves a run that can be resumed. Of two
        processes that want the same directory one gets it.

        Args:
            path: of the directory, which may exist if it is empty.
            config: of the run; ``None`` where whoever claims executes it at once.
            facts: for its status, beside when and by whom it was made.

        Raises:
            InputError: it holds something already, or cannot be written; or the config is too large.
        """
        directory = cls(path)
        directory.appear(path, None if config is None else config_file.dump(config), facts)
        return directory

    def appear(self, path: str | Path, config: str | None, facts: Mapping[str, Any]) -> None:
        """What :meth:`claim` does, with the config as text and the path as it was typed."""
        self._made = missing(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_inhabitants(path)
            try:
                with _claiming:  # a lock is the process's: of its threads, too, one at a time
                    lock.hold(self.path / LOCK)
                    self._refuse_inhabitants(path)
                    self._write_first(config, facts)
            except lock.Busy:
                raise InputError(f"{path} is taken: another run has just begun there") from None
        except FileExistsError:
            raise InputError(f"{path} is a file: choose another hydra.run.dir") from None
        except OSError as error:
            self._disappear()
            raise InputError(f"{path} cannot be written: {error.strerror}") from None

    def _refuse_inhabitants(self, path: str | Path) -> None:
        """Raises InputError where the directory holds anything but the remains of a claim that was killed."""
        names = {entry.name for entry in self.path.iterdir()}
        if STATUS in names:
            raise InputError(
                f"{path} already holds a run, and nothing is overwritten: choose another hydra.run.dir, "
                f"or go on with it: {pasted('resume', Path(path))}"
            )
        # the config goes before the status, out of a claim that is not removed before both are there
        others = sorted(names - {LOCK, CLAIM} - ({CONFIG} if CLAIM in names else set()))
        if others:
            raise InputError(
                f"{path} is not empty (it holds {others[0]}), and nothing is mixed into it: "
                "choose another hydra.run.dir"
            )

    def _write_first(self, config: str | None, facts: Mapping[str, Any]) -> None:
        claim = self.path / CLAIM
        if is_there(claim):
            shutil.rmtree(claim)
            (self.path / CONFIG).unlink(missing_ok=True)
        claim.mkdir()
        begun = Status.of({"state": "created", "created": now(), **process_facts(), "directory": os.getcwd(), **facts})
        replace(claim / STATUS, status.dump(begun))
        if config is not None:
            replace(claim / CONFIG, config)
            os.rename(claim / CONFIG, self.path / CONFIG)
        os.rename(claim / STATUS, self.path / STATUS)
        claim.rmdir()

    def _disappear(self) -> None:
        """Takes away what a claim has made that could not be finished."""
        if is_there(self.path / CLAIM) and not is_there(self.path / STATUS):
            shutil.rmtree(self.path / CLAIM, ignore_errors=True)
            (self.path / CONFIG).unlink(missing_ok=True)
            self._remove_lock()
            self.remove_made()

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """The directory of a run that there is.

        Raises:
            InputError: it is none.
        """
        directory = cls(path)
        if not os.path.isdir(directory.path):
            what = "that is a file, no directory" if os.path.exists(directory.path) else "there is no such directory"
            raise InputError(f"{path} is no run: {what}")
        if not is_there(directory.path / STATUS) or not is_there(directory.path / CONFIG):
            runs = sorted(str(found.parent) for found in directory.path.glob(f"*/{STATUS}"))
            inside = f"; it holds runs: {runs[0]}" + (" …" if len(runs) > 1 else "") if runs else ""
            raise InputError(f"{path} is no run: it has no {CONFIG} and {STATUS}{inside}")
        return directory

    def remove_if_untrained(self) -> None:
        """Takes away the files of a run that was refused before it began, and the directories that claiming it had to
        make; anything computed stays.
        """
        if is_there(self.path / EPOCHS) or is_there(self.last_checkpoint) or is_there(self.best_checkpoint):
            return
        events = [entry.name for entry in self.path.glob("events.out.tfevents.*")]
        for name in (STATUS, CONFIG, LOG, *events):
            (self.path / name).unlink(missing_ok=True)
        for name in (CLAIM, ".hydra"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        self._remove_lock()
        self.remove_made()

    def remove_made(self) -> None:
        """Takes away the directories that claiming this one had to make, itself among them where it was not there,
        where nothing is left in them.
        """
        remove_empty(self._made)

    # ---- one process at a time ----------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Works in the directory until the block ends; a further process of a data-parallel run goes with the first.

        Raises:
            InputError: another process is at work there, it cannot be written, or what will be written would land
                elsewhere, since something in it is a link.
        """
        if not is_first_process():
            yield
            return
        with lock.locked(self.path / LOCK):
            events = [entry.name for entry in self.path.glob("events.out.*")]
            files.refuse_links(self.path, [*WRITTEN, *events], FOLDERS)
            files.remove_unfinished(self.path, WRITTEN)
            yield

    def _remove_lock(self) -> None:
        (self.path / LOCK).unlink(missing_ok=True)  # before it is given back: nobody else has it by then
        lock.release(self.path / LOCK)

    # ---- places -----------------------------------------------------------------------------------

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def best_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def log(self) -> Path:
        return self.path / LOG

    # ---- config and status ------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config, as plain containers.

        Raises:
            InputError: the file is damaged, or cannot be read.
        """
        return _read(config_file.read, self.path / CONFIG)

    def write_config(self, config: Mapping[str, Any], durable: bool = True) -> None:
        replace(self.path / CONFIG, config_file.dump(config), durable)

    @property
    def status(self) -> Status:
        """What ``status.json`` says.

        Raises:
            InputError: the file is damaged, or cannot be read.
        """
        return _read(status.read, self.path / STATUS)

    def update_status(self, state: State | str | None = None, *, durable: bool = True, **facts: Any) -> None:
        """Replaces the status file by one with these facts beside the old ones; ``durable`` as for ``replace``."""
        if state is not None:
            facts["state"] = str(state)
        replace(self.path / STATUS, status.dump(self.status.with_facts(**facts)), durable)

    @property
    def is_alive(self) -> bool:
        """Whether a process of this machine is at work in it."""
        told = self.status
        if told.state not in (State.CREATED, State.RUNNING) or told.host != socket.gethostname():
            return False
        return told.pid != os.getpid() and started(told.pid) == (told.process_started or 0)

    # ---- metrics ----------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, float]:
        """The final metrics, NaN where one is no finite number; empty as long as there are none.

        Raises:
            InputError: the file is damaged, or cannot be read.
        """
        return _read(metrics_files.read_metrics, self.path / METRICS) if is_there(self.path / METRICS) else {}

    @property
    def best_epoch(self) -> int:
        """Of a run that is done, the epoch whose weights were kept.

        Raises:
            InputError: the metrics are damaged, or do not tell.
        """
        epoch = self.metrics.get("best_epoch", math.nan)
        if epoch != epoch // 1 or epoch < 0:
            raise Damaged(self.path / METRICS, "it has no best_epoch")
        return int(epoch)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        replace(self.path / METRICS, json_text.dump(dict(metrics), indent=2) + "\n")

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``; a last line that a kill cut short is left out.

        Raises:
            InputError: the file is damaged, or cannot be read.
        """
        return _read(metrics_files.read_epochs, self.path / EPOCHS).rows if is_there(self.path / EPOCHS) else []

    def write_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replaces all rows."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        # a first row waits for the disk no more than those that are appended to it
        durable = len(rows) > 1
        replace(self.path / EPOCHS, metrics_files.table(names, rows) if names else "", durable)

    def append_epoch(self, row: Mapping[str, float]) -> None:
        """Adds a row, in one write, so that a kill leaves whole lines."""
        path = self.path / EPOCHS
        if is_there(path):
            with files.open_regular(path) as file:
                names = file.readline(2**20).decode("utf-8").strip().split(",")
            if not set(row) - set(names):
                files.append(path, metrics_files.table(names, [row], header=False).encode())
                return
        self.write_epochs([*self.epochs, row])


def _read(read: Callable[[Path], _Content], path: Path) -> _Content:
    """What a file holds, for a caller to whom a file that cannot be read is as a damaged one."""
    try:
        return read(path)
    except FileNotFoundError:
        raise Damaged(path, "it is not there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def missing(path: Path) -> list[Path]:
    """What does not exist yet of a path and the directories above it, the nearest first."""
    return [directory for directory in (path, *path.parents) if not directory.exists()]


def remove_empty(paths: Iterable[Path]) -> None:
    """Removes directories, the innermost first, up to one that holds something, or the one in which the command was
    typed: a shell would stand in a place that is no more.
    """
    with contextlib.suppress(OSError):
        here = Path.cwd()
        for path in paths:
            if here.is_relative_to(path.resolve()):
                return
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
