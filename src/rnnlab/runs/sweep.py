"""The directory of a sweep: it holds the runs, the command that made them, and the table that compares them."""

import contextlib
import json
from pathlib import Path

from rnnlab.errors import InputError
from rnnlab.runs.directory import now, provenance

COMMAND = "sweep.json"


class SweepDirectory:
    """Made once, for one sweep."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    @classmethod
    def claim(cls, path: str | Path, command: list[str], chosen: bool) -> "SweepDirectory":
        """Makes the directory of a new sweep.

        Args:
            path: of the directory.
            command: that started the sweep.
            chosen: by the user, so that it must be this one; a default name that is taken gets a number.

        Raises:
            InputError: it holds something already, or cannot be written.
        """
        for attempt in range(1, 1000):
            directory = cls(path if attempt == 1 else f"{path}-{attempt}")
            try:
                directory.path.mkdir(parents=True, exist_ok=True)
                if next(directory.path.iterdir(), None) is None:
                    with open(directory.path / COMMAND, "x", encoding="utf-8") as file:
                        json.dump({"command": command, "created": now(), **provenance()}, file, indent=2)
                    return directory
            except FileExistsError:
                pass
            except OSError as error:
                raise InputError(f"{path} cannot be written: {error.strerror}") from None
            if chosen:
                break
        raise InputError(
            f"{path} is not empty, and nothing is overwritten or mixed into it: choose another hydra.sweep.dir"
        )

    def remove_if_unused(self) -> None:
        """Takes away the directory of a sweep that was refused before its first job."""
        if any(entry.is_dir() for entry in self.path.iterdir()):
            return
        for name in (COMMAND, "multirun.yaml"):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a file that somebody else put there keeps it
            self.path.rmdir()
