"""What the configs say: choices of a group, their keys with defaults and comments, and who uses them."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rnnlab.commands.composition import create_hydra, plain, run_mode
from rnnlab.commands.list import describe
from rnnlab.configs import conf_directory

CONF = conf_directory()


def choices(group: str) -> dict[str, Path]:
    """The configs of a group by name, as ``rnnlab list`` shows them."""
    files = sorted((CONF / group).glob("*.yaml"))
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def description(group: str, name: str) -> str:
    """The line that ``rnnlab list`` has."""
    return describe(CONF / group / f"{name}.yaml")


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """The resolved config of ``rnnlab train OVERRIDES``."""
    return plain(create_hydra().config_loader.load_configuration("train", list(overrides), run_mode()))


def target(group: str, name: str) -> str:
    """The dotted path of the class that a choice names; of a model, of its cell."""
    found = re.search(r"^(?:cell:\n +)?_target_: *(\S+)", _text(group, name), re.MULTILINE)
    if found is None:
        raise ValueError(f"conf/{group}/{name}.yaml names no class (_target_)")
    return found[1]


@cache
def _text(group: str, name: str) -> str:
    return (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")


def keys(group: str, name: str) -> list[tuple[str, str, str]]:
    """``key``, default and comment of each line of a config; comments stand behind their key or above it."""
    found: list[tuple[str, str, str]] = []
    inside: list[tuple[int, str]] = []
    above: list[str] = []
    for line in _text(group, name).split("\n")[1:]:
        comment = re.match(r" *# ?(.*)$", line)
        if comment:
            above.append(comment[1])
            continue
        entry = re.match(r"( *)(\w+):(?: +(.*))?$", line)
        if entry is None:
            above = []
            continue
        depth, key, rest = len(entry[1]), entry[2], entry[3] or ""
        while inside and inside[-1][0] >= depth:
            inside.pop()
        value, _, behind = re.match(r'((?:"[^"]*"|[^#"])*?)(?: +(#) *(.*))?$', rest).groups()  # type: ignore[union-attr]
        path = ".".join([*(each for _, each in inside), key])
        if not rest:
            inside.append((depth, key))
        elif not key.startswith("_") and "defaults" not in path:
            found.append((path, value, behind or " ".join(above)))
        above = []
    return found


def experiments_with(group: str, name: str) -> list[str]:
    """Experiments whose defaults list chooses this, their own or that of the experiment that they start from."""
    return [each for each in choices("experiment") if _chosen(each).get(group) == name]


@cache
def _chosen(experiment: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in yaml.safe_load(_text("experiment", experiment)).get("defaults", []):
        if isinstance(entry, str):
            found |= _chosen(entry) if entry != "_self_" else {}
        else:
            found |= {key.removeprefix("override /"): value for key, value in entry.items()}
    return {"model": "gru", "data": "sine", **found}


@cache
def benchmarks() -> dict[str, dict[str, Any]]:
    """What ``conf/benchmark`` says, by name."""
    return {name: yaml.safe_load(file.read_text(encoding="utf-8")) for name, file in choices("benchmark").items()}


def _every_run(benchmark: str) -> dict[str, str]:
    """What every run of a benchmark chooses of each group: by its experiment, or by what it always adds."""
    config = benchmarks()[benchmark]
    chosen = _chosen(config["experiment"]) if config.get("experiment") else {"model": "gru", "data": "sine"}
    added = [override.partition("=") for override in config.get("always", [])]
    return chosen | {group: choice for group, _, choice in added if group in chosen}


def model_of_row(benchmark: str, row: str) -> str:
    """The model that a row of a benchmark trains."""
    for override in benchmarks()[benchmark]["rows"].get(row, []):
        if override.startswith("model="):
            return str(override.removeprefix("model="))
    return _every_run(benchmark)["model"]


def data_of_benchmark(name: str) -> str:
    """The data that it trains on."""
    return _every_run(name)["data"]
