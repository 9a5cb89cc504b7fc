"""``rnnlab predict RUN… [--input FILE]``: what trained runs say of new data, or of their test data, as a table."""

import contextlib
import csv
import itertools
import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnlab.commands.arguments import (
    Parser,
    add_allow,
    add_device,
    add_format,
    add_runs,
    guarded,
    load_execution,
    parser,
    places_and_overrides,
    trusting,
)
from rnnlab.commands.changed import naming, override
from rnnlab.commands.together import Rule, check_together
from rnnlab.errors import InputError
from rnnlab.files.source import find
from rnnlab.runs.directory import RunDirectory
from rnnlab.shell import pasted, shown_path
from rnnlab.use.members import members, runs_of_folds
from rnnlab.use.options import check_device, check_output, check_positive, check_share

if TYPE_CHECKING:
    from rnnlab.use.predictor import TrainedRun

SEARCH = ("beam", "nbest", "length_penalty")
"""Options of a search for what is said."""
NEW = ("steps", "horizon", "format", "batch_size", "language_model", "anomalies", *SEARCH)
"""Options of new data."""
RULES = (
    Rule("language_weight", "weighs what a language model says: give --language-model RUN", needs=("language_model",)),
    Rule("quantile", "is of --anomalies: add that, or leave it out", needs=("anomalies",)),
    Rule("force", "overwrites a file: give --output FILE", needs=("output",)),
    Rule(
        "describe", "a description says what is read, and reads nothing; leave one out",
        without=("input", "stream", "output", "out_of_fold", *NEW),
    ),
    Rule("out_of_fold", "it is of one sweep's own test data; leave one out", without=("input", "stream", *NEW)),
    *(
        Rule(name, "is for new data: give --input FILE, or - for the standard input", needs=("input", "stream"))
        for name in NEW
    ),
    Rule(
        "stream", "what is said at once is not searched for; leave one out", without=("language_model",)
    ),
    Rule(
        "stream", "a stream has one prediction a line, and tells JSON by itself",
        without=("steps", "horizon", "format", "batch_size", "anomalies"),
    ),
    Rule("stream", "a stream is printed as it comes: > FILE", without=("output",)),
    Rule(
        "anomalies", "each step is looked at; leave one out",
        without=("steps", "horizon", "batch_size", "language_model", *SEARCH),
    ),
    Rule("length_penalty", "is of a search: give --beam N, too", needs=("beam", "nbest")),
)  # fmt: skip
BATCH_SIZE, LANGUAGE_WEIGHT = 256, 0.5


def command_line() -> Parser:
    """What the verb takes."""
    options = parser(
        "predict",
        "Predicts new data in the data's own units and names, or else the run's test data, with the truth beside it. "
        "Several runs, or a sweep's best configuration with all its seeds, predict together. "
        "rnnlab predict RUN --describe says what the run reads, with an example.",
    )
    add_runs(options)
    options.add_argument(
        "--input", metavar="FILE", help="new data, or a folder of such files; - for the standard input"
    )
    add_format(options)
    options.add_argument("--output", metavar="FILE", help=".csv, .jsonl or .parquet (default: - for CSV)")
    options.add_argument("--horizon", metavar="N", type=int, help="steps ahead of a forecast (default: as trained)")
    options.add_argument(
        "--out-of-fold",
        action="store_true",
        help="of a sweep over data.fold: what each run says of the fold that it was not trained on",
    )
    options.add_argument("--steps", action="store_true", help="a prediction at each step, as if it were the last")
    options.add_argument(
        "--anomalies",
        action="store_true",
        help="of a run that forecasts or rebuilds numbers: how unusual each step is, by its validation errors",
    )
    options.add_argument(
        "--quantile", metavar="Q", type=float, help="of the validation scores, above which a step is an anomaly (0.99)"
    )
    options.add_argument(
        "--stream", action="store_true", help="a line in, a prediction out, at once; the state is carried"
    )
    options.add_argument("--batch-size", metavar="N", type=int, help="sequences side by side (256)")
    options.add_argument("--beam", metavar="N", type=int, help="of a search for what is said (1: greedy)")
    options.add_argument("--nbest", metavar="N", type=int, help="so many of what it finds, the best first (1)")
    options.add_argument(
        "--length-penalty", metavar="X", type=float, help="above 0 the search prefers longer sequences (0)"
    )
    options.add_argument(
        "--language-model", metavar="RUN", help="of task=language_modeling: chooses among what a search finds"
    )
    options.add_argument("--language-weight", metavar="X", type=float, help="of its logarithmic probability (0.5)")
    add_device(options)
    options.add_argument("--describe", action="store_true", help="say what the run reads, with an example")
    options.add_argument("--force", action="store_true", help="overwrite the output")
    add_allow(options)
    return options


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    given = command_line().parse_intermixed_args(arguments)
    places, overrides = places_and_overrides(given.arguments)
    return guarded(lambda: predict(places, overrides, given))


