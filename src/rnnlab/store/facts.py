"""What a fact of a run's file must be: each function returns it, or says in a ``ValueError`` what it must be."""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from rnnlab.errors import nearest, one_line

Choice = TypeVar("Choice", bound=Enum)


class Word(str, Enum):
    """One of the words that a file may have in a place; as text it is that word."""

    def __str__(self) -> str:
        return str(self.value)


def one_of(kind: type[Choice], value: Any) -> Choice:
    """A member of an enumeration, by its value."""
    try:
        return kind(value)
    except ValueError:
        names = [str(each.value) for each in kind]
        raise ValueError(f"must be one of {', '.join(names)}{nearest(str(value)[:40], names)}") from None


def text(value: Any) -> str:
    """A text, as it is."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def line(value: Any) -> str:
    """A text on one line that a terminal may get."""
    return one_line(text(value))


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("must be a number")
    return value


def truth(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def checked(facts: Mapping[str, Any], checks: Mapping[str, Callable[[Any], Any]], complaint: str) -> dict[str, Any]:
    """The facts that there are checks for, each as its check returns it.

    Args:
        facts: by name; ``None`` stands for none.
        checks: by name.
        complaint: of a wrong one, with ``{name}``, ``{error}`` and ``{value}``.

    Raises:
        ValueError: the complaint.
    """
    values: dict[str, Any] = {}
    for name, check in checks.items():
        value = facts.get(name)
        if value is not None:
            try:
                values[name] = check(value)
            except ValueError as error:
                raise ValueError(complaint.format(name=name, error=error, value=repr(str(value)[:60]))) from None
    return values
