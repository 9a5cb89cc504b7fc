"""The bridge to torch's own recurrent kernels: oneDNN on a CPU, cuDNN on a GPU, native code elsewhere.

They compute a whole layer in one call, from the parameters that the cell
itself owns, and equal its ``unroll`` in value and gradient.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.backends import cudnn
from torch.backends.cudnn.rnn import get_cudnn_mode
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnnlab.cells.states import S, at_the_end, map_state
from rnnlab.kernels.layout import zero_padding
from rnnlab.shapes import Features, HiddenSequence, Lengths

Backend = Literal["auto", "derived", "torch", "reference"]
"""``torch`` is this bridge, ``reference`` the loop over ``step``, ``derived`` on a CPU the layer that is derived from
``step`` (:mod:`rnnlab.kernels`), ``auto`` whatever is fastest."""

Kernel = Callable[..., tuple[Tensor, ...]]
"""``torch.rnn_tanh``, ``torch.rnn_relu``, ``torch.lstm`` or ``torch.gru``."""
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""``weight_ih, weight_hh, bias_ih, bias_hh``."""

HOLD = 1e4
"""Added to a gate by the hold feature: far into the sigmoid's tail, exactly 0 or 1 there, and finite in half."""


def run_kernel(
    kernel: Kernel, weights: Weights, x: Features, state: S, lengths: Lengths | None
) -> tuple[HiddenSequence, S]:
    """One layer, one direction, through a kernel.

    Args:
        kernel: of torch.
        weights: of the cell.
        x: as :meth:`rnnlab.cells.cell.Cell.unroll` has it, the rest and the results as well.
        state: before the first step.
        lengths: valid steps of each sequence.
    """
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # as derived kernels do: oneDNN has no LSTM in bfloat16 on processors without AVX-512, and raises
        dtype = weights[0].dtype
        with torch.autocast("cpu", enabled=False):
            return run_kernel(kernel, weights, x.to(dtype), map_state(lambda part: part.to(dtype), state), lengths)
    # the kernels' states have a leading axis of layers; a learned state is expanded, and cuDNN takes no such view
    start = map_state(lambda part: part[None].contiguous(), state)
    if x.is_cuda:
        _flatten(kernel, weights, x)
    if lengths is None:
        output, *final = kernel(x, start, *_options(weights), BATCH_FIRST)
    elif x.is_cuda:
        output, final = _packed(kernel, weights, x, start, lengths)
    else:
        output, final = _padded(kernel, weights, x, start, lengths)
    last = iter(final)
    return output, map_state(lambda _: next(last)[0], state)


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
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    shut, opened, neither = (weight_ih.new_full((len(weight_ih) // 4, 1), v) for v in (-HOLD, HOLD, 0.0))
    wide = torch.cat([weight_ih, torch.cat([shut, opened, neither, neither])], 1)
    return (wide, weight_hh, bias_ih, bias_hh), torch.cat([x, padding[..., None].to(x.dtype)], -1)


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
