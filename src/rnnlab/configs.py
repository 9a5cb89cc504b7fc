"""Where the configs are."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rnnlab.errors import nearest

SHOWN = 8
"""Choices of a group whose keys are all told."""


def conf_directory() -> Path:
    """The directory of all configs: in the wheel, or in the checkout of an editable install."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def choose_first(group: str, name: str) -> str:
    """What to say of a key of a group of which nothing is chosen yet: by which choice it comes, or which keys others
    have. Empty where there is no such group.

    Args:
        group: of configs, such as ``scheduler``.
        name: of the key in it, such as ``patience`` or ``ema.decay``.
    """
    there = _keys_of(group)
    if not there:
        return ""
    having = [f"{group}={choice}" for choice, keys in there.items() if name in keys]
    if having:
        return f"there is none yet; choose it first by {' or '.join(having)}"
    meant = nearest(name, [key for keys in there.values() for key in keys])
    if meant:
        key = meant.split("'")[1]
        choice = next(choice for choice, keys in there.items() if key in keys)
        meant = f"; did you mean '{group}.{key}', of {group}={choice}?"
    told = "; ".join(f"{choice} has {', '.join(keys)}" for choice, keys in there.items() if keys)
    return f"there is none yet; choose it first by {group}=…{meant}" + (f" ({told})" if len(there) <= SHOWN else "")


def _keys_of(group: str) -> dict[str, list[str]]:
    """The keys of each choice of a group that stand in it, by the name of the choice; those that build it left out."""
    import yaml

    folder, found = conf_directory() / group, {}
    for file in sorted(folder.glob("[!_]*.yaml")) if group.isidentifier() else ():
        text = file.read_text(encoding="utf-8")
        if not text.startswith("# @package"):
            keys = list(flat_keys(yaml.safe_load(text)))
            found[file.stem] = [
                key for key in keys
                if not any(part.startswith("_") for part in key.split("."))
                and not any(other.startswith(f"{key}.") for other in keys)
            ]  # fmt: skip
    return found


@cache
def common_keys(group: str, names: tuple[str, ...]) -> frozenset[str]:
    """The dotted keys that mean the same in all of these choices of a group, without the group's name.

    Not those of a part that each has of its own, such as the cell of a model, nor those that a choice has another
    value for than the group, such as the units of a reservoir. Empty where one is no choice of ours.
    """
    return frozenset.intersection(*(_own_meaning(group, name) for name in names)) if names else frozenset()


def _own_meaning(group: str, name: str) -> frozenset[str]:
    import yaml

    def read(name: str) -> dict[str, Any]:
        file = conf_directory() / group / f"{name}.yaml"
        return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}

    own = read(name)
    below = [read(default) for default in own.pop("defaults", []) if isinstance(default, str) and default != "_self_"]
    shared = {key for config in below for key in flat_keys(config)}
    parts = [key for key, value in own.items() if isinstance(value, Mapping) and "_target_" in value]
    keys = {key for key in shared ^ set(flat_keys(own)) if key.partition(".")[0] not in parts}
    return frozenset(key for key in keys if not any(part.startswith("_") for part in key.split(".")))


def flat_keys(node: Any, prefix: str = "") -> Iterable[str]:
    """All dotted keys of a nested mapping, inner nodes too."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            key = f"{prefix}.{name}" if prefix else str(name)
            yield key
            yield from flat_keys(value, key)
