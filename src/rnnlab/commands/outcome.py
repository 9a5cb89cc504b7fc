"""What a person reads at the end of a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from rnnlab.commands.printed_verdict import print_verdict
from rnnlab.instruments.console import console
from rnnlab.runs.ensemble import Together
from rnnlab.runs.estimates import estimate
from rnnlab.runs.execution import Outcome
from rnnlab.runs.verdict.wording import digits_apart, number, percent
from rnnlab.shell import pasted, shown_path
from rnnlab.tasks.direction import NEITHER_IS_BETTER, direction
from rnnlab.tasks.mean_by_length import LENGTHS
from rnnlab.use.export.check import Case


def print_outcome(outcome: Outcome) -> None:
    """Prints the test scores beside the baseline's, where everything is, and how to look at it."""
    out = console()
    metrics, path = outcome.metrics, shown_path(outcome.directory.path)
    out.print()
    # a readout in closed form has no training steps, and so no epochs to choose from
    trained = metrics["steps"] > 0
    title = f"Test (weights of epoch {metrics['best_epoch']} of {metrics['epochs']})" if trained else "Test"
    out.print(score_table(metrics, title, outcome.directory.status.baseline))
    steps = f"{metrics['steps']:,} step{'s' * (metrics['steps'] != 1)}" if trained else "solved"
    out.print(
        f"{metrics['parameters']:,} parameters, {steps} in {metrics['seconds']:.1f} s "
        f"({metrics['seconds_total']:.1f} s with the test and the figures)"
    )
    if outcome.directory.status.kept:
        out.print(f"Weights: {outcome.directory.status.kept}", highlight=False)
    for line in forecast_lines(metrics):
        out.print(line)
    out.say("Run        ", path)
    if outcome.figures:
        names = ", ".join(Path(figure).stem for figure in outcome.figures)
        out.say("Figures    ", f"{path}/figures/: {names}")
    tensorboard = pasted("--logdir", outcome.directory.path, program="tensorboard")
    out.say("TensorBoard", tensorboard)
    status = outcome.directory.status
    if status.verdict is not None:
        out.print()
        print_verdict(status.verdict, outcome.directory.path, status.directory)


BASES = {
    "calibration/gain": ("the linear part", "baseline/ridge/mae"),
    "calibration/gain/persistence": ("persistence", "baseline/mae"),
    "calibration/gain/seasonal_naive": ("the seasonal-naive forecast", "baseline/seasonal_naive/mae"),
}
"""What a gain is added to, and its error."""


