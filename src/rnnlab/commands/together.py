"""Options that need another one, or do not go with it: refused where they would be ignored."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from rnnlab.errors import InputError


class Rule(NamedTuple):
    """What an option asks of others.

    option
        By its name in the namespace.
    why
        Behind its name in the message.
    needs
        One of these must be given, too.
    without
        None of these may be.
    """

    option: str
    why: str
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def is_given(options: Any, name: str) -> bool:
    """Whether somebody typed an option, whose default is ``None`` or ``False``."""
    value = getattr(options, name)
    return value is not None and value is not False


def check_together(options: Any, rules: Iterable[Rule]) -> None:
    """Refuses the first option that would be ignored.

    Raises:
        InputError: naming it, and the one that it does not go with.
    """
    for rule in rules:
        if not is_given(options, rule.option):
            continue
        if rule.needs and not any(is_given(options, name) for name in rule.needs):
            raise InputError(f"{shown(rule.option, getattr(options, rule.option))} {rule.why}")
        for name in rule.without:
            if is_given(options, name):
                raise InputError(f"{shown(name)} and {shown(rule.option)}: {rule.why}")


def shown(option: str, value: Any = True) -> str:
    """As it is typed, with what is given for it where that is more than its name."""
    return f"--{option.replace('_', '-')}{'' if value is True else f' {value}'}"
