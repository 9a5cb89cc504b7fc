"""The bridge to torch's own recurrent kernels: oneDNN on a CPU, cuDNN on a GPU, native code elsewhere.

They compute a whole layer in one call, from the parameters that the cell
itself owns, and equal its ``unroll`` in value and gradient.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function
from torch.backends import cudnn
from torch.backends.cudnn.rnn import get_cudnn_mode
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnlab.cells.bptt import by_hand
from rnnlab.cells.cell import S, at_the_end, map_state, zero_padding
from rnnlab.cells.varying_lengths import Block, cut, pack, placed
from rnnlab.shapes import Features, HiddenSequence, Lengths

Backend = Literal["auto", "derived", "torch", "reference"]
"""``torch`` is this bridge, ``reference`` the loop over ``step``, ``auto`` whatever is fastest: the bridge, or for
RNN and GRU on a CPU the layer that is derived from ``step`` (:mod:`rnnlab.kernels`), which is ``derived``."""

Kernel = Callable[..., tuple[Tensor, ...]]
"""``torch.rnn_tanh``, ``torch.rnn_relu``, ``torch.lstm`` or ``torch.gru``."""
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""``weight_ih, weight_hh, bias_ih, bias_hh``."""


COST_OF_A_CALL = 2**14
"""Of an LSTM's kernel on a CPU, forward and back, as the time of so many steps of single sequences of one unit."""
GRAIN = 8
"""A block has a multiple of so many steps and half as many sequences: oneDNN prepares itself for each new size."""

HOLD = 1e4
"""Added to a gate by the hold feature: far into the sigmoid's tail, exactly 0 or 1 there, and finite in half."""


def run_kernel(
    kernel: Kernel, weights: Weights, x: Features, state: S, lengths: Lengths | None
) -> tuple[HiddenSequence, S]:
    """One layer, one direction, through a kernel; arguments and results as :meth:`Cell.unroll` has them."""
    # the kernels' states have a leading axis of layers; a learned state is expanded, and cuDNN takes no such view
    start = map_state(lambda part: part[None].contiguous(), state)
    if x.is_cuda:
        _flatten(kernel, weights, x)
    if lengths is None:
        output, *final = kernel(x, start, *_options(weights), BATCH_FIRST)
    elif x.is_cuda:
        output, final = _packed(kernel, weights, x, start, lengths)
    elif by_hand(x):
        output, final = _in_blocks(kernel, weights, x, start, lengths)
    else:
        output, final = _padded(kernel, weights, x, start, lengths)
    parts = tuple(part[0] for part in final)
    return output, parts[0] if isinstance(state, Tensor) else parts  # type: ignore[return-value]


BATCH_FIRST = True


def _options(weights: Weights) -> tuple[list[Tensor], bool, int, float, bool, bool]:
    """weights, with biases, layers, dropout, training, bidirectional."""
    # cuDNN can differentiate only what ran in training mode; with no dropout inside that changes nothing else
    return list(weights), True, 1, 0.0, torch.is_grad_enabled(), False


def _packed(
    kernel: Kernel, weights: Weights, x: Features, start: S, lengths: Lengths
) -> tuple[HiddenSequence, list[Tensor]]:
    # torch packs no empty sequences: they get one step, whose results are taken back
    packed = pack_padded_sequence(x, lengths.cpu().clamp_min(1), batch_first=True, enforce_sorted=False)
    data, batch_sizes, order, inverse = packed
    assert order is not None and inverse is not None  # as enforce_sorted=False promises
    before: list[Tensor] = [start] if isinstance(start, Tensor) else list(start)
    start = map_state(lambda part: part.index_select(1, order), start)
    data, *final = kernel(data, batch_sizes, start, *_options(weights))
    output, _ = pad_packed_sequence(
        PackedSequence(data, batch_sizes, order, inverse), batch_first=True, total_length=x.shape[1]
    )
    empty = (lengths == 0)[:, None]
    ended = [part.index_select(1, inverse) for part in final]
    ended = [torch.where(empty, first, last) for first, last in zip(before, ended, strict=True)]
    return zero_padding(output, lengths), ended


