"""The directory of a run: made once, owned by one run, every file replaced whole or not at all.

::

    config.yaml     the resolved config
    status.json     created, queued, running, done, failed or interrupted; times, reason, git, versions, device, command
    metrics.csv     every epoch, a row each
    metrics.json    final and flat: "val/loss", "test/accuracy", "baseline/loss", "parameters", "seconds" …
    checkpoints/    best.ckpt, last.ckpt
    figures/*.png   events.out.tfevents.*   train.log
"""

import contextlib
import csv
import datetime
import functools
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from rnnlab import __version__
from rnnlab.errors import InputError

State = Literal["created", "queued", "running", "done", "failed", "interrupted"]

STATUS, CONFIG, METRICS, EPOCHS = "status.json", "config.yaml", "metrics.json", "metrics.csv"
# safe ones; libyaml's do the same several times as fast
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
VERSIONED = ("torch", "lightning", "hydra-core", "omegaconf", "tensorboard", "torchmetrics", "numpy")


class RunDirectory:
    """One run's files. Opening one reads nothing; see :meth:`claim` and :meth:`open`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._made: list[Path] = []

    # ---- making and finding ---------------------------------------------------------------------

    @classmethod
    def claim(cls, path: str | Path, tolerate: Collection[str] = ()) -> "RunDirectory":
        """Makes the directory of a new run.

        The status file is created exclusively: of two processes that want the
        same directory one gets it.

        Args:
            path: of the directory, which may exist if it is empty.
            tolerate: names that may stand in it already.

        Raises:
            InputError: it already holds a run, a sweep or anything else, or cannot be written.
        """
        directory = cls(path)
        directory._made = missing_parents(directory.path)
        try:
            directory.path.mkdir(parents=True, exist_ok=True)
            inhabitants = sorted(entry.name for entry in directory.path.iterdir() if entry.name not in tolerate)
            if STATUS in inhabitants:
                raise InputError(
                    f"{path} already holds a run, and nothing is overwritten: choose another hydra.run.dir, "
                    f"or go on with it: rnnlab resume {path}"
                )
            if inhabitants:
                raise InputError(
                    f"{path} is not empty (it holds {inhabitants[0]}), and nothing is mixed into it: "
                    "choose another hydra.run.dir"
                )
            with open(directory.path / STATUS, "x", encoding="utf-8") as file:
                json.dump({"state": "created", "created": now(), **_process()}, file)
        except FileExistsError:
            raise InputError(f"{path} is taken: another run has just begun there, or it is a file") from None
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from None
        return directory

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """The directory of a run that there is.

        Raises:
            InputError: it is none.
        """
        directory = cls(path)
        if not directory.path.is_dir():
            raise InputError(f"{path} is no run: there is no such directory")
        if not (directory.path / STATUS).is_file() or not (directory.path / CONFIG).is_file():
            runs = sorted(str(status.parent) for status in directory.path.glob(f"*/{STATUS}"))
            inside = f"; it holds runs: {runs[0]}" + (" …" if len(runs) > 1 else "") if runs else ""
            raise InputError(f"{path} is no run: it has no {CONFIG} and {STATUS}{inside}")
        return directory

    def remove_if_untrained(self) -> None:
        """Takes away the directory of a run that was refused before it began; anything computed stays."""
        if self.epochs or self.last_checkpoint.exists() or self.best_checkpoint.exists():
            return
        for name in (STATUS, CONFIG, "train.log"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / ".hydra", ignore_errors=True)
        with contextlib.suppress(OSError):  # a file that somebody else put there keeps it
            self.path.rmdir()

    def remove_made_parents(self) -> None:
        """Takes away the empty directories that claiming this one had to make, where nothing is left in them."""
        remove_empty(self._made)

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
    def tensorboard(self) -> Path:
        """Where event files lie: TensorBoard names a run by their directory, and the run's own name tells most."""
        return self.path

    # ---- config and status ------------------------------------------------------------------------

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config, as plain containers.

        Raises:
            InputError: the file is no YAML mapping.
        """
        try:
            config = yaml.load((self.path / CONFIG).read_text(encoding="utf-8"), LOADER)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path / CONFIG} is damaged: {' '.join(str(error).split())}") from None
        if not isinstance(config, dict):
            raise InputError(f"{self.path / CONFIG} is damaged: it is no mapping")
        return config

    def write_config(self, config: Mapping[str, Any], durable: bool = True) -> None:
        text = yaml.dump(dict(config), Dumper=DUMPER, sort_keys=False, allow_unicode=True)
        replace(self.path / CONFIG, text, durable)

    @property
    def status(self) -> dict[str, Any]:
        """What ``status.json`` says.

        Raises:
            InputError: the file is damaged.
        """
        return _read_json(self.path / STATUS)

    def update_status(self, state: State | None = None, *, durable: bool = True, **facts: Any) -> None:
        """Replaces the status file by one with these facts beside the old ones; ``durable`` as for :func:`replace`."""
        status = self.status | ({"state": state} if state else {}) | facts
        replace(self.path / STATUS, json.dumps(status, indent=2) + "\n", durable)

    @property
    def is_alive(self) -> bool:
        """Whether a process of this machine is at work in it."""
        status = self.status
        if status["state"] not in ("created", "running") or status.get("host") != socket.gethostname():
            return False
        return status.get("pid") != os.getpid() and _started(status.get("pid")) == status.get("process_started", 0)

    # ---- metrics ----------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics; empty as long as there are none."""
        return _read_json(self.path / METRICS) if (self.path / METRICS).exists() else {}

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        replace(self.path / METRICS, json.dumps(dict(metrics), indent=2) + "\n")

    @property
    def epochs(self) -> list[dict[str, float]]:
        """The rows of ``metrics.csv``; a last line that a kill cut short is left out."""
        path = self.path / EPOCHS
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        return [{name: _number(value) for name, value in row.items() if value} for row in rows]

    def write_epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replaces all rows."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        # a first row waits for the disk no more than those that are appended to it
        durable = len(rows) > 1
        replace(self.path / EPOCHS, _csv(names, [dict(zip(names, names, strict=True)), *rows]), durable)

    def append_epoch(self, row: Mapping[str, float]) -> None:
        """Adds a row, in one write, so that a kill leaves whole lines."""
        path = self.path / EPOCHS
        if path.exists():
            with open(path, encoding="utf-8") as file:
                names = file.readline().strip().split(",")
            if not set(row) - set(names):
                with open(path, "a", encoding="utf-8") as file:
                    file.write(_csv(names, [row]))
                return
        self.write_epochs([*self.epochs, row])


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, names, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue()


