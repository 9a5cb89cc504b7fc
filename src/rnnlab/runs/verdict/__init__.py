"""What a run turned out to be worth: better than its trivial predictors or not, how sure that is, and what to try next.

:func:`judge` is a pure function of :class:`Evidence`. It says no more than the evidence does: an interval stands where
the errors of each test sequence are known, and a cause where the curves or the data show it.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from rnnlab.runs.verdict.causes import causes_of, in_turn
from rnnlab.runs.verdict.commands import lower_rate, tries_the_same
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.runs.verdict.gain import Gain, gain_of
from rnnlab.runs.verdict.sentences import sentence
from rnnlab.runs.verdict.wording import number
from rnnlab.shell import pasted
from rnnlab.store.verdict import MOST_COMMANDS, Advice, Judgement, Verdict


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a run that was tested.

    By the task's own score where all baselines have it, else by the loss. Better is said only where the 95 % interval
    says so; not better also where there is no interval and the score is worse, which the text says.
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
            next=_advised([lower_rate(evidence)]),
        )
    beside = {name: value for name, value in evidence.baselines(score).items() if math.isfinite(value)}
    if not beside:
        return Verdict(
            state=Judgement.NONE,
            text=f"no verdict: {score} {number(network)} on the test data, and no baseline to hold it against",
            score=score,
            network=network,
        )
    sign = 1 if evidence.rises(score) else -1
    # of equally good ones that of which each sequence's score is known
    best = max(beside, key=lambda name: (sign * beside[name], name in evidence.of(score)))
    gain = gain_of(evidence, score, network, best, beside[best])
    state = _state(gain)
    if state is not Judgement.BETTER and evidence.constant and evidence.rows and not _learned(evidence):
        trivial = evidence.baseline if evidence.baseline in beside else best
        over_trivial = gain_of(evidence, score, network, trivial, beside[trivial])
        if _state(over_trivial) is not Judgement.BETTER:
            state, best, gain = Judgement.AT_CHANCE, trivial, over_trivial
    causes = causes_of(evidence, state, score, network, best)
    return Verdict(
        state=state,
        text=sentence(evidence, state, score, network, best, beside[best], gain),
        score=score,
        network=network,
        baseline=best,
        beside=beside[best],
        gain=_finite(gain.value),
        low=_finite(gain.low),
        high=_finite(gain.high),
        absolute=gain.absolute,
        seen=tuple(dict.fromkeys(cause.seen for cause in causes if cause.seen)),
        next=_advised(in_turn(causes)),
    )


def unfinished(evidence: Evidence, why: str, advice: Sequence[Advice] = ()) -> Verdict:
    """The verdict on a run that ended before its test: how far it came, and no more."""
    scores = evidence.column(evidence.monitor)
    best = (scores.min() if evidence.mode == "min" else scores.max()) if len(scores) else None
    far = "" if best is None else f"; {evidence.monitor} was {number(best)} at best"
    return Verdict(state=Judgement.NONE, text=f"no verdict: {why}, so that it is not tested{far}", next=tuple(advice))


def _common_score(evidence: Evidence) -> str:
    """The monitored score, the task's own or the loss: the first of them that most baselines have."""
    monitored = evidence.monitor.partition("/")[2]
    scores = dict.fromkeys((monitored if monitored != "loss" else evidence.score, evidence.score, "loss"))
    there = [score for score in scores if f"test/{score}" in evidence.metrics]
    return max(there, key=lambda score: len(evidence.baselines(score)), default=evidence.score)


def _state(gain: Gain) -> Judgement:
    """As the interval says. Without one nothing supports that it is better; that it is worse asks for less."""
    if gain.low is None or gain.high is None:
        return Judgement.NOT_BETTER if gain.value < 0 else Judgement.UNCERTAIN
    return Judgement.BETTER if gain.low > 0 else Judgement.NOT_BETTER if gain.high < 0 else Judgement.UNCERTAIN


def _learned(evidence: Evidence) -> bool:
    """Whether the training scores are better than what a constant predictor reaches."""
    trained = {name: evidence.column(f"train/{name}") for name in ("loss", "accuracy")}
    chance = {name: evidence.metrics.get(f"baseline/{name}", math.nan) for name in trained}
    if len(trained["accuracy"]) and trained["accuracy"].max() > chance["accuracy"] + 0.25 * (1 - chance["accuracy"]):
        return True
    return bool(len(trained["loss"]) and trained["loss"].min() < 0.9 * chance["loss"])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _advised(advice: Sequence[Advice | None]) -> tuple[Advice, ...]:
    kept: list[Advice] = []
    for each in advice:
        if each is not None and not any(tries_the_same(each, before) for before in kept):
            kept.append(each)
    return tuple(kept[:MOST_COMMANDS])


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
