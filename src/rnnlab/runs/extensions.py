"""What a config adds to a run beyond its parts: Lightning callbacks and loggers of anybody's."""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from lightning import Callback
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from rnnlab import monkeypatches
from rnnlab.errors import InputError, one_line
from rnnlab.instruments.tensorboard import flat
from rnnlab.loggers.logger import MadeForRun, OfRun, RunLogger
from rnnlab.runs.build import build_one, check_node, locate
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.schema import check_arguments
from rnnlab.runs.trainer import REFUSALS

log = logging.getLogger("rnnlab")


def build_callbacks(config: Mapping[str, Any], allow: Iterable[str] | None = None) -> list[Callback]:
    """The callbacks of a config.

    Raises:
        InputError: as :func:`rnnlab.runs.build.build`, or one is no callback.
    """
    built = []
    for name, node in _named(config, "callbacks").items():
        try:
            callback = build_one(Callback, node, f"callbacks.{name}", allow)
        except MisconfigurationException as error:
            raise InputError(f"callbacks.{name}: {one_line(error)}") from error
        for hook in BEFORE_TRAINING:
            monkeypatches.wrap_hook(callback, hook, partial(_one_line_where_refused, f"callbacks.{name}"))
        built.append(callback)
    return built


BEFORE_TRAINING = ("setup", "on_fit_start", "on_train_start")
"""The hooks in which a callback says that it can't be used: a package is missing, the run has no such thing."""


def _one_line_where_refused(key: str, hook: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return hook(*arguments, **options)
    except (*REFUSALS, MisconfigurationException) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{key} refuses this run: {type(error).__name__}: {one_line(error)}") from error


def check_loggers(config: Mapping[str, Any], allow: Iterable[str] | None = None) -> None:
    """Holds the loggers of a config against their signatures; a run builds them once it has a directory.

    Raises:
        InputError: naming the key.
    """
    for name, node in _named(config, "logger").items():
        key = f"logger.{name}"
        check_node(node, key)
        target = locate(node, key, allow)
        arguments = {option: value for option, value in node.items() if not option.startswith("_")}
        check_arguments(target, arguments, key, given=dict.fromkeys(_given(target, arguments)), built=False)


def build_loggers(
    config: Mapping[str, Any], directory: RunDirectory, allow: Iterable[str] | None = None
) -> list["Guarded"]:
    """The loggers of a config, at work.

    Raises:
        InputError: as :func:`rnnlab.runs.build.build`, or one is no logger.
    """
    status = directory.status
    run = OfRun(directory.path, status.created or "", tuple(config.get("tags") or ()))
    loggers = []
    for name, node in _named(config, "logger").items():
        key = f"logger.{name}"
        given = _given(locate(node, key, allow), node)
        values = {"run": run, "save_dir": str(directory.path)}
        logger = build_one(Logger, node, key, allow, **{argument: values[argument] for argument in given})
        loggers.append(Guarded(logger, key))
        loggers[-1].log_hyperparams(flat(config))
    return loggers


def _named(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {name: node for name, node in (config.get(part) or {}).items() if node not in (None, False)}


def _given(target: Any, arguments: Mapping[str, Any]) -> list[str]:
    """What a run says to a logger: ours what run it is, another's where it may write, if the config doesn't."""
    if isinstance(target, type) and issubclass(target, MadeForRun):
        return ["run"]
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return []
    return ["save_dir"] if "save_dir" in parameters and "save_dir" not in arguments else []


class Guarded(Logger):
    """A logger whose failures cost no run its result: the first is one line in the log, and then it is left alone.

    Args:
        logger: that it hands everything to.
        key: where it stands in the config.
    """

    def __init__(self, logger: Logger, key: str) -> None:
        super().__init__()
        self.logger, self.key = logger, key
        self.failed = False

    def _try(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if self.failed:
            return
        try:
            action(*arguments, **options)
        except Exception as error:  # of anybody's logger, at any time
            self.failed = True
            log.exception("%s", self.key)
            what = f"{type(error).__name__}: {one_line(error)}"
            print(f"{self.key} failed and is left out from here on ({what}); the run goes on, see train.log")

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def experiment(self) -> Any:
        return getattr(self.logger, "experiment", None)

    @property
    def save_dir(self) -> str | None:
        return self.logger.save_dir

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._try(self.logger.log_metrics, dict(metrics), step)

    def log_hyperparams(self, params: Any, *args: Any, **options: Any) -> None:
        self._try(self.logger.log_hyperparams, params, *args, **options)

    def save(self) -> None:
        self._try(self.logger.save)

    def finalize(self, status: str) -> None:
        if not isinstance(self.logger, RunLogger):  # ours go on after the fit
            self._try(self.logger.finalize, status)

    def finish(self, directory: RunDirectory, metrics: Mapping[str, Any], figures: Sequence[str]) -> None:
        """Tells the logger how the run ended."""
        numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        if isinstance(self.logger, RunLogger):
            paths = [directory.path / figure for figure in figures]
            self._try(self.logger.finish, numbers, paths, directory.path / "config.yaml")
        else:
            self._try(self.logger.log_metrics, numbers, metrics.get("steps"))
            self._try(self.logger.save)


def check_tags(tags: Any) -> None:
    """Holds the tags of a config against what a tag is.

    Raises:
        InputError: one is empty, longer than 64 characters, or has a line break or a comma in it.
    """
    for tag in tags or []:
        if not tag.strip() or len(tag) > 64 or not tag.isprintable() or "," in tag:
            raise InputError(f"tags={tag!r}: a tag is a word or a few, without commas, of at most 64 characters")
