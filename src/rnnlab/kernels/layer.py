"""A layer derived from its cell's ``step``: the recurrence in compiled kernels, all else as products of PyTorch."""

import ctypes
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import functional_call

from rnnlab.kernels import native
from rnnlab.kernels.layout import Layout, dense, varying
from rnnlab.kernels.planning import Kernel, Plan, is_multiple, plan, width_of
from rnnlab.kernels.printing import LIBRARY, print_kernel, tile_rows
from rnnlab.kernels.tracing import INPUT, Node, NotDerivable, StepModule, Trace, map_leaves, needed, trace
from rnnlab.shapes import Features, HiddenSequence, Lengths, State

aten: Any = torch.ops.aten

BLOCK_ROWS = 1024
"""Rows of a block of steps: what a kernel writes of them is still in the cache when the products read it."""
SHARE = 2**21
"""Numbers that a thread must have to compute with, or it is not worth waking."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}
"""By how much a derived layer may differ from the loop when it is checked, relative to the largest number: many times
the rounding, and far below any mistake."""


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
        self.trace: Trace = trace(cell, dtype)
        self.plan: Plan = plan(self.trace)
        self.real = "float" if dtype == torch.float32 else "double"
        self.hidden = width_of(self.trace.output)
        self.random = self.trace.random
        kernels = {"forward": self.plan.forward, "backward": self.plan.backward}
        for kernel in kernels.values():
            for expr in kernel.expressions():
                if expr.op in LIBRARY and expr.op not in native.library():
                    raise NotDerivable(f"there is no kernel for {expr.op} on this machine")
        self.kernels = kernels
        self.tile = {name: tile_rows(kernel, self.real, self.machine) for name, kernel in kernels.items()}
        self._functions: dict[tuple[str, bool], Any] = {}
        read = {expr.data[0] for expr in self.plan.backward.expressions() if expr.op == "rows"}
        self.kept_inputs = [name for name in self.plan.inputs if name in read]
        self.single = self.trace.single
        self._after: dict[tuple[bool, ...], tuple[list[Node], list[Node]]] = {}

    def function(self, name: str, masked: bool) -> Any:
        """A kernel, ready to be called."""
        if (name, masked) not in self._functions:
            symbol = f"{name}_masked" if masked else name
            text = print_kernel(symbol, self.kernels[name], self.real, self.machine, masked)
            kind = ctypes.CFUNCTYPE(
                None, *([ctypes.c_int64] * 4), ctypes.c_void_p, ctypes.c_int64, *([ctypes.c_void_p] * 4)
            )
            self._functions[name, masked] = kind(native.load(text, symbol))
        return self._functions[name, masked]

    def __call__(
        self, cell: Any, x: Features, state: State | None, lengths: Lengths | None
    ) -> tuple[HiddenSequence, Any]:
        """As :meth:`rnnlab.cells.cell.Cell.unroll`."""
        state = cell.initial_state(len(x)) if state is None else state
        parts = (state,) if isinstance(state, Tensor) else state
        named = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
        tensors = [named[name.removeprefix("cell.")] for name in self.trace.names]
        output, *last = _Layer.apply(self, cell, lengths, BLOCK_ROWS, x, *parts, *tensors)
        return output, last[0] if self.single else tuple(last)

    def after(self, wanted: Sequence[bool]) -> tuple[list[Node], list[Node]]:
        """The nodes that give the wanted ones of the gradients of x and of the tensors, and those of the steps that
        they read.
        """
        key = tuple(wanted)
        if key not in self._after:
            grads = [self.trace.grad_x, *self.trace.grad_tensors]
            used = needed(grad for grad, want in zip(grads, wanted, strict=True) if want)
            self._after[key] = (
                [node for node in self.plan.after if node in used],
                [node for node in self.plan.rows_for_after if node in used],
            )
        return self._after[key]

    # ---- running ---------------------------------------------------------------------------------------------
    def of_parameters(self, tensors: Sequence[Tensor]) -> dict[Node, Any]:
        """All values that are the same at each step."""
        env: dict[Node, Any] = dict(zip(self.trace.tensors, tensors, strict=True))
        run_nodes(self.plan.before, env, self.trace.marker, 1)
        return env

    def handed(self, env: dict[Node, Any]) -> dict[str, Tensor]:
        """The parameters as the kernels read them."""
        return {
            name: change(value_of(node, env)).contiguous() for name, (node, change) in self.plan.parameters.items()
        }  # fmt: skip

    def run(
        self, name: str, begin: int, end: int, layout: Layout, given: dict[str, Tensor], members: int = 1,
        strides: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Takes all rows from step ``begin`` to ``end``, or back.

        Args:
            name: of the kernel.
            begin: a step.
            end: a step.
            layout: of the rows.
            given: the buffers. Those of a block of steps alone, ``saved`` and edges among them, begin with ``begin``.
            members: with parameters of their own.
            strides: bytes from one member's parameters to the next one's.
        """
        kernel = self.kernels[name]
        of_block = int(layout.offsets[begin])
        table = np.zeros((members, len(kernel.sizes)), np.int64)
        for column, (buffer, size) in enumerate(kernel.sizes.items()):
            tensor = given.get(buffer)
            if tensor is None:
                continue
            address = tensor.data_ptr()
            if buffer in given.get("of_block", ()):
                address -= of_block * size * tensor.element_size()
            table[:, column] = address
            if strides and buffer in strides:
                table[:, column] += strides[buffer] * np.arange(members)
        tiles = layout.tiles(self.tile[name], members)
        function = self.function(name, layout.lengths is not None)
        lengths = 0 if layout.lengths is None else layout.lengths.ctypes.data
        arguments = (
            tiles.ctypes.data, layout.rows * members, layout.offsets.ctypes.data, layout.states.ctypes.data, lengths,
            table.ctypes.data,
        )  # fmt: skip
        for job in shares(tiles, begin, end, _work(kernel, tiles, self.tile[name], begin, end)):
            job(function, begin, end, *arguments)


