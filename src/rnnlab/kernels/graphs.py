"""The passes of an eager layer captured as CUDA graphs, which are replayed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rnnlab.kernels.eager import Eager

Capture = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]
"""From a function to what runs it again into the tensors that it gave, and these."""


class Graphed:
    """Both passes over inputs of one shape, as graphs over tensors of their own.

    Args:
        eager: the layer.
        x: the first input.
        valid: likewise.
        parts: of the state before the first step.
        tensors: parameters and buffers, which keep their places.
        wanted: gradients, as :meth:`Eager.go_back`; ``None`` where there is no way back.

    Attributes:
        turn: how often the forward pass has run: a backward pass belongs to the last one alone.
    """

    def __init__(
        self, eager: "Eager", x: Tensor, valid: Tensor | None, parts: Sequence[Tensor], tensors: Sequence[Tensor],
        wanted: Sequence[bool] | None,
    ) -> None:  # fmt: skip
        assert eager.capture is not None
        self.turn = 0
        self._x, self._parts = x.clone(), [part.clone() for part in parts]
        self._valid = None if valid is None else valid.clone()
        tensors = [tensor.detach() for tensor in tensors]
        self._run, (self._results, env) = eager.capture(
            lambda: eager.go_forward(self._x, self._valid, self._parts, tensors)
        )
        self._grads: list[Tensor] = []
        if wanted is not None:
            self._grads = [torch.zeros_like(result) for result in self._results]
            direct, *last = self._grads
            self._back, self._found = eager.capture(lambda: eager.go_back(env, self._valid, direct, last, wanted))

        self._check(eager, tensors, wanted)

    def _check(self, eager: "Eager", tensors: Sequence[Tensor], wanted: Sequence[bool] | None) -> None:
        """Holds the first replays against the passes themselves."""
        given = self._x.clone(), self._valid, [part.clone() for part in self._parts]
        expected, env = eager.go_forward(*given, tensors)
        pairs: list[tuple[Any, Any]] = list(zip(self.go_forward(*given), expected, strict=True))
        if wanted is not None:
            direct, *last = grads = [torch.randn_like(result) for result in expected]
            ours, its = self.go_back(grads), eager.go_back(env, self._valid, direct, last, wanted)
            pairs += zip(ours, its, strict=True)
        for one, other in pairs:
            if one is not None and not torch.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise RuntimeError("its replay computes something else")

    def go_forward(self, x: Tensor, valid: Tensor | None, parts: Sequence[Tensor]) -> list[Tensor]:
        """The output and the parts of the last state, which are the caller's own."""
        self.turn += 1
        self._x.copy_(x)
        if self._valid is not None and valid is not None:
            self._valid.copy_(valid)
        for own, part in zip(self._parts, parts, strict=True):
            own.copy_(part)
        self._run()
        return [result.clone() for result in self._results]

    def go_back(self, grads: Sequence[Tensor]) -> list[Tensor | None]:
        """As :meth:`Eager.go_back`, of the last forward pass; the caller's own."""
        for own, grad in zip(self._grads, grads, strict=True):
            own.copy_(grad)
        self._back()
        return [None if grad is None else grad.clone() for grad in self._found]


def cuda_graph(function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """Captures a function's kernels: see :data:`Capture`."""
    current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(current)
    with torch.cuda.stream(aside):  # libraries set themselves up at their first calls
        for _ in range(2):
            function()
    current.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # other threads may use the device meanwhile, to load data
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = function()
    return graph.replay, made
