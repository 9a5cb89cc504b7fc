"""What stands out in a run, and what could be tried about it."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rnnlab.runs.budget import MAX_STEPS, RESIDUAL_STEPS
from rnnlab.runs.verdict.commands import (
    again,
    is_closed_form,
    is_scheduled,
    longer,
    longer_windows,
    lower_rate,
    models,
    rates,
    reservoir,
    seeds,
    shorter,
)
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.runs.verdict.gain import gain_between, gain_of, is_better, surely_worse
from rnnlab.runs.verdict.wording import NAIVE_BASES, count_of, is_share, number, percent
from rnnlab.store.verdict import Advice, Judgement

PERFECT = 0.99
"""A share of right answers from which on more of them are not asked for."""


ONLY_BLANKS = 0.999
"""Share of the steps that are blank from which on nothing is said."""


UNFINISHED = 0.02
"""Share of the sequences that never end from which on it is worth a word."""


STANDING = ("persistence", "training_mean")
"""Forecasts that are the same for all steps ahead."""


CLEAR = 0.05
"""Share of its error by which a forecast is better from which on something was found, whether that is sure or not."""


@dataclass(frozen=True)
class Cause:
    """What was seen, and what to do about it."""

    seen: str
    advice: tuple[Advice | None, ...] = ()


def causes_of(evidence: Evidence, state: Judgement, score: str, network: float, best: str) -> list[Cause]:
    """What was seen, in the order in which it is likely to matter."""
    if state is Judgement.BETTER:
        # nothing is left to get better, or a schedule that comes down lets every score get better up to its end
        done = (is_share(score) and network > PERFECT) or (is_scheduled(evidence) and not _is_short(evidence))
        return [cause for cause in (_still_falling(evidence),) if cause and not done]
    if is_share(score) and network >= 1:
        return [
            Cause("all of the test is right: nothing is left to gain, and harder or more data would tell the two apart")
        ]
    if evidence.is_exact(score, network) and evidence.is_exact(score, evidence.predictors(score)[best]):
        return [_exact(evidence, score)]
    naive = _naive(evidence, score)
    nothing = None if naive is None else _nothing_foretells(evidence, score, network, naive)
    if naive is not None and nothing is not None and not surely_worse(evidence, score, network, naive):
        return [cause for cause in (nothing, _adds_nothing(evidence)) if cause is not None]
    ahead = evidence.ahead(score, network)
    seasonal = is_better(evidence, score, "seasonal_naive", "persistence")
    season, trend = (lambda: _season(evidence, ahead, seasonal)), (lambda: _trend(evidence))
    found: list[Callable[[], Cause | None]] = [
        lambda: nothing,
        lambda: _only_blanks(evidence),
        lambda: _unfinished(evidence),
        lambda: _longer_test(evidence),
        lambda: _imbalanced(evidence),
        lambda: _intermittent(evidence, ahead),
        # a trend may pass for a season that is longer than the window
        *((season, trend) if seasonal else (trend, season)),
        lambda: _no_linear_part(evidence, ahead),
        lambda: _still_falling(evidence),
        lambda: _overfits(evidence),
        lambda: _adds_nothing(evidence),
        lambda: _nothing_learned(evidence, state),
        lambda: _unstable(evidence),
    ]
    causes = [cause for make in found if (cause := make()) is not None]
    if evidence.adds_nothing:
        # what was thrown away does not depend on how it was learned
        causes.append(Cause("", (longer_windows(evidence), models(evidence))))
        return causes
    if state is Judgement.UNCERTAIN:
        causes.append(Cause("", (seeds(evidence),)))
    causes.append(Cause("", (rates(evidence), *reservoir(evidence), models(evidence))))
    return causes


def in_turn(causes: Sequence[Cause]) -> list[Advice | None]:
    """The first advice of each cause that was seen, then the second of each …; then what may help whatever was seen."""
    seen = zip_longest(*(cause.advice for cause in causes if cause.seen))
    return [advice for turn in seen for advice in turn] + [
        advice for cause in causes if not cause.seen for advice in cause.advice
    ]


def _exact(evidence: Evidence, score: str) -> Cause:
    exact = [name for name, value in evidence.predictors(score).items() if evidence.is_exact(score, value)]
    if "persistence" in exact:
        why = "each value is the one before it again: the series is constant"
    elif "seasonal_naive" in exact:
        why = f"the series repeats itself exactly, every {evidence.period} steps"
    else:
        why = "simple rules make no error"
    return Cause(f"in the test part {why}, and nothing is left to learn")


def _naive(evidence: Evidence, score: str) -> str | None:
    """The better one of two forecasts that are the same for all steps ahead: the last value, and the mean."""
    there = {name: value for name, value in evidence.predictors(score).items() if name in STANDING}
    sign = 1 if evidence.rises(score) else -1
    return max(there, key=lambda name: sign * there[name], default=None)


def _nothing_foretells(evidence: Evidence, score: str, network: float, naive: str) -> Cause | None:
    """No forecast of a series is better than its last value, or its mean, not even a linear one."""
    there = evidence.predictors(score)
    # an intermittent series is another matter
    if "linear_ar" not in there or "most_frequent" in there or _still_falling(evidence):
        return None
    beside = there[naive]
    gains = [gain_between(evidence, score, name, naive) for name in there if name not in STANDING]
    for gain in (gain_of(evidence, score, network, naive, beside), *gains):
        if gain is not None and (gain.absolute or gain.value > CLEAR or (gain.low is not None and gain.low > 0)):
            return None
    what = "the mean of the training part" if naive == "training_mean" else "the last value"
    columns = " (data.known, data.past)" if "data.known" in evidence.config else ""
    seen = f"nothing was found in these windows that foretells what follows: {what} does as well ({score} "
    seen += f"{number(beside)}), so that more training will hardly help; other columns might{columns}"
    return Cause(seen, (longer_windows(evidence),))


def _still_falling(evidence: Evidence) -> Cause | None:
    curve = evidence.column(evidence.monitor)
    epochs = len(curve)
    if not epochs or evidence.steps < evidence.budget or is_closed_form(evidence):
        return None
    if epochs == 1:
        # one validation shows no course
        return _seen_once(evidence) if evidence.passes <= 1 else _short(evidence)
    if is_scheduled(evidence) and _is_short(evidence):
        # it falls up to the end of the schedule
        return _short(evidence)
    sign = 1 if evidence.mode == "min" else -1
    curve = sign * curve
    late = max(1, epochs // 4)
    before, after = curve[:-late].min(), curve[-late:].min()
    fell = before - after
    reach = abs(before) if evidence.monitor.endswith("loss") or evidence.mode == "min" else 1.0
    if int(curve.argmin()) < 0.85 * (epochs - 1) or not fell > 0.02 * max(reach, 1e-12):
        return None
    way = "still falling" if sign == 1 else "still rising"
    return Cause(f"{evidence.monitor} was {way} when the updates were used up", (longer(evidence, 3),))


def _seen_once(evidence: Evidence) -> Cause:
    once = "the training data were seen only once"
    part = f"only {number(evidence.passes, 2)} of one pass over the training data was made"
    return Cause(once if evidence.passes == 1 else part, (longer(evidence, 5),))


def _usual(evidence: Evidence) -> int:
    """Updates of a run that is told no number of them."""
    return RESIDUAL_STEPS if evidence.part or evidence.base != "none" else MAX_STEPS


def _is_short(evidence: Evidence) -> bool:
    """Whether a run was told to make far fewer updates than is usual."""
    return evidence.budget < _usual(evidence) / 4


def _short(evidence: Evidence) -> Cause | None:
    if not _is_short(evidence):
        return None
    seen = f"it was trained for {count_of(evidence.steps, 'update')} alone; {_usual(evidence):,} are usual"
    return Cause(seen, (longer(evidence, 5),))


def _longer_test(evidence: Evidence) -> Cause | None:
    """A test on longer sequences than were trained may fail where validation, on sequences as in training, is good."""
    if not evidence.config.get("data.test_length"):
        return None
    chance, val = (evidence.metrics.get(f"{name}/accuracy", math.nan) for name in ("baseline", "val"))
    if not val > chance + 0.25 * (1 - chance):
        return None
    seen = f"the test is on longer sequences than were trained; on validation the accuracy is {number(val)}"
    return Cause(seen, (again(evidence, "How good is it at the lengths of training?", "data.test_length=null"),))


def _overfits(evidence: Evidence) -> Cause | None:
    train, val = evidence.column("train/loss"), evidence.column("val/loss")
    if evidence.adds_nothing or len(train) < 3 or len(train) != len(val):
        return None
    kept = int(val.argmin())
    rose = val[kept] > 0 and val[-1] > 1.1 * val[kept] and train[-1] < 0.8 * train[kept]
    apart = 0 < train[-1] < 0.5 * val[kept]
    if not (rose or apart):
        return None
    how = f"training went on getting better (loss {number(train[-1])}), and validation "
    how += f"was best in epoch {kept + 1} of {len(val)}" if rose else f"stayed behind (loss {number(val[kept])})"
    samples, hidden = evidence.config.get("data.num_samples"), evidence.config.get("model.hidden_size")
    layers, dropout = evidence.config.get("model.num_layers"), evidence.config.get("model.dropout")
    advice: list[Advice | None] = []
    generated = "data.path" not in evidence.config and "data.download" not in evidence.config
    if generated and isinstance(samples, int) and not evidence.ordered:
        advice.append(again(evidence, "Does it need more sequences?", f"data.num_samples={10 * samples}"))
        advice.append(shorter(evidence))
    if isinstance(layers, int) and layers > 1 and dropout == 0:
        advice.append(again(evidence, "Does dropout between the layers help?", "model.dropout=0.3"))
    elif layers == 1 and evidence.config.get("model.readout_dropout") == 0:
        advice.append(again(evidence, "Does dropout before the readout help?", "model.readout_dropout=0.3"))
    if isinstance(hidden, int) and hidden > 8:
        fewer = f"model.hidden_size={max(4, hidden // 4)}"
        advice.append(again(evidence, "Do fewer units learn less by heart?", fewer))
    if "optimizer.weight_decay" in evidence.config and not evidence.config["optimizer.weight_decay"]:
        decay = ("optimizer=adamw", "optimizer.weight_decay=0.1")
        advice.append(again(evidence, "Does weight decay help?", *decay))
    return Cause(how, tuple(advice))


def _nothing_learned(evidence: Evidence, state: Judgement) -> Cause | None:
    if state is not Judgement.AT_CHANCE:
        return None
    advice: list[Advice | None] = []
    stopped = evidence.steps < evidence.budget
    patience = "early_stopping.patience" in evidence.config
    if stopped and patience:
        plateau = ("early_stopping.patience=null",)
        advice.append(again(evidence, "Does it leave the plateau, if it is not stopped early?", *plateau))
    more = None if stopped else longer(evidence, 5)
    few = evidence.steps < MAX_STEPS
    advice += [more if few else None, rates(evidence), shorter(evidence), more]
    advice.append(models(evidence))
    return Cause("on the training data, too, it is at chance", tuple(advice))


def _only_blanks(evidence: Evidence) -> Cause | None:
    """Every training of CTC begins by saying nothing, and leaves that by itself, or does not."""
    if not evidence.metrics.get("test/blank_share", 0.0) > ONLY_BLANKS:
        return None
    advice: list[Advice | None] = [longer(evidence, 5)]
    rate = evidence.config.get("optimizer.lr")
    if isinstance(rate, (int, float)) and rate > 0:
        advice.append(again(evidence, "Does a larger learning rate leave it?", f"optimizer.lr={3 * rate:.1g}"))
    if evidence.config.get("model.encoder") == "none":
        advice.append(again(evidence, "Do convolutions in front help it out?", "model.encoder=conv"))
    seen = "it says nothing but blanks, at every step (the blank collapse of CTC): it has not begun to say tokens yet"
    return Cause(seen, tuple(advice))


def _unfinished(evidence: Evidence) -> Cause | None:
    """A decoder that goes round in a circle is worse than one that says nothing."""
    share = evidence.metrics.get("test/unfinished", 0.0)
    if not share > UNFINISHED:
        return None
    advice: list[Advice | None] = []
    if evidence.config.get("model.attention") not in (None, "none") and evidence.config.get("model.coverage") is False:
        question = "Does it help to know which tokens it has attended to already?"
        advice.append(again(evidence, question, "model.coverage=true"))
    if evidence.config.get("task.beam") == 1:
        advice.append(again(evidence, "Does a search find an end?", "task.beam=4"))
    return Cause(f"{percent(share)} of what it says never comes to an end, and is cut", tuple(advice))


def _unstable(evidence: Evidence) -> Cause | None:
    clipped = evidence.column("gradient/clipped")
    if not len(clipped) or clipped[len(clipped) // 2 :].mean() < 0.9:
        return None
    return Cause("nearly every gradient was clipped", (lower_rate(evidence),))


def _imbalanced(evidence: Evidence) -> Cause | None:
    majority = evidence.metrics.get("baseline/accuracy", math.nan)
    if evidence.config.get("task.class_weights") != "none" or not majority > 0.8:
        return None
    seen = f"{percent(majority)} of the test {evidence.thing}s are of one class"
    balanced = ("task.class_weights=balanced", "monitor=val/f1")
    return Cause(seen, (again(evidence, "Are the rarer classes found, judged by F1?", *balanced),))


def _trend(evidence: Evidence) -> Cause | None:
    if not evidence.drift > 1:
        return None
    advice: Advice | None = None
    question = "Is it the level that the network can't follow?"
    direct = evidence.config.get("data.strategy") == "direct"
    if evidence.config.get("data.window_scaling") == "global" and direct:
        advice = again(evidence, question, "data.window_scaling=last")
    elif (
        "data.window_scaling" not in evidence.config
        and evidence.config.get("data.residual_of") == "none"
        and (direct or evidence.config.get("data.horizon") == 1)
    ):
        advice = again(evidence, question, "data.residual_of=persistence")
    if advice is None:
        return None
    return Cause("the series has a trend: its level leaves the range that it began with", (advice,))


def _no_linear_part(evidence: Evidence, ahead: Collection[str]) -> Cause | None:
    if "linear_ar" not in ahead or evidence.config.get("model.linear") != "none":
        return None
    question = "Does the network add to a linear forecast, if it need not be one itself?"
    return Cause("a linear forecast is better", (again(evidence, question, "model.linear=ridge"),))


def _adds_nothing(evidence: Evidence) -> Cause | None:
    """What a series has that is not linear may be too little to be seen behind a linear part, and enough for a network
    that learns the whole: on the yearly sunspots it is.
    """
    if not evidence.adds_nothing:
        return None
    base = NAIVE_BASES.get(evidence.base, "the linear part")
    seen = f"on the validation part the network added nothing to {base}"
    # or it would go on adding to that
    alone: tuple[str, ...] = ("model.linear=none",)
    if evidence.config.get("data.residual_of", "none") != "none":
        alone += ("data.residual_of=none",)
    found = [
        again(evidence, f"Does a network alone do better, without {base}?".replace("the linear", "a linear"), *alone)
    ]
    if not is_closed_form(evidence):
        reservoir = "Does an echo state network do better, which is solved in seconds?"
        found.append(again(evidence, reservoir, "model=esn", *alone))
    return Cause(seen, tuple(found))


def _intermittent(evidence: Evidence, ahead: Collection[str]) -> Cause | None:
    if "most_frequent" not in ahead or evidence.config.get("task.loss") != "mse":
        return None
    seen = "most values are the same one: squared errors ask for the mean, absolute ones for the median, which that is"
    return Cause(seen, (again(evidence, "Does it forecast the median?", "task.loss=mae"),))


def _season(evidence: Evidence, ahead: Collection[str], seasonal: bool) -> Cause | None:
    period, length = evidence.period, evidence.config.get("data.length")
    if period is None or not isinstance(length, int) or "most_frequent" in ahead:
        return None
    if period > length:
        seen = f"the season of {period} steps is longer than the window of {length}"
        covers = f"data.length={period + max(1, period // 4)}"
        return Cause(seen, (again(evidence, "Does a window that covers the season help?", covers),))
    residual = evidence.config.get("data.residual_of") == "none" and evidence.base != "seasonal_naive"
    if residual and seasonal and "seasonal_naive" in ahead and evidence.config.get("data.strategy") == "direct":
        seen = f"the season of {period} steps says more than the network found"
        rest = again(evidence, "Can it learn what the season leaves over?", "data.residual_of=seasonal_naive")
        return Cause(seen, (rest,))
    return None
