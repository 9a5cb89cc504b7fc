"""Mutation testing: small faults are put into the source, and the tests must notice them (``make mutants``).

mutmut makes the faults and runs the fast tests that reach each of them; ``[tool.mutmut]`` in pyproject.toml says in
which files and by which tests. This draws a sample, runs it, has the slow tests of the same files look at what the fast
ones did not notice, and prints those that nobody noticed. What a fault cannot change (an equivalent mutant) stands in
``mutants.yaml`` beside this, with the reason.

    python tests/mutants.py --sample 300 --seed 0
    python tests/mutants.py --sample 300 --seed 0 --again      # only those of the sample that were not noticed before
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
MADE = ROOT / "mutants"
EQUIVALENT = Path(__file__).with_suffix(".yaml")
PLUGIN = ROOT / "tests"
"""Where pytest finds ``quickest_first``; its copy is not there yet when the first process starts."""
FIRST = "rnnlab.runs.estimates.x_holm__mutmut_1"
PATIENCE = 1200
"""Seconds for the slow tests of one mutant."""
MUTMUT = [sys.executable, "-m", "mutmut"]

SURVIVED, UNREACHED = 0, 33
"""Exit codes of a mutant that lives: all tests passed, or none reaches it."""
PASSED = frozenset({SURVIVED, 5})
"""Of the slow tests: there may be none."""
NOTICED = frozenset({1, 2, 3, -11, -6})
"""A test failed; pytest was interrupted by an error of collection, or fell over; the process crashed. Every other code
says that the tests did not come to an end: a limit of time, or of memory."""


def environment() -> dict[str, str]:
    """One thread each, as the tests themselves run, and the plugin."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _path(PLUGIN)}


def in_processes(variables: dict[str, str]) -> dict[str, str]:
    """With the mutants in the processes that tests start, too. Not while mutmut learns which tests reach what: it
    looks for its own settings in the current directory of each.
    """
    return variables | {"PYTHONPATH": _path(MADE / "src", PLUGIN)}


def _path(*places: Path) -> str:
    return os.pathsep.join([*map(str, places), *filter(None, [os.environ.get("PYTHONPATH")])])


def mutmut(*arguments: str, variables: dict[str, str] | None = None) -> str:
    """What a command of mutmut prints."""
    done = subprocess.run(
        [*MUTMUT, *arguments], cwd=ROOT, env=variables or environment(), capture_output=True, text=True
    )
    if done.returncode:
        # without the lines that turn a wheel, a thousand of which hide what failed
        said = "\n".join(line for line in done.stdout.splitlines() if not re.match("[\u2800-\u28ff] ", line))
        sys.exit(f"mutmut {' '.join(arguments[:2])} failed:\n{said[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def results() -> dict[str, int | None]:
    """By the name of each mutant, the exit code of its tests; None where it has not run."""
    codes: dict[str, int | None] = {}
    for file in sorted(MADE.rglob("*.meta")):
        codes |= json.loads(file.read_text())["exit_code_by_key"]
    return codes


def function(name: str) -> str:
    """The dotted name of the function that a mutant is of."""
    module, _, mangled = name.rpartition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


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


def rooms(name: str) -> list[str]:
    """The test files in which a test reaches a mutant; where none does, those that reach another function of its
    module: they may reach it in a process that they start.
    """
    reached = json.loads((MADE / "mutmut-stats.json").read_text())["tests_by_mangled_function_name"]
    mangled = name.rpartition("__mutmut_")[0]
    module = mangled.rpartition(".")[0]
    tests = reached.get(mangled) or [
        test for other, tests in reached.items() if other.rpartition(".")[0] == module for test in tests
    ]
    return sorted({test.partition("::")[0] for test in tests})


def slow_tests(name: str, files: Sequence[str]) -> int | None:
    """The exit code of the slow tests of these files; None where they took too long."""
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-q", "-x"]
    command += ["-m", "slow and not exhaustive", *files]
    variables = in_processes({**environment(), "MUTANT_UNDER_TEST": name})
    try:
        # what is printed goes nowhere: processes that outlive their test would hold a pipe open
        quiet = subprocess.DEVNULL
        return subprocess.run(command, cwd=MADE, env=variables, stdout=quiet, stderr=quiet, timeout=PATIENCE).returncode
    except subprocess.TimeoutExpired:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="a regular expression that their names must match")
    parser.add_argument("--again", action="store_true", help="run only those that were not noticed before")
    parser.add_argument("--fast", action="store_true", help="without the slow tests")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--least", type=float, default=95, help="percent that must be noticed")
    options = parser.parse_args()

    known = results()
    # a first mutant makes all of them and learns which tests reach which function; a later call finds that done
    print("making the mutants, and finding out which tests reach them: minutes", flush=True)
    mutmut("run", "--max-children", str(options.processes), FIRST if FIRST in known or not known else next(iter(known)))
    names = [name for name in sorted(results()) if re.search(options.only, name)]
    if options.sample and options.sample < len(names):
        names = sorted(random.Random(options.seed).sample(names, options.sample))
    print(f"{len(names)} mutants of {len(results())}, seed {options.seed}", flush=True)

    def run(chosen: Sequence[str], processes: int) -> None:
        if chosen:
            mutmut("run", "--max-children", str(processes), *chosen, variables=in_processes(environment()))

    codes = results()
    run([name for name in names if not options.again or codes[name] not in NOTICED], options.processes)
    # what a busy machine did not let come to an end is tried again, one at a time
    codes = results()
    run([name for name in names if codes[name] not in {*NOTICED, SURVIVED, UNREACHED}], 1)

    codes, why = results(), reasons()
    endless = [name for name in names if codes[name] not in {*NOTICED, SURVIVED, UNREACHED}]
    alive = [name for name in names if codes[name] in (SURVIVED, UNREACHED)]
    changes = {name: change(name) for name in alive}
    harmless = [name for name in alive if (function(name), *changes[name]) in why]
    slow = survivors = 0
    by_slow_tests: dict[str, list[str]] = {}
    if not options.fast:
        by_slow_tests = {name: rooms(name) for name in alive if name not in harmless}
        files = sorted({file for room in by_slow_tests.values() for file in room})
        if files and slow_tests("", files) not in PASSED:
            sys.exit(f"slow tests fail without any mutant: {' '.join(files)}")
    for name in alive:
        if name in harmless:
            continue
        if by_slow_tests.get(name) and slow_tests(name, by_slow_tests[name]) in NOTICED:
            slow += 1
            print(f"\n{name}: noticed by a slow test", flush=True)
            continue
        survivors += 1
        print(f"\n{name}: {'no test reaches it' if codes[name] == UNREACHED else 'not noticed'}")
        old, new = changes[name]
        print("\n".join(f"  - {line}" for line in old.splitlines()))
        print("\n".join(f"  + {line}" for line in new.splitlines()), flush=True)
    for name in endless:
        print(f"\n{name}: its tests come to no end (exit code {codes[name]})")
    tried = len(names) - len(harmless)
    noticed = tried - survivors
    percent = 100 * noticed / max(tried, 1)
    print(
        f"\n{noticed} of {tried} mutants were noticed, {percent:.1f} % ({slow} of them by slow tests alone, "
        f"{len(endless)} by tests that come to no end; {len(harmless)} more change nothing)"
    )
    sys.exit(noticed < options.least / 100 * tried)


if __name__ == "__main__":
    main()
