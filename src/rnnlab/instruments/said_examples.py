"""What was said, beside what was asked for."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from matplotlib.axes import Axes

from rnnlab.instruments import style
from rnnlab.instruments.attention_maps import LOOKED_AT, Example, examples
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject
from rnnlab.tasks.translation import Translation

SHOWN = 5
LONGEST = 90
"""Characters of a text that are shown."""


class SaidExamples(Instrument[tuple[list[Example], list[Example]]]):
    """The examples with the most tokens to mend, and the longest that are right: read, asked for, and said.

    What has to be mended of what was said is red.
    """

    needs_truth = True
    of_sequences = True
    rank = 70
    title = "The worst and the best that was said"
    reading = "What was read, what was asked for, and what was said, whose mistakes are red."

    def missing(self, subject: Subject) -> str | None:
        return None if isinstance(subject.task, Translation) else "nothing is said that has a length of its own"

    def measure(self, subject: Subject) -> tuple[list[Example], list[Example]]:
        return examples(subject, SHOWN)

    def draw(self, subject: Subject, measured: tuple[list[Example], list[Example]]) -> Picture:
        task = subject.task_as(Translation)
        worst, best = measured
        unit = task.spec.step_unit
        fig = style.figure(
            self.title,
            f"of {min(LOOKED_AT, subject.size):,} {subject.called} sequences; red is what has to be mended",
            width=10.0,
            height=0.72 * (len(worst) + len(best)) + 0.4,
        )
        ax = fig.subplots()
        ax.set_axis_off()
        ax.set_xlim(0, 1)
        ax.set_ylim(len(worst) + len(best) + 0.3, -0.3)
        joint = " " if unit == "word" else ""
        for line, example in enumerate([*worst, *best]):
            look: dict[str, Any] = {"size": style.TICK, "family": "monospace", "va": "center"}
            for row, (name, text) in enumerate((("read ", joint.join(example.read)), ("truth", example.truth))):
                ax.text(
                    0,
                    line + 0.27 * row,
                    f"{name}  {style.plain(style.beginning(text, LONGEST))}",
                    color=style.QUIET,
                    **look,
                )
            _said(ax, line + 0.54, example)
            verdict = f"{example.wrong} to mend" if example.wrong else "right"
            ax.text(1, line + 0.54, verdict, color=style.QUIET, ha="right", **look)
        rows = [
            (name, e.number, joint.join(e.read), e.truth, e.answer, e.wrong, e.score, _alignment(e))
            for name, part in (("worst", worst), ("right", best))
            for e in part
        ]
        columns = ("which", "sequence", "read", "truth", "said", "to mend", "log probability", "alignment")
        return Picture(fig, Table(columns, rows))


def _said(ax: Axes, y: float, example: Example) -> None:
    """What was said, token by token, one after the other on a line."""
    said = "said   "
    wrong = [False] * len(said)
    for text, is_wrong in marked(example.truth, example.answer):
        said += text
        wrong += [is_wrong] * len(text)
    said, wrong = said[: LONGEST + 7], wrong[: LONGEST + 7]
    look: dict[str, Any] = {"size": style.TICK, "family": "monospace", "va": "center"}
    # two texts over each other, each with blanks where the other one is: letters of one width stand where they belong
    for colour, which in ((style.INK, False), (style.VERMILION, True)):
        shown = "".join(letter if is_wrong == which else " " for letter, is_wrong in zip(said, wrong, strict=True))
        ax.text(0, y, style.plain(shown), color=colour, weight="bold" if which else "normal", **look)


def _alignment(example: Example) -> str:
    """For each token that was said the one that was read that has most of the attention."""
    if not example.weights.size:
        return ""
    looked = example.weights.argmax(-1)
    return ", ".join(f"{said}←{example.read[place]}" for said, place in zip(example.said, looked, strict=False))


def marked(truth: Sequence[str], said: Sequence[str]) -> list[tuple[str, bool]]:
    """The pieces of what was said, and whether each has to be mended; ``_`` stands where something is left out."""
    pieces = []
    for kind, start, end, first, last in SequenceMatcher(None, truth, said, autojunk=False).get_opcodes():
        if kind == "delete":
            pieces.append(("_" * (end - start), True))
        else:
            pieces.append(("".join(said[first:last]), kind != "equal"))
    return pieces
