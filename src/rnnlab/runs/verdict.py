"""What a run turned out to be worth: better than its trivial predictors or not, how sure that is, and what to try next.

:func:`judge` is a pure function of :class:`Evidence`. It says no more than the evidence does: an interval stands where
the errors of each test sequence are known, and a cause where the curves or the data show it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from rnnlab.runs.budget import KEYS, MAX_STEPS
from rnnlab.shell import pasted
from rnnlab.store.verdict import MOST_COMMANDS, Advice, Judgement, Verdict
from rnnlab.student import LEVEL, t_quantile
from rnnlab.tasks.direction import direction

FEWEST_BLOCKS = 4
"""Independent pieces of a test set that an interval takes: their spread is the interval's only source."""
MOST_BLOCKS = 40
"""Pieces of a test set whose errors depend on each other."""
PERFECT = 0.99
"""A share of right answers from which on more of them are not asked for."""
OF_DESCENT = ("optimizer", "scheduler", "early_stopping", "trainer.max_", "model.readout_dropout")
"""How keys begin that have no part in a readout in closed form."""
MOST_TIMES = 1000
"""A larger factor says no more than that the baseline makes nearly no error."""
NOISE = 0.01
"""A smaller gain counts as none where nobody can tell how sure it is."""

Items = tuple[np.ndarray, np.ndarray]
"""A score of each test sequence, and of how many elements it is the mean; ``(sequences,)`` each."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a verdict is made from.

    Attributes:
        metrics: final scores, flat, as ``metrics.json`` has them: ``test/mae``, ``baseline/mae``,
            ``baseline/linear_ar/mae`` …
        score: by which the task is judged.
        baseline: name of the trivial predictor whose scores stand under ``baseline/``.
        rivals: names of predictors under ``baseline/`` that are not trivial: they are told, and decide nothing.
        higher: names of scores of one's own that are better the higher they are.
        items: of ``network`` and of each baseline by name, in the order of the test; empty where unknown.
        dependent: so many test sequences in a row depend on each other: 1 where each is drawn by itself.
        ordered: they come in the order of time, so that neighbours are alike.
        constant: the trivial predictor says the same whatever it sees: no better than it is chance.
        rows: of ``metrics.csv``, a mapping an epoch.
        monitor: the score that chose the weights.
        mode: ``min`` or ``max`` of it.
        steps: updates made.
        budget: updates that were to be made, unless it was stopped early.
        sequences: by split: ``train``, ``val`` and ``test``.
        thing: what a sequence is called.
        parameters: of the network.
        length: steps of the longest sequence.
        period: steps of a season; ``None`` where there is none.
        drift: of a series, how far its level moves within the training part: see :func:`drift`.
        base: of a series, the forecast from which the network forecasts the difference; ``none`` where there is none.
        config: of the run, flat: ``{"optimizer.lr": 0.003, …}``.
        choices: of config groups.
        overrides: of the command line.
        config_dirs: of one's own configs.
        models: that could be tried, the present one among them or not.
    """

    metrics: Mapping[str, float]
    score: str = "loss"
    baseline: str | None = None
    rivals: tuple[str, ...] = ()
    higher: tuple[str, ...] = ()
    items: Mapping[str, Items] = field(default_factory=dict)
    dependent: int = 1
    ordered: bool = False
    constant: bool = False
    rows: Sequence[Mapping[str, float]] = ()
    monitor: str = "val/loss"
    mode: str = "min"
    steps: int = 0
    budget: int = 0
    sequences: Mapping[str, int] = field(default_factory=dict)
    thing: str = "sequence"
    parameters: int = 0
    length: int = 0
    period: int | None = None
    drift: float = 0.0
    base: str = "none"
    config: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    config_dirs: tuple[str, ...] = ()
    models: tuple[str, ...] = ("gru", "lstm", "lru")


