"""The values of a traced step, and what they are made from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

PARAMETERS, INPUT, STATE, BACKWARD = range(4)
"""What a value depends on, each including those before it: parameters and constants; x; the state; the gradient that
comes from later steps."""


class NotDerivable(Exception):
    """``step`` is left to the loop; the message says what stands in the way, and the way out where there is one."""


class Node:
    """A value of the trace.

    Attributes:
        op: the operation that makes it; ``input``, ``constant``, ``full`` (a tensor of one number), or ``item`` (one of
            several results).
        args: with nodes in place of tensors.
        kwargs: with nodes in place of tensors, too.
        shape: of the trace, where the batch has ``marker`` rows.
        dtype: of the value.
        kind: PARAMETERS, INPUT, STATE or BACKWARD.
        number: the place in the list of all nodes.
        value: of a constant the tensor, of ``full`` the number.
        random: whether new numbers are drawn for it at each step.
    """

    __slots__ = ("args", "dtype", "kind", "kwargs", "number", "op", "random", "shape", "value")

    def __init__(
        self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype | None,
        kind: int, number: int, value: Any = None, random: bool = False,
    ) -> None:  # fmt: skip
        self.op, self.args, self.kwargs, self.shape, self.dtype = op, args, kwargs, shape, dtype
        self.kind, self.number, self.value, self.random = kind, number, value, random

    @property
    def tail(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return self.shape[1:]

    def inputs(self) -> list["Node"]:
        """The nodes among the arguments."""
        return [node for node in leaves_of((self.args, tuple(self.kwargs.values()))) if isinstance(node, Node)]

    def __repr__(self) -> str:
        return f"%{self.number}"


@dataclass
class Trace:
    """The operations of a step and of its vector-Jacobian product.

    Attributes:
        nodes: in the order in which they were made.
        marker: rows of the batch.
        names: of the parameters and buffers, in the order of ``tensors``.
        tensors: their nodes.
        x: the input's node.
        states: of the state before the step.
        tangent: gradient with respect to the output.
        tangents: gradient with respect to each part of the state after the step.
        output: of the step.
        new_states: the state after the step.
        grad_tensors: gradients; ``None`` where there is none.
        grad_x: gradient of the input.
        grad_states: gradients of the state's parts.
        single: whether the state is a tensor and no tuple.
    """

    marker: int
    names: list[str]
    single: bool
    nodes: list[Node] = field(default_factory=list)
    tensors: list[Node] = field(default_factory=list)
    x: Node = field(init=False)
    states: list[Node] = field(default_factory=list)
    tangent: Node = field(init=False)
    tangents: list[Node] = field(default_factory=list)
    output: Node = field(init=False)
    new_states: list[Node] = field(default_factory=list)
    grad_tensors: list[Node | None] = field(default_factory=list)
    grad_x: Node | None = None
    grad_states: list[Node | None] = field(default_factory=list)

    @property
    def random(self) -> list[Node]:
        """The nodes for which numbers are drawn at each step, in the order of drawing."""
        used = needed([self.output, *self.new_states])
        return [node for node in self.nodes if node.random and node in used]


def needed(roots: Iterable[Node | None]) -> set[Node]:
    """The nodes from which the roots are made, and they themselves."""
    seen: set[Node] = set()
    stack = [root for root in roots if root is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.inputs())
    return seen


def name_of(op: Any) -> str:
    """An operation as its users call it."""
    return f"torch.{op.overloadpacket.__name__}" if hasattr(op, "overloadpacket") else str(op)


def leaves_of(value: Any) -> list[Any]:
    """All that stands in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves_of(part)]
    return [value]


def map_leaves(function: Any, value: Any) -> Any:
    """``function`` of everything in nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return type(value)([map_leaves(function, part) for part in value])
    return function(value)
