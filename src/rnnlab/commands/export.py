"""``rnnlab export RUN``: one file that is served without rnnlab, checked against the run."""

import sys

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import visible
from rnnlab.runs.directory import RunDirectory
from rnnlab.shell import shown_path
from rnnlab.use.export.target import choose_target
from rnnlab.use.members import members


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "export",
        "Writes a run's network, with its best weights, as one file for any batch and any length, its state handed in "
        "and out, and a JSON beside it with all that a server must know. The file is run and held against the run "
        "first, at several sizes; where they differ nothing is written.",
    )
    options.add_argument("run", metavar="RUN", help="a run directory, or a sweep's: its best run")
    options.add_argument("--format", metavar="FORMAT", help="onnx (default) or pt2, torch.export's")
    options.add_argument("--output", metavar="FILE", help="*.onnx or *.pt2 (default: RUN/export/model.onnx)")
    options.add_argument(
        "--int8",
        action="store_true",
        help="weights as whole numbers of 8 bits, in ONNX; says what that costs on the test data",
    )
    options.add_argument("--force", action="store_true", help="replace the files")
    add_allow(options)
    given = options.parse_args(arguments)
    return guarded(lambda: export(given.run, given.format, given.output, given.force, given.allow, given.int8))


def export(
    place: str, format: str | None, output: str | None, force: bool, allow: list[str], int8: bool = False
) -> int:
    """Exports, and prints what was tried.

    Raises:
        InputError: it is no run with a checkpoint, or the target is none that can be written.
        RunFailed: the network cannot be exported, or the file does not say what the run says.
    """
    directory = best(members([place]))
    config = directory.config
    target = choose_target(directory.path, format, output, force, int8)
    if directory.status.state != "done":
        print(f"rnnlab: {place} is {directory.status.state}: exporting its best weights so far", file=sys.stderr)
    load_execution()
    from rnnlab.commands.outcome import export_table
    from rnnlab.instruments.console import console
    from rnnlab.runs.ensemble import Member, load
    from rnnlab.use.export.artifact import export as export_run
    from rnnlab.use.export.artifact import versions

    (run,) = load([Member(directory, config)], allow)
    verdict = export_run(run, directory, target)
    out = console()
    out.print(export_table(verdict.cases, target.format))
    out.print(
        f"Largest error {verdict.absolute:.1e}, {verdict.relative:.1e} of the largest value "
        f"(at most {verdict.limit:.0e})"
    )
    if verdict.loss is not None:
        out.print(f"With 8 bits: {verdict.loss}", markup=False)
    out.print(", ".join(f"{name} {number}" for name, number in versions(target.format).items()))
    size = target.path.stat().st_size
    out.say("File       ", f"{shown_path(target.path.absolute())} ({size / 1024:,.0f} KB)")
    out.say("Description", shown_path(target.description.absolute()))
    return 0


def best(runs: list[RunDirectory]) -> RunDirectory:
    """Of several seeds the one that is best on validation."""
    if len(runs) == 1:
        return runs[0]
    monitor, mode = runs[0].config["monitor"], runs[0].config["mode"]
    chosen = (min if mode == "min" else max)(runs, key=lambda run: run.metrics[monitor])
    print(f"of its {len(runs)} seeds the best on {monitor} is {visible(chosen.path.name)}")
    return chosen
