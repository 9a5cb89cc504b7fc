"""A layer derived from its cell's ``step``: the recurrence in compiled kernels, all else as products of PyTorch."""

import ctypes
from array import array
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.kernels import native
from rnnlab.kernels.calling import tensors_of
from rnnlab.kernels.layout import GROUP, Layout
from rnnlab.kernels.llvm_math import LIBRARY
from rnnlab.kernels.memory import keep_memory
from rnnlab.kernels.nodes import INPUT, Node, NotDerivable, Trace, needed
from rnnlab.kernels.origins import width_of
from rnnlab.kernels.passes import Layer
from rnnlab.kernels.planning import Plan, in_panels, plan
from rnnlab.kernels.printing import print_kernel, tile_rows
from rnnlab.kernels.program import Program
from rnnlab.kernels.threads import share_out
from rnnlab.kernels.tracing import trace
from rnnlab.shapes import Features, HiddenSequence, Lengths, State

BLOCK_ROWS = 2048
"""Of a block of steps, for each member, at most: its memory is small beside that of a long sequence."""
BLOCK_NUMBERS, LEAST_ROWS = 2**20, 512
"""A step that hands out many numbers a row gets blocks of about so many of these, which caches hold, but no fewer rows:
sums over rows are added up once a block."""

KEPT_STRIDES = 64
"""Of as many layouts it is remembered how far one member's buffers are from the next one's."""
LONG_ROWS = 512
"""Bytes of a row of a weight that is handed over in panels: one of shorter rows is in the cache as it is."""


