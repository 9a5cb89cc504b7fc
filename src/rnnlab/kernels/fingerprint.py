"""Whatever a cell's ``step`` may read beside its tensors: a layer is derived anew where it changes."""

import types
from typing import Any

import torch
from torch import Tensor, nn

_OWN = frozenset(nn.Module().__dict__)
"""What every module has of its own."""
_SIMPLE = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)
DEPTH = 4
"""Of objects in objects."""


def fingerprint(cell: nn.Module, alive: list[Any]) -> Any:
    """Equal for cells that compute the same from equal parameters: classes, modes, attributes, shapes, and the numbers
    that their methods read from their modules.

    Args:
        cell: whose step is run.
        alive: takes what is known by its address, which must stay its own.
    """
    return tuple(_of_module(name, module, alive) for name, module in cell.named_modules())


def _of_module(name: str, module: nn.Module, alive: list[Any]) -> Any:
    kind = type(module)
    attributes = tuple(
        (key, _frozen(value, alive, DEPTH)) for key, value in module.__dict__.items() if key not in _OWN
    )  # fmt: skip
    tensors = tuple(
        (key, None if tensor is None else (tuple(tensor.shape), tensor.dtype))
        for group in (module._parameters, module._buffers)
        for key, tensor in group.items()
    )
    alive.append(kind)
    return name, id(kind), module.training, attributes, tensors, _globals(kind, alive)


def _globals(kind: type, alive: list[Any]) -> Any:
    """The values of names that the methods of a class read from their modules, and the methods themselves."""
    found = []
    for function in _methods(kind):
        alive.append(function)
        names = function.__globals__
        read = [name for name in function.__code__.co_names if name in names]
        simple = [(name, names[name]) for name in read if isinstance(names[name], _SIMPLE)]
        found.append((id(function.__code__), *simple))
    return tuple(found)


def _methods(kind: type) -> list[types.FunctionType]:
    if kind.__module__.startswith("torch."):
        return []
    return [
        value
        for each in kind.__mro__
        if not each.__module__.startswith(("torch.", "typing", "abc", "builtins"))
        for value in vars(each).values()
        if isinstance(value, types.FunctionType)
    ]


def _frozen(value: Any, alive: list[Any], depth: int) -> Any:
    """Something that can be compared and changes with the value."""
    if isinstance(value, _SIMPLE):
        return type(value).__name__, repr(value) if value != value else value
    if isinstance(value, Tensor):
        alive.append(value)
        return "tensor", id(value), value._version
    if depth and isinstance(value, (tuple, list)):
        return type(value).__name__, *(_frozen(part, alive, depth - 1) for part in value)
    if depth and isinstance(value, dict):
        return "dict", *((repr(key), _frozen(part, alive, depth - 1)) for key, part in value.items())
    alive.append(value)
    inner = getattr(value, "__dict__", None)
    if (
        depth
        and isinstance(inner, dict)
        and not isinstance(value, (type, types.FunctionType, types.ModuleType, nn.Module))
    ):
        return id(value), _frozen(inner, alive, depth - 1)
    return id(value)