def replace(path: Path, content: str | bytes | memoryview, durable: bool = True) -> None:
    """Writes a file whole: what stood there before stays until the new one is on the disk.

    Args:
        path: of the file.
        content: all of it.
        durable: wait for the disk; not for what could be written anew if the power were lost.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, durable) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def missing_parents(path: Path) -> list[Path]:
    """The directories above a path that do not exist yet, the nearest first."""
    return [parent for parent in path.parents if not parent.exists()]


def remove_empty(paths: Iterable[Path]) -> None:
    """Removes directories, the innermost first, up to one that holds something."""
    with contextlib.suppress(OSError):
        for path in paths:
            path.rmdir()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, FileNotFoundError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


# ---- where a run comes from ----------------------------------------------------------------------


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def provenance() -> dict[str, Any]:
    """What a reader needs to run it again: command, code, versions, machine."""
    return {**_process(), "platform": platform.platform(), "versions": dict(_versions()), "git": dict(_git())}


@functools.cache  # what is imported stays, whatever is installed or committed meanwhile
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"rnnlab": __version__, "python": platform.python_version()}
    for package in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def is_first_process() -> bool:
    """Whether this is the process that owns the run's files, and not a further one of a data-parallel run."""
    return os.environ.get("LOCAL_RANK", "0") == os.environ.get("SLURM_PROCID", "0") == "0"


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_started": _started(os.getpid())}


@functools.cache
def _git() -> dict[str, Any]:
    """Commit of the checkout that rnnlab runs from, and whether it differs from it; empty from a wheel."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        lines = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.splitlines()
        commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
        return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}
    return {}


def _started(pid: int | None) -> int | None:
    """When a process started, in clock ticks since boot (Linux): tells it from a later one of the same number."""
    if pid is None:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # a zombie works no more: it only waits for somebody to ask how it ended
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform != "linux":
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return -1
    return None
