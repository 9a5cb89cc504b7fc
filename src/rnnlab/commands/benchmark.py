"""``rnnlab benchmark [NAME…] [key=value …]``: experiments over several seeds, published numbers beside ours."""

import dataclasses
import shlex
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import RunMode

from rnnlab.commands import hydra_internals
from rnnlab.commands.arguments import guarded, load_execution, parser
from rnnlab.commands.composition import (
    COMPOSITION_ERRORS,
    Composer,
    create_hydra,
    explain,
    plain,
    run_mode,
)
from rnnlab.commands.hydra_internals import ROOT
from rnnlab.commands.list import describe, marked, needs
from rnnlab.configs import conf_directory, flat_keys
from rnnlab.errors import InputError, Interrupted, RunFailed, nearest
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.ending import status_of
from rnnlab.shell import command_line, shown_path
from rnnlab.store.files import replace
from rnnlab.store.status import State

if TYPE_CHECKING:
    from rnnlab.commands.engine import Leader
    from rnnlab.runs.benchmark_file import Benchmark, BenchmarkRun
    from rnnlab.runs.sweep import Job

FREE = ("trainer.progress", "trainer.num_threads", "trainer.checkpoint_seconds", "instruments")
"""Keys that change no score: runs that differ in nothing else are the same."""


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "benchmark",
        "Runs an experiment over several seeds and models and shows the scores beside published numbers and the "
        "trivial baseline. What was run before is not run again, so a stopped benchmark goes on by the same command.",
    )
    options.add_argument("arguments", metavar="NAME|key=value", nargs="*", help="none: list what there is")
    options.add_argument("--all", action="store_true", help="every benchmark, one after the other")
    options.add_argument("--seeds", type=int, metavar="N", help="seeds 0 … N-1 of each row (default: the benchmark's)")
    options.add_argument("--rows", metavar="ROW,…", help="only these rows of the table")
    options.add_argument("--at", metavar="VALUE,…", help="only these places of a curve")
    options.add_argument(
        "--peers", metavar="PYTHON", help="of an environment with darts and neuralforecast (make peers makes one)"
    )
    options.add_argument("--dir", metavar="DIR", default="outputs/benchmarks", help="holds a directory a benchmark")
    given = options.parse_intermixed_args(arguments)
    return guarded(lambda: benchmark(given))


def benchmark(given: Namespace) -> int:
    """Lists the benchmarks, or runs some.

    Raises:
        InputError: there is no such benchmark or row, or a key is wrong.
    """
    overrides = [argument for argument in given.arguments if "=" in argument]
    names = [argument for argument in given.arguments if "=" not in argument]
    files = {file.stem: file for file in sorted((conf_directory() / "benchmark").glob("*.yaml"))}
    if given.all and names:
        raise InputError(f"--all and {names[0]}: all benchmarks, or some by their names")
    if not names and not given.all:
        width = max(map(len, files))
        for name, file in files.items():
            print(f"  {name:{width}}  {describe(file)}{marked(needs(file))}")
            if line := stale(Path(given.dir) / name):
                print(f"  {'':{width}}  {line}")
        return 0
    for name in names:
        if name not in files:
            raise InputError(
                f"benchmark {name}: no such benchmark{nearest(name, files)} (there are {', '.join(files)})"
            )
    if given.seeds is not None and given.seeds < 1:
        raise InputError(f"--seeds {given.seeds}: at least 1")
    if not given.all:
        return max(run(name, files[name], given, overrides) for name in names)
    return max([_run_or_say(name, file, given, overrides) for name, file in files.items()])


def _run_or_say(name: str, file: Path, given: Namespace, overrides: Sequence[str]) -> int:
    """As :func:`run`; what can't be run, such as for want of an extra, is said, and the others go on."""
    try:
        return run(name, file, given, overrides)
    except InputError as error:
        print(f"{name}: left out: {error}", flush=True)
        return 1


def stale(root: Path) -> str:
    """Whether runs below a benchmark's directory were made by other code than is here now, in one line."""
    from rnnlab.runs.benchmark import made_otherwise
    from rnnlab.runs.provenance import provenance

    found = [RunDirectory(file.parent).status for file in sorted(root.rglob("status.json"))]
    return made_otherwise([status for status in found if status.state == "done"], provenance())


