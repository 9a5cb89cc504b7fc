"""``model.layers=[gru,lru]``: the cells that the named models have, written into a run's config."""

from collections.abc import Mapping
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from rnnlab.commands import hydra_internals
from rnnlab.errors import InputError, nearest

MODEL = "model"


def with_cells(config: dict[str, Any], chosen: str | None) -> dict[str, Any]:
    """A run's config in which ``model.cells`` holds the config of each layer's cell.

    A layer of the model that was chosen has that model's cell with the options that were typed for it.

    Args:
        config: plain containers.
        chosen: the name of that model, where it is known.

    Raises:
        InputError: a name is that of no model, or of one that isn't a cell with a network around it.
    """
    model = config.get(MODEL)
    if not isinstance(model, Mapping):
        return config
    names = model.get("layers")
    if not isinstance(names, list) or not names or model.get("cells") is not None:
        return config
    cells = [model["cell"] if name == chosen else _cell(name, names) for name in names]
    return {**config, MODEL: {**model, "cells": cells}}


def _cell(name: Any, names: list[Any]) -> Any:
    listed = f"model.layers=[{', '.join(map(str, names))}]"
    loader = hydra_internals.current_loader()
    known = hydra_internals.group_options(loader, MODEL)
    if name not in known:
        hint = nearest(str(name), known)
        raise InputError(f"{listed}: no such model: {name}{hint} (there are {', '.join(known)})")
    composed = loader.load_configuration(None, [f"+{MODEL}={name}"], RunMode.RUN, from_shell=False)
    cell = OmegaConf.select(composed, f"{MODEL}.cell")
    if cell is None:
        raise InputError(f"{listed}: the config of {name} has no cell")
    return hydra_internals.mapping(cell)
