"""``rnnlab evaluate RUN… [key=value …]``: weights on their test data, or on other data; several runs together."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import InputError
from rnnlab.runs.members import members as members
from rnnlab.shell import pasted, shown_path
from rnnlab.store import json_text
from rnnlab.store.files import replace
from rnnlab.store.times import now


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "evaluate",
        "Tests a run's best weights, with the run's own config or some of it changed; of several runs, or of the best "
        "configuration of a sweep with all its seeds, each one and all of them together.",
    )
    add_runs(options)
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="short for trainer.accelerator=… (default: as in training)"
    )
    add_allow(options)
    given = options.parse_intermixed_args(arguments)
    places, overrides = places_and_overrides(given.arguments)
    return guarded(lambda: evaluate(places, overrides, given.allow, given.device))


def add_runs(options: ArgumentParser) -> None:
    """Adds the runs and the overrides, in any order."""
    options.add_argument(
        "arguments",
        metavar="RUN|key=value",
        nargs="+",
        help="a run directory, several, or a sweep's; and what is to be other than in the run's config, such as "
        "data.noise=0.2 or trainer=cpu",
    )


def places_and_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Directories, and what else has the form ``key=value``; a directory may have an equals sign in its name."""
    overrides = [each for each in arguments if "=" in each and not os.path.exists(each)]
    return [each for each in arguments if each not in overrides], overrides


def evaluate(places: Sequence[str], overrides: list[str], allow: list[str], device: str | None = None) -> int:
    """Prints the scores and keeps them under ``evaluations/`` in the first directory.

    Raises:
        InputError: it is no run with a checkpoint, an override cannot work, or runs cannot predict together.
    """
    if not places:
        raise InputError(f"evaluate: name a run directory ({pasted('evaluate', '--help')})")
    allow = trusting(allow, overrides)
    runs = members(places)
    configs = [override(run.config, overrides) for run in runs]
    load_execution()
    if device is not None:
        from rnnlab.runs.trainer import find_device

        accelerator = find_device(device).type
        configs = [{**config, "trainer": {**config["trainer"], "accelerator": accelerator}} for config in configs]
    from rnnlab.commands.outcome import ensemble_table, score_table
    from rnnlab.commands.verdict import print_verdict
    from rnnlab.instruments.console import console
    from rnnlab.runs.ensemble import Member, evaluate_together
    from rnnlab.runs.execution import evaluate_and_judge

    changed = f" with {' '.join(overrides)}" if overrides else ""
    kept: dict[str, Any]
    if len(runs) == 1:
        scores, verdict = evaluate_and_judge(configs[0], runs[0], allow)
        title = f"Test of {shown_path(runs[0].path)}{changed}"
        console().print(score_table(scores, title, runs[0].status.baseline))
        print_verdict(verdict, runs[0].path)
        kept = {"overrides": overrides, "metrics": scores, "verdict": verdict.plain()}
        home = runs[0].path
    else:
        together = evaluate_together([Member(*each) for each in zip(runs, configs, strict=True)], allow)
        title = f"Test of {len(runs)} runs of {', '.join(places)}{changed}"
        console().print(ensemble_table(together, title))
        kept = {
            "overrides": overrides,
            "metrics": together.ensemble,
            "members": {str(run.path): scores for run, scores in zip(runs, together.members, strict=True)},
        }
        home = Path(places[0])
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


def trusting(allow: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """What may be built and opened: what the user allows, and a connection for the data where he types so himself."""
    return [*allow, *(key for each in overrides if (key := each.partition("=")[0].lstrip("+")) == "data.download")]


def override(config: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A run's config with some of it changed, in Hydra's notation: ``key=value``, ``group=choice``, ``+key=value``.

    Raises:
        InputError: a key that the config does not have, or no such choice.
    """
    if not overrides:
        return config
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict

    from rnnlab.commands.composition import COMPOSITION_ERRORS, create_hydra, explain, plain, run_mode
    from rnnlab.commands.overrides import read, refuse_what_changes_nothing

    hydra = create_hydra()
    changed = OmegaConf.create(without_interpolations(config))
    OmegaConf.set_struct(changed, True)
    try:
        loader = hydra.config_loader
        overrides = read(hydra, overrides)
        parser = OverridesParser.create(loader)
        refuse_what_changes_nothing(changed, parser, overrides)
        for each in parser.parse_overrides(overrides):
            key, line = each.key_or_group, each.input_line or ""
            if each.is_sweep_override() or each.is_delete():
                raise InputError(f"{line}: one value a key is taken here")
            if loader.list_groups("") and key in loader.list_groups(""):
                composed = loader.load_configuration("train", [line], run_mode())
                with open_dict(changed):
                    changed[key] = plain(composed)[key]
            elif (
                each.is_add() or each.is_force_add() or OmegaConf.select(changed, key, default=_MISSING) is not _MISSING
            ):
                with open_dict(changed):
                    OmegaConf.update(changed, key, each.value(), force_add=True)
            else:
                raise InputError(f"{line}: unknown key{_nearest(key, config)}")
    except COMPOSITION_ERRORS as error:
        raise explain(error, hydra, overrides) from None
    return plain(changed)


def without_interpolations(node: Any) -> Any:
    """A run's config with every ``${`` taken literally: it was resolved when it was written, and what stands in a
    directory asks for no environment variable.
    """
    if isinstance(node, dict):
        return {name: without_interpolations(value) for name, value in node.items()}
    if isinstance(node, list):
        return [without_interpolations(value) for value in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node


_MISSING = object()


def _nearest(key: str, config: dict[str, Any]) -> str:
    from rnnlab.commands.composition import flat_keys
    from rnnlab.errors import nearest

    return nearest(key, flat_keys(config))
