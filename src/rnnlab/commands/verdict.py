"""A verdict as a person reads it."""

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
    out.say("Verdict    ", text, f"bold {COLOURS[verdict.state]}")
    for line in verdict.seen:
        out.say("Seen       ", line)
    for number, advice in enumerate(verdict.next):
        out.say("           " if number else "Next       ", advice.answers)
        out.print(f"            {command(advice, path, directory)}")
