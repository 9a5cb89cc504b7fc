"""``config.yaml``: the resolved config of a run, plain containers."""

import copy
import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rnnlab.errors import InputError, one_line
from rnnlab.store.files import Damaged, read_text

CONFIG = "config.yaml"
BYTES = 4 * 2**20
DEPTH = 40
VALUES = 100_000
"""In all; aliases count as what they stand for, so that a short text can't mean a huge config."""
LONG = 500
"""So many brackets, or columns of a line, are no danger to the parser, whose own depth is not limited."""
PARTS = (
    "data",
    "model",
    "task",
    "optimizer",
    "scheduler",
    "trainer",
    "instruments",
    "callbacks",
    "logger",
    "early_stopping",
)
_TOP_LEVEL_KEY = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
_LONE = re.compile(r"[\ud800-\udfff]")

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
if TYPE_CHECKING:
    _SAFE = yaml.SafeLoader
else:  # libyaml's is safe, too, and ten times as fast, where PyYAML was built with it
    _SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SAFE):
    """Plain values; ``<<`` is refused, by which a few lines can multiply into any number of keys."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("it merges mappings (<<)")


def read(path: Path) -> dict[str, Any]:
    """The config in a file, for the caller to keep and change.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is no YAML mapping of plain values, or beyond a limit, or a key at its top is of a wrong type.
        OSError: it cannot be read.
    """
    return copy.deepcopy(dict(read_shared(path)))


def read_flat(path: Path) -> dict[str, Any]:
    """The same with dotted keys: ``{"optimizer.lr": 0.01, …}``.

    Raises:
        OSError: as :func:`read`.
        Damaged: as :func:`read`.
    """
    return flat(read_shared(path))


def read_shared(path: Path) -> Mapping[str, Any]:
    """The config in a file, whose parts other configs share: not to be changed.

    Raises:
        OSError: as :func:`read`.
        Damaged: as :func:`read`.
    """
    text = read_text(path, BYTES)
    try:
        config = _parse(text)
        _check(config)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise Damaged(path, one_line(error)) from None
    return config


def dump(config: Mapping[str, Any]) -> str:
    """The text of a config.

    Raises:
        InputError: it has too many values to be read again.
    """
    if _count(config) > VALUES:
        name, part = max(flat(config).items(), key=lambda item: _count(item[1]))
        raise InputError(f"{name} has {_count(part) - 1:,} values, and a config at most {VALUES:,} in all")
    text = yaml.dump(dict(config), Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    if len(text.encode("utf-8", "surrogatepass")) > BYTES:
        raise InputError(f"the config has more than {BYTES:,} bytes, and could not be read again: name fewer things")
    return text


def _count(value: Any) -> int:
    """Values in all, mappings and lists among them."""
    if isinstance(value, Mapping):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, (list, tuple)) else 1


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def _parse(text: str) -> Mapping[Any, Any]:
    """Section by section, since the runs of a sweep share most of theirs and parsing YAML is slow."""
    if text.count("[") + text.count("{") > LONG or max(map(len, text.splitlines()), default=0) > LONG:
        _check_depth(text)
    sections: dict[str, Any] = {}
    if "&" not in text:  # an anchor may be used in another section
        try:
            for part in _TOP_LEVEL_KEY.split(text):
                sections |= _section(part)
        except (yaml.YAMLError, ValueError):
            pass  # written by hand, perhaps; or what is wrong is said with its line in the whole
        else:
            return sections
    return _section(text)


@functools.lru_cache(maxsize=20_000)
def _section(text: str) -> Mapping[Any, Any]:
    parsed = yaml.load(text, _Loader)
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise ValueError("it is no mapping")
    _check_values(parsed)
    return parsed


def _check_depth(text: str) -> None:
    """Held against the events of the parser, whose number is that of the text; the tree would be built recursively."""
    depth = 0
    for event in yaml.parse(text, _SAFE):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH:
                raise ValueError(f"it is nested more than {DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_values(config: Mapping[Any, Any]) -> None:
    """Plain values only, and not too many; what holds itself is nested without end."""
    count = 0
    waiting: list[tuple[Any, int]] = [(config, 1)]
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > VALUES:
            raise ValueError(f"it has more than {VALUES:,} values")
        if isinstance(value, (dict, list)):
            if depth > DEPTH:
                raise ValueError(f"it is nested more than {DEPTH} deep, or holds itself")
            if isinstance(value, dict):
                for key in value:
                    if not isinstance(key, (str, int, float, bool)) or (isinstance(key, str) and _LONE.search(key)):
                        raise ValueError(f"a key is {key!r}"[:100])
                waiting.extend((item, depth + 1) for item in value.values())
            else:
                waiting.extend((item, depth + 1) for item in value)
        elif isinstance(value, str):
            if _LONE.search(value):
                raise ValueError("it has half a character (a surrogate)")
        elif isinstance(value, int):
            if not -(2**63) <= value < 2**64:
                raise ValueError("it has a whole number of more than 64 bits")
        elif value is not None and not isinstance(value, float):
            raise ValueError(f"it has a {type(value).__name__}, and may have numbers, texts, true, false and null")


def _check(config: Mapping[Any, Any]) -> None:
    """The keys at the top that every reader relies on; what is below them is checked where it is built."""
    for key in config:
        if not isinstance(key, str):
            raise ValueError(f"its key {key!r} is no name")
    for part in PARTS:
        if not isinstance(config.get(part, {}), (dict, type(None))):
            raise ValueError(f"{part} must be a mapping, and is {config[part]!r}"[:200])
    seed = config.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise ValueError(f"seed must be a whole number, and is {seed!r}"[:200])
    monitor = config.get("monitor", "val/loss")
    if not isinstance(monitor, str) or len(monitor) > LONG:
        raise ValueError(f"monitor must be the name of a score, and is {monitor!r}"[:200])
    mode = config.get("mode", "min")
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be min or max, and is {mode!r}"[:200])
    data = config.get("data") or {}
    for name in ("fold", "folds"):
        value = data.get(name)
        if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise ValueError(f"data.{name} must be a number, and is {value!r}"[:200])