def run(name: str, file: Path, given: Namespace, overrides: Sequence[str]) -> int:
    """Runs what is missing of one benchmark, then prints, writes and draws it.

    Returns:
        1 if a run failed, else 0.

    Raises:
        Interrupted: a signal asked to stop; the same command goes on.
    """
    from rnnlab.commands.engine import of_jobs
    from rnnlab.runs.benchmark import run_ensembles
    from rnnlab.runs.benchmark_file import planned_runs, read_benchmark

    benchmark = read_benchmark(file)
    rows = _chosen(given.rows, list(benchmark.rows), "--rows")
    root = Path(given.dir) / name
    hydra = create_hydra()
    try:
        parsed = hydra_internals.parse(hydra, overrides)
        own = [str(override.input_line) for override in of_jobs(parsed)]
        around = [str(override.input_line) for override in parsed if override.input_line not in own]
        planned = planned_runs(benchmark, rows, given.seeds or benchmark.seeds, own)
        if given.at is not None:
            if benchmark.along is None or benchmark.along.key is None:
                raise InputError(f"--at {given.at}: {name} is no curve that is run place by place")
            places = _chosen(given.at, [str(value) for value in benchmark.along.values], "--at")
            planned = [run for run in planned if str(run.at) in places]
        leader, jobs = _compose(hydra, root, around, planned)
    except COMPOSITION_ERRORS as error:
        raise explain(error, hydra, overrides) from None
    print(f"{describe(file)}: {len(planned)} runs in {root}", flush=True)
    done = execute(leader, benchmark, planned, jobs)
    if leader.stop.signals:  # no further benchmark begins
        raise Interrupted(leader.stop.signals[0])
    if done:
        command = _command(name, overrides, given)
        ran = sorted({(run.at, run.seed) for run, _ in done}, key=str)
        rivals = run_rivals(benchmark, ran, own, root, given.peers)
        together = run_ensembles(benchmark, done, root / "ensembles.json", lambda line: print(line, flush=True))
        show(command, describe(file), benchmark, done, root, rivals, together)
    return 1 if len(done) < len(planned) else 0


def _command(name: str, overrides: Sequence[str], given: Namespace) -> str:
    """The command that makes the same table, which stands beside it."""
    flags = {"--seeds": given.seeds, "--rows": given.rows, "--at": given.at, "--peers": given.peers and "PYTHON"}
    typed = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
    return shlex.join(["rnnlab", "benchmark", name, *overrides, *typed])


def _compose(
    hydra: hydra_internals.Hydra, root: Path, around: Sequence[str], planned: Sequence["BenchmarkRun"]
) -> tuple["Leader", list["Job"]]:
    """The engine for a benchmark and the jobs that it is to run; nothing is written yet.

    Raises:
        InputError: a run was made with another config, or the launcher does not fit.
        HydraException: a config cannot be composed.
    """
    from rnnlab.commands.engine import Leader, our_launcher, settings_of
    from rnnlab.runs.sweep import SweepDirectory

    around = [*around, f"hydra.sweep.dir='{root.absolute()}'"]
    config = hydra.compose_config(ROOT, around, RunMode.MULTIRUN, with_log_configuration=True)
    composer = Composer(hydra.config_loader, config, ())
    jobs = [
        dataclasses.replace(composer.compose(number, run.overrides), name=run.place)
        for number, run in enumerate(planned)
    ]
    for job in jobs:
        check_same(RunDirectory(root / job.name), dict(job.config), job.overrides)
    launcher = our_launcher(config.hydra.launcher, None)
    if launcher is None or launcher.leaves:
        raise InputError(f"{around[0]}: a benchmark waits for its runs, with a launcher of rnnlab's: basic, local, …")
    launcher.begin()
    return Leader(SweepDirectory(root), composer, settings_of(config), launcher), jobs


