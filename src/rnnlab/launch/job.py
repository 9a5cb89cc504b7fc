"""One job of a sweep, in whatever process it is."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rnnlab.errors import InputError, Interrupted, RunFailed
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.execution import execute
from rnnlab.runs.fleet import Seat

LOG = "train.log"


def execute_job(
    directory: RunDirectory,
    allow: Sequence[str] | None = None,
    log: bool = True,
    seat: Seat | None = None,
    figures: bool = True,
) -> None:
    """Executes a planned run, or goes on with it, from the config in its directory.

    Whatever happens stands in the directory: the state and its reason, the
    metrics, a traceback of what was a bug. Beside what every run notes there,
    ``attempts`` counts the starts, ``wall_seconds`` all of them together, and
    ``retriable`` says that it died of lack of memory.

    Args:
        directory: with a config and a status.
        allow: see :func:`rnnlab.runs.build.build`.
        log: write ``train.log``; not where somebody else does.
        seat: see :func:`rnnlab.runs.execution.execute`.
        figures: likewise.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint is on the disk.
        KeyboardInterrupt: a second one, at once.
    """
    started = time.monotonic()
    status = directory.status
    if status.pop("anew", False):
        # it failed of its own computation, which no checkpoint is known to precede
        for checkpoint in (directory.best_checkpoint, directory.last_checkpoint):
            checkpoint.unlink(missing_ok=True)
    directory.update_status(attempts=status.get("attempts", 0) + 1, retriable=False, anew=False)
    facts: dict[str, Any] = {}
    logger = logging.getLogger("rnnlab")
    with _logged(directory) if log else contextlib.nullcontext():
        logger.info("overrides: %s", " ".join(status.get("overrides", ())) or "none")
        try:
            outcome = execute(
                directory, directory.config, resume=True, allow=allow, quiet=True, seat=seat, figures=figures
            )
            logger.info("done: %s", outcome.metrics)
        except (Interrupted, KeyboardInterrupt):
            logger.warning("stopped by a signal")
            raise
        except RunFailed as error:
            logger.error("%s", error)
            facts["anew"] = not isinstance(error.__cause__, OSError)
        except InputError as error:
            logger.error("%s", error)
        except Exception as error:
            logger.exception("a bug, or a file that cannot be used")
            facts["retriable"] = is_lack_of_memory(error)
        except SystemExit as error:
            logger.error("it asked to exit with status %s", error.code)
        finally:
            before = float(status.get("wall_seconds") or 0)
            with contextlib.suppress(OSError, InputError):  # a full disk
                directory.update_status(wall_seconds=round(before + time.monotonic() - started, 3), **facts)


def score(directory: RunDirectory, monitor: str) -> float:
    """The monitored score of a job, for sweepers that optimize it; not a number where there is none."""
    return float(directory.metrics.get(monitor, float("nan")))


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether a job died because there was no memory left just then."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


@contextlib.contextmanager
def _logged(directory: RunDirectory) -> Iterator[None]:
    """What is logged meanwhile goes to the run's own log."""
    handler = logging.FileHandler(directory.path / LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level, handlers = root.level, root.handlers
    root.handlers = [handler]  # what a person should read stands in the sweep's table
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.handlers = handlers
        handler.close()
