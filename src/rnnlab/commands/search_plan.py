"""What a search may set, read from a config and the command line in Hydra's own notation::

hydra:
sweeper:
params:
model: choice(rnn, lstm)
optimizer.lr: interval(1e-4, 1e-1)     # logarithmic, as its ends are far apart
when:
model=lstm:
model.num_layers: range(1, 4)        # 1, 2, 3
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from omegaconf import DictConfig

from rnnlab.commands import hydra_internals
from rnnlab.commands.engine import check_number, is_of_sweep, of_jobs
from rnnlab.commands.hydra_internals import Hydra
from rnnlab.errors import InputError, nearest
from rnnlab.search.space import SPAN_FOR_LOG, Choice, Condition, Distribution, Interval, Parameter, Range, Space, named

TAGS = ("log", "linear")
Parse = Callable[[list[str]], list[Override]]


@dataclass
class SearchPlan:
    """What a search is to do.

    Attributes:
        space: of the settings.
        common: overrides of every job.
        seeds: for each of which a trial is run; ``None`` where the config's own will do.
    """

    space: Space
    common: list[str]
    seeds: list[str | None]

    @property
    def varied(self) -> list[str]:
        """Keys in which jobs differ."""
        keys = dict.fromkeys(parameter.key for parameter in self.space.parameters)
        return [*keys, *(["seed"] if len(self.seeds) > 1 else [])]


def plan(parse: Parse, sweeper: Mapping[str, Any], typed: Sequence[Override]) -> SearchPlan:
    """Reads a search from its config and the command line, whose keys replace the config's.

    Args:
        parse: Hydra's parser.
        sweeper: ``params`` and ``when`` of the config.
        typed: overrides of the jobs.

    Raises:
        InputError: a key has nothing to choose from, or a condition can never hold.
    """
    fixed = [each for each in typed if not each.is_sweep_override()]
    swept = {each.get_key_element(): each for each in typed if each.is_sweep_override()}
    replaced = {each.get_key_element().lstrip("+~") for each in typed}
    params = _mapping(sweeper.get("params"), "params")
    from_yaml = {each.get_key_element(): each for each in parse([_override(k, v) for k, v in params.items()])}
    from_yaml = {key: each for key, each in from_yaml.items() if key not in replaced or key in swept}
    ordered = {**from_yaml, **swept}
    parameters, seeds = [], list[str | None]([None])
    for key, override in ordered.items():
        if key == "seed":
            seeds = _options(override)
        elif override.is_sweep_override():
            parameters.append(Parameter(key, _distribution(override)))
        else:
            fixed.insert(0, override)
    for condition, keys in _mapping(sweeper.get("when"), "when").items():
        where = _conditions(parse, condition)
        for override in parse([_override(k, v) for k, v in _mapping(keys, f"when.{condition}").items()]):
            if override.get_key_element() == "seed":
                raise InputError(f"hydra.sweeper.when: {condition}: seed repeats a trial and is no part of it")
            if override.get_key_element() not in replaced:
                parameters.append(Parameter(override.get_key_element(), _distribution(override), where))
    known = {each.get_key_element(): str(each.get_value_element_as_str()) for each in fixed if each.value() is not None}
    common = [str(each.input_line) for each in fixed]
    if not parameters:
        raise InputError(
            "a search needs something to search: 'optimizer.lr=interval(1e-4,1e-1)' model=gru,lstm, "
            "or hydra.sweeper.params"
        )
    return SearchPlan(Space(named(parameters), known), common, seeds)


def _mapping(node: Any, key: str) -> dict[str, Any]:
    if node is None:
        return {}
    if not isinstance(node, Mapping):
        raise InputError(f"hydra.sweeper.{key}={node}: must be a mapping of keys to what they may be")
    return {str(name): value for name, value in node.items()}


def _override(key: str, value: Any) -> str:
    if isinstance(value, list):
        return f"{key}=choice({','.join(_text(each) for each in value)})"
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _conditions(parse: Parse, text: str) -> tuple[Condition, ...]:
    found = []
    for override in parse(text.split()):
        if override.is_sweep_override() and not override.is_choice_sweep():
            raise InputError(f"hydra.sweeper.when: {text}: write KEY=VALUE, or KEY=VALUE,VALUE for either")
        found.append(Condition(override.get_key_element(), tuple(str(option) for option in _options(override))))
    return tuple(found)


def _options(override: Override) -> list[str | None]:
    """All values of an override that counts them, or its one value, as written."""
    if override.is_interval_sweep():
        raise InputError(f"{override.input_line}: it has no end of values; write range(…) or choice(…)")
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    return list(dict.fromkeys(map(str, override.sweep_string_iterator())))


def _distribution(override: Override) -> Distribution:
    """What Hydra's notation says: ``choice``, ``a,b``, ``glob``, ``range``, ``interval``, with a ``tag``."""
    line, value = override.input_line, override.value()
    tags = value.tags if isinstance(value, Sweep) else set()
    for tag in sorted(tags):
        if tag not in TAGS:
            raise InputError(f"{line}: unknown tag '{tag}'{nearest(tag, TAGS)} (there are {', '.join(TAGS)})")
    if isinstance(value, IntervalSweep):
        assert value.start is not None and value.end is not None
        if not (math.isfinite(value.start) and math.isfinite(value.end)):
            raise InputError(f"{line}: its ends must be finite numbers")
        if not value.start < value.end:
            raise InputError(f"{line}: there is nothing in it: write interval(low,high)")
        if "log" in tags and value.start <= 0:
            raise InputError(f"{line}: a logarithm needs ends above 0")
        wide = value.start > 0 and value.end >= SPAN_FOR_LOG * value.start
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Interval(value.start, value.end, "log" in tags or (wide and "linear" not in tags), whole)
    options = [str(option) for option in _options(override)]
    if not options:
        raise InputError(f"{line}: there is nothing in it, so there is nothing to try")
    if isinstance(value, RangeSweep):
        numbers = sorted(int(option) if option.lstrip("-").isdigit() else float(option) for option in options)
        if "log" in tags and numbers[0] <= 0:
            raise InputError(f"{line}: a logarithm needs numbers above 0")
        return Range(tuple(numbers), "log" in tags)
    if "log" in tags:
        raise InputError(f"{line}: a choice has no logarithm: write interval(…) or range(…)")
    return Choice(tuple(options))


def plan_of(hydra: Hydra, config: DictConfig, parsed: Sequence[Override], most: int) -> SearchPlan:
    """The plan of a search that a composed config and the overrides of its command describe.

    Raises:
        InputError: it has nothing to choose from, or more jobs than a sweep may have.
    """
    for override in parsed:
        if override.is_sweep_override() and is_of_sweep(override):
            raise InputError(f"{override.input_line}: it is of the whole sweep and has one value")
    node = hydra_internals.mapping(config.hydra.sweeper)
    check_number(of_jobs(parsed), most, searched=True)
    parse = functools.partial(hydra_internals.parse, hydra)
    return plan(parse, {str(name): value for name, value in node.items()}, of_jobs(parsed))
