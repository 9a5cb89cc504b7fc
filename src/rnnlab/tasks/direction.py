"""Which way a score gets better. This imports no torch, since a config's ``mode`` follows from its ``monitor``."""

from collections.abc import Callable
from types import ModuleType
from typing import Literal

Direction = Literal["min", "max"]

HIGHER_IS_BETTER = ("accuracy", "f1", "r2", "exact_match", "auroc", "average_precision", "bleu", "chrf")
"""How the names of rnnlab's own scores begin that are better the higher they are."""
NEITHER_IS_BETTER = ("coverage", "width", "blank_share", "unfinished")
"""And of those that have no better end: a coverage is best where it is what was asked for."""


def direction(score: str, higher_is_better: tuple[str, ...] = ()) -> Direction:
    """``max`` where a score is better the higher it is, else ``min``.

    Args:
        score: such as ``val/accuracy``, ``mse@10`` or ``loss``.
        higher_is_better: names of a task's own scores that are.
    """
    name = score.rpartition("/")[2].partition("@")[0]
    return "max" if name.startswith(HIGHER_IS_BETTER) or name in higher_is_better else "min"


def of_config(monitor: str, target: str | None, load: Callable[[str], ModuleType]) -> Direction:
    """The direction of a config's ``monitor``; a task that isn't rnnlab's own is asked for its ``higher_is_better``.

    Args:
        monitor: the score.
        target: the dotted path of the task's class.
        load: imports a module.
    """
    module, _, name = str(target or "").rpartition(".")
    if not module or module.startswith("rnnlab."):
        return direction(str(monitor))
    try:
        task = getattr(load(module), name, None)
    except Exception:  # noqa: BLE001 a user's module may fail in any way; whoever builds the task says how
        task = None
    return direction(str(monitor), tuple(getattr(task, "higher_is_better", ())))