class Derived:
    """A cell's layer, for one type of numbers.

    Args:
        cell: of type :class:`rnnlab.cells.cell.Cell`.
        dtype: of its parameters.

    Raises:
        NotDerivable: its step is the loop's.
    """

    def __init__(self, cell: Any, dtype: torch.dtype) -> None:
        self.machine = native.machine()
        keep_memory()
        self.trace: Trace = trace(cell, dtype)
        self.plan: Plan = plan(self.trace)
        self.real, self.itemsize = ("float", 4) if dtype == torch.float32 else ("double", 8)
        self.hidden = width_of(self.trace.output)
        self.random = self.trace.random
        self.kernels = {"forward": self.plan.forward, "backward": self.plan.backward, "masked": self.plan.masked}
        for kernel in self.kernels.values():
            for expr in kernel.expressions():
                if expr.op in LIBRARY and expr.op not in native.library():
                    raise NotDerivable(f"there is no kernel for {expr.op} on this machine")
        in_panels(self.plan, 2 * self.machine.bytes // self.itemsize, LONG_ROWS // self.itemsize)
        self.tile = {name: tile_rows(kernel, self.real, self.machine) for name, kernel in self.kernels.items()}
        self.work = {name: kernel.work for name, kernel in self.kernels.items()}
        self._functions: dict[str, Any] = {}
        self._apart: dict[tuple[Any, ...], np.ndarray] = {}
        self.single, count = self.trace.single, len(self.trace.states)
        self.widths = [width_of(state) for state in self.trace.states]
        self.edges = {name: width_of(node) for name, node in self.plan.edges.items()}
        read = {expr.data[0] for expr in self.plan.backward.expressions() if expr.op == "rows"}
        inputs = [name for name in self.plan.inputs if name in read]
        saved = ["saved"] if self.plan.saved else []
        self.kept = [*inputs, *self.plan.parameters, *saved, *(f"state{number}" for number in range(count))]
        marker = self.trace.marker
        self.before = Program(self.plan.before, [n for n in self.plan.before if n.dtype is not None], marker)
        self.read_after = [
            node for node in self.plan.rows_for_after if node.kind == INPUT and node is not self.trace.x
        ]  # fmt: skip
        made = [node for node in self.plan.of_inputs if not node.random]
        self.of_inputs = Program(made, [*self.plan.inputs.values(), *self.read_after], marker)
        self._after: dict[tuple[bool, ...], After] = {}
        self.most_rows = max(LEAST_ROWS, BLOCK_NUMBERS // max(1, sum(self.edges.values())))

    def function(self, name: str) -> Any:
        """A kernel, ready to be called."""
        if name not in self._functions:
            text = print_kernel(name, self.kernels[name], self.real, self.machine)
            kind = ctypes.CFUNCTYPE(
                None, *([ctypes.c_int64] * 4), ctypes.c_void_p, ctypes.c_int64, *([ctypes.c_void_p] * 2)
            )
            self._functions[name] = kind(native.load(text, name))
        return self._functions[name]

    def __call__(
        self, cell: Any, x: Features, state: State | None, lengths: Lengths | None,
        tensors: Sequence[Tensor] | None = None,
    ) -> tuple[HiddenSequence, Any]:  # fmt: skip
        """As :meth:`rnnlab.cells.cell.Cell.unroll`."""
        state = cell.initial_state(len(x)) if state is None else state
        parts = (state,) if isinstance(state, Tensor) else state
        tensors = tensors_of(cell, self.trace.names) if tensors is None else tensors
        output, *last = self.apply(cell, lengths, x, parts, tensors)
        return output, last[0] if self.single else tuple(last)

    def apply(
        self, cell: Any, lengths: Tensor | None, x: Tensor, parts: Sequence[Tensor], tensors: Sequence[Tensor],
        rows: int | None = None,
    ) -> Sequence[Tensor]:  # fmt: skip
        """The output and the parts of the last state; in blocks of so many rows."""
        rows = rows or min(BLOCK_ROWS, self.most_rows)
        return Layer.apply(self, cell, lengths, rows, False, torch.is_grad_enabled(), x, *parts, *tensors)

    def stacked(
        self, cell: Any, x: Tensor, parts: Sequence[Tensor], lengths: Tensor | None, named: dict[str, Tensor]
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """The layer of all members of a fleet: see :func:`rnnlab.kernels.run_stacked`."""
        tensors = [named[name.removeprefix("cell.")] for name in self.trace.names]
        rows = min(BLOCK_ROWS, self.most_rows)
        return Layer.apply(self, cell, lengths, rows, True, torch.is_grad_enabled(), x, *parts, *tensors)

    def after(self, wanted: Sequence[bool]) -> "After":
        """What gives the wanted ones of the gradients of x and of the tensors."""
        key = tuple(wanted)
        if key not in self._after:
            self._after[key] = After(self, key)
        return self._after[key]

    # ---- running ---------------------------------------------------------------------------------------------
    def of_parameters(self, tensors: Sequence[Tensor], stacked: bool) -> tuple[dict[Node, Any], dict[str, Tensor]]:
        """All values that are the same at each step, and those that the kernels read, as they read them."""
        env: dict[Node, Any] = dict(zip(self.trace.tensors, tensors, strict=True))
        env.update(zip(self.before.results, self.on_rows(self.before, env, 1, stacked), strict=True))
        handed = {}
        for name, (node, change) in self.plan.parameters.items():
            value = change(node.value if node.op == "constant" else env[node])
            if stacked and node.op == "constant":
                value = value.expand(len(tensors[0]), *value.shape)
            handed[name] = value.contiguous()
        return env, handed

    def on_rows(self, program: Program, env: dict[Node, Any], rows: int, stacked: bool) -> Sequence[Tensor]:
        """Runs a program on so many rows, of each member where values are stacked."""
        values = [env[node] for node in program.given]
        return program.of_members(values, rows) if stacked else program(values, rows)

    def run(
        self, name: str, begin: int, end: int, layout: Layout, given: dict[str, Tensor], of_block: Collection[str] = ()
    ) -> None:
        """Takes all rows from step ``begin`` to ``end``, or back.

        Args:
            name: of the kernel.
            begin: a step.
            end: a step.
            layout: of the rows.
            given: the buffers.
            of_block: names of those that hold these steps alone.
        """
        sizes, lanes, members = self.kernels[name].sizes, layout.lanes, layout.members
        # a kernel counts rows from the first step
        addresses = array("q", [given[buffer].data_ptr() if buffer in given else 0 for buffer in sizes])
        if begin:
            for number, (buffer, size) in enumerate(sizes.items()):
                if buffer in of_block:
                    addresses[number] -= begin * lanes * self.itemsize * size
        if members > 1:
            key = name, members, lanes, layout.rows, (end - begin) * lanes if of_block else 0
            if key not in self._apart:
                if len(self._apart) >= KEPT_STRIDES:
                    self._apart.clear()
                strides = [
                    self._stride(buffer, size, layout, key[-1] if buffer in of_block else layout.rows, given)
                    for buffer, size in sizes.items()
                ]
                self._apart[key] = self.itemsize * np.arange(members)[:, None] * strides
            addresses = array("q", (np.array(addresses) + self._apart[key]).tobytes())
        tiles = layout.tables(self.tile[name])
        work = (end - begin) * members * lanes * self.work[name]
        after = tiles.address, lanes, tiles.events_address, addresses.buffer_info()[0]
        share_out(self.function(name), (begin, end), after, len(tiles.ends), work, tiles.ends)

    def _stride(self, buffer: str, size: int, layout: Layout, rows: int, given: dict[str, Tensor]) -> int:
        """Numbers from one member's to the next one's."""
        if buffer in self.plan.parameters:
            return given[buffer][0].numel()
        if buffer.startswith(("start", "begun", "ended")):
            return 0
        if buffer == "total":
            return size * layout.lanes // GROUP
        if buffer.startswith("state"):
            rows += layout.lanes
        return size * (2 * layout.lanes if buffer.startswith("carry") else rows)


class After:
    """The gradients of x and of the tensors, from what the backward kernel writes.

    Args:
        derived: the layer.
        wanted: whether there shall be one, of x and of each tensor.

    Attributes:
        of_x: whether there is one of x.
        grads: the nodes of those of the tensors.
        sums: each of these once.
        program: gives that of x, where it is wanted, and the sums.
    """

    def __init__(self, derived: Derived, wanted: Sequence[bool]) -> None:
        found = derived.trace
        of_x = found.grad_x if wanted[0] else None
        self.of_x = of_x is not None
        self.grads = [node if want else None for node, want in zip(found.grad_tensors, wanted[1:], strict=True)]
        self.sums = list(dict.fromkeys(node for node in self.grads if node is not None))
        results = [*([] if of_x is None else [of_x]), *self.sums]
        used = needed(results)
        self.program = Program([node for node in derived.plan.after if node in used], results, found.marker)
