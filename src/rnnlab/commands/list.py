"""``rnnlab list``: what there is to choose from, a line each."""

import re
from collections.abc import Sequence
from pathlib import Path

from rnnlab.commands.arguments import existing_directory, guarded, parser
from rnnlab.configs import conf_directory
from rnnlab.errors import InputError, nearest
from rnnlab.shell import pasted

GROUPS = {
    "models": "model",
    "data": "data",
    "tasks": "task",
    "experiments": "experiment",
    "benchmarks": "benchmark",
    "sweeps": "sweep",
    "launchers": "hydra/launcher",
    "sweepers": "hydra/sweeper",
    "trainers": "trainer",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "recipes": "recipe",
    "instruments": "instruments",
    "callbacks": "callbacks",
    "loggers": "logger",
}


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser("list", "Lists the configs of each group; GROUP=NAME on the command line of train chooses one.")
    options.add_argument("what", nargs="?", metavar="GROUP", help=", ".join(GROUPS))
    options.add_argument("--config-dir", metavar="DIR", help="a directory of your own configs, listed too")
    given = options.parse_args(arguments)
    return guarded(lambda: show(given.what, given.config_dir))


def show(what: str | None, config_dir: str | None = None) -> int:
    """Prints one group or all.

    Raises:
        InputError: there is no such group or directory.
    """
    if what is not None and what not in GROUPS:
        if what not in GROUPS.values():
            raise InputError(f"list {what}: no such group{nearest(what, GROUPS)} (there are {', '.join(GROUPS)})")
        what = next(name for name, group in GROUPS.items() if group == what)
    places = [conf_directory(), *([existing_directory(config_dir)] if config_dir else [])]
    for name, group in GROUPS.items():
        if what not in (None, name):
            continue
        files = {file.stem: file for place in places for file in sorted((place / group).glob("[!_]*.yaml"))}
        entries = {stem: describe(file) + runs(file) + marked(needs(file, places)) for stem, file in files.items()}
        if not entries:
            continue
        width = max(len(stem) for stem in entries)
        how = {"benchmark": "rnnlab benchmark NAME", "sweep": "rnnlab train -m sweep=…"}.get(group, f"{group}=…")
        print(f"{name} ({how})")
        for stem, text in entries.items():
            print(f"  {stem:{width}}  {text}")
        print()
    if what is None:
        print(f"A file or a folder of yours: {pasted('start', 'FILE')} says which data reads it, and how to begin")
    return 0


def describe(file: Path) -> str:
    """The first comment line of a config that is no Hydra directive."""
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                return ""
            text = line.lstrip("# ").strip()
            if text and not text.startswith("@"):
                return text
    return ""


def runs(file: Path) -> str:
    """How a model's recurrence is executed, as its config says; empty where it says nothing."""
    found = re.search(r"^# Runs as: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return f" [{found[1]}]" if found else ""


def needs(file: Path, places: Sequence[Path] = ()) -> str:
    """The extra that a config needs, as it says itself or as a config that it chooses says.

    Args:
        file: a choice of a group.
        places: the directories of configs in which its choices are looked up, rnnlab's own by default.

    Returns:
        Such as ``datasets``, empty where it needs none.
    """
    text = file.read_text(encoding="utf-8")
    if found := re.search(r"^# Needs: (.+)$", text, re.MULTILINE):
        return found[1]
    chosen = re.findall(r"^ +- override /([\w/]+): (\w+)$", text, re.MULTILINE)
    chosen += [("experiment", name) for name in re.findall(r"^experiment: (\w+)$", text, re.MULTILINE)]
    files = [place / group / f"{name}.yaml" for group, name in chosen for place in places or (conf_directory(),)]
    extras = (needs(other, places).partition(",")[0] for other in files if other.exists())
    return ", ".join(dict.fromkeys(filter(None, extras)))


def marked(extras: str) -> str:
    """What stands behind a description."""
    return f" [needs: {extras}]" if extras else ""
