"""The sequences of which the network makes least."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table, some
from rnnlab.instruments.montage import images, shades, show
from rnnlab.instruments.sequence_plot import FRAMES, draw_input, shown, text_of
from rnnlab.instruments.subject import Answer, Subject
from rnnlab.spec import IGNORED
from rnnlab.tasks.forecast_scores import Cases
from rnnlab.tasks.task import Task

MOST = 3000
"""Sequences that are weighed one by one."""
SHOWN = 5
STEPS = 60
"""Steps of a long sequence that are shown: those where it goes worst."""
WORDS = 12
CONTEXT = 3
"""What is shown of a window before its forecast: so many times the forecast's steps."""


@dataclass(frozen=True)
class Worst:
    """Losses, and the answers where they are largest, the worst first.

    Attributes:
        losses: ``(sequences,)``.
        of: what a loss is.
        shown: number, loss, output ``(1, …)`` and batch of one sequence.
    """

    losses: np.ndarray
    of: str
    shown: list[tuple[int, float, Tensor, Any]]


class WorstExamples(Instrument[Worst]):
    """Sequences by their loss: how it is spread, and the largest ones themselves."""

    needs_truth = True
    rank = 70
    title = "The worst-predicted examples"
    reading = (
        "Above, how the loss is spread over the sequences: a long tail means that few examples make most of it. Below, "
        "the worst of them with truth and prediction: wrong labels and rare cases are often among them."
    )

    def measure(self, subject: Subject) -> Worst:
        task = subject.task
        of = "loss"
        found: list[tuple[float, Answer, int]] = []
        with torch.no_grad():
            for answer in subject.answers:
                cases = task.windows(answer.batch)
                if cases is not None:
                    of = f"root mean square error of the forecast{f' ({task.spec.unit})' if task.spec.unit else ''}"
                    losses = _forecast_errors(task, cases)
                else:
                    losses = [float(task.loss(*answer.one(row))) for row in range(len(answer.numbers))]
                found += [(loss, answer, row) for row, loss in enumerate(losses) if np.isfinite(loss)]
                if len(found) >= MOST:
                    break
        found.sort(key=lambda each: -each[0])
        worst = []
        for loss, answer, row in found[:SHOWN]:
            if answer.batch.origin is None:
                output, batch = answer.one(row)
            else:
                output, batch = answer.output[row : row + 1], answer.batch.map(partial(_row, number=row))
            worst.append((int(answer.numbers[row]), loss, output, batch))
        return Worst(np.array([each[0] for each in found]), of, worst)

    def draw(self, subject: Subject, measured: Worst) -> Picture:
        losses = measured.losses
        if not len(losses):
            return Picture(style.message(style.figure("The worst-predicted examples"), "no loss is a finite number"))
        worst_tenth = losses[: max(1, len(losses) // 10)].sum() / (losses.sum() or 1.0)
        rows = len(measured.shown)
        target = subject.task.spec.target
        written = target.categorical and target.per_step
        height = 0.95 if written or _is_text(subject) else 1.5
        fig = style.figure(
            "The worst-predicted examples",
            f"{len(losses):,} {subject.called} sequences; the worst tenth of them makes {worst_tenth:.0%} of the "
            f"{measured.of.split(' (')[0]}",
            width=9.5,
            height=1.8 + height * rows,
        )
        top, bottom = fig.subfigures(2, 1, squeeze=False, height_ratios=(1.7, height * rows + 0.2))[:, 0]
        ax = style.dress(top.subplots(), measured.of, "sequences")
        ax.hist(losses, bins=min(50, max(10, len(losses) // 10)), color=style.BLUE, edgecolor="white", linewidth=0.3)
        for _, loss, _, _ in measured.shown:
            ax.axvline(loss, color=style.VERMILION, linewidth=1.0)
        style.whole_numbers(ax.yaxis)
        told = []
        axes = bottom.subplots(rows, 1, squeeze=False)[:, 0]
        for ax, (number, loss, output, batch) in zip(axes, measured.shown, strict=True):
            truth, said = _draw(fig, ax, subject, output, batch)
            title = f"sequence {subject.name_of(number)}: {measured.of.split(' of ')[0]} {style.short(loss)}"
            title += f"; {truth} → {said}" if truth else ""
            ax.set_title(style.plain(title), size=style.LABEL, color=style.INK, loc="left")
            row: tuple[Any, ...] = (subject.name_of(number), loss, truth, said)
            if subject.token_names:
                row = (*row, text_of(subject.token_names, batch.inputs[0]))
            told.append(row)
        if _is_text(subject) and not written:  # letters as far apart in all of them
            longest = max(batch.inputs.shape[1] for *_, batch in measured.shown)
            for ax in axes:
                ax.set_xlim(-0.5, longest - 0.5)
        axes[-1].set_xlabel(style.time_label(subject.task.spec), size=style.LABEL, color=style.INK)
        if axes[0].get_legend_handles_labels()[0]:
            style.legend(bottom, axes[0])
        names = ("sequence", "loss", "truth", "prediction", *(("text",) if subject.token_names else ()))
        keep = [i for i, _ in enumerate(names) if any(row[i] != "" for row in told)]
        table = Table(tuple(names[i] for i in keep), [tuple(row[i] for i in keep) for row in told])
        facts = {
            "worst": f"the worst tenth of the sequences makes {worst_tenth:.0%} of the {measured.of.split(' (')[0]}"
        }
        return Picture(fig, table, facts)


def _row(part: Tensor, number: int) -> Tensor:
    return part[number : number + 1]


def _is_text(subject: Subject) -> bool:
    return bool(subject.token_names)


def _forecast_errors(task: Task, cases: Cases) -> list[float]:
    """Of each window the root mean square error of its point forecasts, in units, over the steps that are known."""
    square = (task.distribution.point(cases.forecast) - cases.truth).square()
    known = square.isfinite()
    mean = square.where(known, 0).sum((1, 2)) / known.sum((1, 2))
    return mean.sqrt().tolist()


def _draw(fig: Figure, ax: Axes, subject: Subject, output: Tensor, batch: Any) -> tuple[str, str]:
    """Draws one example; returns truth and prediction in words, where they have any."""
    task, target = subject.task, subject.task.spec.target
    names = style.names(task.spec)
    if target.categorical and target.per_step:
        blank = task.spec.target.blank
        signs = ["·" if number == blank else shown(name) for number, name in enumerate(names)]
        return _tokens(ax, output[0], batch.targets[0], signs)
    if target.frame is not None:
        steps = some(batch.inputs.shape[1], FRAMES)
        ends = shades(batch.targets)
        rows = [list(images(part[0, steps], target.frame, ends)) for part in (batch.targets, task.point(output))]
        show(ax, rows, ("truth", "predicted"))
        return "", ""
    if target.per_step:
        _values(ax, subject, output, batch)
        return "", ""
    draw_input(ax, subject, batch.inputs[0])
    style.whole_numbers(ax.xaxis)
    if target.categorical:
        p = output[0].softmax(-1)
        truth, said = int(batch.targets[0]), int(p.argmax())
        return f"{names[truth]} (p = {p[truth]:.2g})", f"{names[said]} (p = {p[said]:.2g})"
    units = task.spec.scaling.to_units
    truth_, said_ = (", ".join(style.short(float(v)) for v in units(each)[0]) for each in (batch.targets, output))
    return truth_, said_


def _values(ax: Axes, subject: Subject, output: Tensor, batch: Any) -> None:
    """Truth and prediction of the first value, in units."""
    task = subject.task
    name = task.spec.target.names[0].removesuffix(" +1") if task.spec.target.names else "value"
    style.dress(ax, "", style.value_label(task.spec, name))
    with torch.no_grad():
        cases = task.windows(batch)
    if cases is not None:
        point = task.distribution.point(cases.forecast)
        steps = point.shape[1]
        actual = style.array(batch.origin.actual[0, :, 0])
        context = max(24, CONTEXT * steps)
        times = np.arange(-steps - min(context, len(actual) - steps), 0) + steps + 1
        ax.plot(times, actual[-len(times) :], color=style.FAINT, linewidth=4, solid_capstyle="round", label="truth")
        ahead = np.arange(1, steps + 1)
        look: dict[str, Any] = {"color": style.VERMILION, "linewidth": 1.8, "marker": "o", "markersize": 3}
        ax.plot(ahead, style.array(point[0, :, 0]), label="prediction", **look)
    else:
        units = task.spec.scaling.to_units
        point = task.point(output)
        ax.plot(
            style.array(units(batch.targets)[0, :, 0]),
            color=style.FAINT,
            linewidth=4,
            solid_capstyle="round",
            label="truth",
        )
        ax.plot(style.array(units(point)[0, :, 0]), color=style.VERMILION, linewidth=1.6, label="prediction")
    style.whole_numbers(ax.xaxis)
    ax.margins(x=0.01)


def _tokens(ax: Axes, output: Tensor, targets: Tensor, names: Sequence[str]) -> tuple[str, str]:
    """The tokens that were due, each on its loss, and below them those that were expected instead."""
    asked = targets != IGNORED
    losses = F.cross_entropy(output, targets, ignore_index=IGNORED, reduction="none")
    wide = sum(len(name) > 2 for name in names) > len(names) / 2
    names = names if wide else [name[:2] for name in names]
    most = WORDS if wide else STEPS
    start = 0
    if len(targets) > most:
        start = int(losses.unfold(0, most, 1).sum(-1).argmax())
    span = slice(start, min(len(targets), start + most))
    style.dress(ax, grid=False)
    values = style.array(losses[span])
    bound = max(4.0, float(values.max()))
    place = (span.start - 0.5, span.stop - 0.5, -1.5, 0.5)
    ax.imshow(values[None], aspect="auto", cmap="Reds", vmin=0, vmax=bound, extent=place)
    decided = output.argmax(-1)
    for time in range(span.start, span.stop):
        if not asked[time]:
            continue
        look: dict[str, Any] = {"ha": "center", "va": "center", "family": "monospace", "size": style.TICK}
        look["color"] = "white" if losses[time] > 0.6 * bound else style.INK
        ax.text(time, 0, names[int(targets[time])], weight="bold", **look)
        if decided[time] != targets[time]:
            ax.text(time, -1, names[int(decided[time])], **look)
    ax.set_yticks([0, -1], ["truth", "said"])
    ax.set_ylim(-1.5, 0.5)
    ax.tick_params(axis="y", length=0)
    style.whole_numbers(ax.xaxis)
    joint = " " if wide else ""
    where = [time for time in range(span.start, span.stop) if asked[time]]
    return "", joint.join(names[int(decided[time])] for time in where) if len(where) <= most else ""
