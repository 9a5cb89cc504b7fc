"""Whether the network is as sure as it should be."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from rnnlab.instruments import style
from rnnlab.instruments.instrument import Instrument, Picture, Table
from rnnlab.instruments.subject import Subject
from rnnlab.spec import valid_steps

BINS = 15
"""As many as C. Guo et al. (2017) take."""
BARS = 9
"""Levels of quantiles that bars are drawn between."""


@dataclass(frozen=True)
class Reliability:
    """What was claimed and what came true.

    Attributes:
        claimed: ``(bins,)`` mean confidence of each bin that has any, or the levels of the quantiles.
        observed: ``(bins,)`` share that is right, or share of the truth below each quantile.
        weight: ``(bins,)`` share of all answers in each bin; of quantiles all alike.
        error: the weighted mean of their absolute differences.
        answers: so many.
        spread: ``(BINS,)`` or so: what the lower picture shows, a histogram from 0 to 1.
        edges: of its bars.
        quantiles: whether it is a forecast's.
    """

    claimed: np.ndarray
    observed: np.ndarray
    weight: np.ndarray
    error: float
    answers: int
    spread: np.ndarray
    edges: np.ndarray
    quantiles: bool = False

    @property
    def surplus(self) -> float:
        """By how much more is claimed than comes true, on average."""
        return float(np.sum(self.weight * (self.claimed - self.observed)))


class Calibration(Instrument[Reliability]):
    """Claimed probabilities beside frequencies.

    For classes, tokens and labels: a reliability diagram and the expected calibration
    error over 15 bins of the confidence in what is decided (C. Guo, G. Pleiss,
    Y. Sun & K. Weinberger, "On calibration of modern neural networks", 2017,
    arXiv 1706.04599, equation 3). For a normal distribution: the probability
    integral transform of the truth (T. Gneiting, F. Balabdaoui & A. Raftery,
    2007) and the share of the truth below each of its quantiles. For quantiles:
    that share alone.
    """

    needs_truth = True
    rank = 80
    title = "Calibration: is it as sure as it should be?"
    reading = (
        "On the diagonal, what is claimed with 70 % comes true in 70 % of the cases. Dots below it are too sure of "
        "themselves, dots above it not sure enough."
    )

    def missing(self, subject: Subject) -> str | None:
        return subject.task.no_probability or None

    def measure(self, subject: Subject) -> Reliability:
        target = subject.task.spec.target
        if not (target.categorical or target.binary):
            return _of_forecasts(subject)
        confidence, right = _decisions(subject)
        return reliability(style.array(confidence), style.array(right))

    def draw(self, subject: Subject, measured: Reliability) -> Picture:
        more = "more" if measured.surplus > 0 else "less"
        what = "calibration error" if measured.quantiles else "expected calibration error"
        fig = style.figure(
            "Calibration: is it as sure as it should be?",
            f"{what} {measured.error:.1%} over {measured.answers:,} answers; on average {abs(measured.surplus):.1%} "
            f"{more} is claimed than comes true",
            width=6.6,
            height=6.0,
        )
        upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        self._diagonal(upper, measured.quantiles)
        upper.tick_params(labelbottom=False)
        gap = np.sort([measured.claimed, measured.observed], axis=0)
        upper.vlines(measured.claimed, *gap, color=style.VERMILION, alpha=0.35, linewidth=4)
        upper.plot(measured.claimed, measured.observed, color=style.BLUE, marker="o", markersize=6, linewidth=1.8)
        style.dress(lower, *self._axes(measured.quantiles))
        widths = np.diff(measured.edges)
        lower.bar(measured.edges[:-1], measured.spread, widths, align="edge", color=style.BLUE, edgecolor="white")
        if measured.quantiles:
            lower.axhline(1, color=style.QUIET, linestyle="--", linewidth=1.0)
        for axis in (upper.xaxis, upper.yaxis, lower.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if not measured.quantiles:
            lower.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        rows = list(zip(*(map(float, c) for c in (measured.claimed, measured.observed, measured.weight)), strict=True))
        table = Table(("claimed", "observed", "share of the answers"), rows)
        return Picture(fig, table, {what: f"{measured.error:.1%}"})

    def compare(self, measured: Mapping[str, Reliability]) -> Picture:
        quantiles = next(iter(measured.values())).quantiles
        fig = style.figure(
            "Calibration: is it as sure as it should be?",
            "; ".join(f"{name}: error {each.error:.1%}" for name, each in measured.items())
            + ("" if quantiles else "; a dot is as large as its share of the answers"),
            width=7.4,
            height=5.2,
        )
        ax = fig.subplots()
        self._diagonal(ax, quantiles)
        for (name, each), colour in zip(measured.items(), style.colours(len(measured)), strict=True):
            ax.plot(each.claimed, each.observed, color=colour, linewidth=1.6, label=name)
            ax.scatter(each.claimed, each.observed, s=15 + 350 * each.weight, color=colour, alpha=0.6, linewidths=0)
        ax.set_xlabel(self._axes(quantiles)[0], size=style.LABEL, color=style.INK)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        style.legend(fig, ax, where="outside right center")
        rows = [(name, each.error, each.surplus, each.answers) for name, each in measured.items()]
        table = Table(("run", "calibration error", "claimed more than came true", "answers"), rows)
        return Picture(fig, table, {name: f"calibration error {each.error:.1%}" for name, each in measured.items()})

    def _diagonal(self, ax: Axes, quantiles: bool) -> None:
        style.dress(ax, "", "share of the truth below it" if quantiles else "share that is right")
        ax.plot([0, 1], [0, 1], color=style.QUIET, linestyle="--", linewidth=1.0)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    def _axes(self, quantiles: bool) -> tuple[str, str]:
        if quantiles:
            return "level of the quantile", "density of the truth"
        return "claimed probability of what is decided", "share of answers"


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """Of ``(answers,)`` claimed probabilities and whether each was right (0 or 1), in equally wide bins."""
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    there = count > 0
    claimed, observed = (
        np.bincount(number, values, minlength=bins)[there] / count[there] for values in (confidence, right)
    )
    weight = count[there] / max(1, len(confidence))
    error = float(np.sum(weight * np.abs(claimed - observed)))
    shares = count / max(1, len(confidence))
    return Reliability(claimed, observed, weight, error, len(confidence), shares, np.linspace(0, 1, bins + 1))


def coverage(levels: np.ndarray, below: np.ndarray, spread: np.ndarray, edges: np.ndarray, answers: int) -> Reliability:
    """Of quantiles' levels and the share of the truth below each."""
    weight = np.full(len(levels), 1 / len(levels))
    return Reliability(
        levels, below, weight, float(np.abs(levels - below).mean()), answers, spread, edges, quantiles=True
    )


