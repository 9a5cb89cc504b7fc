"""What layers with a backward pass by hand share: those of a fleet's members, and scans."""

import torch
from torch import Tensor

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
"""Of a gradient and σ: gradient ⊙ σ ⊙ (1 - σ)."""
LOOP = "go through the loop over `step`: set model.cell.backend=reference"


def by_hand(x: Tensor) -> bool:
    """Whether a layer may run by hand on this input."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
    )


def refuse_twice(*grads: Tensor | None) -> None:
    """Called first by each backward pass.

    Args:
        grads: of what the layer gave.

    Raises:
        RuntimeError: a second derivative or a batch of gradients is asked for.
    """
    refuse_batches(*grads)
    if torch.is_grad_enabled():
        raise RuntimeError(f"second derivatives {LOOP}")


def refuse_batches(*grads: Tensor | None) -> None:
    """As :func:`refuse_twice`, where second derivatives are known."""
    functions = torch._C._functorch
    if any(g is not None and (functions.is_legacy_batchedtensor(g) or functions.is_batchedtensor(g)) for g in grads):
        raise RuntimeError(f"batches of gradients (jacobian(vectorize=True), is_grads_batched) {LOOP}")
