"""A run's config with some of it changed on the command line."""

from typing import Any

from rnnlab.errors import InputError, nearest_key


def override(config: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A run's config with some of it changed, in Hydra's notation: ``key=value``, ``group=choice``, ``+key=value``.

    Raises:
        InputError: a key that the config does not have, or no such choice.
    """
    if not overrides:
        return config
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict

    from rnnlab.commands.composition import COMPOSITION_ERRORS, create_hydra, explain, flat_keys, plain, run_mode
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
                raise InputError(f"{line}: unknown key{nearest_key(key, flat_keys(config))}")
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
