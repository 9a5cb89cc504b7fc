"""A network with a decoder as two files: what reads a text, and a step of what answers it.

    encoder   inputs, lengths                         → memory_0 …, state_0 …
    decoder   tokens, memory_0 …, state_0 …           → log_probabilities, attention, next_state_0 …

The search stays with whoever serves them: a greedy one is ten lines of numpy.
"""

import copy
import io
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from rnnlab.attention import Memory
from rnnlab.cells.cell import Cell, map_state
from rnnlab.decoder import DecoderState
from rnnlab.errors import RunFailed
from rnnlab.network import Network
from rnnlab.runs.threads import one_thread
from rnnlab.spec import valid_steps
from rnnlab.use.export.check import TINY, Case, Steps, Verdict
from rnnlab.use.export.formats import OPSET, forget_source, quiet, reason, serving_cell, tidied
from rnnlab.use.export.portable import exchange_cells
from rnnlab.use.export.step_graph import parts
from rnnlab.use.export.target import Format

SEQUENCES, STEPS = 3, 5
"""By which a network is traced: neither is 1, and they differ."""
SIZES = ((1, 1), (1, 7), (2, 4), (5, 12))
"""Texts and tokens of the texts that are tried."""
TOLD = 6
"""Tokens that a decoder is told one after the other."""


class Reading(nn.Module):
    """The encoder: from tokens to what the decoder attends to, and where it starts from."""

    def __init__(self, network: Network, exchange: Callable[[Cell[Any]], Cell[Any]]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        exchange_cells(self.network, exchange)

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        network = self.network
        assert network.decoder is not None
        # of one sequence and then of all: a tracer's size is no int, which initial_state takes
        starts = for_all(network.initial_state(1), inputs)
        hidden, final = network.run_layers(Cell.__call__, inputs, starts, lengths)  # as Network.encode, unchecked
        cells = for_all([cell.initial_state(1) for cell in network.decoder.cells()], inputs)
        state = network.bridge(cells, final, network.pool(hidden, lengths))
        copies = None if network.decoder.gate is None else network.copies[inputs]
        memory = network.decoder.memory(hidden, valid_steps(hidden, lengths), copies)
        return (*memory_parts(memory), *state_parts(network.decoder.start_state(state, memory)))


def for_all(states: Sequence[Any], inputs: Tensor) -> list[Any]:
    """States of one sequence as those of a batch."""
    rows = inputs.shape[0]
    return [map_state(lambda part: part.expand(rows, *part.shape[1:]), state) for state in states]


class Saying(nn.Module):
    """One step of the decoder."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        assert self.network.decoder is not None
        self.decoder = self.network.decoder
        states = [cell.initial_state(1) for cell in self.decoder.cells()]
        self.sizes = [len(parts(state)) for state in states]
        self.alone = [isinstance(state, Tensor) for state in states]
        self.memory_size = 3 + (self.decoder.gate is not None)

    def forward(self, tokens: Tensor, memory: tuple[Tensor, ...], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        read = Memory(*memory)
        given = iter(state)
        cells = tuple(
            next(given) if alone else tuple(next(given) for _ in range(size))
            for alone, size in zip(self.alone, self.sizes, strict=True)
        )
        fed = next(given) if self.decoder.input_feeding else None
        covered = next(given) if self.decoder.coverage else None
        scores, after, weights = self.network.say(tokens, DecoderState(cells, fed, covered), read)
        shown = torch.zeros_like(read.hidden[..., 0]) if weights is None else weights
        return (scores.log_softmax(-1), shown, *state_parts(after))


def memory_parts(memory: Memory) -> tuple[Tensor, ...]:
    """The tensors of a memory, each of its own: a file must not put out one of them twice."""
    kept = tuple(part for part in memory if part is not None)
    return tuple(part.clone() for part in kept)


def state_parts(state: DecoderState) -> tuple[Tensor, ...]:
    """The tensors of a decoder's state: of the layers, the vector that is fed, how much each step was looked at."""
    cells = [part for each in state.cells for part in parts(each)]
    return tuple(part.clone() for part in (*cells, state.fed, state.covered) if part is not None)


def names(network: Network) -> tuple[list[str], list[str]]:
    """Of the tensors of the memory, and of the state."""
    saying = Saying(network)
    decoder = saying.decoder
    states = sum(saying.sizes) + decoder.input_feeding + decoder.coverage
    return [f"memory_{k}" for k in range(saying.memory_size)], [f"state_{k}" for k in range(states)]


def converted(network: Network, format: Format) -> tuple[bytes, bytes]:
    """The encoder and the decoder's step as the bytes of two files.

    Raises:
        RunFailed: they cannot be converted; with what the converter says.
    """
    try:
        with quiet():
            return _converted(network, format)
    except Exception as error:  # a tracer, on somebody's own cell, may say anything
        cell = network.cells()[0].title
        raise RunFailed(f"a network of {cell} cannot be exported to {format}: {reason(error)}") from error


@torch.no_grad()
def _converted(network: Network, format: Format) -> tuple[bytes, bytes]:
    reading, saying = Reading(network, serving_cell(format)), Saying(network)
    inputs = torch.zeros(SEQUENCES, STEPS, dtype=torch.int64)
    lengths = torch.tensor([STEPS, *[STEPS - 1] * (SEQUENCES - 1)])
    batch, time = Dim("batch", min=1), Dim("time", min=1)
    read = torch.export.export(
        reading, (inputs, lengths), dynamic_shapes=({0: batch, 1: time}, {0: batch}), strict=False
    )
    made = reading(inputs, lengths)
    memory, state = made[: saying.memory_size], made[saying.memory_size :]
    given = (torch.zeros(SEQUENCES, dtype=torch.int64), memory, state)
    covered = saying.decoder.coverage
    shapes = (
        {0: batch},
        tuple({0: batch, 1: time} for _ in memory),
        tuple(
            {0: batch, 1: time} if covered and number == len(state) - 1 else {0: batch} for number in range(len(state))
        ),
    )
    said = torch.export.export(saying, given, dynamic_shapes=shapes, strict=False)
    memories, states = names(network)
    after = [f"next_{name}" for name in states]
    return (
        _content(read, format, ["inputs", "lengths"], [*memories, *states]),
        _content(said, format, ["tokens", *memories, *states], ["log_probabilities", "attention", *after]),
    )


def _content(program: ExportedProgram, format: Format, given: list[str], made: list[str]) -> bytes:
    forget_source(program)
    if format == "pt2":
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        return buffer.getvalue()
    found = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, verbose=False, input_names=given, output_names=made
    )
    assert found is not None
    content: bytes = tidied(found.model_proto).SerializeToString()
    return content


