"""Calling a module with other parameters."""

from typing import Any

import torch
from torch import Tensor, nn


def functional_call(module: nn.Module, tensors: dict[str, Tensor], arguments: Any, **options: Any) -> Any:
    """As ``torch.func.functional_call``, and afterwards the module has its own tensors again.

    PyTorch (2.x) leaves those of the call in a module that stands under two names.
    """
    own = [(each, dict(each._parameters), dict(each._buffers)) for each in module.modules()]
    try:
        return torch.func.functional_call(module, tensors, arguments, **options)
    finally:
        for each, parameters, buffers in own:
            each._parameters.update(parameters)
            each._buffers.update(buffers)
