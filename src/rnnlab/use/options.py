"""Options of the verbs that use a trained run, as far as they can be refused before torch is imported."""

import re
from dataclasses import dataclass
from pathlib import Path

from rnnlab.errors import InputError, nearest
from rnnlab.store.files import refuse_unwritable

TABLES = (".csv", ".jsonl", ".parquet")


def check_output(path: Path, force: bool) -> None:
    """Refuses a file for predictions that cannot be written.

    Raises:
        InputError: its format is unknown, it exists, or its directory does not or takes no file.
    """
    if path.suffix not in TABLES:
        hint = nearest(path.suffix, TABLES)
        raise InputError(f"--output {path}: no format '{path.suffix}'{hint} (there are {', '.join(TABLES)})")
    if path.exists() and not force:
        raise InputError(f"--output {path} exists, and nothing is overwritten: give another name, or --force")
    if not path.parent.is_dir():
        raise InputError(f"--output {path}: there is no directory {path.parent}")
    refuse_unwritable(path, f"--output {path}")


def check_folder(folder: Path, force: bool) -> None:
    """Refuses a place for an inspection that cannot be written to.

    Raises:
        InputError: it exists and holds something, or is a file, or its parent does not exist or takes no directory.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file: name a directory")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f"{folder} exists, and nothing is overwritten: give another --output, or --force")
    if not folder.parent.is_dir():
        raise InputError(f"--output {folder}: there is no directory {folder.parent}")
    refuse_unwritable(folder, str(folder), "choose another place with --output DIR")


DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")


def check_device(name: str) -> None:
    """Refuses what is no device's name; whether a device is there torch alone can tell.

    Raises:
        InputError: naming the option.
    """
    if not DEVICE.fullmatch(name):
        hint = "; did you mean 'cuda'?" if name.startswith("gpu") else nearest(name, ("auto", "cpu", "cuda", "mps"))
        raise InputError(f"--device {name}: no such device{hint} (cpu, cuda, cuda:1 …, mps, or auto)")


def check_positive(name: str, value: int | None) -> None:
    """Refuses a number of things that is none.

    Raises:
        InputError: naming the option.
    """
    if value is not None and value < 1:
        raise InputError(f"--{name} {value} must be at least 1")


def check_share(name: str, value: float) -> None:
    """Refuses a share that is none, or all.

    Raises:
        InputError: naming the option.
    """
    if not 0 < value < 1:
        raise InputError(f"--{name} {value:g} must be between 0 and 1, such as 0.99")


@dataclass(frozen=True)
class Sampling:
    """How a language model writes: see :meth:`rnnlab.use.predictor.TrainedRun.generate`.

    Raises:
        InputError: nothing can be sampled so; naming the option.
    """

    length: int = 500
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    samples: int = 1

    def __post_init__(self) -> None:
        for name, fits, allowed in (
            ("length", self.length >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < float("inf"), "at least 0, and finite (0: the most probable)"),
            ("top_k", self.top_k is None or self.top_k >= 1, "at least 1"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("seed", self.seed >= 0, "at least 0"),
            ("samples", self.samples >= 1, "at least 1"),
        ):
            if not fits:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} must be {allowed}")
        for name, is_idle in (
            ("top_k", self.top_k is not None), ("top_p", self.top_p is not None), ("samples", self.samples > 1),
        ):  # fmt: skip
            if is_idle and self.temperature == 0:
                raise InputError(
                    f"--{name.replace('_', '-')} {getattr(self, name)} and --temperature 0: the most probable text is "
                    "one alone, and nothing is drawn; leave one out"
                )
