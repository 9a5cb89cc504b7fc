"""Every method of another package that is replaced while a program runs, each with its reason.

Nothing else in rnnlab replaces one; ``tests/test_monkeypatches.py`` holds that. What is replaced is handed in, so that
this file imports neither Hydra nor Lightning.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def instantiate_launcher(plugins: object, launcher: object) -> Iterator[None]:
    """Makes ``hydra.core.plugins.Plugins`` give a sweeper this launcher.

    A sweeper plugin asks for its launcher by the name in its config, and no argument of it takes another one.
    """
    _replace(plugins, "instantiate_launcher", lambda *_, **__: launcher)
    try:
        yield
    finally:
        vars(plugins).pop("instantiate_launcher")


def validate_batch_is_legal(sweeper: object) -> None:
    """Keeps a ``hydra.plugins.sweeper.Sweeper`` from composing every job, which our launcher does, and checks."""
    _replace(sweeper, "validate_batch_is_legal", lambda batch: None)


def entry_points(registry: ModuleType) -> None:
    """Makes ``lightning.fabric.utilities.registry`` look up once which packages are installed.

    Every trainer asks all of them for callbacks of theirs, which takes as long as an epoch of a small network. What is
    installed stays the same while a process lives.
    """
    _replace(registry, "entry_points", functools.cache(vars(registry)["entry_points"]))


def wrap_hook(callback: object, name: str, wrapper: Callable[..., Any]) -> None:
    """Puts a function around a hook of one Lightning callback: ``wrapper(hook, *arguments)`` is called in its place.

    A callback cannot be wrapped as a whole: Lightning asks it for its type and its state.
    """
    _replace(callback, name, functools.partial(wrapper, getattr(callback, name)))


def _replace(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)