def _in_blocks(
    kernel: Kernel, weights: Weights, x: Features, start: S, lengths: Lengths
) -> tuple[HiddenSequence, list[Tensor]]:
    """One call for each block of steps, with the sequences that reach it, where that pays.

    Tracers and transforms, which can't look at lengths, get :func:`_padded`.
    """
    ordered, order = lengths.sort(descending=True, stable=True)
    back = order.argsort()
    blocks = worthwhile_blocks(ordered.tolist(), COST_OF_A_CALL // weights[1].shape[1])
    padding = torch.arange(x.shape[1]) >= ordered[:, None]
    x = x.index_select(0, order)
    state = [part.index_select(1, order) for part in ([start] if isinstance(start, Tensor) else start)]
    begin = state[0][0]
    if kernel is torch.lstm:
        weights, x = _held(weights, x, padding)
    outputs = []
    # the state of those that end in a block, and with it those without a step
    ended = [[part[:, blocks[0].rows if blocks else 0 :] for part in state]]
    times = [steps for steps, _ in blocks]
    segments = x.split_with_sizes([*times, x.shape[1] - sum(times)], 1)  # the rest is padding alone
    for segment, (_, rows), after in itertools.zip_longest(segments[:-1], blocks, blocks[1:]):
        parts = [part[:, :rows].contiguous() for part in state]
        handed = parts[0] if isinstance(start, Tensor) else tuple(parts)
        output, *state = kernel(segment[:rows], handed, *_options(weights), BATCH_FIRST)
        outputs.append(output)
        ended.append([part[:, after.rows if after else 0 :] for part in state])
    final = [torch.cat(parts[::-1], 1).index_select(1, back) for parts in zip(*ended, strict=True)]
    if not outputs:
        return x.new_zeros(*x.shape[:2], final[0].shape[-1]), final
    # padding that a block ran over
    covered = torch.tensor([sum(steps for steps, rows in blocks if rows > row) for row in range(len(x))])
    ran = torch.arange(x.shape[1]) < covered.index_select(0, back)[:, None]
    beyond = (ran & padding.index_select(0, back)).flatten().nonzero()[:, 0]
    output = _Assembled.apply(x.shape[:2], beyond, [order[:rows] for _, rows in blocks], times, *outputs)
    return output, [at_the_end(output, begin.index_select(0, back), lengths)[None], *final[1:]]


class _Assembled(Function):
    """Outputs ``(rows, steps, hidden)`` of blocks to ``(batch, time, hidden)``, zero on padding, each sequence at its
    place: one pass over them, where torch's own operations would make one for each block, and back.
    """

    @staticmethod
    def forward(
        ctx: Any, shape: tuple[int, int], beyond: Tensor, sequences: list[Tensor], times: list[int], *outputs: Tensor
    ) -> HiddenSequence:
        whole = outputs[0].new_zeros(*shape, outputs[0].shape[-1])
        ctx.sequences, ctx.times = sequences, [*times, shape[1] - sum(times)]
        for place, rows, output in zip(whole.split_with_sizes(ctx.times, 1), sequences, outputs, strict=False):
            place.index_copy_(0, rows, output)
        ctx.save_for_backward(beyond)
        whole.flatten(0, 1).index_fill_(0, beyond, 0.0)
        return whole

    @staticmethod
    def backward(ctx: Any, grad: HiddenSequence) -> tuple[Tensor | None, ...]:
        (beyond,) = ctx.saved_tensors
        grad = grad.clone(memory_format=torch.contiguous_format)
        grad.flatten(0, 1).index_fill_(0, beyond, 0.0)
        parts = zip(grad.split_with_sizes(ctx.times, 1), ctx.sequences, strict=False)
        return None, None, None, None, *(part.index_select(0, rows) for part, rows in parts)


def worthwhile_blocks(lengths: list[int], cost: int) -> list[Block]:
    """Blocks of sequences of falling ``lengths``, cut where that saves more than ``cost`` steps of single sequences."""
    grid = range(0, lengths[0], GRAIN)
    half = GRAIN // 2
    reached = [min(len(lengths), -(-sum(length > start for length in lengths) // half) * half) for start in grid]

    def cut(first: int, end: int) -> list[Block]:
        saved, where = max(
            (((reached[first] - reached[k]) * (end - k) * GRAIN, k) for k in range(first + 1, end)), default=(0, end)
        )
        if saved > cost:
            return [*cut(first, where), *cut(where, end)]
        return [Block(min(end * GRAIN, lengths[0]) - first * GRAIN, reached[first])]

    return cut(0, len(grid)) if grid else []


def packed_lstm(weights: Weights, x: Features, lengths: Lengths) -> HiddenSequence | None:
    """An LSTM's output from a state of zeros, by one call on a CPU; None where blocks take less time.

    Short sequences stand one behind the other in a row. Between two of them all gates but the candidate's are shut, so
    that h and c are 0 to the last bit, and no gradient passes; what c was at a sequence's end nobody knows then.
    """
    ordered = lengths.sort(descending=True).values.tolist()
    valid, cost = ordered[: len(ordered) - ordered.count(0)], COST_OF_A_CALL // weights[1].shape[1]
    if not valid:
        return None
    (whole,) = _one_block(pack(valid)[2])
    blocks = worthwhile_blocks(ordered, cost)
    if whole.steps * whole.rows + cost >= sum(steps * rows + cost for steps, rows in blocks):
        return None
    found = cut(x.shape[1], lengths, _one_block)
    weight_ih, *others = weights
    shut, neither = (weight_ih.new_full((len(weight_ih) // 4, 1), value) for value in (-HOLD, 0.0))
    wide = torch.cat([weight_ih, torch.cat([shut, shut, neither, shut])], 1)
    between = x.new_zeros(len(found.places), 1).index_fill_(0, found.beyond, 1.0)
    rows = torch.cat([x.flatten(0, 1).index_select(0, found.places), between], 1).view(*whole, -1)
    zeros = x.new_zeros(1, whole.rows, weights[1].shape[1])
    output, _, _ = torch.lstm(rows, (zeros, zeros), *_options((wide, *others)), not BATCH_FIRST)  # type: ignore[arg-type]
    return placed(output.flatten(0, 1), found).view(*x.shape[:2], -1)


def _one_block(ends: list[int]) -> list[Block]:
    return [Block(-(-ends[0] // GRAIN) * GRAIN, -(-len(ends) // 2) * 2)]


def _padded(
    kernel: Kernel, weights: Weights, x: Features, start: S, lengths: Lengths
) -> tuple[HiddenSequence, list[Tensor]]:
    """Runs over the padding too and forgets what came of it: on a CPU two to five times faster than packing.

    A causal kernel's valid outputs know nothing of the padding, and h after
    the last valid step is one of them. Only the LSTM's c is no output, and is held by :func:`_held`.
    """
    padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
    if kernel is torch.lstm:
        weights, x = _held(weights, x, padding)
    output, *final = kernel(x, start, *_options(weights), BATCH_FIRST)
    begin = start if isinstance(start, Tensor) else start[0]
    last = at_the_end(output, begin[0], lengths)
    return output.masked_fill(padding[..., None], 0.0), [last[None], *final[1:]]


def _held(weights: Weights, x: Features, padding: Tensor) -> tuple[Weights, Tensor]:
    """An LSTM's weights and input with one feature more.

    It is 1 on padding, shuts the input gate and opens the forget gate there: c stays what it was, to the last bit.
    """
    weight_ih, *others = weights
    shut, opened, neither = (weight_ih.new_full((len(weight_ih) // 4, 1), v) for v in (-HOLD, HOLD, 0.0))
    wide = torch.cat([weight_ih, torch.cat([shut, opened, neither, neither])], 1)
    return (wide, *others), torch.cat([x, padding[..., None].to(x.dtype)], -1)  # type: ignore[return-value]


def _flatten(kernel: Kernel, weights: Weights, x: Tensor) -> None:
    """Lays the weights side by side in memory, where cuDNN would otherwise copy them at every call."""
    in_one_piece = len({weight.untyped_storage().data_ptr() for weight in weights}) == 1
    # weights that a transform hands in (torch.func) have no memory of their own to move
    owned = all(isinstance(weight, torch.nn.Parameter) for weight in weights)
    if in_one_piece or not owned or not cudnn.is_acceptable(x):
        return
    mode = get_cudnn_mode(kernel.__name__.upper())
    weight_ih, weight_hh = weights[:2]
    with torch.no_grad(), torch.cuda.device_of(x):
        torch._cudnn_rnn_flatten_weight(
            list(weights), 4, weight_ih.shape[1], mode, weight_hh.shape[1], 0, 1, True, False
        )
