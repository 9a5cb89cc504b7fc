"""Operations that are written down as others, from those that no kernel has to know."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten

_TABLE: dict[Any, Any] = {}


def decompositions() -> dict[Any, Any]:
    """Operations that are written down as others, from those that no kernel has to know."""
    if not _TABLE:
        from torch._decomp import get_decompositions

        wanted = """
            sigmoid_backward tanh_backward threshold_backward gelu gelu_backward silu silu_backward hardtanh
            hardtanh_backward hardsigmoid hardsigmoid_backward hardswish hardswish_backward leaky_relu
            leaky_relu_backward elu elu_backward softplus softplus_backward log_sigmoid_forward log_sigmoid_backward
            _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data native_layer_norm_backward
            addcmul addcdiv lerp rsub slice_backward select_backward masked_fill mish mish_backward logaddexp
            _fused_rms_norm _fused_rms_norm_backward std var var_mean logsumexp glu glu_backward softshrink hardshrink
            celu selu square frac addmv mv dot native_group_norm native_group_norm_backward xlogy hypot unfold_backward
            squeeze_copy trace linalg_vector_norm norm unsqueeze_copy threshold _prelu_kernel _prelu_kernel_backward
        """.split()  # fmt: skip
        packets = [getattr(aten, name) for name in wanted if hasattr(aten, name)]
        _TABLE.update(get_decompositions(packets))
        _TABLE[aten.native_layer_norm.default] = _layer_norm
        _TABLE[aten.addcmul.default] = lambda a, b, c, value=1: a + (b * c if value == 1 else value * (b * c))
        _TABLE[aten.lerp.Tensor] = lambda a, b, weight: a + weight * (b - a)
        _TABLE[aten.lerp.Scalar] = lambda a, b, weight: a + weight * (b - a)
        _TABLE[aten.addmm.default] = _scaled_product
        for op in [op for op in _TABLE if op._schema.arguments and op._schema.is_mutable]:
            del _TABLE[op]
    return _TABLE


def _scaled_product(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    """``addmm`` with factors; without, it stays what it is."""
    if beta == 1 and alpha == 1:
        return NotImplemented
    product = torch.mm(a, b) if alpha == 1 else alpha * torch.mm(a, b)
    return product if beta == 0 else product + (bias if beta == 1 else beta * bias)  # 0 times what is no number is 0


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(x.dim() - len(shape), x.dim()))
    mean = x.mean(axes, keepdim=True)
    centered = x - mean
    rstd = ((centered * centered).mean(axes, keepdim=True) + eps).rsqrt()
    return _scaled(centered * rstd, weight, bias), mean, rstd


def layer_norm_of_input(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``native_layer_norm`` of what depends on no state: the moments in one pass over the rows of all steps, while
    what is made of them is light enough for the kernels.
    """
    _, mean, rstd = torch.native_layer_norm(x, list(shape), None, None, eps)
    return _scaled((x - mean) * rstd, weight, bias), mean, rstd


def _scaled(normed: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    normed = normed if weight is None else normed * weight
    return normed if bias is None else normed + bias
