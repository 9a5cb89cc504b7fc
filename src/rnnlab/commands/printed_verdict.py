"""A verdict as a person reads it."""

import textwrap
from pathlib import Path

from rnnlab.instruments.console import console
from rnnlab.runs.verdict import command
from rnnlab.store.verdict import Judgement, Verdict

COLOURS = {
    Judgement.BETTER: "green",
    Judgement.UNCERTAIN: "yellow",
    Judgement.NOT_BETTER: "red",
    Judgement.AT_CHANCE: "red",
    Judgement.NONE: "yellow",
}


def print_verdict(verdict: Verdict, path: Path, directory: str | None = None, whose: str = "") -> None:
    """Prints what a run is worth, what stands out in it, and what to try next.

    Args:
        verdict: of the run.
        path: its directory.
        directory: in which its command was typed.
        whose: it is, where that is not clear: ``of the best run``.
    """
    out = console()
    text = f"{whose}: {verdict.text}" if whose else verdict.text
    _say("Verdict", text, f"bold {COLOURS[verdict.state]}")
    for number, line in enumerate(verdict.seen):
        _say("" if number else "Seen", line)
    for number, advice in enumerate(verdict.next):
        _say("" if number else "Next", advice.answers)
        out.print(f"{INDENT}{command(advice, path, directory)}")  # in one piece, to be pasted


INDENT = " " * len("TensorBoard ")
"""Under the labels of what is printed above a verdict."""


def _say(label: str, text: str, style: str = "bold") -> None:
    """Prints a labelled text, broken between words where the terminal ends."""
    out = console()
    # textwrap breaks no line at such a space, and so none between a number and its unit
    whole = text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.wrap(whole, max(40, out.width - len(INDENT)), break_on_hyphens=False) or [""]
    first, *rest = (line.replace("\N{NO-BREAK SPACE}", " ") for line in lines)
    out.say(label.ljust(len(INDENT) - 1), first, style)
    for line in rest:
        out.print(f"{INDENT}{line}")
