"""From a plain config to objects: the signature of what a config names is its schema.

A config node is a mapping with ``_target_``, the dotted path of a class or a
function; the other keys are its arguments, and ``_partial_: true`` leaves the
call to whoever gets the object. That is Hydra's own notation. It is read here
rather than by Hydra, so that every argument is checked against the annotation
before anything is built, a mistake is one line that names its key, and a
config that was read from a run directory can build nothing but what an
allow-list admits.
"""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnlab.configs import choose_first
from rnnlab.errors import InputError, nearest
from rnnlab.ranges import OnDisk, OnNetwork
from rnnlab.runs.schema import PARTIAL, TARGET, annotations, article, check_arguments, check_value, has, shown
from rnnlab.store.files import endless
from rnnlab.store.ledger import COMMAND
from rnnlab.store.open_directory import is_there
from rnnlab.store.status import STATUS

TRUSTED = (
    "rnnlab.cells.",
    "rnnlab.data.",
    "rnnlab.instruments.",
    "rnnlab.launch.",
    "rnnlab.network.",
    "rnnlab.runs.trainer.",
    "rnnlab.search.",
    "rnnlab.tasks.",
    "torch.optim.",
    "rnnlab.callbacks.",
    "rnnlab.loggers.",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.Timer",
)
"""Where what a config from a run or sweep directory may name must be defined."""

TRUSTED_KINDS = frozenset({
    "rnnlab.cells.cell.Cell",
    "rnnlab.data.augmentation.Augmentation",
    "rnnlab.data.sequence.SequenceData",
    "rnnlab.instruments.instrument.Instrument",
    "rnnlab.launch.launcher.Launcher",
    "rnnlab.network.Network",
    "rnnlab.search.searcher.Searcher",
    "rnnlab.tasks.task.Task",
    "rnnlab.callbacks.averaging.ExponentialMovingAverage",
    "rnnlab.callbacks.averaging.StochasticWeightAveraging",
    "rnnlab.loggers.csv_files.CSVFiles",
    "rnnlab.loggers.mlflow_tracking.MLflow",
    "rnnlab.loggers.weights_and_biases.WeightsAndBiases",
    "torch.optim.optimizer.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
})  # fmt: skip
"""Classes of which it must be one: our own parts, optimizers and schedulers. Any other class or function of
these modules may open, write or start something.
"""
TRUSTED_CLASSES = frozenset({
    "lightning.pytorch.callbacks.lr_monitor.LearningRateMonitor",
    "lightning.pytorch.callbacks.timer.Timer",
})  # fmt: skip
"""And these classes of Lightning's, which write nothing."""
TRUSTED_FUNCTIONS = ("rnnlab.runs.trainer.build_trainer", "rnnlab.tasks.schedules.")
"""And the functions that it may name."""


def build(node: Mapping[str, Any], key: str, allow: Iterable[str] | None = None, **given: Any) -> Any:
    """Builds what a config node names.

    Args:
        node: a mapping with ``_target_``.
        key: where it stands in the config, for messages.
        allow: prefixes of dotted paths that may be built, beside the parts of ``TRUSTED``;
            ``None`` for a config that the person at the keyboard composed,
            who may name anything.
        given: arguments that come from the program and not from the config.

    Raises:
        InputError: the target is unknown or not allowed, an argument is
            unknown, missing, or not what its annotation says, or the object
            refuses its arguments.
    """
    target = locate(node, key, allow)
    arguments = {}
    for name, value in node.items():
        if name in (TARGET, PARTIAL):
            continue
        arguments[name] = _build_nested(value, f"{key}.{name}", allow)
    if allow is not None:
        for name, annotation in annotations(target).items():
            if arguments.get(name) and has(annotation, OnNetwork) and not is_allowed(f"{key}.{name}", allow):
                arguments[name] = False
    is_partial = node.get(PARTIAL, False)
    check_value(is_partial, bool, f"{key}.{PARTIAL}")
    check_arguments(target, arguments, key, given=given, complete=not is_partial)
    if is_partial:
        return partial(target, **arguments, **given)
    try:
        return target(**arguments, **given)
    except (TypeError, ValueError) as error:
        # a constructor that refuses its arguments; deeper causes are bugs and keep their traceback
        if _raised_within(error, target):
            raise InputError(f"{key}: {_one_line(error)}") from error
        raise
    except MemoryError as error:
        raise InputError(f"{key}: this does not fit into memory ({_one_line(error)})") from error
    except RuntimeError as error:
        # torch's own words for the same: sizes that overflow, and memory that is not there
        if any(word in str(error) for word in ("allocate memory", "overflow", "not enough memory", "out of memory")):
            raise InputError(f"{key}: this does not fit into memory ({_one_line(error)})") from error
        raise


