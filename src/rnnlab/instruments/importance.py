"""What the score loses where a column of the input, or a span of its steps, is shuffled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.exchanges import Exchange, exchanges_of, span_name
from rnnlab.instruments.instrument import Entry, Instrument, Picture, Table
from rnnlab.instruments.subject import Subject, at_rest
from rnnlab.shapes import PositiveInt
from rnnlab.spec import Batch
from rnnlab.student import t_quantile
from rnnlab.tasks.direction import direction
from rnnlab.tasks.task import Task

EFFORT = 3_000_000
"""Steps of the input that are read in all: some seconds of one processor core."""
FEWEST, MOST = 50, 1000
"""Sequences."""
ONE_BY_ONE = 50
"""Sequences of a task that scores them one by one."""
AT_ONCE = 256


@dataclass(frozen=True)
class Importance:
    """Of the parts of an input, each ``(parts,)``.

    Attributes:
        names: of columns, or of spans of steps.
        mean: by how much the score is worse where the part is shuffled.
        half: half the width of its 95 % interval, over the sequences.
        repeats: ``(repeats, parts)`` the same of each permutation.
        at: the middle of each span of steps; empty of columns.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    half: np.ndarray
    repeats: np.ndarray
    at: np.ndarray

    @property
    def spread(self) -> np.ndarray:
        """Half the width of the 95 % interval of the mean over the permutations; not a number of one alone."""
        number = len(self.repeats)
        if number < 2:
            return np.full(len(self.mean), np.nan)
        return t_quantile(number - 1) * self.repeats.std(0, ddof=1) / np.sqrt(number)

    def rows(self, kind: str) -> list[tuple[Entry, ...]]:
        numbers = zip(self.names, self.mean, self.mean - self.half, self.mean + self.half, self.spread, strict=True)
        return [(kind, name, *map(float, rest)) for name, *rest in numbers]

    @property
    def order(self) -> list[int]:
        """The parts, the most important first."""
        return [int(part) for part in np.argsort(-self.mean, kind="stable")]


@dataclass(frozen=True)
class Importances:
    """Of one network.

    Attributes:
        score: its name.
        before: the score with nothing shuffled.
        columns: of the input; of tokens the most frequent ones.
        spans: of the input's steps.
        sequences: so many.
        kind: what ``columns`` are called.
        from_now: steps are counted backwards from the last one.
        rises: a worse score is a higher one.
    """

    score: str
    before: float
    columns: Importance
    spans: Importance
    sequences: int
    kind: str
    from_now: bool
    rises: bool

    @property
    def label(self) -> str:
        return f"{self.score.replace('_', ' ')} {'gained' if self.rises else 'lost'}"


