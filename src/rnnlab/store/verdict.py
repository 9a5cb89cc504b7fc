"""What a run turned out to be worth, as ``status.json`` keeps it under ``verdict``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

from rnnlab.errors import one_line
from rnnlab.store.facts import Word, checked, line, number, one_of, texts, truth

MOST_COMMANDS = 3
VERBS = ("train", "resume", "evaluate", "inspect", "report")


def shown_name(baseline: str) -> str:
    """A predictor's name in a sentence: ``seasonal-naive`` for ``seasonal_naive``."""
    return baseline.replace("_", "-")


class Judgement(Word):
    """How a network compares with the best baseline on the same test data."""

    BETTER = "better"
    UNCERTAIN = "uncertain"
    NOT_BETTER = "not_better"
    AT_CHANCE = "at_chance"
    NONE = "none"

    @property
    def words(self) -> str:
        """As a table shows it."""
        return {"none": "no verdict"}.get(self.value, self.value.replace("_", " "))


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A command that is likely to help.

    Attributes:
        words: a verb of rnnlab and its arguments; a verb other than ``train`` is about the run, whose directory comes
            behind it.
        answers: the question that it answers.
    """

    words: tuple[str, ...]
    answers: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run turned out to be worth.

    Attributes:
        state: the judgement.
        text: it in plain words, a line.
        score: by which it was judged, such as ``mae``; ``None`` where there was nothing to judge by.
        network: its value on the test data.
        baseline: the best of all that it was held against; the trivial predictor where it is at chance.
        beside: that one's value of the same score.
        gain: how much better the network is, as a share of ``beside`` for errors and as a difference where
            ``absolute``; negative where it is worse.
        low: lower end of the 95 % confidence interval of ``gain``; ``None`` where nobody can tell.
        high: upper end.
        absolute: whether ``gain`` is a difference in the score's own unit.
        seen: what stands out in the run and in its data, a sentence each.
        next: the commands that are most likely to help, at most three.
    """

    state: Judgement
    text: str
    score: str | None = None
    network: float | None = None
    baseline: str | None = None
    beside: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    absolute: bool = False
    seen: tuple[str, ...] = ()
    next: tuple[Advice, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The same as plain values."""
        return {name: value for name, value in {**asdict(self), "state": self.state.value}.items() if value is not None}

    @classmethod
    def of(cls, facts: Any) -> "Verdict":
        """The verdict that a mapping says; what it does not know is ignored.

        Raises:
            ValueError: a part is missing or of a wrong type.
        """
        if isinstance(facts, Verdict):
            return facts
        if not isinstance(facts, Mapping):
            raise ValueError("must be a mapping")
        values = checked(facts, _CHECKS, "has a {name} that {error}")
        for name in ("state", "text"):
            if name not in values:
                raise ValueError(f"has no {name}")
        return cls(**values)


def _next(value: Any) -> tuple[Advice, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("must be a list of commands")
    return tuple(map(_advice, value[:MOST_COMMANDS]))


def _advice(value: Any) -> Advice:
    words = value.get("words") if isinstance(value, Mapping) else None
    if not isinstance(words, Sequence) or isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be a list of commands")
    if not words or words[0] not in VERBS:
        raise ValueError(f"must be a list of commands, each with one of the verbs {', '.join(VERBS)}")
    return Advice(words=tuple(words), answers=line(value.get("answers")))


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "state": partial(one_of, Judgement),
    **dict.fromkeys(("text", "score", "baseline"), line),
    **dict.fromkeys(("network", "beside", "gain", "low", "high"), number),
    "absolute": truth,
    "seen": lambda value: tuple(map(one_line, texts(value))),
    "next": _next,
}
assert set(_CHECKS) == {field.name for field in fields(Verdict)}
