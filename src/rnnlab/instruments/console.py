"""The one console: wide enough for a table where there is no terminal to ask."""

import sys

from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 140


def console() -> Console:
    """A console on standard output; it leaves numbers uncoloured and long paths in one piece."""
    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(highlight=False, soft_wrap=True, width=width)
