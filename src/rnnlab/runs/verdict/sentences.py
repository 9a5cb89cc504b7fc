"""A verdict as a sentence."""

import math

from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.runs.verdict.gain import Gain
from rnnlab.runs.verdict.wording import count_of, difference, is_share, number, percent, share, shown_name, span, times
from rnnlab.store.verdict import Judgement


def sentence(
    evidence: Evidence, state: Judgement, score: str, network: float, best: str, beside: float, gain: Gain
) -> str:
    """Of a network's score, the best predictor and its score, and the gain."""
    how = f"{score} {number(network)} beside {number(beside)}, {_amount(score, gain, network, beside)}"
    name = shown_name(best)
    several = len(evidence.baselines(score)) > 1
    alone = ", by its linear part alone" if evidence.metrics.get("calibration/gain") == 0 else ""
    lead = {
        Judgement.BETTER: f"better than {name}{', its best baseline' if several else ''}{alone}",
        Judgement.UNCERTAIN: f"not clearly better than {name}",
        Judgement.NOT_BETTER: f"not better than {name}",
        Judgement.AT_CHANCE: f"at chance, not better than {name}",
    }[state]
    return f"{lead}: {how} ({_sure(evidence, score, gain)}){_rollout(evidence)}{_rivals(evidence, score, network)}"


def _amount(score: str, gain: Gain, network: float, beside: float) -> str:
    if not gain.value:
        return "the same"
    if gain.absolute:
        higher = (gain.value > 0) == is_share(score)
        return f"{difference(score, abs(gain.value))} {'higher' if higher else 'lower'}"
    if gain.value < -1:
        return f"{times(network / beside)} times as large"
    return f"{percent(abs(gain.value))} {'lower' if gain.value > 0 else 'higher'}"


def _sure(evidence: Evidence, score: str, gain: Gain) -> str:
    if gain.low is None or gain.high is None:
        return gain.why
    low, high = gain.low, gain.high
    if gain.absolute:
        unit = " points" if is_share(score) else ""
        ends = f"{difference(score, low).removesuffix(unit)} to {difference(score, high)}"
    elif gain.value < -1:
        ends = f"{span(times(1 - high), times(1 - low))} times"
    elif gain.value > 0:
        ends = f"{span(share(low), share(high))} %"
    else:
        ends = f"{span(share(-high), share(-low))} %"
    count = evidence.sequences.get("test", len(evidence.items["network"][0]))
    return f"95 % interval {ends}, {count_of(count, f'test {evidence.thing}')}"


def _rollout(evidence: Evidence) -> str:
    """What a network does on its own predictions is another thing than one step, and may be bad where that is good."""
    ours, theirs = (evidence.metrics.get(f"{prefix}rollout/mse") for prefix in ("", "baseline/"))
    if ours is None or theirs is None or not math.isfinite(ours):
        return ""
    how = "on its own predictions" if ours < theirs else "but worse on its own predictions"
    return f"; {how}: mse {number(ours)} beside {number(theirs)}"


def _rivals(evidence: Evidence, score: str, network: float) -> str:
    """What the network has where it learns on, as they do, and which rivals are better than it was before."""
    predictors = evidence.predictors(score)
    rises = evidence.rises(score)
    better = [
        f"{shown_name(name)} has {number(predictors[name])}"
        for name in evidence.rivals
        if name in predictors and (predictors[name] > network) == rises and predictors[name] != network
    ]
    learning_on = evidence.metrics.get(f"test/dynamic/{score}")
    own = "" if learning_on is None else f"; {number(learning_on)} where it learns on from the test's text"
    return own + (f"; {' and '.join(better)}" if better else "")