class PermutationImportance(Instrument[Importances]):
    """What the score of the test data loses where one column of the input, or one span of steps, comes from others.

    Permutation importance (L. Breiman, "Random forests", 2001, section 10; A. Fisher, C. Rudin & F. Dominici, "All
    models are wrong, but many are useful", 2019): each sequence reads the column, or the steps, of another one, and all
    else of its own. A donor that is shorter is read again from its start. All parts are shuffled by the same
    permutations, and the interval is that of the mean difference of each sequence's scores, so that it is paired.

    Of tokens each occurrence of one of the most frequent ones is replaced by a token drawn from those of the data.
    Of forecasts the score is that of the last step, and steps are counted backwards from it. Of time series it is the
    values themselves that come from another window, in all that is read of them, so that the importance is that of the
    whole forecast, with the linear part.

    Args:
        repeats: permutations.
    """

    needs_truth = True
    rank = 35
    title = "Importance: what the score loses without a column, or without some steps"
    reading = (
        "A bar is how much worse the score becomes where that part of the input comes from another sequence, with its "
        "95 % interval over the sequences; dots are single permutations. Columns that tell the same share their "
        "importance: each alone may look dispensable."
    )

    def __init__(self, repeats: PositiveInt = 5) -> None:
        self.repeats = repeats

    def missing(self, subject: Subject) -> str | None:
        return None if subject.size > 1 else "there is but one sequence, and nothing to exchange it with"

    def measure(self, subject: Subject) -> Importances:
        tokens = subject.task.spec.input.vocabulary is not None
        from_now = subject.task.forecasts
        exchanges = exchanges_of(subject)
        steps, spans = exchanges.steps, exchanges.spans
        parts = exchanges.columns + len(spans)
        most = max(FEWEST, min(MOST, EFFORT // (steps * parts * self.repeats)))
        if type(subject.task).judge is Task.judge:
            most = min(most, ONE_BY_ONE)
        every = torch.from_numpy(
            np.unique(np.linspace(0, subject.size - 1, min(most, subject.size)).round().astype(int))
        )
        batch = subject.take(every)
        by_column, by_span = exchanges.of(every, batch)
        names = [span_name(span, steps, from_now) for span in spans]
        before, weight = _worse(subject, batch)
        differences = self._differences(subject, before, [*(exchange for _, exchange in by_column), *by_span])
        of = [_importance(part, weight) for part in differences.unbind(1)]
        cut = len(by_column)
        middle = np.array([(first + last - 1) / 2 - (steps - 1 if from_now else 0) for first, last in spans])
        score = subject.task.verdict_score
        # of several classes there is no F1 of a sequence by itself
        score = "accuracy" if score == "f1" else score
        rises = direction(score, subject.task.higher_is_better) == "min"
        return Importances(
            score,
            float((before * weight).sum() / weight.sum()) * (1 if rises else -1),
            _together([name for name, _ in by_column], of[:cut], np.empty(0)),
            _together(names, of[cut:], middle),
            len(every),
            "token" if tokens else "column",
            from_now,
            rises,
        )

    def _differences(self, subject: Subject, before: Tensor, exchanges: Sequence[Exchange]) -> Tensor:
        """``(repeats, parts, sequences)`` by how much the score of each sequence is worse."""
        random = torch.Generator().manual_seed(0)
        found = []
        for _ in range(self.repeats):
            # everybody's donor is somebody else
            order = torch.randperm(len(before), generator=random)
            donor = torch.empty_like(order)
            donor[order] = order.roll(1)
            found.append(torch.stack([_worse(subject, exchange(donor))[0] - before for exchange in exchanges]))
        return torch.stack(found)

    def draw(self, subject: Subject, measured: Importances) -> Picture:
        columns, spans = measured.columns, measured.spans
        one = len(columns.names) <= 1
        fig = style.figure(
            "Importance: what the score loses without a part of the input",
            f"{measured.score.replace('_', ' ')} {style.short(measured.before)} of {measured.sequences:,} "
            f"{subject.called} sequences; bars are 95 % intervals over them, dots single permutations",
            width=6.6 if one else 10.5,
            height=max(3.4, 0.27 * len(columns.names) + 1.0),
        )
        axes = fig.subplots(1, 1 if one else 2, squeeze=False)[0]
        if not one:
            _bars(axes[0], columns, measured)
        _profile(axes[-1], spans, measured, subject)
        rows = [*columns.rows(measured.kind), *spans.rows("steps")]
        names = ("part", "name", measured.label, "95 % from", "to", "± over permutations")
        return Picture(fig, Table(names, rows), _facts(measured))

    def compare(self, measured: Mapping[str, Importances]) -> Picture:
        first = next(iter(measured.values()))
        names = first.columns.names
        alike = len(names) > 1 and all(each.columns.names == names for each in measured.values())
        fig = style.figure(
            "Importance: what the score loses without a part of the input",
            "; ".join(f"{name}: {each.score} {style.short(each.before)}" for name, each in measured.items())
            + "; bars are 95 % intervals over the sequences",
            width=10.5 if alike else 7.4,
            height=max(3.6, (0.1 + 0.13 * len(measured)) * len(names) + 1.0),
        )
        axes = fig.subplots(1, 2 if alike else 1, squeeze=False)[0]
        right = style.dress(axes[-1], _axis(first), first.label)
        left = style.dress(axes[0], first.label) if alike else None
        order = first.columns.order[::-1]
        for number, ((name, each), colour) in enumerate(
            zip(measured.items(), style.colours(len(measured)), strict=True)
        ):
            look: dict[str, Any] = {
                "color": colour,
                "marker": "o",
                "markersize": 3.5,
                "label": name,
                "capsize": 2.0,
                "elinewidth": 1.0,
            }
            right.errorbar(each.spans.at, each.spans.mean, each.spans.half, linewidth=1.6, **look)
            if left is not None:
                places = np.arange(len(names)) - 0.6 * (number / max(1, len(measured) - 1) - 0.5)
                half = each.columns.half[order]
                left.errorbar(each.columns.mean[order], places, xerr=half, linestyle="none", **look)
        if left is not None:
            left.axvline(0, color=style.QUIET, linewidth=1.0)
            left.set_yticks(range(len(names)), style.ticks([names[i] for i in order]))
        right.axhline(0, color=style.QUIET, linewidth=1.0)
        style.whole_numbers(right.xaxis)
        style.legend(fig, right, where="outside right center")
        rows: list[tuple[Entry, ...]] = []
        for name, each in measured.items():
            for part, kind in ((each.columns, each.kind), (each.spans, "steps")):
                rows += [(name, *row) for row in part.rows(kind)]
        table = Table(("run", "part", "name", first.label, "95 % from", "to", "± over permutations"), rows)
        return Picture(fig, table, {name: fact for name, each in measured.items() for fact in _facts(each).values()})


# ---- how much worse ----------------------------------------------------------------------------------


@torch.no_grad()
def _worse(subject: Subject, batch: Batch) -> tuple[Tensor, Tensor]:
    """``(sequences,)`` scores, the higher the worse, and how many answers each is the mean of."""
    task, found = subject.task, []
    with at_rest(task.network):
        for some in torch.arange(len(batch.inputs)).split(AT_ONCE):
            part = batch.map(partial(_rows, some))
            output = task.apart(part) if part.origin is None else task.answer(part)
            if task.forecasts and part.origin is None:
                output, part = _last_step(output, part)
            found.append(task.judge(output, part))
    scores, weights = (torch.cat(parts).double().cpu() for parts in zip(*found, strict=True))
    name = "accuracy" if task.verdict_score == "f1" else task.verdict_score
    return scores if direction(name, task.higher_is_better) == "min" else -scores, weights


def _rows(some: Tensor, tensor: Tensor) -> Tensor:
    return tensor[some.to(tensor.device)]


def _last_step(output: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """What is said at the last step of each sequence alone."""
    last = batch.inputs.new_full((len(output),), output.shape[1], dtype=torch.int64)
    at = (last if batch.lengths is None else batch.lengths) - 1
    rows = torch.arange(len(output), device=output.device)
    inputs, targets = batch.inputs[rows, at][:, None], batch.targets[rows, at][:, None]
    return output[rows, at][:, None], batch._replace(inputs=inputs, targets=targets, lengths=None)


def _importance(differences: Tensor, weights: Tensor) -> tuple[float, float, np.ndarray]:
    """Mean, half the width of its interval, and the mean of each permutation, of ``(repeats, sequences)``."""
    share = weights / weights.sum()
    repeats = (differences * share).sum(1)
    of_each = differences.mean(0)
    mean = float((of_each * share).sum())
    number = len(of_each)
    # the variance of a weighted mean of sequences that are drawn independently
    variance = float((share * (of_each - mean)).square().sum()) * number / max(1, number - 1)
    return mean, t_quantile(number - 1) * variance**0.5, repeats.numpy()


def _together(names: Sequence[str], of: Sequence[tuple[float, float, np.ndarray]], at: np.ndarray) -> Importance:
    mean, half = (np.array([part[which] for part in of], dtype=float) for which in (0, 1))
    repeats = np.stack([part[2] for part in of], 1) if of else np.empty((1, 0))
    return Importance(tuple(names), mean, half, repeats, at)


# ---- drawing -----------------------------------------------------------------------------------------


def _bars(ax: Axes, columns: Importance, measured: Importances) -> None:
    title = "of the most frequent tokens" if measured.kind == "token" else "by column"
    style.dress(ax, measured.label, measured.kind, title)
    order = columns.order[::-1]
    places = np.arange(len(order))
    ax.barh(places, columns.mean[order], xerr=columns.half[order], color=style.BLUE, alpha=0.8, ecolor=style.INK,
            capsize=2.5, height=0.7)  # fmt: skip
    for repeat in columns.repeats[:, order]:
        ax.plot(repeat, places, "o", color=style.ORANGE, markersize=2.5)
    ax.axvline(0, color=style.QUIET, linewidth=1.0)
    ax.set_yticks(places, style.ticks([columns.names[i] for i in order]))


def _profile(ax: Axes, spans: Importance, measured: Importances, subject: Subject) -> None:
    label = _axis(measured) if measured.from_now else style.time_label(subject.task.spec)
    style.dress(ax, label, measured.label, "by step")
    width = 0.8 * float(np.diff(spans.at).min()) if len(spans.at) > 1 else 0.8
    ax.bar(spans.at, spans.mean, width, yerr=spans.half, color=style.GREEN, alpha=0.8, ecolor=style.INK, capsize=2.0)
    for repeat in spans.repeats:
        ax.plot(spans.at, repeat, "o", color=style.ORANGE, markersize=2.5)
    ax.axhline(0, color=style.QUIET, linewidth=1.0)
    style.whole_numbers(ax.xaxis)


def _axis(measured: Importances) -> str:
    if not measured.from_now:
        return "time step"
    return f"steps {'from' if measured.spans.at.max() > 0 else 'before'} the last one"


def _facts(measured: Importances) -> dict[str, str]:
    told = []
    parts = ((measured.columns, measured.kind),) if len(measured.columns.names) > 1 else ()
    for part, kind in (*parts, (measured.spans, "steps")):
        best = part.order[0]
        sign = "+" if measured.rises else "-"
        told.append(
            f"{kind} {part.names[best]} {sign}{style.short(abs(part.mean[best]))} ± {style.short(part.half[best])}"
            if part.mean[best] > part.half[best]
            else f"no {kind} that {'matter' if kind == 'steps' else 'matters'} for sure"
        )
    return {f"importance ({measured.score.replace('_', ' ')})": "; ".join(told)}
