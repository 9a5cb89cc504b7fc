"""``rnnlab predict RUN… [key=value …]``: what trained runs say of their test data, or of other data, as a table."""

from collections.abc import Sequence
from pathlib import Path

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.commands.evaluate import add_runs, members, override, places_and_overrides
from rnnlab.errors import InputError


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "predict",
        "Predicts the test data of a run, or other data that is named by key=value, as a table with the truth beside "
        "it. Several runs, or a sweep's best configuration with all its seeds, predict together.",
    )
    add_runs(options)
    options.add_argument("--output", metavar="FILE", default="-", help=".csv, .jsonl or .parquet (default: - for CSV)")
    options.add_argument("--force", action="store_true", help="overwrite FILE")
    add_allow(options)
    given = options.parse_intermixed_args(arguments)
    places, overrides = places_and_overrides(given.arguments)
    return guarded(lambda: predict(places, overrides, given.output, given.force, given.allow))


def predict(places: Sequence[str], overrides: list[str], output: str, force: bool, allow: list[str]) -> int:
    """Writes the predictions.

    Raises:
        InputError: it is no run with a checkpoint, runs cannot predict together, or the file cannot be written.
    """
    if not places:
        raise InputError("predict: name a run directory (rnnlab predict --help)")
    runs = members(places, quiet=True)
    configs = [override(run.config, overrides) for run in runs]
    load_execution()
    from rnnlab.runs.ensemble import Member, join, load
    from rnnlab.runs.prediction import check_output, predictions, show, write

    if output != "-":
        check_output(Path(output), force)
    loaded = load([Member(*each) for each in zip(runs, configs, strict=True)], allow)
    tables = predictions(join(loaded) if len(loaded) > 1 else loaded[0])
    if output == "-":
        show(tables)
    else:
        print(f"{write(tables, Path(output)):,} rows written to {output}")
    return 0
