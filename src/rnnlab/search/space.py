"""What a search may set: each key's values, and under which other values it counts at all.

::

    model            one of rnn, lstm
    optimizer.lr     from 0.0001 to 0.1, logarithmic
    model.num_layers 1, 2, 3                            where model=lstm

A setting is drawn key after key in this order, so that a key may depend on
those above it.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnlab.errors import InputError, nearest

DIGITS = 5
"""Significant digits of a drawn number: what can be read, typed again, and is far finer than any score can tell."""
SPAN_FOR_LOG = 100
"""An interval above zero whose ends are so far apart, or farther, is logarithmic unless it says otherwise."""
TRIES = 1000


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Attributes:
        options: as they stand behind the ``=`` of an override.
    """

    options: tuple[str, ...]

    def draw(self, rng: random.Random) -> str:
        return rng.choice(self.options)

    def all(self) -> tuple[str, ...]:
        """Every value."""
        return self.options

    def ends(self) -> tuple[str, ...]:
        """The values at which something may be amiss."""
        return self.options

    def __str__(self) -> str:
        return ", ".join(self.options)


@dataclass(frozen=True)
class Interval:
    """A number between two, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: equal shares for equal ratios rather than for equal differences.
        whole: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: random.Random) -> float | int:
        if self.whole and not self.log:
            return rng.randint(int(self.low), int(self.high))
        # whole numbers have half a unit on either side, so that the ends are as likely as the others
        half = 0.5 if self.whole else 0.0
        low, high = self.low - half, self.high + half
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        return self.within(value)

    def within(self, value: float) -> float | int:
        """The value as it is written: rounded, and not over an end by that."""
        rounded = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def all(self) -> tuple[int, ...]:
        """Every value.

        Raises:
            InputError: they cannot be counted.
        """
        if not self.whole:
            raise InputError("an interval has no end of values: write range(start,stop,step) or choice(…)")
        return tuple(range(int(self.low), int(self.high) + 1))

    def ends(self) -> tuple[float | int, ...]:
        """The values at which something may be amiss: the ends, and of fractions one that is no whole number."""
        if self.whole:
            return (self.low, self.high)
        inside = self.within(self.low + (self.high - self.low) * 0.381966)
        return (self.low, inside, self.high)

    def __str__(self) -> str:
        kind = ", whole numbers" if self.whole else ""
        return f"{written(self.low)} to {written(self.high)}{', logarithmic' if self.log else ''}{kind}"


@dataclass(frozen=True)
class Range:
    """Numbers at equal steps.

    Attributes:
        values: all of them, upwards.
        log: equal shares for equal ratios.
    """

    values: tuple[float | int, ...]
    log: bool = False

    @property
    def step(self) -> float | int:
        return self.values[1] - self.values[0] if len(self.values) > 1 else 1

    def draw(self, rng: random.Random) -> float | int:
        if not self.log:
            return rng.choice(self.values)
        # the value v stands for what is nearer to it than to its neighbours
        half = self.step / 2
        edges = [math.log(max(value - half, value / 2)) for value in self.values]
        last = math.log(self.values[-1] + half)
        place = rng.uniform(edges[0], last)
        return max(value for value, edge in zip(self.values, edges, strict=True) if edge <= place)

    def all(self) -> tuple[float | int, ...]:
        """Every value."""
        return self.values

    def ends(self) -> tuple[float | int, ...]:
        """The values at which something may be amiss."""
        return tuple(dict.fromkeys((self.values[0], self.values[-1])))

    def __str__(self) -> str:
        shown = [written(value) for value in self.values]
        if len(shown) > 6:
            shown = [*shown[:2], "…", shown[-1]]
        return ", ".join(shown) + (", logarithmic" if self.log else "")


Distribution = Choice | Interval | Range
Value = str | int | float


@dataclass(frozen=True)
class Condition:
    """Holds where a key has one of some values.

    Attributes:
        key: that decides.
        values: as they stand in an override.
    """

    key: str
    values: tuple[str, ...]

    def holds(self, settings: Mapping[str, str]) -> bool:
        return settings.get(self.key) in self.values

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True)
class Parameter:
    """A key and its values.

    Attributes:
        key: as it is overridden.
        values: from which one is taken.
        when: all of these must hold.
        name: unlike that of any other: a key may have other values under other conditions.
    """

    key: str
    values: Distribution
    when: tuple[Condition, ...] = ()
    name: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return isinstance(self.values, Choice | Range) and len(self.values.all()) == 1

    def __str__(self) -> str:
        return f"{self.values}" + (f"   where {' '.join(map(str, self.when))}" if self.when else "")


Choose = Callable[[Parameter], Value]


@dataclass(frozen=True)
class Space:
    """All that a search may set.

    Attributes:
        parameters: in the order in which they are drawn.
        fixed: what is set for every job anyway: a condition may look at it.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, str]

    def __post_init__(self) -> None:
        """Holds the conditions against what there is.

        Raises:
            InputError: one of them can never hold.
        """
        known: dict[str, set[str] | None] = {key: {value} for key, value in self.fixed.items()}
        for parameter in self.parameters:
            for condition in parameter.when:
                if condition.key not in known:
                    later = any(other.key == condition.key for other in self.parameters)
                    raise InputError(
                        f"hydra.sweeper.when: {condition}: "
                        + ("its values are drawn later: put it above what depends on it" if later
                           else f"nothing sets {condition.key}{nearest(condition.key, known)}")
                    )  # fmt: skip
                options = known[condition.key]
                for value in condition.values:
                    if options is not None and value not in options:
                        raise InputError(
                            f"hydra.sweeper.when: {condition}: {condition.key} is never {value}"
                            f"{nearest(value, options)} (it is {', '.join(sorted(options))})"
                        )
            ours = _countable(parameter.values)
            before = known.get(parameter.key, set())
            known[parameter.key] = None if ours is None or before is None else before | ours

    def settings(self, choose: Choose) -> dict[str, str]:
        """One setting: values by key, as they stand behind the ``=`` of an override.

        Args:
            choose: says a parameter's value; asked in order, for those alone whose conditions hold.

        Raises:
            InputError: two conditions hold that both set a key.
        """
        values = dict(self.fixed)
        chosen: dict[str, str] = {}
        for parameter in self.parameters:
            if not all(condition.holds(values) for condition in parameter.when):
                continue
            if parameter.key in chosen:
                where = " ".join(map(str, parameter.when))
                raise InputError(f"hydra.sweeper.when: {where} sets {parameter.key}, which is set already")
            value = parameter.values.ends()[0] if parameter.is_fixed else choose(parameter)
            values[parameter.key] = chosen[parameter.key] = written(value)
        return chosen

    def draw(self, rng: random.Random) -> dict[str, str]:
        """A setting at random."""
        return self.settings(lambda parameter: parameter.values.draw(rng))

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every setting there is, by the parameters' names.

        Raises:
            InputError: there is no end of them.
        """
        for parameter in self.parameters:
            try:
                parameter.values.all()
            except InputError as error:  # noqa: PERF203 (there are few)
                raise InputError(f"{parameter.key}={parameter.values}: {error}") from None
        yield from self._grid({})

    def _grid(self, chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
        class Open(Exception):
            def __init__(self, parameter: Parameter) -> None:
                self.parameter = parameter

        def choose(parameter: Parameter) -> Value:
            if parameter.name not in chosen:
                raise Open(parameter)
            return chosen[parameter.name]

        try:
            self.settings(choose)
        except Open as question:
            for value in question.parameter.values.all():
                yield from self._grid({**chosen, question.parameter.name: value})
        else:
            yield chosen

    def probes(self) -> list[dict[str, str]]:
        """A few settings in which every value of every choice and both ends of every range occur."""
        rng = random.Random(0)
        found: dict[str, dict[str, str]] = {}
        for parameter in self.parameters:
            for value in parameter.values.ends():
                met = False

                def choose(other: Parameter, parameter: Parameter = parameter, value: Value = value) -> Value:
                    nonlocal met
                    if other is parameter:
                        met = True
                        return value
                    return other.values.draw(rng)

                for _ in range(TRIES):
                    setting = self.settings(choose)
                    if met or parameter.is_fixed:
                        found.setdefault(str(setting), setting)
                        break
        return list(found.values()) or [{}]

    def description(self) -> list[str]:
        """A line a parameter."""
        width = max((len(parameter.key) for parameter in self.parameters), default=0)
        return [f"{parameter.key:{width}}  {parameter}" for parameter in self.parameters]

    def signature(self) -> dict[str, str]:
        """What tells this space from another."""
        return {parameter.name: str(parameter) for parameter in self.parameters}


def named(parameters: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Gives each parameter its own name: the key, or where it has several, the key and its conditions."""
    keys = [parameter.key for parameter in parameters]
    return tuple(
        Parameter(p.key, p.values, p.when, p.key if keys.count(p.key) == 1 else f"{p.key} | {_where(p)}")
        for p in parameters
    )


def _where(parameter: Parameter) -> str:
    return " ".join(map(str, parameter.when)) or "always"


def _countable(values: Distribution) -> set[str] | None:
    """All values as they are written; None where there is no end of them."""
    try:
        return {written(value) for value in values.all()}
    except InputError:
        return None


def written(value: Any) -> str:
    """A value as it stands behind the ``=`` of an override."""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return str(value)