def _work(kernel: Kernel, tiles: np.ndarray, rows: int, begin: int, end: int) -> int:
    return len(tiles) * rows * (end - begin) * sum(kernel.sizes.values())


def value_of(node: Node, env: dict[Node, Any]) -> Any:
    """A node's value."""
    if node.op == "constant":
        return node.value
    return env[node]


def run_nodes(nodes: Iterable[Node], env: dict[Node, Any], marker: int, rows: int) -> None:
    """Runs nodes on ``rows`` rows in place of ``marker``; the results go to ``env``."""

    def value(arg: Any) -> Any:
        if isinstance(arg, Node):
            if arg.op == "full" and arg not in env:
                shape = [rows * size // marker if is_multiple(size, marker) else size for size in arg.shape]
                env[arg] = torch.full(shape, arg.value, dtype=arg.dtype)
            return value_of(arg, env)
        return rows * arg // marker if is_multiple(arg, marker) else arg

    for node in nodes:
        if node in env or node.op in ("full", "constant"):
            continue
        if node.op == "item":
            env[node] = env[node.args[0]][node.args[1]]
            continue
        function = product if node.op is aten.mm.default else node.op
        kwargs = {name: map_leaves(value, arg) for name, arg in node.kwargs.items()}
        env[node] = function(*map_leaves(value, node.args), **kwargs)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``; the gradient of a weight of few features takes a quarter of the time the other way round."""
    if a.dim() == 2 and a.stride(0) == 1 and 4 * b.shape[1] <= a.shape[0]:
        return torch.mm(b.t(), a.t()).t()
    return torch.mm(a, b)


# ---- threads ----------------------------------------------------------------------------------------------------

_POOLS: dict[int, ThreadPoolExecutor] = {}
_LOCK = threading.Lock()


def _pool() -> ThreadPoolExecutor:
    """Of this process: a child that was forked has none of its parent's threads."""
    with _LOCK:
        if os.getpid() not in _POOLS:
            _POOLS.clear()
            _POOLS[os.getpid()] = ThreadPoolExecutor(64, thread_name_prefix="rnnlab-kernels")
        return _POOLS[os.getpid()]


def shares(tiles: np.ndarray, begin: int, end: int, work: int) -> Iterable[Any]:
    """One call that runs all tiles, each thread's share at once with the others.

    Rows know nothing of each other, so that the result is the same for any number of threads.
    """
    threads = max(1, min(torch.get_num_threads(), len(tiles), work // SHARE))

    def run(function: Any, t0: int, t1: int, *arguments: Any) -> None:
        if threads == 1:
            function(t0, t1, 0, len(tiles), *arguments)
            return
        # each gets as many steps as the others
        done = np.cumsum(np.minimum(tiles[:, 1], t1).clip(t0) - t0)
        edges = [0, *np.searchsorted(done, done[-1] * np.arange(1, threads) / threads).tolist(), len(tiles)]
        pool = _pool()
        jobs = [
            pool.submit(function, t0, t1, first, last, *arguments)
            for first, last in pairwise(edges[1:])
            if first < last
        ]
        function(t0, t1, edges[0], edges[1], *arguments)
        for job in jobs:
            job.result()

    return [run]


# ---- the layer ----------------------------------------------------------------------------------------------------


class _Layer(Function):
    """x ``(batch, time, features)``, the parts of the state and the cell's tensors to the output ``(batch, time,
    hidden)`` and the parts of the last state.
    """

    @staticmethod
    def forward(
        ctx: Any, derived: Derived, cell: Any, lengths: Tensor | None, block: int, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:  # fmt: skip
        found, p = derived.trace, derived.plan
        count = len(found.states)
        starts, tensors = rest[:count], rest[count:]
        batch, time, _ = x.shape
        saving = any(ctx.needs_input_grad)
        draws = _draw(derived, batch, time)
        if time == 0 or batch == 0 or (lengths is not None and not bool(lengths.any())):
            ctx.empty = True
            ctx.save_for_backward(x, lengths, *rest)
            return x.new_zeros(batch, time, derived.hidden), *(start.clone() for start in starts)
        layout = dense(batch, time) if lengths is None else varying(lengths, time)
        with torch.inference_mode():
            env = derived.of_parameters(tensors)
            given: dict[str, Any] = derived.handed(env)
            rows = _rows_of(x, layout)
            blocks = layout.blocks(block)
        states = []
        for number, start in enumerate(starts):
            width = width_of(found.states[number])
            whole = x.new_empty(layout.rows + layout.total + 1, width)
            flat = start.reshape(batch, width)
            torch.index_select(flat, 0, layout.order, out=whole[: layout.rows]) if layout.order is not None else whole[
                : layout.rows
            ].copy_(flat)
            given[f"state{number}"] = whole
            states.append(whole)
        if p.output is None:
            given["output"] = x.new_empty(layout.total + 1, derived.hidden)
        env[found.x] = rows
        for node, drawn in draws.items():
            env[node] = _placed_draws(drawn, layout)
        with torch.inference_mode():
            run_nodes(p.of_inputs, env, found.marker, layout.total)
            for name, node in p.inputs.items():
                given[name] = env[node].to(x.dtype).contiguous()
            if saving:
                given["saved"] = x.new_empty(layout.total, p.saved)
                derived.run("forward", 0, layout.steps, layout, given)
            else:
                # nobody reads what is kept: one block's memory will do
                most = max(int(layout.offsets[end] - layout.offsets[begin]) for begin, end in blocks)
                given["saved"], given["of_block"] = x.new_empty(most, p.saved), {"saved"}
                for begin, end in blocks:
                    derived.run("forward", begin, end, layout, given)
        rows_out = given["output"] if p.output is None else states[p.output][layout.rows :]
        output = _output(rows_out, layout, derived.hidden)
        last = tuple(
            _last(whole, layout).view(start.shape) if layout.begun is None
            else torch.where(_like(layout.begun, start), _last(whole, layout).view(start.shape), start)
            for whole, start in zip(states, starts, strict=True)
        )  # fmt: skip
        if saving:
            keep = {*derived.kept_inputs, *p.parameters, "saved", *(f"state{number}" for number in range(count))}
            ctx.given = {name: value for name, value in given.items() if name in keep}
            read = {node for node in p.rows_for_after if node.kind == INPUT} | set(draws)
            ctx.env = {node: value for node, value in env.items() if node.kind < INPUT or node in read}
            ctx.derived, ctx.cell, ctx.layout, ctx.blocks, ctx.empty = derived, cell, layout, blocks, False
            ctx.save_for_backward(x, lengths, *rest)
        ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, direct: Tensor | None, *last: Tensor | None) -> tuple[Tensor | None, ...]:
        x, lengths, *rest = ctx.saved_tensors
        if ctx.empty:
            return None, None, None, None, None, *last, *([None] * (len(rest) - len(last)))
        derived, layout = ctx.derived, ctx.layout
        if torch.is_grad_enabled() or any(map(_is_batched, (direct, *last))):
            return _through_the_loop(ctx, x, lengths, rest, direct, last)
        found, p = derived.trace, derived.plan
        given, env = dict(ctx.given), dict(ctx.env)
        count, batch = len(found.states), layout.batch
        wanted = ctx.needs_input_grad[4], *ctx.needs_input_grad[5 + count :]
        nodes, rows_for_after = derived.after(wanted)
        grad_rows = None
        if wanted[0] and found.grad_x is not None:
            grad_rows = x.new_empty(layout.total + 1, x.shape[2])
        with torch.inference_mode():
            for number, grad in enumerate(last):
                width = width_of(found.states[number])
                given[f"carry{number}"] = carry = x.new_zeros(2, layout.rows, width)
                if grad is not None:
                    _begin_carry(carry, grad.reshape(batch, width), layout)
            given["tangent"] = (
                x.new_zeros(layout.total, derived.hidden) if direct is None else _rows_of(direct, layout, zero=True)
            )
            sizes = {name: width_of(node) for name, node in p.edges.items()}
            most = max(int(layout.offsets[end] - layout.offsets[begin]) for begin, end in ctx.blocks)
            for name, width in sizes.items():
                given[name] = x.new_empty(most, width)
            given["of_block"] = set(sizes)
            grads = [node if want else None for node, want in zip(found.grad_tensors, wanted[1:], strict=True)]
            sums: dict[Node, Any] = dict.fromkeys(node for node in grads if node is not None)
            for begin, end in reversed(ctx.blocks):
                derived.run("backward", begin, end, layout, given)
                low, high = int(layout.offsets[begin]), int(layout.offsets[end])
                local = {node: value for node, value in env.items() if node.kind < INPUT}
                for name, node in p.edges.items():
                    local[node] = given[name][: high - low].view(high - low, *node.tail)
                for node in rows_for_after:
                    if node in found.states:
                        whole = given[f"state{found.states.index(node)}"]
                        local[node] = _states_before(whole, layout, begin, end).view(high - low, *node.tail)
                    else:
                        local[node] = env[node][low:high]
                run_nodes(nodes, local, found.marker, high - low)
                for node in sums:
                    sums[node] = local[node] if sums[node] is None else sums[node].add_(local[node])
                if grad_rows is not None:
                    grad_rows[low:high] = local[found.grad_x]
        grad_x = None if grad_rows is None else _output(grad_rows, layout, x.shape[2])
        starts = []
        for number, start in enumerate(rest[:count]):
            first = given[f"carry{number}"][0]
            starts.append(_end_carry(first, last[number], layout).view(start.shape))
        of_tensors = [
            None if node is None else sums[node].clone().view(tensor.shape)
            for node, tensor in zip(grads, rest[count:], strict=True)
        ]
        return None, None, None, None, grad_x, *starts, *of_tensors


def _through_the_loop(
    ctx: Any, x: Tensor, lengths: Tensor | None, rest: Sequence[Tensor], direct: Tensor | None,
    last: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Gradients that can be differentiated again, and batches of gradients: through the loop over ``step``."""
    derived = ctx.derived
    if derived.random:
        raise RuntimeError(
            "a step that draws random numbers has these derivatives only with model.cell.backend=reference"
        )
    count = len(derived.trace.states)
    module = UnrollModule(ctx.cell)
    names = [f"cell.{name.removeprefix('cell.')}" for name in derived.trace.names]
    tensors = dict(zip(names, rest[count:], strict=True))
    state = rest[0] if derived.single else tuple(rest[:count])
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        output, after = functional_call(module, tensors, (x, state, lengths))
    results = [output, *((after,) if derived.single else after)]
    pairs = [
        (result, grad)
        for result, grad in zip(results, (direct, *last), strict=True)
        if grad is not None and result.requires_grad
    ]
    inputs = [x, *rest]
    wanted = [number for number, tensor in enumerate(inputs) if tensor.requires_grad]
    if not pairs:
        return (None,) * (4 + len(inputs))
    outputs, grads = zip(*pairs, strict=True)
    found = torch.autograd.grad(
        outputs, [inputs[number] for number in wanted], grads, create_graph=again, allow_unused=True
    )  # fmt: skip
    by_number = dict(zip(wanted, found, strict=True))
    return None, None, None, None, *(by_number.get(number) for number in range(len(inputs)))


def _is_batched(grad: Tensor | None) -> bool:
    functions = torch._C._functorch
    return grad is not None and (functions.is_legacy_batchedtensor(grad) or functions.is_batchedtensor(grad))


class UnrollModule(StepModule):
    """A cell whose ``forward`` is the loop."""

    def forward(self, x: Tensor, state: State | None, lengths: Tensor | None = None) -> Any:
        return self.cell._unroll(x, state, lengths)  # type: ignore[operator]


# ---- rows ---------------------------------------------------------------------------------------------------------


def _rows_of(x: Tensor, layout: Layout, zero: bool = False) -> Tensor:
    """``(batch, time, …)`` to ``(rows, …)``; rows that fill up a group are copies of another one, or zero."""
    if layout.places is not None:
        flat = x.reshape(layout.batch * layout.time, *x.shape[2:])
        rows = flat.index_select(0, layout.places)
        if zero and layout.lengths is not None:
            first = int((layout.lengths > 0).sum())
            for step in range(layout.steps if first < layout.rows else 0):
                begin, end = int(layout.offsets[step]), int(layout.offsets[step + 1])
                if end - begin > first:
                    rows[begin + first : end] = 0
        return rows
    by_time = x.transpose(0, 1)
    if layout.order is None:
        return by_time.reshape(layout.total, *x.shape[2:])
    if not zero:
        return by_time.index_select(1, layout.order).view(layout.total, *x.shape[2:])
    rows = x.new_zeros(layout.time, layout.rows, *x.shape[2:])
    rows[:, : layout.batch] = by_time
    return rows.view(layout.total, *x.shape[2:])


def _output(rows: Tensor, layout: Layout, width: int) -> Tensor:
    """``(rows + 1, width)``, of which the last may be overwritten, to ``(batch, time, width)``, zero on padding."""
    if layout.row_of is not None:
        rows[layout.total].zero_()
        return rows.index_select(0, layout.row_of).view(layout.batch, layout.time, width)
    by_time = rows[: layout.total].view(layout.time, layout.rows, width)
    return by_time[:, : layout.batch].transpose(0, 1)


def _last(whole: Tensor, layout: Layout) -> Tensor:
    """``(batch, width)``: the state after each sequence's last step."""
    if layout.after is not None:
        return whole.index_select(0, layout.after)
    begin = int(layout.states[layout.steps])
    return whole[begin : begin + layout.batch].clone()


def _begin_carry(carry: Tensor, grad: Tensor, layout: Layout) -> None:
    """Puts the gradients of the last states where the backward kernel begins with each row."""
    if layout.lengths is None:
        carry[layout.steps % 2, : layout.batch] = grad
        return
    assert layout.order is not None
    count = int((layout.lengths > 0).sum())
    parity = torch.from_numpy(layout.ends[:count] % 2)
    carry[parity, torch.arange(count)] = grad.index_select(0, layout.order[:count])


def _end_carry(first: Tensor, grad: Tensor | None, layout: Layout) -> Tensor:
    """``(batch, width)``: the gradient of the state before the first step."""
    if layout.lengths is None:
        return first[: layout.batch].clone()
    assert layout.order is not None
    count = int((layout.lengths > 0).sum())
    found = first.new_zeros(layout.batch, first.shape[1]) if grad is None else grad.reshape(layout.batch, -1).clone()
    return found.index_copy_(0, layout.order[:count], first[:count])


def _states_before(whole: Tensor, layout: Layout, begin: int, end: int) -> Tensor:
    """The state before each row of some steps."""
    low, high = int(layout.offsets[begin]), int(layout.offsets[end])
    first = int(layout.states[begin])
    if layout.state_rows is None:
        return whole[first : first + high - low]
    rows = layout.state_rows[low:high]
    if int(rows[-1]) - int(rows[0]) == high - low - 1:
        return whole[int(rows[0]) : int(rows[-1]) + 1]
    return whole.index_select(0, rows)


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.reshape(mask.shape + (1,) * (tensor.dim() - mask.dim()))


def _draw(derived: Derived, batch: int, time: int) -> dict[Node, Tensor]:
    """The random numbers of all steps, ``(time, batch, …)``, drawn in the order in which the loop draws them."""
    if not derived.random:
        return {}
    drawn: dict[Node, list[Tensor]] = {node: [] for node in derived.random}
    for _ in range(time):
        for node in derived.random:
            env: dict[Node, Any] = {}
            run_nodes([node], env, derived.trace.marker, batch)
            drawn[node].append(env[node])
    return {node: torch.stack(each) if each else torch.empty(0) for node, each in drawn.items()}


def _placed_draws(drawn: Tensor, layout: Layout) -> Tensor:
    return _rows_of(drawn.transpose(0, 1), layout)


# ---- the check ------------------------------------------------------------------------------------------------------


def check(derived: Derived, cell: Any, dtype: torch.dtype, named: dict[str, Tensor] | None = None) -> None:
    """Holds a derived layer against the loop, in value and in gradient, over two blocks of steps.

    Args:
        derived: the layer.
        cell: from which it was derived.
        dtype: of its parameters.
        named: values of its parameters and buffers, where they aren't the cell's own.

    Raises:
        NotDerivable: they differ.
    """
    batch, time = 3, 5
    names = [name.removeprefix("cell.") for name in derived.trace.names]
    trained = {name for name, _ in cell.named_parameters()}
    named = named or {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        generator = torch.Generator().manual_seed(1)

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=dtype, generator=generator)

        tensors = []
        for name in names:
            value = named[name].detach().clone()
            if value.dtype == dtype and name in trained:
                value = (value + 0.03 * noise(*value.shape)).requires_grad_()
            tensors.append(value)
        x = noise(batch, time, cell.input_size).requires_grad_()
        with torch.no_grad():
            torch.manual_seed(2)
            own = {f"cell.{name}": tensor for name, tensor in zip(names, tensors, strict=True)}
            first = functional_call(StepModule(cell), own, (x, None))
            start = functional_call(UnrollModule(cell), own, (noise(batch, 2, cell.input_size), first))[1]
        parts = [part.clone().requires_grad_() for part in ((start,) if derived.single else start)]
        wanted = [tensor for tensor in (x, *parts, *tensors) if tensor.requires_grad]
        weights: list[Tensor] = []
        results = []
        for run in ("derived", "loop"):
            torch.manual_seed(3)
            if run == "derived":
                output, *last = _Layer.apply(derived, cell, None, 3 * dense(batch, time).rows, x, *parts, *tensors)
            else:
                state = parts[0] if derived.single else tuple(parts)
                output, after = functional_call(UnrollModule(cell), own, (x, state))
                last = [after] if derived.single else list(after)
            every = [output, *last]
            weights = weights or [noise(*each.shape) for each in every]
            loss = sum((each * weight).sum() for each, weight in zip(every, weights, strict=True) if each.requires_grad)
            grads: Sequence[Tensor | None] = [None] * len(wanted)
            if isinstance(loss, Tensor):
                grads = torch.autograd.grad(loss, wanted, allow_unused=True)
            results.append([*every, *grads])
    for ours, expected in zip(*results, strict=True):
        one, other = (torch.zeros(()) if each is None else each.detach() for each in (ours, expected))
        bound = TOLERANCE[dtype] * (float(other.abs().nan_to_num().max()) + 1e-3)
        one, other = torch.broadcast_tensors(one, other)
        if not torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True):
            raise NotDerivable("its kernel computes something else: it reads or changes what PyTorch does not see")