def build_one(kind: type[Any], node: Any, key: str, allow: Iterable[str] | None = None, **given: Any) -> Any:
    """Builds what a config node names, which must be one of a class.

    Raises:
        InputError: as :func:`build`, the node is none that builds anything, or it builds something else.
    """
    check_node(node, key)
    built = build(node, key, allow, **given)
    if not isinstance(built, kind):
        what = f"leave {PARTIAL} out" if isinstance(built, partial) else f"it builds {article(type(built).__name__)}"
        raise InputError(f"{key}.{TARGET}={node[TARGET]}: {article(kind.__name__)} is needed here: {what}")
    return built


def check_node(node: Any, key: str) -> None:
    """Refuses a value where a config with keys of its own belongs.

    Raises:
        InputError: naming the key and the value.
    """
    if not isinstance(node, Mapping):
        raise InputError(f"{key}={shown(node)}: this is a config with keys of its own, and no value fits ({key}.KEY=…)")


def _build_nested(value: Any, key: str, allow: Iterable[str] | None) -> Any:
    if isinstance(value, Mapping):
        if TARGET in value:
            return build(value, key, allow)
        return {name: _build_nested(item, f"{key}.{name}", allow) for name, item in value.items()}
    if isinstance(value, list):
        return [_build_nested(item, f"{key}[{i}]", allow) for i, item in enumerate(value)]
    return value


def locate(node: Mapping[str, Any], key: str, allow: Iterable[str] | None = None) -> Any:
    """The class or function that a node's ``_target_`` names.

    Raises:
        InputError: there is none, or it may not be built.
    """
    path = node.get(TARGET)
    if TARGET not in node:
        group, _, inside = key.partition(".")
        for name, value in node.items():
            what = choose_first(group, f"{inside}.{name}" if inside else str(name))
            if what:
                raise InputError(f"{key}.{name}={shown(value)}: unknown key: {what}")
    if not isinstance(path, str) or not path:
        raise InputError(f"{key}: a config that builds something needs {TARGET}, the dotted path of a class")
    module_path, _, name = path.rpartition(".")
    trusted = (*TRUSTED, *(f"{prefix.rstrip('.')}." for prefix in allow)) if allow is not None else ("",)
    refused = (
        f"{key}.{TARGET}={path} is not what a run directory may build: rnnlab's own parts and "
        f"torch.optim; if you trust it, add --allow {path.split('.')[0]}"
    )
    if not path.startswith(trusted):
        raise InputError(refused)
    if not module_path:
        raise InputError(f"{key}.{TARGET}={path} is no dotted path")
    try:
        module = import_named(module_path, own=allow is None or is_allowed(module_path, allow))
    except ModuleNotFoundError as error:
        run = _run_around(Path.cwd())
        where = f" (and none is taken from {run}, which is a run directory)" if run is not None else ""
        raise InputError(f"{key}.{TARGET}={path}: there is no module {error.name}{where}") from error
    except Exception as error:  # a module of the user's own may fail in any way
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise InputError(f"{key}.{TARGET}={path}: {module_path} cannot be imported ({reason})") from error
    if not hasattr(module, name):
        raise InputError(f"{key}.{TARGET}={path}: {module_path} has no {name}{nearest(name, vars(module))}")
    target = getattr(module, name)
    if allow is not None and not _is_trusted(target, allow):
        raise InputError(refused)
    if not callable(target):
        raise InputError(f"{key}.{TARGET}={path} is no class or function")
    return target