def execute(
    leader: "Leader", benchmark: "Benchmark", planned: Sequence["BenchmarkRun"], jobs: Sequence["Job"]
) -> list[tuple["BenchmarkRun", RunDirectory]]:
    """Executes the jobs that are not done; returns those runs that are.

    Raises:
        InputError: a config cannot work, or somebody else is at work there.
    """
    from rnnlab.runs.sweep import SweepDirectory, is_sweep

    root = leader.directory.path
    if not is_sweep(root):
        facts = {"command": command_line(), "overrides": [], "varied": [], "sweeper": __name__}
        leader.directory = SweepDirectory.claim(root, facts, chosen=True, may_hold=[run.place for run in planned])
    watch = _watch(benchmark, planned, root)
    try:
        with leader.directory.lead():
            jobs = leader.numbered(jobs)
            left = [job for job in jobs if status_of(RunDirectory(root / job.name)).state != State.DONE]
            watch.total = len(left)
            if left:
                leader.check(left)
            leader.add(jobs)
            for job in jobs:
                if job not in left:
                    watch.tell_done(job.name, RunDirectory(root / job.name), ", from before")
            if left:
                with leader.stop.installed():
                    leader.execute(left, watch=watch)
    except (InputError, RunFailed):
        leader.directory.remove_if_unused()
        raise
    runs = [(run, RunDirectory(root / run.place)) for run in planned]
    return [(run, directory) for run, directory in runs if directory.status.state == State.DONE]


def _watch(benchmark: "Benchmark", planned: Sequence["BenchmarkRun"], root: Path) -> Any:
    """Tells of each run the score by which the benchmark compares."""
    from rnnlab.launch.watch import Watch

    labels, keys = {}, {}
    for number, run in enumerate(planned, 1):
        along = benchmark.along
        place = "" if run.at is None or along is None else f" {along.label}={run.at}"
        labels[run.place] = f"[{number}/{len(planned)}] {run.row}{place} seed {run.seed}"
        keys[run.place] = benchmark.scores(along.values[-1] if along is not None and along.key is None else run.at)

    class BenchmarkWatch(Watch):
        def ended(self, name: str) -> None:
            directory = self.forget(name)
            status = status_of(directory)
            self.states[status.state] += 1
            if status.state == State.DONE:
                self.tell_done(name, directory)
            else:
                log = f"{shown_path(directory.path)}/train.log"
                self.say(f"{labels[name]}: {status.state}: {status.reason}  (log: {log})")

        def tell_done(self, name: str, directory: RunDirectory, when: str = "") -> None:
            metrics = directory.metrics
            if keys[name] not in metrics:
                raise InputError(f"{root.name}: {keys[name]} is no score of its runs ({', '.join(metrics)})")
            score = benchmark.shown(metrics[keys[name]])
            self.say(f"{labels[name]}: {score}  ({metrics['seconds']:.1f} s{when})")

    return BenchmarkWatch(root, 0)


def run_rivals(
    benchmark: Any,
    places: Sequence[tuple[Any, int]],
    overrides: Sequence[str],
    root: Path,
    peers: str | None = None,
) -> list[Any]:
    """What other packages reach at these places and seeds: ``rivals.json`` keeps what was run before.

    Returns:
        A :class:`rnnlab.runs.benchmark.Cell` for each rival and place.
    """
    from rnnlab.runs.benchmark import gather, read_scores
    from rnnlab.runs.rivals import rival
    from rnnlab.store import json_text

    known = read_scores(root / "rivals.json") if benchmark.rivals else {}
    cells: dict[tuple[str, Any], list[tuple[int, dict[str, float]]]] = {}
    for name, which in benchmark.rivals.items():
        for at, seed in places:
            key = f"{which} {at} {seed}"
            if key not in known:
                place = [] if at is None else [f"{benchmark.along.key}={at}"]
                config = compose([[*benchmark.always, *place, *overrides, f"seed={seed}"]])[0]
                load_execution()
                from rnnlab.runs.preparation import build_data

                try:
                    known[key] = rival(which, peers)(build_data(config), seed)
                except InputError as error:
                    print(f"{name}: left out: {error}", flush=True)
                    break
                replace(root / "rivals.json", json_text.dump(known, indent=2) + "\n")
                print(f"{name} {at} seed {seed}: {benchmark.shown(known[key][benchmark.scores(at)])}", flush=True)
            cells.setdefault((name, at), []).append((seed, known[key]))
    return list(gather(cells))


