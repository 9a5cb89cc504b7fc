"""Overrides as people type them, read before Hydra composes a config with them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rnnlab.commands.hydra_internals import Hydra, group_options, has_group
from rnnlab.errors import InputError, nearest
from rnnlab.runs.budget import OF_DESCENT

ONE_CHOICE = ("model", "data", "task", "optimizer", "scheduler", "trainer", "sweep", "hydra/launcher", "hydra/sweeper")
"""Groups of which a run has one; of the others it may have several, which are merged."""
SET_BY_HYDRA = ("hydra.job.num", "hydra.job.id", "hydra.job.override_dirname", "hydra.runtime", "hydra.overrides")
STRUCTURED = re.compile(r"""^\s*["'\[{(]|\$\{|^\s*(interval|range|choice|glob|tag|sort|shuffle|int|float|str|bool)\(""")
"""A value that is meant to be more than plain text: a list, a mapping, quoted, an interpolation, a function."""
MOST_VALUES = 5_000
"""In one override: the time that Hydra's grammar takes grows with the square of their number."""
BRACKETS = (("[", "]"), ("{", "}"))
KEY = re.compile(r"^([+~]{0,2}[\w/.@-]+)=(.*)$", re.DOTALL)


def read(hydra: Hydra, overrides: Sequence[str]) -> list[str]:
    """Overrides in Hydra's grammar: what cannot be anything but plain text is quoted.

    So a path or a name may hold what Hydra's grammar gives a meaning: ``data.separator=;``, ``data.path=a=b.csv``,
    ``data.target=Umsatz(EUR)``, ``data.time=größe``.

    Raises:
        InputError: one is no ``key=value``, or chooses what is no choice.
    """
    parser = OverridesParser.create(hydra.config_loader)
    loader = hydra.config_loader
    lines = []
    for given in overrides:
        line, parsed = _parsed(parser, given)
        _check(parsed, loader)
        lines.append(line)
    return lines


def _parsed(parser: OverridesParser, given: str) -> tuple[str, Override]:
    match = KEY.match(given)
    if (count := given.count(",") + 1) > MOST_VALUES and (match is None or STRUCTURED.search(match[2])):
        raise InputError(
            f"{given[:40]}…: {count:,} values, and an override has {MOST_VALUES:,} at most: name them in a config of "
            "yours (--config-dir)"
        )
    # what consists of blanks alone, such as a tabulator, would be read as nothing
    if match is None or not match[2] or match[2].strip():
        try:
            return given, parser.parse_override(given)
        except HydraException as error:
            if match is None:
                raise InputError(f"'{given}' is no override: write key=value") from None
            if STRUCTURED.search(match[2]) or "," in match[2]:
                if match[2].lstrip()[:1] in ("[", "{") and any(
                    match[2].count(a) > match[2].count(b) for a, b in BRACKETS
                ):
                    raise InputError(f"'{given}' is no override: its brackets are not closed") from None
                raise InputError(
                    f"'{given}' is no override: a value with special characters stands in quotation marks, and those "
                    f"in others for the shell: {_for_shell(match[1], match[2])}{_reason(error)}"
                ) from None
    line = f"{match[1]}='{_escaped(match[2])}'"
    try:
        return line, parser.parse_override(line)
    except HydraException:
        raise InputError(f"'{given}' is no override: write key=value") from None


def _escaped(text: str) -> str:
    """Text between single quotation marks of Hydra's grammar."""
    return re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)


def _for_shell(key: str, value: str) -> str:
    inner = value.strip("\"'").replace('"', '\\"')
    return f"'{key}=\"{inner}\"'"


def _reason(error: HydraException) -> str:
    first = str(error).splitlines()[0] if str(error) else ""
    return "" if not first or "Unknown function" not in first else f" ({first})"