def forecast_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What the network adds to a linear part, or to what stands in its place, and what its intervals hold, in words."""
    lines = []
    own = metrics.get("test/mae")
    for name, (base, error) in BASES.items():
        gain, left = metrics.get(name), metrics.get(error)
        if gain is None or own is None or left is None:
            continue
        digits = digits_apart((own, left), fewest=4)
        whole = f"the error that {base} leaves (mae {number(left, digits)})"
        change = percent(abs(1 - own / left)) if left else number(own)
        if gain == 0:
            alone = f"{base[0].upper()}{base[1:]} stands alone"
            lines.append(f"{alone}: what the network adds did not clearly help on the validation part.")
        elif own > left:
            lines.append(f"To {whole}, the network adds {change} (mae {number(own, digits)}).")
        else:
            lines.append(f"Of {whole}, the network takes {change if own < left else 'nothing'}.")
    for name, value in metrics.items():
        level = name.removeprefix("test/coverage@")
        if level != name:
            how = ", corrected by the validation part" if "calibration/conformal" in metrics else ""
            lines.append(f"Intervals: {100 * value:.0f} % of the true values are in the {level} % interval{how}.")
    return lines


def score_table(metrics: Mapping[str, Any], title: str, baseline: str | None = None) -> Table:
    """Scores of the network beside those of the trivial predictor on the same split.

    Args:
        metrics: as ``metrics.json`` has them.
        title: of the table.
        baseline: what the trivial predictor is called.
    """
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("Score")
    table.add_column("Network", justify="right")
    table.add_column(f"Baseline ({baseline})" if baseline else "Baseline", justify="right")
    plain = {
        name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith(("test/", "rollout/"))
    }
    the_loss = same_as_loss(metrics)
    if the_loss is not None:
        del plain["loss"]
    # baseline/NAME/SCORE: of further predictors than the trivial one; who has many scores has a column
    others: dict[str, dict[str, Any]] = {}
    for score in plain:
        for name, value in metrics.items():
            predictor = name.removeprefix("baseline/").removesuffix(f"/{score}")
            if name == f"baseline/{predictor}/{score}" and f"{predictor}/{score}" not in plain:
                others.setdefault(predictor, {})[score] = value
    columns = [predictor for predictor, scores in others.items() if len(scores) > 1]
    for predictor in columns:
        table.add_column(predictor, justify="right")
    for score, value in plain.items():
        beside = [metrics.get(f"baseline/{score}"), *(others[predictor].get(score) for predictor in columns)]
        shown = f"{score} (the loss)" if score == the_loss else spelled_out(score)
        table.add_row(shown, f"{value:.4g}", *("" if each is None else f"{each:.4g}" for each in beside))
        for predictor, scores in others.items():
            if predictor not in columns and score in scores:
                table.add_row(f"{score} of {predictor}", "", f"{scores[score]:.4g}")
    return table


def spelled_out(score: str) -> str:
    """A score, and of which part of the test it is: of sequences of some lengths, or so many steps ahead."""
    name, _, length = score.rpartition("_length_")
    if name and length.isdigit():
        shorter = max((each for each in LENGTHS if each < int(length)), default=0)
        return f"{score} ({shorter + 1} to {length} steps)"
    error, _, step = score.rpartition("@")
    if error.rpartition("/")[2] in ("mse", "mae", "mape") and step.isdigit():  # of coverage@80 it is no step
        return f"{score} ({step} step{'s' if step != '1' else ''} ahead)"
    return score


def same_as_loss(metrics: Mapping[str, Any]) -> str | None:
    """The score that is the loss under another name, such as the mse of unscaled data: one number, shown once."""
    names = [name.removeprefix("test/") for name in metrics if name.startswith("test/") and name != "test/loss"]

    def are_close(prefix: str, score: str) -> bool:
        loss, other = (metrics.get(f"{prefix}/{name}", math.nan) for name in ("loss", score))
        return math.isclose(loss, other, rel_tol=1e-5)

    return next((name for name in names if all(are_close(prefix, name) for prefix in ("test", "baseline"))), None)


def ensemble_table(together: Together, title: str) -> Table:
    """Scores of an ensemble beside those of its mean member; what is gained is in parts of the member's score."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for name in ("Score", "Mean member", "Best … worst", "Together", "Gain", "Baseline"):
        table.add_column(name, justify="left" if name == "Score" else "right")
    the_loss = same_as_loss(together.ensemble)
    for name, value in together.ensemble.items():
        if not name.startswith(("test/", "rollout/")) or (name == "test/loss" and the_loss is not None):
            continue
        plain = name.removeprefix("test/")
        mean, values = together.mean(name), [member[name] for member in together.members]
        rises = direction(name) == "max"
        best, worst = sorted(values, reverse=rises)[:: len(values) - 1] if len(values) > 1 else (mean, mean)
        gain = "" if plain.startswith(NEITHER_IS_BETTER) or not mean else f"{(value - mean) / abs(mean):+.1%}"
        if gain:
            gain += " better" if (value > mean) == rises and value != mean else " worse" if value != mean else ""
        baseline = together.ensemble.get(f"baseline/{plain}")
        table.add_row(
            f"{plain} (the loss)" if plain == the_loss else plain,
            f"{mean:.4g}",
            f"{best:.4g} … {worst:.4g}",
            f"{value:.4g}",
            gain,
            "" if baseline is None else f"{baseline:.4g}",
        )
    return table


def folds_table(scores: Mapping[int, Mapping[str, float]], title: str) -> Table:
    """Test scores of each fold, their mean and its 95 % interval (Student), and the mean baseline."""
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for name in ("Score", "Mean", "95 % interval", *(f"Fold {fold}" for fold in scores), "Baseline"):
        table.add_column(name, justify="left" if name == "Score" else "right")
    first = next(iter(scores.values()))
    the_loss = same_as_loss(first)
    for name in first:
        if not name.startswith("test/") or (name == "test/loss" and the_loss is not None):
            continue
        plain = name.removeprefix("test/")
        values = [of_fold[name] for of_fold in scores.values() if name in of_fold]
        whole = estimate(values)
        baseline = estimate([row[f"baseline/{plain}"] for row in scores.values() if f"baseline/{plain}" in row])
        table.add_row(
            f"{plain} (the loss)" if plain == the_loss else plain,
            f"{whole.mean:.4g}",
            f"{whole.low:.4g} … {whole.high:.4g}",
            *(f"{of_fold[name]:.4g}" if name in of_fold else "" for of_fold in scores.values()),
            "" if not baseline.n else f"{baseline.mean:.4g}",
        )
    return table


def export_table(cases: Sequence[Case], format: str) -> Table:
    """What was tried of an exported file: sizes, errors, and what a call costs there and here."""
    table = Table(
        title="The file against the run", title_justify="left", title_style="bold", show_edge=False, pad_edge=False
    )
    runtime = "onnxruntime" if format == "onnx" else "torch.export"
    for name in ("Batch × time", "Error", "Relative", f"{runtime}, ms a call", "rnnlab, ms a call"):
        table.add_column(name, justify="right")
    for case in cases:
        theirs, ours = (f"{1000 * seconds:.3f}" for seconds in case.seconds)
        table.add_row(f"{case.batch} × {case.time}", f"{case.absolute:.1e}", f"{case.relative:.1e}", theirs, ours)
    return table
