"""Calling a module with other parameters."""

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
