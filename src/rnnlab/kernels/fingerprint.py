"""Whatever a cell's ``step`` may read beside its tensors: a layer is derived anew where it changes."""

import sys
import types
from collections import deque
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from operator import attrgetter, is_, methodcaller
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OWN = frozenset(nn.Module().__dict__)
"""What every module has of its own."""
_SIMPLE = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)
_DECORATORS = ("jaxtyping", "beartype", "functools", "contextlib")
_CONTAINERS = (tuple, list, dict, set, frozenset, deque)
_CALLED = (types.MethodType, partial)
DEPTH = 4
"""Of objects in objects."""


def fingerprint(cell: nn.Module, alive: list[Any]) -> Any:
    """Equal for cells that compute the same from equal parameters: classes, modes, attributes, shapes, and what their
    methods, and the functions that these call, read from their modules and closures.

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
    """What the methods of a class, and the functions that they call, read from their modules and closures, and the
    functions themselves.
    """
    found = []
    for function in _functions(kind):
        alive.append(function)
        found.append((id(function.__code__), *_values(function, alive, DEPTH)))
    of_class = ((key, _frozen(value, alive, DEPTH)) for _, key, value in _of_classes(kind))
    return tuple(found), tuple(of_class)


def _values(function: types.FunctionType, alive: list[Any], depth: int) -> list[tuple[str, Any]]:
    """What a function reads by name, but for what stays as it is."""
    return [(key, _frozen(value, alive, depth)) for _, key, value in _read(function) if not _is_fixed_name(value)]


def _of_classes(kind: type) -> list[tuple[type, str, Any]]:
    """Attributes of a class and those before it that its methods name, and that are no methods: where each stands."""
    names = {name for function in _functions(kind) for name in _names(function.__code__)}
    return [
        (each, name, value)
        for each in kind.__mro__
        if not _is_known(each.__module__)
        for name, value in vars(each).items()
        if name in names and not isinstance(_behind(value), types.FunctionType) and not _is_fixed_name(value)
    ]


def _functions(kind: type) -> list[types.FunctionType]:
    """The methods of a class, and the functions that they name."""
    return _with_called(_methods(kind))


def _with_called(functions: list[types.FunctionType]) -> list[types.FunctionType]:
    """Functions and those that they name."""
    found: dict[types.FunctionType, None] = dict.fromkeys(functions)
    queue = list(found)
    while queue:
        function = queue.pop()
        # what a decorator stands around is read, the decorator's own affairs are not
        for value in [getattr(function, "__wrapped__", None), *(value for _, _, value in _read(function))]:
            if isinstance(value, types.FunctionType) and value not in found and not _is_known(value.__module__):
                found[value] = None
                queue.append(value)
    return list(found)


def _methods(kind: type) -> list[types.FunctionType]:
    if kind.__module__.startswith("torch."):
        return []
    found = []
    for each in kind.__mro__:
        if each.__module__.startswith(("torch.", "typing", "abc", "builtins")):
            continue
        found += [_behind(value) for value in vars(each).values()]
    return [function for function in found if isinstance(function, types.FunctionType)]


def _behind(value: Any) -> Any:
    """What stands behind a property, a static method, a class method."""
    if isinstance(value, types.FunctionType):
        return value
    found = (getattr(value, name, None) for name in ("fget", "__func__", "func"))
    return next((each for each in found if each is not None), None)


def _read(function: types.FunctionType) -> list[tuple[Any, str, Any]]:
    """What a function reads by name: where it stands, the name, and the value."""
    space, names = function.__globals__, _names(function.__code__)
    found: list[tuple[Any, str, Any]] = []
    if space.get("__name__", "").split(".")[0] in _DECORATORS:
        return found
    for name in names:
        if name in space:
            value = space[name]
            found.append((space, name, value))
            if isinstance(value, types.ModuleType) and not _is_known(value.__name__):
                inner = vars(value)
                found += [(inner, each, inner[each]) for each in names if each in inner]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # nothing is in it yet
            found.append((cell, "cell_contents", cell.cell_contents))
    return found


@lru_cache(1000)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names that a function's code reads, with those of the functions within it."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for each in inner for name in _names(each))]))


def _is_known(module: str | None) -> bool:
    """Whether it is of a package whose functions nobody changes while they run."""
    root = (module or "builtins").split(".")[0]
    return root in ("torch", "numpy", "rnnlab") or root in sys.stdlib_module_names


def _is_fixed_name(value: Any) -> bool:
    """Whether a name's value stays as it is for as long as it is the same object."""
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)):
        return True
    changing = (*_SIMPLE, *_CONTAINERS, *_CALLED, Tensor, np.ndarray)
    return _is_known(type(value).__module__) and not isinstance(value, changing)


