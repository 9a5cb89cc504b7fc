"""The contract of a logger beside TensorBoard: any logger of Lightning's; one of ours knows the run it is of."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class OfRun:
    """What a logger is told of its run.

    Attributes:
        directory: of the run. What a logger writes by itself stands in there.
        created: when the directory was made, as in ``status.json``.
        tags: of the run.
    """

    directory: Path
    created: str = ""
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a person knows the run by: the last two parts of its path."""
        return "/".join(self.directory.absolute().parts[-2:])

    @property
    def id(self) -> str:
        """Sixteen letters that no other run has, and that stay the same when it is resumed."""
        return hashlib.sha256(f"{self.directory.absolute()} {self.created}".encode()).hexdigest()[:16]


class MadeForRun:
    """A logger whose argument ``run`` is given by the run that makes it: one that knows what run it is of."""


@runtime_checkable
class RunLogger(Protocol):
    """A logger that is told how the run ended."""

    @abstractmethod
    def finish(self, metrics: Mapping[str, Any], figures: Sequence[Path], config: Path) -> None:
        """Takes the final scores, the figures and the config, and ends the session.

        Args:
            metrics: as ``metrics.json`` has them.
            figures: PNG files.
            config: the run's ``config.yaml``.
        """