def _check(override: Override, loader: ConfigLoader) -> None:
    key, line = override.key_or_group, override.input_line or ""
    if not key:
        raise InputError(f"'{line}' is no override: write key=value")
    if key.startswith(SET_BY_HYDRA):
        raise InputError(f"{line}: Hydra sets {key} itself: leave it out")
    if not has_group(loader, key):
        return
    if override.is_delete():
        if override.value() is not None and not isinstance(override.value(), str):
            raise InputError(f"{line}: a choice that is to be left out is named (~{key}=NAME), or not at all (~{key})")
        return
    options = group_options(loader, key)
    for value in _values(override):
        if isinstance(value, list) and key in ONE_CHOICE:
            each = line.partition("=")[2].strip("[] ")
            raise InputError(f"{line}: a run has one {key}; for a run with each of them: rnnlab train -m {key}={each}")
        if not isinstance(value, (str, list)):
            shown = "null" if value is None else line.partition("=")[2]
            hint = "; did you mean 'none'?" if not value and "none" in options else nearest(shown, options)
            there = f" (there are {', '.join(options)})" if options else ""
            raise InputError(f"{key}={shown}: no such {key}{hint}{there}")


def _values(override: Override) -> Iterator[Any]:
    """The values that an override gives, one or those of a sweep; quotation marks make a text of a number."""
    if not override.is_sweep_override():
        yield override.value()
        return
    try:
        yield from override.sweep_iterator()
    except (HydraException, AttributeError, TypeError, ValueError):  # an interval: the search says that it needs values
        return


def compose(hydra: Hydra, name: str, overrides: list[str], mode: RunMode) -> tuple[DictConfig, list[str]]:
    """The config, and the overrides by which it was composed: ``+key=value`` also sets a key that is there already."""
    try:
        return hydra.compose_config(name, overrides, mode, with_log_configuration=True), overrides
    except ConfigCompositionException as error:
        there = re.search(r"An item is already at '([^']+)'", str(error))
        if there is None or not any(line.startswith(f"+{there[1]}=") for line in overrides):
            raise
    again = [f"+{line}" if line.startswith(f"+{there[1]}=") else line for line in overrides]
    return compose(hydra, name, again, mode)


def refuse_what_changes_nothing(config: DictConfig, parser: OverridesParser, overrides: Sequence[str]) -> None:
    """Refuses ``trainer={}``: Hydra merges it into what there is, and nothing happens.

    Raises:
        InputError: naming the override.
    """
    for override in parser.parse_overrides(list(overrides)):
        if override.is_add() or override.is_delete() or override.is_sweep_override() or override.value() != {}:
            continue
        there = OmegaConf.select(config, override.key_or_group, default=None, throw_on_resolution_failure=False)
        if isinstance(there, DictConfig) and len(there):
            raise InputError(
                f"{override.input_line}: this would be merged into what is there, and changes nothing: set its keys, "
                f"{override.key_or_group}.{next(iter(there))!s}=…"
            )


def refuse_descent_where_there_is_none(config: DictConfig, parser: OverridesParser, overrides: Sequence[str]) -> None:
    """Refuses keys of a training by gradients where the readout is solved: ``model=esn optimizer.lr=0.1``.

    Args:
        config: as it was composed, of a sweep without what differs between its jobs.
        parser: of overrides.
        overrides: in Hydra's grammar.

    Raises:
        InputError: naming the override, and how there would be such a training.
    """
    # train=false is added to the command of a training, whose other keys may stay
    if OmegaConf.select(config, "model.solver", default=None) != "ridge":
        return
    for override in parser.parse_overrides(list(overrides)):
        if not override.key_or_group.startswith(OF_DESCENT) or override.is_delete():
            continue
        if override.is_sweep_override() or override.value() not in (None, "none", "auto"):
            raise InputError(
                f"{override.input_line}: model.solver=ridge finds the readout in closed form, in one pass, so that "
                "this changes nothing: leave it out, or train by gradients with model.solver=gradient"
            )
