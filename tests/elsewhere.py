"""A device that is none: tensors on it say ``meta``, have values all the same, and refuse those of the CPU beside them.

A GPU is not needed to see that nothing is made on the CPU which belongs on another device. PyTorch's own fake tensors
show that, too, but know no values: they stop where a number is looked at or a tensor's size depends on one.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_any, tree_leaves, tree_map

aten: Any = torch.ops.aten
DEVICE = torch.device("meta")
T = TypeVar("T")


class Misplaced(Exception):
    """A tensor lies where it should not."""


class Elsewhere(Tensor):
    """A tensor on :data:`DEVICE`.

    Args:
        value: of it, on the CPU.
    """

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, value.shape, strides=value.stride(), storage_offset=value.storage_offset(), dtype=value.dtype,
            layout=value.layout, device=DEVICE, requires_grad=value.requires_grad,
        )  # fmt: skip
        made.value = value.detach()
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})

    def tolist(self) -> Any:
        return self.value.tolist()  # which PyTorch refuses of classes of tensors

    def __repr__(self, **options: Any) -> str:
        return f"Elsewhere({self.value!r})"


class Placement(TorchDispatchMode):
    """While it is active tensors can be made on :data:`DEVICE`, and nowhere else if it is ``strict``."""

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.strict = strict
        self._from_numbers = _FromNumbers()

    def __enter__(self) -> "Placement":
        self._from_numbers.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._from_numbers.__exit__(*error)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = _run(function, args, kwargs or {})
        new = not any(isinstance(each, Tensor) for each in tree_leaves((args, kwargs)))
        if self.strict and new and tree_any(_on_the_cpu, made):
            raise Misplaced(f"{function} makes a tensor on the CPU")
        return made


class _FromNumbers(TorchFunctionMode):
    """``torch.tensor`` and ``torch.as_tensor``, which PyTorch's dispatcher does not get to see with their numbers."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if function not in (torch.tensor, torch.as_tensor) or device is None or torch.device(device) != DEVICE:
            return function(*args, **kwargs)
        value, *others = args
        kwargs = {name: option for name, option in kwargs.items() if name != "device"}
        if isinstance(value, Elsewhere):
            return value.to(kwargs.get("dtype") or value.dtype)
        return Elsewhere(function(value, *others, **kwargs))


def elsewhere(value: T) -> T:
    """The same on :data:`DEVICE`; nested."""
    return tree_map(lambda each: Elsewhere(each) if type(each) in (Tensor, torch.nn.Parameter) else each, value)


def _on_the_cpu(value: Any) -> bool:
    """A number without an axis may stand beside tensors of any device."""
    return isinstance(value, Tensor) and not isinstance(value, Elsewhere) and value.dim() > 0


def _run(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = tree_leaves((args, kwargs))
    device = kwargs.get("device")
    there = any(isinstance(each, Elsewhere) for each in given)
    moves = function.overloadpacket in (aten._to_copy, aten.copy_)
    if there and not moves and any(map(_on_the_cpu, given)):
        raise Misplaced(f"{function} of tensors on the CPU and elsewhere")
    if device is not None:
        there = torch.device(device) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if torch.Tag.inplace_view in function.tags:
        with no_dispatch():  # its own shape, too
            function(*args, **kwargs)
    args, kwargs = tree_map(lambda each: each.value if isinstance(each, Elsewhere) else each, (args, kwargs))
    made = function(*args, **kwargs)
    if not there:
        return made
    # what is changed in place is what was given
    same = {id(each.value): each for each in given if isinstance(each, Elsewhere)}

    def placed(each: Any) -> Any:
        return same[id(each)] if id(each) in same else Elsewhere(each) if isinstance(each, Tensor) else each

    return tree_map(placed, made)
