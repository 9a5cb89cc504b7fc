"""Any module of one's own in the place of a network, for a task and Lightning's own Trainer."""

import inspect
from typing import Any

from torch import Tensor, nn

from rnnlab.errors import InputError
from rnnlab.network import Network, NetworkState
from rnnlab.shapes import Inputs, Lengths, PositiveInt
from rnnlab.spec import DataSpec


class Wrapped(Network):
    """What a task takes for a network: a module that puts out what the data asks for.

    Args:
        module: called with the inputs ``(batch, time, features)`` or ``(batch, time)`` token numbers, and with
            ``lengths=`` where its ``forward`` has that: ``(batch,)`` valid steps, or ``None`` where all are.
        spec: of the data: ``data.spec``.
        size: numbers that it puts out (at each step); ``None``: those of the target.
    """

    def __init__(self, module: nn.Module, spec: DataSpec, size: PositiveInt | None = None) -> None:
        nn.Module.__init__(self)  # of a network's parts it has none
        self.module, self.per_step, self.size = module, spec.target.per_step, size or spec.target.size
        self.takes_lengths = "lengths" in inspect.signature(module.forward).parameters
        self.solver, self.encoder, self.layers = "gradient", nn.Identity(), nn.ModuleList()
        self.beside = self.convolutions = self.steps = None
        self.decodes, self.rebuilds = False, False
        self.bidirectional = True  # it is handed whole sequences, so that nobody asks for its state

    def forward(
        self, inputs: Inputs, state: NetworkState | None = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, NetworkState]:
        """As :meth:`rnnlab.network.Network.forward`, without a state.

        Raises:
            InputError: the module doesn't take the inputs, or puts out another shape than the data asks for.
        """
        options: dict[str, Any] = {"lengths": lengths} if self.takes_lengths else {}
        name = type(self.module).__name__
        try:
            output = self.module(inputs, **options)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            said = str(error).strip().splitlines() or [""]
            raise InputError(f"{name} cannot read inputs {_shape(inputs)}: {said[0][:200]}") from error
        output = output[0] if isinstance(output, tuple) else output
        expected = (*inputs.shape[: 1 + self.per_step], self.size)
        if not isinstance(output, Tensor) or tuple(output.shape) != expected:
            found = _shape(output) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            what = "(batch, time, size)" if self.per_step else "(batch, size)"
            raise InputError(
                f"{name} puts out {found} for inputs {_shape(inputs)}, and this data needs {what}: "
                f"({', '.join(map(str, expected))})"
            )
        return output, ()


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
