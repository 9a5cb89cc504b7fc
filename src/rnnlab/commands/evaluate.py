"""``rnnlab evaluate RUN [key=value …]``: a run's weights on its test data, or on other data."""

import json
from typing import Any

from rnnlab.commands.arguments import add_allow, guarded, load_execution, parser
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory, now, replace


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser("evaluate", "Tests a run's best weights, with the run's own config or some of it changed.")
    options.add_argument("run", metavar="RUN", help="a run directory")
    options.add_argument("overrides", metavar="key=value", nargs="*", help="such as data.noise=0.2 or trainer=cpu")
    add_allow(options)
    given = options.parse_args(arguments)
    return guarded(lambda: evaluate(given.run, given.overrides, given.allow))


def evaluate(path: str, overrides: list[str], allow: list[str]) -> int:
    """Prints the scores and keeps them under ``evaluations/`` in the run directory.

    Raises:
        InputError: it is no run with a checkpoint, or an override cannot work.
    """
    directory = RunDirectory.open(path)
    if not directory.best_checkpoint.exists():
        raise InputError(f"{path} has no checkpoint yet (it is {directory.status['state']}): rnnlab resume {path}")
    config = override(directory.config, overrides)

    execution = load_execution()
    from rnnlab.commands.outcome import score_table
    from rnnlab.instruments.console import console

    scores = execution.evaluate(config, directory, allow)
    changed = f" with {' '.join(overrides)}" if overrides else ""
    console().print(score_table(scores, f"Test of {path}{changed}"))
    folder = directory.path / "evaluations"
    folder.mkdir(exist_ok=True)
    file = folder / f"{now().replace(':', '-')}.json"
    replace(file, json.dumps({"overrides": overrides, "metrics": scores}, indent=2) + "\n")
    print(f"kept in {file}")
    return 0


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

    hydra = create_hydra()
    changed = OmegaConf.create(config)
    OmegaConf.set_struct(changed, True)
    try:
        loader = hydra.config_loader
        for each in OverridesParser.create(loader).parse_overrides(overrides):
            key, line = each.key_or_group, each.input_line or ""
            if each.is_sweep_override() or each.is_delete():
                raise InputError(f"{line}: evaluate takes one value a key")
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


_MISSING = object()


def _nearest(key: str, config: dict[str, Any]) -> str:
    from rnnlab.commands.composition import flat_keys
    from rnnlab.errors import nearest

    return nearest(key, flat_keys(config))
