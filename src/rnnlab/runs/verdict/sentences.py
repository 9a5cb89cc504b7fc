"""A verdict as a sentence."""

import math

from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.runs.verdict.gain import Gain
from rnnlab.runs.verdict.wording import (
    NAIVE_BASES,
    count_of,
    difference,
    digits_apart,
    is_share,
    number,
    percent,
    share,
    span,
    times,
)
from rnnlab.store.verdict import Judgement, shown_name


def sentence(
    evidence: Evidence, state: Judgement, score: str, network: float, best: str, beside: float, gain: Gain
) -> str:
    """Of a network's score, the best predictor and its score, and the gain."""
    ahead = {name: value for name, value in evidence.ahead(score, network).items() if name != best}
    part = evidence.predictors(score).get(evidence.part)
    told = part if part is not None and _says_more(evidence, score, part, network, beside) else None
    digits = digits_apart((network, beside, *ahead.values(), *([] if told is None else [told])))
    how = f"{score} {number(network, digits)} beside {number(beside, digits)}, "
    how += _amount(gain, network, beside, score, evidence.rises(score))
    tail = _rollout(evidence, gain)
    if f"test/dynamic/{score}" in evidence.metrics:
        tail += f"; {number(evidence.metrics[f'test/dynamic/{score}'], digits)} where it learns on from the test's text"
    if told is not None:
        # of an older run of quantiles the median was moved, though the network adds nothing
        adds = not evidence.adds_nothing
        worse = ": what the network adds makes it worse" if adds and _is_better(evidence, score, told, network) else ""
        tail += f"; its linear part alone has {number(told, digits)}{worse}"
    others = [f"{shown_name(name)} has {number(value, digits)}" for name, value in ahead.items()]
    if others:
        *most, last = others
        tail += f"; {', '.join(most)} and {last}" if most else f"; {last}"
    return f"{_lead(evidence, state, score, best, beside, gain, part)}: {how} ({_sure(evidence, score, gain)}){tail}"


def _lead(
    evidence: Evidence, state: Judgement, score: str, best: str, beside: float, gain: Gain, part: float | None
) -> str:
    """On which side of its best baseline a network is."""
    name = shown_name(best)
    if state is Judgement.AT_CHANCE:
        return "at chance" if name == "chance" else f"at chance, not better than {name}"
    alone = evidence.adds_nothing
    if part is not None and _is_better(evidence, score, part, beside) and not alone:
        name += ", its best baseline beside its own linear part"
    elif len(evidence.baselines(score)) > 1:
        name += ", its best baseline"
    if alone and evidence.base == best:
        name += ", whose forecasts it makes"
    elif alone:
        name += f", by {NAIVE_BASES.get(evidence.base, 'its linear part')} alone"
    if gain.value < 0:
        return f"worse than {name}{', but not surely' if state is Judgement.UNCERTAIN else ''}"
    better = "better" if state is Judgement.BETTER else "not clearly better" if gain.value > 0 else "no better"
    return f"{better} than {name}"


def _is_better(evidence: Evidence, score: str, one: float, other: float) -> bool:
    """Whether it is by more than rounding."""
    return not math.isclose(one, other, rel_tol=1e-5) and (one > other) == evidence.rises(score)


def _says_more(evidence: Evidence, score: str, part: float, network: float, beside: float) -> bool:
    """Whether the network's linear part is worth a word: better than the baselines, or than the network itself."""
    if math.isclose(part, network, rel_tol=1e-5):
        return False
    return any(_is_better(evidence, score, part, other) for other in (network, beside))


def _amount(gain: Gain, network: float, beside: float, score: str, rises: bool) -> str:
    if not gain.value:
        return "the same"
    if gain.absolute:
        higher = (gain.value > 0) == rises
        return f"{difference(score, abs(gain.value))} {'higher' if higher else 'lower'}"
    if gain.value < -1:
        return f"{times(network / beside)} times as large"
    return f"{percent(abs(gain.value))} {'lower' if gain.value > 0 else 'higher'}"


def _sure(evidence: Evidence, score: str, gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return gain.why
    low, high = gain.low, gain.high
    count = evidence.sequences.get("test") or len(evidence.of(score)["network"][0])
    tests = count_of(count, f"test {evidence.thing}")
    if math.isclose(low, high, rel_tol=1e-6, abs_tol=1e-9):
        # an interval comes of the spread of the sequences, and there is none
        return f"alike on all {tests}"
    if gain.absolute:
        unit = " points" if is_share(score) else ""
        ends = span(low, high, lambda end, more: difference(score, end, more).removesuffix(unit)) + unit
    elif gain.value < -1:
        ends = f"{span(1 - high, 1 - low, times)} times"
    elif gain.value > 0:
        ends = f"{span(low, high, share)} %"
    else:
        ends = f"{span(-high, -low, share)} %"
    why = f"; {gain.why}" if gain.why else ""
    return f"95 % interval {ends}, {tests}{why}"


def _rollout(evidence: Evidence, gain: Gain) -> str:
    """What a network does on its own predictions is another thing than one step, and may be bad where that is good."""
    ours, theirs = (evidence.metrics.get(f"{prefix}rollout/mse") for prefix in ("", "baseline/"))
    if ours is None or theirs is None or not math.isfinite(ours):
        return ""
    if gain.value > 0:
        how = "on its own predictions" if ours < theirs else "but worse on its own predictions"
    else:
        how = "but better on its own predictions" if ours < theirs else "on its own predictions"
    digits = digits_apart((ours, theirs))
    return f"; {how}: mse {number(ours, digits)} beside {number(theirs, digits)}"
