"""A trained run's config with some of it changed on the command line."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnlab.errors import InputError, OtherNetwork
from rnnlab.runs.directory import RunDirectory
from rnnlab.runs.schema import shown

STAYS = {
    "model": "its network stays as it was trained",
    **dict.fromkeys(
        (
            "optimizer", "scheduler", "early_stopping", "keep", "mode", "train", "ckpt_path", "init_from", "init_parts",
            "freeze", "lr_factors", "callbacks", "logger", "tags", "data.augmentation", "data.shuffle_seed",
            "trainer.max_steps", "trainer.max_epochs", "trainer.steps_per_epoch", "trainer.gradient_clip_val",
            "trainer.gradient_clip_algorithm", "trainer.accumulate_grad_batches", "trainer.checkpoint_seconds",
            "trainer.compile", "trainer.devices", "trainer.strategy", "trainer.num_nodes",
        ),
        "its training is over",
    ),
    "seed": "its training is over; data.seed=… draws other data, where data is drawn",
}  # fmt: skip
"""Of a trained run what cannot be changed any more, by key or part of a config, and why."""
MAY_CHANGE = (
    "what may be changed is the data (data.…), how it is scored (task.…, monitor) and where that is done (trainer=cpu, "
    "trainer.precision)"
)
HOW_IT_RUNS = ("backend", "recompute")
"""Last parts of keys under ``model`` that change how a network is computed, and not what it says."""


def override(
    config: dict[str, Any],
    overrides: list[str],
    run: RunDirectory | None = None,
    also: Sequence[str] = (),
) -> dict[str, Any]:
    """A trained run's config with some of it changed, in Hydra's notation: ``key=value``, ``group=choice``,
    ``+key=value``.

    Args:
        config: of the run.
        overrides: as they were typed.
        run: that has the config; it is asked what was chosen of a group.
        also: further parts of a config that the command has a use for.

    Raises:
        InputError: a key that the config does not have, no such choice, or something that a trained run keeps.
    """
    if not overrides:
        return config
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict

    from rnnlab.commands.composition import COMPOSITION_ERRORS, create_hydra, explain, hint, plain, run_mode
    from rnnlab.commands.overrides import read, refuse_what_changes_nothing
    from rnnlab.configs import flat_keys

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
            before = _at(changed, key)
            if each.is_sweep_override() or each.is_delete():
                raise InputError(f"{line}: one value a key is taken here")
            if key in STAYS and run is not None and line == f"{key}={run.status.choices.get(key)}":
                continue  # the run has it, with keys of its own
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
                raise InputError(f"{line}: unknown key{hint(key, flat_keys(config))}")
            _refuse_what_stays(line, key, before, _at(changed, key), run, also)
    except COMPOSITION_ERRORS as error:
        raise explain(error, hydra, overrides) from None
    return plain(changed)


def _at(config: Any, key: str) -> Any:
    """What a config has at a key or a group, as plain values; ``None`` where it has nothing."""
    from omegaconf import OmegaConf

    node = OmegaConf.select(config, key, default=None)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node


def _refuse_what_stays(
    line: str, key: str, before: Any, after: Any, run: RunDirectory | None, also: Sequence[str]
) -> None:
    """Refuses what is without an effect on a trained run, or leaves its weights without their network.

    Args:
        line: the override.
        key: that it sets.
        before: what stood there.
        after: what does now; the same harms nobody.
        run: that has the config.
        also: parts that the command has a use for.

    Raises:
        InputError: naming the override, what the run has, and what may be changed.
    """
    why = next((STAYS[name] for name in STAYS if f"{key}.".startswith(f"{name}.")), None)
    if key.partition(".")[0] == "instruments" and "instruments" not in also:
        why = "nothing is drawn here (rnnlab inspect draws)"
    if why is None or before == after or key.rpartition(".")[2] in HOW_IT_RUNS:
        return
    choice = run.status.choices.get(key) if run is not None else None
    of_group = f"{key}={choice}"
    has = of_group if choice and of_group != line else _has(key, before, after)
    raise InputError(f"{line}: this run has {has}, and {why}; {MAY_CHANGE}")


def _has(key: str, before: Any, after: Any) -> str:
    """Where two values differ, what the first has there: ``model.hidden_size=64``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                return _has(f"{key}.{name}", before.get(name), after.get(name))
    return f"{key}={_shown(before)}" if before is not None else f"no {key}"


def _shown(value: Any) -> str:
    """A value as it is typed; what a part of a config builds, by its class."""
    if isinstance(value, Mapping) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    return shown(value)


@contextlib.contextmanager
def naming(overrides: Sequence[str], run: RunDirectory) -> Iterator[None]:
    """Within it a network that is another one by overrides is a complaint about these, and no tensor's.

    Args:
        overrides: as they were typed.
        run: whose config they change.

    Raises:
        InputError: naming them and what the run has.
    """
    try:
        yield
    except OtherNetwork as error:
        typed = {line.partition("=")[0].lstrip("+"): line for line in overrides}
        # nothing else is left that makes another network
        asking = {key: line for key, line in typed.items() if key.partition(".")[0] in ("data", "task")}
        if not asking:
            raise
        config, choices = run.config, run.status.choices
        had = ", ".join(f"{key}={choices.get(key) or _shown(_value(config, key))}" for key in asking)
        raise InputError(f"{' '.join(asking.values())}: {error.why}; this run has {had}; {MAY_CHANGE}") from None


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


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