def to_allow(config: Any) -> list[str]:
    """The modules beyond rnnlab's own parts that a config builds from: what ``--allow`` has to name once it lies in a
    run directory.
    """
    if isinstance(config, list):
        return list(dict.fromkeys(name for item in config for name in to_allow(item)))
    if not isinstance(config, Mapping):
        return []
    target = config.get(TARGET)
    names = [target.split(".")[0]] if isinstance(target, str) and not target.startswith(TRUSTED) else []
    return list(dict.fromkeys([*names, *to_allow(list(config.values()))]))


def import_named(path: str, own: bool) -> ModuleType:
    """Imports a module.

    Args:
        path: dotted.
        own: the person at the keyboard named it, so that it may be in the current directory where it is nowhere else,
            unless that is a run directory.
    """
    top = path.partition(".")[0]
    here = os.getcwd()
    if own and top not in sys.modules and here not in sys.path and importlib.util.find_spec(top) is None:
        if _run_around(Path(here)) is not None:
            raise ModuleNotFoundError(name=top)
        sys.path.append(here)
    return importlib.import_module(path)


def _run_around(place: Path) -> Path | None:
    """The run or sweep that a directory is, or lies in: whatever is there may be anybody's."""
    marks = (STATUS, COMMAND)
    return next((parent for parent in (place, *place.parents) if any(is_there(parent / mark) for mark in marks)), None)


def _is_trusted(target: Any, allow: Iterable[str]) -> bool:
    """Whether a config from a run directory may have this built; the module that it was found in may merely import it
    (rnnlab.….os).
    """
    module, name = getattr(target, "__module__", ""), getattr(target, "__qualname__", "")
    if f"{module}.{name}" in TRUSTED_CLASSES:
        return True
    if f"{module}.".startswith(tuple(f"{prefix.rstrip('.')}." for prefix in allow)):
        return True
    if not f"{module}.".startswith(TRUSTED):
        return False
    if not inspect.isclass(target):
        return f"{module}.{name}".startswith(TRUSTED_FUNCTIONS)
    return any(f"{base.__module__}.{base.__qualname__}" in TRUSTED_KINDS for base in target.__mro__)


def with_absolute_paths(
    node: Mapping[str, Any], key: str, allow: Iterable[str] | None = None, base: str | None = None
) -> dict[str, Any]:
    """A config node whose files are found from any directory.

    Arguments that are annotated as :data:`rnnlab.shapes.FilePath` (or a list of
    them) and are relative, or start with ``~``, become absolute.

    Args:
        node: of the config.
        key: where it stands in the config, for messages.
        allow: see :func:`build`.
        base: from which relative paths lead; ``None`` is the current directory.

    Raises:
        InputError: as :func:`locate`.
    """
    hints = annotations(locate(node, key, allow))
    placed = {name: _absolute(value, base) if has(hints.get(name), OnDisk) else value for name, value in node.items()}
    for name, value in placed.items():
        if has(hints.get(name), OnDisk):
            for path in value if isinstance(value, list) else [value]:
                _check_place(path, f"{key}.{name}")
    return placed


def _check_place(path: Any, key: str) -> None:
    """Refuses what can be read only once, or for ever: a pipe, a socket, a device."""
    if isinstance(path, str) and (what := endless(path)) is not None:
        raise InputError(f"{key}={path}: this is no file but {what}: save what it gives in a file")


def is_allowed(key: str, allow: Iterable[str]) -> bool:
    """Whether a user trusts a key, or all below one that it belongs to, of a file that anybody may have made."""
    return any(f"{key}.".startswith(f"{name}.") for name in allow)


def _absolute(value: Any, base: str | None) -> Any:
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    return str((Path(base or "") / Path(value).expanduser()).absolute()) if isinstance(value, str) and value else value


def _raised_within(error: BaseException, target: Any) -> bool:
    """Whether the constructor itself refused: the error comes from its own module, or from the call."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return module in (getattr(target, "__module__", ""), __name__)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
