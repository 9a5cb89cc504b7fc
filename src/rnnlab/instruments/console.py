"""The one console: wide enough for a table where there is no terminal to ask."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from rnnlab.errors import visible

WIDTH_WITHOUT_TERMINAL = 140


class _Console(Console):
    """What a run says of itself, a name or a reason, moves no cursor and colours nothing."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Whoever read the output has left, as ``| head`` does: the run goes on without a word, and its files tell."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def say(self, label: str, text: object, style: str = "bold") -> None:
        """Prints a line that begins with a label; what comes after it is printed as it is."""
        self.print(Text.assemble((label, style), " ", str(text)))


def console() -> _Console:
    """A console on standard output; it leaves numbers uncoloured, and long paths with ``[a]`` in them as they are."""
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return _Console(highlight=False, soft_wrap=True, width=width, markup=False)


class _Printed(logging.Handler):
    """Prints what is logged as a note."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # nobody reads it: it stands in the log
            console().say("Note  ", record.getMessage())


@contextlib.contextmanager
def printed_warnings() -> Iterator[None]:
    """Shows a person the warnings that rnnlab logs meanwhile, which also stand in the run's log."""
    handler = _Printed(logging.WARNING)
    log = logging.getLogger("rnnlab")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