def _decisions(subject: Subject) -> tuple[Tensor, Tensor]:
    """``(answers,)`` confidence in what is decided, and whether that is right; blanks and unasked steps left out."""
    target = subject.task.spec.target
    confidences, rights = [], []
    for answer in subject.answers:
        output, targets = answer.output, answer.batch.targets
        if target.binary:
            if target.per_step:
                valid = valid_steps(answer.batch.inputs, answer.batch.lengths)
                output, targets = output[valid], targets[valid]
            # of each label that which is more probable, that it is there or that it is not
            there = output.sigmoid().flatten()
            confidences.append(there.maximum(1 - there))
            rights.append(((there > 0.5) == (targets.flatten() > 0.5)).to(there.dtype))
            continue
        if target.per_step:
            asked = target.asked(targets)
            output, targets = output[asked], targets[asked]
        confidence, decided = output.softmax(-1).max(-1)
        confidences.append(confidence)
        rights.append((decided == targets).to(confidence.dtype))
    return torch.cat(confidences), torch.cat(rights)


def _of_forecasts(subject: Subject) -> Reliability:
    task = subject.task
    forecasts, truths = [], []
    with torch.no_grad():
        for answer in subject.answers:
            forecast, cases = task.compared(answer.scored(task), answer.batch)
            forecasts.append(forecast.double())
            truths.append(cases[:, 0].double())
    distribution = task.distribution
    truth = torch.cat(truths)
    below = style.array(distribution.below(torch.cat(forecasts), truth, task.spec.scaling.log).double().mean(0))
    levels = np.array(distribution.levels)
    # no more bars than can be told apart
    every = max(1, len(levels) // BARS)
    edges, heights = (np.array([0.0, *ends[every - 1 :: every], 1.0]) for ends in (levels, below))
    return coverage(levels, below, np.diff(heights) / np.diff(edges), edges, len(truth))
