"""How recurrent weights start.

orthogonal
    Recurrent matrices orthogonal, so that what they carry neither grows nor
    shrinks (Saxe et al. 2014, arXiv 1312.6120); input matrices Xavier-uniform
    (Glorot & Bengio 2010); biases zero. Each gate has its own matrix.
identity
    Recurrent matrices the identity, input weights N(0, 0.001²), biases zero
    (Le, Jaitly & Hinton 2015, arXiv 1504.00941): a ReLU unit then keeps what it has.
torch
    Everything uniform in ±1/√hidden, as ``torch.nn`` does.

:func:`chrono` is for gates whose input knows nothing of the past.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.errors import InputError

Scheme = Literal["orthogonal", "identity", "torch"]


@torch.no_grad()
def initialize_(scheme: Scheme, weight_ih: Tensor, weight_hh: Tensor, *biases: Tensor) -> None:
    """Fills a layer's parameters in place.

    Args:
        scheme: see above.
        weight_ih: ``(gates * hidden, features)``.
        weight_hh: ``(gates * hidden, hidden)``.
        biases: each ``(gates * hidden,)``.
    """
    hidden_size = weight_hh.shape[1]
    if scheme == "torch":
        torch_uniform_(hidden_size, weight_ih, weight_hh, *biases)
        return
    for gate in weight_ih.split(hidden_size):
        nn.init.xavier_uniform_(gate) if scheme == "orthogonal" else nn.init.normal_(gate, std=0.001)
    for gate in weight_hh.split(hidden_size):
        nn.init.orthogonal_(gate) if scheme == "orthogonal" else nn.init.eye_(gate)
    for bias in biases:
        nn.init.zeros_(bias)


def torch_uniform_(hidden_size: int, *parameters: Tensor) -> None:
    """Fills each parameter with uniform numbers in ±1/√hidden, in place."""
    for parameter in parameters:
        nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


def chrono(hidden_size: int, time_steps: int) -> Tensor:
    """Biases ``(hidden,)`` of gates that keep: units then forget over spans uniform in 1 to T - 1 steps.

    C. Tallec & Y. Ollivier, "Can recurrent neural networks warp time?" (2018),
    arXiv 1804.11188, equation 13. A gate that lets in takes their negative.
    """
    return torch.empty(hidden_size).uniform_(1, max(time_steps - 1, 1)).log()


def initial_log_steps(number: int, step_min: float, step_max: float) -> Tensor:
    """``(number,)`` logarithms of the steps Δ by which a continuous system is sampled, uniform in this range.

    A. Gu, K. Goel & C. Ré, "Efficiently modeling long sequences with structured state spaces" (2022), arXiv 2111.00396.

    Raises:
        InputError: it is no range.
    """
    if step_min > step_max:
        raise InputError(f"model.cell.step_min={step_min} must be at most model.cell.step_max={step_max}")
    return math.log(step_min) + (math.log(step_max) - math.log(step_min)) * torch.rand(number)
