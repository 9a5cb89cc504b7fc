"""A module's tensors by their names, and calling it with others."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def functional_call(module: nn.Module, tensors: dict[str, Tensor], arguments: Any, **options: Any) -> Any:
    """As ``torch.func.functional_call``, and afterwards the module has its own tensors again.

    PyTorch (2.x) leaves those of the call in a module that stands under two names.
    """
    own = [
        (part, dict(part._parameters), dict(part._buffers))
        for part in module.modules()
        if part._parameters or part._buffers
    ]
    try:
        return torch.func.functional_call(module, tensors, arguments, **options)
    finally:
        for part, parameters, buffers in own:
            part._parameters.update(parameters)
            part._buffers.update(buffers)


def tensors_of(cell: nn.Module, names: Sequence[str]) -> tuple[Tensor, ...]:
    """The parameters and buffers of a cell by the names that a trace has for them, which begin with ``cell.``."""
    named = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    return tuple(named[name.removeprefix("cell.")] for name in names)