def _chosen(given: str | None, known: list[str], option: str) -> list[str]:
    if given is None:
        return known
    chosen, parts = [], given.split(",")
    while parts:
        # a name may have commas itself: the longest that fits is meant
        ends = (end for end in range(len(parts), 0, -1) if ",".join(parts[:end]).strip() in known)
        end = next(ends, None)
        if end is None:
            name = parts[0].strip()
            raise InputError(f"{option} {name}: no such one{nearest(name, known)} (there are {'; '.join(known)})")
        chosen.append(",".join(parts[:end]).strip())
        parts = parts[end:]
    return chosen


def compose(jobs: Sequence[list[str]]) -> list[dict[str, Any]]:
    """The config of each job.

    Raises:
        InputError: a key or choice is wrong.
    """
    hydra = create_hydra()
    overrides: list[str] = []
    try:
        return [plain(hydra.config_loader.load_configuration(ROOT, overrides := job, run_mode())) for job in jobs]
    except COMPOSITION_ERRORS as error:
        raise explain(error, hydra, overrides) from None


def check_same(directory: RunDirectory, config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Refuses a directory whose run was made with another config. A key that there was not yet when it was made says
    nothing else now, unless an override names it.

    Raises:
        InputError: saying what differs.
    """
    if not (directory.path / "config.yaml").exists():
        return
    before = directory.config
    known = {*flat_keys(before), *(override.partition("=")[0].lstrip("+~") for override in overrides)}
    for key in [*flat_keys(before), *flat_keys(config)]:
        ours, theirs = _at(config, key), _at(before, key)
        if key in known and ours != theirs and not isinstance(ours, dict) and not key.startswith(FREE):
            raise InputError(
                f"{shown_path(directory.path)} was run with {key}={theirs}, and now it is {ours}: "
                "nothing is overwritten, choose another --dir"
            )


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def show(
    command: str,
    description: str,
    benchmark: Any,
    done: Sequence[tuple[Any, RunDirectory]],
    root: Path,
    rivals: Sequence[Any] = (),
    ensembles: Sequence[Any] = (),
) -> None:
    """Prints the comparison and writes ``table.md``, ``scores.csv`` and ``plot.png`` into the benchmark's directory."""
    from rich.table import Table

    from rnnlab.instruments.console import console
    from rnnlab.runs.benchmark import collect, made_otherwise, write_scores
    from rnnlab.runs.benchmark_plot import draw
    from rnnlab.runs.benchmark_table import markdown, table
    from rnnlab.runs.provenance import provenance
    from rnnlab.store.files import replacing

    result = collect(benchmark, done, rivals, ensembles)
    heading, rows = table(result)
    shown = Table(title=description, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for number, column in enumerate(heading):
        shown.add_column(column, justify="left" if number in (0, len(heading) - 1) else "right")
    for row in rows:
        shown.add_row(*row, style=None if row[-1].startswith("ours") else "dim")
    out = console()
    out.print()
    out.print(shown)
    if result.verdict():
        out.print(result.verdict())
    for line in (result.rank(), result.order()):
        if line:
            out.print(line)
    out.print(f"tuned: {benchmark.tuned}", highlight=False)
    old = made_otherwise([directory.status for _, directory in done], provenance())
    if old:
        out.print(old, style="yellow", highlight=False)
    status = done[0][1].status
    versions = status.versions
    machine = (
        f"Machine: {status.device or 'unknown'}, {status.threads or '?'} thread(s) a run; "
        f"rnnlab {versions.get('rnnlab')}, torch {versions.get('torch')}, commit "
        f"{str(status.git.get('commit'))[:9]}, {time.strftime('%Y-%m-%d')}."
    ) + (f" {old}" if old else "")
    together = max(directory.status.fleet or 1 for _, directory in done)
    if together > 1:
        machine += f" Up to {together} runs were trained together as a fleet: their seconds are those of all of it."
    replace(root / "table.md", markdown(result, description, command, machine))
    write_scores(root / "scores.csv", done)
    with replacing(root / "plot.png") as temporary:
        draw(result, description).savefig(temporary, format="png")
    out.print(f"written to {shown_path(root.absolute())}/: table.md, scores.csv, plot.png")