def predict(places: Sequence[str], overrides: list[str], given: Namespace) -> int:
    """Writes the predictions.

    Raises:
        InputError: it is no run with a checkpoint, the input is not what it reads, runs cannot predict together, or
            the file cannot be written.
    """
    if not places:
        raise InputError(f"predict: name a run directory ({pasted('predict', '--help')})")
    is_new = given.input is not None or given.stream
    check_positive("horizon", given.horizon)
    check_positive("batch-size", given.batch_size)
    check_positive("beam", given.beam)
    check_positive("nbest", given.nbest)
    check_device(given.device)
    if given.quantile is not None:
        check_share("quantile", given.quantile)
    if given.output == "-":  # as if nobody said so
        given.output = None
    check_together(given, RULES)
    if (is_new or given.describe) and overrides:
        raise InputError(f"{overrides[0]}: new data is read as the training data was; leave it out, or --input")
    if not is_new and not given.describe and given.device not in ("cpu", "auto"):
        raise InputError(f"--device {given.device} is for new data (--input FILE): the CPU predicts test data")
    if given.input is not None:
        find(given.input)
    if given.output is not None:
        check_output(Path(given.output), given.force)
    if given.out_of_fold:
        if overrides or len(places) > 1:
            raise InputError("--out-of-fold is of one sweep's own test data: leave other runs and overrides out")
        return predict_folds(places[0], given)
    runs = members(places, quiet=True)
    if not is_new and not given.describe:
        return predict_test(runs, overrides, given)
    for run in runs:
        if run.status.state != "done":
            print(f"{shown_path(run.path)} is {run.status.state}: its best weights so far predict", file=sys.stderr)
    load_execution()
    from rnnlab.runs.ensemble import Member
    from rnnlab.use.trained import open_runs

    write = _output(given)
    model = open_runs([Member(run, run.config) for run in runs], given.allow, given.device)
    batch_size = given.batch_size or BATCH_SIZE
    model.use_threads(1 if given.stream else batch_size)
    wished = {name: value for name in SEARCH if (value := getattr(given, name)) is not None}
    if wished:
        model.searching(**wished)
    if given.language_model is not None:
        language = [Member(run, run.config) for run in members([given.language_model], quiet=True)]
        weight = LANGUAGE_WEIGHT if given.language_weight is None else given.language_weight
        model.rescoring(open_runs(language, given.allow, given.device), weight)
    if given.describe:
        print(model.describe())
    elif given.anomalies:
        from rnnlab.anomalies.errors import QUANTILE

        quantile = given.quantile or QUANTILE
        write(model.anomalies_file(given.input, given.format, quantile))
        usual = model.detector.usual
        if usual.rank(quantile) > len(usual.scores):
            print(
                f"--quantile {quantile:g}: the validation part has {len(usual.scores)} scores, too few to tell it: the "
                "threshold is the largest of them",
                file=sys.stderr,
            )
    elif given.stream:
        stream(model, given.input or "-")
    else:
        write(model.predict_file(given.input, given.format, given.horizon, given.steps, batch_size))
    return 0


def predict_test(runs: Sequence[RunDirectory], overrides: list[str], given: Namespace) -> int:
    """Predicts the test data of the first run's config, with the truth beside it.

    Raises:
        InputError: as :func:`predict`, or an override cannot work.
    """
    configs = [override(run.config, overrides, run) for run in runs]
    load_execution()
    from rnnlab.runs.ensemble import Member, join, load
    from rnnlab.use.prediction import predictions

    write = _output(given)
    with naming(overrides, runs[0]):
        loaded = load([Member(*each) for each in zip(runs, configs, strict=True)], trusting(given.allow, overrides))
    write(predictions(join(loaded) if len(loaded) > 1 else loaded[0]))
    return 0


def predict_folds(sweep: str, given: Namespace) -> int:
    """Predicts the test data of each fold by the run that was not trained on it.

    Raises:
        InputError: as :func:`predict`, or the sweep has no folds.
    """
    runs = runs_of_folds(sweep)
    load_execution()
    from rnnlab.runs.ensemble import Member, load
    from rnnlab.use.prediction import out_of_fold

    write = _output(given)
    loaded = ((fold, seed, load([Member(run, run.config)], given.allow)[0]) for fold, seed, run in runs)
    write(out_of_fold(loaded))
    return 0


def _output(given: Namespace) -> Any:
    """What takes the tables."""
    from rnnlab.use.prediction import show, write

    if given.output is None:
        return show
    return lambda tables: print(f"{write(tables, Path(given.output)):,} rows written to {given.output}")


def stream(model: "TrainedRun", place: str) -> None:
    """Prints a prediction for each line as it comes: CSV, or JSON where the lines are.

    Raises:
        InputError: a line cannot be read.
    """
    rows, as_json = model.stream_of(place), False
    if rows is None:
        name = "standard input" if place == "-" else f"--input {place}"
        lines = _lines(place, name)
        first = next(lines, None)
        if first is None:
            raise InputError(f"{name} is empty")
        as_json = first.lstrip()[:1] in ("{", "[")
        rows = model.stream(itertools.chain([first], lines), name)
    out = csv.writer(sys.stdout, lineterminator="\n")
    header: list[str] = []
    try:
        for row in rows:
            if as_json:
                print(json.dumps({key: _finite(value) for key, value in row.items()}, ensure_ascii=False), flush=True)
                continue
            if not header:
                header = list(row)
                out.writerow(header)
            out.writerow([_finite(value, "") for value in row.values()])
            sys.stdout.flush()
    except InputError:
        sys.stdout.flush()
        raise


def _lines(place: str, name: str) -> Iterator[str]:
    from rnnlab.files.lines import decode

    try:
        with contextlib.nullcontext(sys.stdin.buffer) if place == "-" else open(place, "rb") as source:
            for number, line in enumerate(source, 1):
                yield decode(line, f"{name}, line {number}", number == 1)
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _finite(value: Any, otherwise: Any = None) -> Any:
    """As JSON can say it: a number that is none is ``null``."""
    return otherwise if isinstance(value, float) and not math.isfinite(value) else value
