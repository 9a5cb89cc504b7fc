"""What ends a run on purpose, each said in one line."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

LONGEST = 2000
"""Characters of a message; its middle is left out where it is longer."""


class OneLine(Exception):
    """An error whose message is one line, whatever was put into it."""

    def __init__(self, message: str = "") -> None:
        text = one_line(message)
        super().__init__(text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}")


class InputError(OneLine):
    """Bad input: the command prints the message on one line and exits with status 2.

    The message names the key, the value, what is allowed and, where there is
    one, the nearest valid name. Anything else that is raised is a bug.
    """


class UnknownKeys(InputError):
    """Keys of a config that what it builds does not take.

    Attributes:
        place: where they stand in the config.
        names: of all of them.
    """

    def __init__(self, message: str, place: str, names: Iterable[str]) -> None:
        super().__init__(message)
        self.place, self.names = place, tuple(names)


class OtherNetwork(InputError):
    """Weights that do not fit the network, the data or the objective that they are asked for.

    Attributes:
        why: what does not fit, without the checkpoint's name.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class RunFailed(OneLine):
    """A run that started and cannot go on (a loss that is no number, a full disk): one line, exit status 1."""


class Interrupted(BaseException):
    """A run that was asked to stop (Ctrl-C, SIGTERM) and left a checkpoint: exit status 128 + signal.

    It may be raised anywhere, by the handler of a signal: whoever catches any Exception, since a picture, a file or a
    compiler may fail in any way, must not take it for one.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by {signal_number}")
        self.signal_number = signal_number


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """A text as a terminal may get it: what would control it is escaped; lines and tabs stay."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: object) -> str:
    """Any text, or what an error says, on one line that a terminal may get."""
    return visible(" ".join(str(text).split()))


def of_the_disk(error: OSError) -> str:
    """Which file cannot be read or written, and why, in one line that is not too long."""
    place = f"{error.filename}: " if error.filename is not None else ""
    said = one_line(f"{place}{error.strerror or error}")
    return said if len(said) < 600 else f"{said[:300]} … {said[-200:]}"


def few(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def nearest(name: object, valid: Iterable[str], cutoff: float = 0.5) -> str:
    """``"; did you mean 'gru'?"`` where a valid name is near, else an empty string."""
    name = str(name).lower()
    spelled = {other.lower(): other for other in reversed(list(valid))}
    # letters in the wrong order are the commonest slip, and the one that difflib ranks low; as is the start of a name
    swapped = [other for other in spelled if sorted(other) == sorted(name)]
    begun = [other for other in reversed(spelled) if other.startswith(name)] if len(name) > 2 and cutoff <= 0.5 else []
    close = swapped or begun or get_close_matches(name, spelled, n=1, cutoff=cutoff)
    return f"; did you mean '{spelled[close[0]]}'?" if close else ""


def nearest_key(key: str, valid: Iterable[str]) -> str:
    """The same of a dotted key: one of its own section that is very near, by its last part (``data.noise`` and
    ``data.time`` are not near because they begin alike), then the same name elsewhere, then one of its own section that
    is near, and one that is very near elsewhere; and by the whole of it where there is no such section.
    """
    valid = list(valid)
    section, _, name = key.rpartition(".")
    parts = [other.rpartition(".") for other in valid]
    own = [part for part in parts if part[0] == section]
    same = [part for part in parts if part[2] == name]
    for keys, cutoff in ((own, 0.75), (same, 1.0), (own, 0.5), (parts, 0.7)):
        by_name = {last: "".join((before, dot, last)) for before, dot, last in reversed(keys)}
        near = nearest(name, by_name, cutoff)
        if near:
            return f"; did you mean '{by_name[near.split(chr(39))[1]]}'?"
    # not the section itself, of which it is no key
    return "" if own else nearest(key, [other for other in valid if not key.startswith(f"{other}.")])