Run = Callable[[dict[str, Tensor]], list[Tensor]]


def served(content: bytes, format: Format, network: Network, step: bool) -> Run:
    """A file as a server runs it: of tensors by their names."""
    memories, states = names(network)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        known = {each.name for each in session.get_inputs()}
        # what a decoder has no use for, such as the memory without attention, is no input of its file
        return lambda given: [
            torch.from_numpy(each)
            for each in session.run(None, {name: part.numpy() for name, part in given.items() if name in known})
        ]
    module = torch.export.load(io.BytesIO(content)).module()

    def run(given: dict[str, Tensor]) -> list[Tensor]:
        if not step:
            return list(module(given["inputs"], given["lengths"]))
        return list(module(given["tokens"], tuple(given[m] for m in memories), tuple(given[s] for s in states)))

    return run


@torch.no_grad()
def compared(network: Network, read: Run, say: Run, steps: Steps) -> Verdict:
    """How far the two files are from the network, at several sizes: the encoder, then some tokens of a greedy answer.

    Args:
        network: in evaluation mode.
        read: the encoder.
        say: the decoder's step.
        steps: to make inputs of.
    """
    with one_thread():
        return Verdict([_try(network, read, say, steps.cut(*size)) for size in SIZES])


def _try(network: Network, read: Run, say: Run, inputs: Tensor) -> Case:
    memories, states = names(network)
    assert network.decoder is not None
    batch, time = inputs.shape
    lengths = torch.linspace(time, 1, batch).round().long()
    started = perf_counter()
    memory, state = network.encode(inputs, lengths)
    told = [torch.full((batch,), network.decoder.start)]
    expected = [[*memory_parts(memory), *state_parts(state)]]
    for _ in range(TOLD):
        scores, state, weights = network.say(told[-1], state, memory)
        shown = torch.zeros(batch, time) if weights is None else weights
        expected.append([scores.log_softmax(-1), shown, *state_parts(state)])
        told.append(scores.argmax(-1))
    between = perf_counter()
    made = [read({"inputs": inputs, "lengths": lengths})]
    given = dict(zip([*memories, *states], made[0], strict=True))
    for tokens in told[:-1]:
        made.append(say({"tokens": tokens, **given}))
        given |= dict(zip(states, made[-1][2:], strict=True))
    seconds = (perf_counter() - between, between - started)
    errors = [_errors(ours, theirs) for ours, theirs in zip(made, expected, strict=True)]
    absolute, relative = (max(each) for each in zip(*errors, strict=True))
    return Case(batch, time, absolute, relative, 0.0, seconds)


def _errors(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> tuple[float, float]:
    """The largest difference, and the largest relative to the largest number of its tensor; infinite where there is
    what is no number.
    """
    absolute = relative = 0.0
    for one, other in zip(ours, theirs, strict=True):
        error = float((one.double() - other.double()).abs().max())
        error = error if error == error else float("inf")
        absolute = max(absolute, error)
        relative = max(relative, error / max(float(other.double().abs().max()), TINY))
    return absolute, relative