# ---- the judgement --------------------------------------------------------------------------------


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a run that was tested.

    By the task's own score where all baselines have it, else by the loss. Better and not better are said where the
    95 % interval says so, or where there is no interval and the text says that nobody knows how sure it is.
    """
    score = _common_score(evidence)
    network = evidence.metrics.get(f"test/{score}")
    if network is None:
        return Verdict(state=Judgement.NONE, text="no verdict: there is no score on test data")
    if not math.isfinite(network):
        return Verdict(
            state=Judgement.NONE,
            text=f"no verdict: test/{score} is no number",
            score=score,
            next=_advised(evidence, [_lower_rate(evidence)]),
        )
    beside = {name: value for name, value in baselines(evidence, score).items() if math.isfinite(value)}
    if not beside:
        return Verdict(
            state=Judgement.NONE,
            text=f"no verdict: {score} {_number(network)} on the test data, and no baseline to hold it against",
            score=score,
            network=network,
        )
    rises = _rises(evidence, score)
    best = (max if rises else min)(beside, key=lambda name: beside[name])
    gain = _gain(evidence, score, network, best, beside[best], rises)
    state = _state(evidence, gain)
    causes = _causes(evidence, state, score, network, best)
    return Verdict(
        state=state,
        text=_text(evidence, state, score, network, best, beside[best], gain),
        score=score,
        network=network,
        baseline=best,
        beside=beside[best],
        gain=_finite(gain.value),
        low=_finite(gain.low),
        high=_finite(gain.high),
        absolute=gain.absolute,
        seen=tuple(dict.fromkeys(cause.seen for cause in causes if cause.seen)),
        next=_advised(evidence, [advice for cause in causes for advice in cause.advice]),
    )


def unfinished(evidence: Evidence, why: str, advice: Sequence[Advice] = ()) -> Verdict:
    """The verdict on a run that ended before its test: how far it came, and no more."""
    scores = _finite_column(evidence, evidence.monitor)
    best = (scores.min() if evidence.mode == "min" else scores.max()) if len(scores) else None
    far = "" if best is None else f"; {evidence.monitor} was {_number(best)} at best"
    return Verdict(state=Judgement.NONE, text=f"no verdict: {why}, so that it is not tested{far}", next=tuple(advice))


def baselines(evidence: Evidence, score: str) -> dict[str, float]:
    """The trivial predictors that have a score, by name."""
    return {name: value for name, value in _predictors(evidence, score).items() if name not in evidence.rivals}


def _predictors(evidence: Evidence, score: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in evidence.metrics.items():
        head, _, rest = name.partition("/")
        predictor, _, last = rest.rpartition("/")
        # baseline/rollout/mse is of the rollout, which the network has, too
        if head == "baseline" and last == score and f"{predictor}/{score}" not in evidence.metrics:
            found[predictor or evidence.baseline or "the trivial predictor"] = value
    return found


def _common_score(evidence: Evidence) -> str:
    """The monitored score, or else the task's own, where every baseline has it; else the loss."""
    names = {name for score in _scores(evidence) for name in baselines(evidence, score)}
    monitored = evidence.monitor.partition("/")[2]
    for score in dict.fromkeys((monitored if monitored != "loss" else evidence.score, evidence.score)):
        if f"test/{score}" in evidence.metrics and set(baselines(evidence, score)) >= names:
            return score
    return "loss" if "test/loss" in evidence.metrics else evidence.score


def _scores(evidence: Evidence) -> list[str]:
    return [name.removeprefix("test/") for name in evidence.metrics if name.startswith("test/")]


def _rises(evidence: Evidence, score: str) -> bool:
    return direction(score, evidence.higher) == "max"


def _state(evidence: Evidence, gain: "Gain") -> Judgement:
    if gain.low is not None and gain.high is not None:
        surely = Judgement.BETTER if gain.low > 0 else Judgement.NOT_BETTER if gain.high < 0 else Judgement.UNCERTAIN
    elif gain.value <= 0:
        surely = Judgement.NOT_BETTER
    else:
        surely = Judgement.UNCERTAIN if gain.few or gain.value < NOISE else Judgement.BETTER
    if surely is not Judgement.BETTER and evidence.constant and evidence.rows and not _learned(evidence):
        return Judgement.AT_CHANCE
    return surely