def _frozen(value: Any, alive: list[Any], depth: int) -> Any:
    """Something that can be compared and changes with the value."""
    if isinstance(value, _SIMPLE):
        return type(value).__name__, repr(value) if value != value else value
    if isinstance(value, Tensor):
        alive.append(value)
        return "tensor", id(value), value._version
    if isinstance(value, np.ndarray) and value.dtype != object:
        return "array", value.shape, value.dtype.str, value.tobytes()
    if depth and isinstance(value, (tuple, list, deque)):
        return type(value).__name__, *(_frozen(part, alive, depth - 1) for part in value)
    if depth and isinstance(value, (set, frozenset)):
        return type(value).__name__, *sorted(map(repr, value))
    if depth and isinstance(value, dict):
        return "dict", *((repr(key), _frozen(part, alive, depth - 1)) for key, part in value.items())
    alive.append(value)
    if depth and isinstance(value, types.MethodType):
        return "method", _frozen(value.__self__, alive, depth - 1), _frozen(value.__func__, alive, depth - 1)
    if depth and isinstance(value, partial):
        return "partial", *(_frozen(part, alive, depth - 1) for part in (value.func, value.args, value.keywords))
    if depth and isinstance(value, types.FunctionType) and not _is_known(value.__module__):
        called = ((id(each.__code__), *_values(each, alive, depth - 1)) for each in _with_called([value]))
        return "function", _frozen((value.__defaults__, value.__kwdefaults__), alive, depth - 1), *called
    inner = getattr(value, "__dict__", None)
    slots = {
        name: getattr(value, name, None)
        for names in (vars(each).get("__slots__", ()) for each in type(value).__mro__ if not _is_known(each.__module__))
        for name in ([names] if isinstance(names, str) else names)
    }
    if (
        depth
        and (isinstance(inner, dict) or slots)
        and not isinstance(value, (type, types.FunctionType, types.ModuleType, nn.Module))
    ):
        return id(value), _frozen({**(inner or {}), **slots}, alive, depth - 1)
    return id(value)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Watch:
    """What a fingerprint and :func:`rnnlab.kernels.is_plain` saw of a cell, to be told in a few microseconds whether it
    is all as it was.

    Args:
        cell: that was looked at.
        members: whether it stands for the members of a fleet: its tensors are others at each call, of the same shapes.

    Attributes:
        able: whether that can be told: all attributes are plain numbers, strings, or tuples of them.
    """

    def __init__(self, cell: nn.Module, members: bool = False) -> None:
        self.able = True
        self._dicts: list[Any] = []
        self._groups: list[dict[str, Any]] = []
        self._buffers: list[Tensor] = [] if members else [*cell.buffers()]
        self._tensors: list[Tensor] = []
        self._hooks: list[Any] = []
        self._functions: dict[types.FunctionType, None] = {}
        self._spaces: dict[int, dict[str, Any]] = {}
        read: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self._cells: list[Any] = []
        self._contents: list[Any] = []
        kinds: dict[type, None] = {}
        for module in cell.modules():
            own = [value for key, value in module.__dict__.items() if key not in _OWN]
            self.able &= all(map(_is_fixed, own))
            self._dicts += [module.__dict__, module._modules]
            groups: list[dict[str, Any]] = [module._parameters, module._buffers]
            if members:
                self._groups += groups
            else:
                self._dicts += groups
                self._tensors += [tensor for group in groups for tensor in group.values() if tensor is not None]
            if module is not cell:
                self._hooks += [getattr(module, name) for name in HOOKS]
            kinds[type(module)] = None
        classes = dict.fromkeys(each for kind in kinds for each in kind.__mro__)
        # nobody can change object's attributes
        self._dicts += [
            vars(kind) for kind in classes if kind is not object and not kind.__module__.startswith("torch.")
        ]
        for kind in kinds:
            self.able &= all(_is_fixed(value) for _, _, value in _of_classes(kind))
            for function in _functions(kind):
                self._functions[function] = None
                self._spaces[id(function.__globals__)] = function.__globals__
                for holder, name, value in _read(function):
                    self.able &= _is_fixed(value) or _is_fixed_name(value)
                    if isinstance(holder, dict):
                        read[id(holder), name] = holder, name, value
                    else:
                        self._cells.append(holder)
                        self._contents.append(value)
        self._values = [value for each in self._dicts for value in each.values()]
        self._sized = [*self._dicts, *self._spaces.values()]
        self._sizes = [*map(len, self._sized)]
        self._kinds = [*map(_KIND, self._tensors)]
        self._shapes = _shapes_of(self._groups)
        self._codes = [*map(_CODE, self._functions)]
        self._read = [[*part] for part in zip(*read.values(), strict=True)] or [[], [], []]

    def holds(self) -> bool:
        """Whether nothing has changed: asked at every call, so that nothing is gone through in Python."""
        spaces, names, values = self._read
        return (
            [*map(len, self._sized)] == self._sizes
            and all(map(is_, chain.from_iterable(map(_VALUES, self._dicts)), self._values))
            and [*map(_KIND, self._tensors)] == self._kinds
            and _shapes_of(self._groups) == self._shapes
            and not any(self._hooks)
            and not any(map(_TRAINED, self._buffers))
            and all(map(is_, map(_CODE, self._functions), self._codes))
            and all(map(is_, map(dict.get, spaces, names), values))
            and all(map(is_, map(_CONTENTS, self._cells), self._contents))
        )


_KIND, _CODE, _VALUES = attrgetter("shape", "dtype", "device"), attrgetter("__code__"), methodcaller("values")
_TRAINED, _CONTENTS = attrgetter("requires_grad"), attrgetter("cell_contents")


def _shapes_of(groups: list[dict[str, Any]]) -> list[Any]:
    return [
        (name, None if tensor is None else (tensor.shape, tensor.dtype))
        for group in groups
        for name, tensor in group.items()
    ]


def _is_fixed(value: Any) -> bool:
    return isinstance(value, _SIMPLE) or (type(value) is tuple and all(map(_is_fixed, value)))
