"""Whatever a cell's ``step`` may read beside its tensors: a layer is derived anew where it changes."""

import types
from operator import is_
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


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Watch:
    """What a fingerprint and :func:`rnnlab.kernels.is_plain` saw of a cell, to be told in a few microseconds whether it
    is all as it was.

    Args:
        cell: that was looked at.

    Attributes:
        able: whether that can be told: all attributes are plain numbers, strings, or tuples of them.
    """

    def __init__(self, cell: nn.Module) -> None:
        self.able = True
        self._dicts: list[tuple[Any, tuple[Any, ...]]] = []
        self._tensors: list[tuple[Tensor, torch.Size, torch.dtype, torch.device]] = []
        self._buffers: list[Tensor] = [*cell.buffers()]
        self._hooks: list[Any] = []
        self._codes: list[tuple[types.FunctionType, types.CodeType]] = []
        self._names: list[tuple[dict[str, Any], str, Any]] = []
        self._sizes: list[tuple[dict[str, Any], int]] = []
        kinds: dict[type, None] = {}
        for module in cell.modules():
            own = [value for key, value in module.__dict__.items() if key not in _OWN]
            self.able &= all(map(_is_fixed, own))
            self._watch(module.__dict__)
            for group in (module._parameters, module._buffers):
                self._watch(group)
                tensors = [tensor for tensor in group.values() if tensor is not None]
                self._tensors += [(each, each.shape, each.dtype, each.device) for each in tensors]
            self._watch(module._modules)
            if module is not cell:
                self._hooks += [getattr(module, name) for name in HOOKS]
            kinds[type(module)] = None
        classes = {each: None for kind in kinds for each in kind.__mro__ if not each.__module__.startswith("torch.")}
        for each in classes:
            self._watch(vars(each))
        for kind in kinds:
            for function in _methods(kind):
                self._codes.append((function, function.__code__))
                names = function.__globals__
                self._sizes.append((names, len(names)))
                read = [name for name in function.__code__.co_names if isinstance(names.get(name), _SIMPLE)]
                self._names += [(names, name, names[name]) for name in read if name in names]
        self._sizes = list({id(names): (names, size) for names, size in self._sizes}.values())

    def _watch(self, values: Any) -> None:
        self._dicts.append((values, tuple(values.values())))

    def holds(self) -> bool:
        """Whether nothing has changed."""
        for values, before in self._dicts:
            if len(values) != len(before) or not all(map(is_, values.values(), before)):
                return False
        for tensor, shape, dtype, device in self._tensors:
            if tensor.shape != shape or tensor.dtype != dtype or tensor.device != device:
                return False
        return (
            not any(self._hooks)
            and not any(buffer.requires_grad for buffer in self._buffers)
            and all(len(names) == size for names, size in self._sizes)
            and all(function.__code__ is code for function, code in self._codes)
            and all(names.get(name) is value for names, name, value in self._names)
        )


def _is_fixed(value: Any) -> bool:
    return isinstance(value, _SIMPLE) or (type(value) is tuple and all(map(_is_fixed, value)))