def _learned(evidence: Evidence) -> bool:
    """Whether the training scores are better than what a constant predictor reaches."""
    trained = {name: _finite_column(evidence, f"train/{name}") for name in ("loss", "accuracy")}
    chance = {name: evidence.metrics.get(f"baseline/{name}", math.nan) for name in trained}
    if len(trained["accuracy"]) and trained["accuracy"].max() > chance["accuracy"] + 0.25 * (1 - chance["accuracy"]):
        return True
    return bool(len(trained["loss"]) and trained["loss"].min() < 0.9 * chance["loss"])


# ---- how much and how sure -------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """How much better a network is than a predictor.

    Attributes:
        value: see :attr:`rnnlab.store.verdict.Verdict.gain`.
        absolute: see :attr:`rnnlab.store.verdict.Verdict.absolute`.
        low: lower end of the interval; ``None`` where there is none.
        high: upper end.
        why: there is none.
        few: since the test set is too small for it.
    """

    value: float
    absolute: bool
    low: float | None = None
    high: float | None = None
    why: str = ""
    few: bool = False


def _gain(evidence: Evidence, score: str, network: float, best: str, beside: float, rises: bool) -> Gain:
    absolute = rises or beside <= 0 or network < 0
    value = (network - beside if rises else beside - network) / (1 if absolute else beside)
    ours, theirs = evidence.items.get("network"), evidence.items.get(best)
    named = shown_name(best)
    if score != evidence.score or ours is None or theirs is None or len(ours[0]) != len(theirs[0]):
        return Gain(value, absolute, why=f"no interval: of {named} only the mean {score} is known")
    for items, whole in ((ours, network), (theirs, beside)):
        if not math.isclose(_mean(items), whole, rel_tol=1e-3, abs_tol=1e-6):
            return Gain(value, absolute, why=f"no interval: {score} is no mean over {evidence.thing}s")
    sign = 1.0 if rises else -1.0
    known = (ours[1] > 0) & np.isfinite(ours[0]) & np.isfinite(theirs[0])
    weights = ours[1][known].astype(float)
    better = sign * (ours[0][known] - theirs[0][known])
    count = blocks(len(weights), evidence.dependent, evidence.ordered)
    if count < FEWEST_BLOCKS:
        few = f"too few for an interval: {_count(len(weights), evidence.thing)}"
        overlapping = f", of which {evidence.dependent} in a row overlap" if evidence.dependent > 1 else ""
        return Gain(value, absolute, why=f"{few}{overlapping}", few=True)
    if absolute and evidence.dependent == 1 and np.isin(better, (-1, 0, 1)).all() and (weights == 1).all():
        return Gain(value, absolute, *paired_proportions(better))
    base = weights if absolute else weights * theirs[0][known]
    return Gain(value, absolute, *ratio_interval(weights * better, base, count))


def _mean(items: Items) -> float:
    scores, weights = (np.asarray(part, float) for part in items)
    return float((scores * weights)[weights > 0].sum() / max(weights.sum(), 1e-300))


def blocks(sequences: int, dependent: int, ordered: bool) -> int:
    """Pieces of so many test sequences that are taken for independent: sequences themselves where each is drawn alone.

    Where ``dependent`` in a row overlap a piece is twice as long, so that most of it shares nothing with the next one.
    """
    if not ordered and dependent == 1:
        return sequences
    long = min(sequences // (2 * dependent), MOST_BLOCKS)
    return long if long >= FEWEST_BLOCKS else sequences // dependent


def ratio_interval(gains: np.ndarray, base: np.ndarray, pieces: int) -> tuple[float, float]:
    """The 95 % confidence interval of Σ ``gains`` / Σ ``base``, by batch means.

    The ``(sequences,)`` sums are put together to ``pieces`` of neighbours, long
    enough that one says little about the next; the ratio's variance is that of
    the residuals of the pieces (W. G. Cochran, "Sampling Techniques", 3rd
    edition, 1977, section 6.3), its distribution Student's.
    """
    edges = np.linspace(0, len(gains), pieces, endpoint=False).astype(int)
    gains, base = np.add.reduceat(gains, edges), np.add.reduceat(base, edges)
    total = base.sum()
    ratio = gains.sum() / total
    residuals = gains - ratio * base
    error = math.sqrt(pieces / (pieces - 1) * float((residuals**2).sum())) / total
    half = t_quantile(pieces - 1) * error
    return float(ratio - half), float(ratio + half)


def paired_proportions(better: np.ndarray) -> tuple[float, float]:
    """The 95 % confidence interval of the difference of two accuracies on the same sequences.

    With one more of both kinds of disagreement, so that it has a width where
    all sequences agree: D. G. Bonett and R. M. Price, "Adjusted Wald confidence
    interval for a difference of binomial proportions based on paired data",
    Journal of Educational and Behavioral Statistics 37 (2012), equation 5.

    Args:
        better: ``(sequences,)`` 1 where the network alone is right, -1 where the other alone is, else 0.
    """
    n = len(better) + 2
    ours, theirs = (int((better == 1).sum()) + 1) / n, (int((better == -1).sum()) + 1) / n
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((ours + theirs - (ours - theirs) ** 2) / n)
    return max(-1.0, ours - theirs - half), min(1.0, ours - theirs + half)


# ---- what stands out -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cause:
    seen: str
    advice: tuple[Advice | None, ...] = ()


def _causes(evidence: Evidence, state: Judgement, score: str, network: float, best: str) -> list[_Cause]:
    """What was seen, in the order in which it is likely to matter."""
    if state is Judgement.BETTER:
        # nothing is left to get better, or a schedule that comes down lets every score get better up to its end
        done = (_is_share(score) and network > PERFECT) or _is_scheduled(evidence)
        return [cause for cause in (_still_falling(evidence),) if cause and not done]
    found: list[Callable[[], _Cause | None]] = [
        lambda: _longer_test(evidence),
        lambda: _season(evidence, best),
        lambda: _trend(evidence),
        lambda: _no_linear_part(evidence, best),
        lambda: _still_falling(evidence),
        lambda: _overfits(evidence),
        lambda: _nothing_learned(evidence, state),
        lambda: _unstable(evidence),
        lambda: _imbalanced(evidence),
    ]
    causes = [cause for make in found if (cause := make()) is not None]
    if state is Judgement.UNCERTAIN:
        causes.append(_Cause("", (_seeds(evidence),)))
    causes.append(_Cause("", (_rates(evidence), *_reservoir(evidence), _models(evidence))))
    return causes


def _still_falling(evidence: Evidence) -> _Cause | None:
    curve = _finite_column(evidence, evidence.monitor)
    epochs = len(curve)
    if epochs < 4 or evidence.steps < evidence.budget:
        return None
    sign = 1 if evidence.mode == "min" else -1
    curve = sign * curve
    late = max(1, epochs // 4)
    before, after = curve[:-late].min(), curve[-late:].min()
    fell = before - after
    reach = abs(before) if evidence.monitor.endswith("loss") or evidence.mode == "min" else 1.0
    if int(curve.argmin()) < 0.85 * (epochs - 1) or not fell > 0.02 * max(reach, 1e-12):
        return None
    way = "still falling" if sign == 1 else "still rising"
    return _Cause(f"{evidence.monitor} was {way} when the updates were used up", (_longer(evidence, 3),))


def _longer_test(evidence: Evidence) -> _Cause | None:
    """A test on longer sequences than were trained may fail where validation, on sequences as in training, is good."""
    if not evidence.config.get("data.test_length"):
        return None
    chance, val = (evidence.metrics.get(f"{name}/accuracy", math.nan) for name in ("baseline", "val"))
    if not val > chance + 0.25 * (1 - chance):
        return None
    seen = f"the test is on longer sequences than were trained; on validation the accuracy is {_number(val)}"
    return _Cause(seen, (_again(evidence, "How good is it at the lengths of training?", "data.test_length=null"),))


def _overfits(evidence: Evidence) -> _Cause | None:
    train, val = _finite_column(evidence, "train/loss"), _finite_column(evidence, "val/loss")
    if len(train) < 3 or len(train) != len(val):
        return None
    kept = int(val.argmin())
    rose = val[kept] > 0 and val[-1] > 1.1 * val[kept] and train[-1] < 0.8 * train[kept]
    apart = 0 < train[-1] < 0.5 * val[kept]
    if not (rose or apart):
        return None
    how = f"training went on getting better (loss {_number(train[-1])}), and validation "
    how += f"was best in epoch {kept + 1} of {len(val)}" if rose else f"stayed behind (loss {_number(val[kept])})"
    samples, hidden = evidence.config.get("data.num_samples"), evidence.config.get("model.hidden_size")
    layers, dropout = evidence.config.get("model.num_layers"), evidence.config.get("model.dropout")
    advice: list[Advice | None] = []
    generated = "data.path" not in evidence.config and "data.download" not in evidence.config
    if generated and isinstance(samples, int) and not evidence.ordered:
        advice.append(_again(evidence, "Does it need more sequences?", f"data.num_samples={10 * samples}"))
        advice.append(_shorter(evidence))
    if isinstance(layers, int) and layers > 1 and dropout == 0:
        advice.append(_again(evidence, "Does dropout between the layers help?", "model.dropout=0.3"))
    elif layers == 1 and evidence.config.get("model.readout_dropout") == 0:
        advice.append(_again(evidence, "Does dropout before the readout help?", "model.readout_dropout=0.3"))
    if isinstance(hidden, int) and hidden > 8:
        fewer = f"model.hidden_size={max(4, hidden // 4)}"
        advice.append(_again(evidence, "Do fewer units learn less by heart?", fewer))
    if "optimizer.weight_decay" in evidence.config and not evidence.config["optimizer.weight_decay"]:
        decay = ("optimizer=adamw", "optimizer.weight_decay=0.1")
        advice.append(_again(evidence, "Does weight decay help?", *decay))
    return _Cause(how, tuple(advice))


def _nothing_learned(evidence: Evidence, state: Judgement) -> _Cause | None:
    if state is not Judgement.AT_CHANCE:
        return None
    advice: list[Advice | None] = []
    stopped = evidence.steps < evidence.budget
    patience = "early_stopping.patience" in evidence.config
    if stopped and patience:
        plateau = ("early_stopping.patience=null",)
        advice.append(_again(evidence, "Does it leave the plateau, if it is not stopped early?", *plateau))
    longer = None if stopped else _longer(evidence, 5)
    few = evidence.steps < MAX_STEPS
    advice += [longer if few else None, _rates(evidence), _shorter(evidence), longer]
    advice.append(_models(evidence))
    return _Cause("training, too, stayed at chance", tuple(advice))


def _unstable(evidence: Evidence) -> _Cause | None:
    clipped = _finite_column(evidence, "gradient/clipped")
    if not len(clipped) or clipped[len(clipped) // 2 :].mean() < 0.9:
        return None
    return _Cause("nearly every gradient was clipped", (_lower_rate(evidence),))


def _imbalanced(evidence: Evidence) -> _Cause | None:
    majority = evidence.metrics.get("baseline/accuracy", math.nan)
    if evidence.config.get("task.class_weights") != "none" or not majority > 0.8:
        return None
    seen = f"{_percent(majority)} of the test {evidence.thing}s are of one class"
    balanced = ("task.class_weights=balanced", "monitor=val/f1")
    return _Cause(seen, (_again(evidence, "Are the rarer classes found, judged by F1?", *balanced),))


def _trend(evidence: Evidence) -> _Cause | None:
    if not evidence.drift > 1:
        return None
    advice: Advice | None = None
    question = "Is it the level that the network can't follow?"
    direct = evidence.config.get("data.strategy") == "direct"
    if evidence.config.get("data.window_scaling") == "global" and direct:
        advice = _again(evidence, question, "data.window_scaling=last")
    elif (
        "data.window_scaling" not in evidence.config
        and evidence.config.get("data.residual_of") == "none"
        and (direct or evidence.config.get("data.horizon") == 1)
    ):
        advice = _again(evidence, question, "data.residual_of=persistence")
    if advice is None:
        return None
    return _Cause("the series has a trend: its level leaves the range that it began with", (advice,))


def _no_linear_part(evidence: Evidence, best: str) -> _Cause | None:
    if best != "linear_ar" or evidence.config.get("model.linear") != "none":
        return None
    question = "Does the network add to a linear forecast, if it need not be one itself?"
    return _Cause("a linear forecast is better", (_again(evidence, question, "model.linear=ridge"),))


def _season(evidence: Evidence, best: str) -> _Cause | None:
    period, length = evidence.period, evidence.config.get("data.length")
    if period is None or not isinstance(length, int):
        return None
    if period > length:
        seen = f"the season of {period} steps is longer than the window of {length}"
        covers = f"data.length={period + max(1, period // 4)}"
        return _Cause(seen, (_again(evidence, "Does a window that covers the season help?", covers),))
    residual = evidence.config.get("data.residual_of") == "none" and evidence.base != "seasonal_naive"
    if residual and best == "seasonal_naive" and evidence.config.get("data.strategy") == "direct":
        seen = f"the season of {period} steps says more than the network found"
        rest = _again(evidence, "Can it learn what the season leaves over?", "data.residual_of=seasonal_naive")
        return _Cause(seen, (rest,))
    return None


# ---- commands --------------------------------------------------------------------------------------


def _again(evidence: Evidence, answers: str, *overrides: str, sweep: bool = False) -> Advice | None:
    """The command of the run with some keys changed; ``None`` where they have no part in how it was made."""
    changed = {override.partition("=")[0] for override in overrides}
    if _is_closed_form(evidence) and any(key.startswith(OF_DESCENT) for key in changed):
        return None
    # a new choice of a group has keys of its own
    groups = {key for key in changed if "." not in key}
    kept = [
        override
        for override in evidence.overrides
        if (key := override.partition("=")[0].lstrip("+~")) not in changed
        and not key.startswith("hydra")
        and key.partition(".")[0] not in groups - {"seed", "monitor", "mode"}
    ]
    # a run that was gone on with may have a larger budget than its command says
    for number, override in enumerate(kept):
        name = override.partition("=")[0].lstrip("+")
        if name in KEYS and evidence.config.get(name) is not None:
            kept[number] = f"{name}={evidence.config[name]}"
    directories = [word for place in evidence.config_dirs for word in ("--config-dir", place)]
    return Advice(words=("train", *(["-m"] if sweep else []), *directories, *kept, *overrides), answers=answers)


def _is_closed_form(evidence: Evidence) -> bool:
    return evidence.config.get("model.solver") == "ridge"


def _longer(evidence: Evidence, times: int) -> Advice | None:
    if _is_closed_form(evidence):
        return None
    epochs = evidence.config.get("trainer.max_epochs")
    steps = times * max(evidence.steps, evidence.budget)
    override = f"trainer.max_epochs={times * epochs}" if isinstance(epochs, int) else f"trainer.max_steps={steps}"
    question = "Does it go on getting better?" if times == 3 else "Does it take more updates?"
    if _is_scheduled(evidence):
        return _again(evidence, question, override)
    return Advice(words=("resume", override), answers=question)


def _shorter(evidence: Evidence) -> Advice | None:
    """Over fewer steps, where the length is the difficulty of a task and not a window of a series."""
    length = evidence.config.get("data.length")
    if not isinstance(length, int) or length <= 10 or evidence.ordered:
        return None
    return _again(evidence, "Does it learn the same over fewer steps?", f"data.length={max(5, length // 4)}")


def _is_scheduled(evidence: Evidence) -> bool:
    """Whether the learning rate followed a schedule that ended where the training was to end."""
    return str(evidence.config.get("scheduler._target_") or "").startswith("rnnlab.tasks.schedules")


def _rates(evidence: Evidence) -> Advice | None:
    rate = evidence.config.get("optimizer.lr")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return None
    values = ",".join(f"{rate * factor:.1g}" for factor in (0.1, 1 / 3, 3))
    return _again(evidence, "Is it the learning rate?", f"optimizer.lr={values}", sweep=True)


def _reservoir(evidence: Evidence) -> tuple[Advice | None, ...]:
    """What there is to change where nothing is learned but the readout: the units, and how long they remember."""
    hidden, radius = (evidence.config.get(f"model.{key}") for key in ("hidden_size", "cell.spectral_radius"))
    if not _is_closed_form(evidence):
        return ()
    advice: list[Advice | None] = []
    if isinstance(hidden, int):
        advice.append(_again(evidence, "Do more units help?", f"model.hidden_size={4 * hidden}"))
    if isinstance(radius, (int, float)):
        radii = "model.cell.spectral_radius=0.5,0.8,0.99"
        advice.append(_again(evidence, "Does a longer or a shorter memory help?", radii, sweep=True))
    return tuple(advice)


def _lower_rate(evidence: Evidence) -> Advice | None:
    rate = evidence.config.get("optimizer.lr")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return None
    return _again(evidence, "Is a smaller learning rate steadier?", f"optimizer.lr={rate / 10:.1g}")


def _models(evidence: Evidence) -> Advice | None:
    ours = evidence.choices.get("model")
    others = [name for name in evidence.models if name != ours]
    if ours is None or not others:
        return None
    return _again(evidence, "Does another model do better?", f"model={','.join(others[:2])}", sweep=True)


def _seeds(evidence: Evidence) -> Advice | None:
    return _again(evidence, "Does it hold over other seeds?", "seed=1,2,3,4", sweep=True)


def _advised(evidence: Evidence, advice: Sequence[Advice | None]) -> tuple[Advice, ...]:
    there = dict.fromkeys(each for each in advice if each is not None)
    return tuple(there)[:MOST_COMMANDS]


# ---- words -----------------------------------------------------------------------------------------


def _text(
    evidence: Evidence, state: Judgement, score: str, network: float, best: str, beside: float, gain: Gain
) -> str:
    how = f"{score} {_number(network)} beside {_number(beside)}, {_amount(score, gain, network, beside)}"
    name = shown_name(best)
    several = len(baselines(evidence, score)) > 1
    lead = {
        Judgement.BETTER: f"better than {name}{', its best baseline' if several else ''}",
        Judgement.UNCERTAIN: f"not clearly better than {name}",
        Judgement.NOT_BETTER: f"not better than {name}",
        Judgement.AT_CHANCE: f"at chance, not better than {name}",
    }[state]
    return f"{lead}: {how} ({_sure(evidence, score, gain)}){_rollout(evidence)}{_rivals(evidence, score, network)}"


def _amount(score: str, gain: Gain, network: float, beside: float) -> str:
    if not gain.value:
        return "the same"
    if gain.absolute:
        higher = (gain.value > 0) == _is_share(score)
        return f"{_difference(score, abs(gain.value))} {'higher' if higher else 'lower'}"
    if gain.value < -1:
        return f"{_times(network / beside)} times as large"
    return f"{_percent(abs(gain.value))} {'lower' if gain.value > 0 else 'higher'}"


def _sure(evidence: Evidence, score: str, gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return gain.why
    low, high = gain.low, gain.high
    if gain.absolute:
        unit = " points" if _is_share(score) else ""
        ends = f"{_difference(score, low).removesuffix(unit)} to {_difference(score, high)}"
    elif gain.value < -1:
        ends = f"{_range(_times(1 - high), _times(1 - low))} times"
    elif gain.value > 0:
        ends = f"{_range(_share(low), _share(high))} %"
    else:
        ends = f"{_range(_share(-high), _share(-low))} %"
    count = evidence.sequences.get("test", len(evidence.items["network"][0]))
    return f"95 % interval {ends}, {_count(count, f'test {evidence.thing}')}"


def _is_share(score: str) -> bool:
    return score.startswith(("accuracy", "exact_match", "f1"))


def _difference(score: str, value: float) -> str:
    return f"{100 * value:.1f} points" if _is_share(score) else _number(value)


def _rollout(evidence: Evidence) -> str:
    """What a network does on its own predictions is another thing than one step, and may be bad where that is good."""
    ours, theirs = (evidence.metrics.get(f"{prefix}rollout/mse") for prefix in ("", "baseline/"))
    if ours is None or theirs is None or not math.isfinite(ours):
        return ""
    how = "on its own predictions" if ours < theirs else "but worse on its own predictions"
    return f"; {how}: mse {_number(ours)} beside {_number(theirs)}"


def _rivals(evidence: Evidence, score: str, network: float) -> str:
    """Which rivals are better all the same."""
    predictors = _predictors(evidence, score)
    rises = _rises(evidence, score)
    better = [
        f"{shown_name(name)} has {_number(predictors[name])}"
        for name in evidence.rivals
        if name in predictors and (predictors[name] > network) == rises and predictors[name] != network
    ]
    return f"; {' and '.join(better)}" if better else ""


def shown_name(baseline: str) -> str:
    """A predictor's name in a sentence: ``seasonal-naive`` for ``seasonal_naive``."""
    return baseline.replace("_", "-")


