"""The two formats: how a network gets into one, and how it is run from there."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from rnnlab.cells.cell import Cell
from rnnlab.errors import InputError, RunFailed
from rnnlab.network import Network
from rnnlab.use.export.base import Base
from rnnlab.use.export.onnx_operators import OnnxOperator, has_operator
from rnnlab.use.export.over_time import OverTime
from rnnlab.use.export.portable import Portable
from rnnlab.use.export.target import Format

LARGEST = 2**31 - 2**20
"""Bytes of an ONNX file: protobuf has no larger ones."""
OPSET = 20


Served = Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, ...]]
"""A file that is loaded, and run as a server would: of inputs, lengths, state and what the base reads the output and
the next state.
"""


def input_names(portable: Portable) -> list[str]:
    """Of an ONNX file's inputs, in order."""
    states = [f"state_{number}" for number in range(len(portable.starts))]
    return ["inputs", "lengths", *states, *(portable.base.names if portable.base is not None else [])]


def output_names(portable: Portable) -> list[str]:
    """Of an ONNX file's outputs, in order."""
    return ["output", *[f"next_state_{number}" for number in range(len(portable.starts))]]


def convert(network: Network, inputs: Tensor, format: Format, base: Base | None = None) -> tuple[Portable, bytes]:
    """A network as the bytes of a file.

    Args:
        network: which stays as it is.
        inputs: an example, of more than one sequence and of several steps.
        format: of the file.
        base: what the network's output is added to.

    Raises:
        RunFailed: it cannot be converted; with what the converter says.
    """
    try:
        with quiet():
            portable = Portable(network, serving_cell(format), base)
            program = trace(portable, inputs)
            content = to_onnx(program, portable) if format == "onnx" else to_pt2(program)
    # a tracer, on somebody's own cell, may say anything
    except Exception as error:
        cell = network.cells()[0].title
        raise RunFailed(f"a network of {cell} cannot be exported to {format}: {reason(error)}") from error
    return portable, content


def reason(error: BaseException) -> str:
    """What was first wrong: converters wrap it in advice for their own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__


def serving_cell(format: Format) -> Callable[[Cell[Any]], Cell[Any]]:
    """What makes of a cell one that a format can hold."""
    return _for_onnx if format == "onnx" else OverTime


def _for_onnx(cell: Cell[Any]) -> Cell[Any]:
    return OnnxOperator(cell) if has_operator(cell) else OverTime(cell)


@torch.no_grad()
def trace(portable: Portable, inputs: Tensor) -> ExportedProgram:
    """The network's operations, for any batch and any length."""
    arguments = portable.example(inputs)
    # at least 1: else every size would be compared with 0
    batch, time = Dim("batch", min=1), Dim("time", min=1)
    shapes: tuple[Any, ...] = ({0: batch, 1: time}, {0: batch}, tuple({0: batch} for _ in portable.starts))
    if portable.base is not None:
        before = portable.base.linear.order - 1
        shapes += (tuple({0: batch, 1: time + before if name == "values" else time} for name in portable.base.names),)
    program = torch.export.export(portable, arguments, dynamic_shapes=shapes[: len(arguments)], strict=False)
    forget_source(program)
    return program


def forget_source(program: ExportedProgram) -> None:
    """A file to be served elsewhere names no path of the machine that made it."""
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
                node.meta.pop(name, None)


def to_pt2(program: ExportedProgram) -> bytes:
    """The bytes of a ``.pt2`` file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def to_onnx(program: ExportedProgram, portable: Portable) -> bytes:
    """The bytes of an ``.onnx`` file.

    Raises:
        InputError: it is larger than such a file can be.
    """
    weights = sum(part.numel() * part.element_size() for part in program.state_dict.values())
    if weights > LARGEST:
        raise InputError(f"the weights take {weights:,} bytes, and an ONNX file holds 2 GiB: use --format pt2")
    converted = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, verbose=False,
        input_names=input_names(portable), output_names=output_names(portable),
    )  # fmt: skip
    assert converted is not None
    content: bytes = tidied(converted.model_proto).SerializeToString()
    return content


def tidied(model: Any) -> Any:
    """An ONNX model whose sizes have names, without notes on whose file an operation comes from; of the inputs one of
    the first two has a batch and a time.
    """
    shaped = next(each for each in model.graph.input if len(each.type.tensor_type.shape.dim) > 1)
    batch, time = (size.dim_param for size in shaped.type.tensor_type.shape.dim[:2])
    _tidy(model.graph, {name: meaning for name, meaning in ((batch, "batch"), (time, "time")) if name})
    for function in model.functions:
        _tidy_nodes(function.node, {})
    return model


def _tidy(graph: Any, sizes: dict[str, str]) -> None:
    """Gives sizes their names, and leaves out notes on whose file an operation comes from."""
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sizes) or "(?!)")
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
        for size in value.type.tensor_type.shape.dim:
            if size.HasField("dim_param"):
                size.dim_param = pattern.sub(lambda found: sizes[found[0]], size.dim_param)
    del graph.metadata_props[:]
    _tidy_nodes(graph.node, sizes)


def _tidy_nodes(nodes: Any, sizes: dict[str, str]) -> None:
    for node in nodes:
        del node.metadata_props[:]
        node.ClearField("doc_string")
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _tidy(attribute.g, sizes)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what converters say to their developers: of packages that are not there, of names that will change."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


# ---- as a server runs them -----------------------------------------------------------------------


class OnnxServed:
    """In onnxruntime, on one thread."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def __call__(
        self, inputs: Tensor, lengths: Tensor, state: Sequence[Tensor], history: Sequence[Tensor] = ()
    ) -> tuple[Tensor, ...]:
        given = dict(zip(("inputs", "lengths", *self.names[2:]), (inputs, lengths, *state, *history), strict=True))
        found = self.session.run(None, {name: given[name].numpy() for name in self.names})
        return tuple(torch.from_numpy(each) for each in found)


class Pt2Served:
    """By ``torch.export.load``."""

    def __init__(self, content: bytes) -> None:
        with quiet():
            self.module = torch.export.load(io.BytesIO(content)).module()

    def __call__(
        self, inputs: Tensor, lengths: Tensor, state: Sequence[Tensor], history: Sequence[Tensor] = ()
    ) -> tuple[Tensor, ...]:
        with torch.no_grad():
            if history:
                return self.module(inputs, lengths, tuple(state), tuple(history))
            return self.module(inputs, lengths, tuple(state)) if state else self.module(inputs, lengths)


def serve(content: bytes, format: Format) -> Served:
    """Loads the bytes of a file."""
    return OnnxServed(content) if format == "onnx" else Pt2Served(content)
