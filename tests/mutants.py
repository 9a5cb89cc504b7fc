"""Mutation testing: small faults are put into the source, and the tests must notice them (``make mutants``).

mutmut makes the faults and runs the tests that reach each of them; ``[tool.mutmut]`` in pyproject.toml says in which
files and by which tests. This draws a sample, runs it, and prints those that nobody noticed. What a fault cannot change
(an equivalent mutant) stands in ``mutants.yaml`` beside this, with the reason.

    python tests/mutants.py --sample 300 --seed 0
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
MADE = ROOT / "mutants"
EQUIVALENT = Path(__file__).with_suffix(".yaml")
# exit codes of pytest by which mutmut tells a mutant that lives: all tests passed, or none reaches it
SURVIVED, UNREACHED = 0, 33
MUTMUT = [sys.executable, "-m", "mutmut"]


def mutmut(*arguments: str) -> str:
    """What a command of mutmut prints; one thread each, as the tests themselves run."""
    done = subprocess.run(
        [*MUTMUT, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"mutmut {' '.join(arguments[:2])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def results() -> dict[str, int | None]:
    """By the name of each mutant, the exit code of its tests; None where it has not run."""
    codes: dict[str, int | None] = {}
    for file in sorted(MADE.rglob("*.meta")):
        codes |= json.loads(file.read_text())["exit_code_by_key"]
    return codes


def change(name: str) -> tuple[str, str]:
    """The lines that a mutant takes away and puts in."""
    lines = mutmut("show", name).splitlines()
    removed = [line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---")]
    added = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
    return "\n".join(removed), "\n".join(added)


def reasons() -> dict[tuple[str, str, str], str]:
    """Why a mutant changes nothing, by its function and its two lines."""
    listed = yaml.safe_load(EQUIVALENT.read_text())
    return {(entry["function"], entry["old"], entry["new"]): entry["why"] for entry in listed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="a regular expression that their names must match")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=95, help="percent that must be noticed")
    options = parser.parse_args()

    known = results()
    # a first mutant makes all of them and learns which tests reach which function; a later call finds that done
    first = next(iter(known), "rnnlab.runs.statistics.x_holm__mutmut_1")
    print("making the mutants, and finding out which tests reach them: minutes", flush=True)
    mutmut("run", "--max-children", str(options.processes), first)
    names = [name for name in sorted(results()) if re.search(options.only, name)]
    if options.sample and options.sample < len(names):
        names = sorted(random.Random(options.seed).sample(names, options.sample))
    print(f"{len(names)} mutants of {len(results())}, seed {options.seed}", flush=True)
    mutmut("run", "--max-children", str(options.processes), *names)

    codes, why = results(), reasons()
    alive = [name for name in names if codes[name] in (SURVIVED, UNREACHED)]
    harmless = 0
    for name in alive:
        function = name.rpartition("__mutmut_")[0].replace("x_", "", 1).replace("xǁ", "").replace("ǁ", ".")
        old, new = change(name)
        if (function, old, new) in why:
            harmless += 1
            continue
        print(f"\n{name}: {'no test reaches it' if codes[name] == UNREACHED else 'not noticed'}")
        print("\n".join(f"  - {line}" for line in old.splitlines()))
        print("\n".join(f"  + {line}" for line in new.splitlines()), flush=True)
    tried = len(names) - harmless
    noticed = tried - (len(alive) - harmless)
    percent = 100 * noticed / max(tried, 1)
    print(f"\n{noticed} of {tried} mutants were noticed, {percent:.1f} % ({harmless} change nothing)")
    sys.exit(noticed < options.least / 100 * tried)


if __name__ == "__main__":
    main()
