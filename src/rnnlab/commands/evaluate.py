"""``rnnlab evaluate RUN… [key=value …]``: weights on their test data, or on other data; several runs together."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnlab.commands.arguments import (
    add_allow,
    add_runs,
    guarded,
    load_execution,
    parser,
    places_and_overrides,
    trusting,
)
from rnnlab.commands.changed import naming, override
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.shell import pasted, shown_path
from rnnlab.store import json_text
from rnnlab.store.clock import now
from rnnlab.store.files import replace
from rnnlab.use.members import members, runs_by_fold


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "evaluate",
        "Tests a run's best weights, with the run's own config or some of it changed; of several runs, or of the best "
        "configuration of a sweep with all its seeds, each one and all of them together; of a sweep over folds, each "
        "part by the runs that have not seen it.",
    )
    add_runs(options)
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="short for trainer.accelerator=… (default: as in training)"
    )
    add_allow(options)
    given = options.parse_intermixed_args(arguments)
    places, overrides = places_and_overrides(given.arguments)
    return guarded(lambda: evaluate(places, overrides, given.allow, given.device))


def evaluate(places: Sequence[str], overrides: list[str], allow: list[str], device: str | None = None) -> int:
    """Prints the scores and keeps them under ``evaluations/`` in the first directory.

    Raises:
        InputError: it is no run with a checkpoint, an override cannot work, or runs cannot predict together.
    """
    if not places:
        raise InputError(f"evaluate: name a run directory ({pasted('evaluate', '--help')})")
    allow = trusting(allow, overrides)
    if len(places) == 1 and (folds := runs_by_fold(places[0])):
        return evaluate_folds(places[0], folds, overrides, allow, device)
    runs = members(places)
    load_execution()
    configs = _configs(runs, overrides, device)
    from rnnlab.commands.outcome import ensemble_table, score_table
    from rnnlab.commands.printed_verdict import print_verdict
    from rnnlab.instruments.console import console
    from rnnlab.runs.ensemble import Member, evaluate_together
    from rnnlab.runs.evaluation import evaluate_and_judge

    changed = f" with {' '.join(overrides)}" if overrides else ""
    kept: dict[str, Any]
    if len(runs) == 1:
        with naming(overrides, runs[0]):
            scores, verdict = evaluate_and_judge(configs[0], runs[0], allow)
        title = f"Test of {shown_path(runs[0].path)}{changed}"
        console().print(score_table(scores, title, runs[0].status.baseline))
        print_verdict(verdict, runs[0].path)
        kept = {"overrides": overrides, "metrics": scores, "verdict": verdict.plain()}
        home = runs[0].path
    else:
        with naming(overrides, runs[0]):
            together = evaluate_together([Member(*each) for each in zip(runs, configs, strict=True)], allow)
        title = f"Test of {len(runs)} runs of {', '.join(places)}{changed}"
        console().print(ensemble_table(together, title))
        kept = {
            "overrides": overrides,
            "metrics": together.ensemble,
            "members": {str(run.path): scores for run, scores in zip(runs, together.members, strict=True)},
        }
        home = Path(places[0])
    return _keep(home, kept)


def evaluate_folds(
    sweep: str,
    folds: Mapping[int, Sequence[RunDirectory]],
    overrides: list[str],
    allow: list[str],
    device: str | None = None,
) -> int:
    """The ensemble of the folds of a sweep: each part of the data is predicted by the runs that have not seen it, the
    seeds of a fold together. Prints mean and interval over the folds and keeps them in the sweep's directory.

    Raises:
        InputError: as :func:`evaluate`.
    """
    load_execution()
    from rnnlab.commands.outcome import folds_table
    from rnnlab.instruments.console import console
    from rnnlab.runs.ensemble import Member, evaluate_together
    from rnnlab.runs.evaluation import evaluate as test

    scores = {}
    for fold, runs in folds.items():
        configs = _configs(runs, overrides, device)
        with naming(overrides, runs[0]):
            if len(runs) == 1:
                scores[fold] = test(configs[0], runs[0], allow)
            else:
                together = evaluate_together([Member(*each) for each in zip(runs, configs, strict=True)], allow)
                scores[fold] = together.ensemble
    seeds = max(map(len, folds.values()))
    changed = f" with {' '.join(overrides)}" if overrides else ""
    title = (
        f"Test of {len(folds)} folds of {sweep}, each by {'a run' if seeds == 1 else f'{seeds} seeds together'} that "
    )
    console().print(folds_table(scores, f"{title}{'has' if seeds == 1 else 'have'} not seen it{changed}"))
    kept = {"overrides": overrides, "folds": {str(fold): of_fold for fold, of_fold in scores.items()}}
    return _keep(Path(sweep), kept)


def _configs(runs: Sequence[RunDirectory], overrides: list[str], device: str | None) -> list[dict[str, Any]]:
    """Of the runs as they are to be tested."""
    configs = [override(run.config, overrides, run) for run in runs]
    if device is None:
        return configs
    from rnnlab.runs.trainer import find_device

    accelerator = find_device(device).type
    return [{**config, "trainer": {**config["trainer"], "accelerator": accelerator}} for config in configs]


def _keep(home: Path, kept: Mapping[str, Any]) -> int:
    folder = home / "evaluations"
    file = folder / f"{now().replace(':', '-')}.json"
    try:
        replace(file, json_text.dump(kept, indent=2) + "\n", inside=home)
    except (OSError, InputError) as error:  # somebody else's run, or a full disk: the scores are told all the same
        why = f"{shown_path(folder.absolute())}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"rnnlab: not kept: {why}", file=sys.stderr)
        return 0
    print(f"kept in {shown_path(file.absolute())}")
    return 0
