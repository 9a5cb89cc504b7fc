"""``rnnlab list``: what there is to choose from, a line each."""

from pathlib import Path

from rnnlab.commands.arguments import existing_directory, guarded, parser
from rnnlab.commands.composition import conf_directory
from rnnlab.errors import InputError, nearest

GROUPS = {
    "models": "model",
    "data": "data",
    "tasks": "task",
    "experiments": "experiment",
    "benchmarks": "benchmark",
    "sweeps": "sweep",
    "trainers": "trainer",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "instruments": "instruments",
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
        entries = {file.stem: describe(file) for place in places for file in sorted((place / group).glob("*.yaml"))}
        entries = {stem: text for stem, text in entries.items() if not stem.startswith("_")}
        if not entries:
            continue
        width = max(len(stem) for stem in entries)
        how = {"benchmark": "rnnlab benchmark NAME", "sweep": "rnnlab train -m sweep=…"}.get(group, f"{group}=…")
        print(f"{name} ({how})")
        for stem, text in entries.items():
            print(f"  {stem:{width}}  {text}")
        print()
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