def _number(value: float, digits: int = 3) -> str:
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e9 else text


def _percent(share: float) -> str:
    """With as many digits as tell it from all of it: 12 %, 3.4 %, 99.97 %."""
    size = abs(share)
    digits = 0 if size >= 0.0995 else 1
    if 0.99 < size < 1:
        digits = min(4, int(-math.log10(1 - size)) - 1)
    return f"{100 * share:.{digits}f} %"


def _times(factor: float) -> str:
    return f"over {MOST_TIMES:,}" if factor > MOST_TIMES else _number(factor, 2)


def _share(share: float) -> str:
    """An end of an interval in per cent; one that is beyond all bounds says so."""
    most = f"{100 * MOST_TIMES:,}"
    if abs(share) > MOST_TIMES:
        return f"over {most}" if share > 0 else f"under -{most}"
    return _percent(share).removesuffix(" %")


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


# ---- small things ----------------------------------------------------------------------------------


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_column(evidence: Evidence, name: str) -> np.ndarray:
    """``(epochs,)`` a score in the epochs that have it."""
    values = np.array([row.get(name, math.nan) for row in evidence.rows], float)
    return values[np.isfinite(values)]


def drift(values: np.ndarray) -> float:
    """How far the level of ``(time,)`` values moves: the difference of the means of its last and its first quarter, in
    standard deviations of what is left in a quarter. A level that stays has about 0; from 1 on the range of the one
    quarter hardly reaches that of the other.
    """
    values = values[np.isfinite(values)]
    quarter = len(values) // 4
    if quarter < 2:
        return 0.0
    first, last = values[:quarter], values[-quarter:]
    spread = math.sqrt((float(first.var()) + float(last.var())) / 2)
    moved = abs(float(last.mean() - first.mean()))
    return moved / spread if spread > 0 else (math.inf if moved > 0 else 0.0)


# ---- shown -----------------------------------------------------------------------------------------


def command(advice: Advice, path: Path, directory: str | None = None) -> str:
    """A command as a person can paste it.

    Args:
        advice: of a verdict.
        path: the run's directory.
        directory: in which the run's own command was typed, which relative paths mean.
    """
    verb, *arguments = advice.words
    if verb == "train":
        return pasted(verb, *arguments, directory=directory)
    return pasted(verb, path, *arguments)


def markdown(verdict: Verdict, path: Path, directory: str | None = None) -> str:
    """A verdict for TensorBoard's text."""
    parts = [verdict.text, *(f"* {line}" for line in verdict.seen)]
    commands = [f"{advice.answers}\n\n    {command(advice, path, directory)}" for advice in verdict.next]
    return "\n\n".join([*parts, *commands])
