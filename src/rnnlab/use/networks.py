"""The networks of trained runs: their weights, and how they are taken through time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.reader import Reader
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.runs.ensemble import patch_of, together
from rnnlab.runs.keras_weights import keras_weights, write_keras
from rnnlab.runs.threads import use_threads
from rnnlab.runs.transfer import torch_names
from rnnlab.spec import DataSpec
from rnnlab.tasks.task import Task
from rnnlab.use.stepper import Stepper


class TrainedNetworks:
    """One network with its weights, or several that predict together, as their task combines them.

    Attributes:
        task: the objective, of the first run.
        reader: what turns new data into the network's inputs.
        config: of the first run.
    """

    def __init__(self, tasks: Sequence[Task], readers: Sequence[Reader], config: Mapping[str, Any]) -> None:
        self.task, self.config = tasks[0], config
        self._patches = [patch_of(reader) for reader in readers]
        reader = readers[0]
        if len(set(self._patches)) > 1:  # steps come one by one, and each network puts its own number of them together
            reader = reader.in_single_steps
        else:
            self._patches = []
        self.reader = reader
        self.networks: list[Network] = [task.network for task in tasks]
        self.device = next(self.task.network.parameters()).device
        combine = self.task.combine
        if len(tasks) > 1:
            self.task.network = together(self.networks, combine, self._patches)  # type: ignore[assignment]
        self._stepper: Stepper | None = None

    @property
    def spec(self) -> DataSpec:
        """What the training data said of itself."""
        return self.task.spec

    @property
    def stepper(self) -> Stepper:
        """The networks, one step at a time.

        Raises:
            InputError: they read in both directions, or each another number of steps at once.
        """
        if self._patches:
            raise InputError(
                f"these runs read {', '.join(map(str, self._patches))} steps at once (data.patch), and say nothing of "
                "a step by itself: predict whole sequences, without --stream and --steps"
            )
        if self._stepper is None:
            self._stepper = Stepper(self.networks, self.task.combine)
        return self._stepper

    def _on_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def torch_weights(self) -> dict[str, Tensor]:
        """The weights of the recurrent layers by the names of ``torch.nn``, for its ``load_state_dict``.

        Raises:
            InputError: the cells are not those of ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``, or these are several runs.
        """
        if len(self.networks) > 1:
            raise InputError("these are several runs: load one of them")
        return torch_names(self.networks[0])

    def keras_weights(self) -> list[list[np.ndarray]]:
        """For each recurrent layer what ``set_weights`` of Keras' ``LSTM``, ``GRU`` or ``SimpleRNN`` takes, of a
        ``Bidirectional`` both directions.

        Raises:
            InputError: as :meth:`torch_weights`.
        """
        return keras_weights(self.torch_weights())

    def save_keras(self, path: str | Path) -> None:
        """Writes the weights for Keras' ``load_weights`` (``*.weights.h5``) or ``set_weights`` (``*.npz``).

        Raises:
            InputError: as :meth:`torch_weights`, or the file cannot be written.
        """
        write_keras(Path(path), self.torch_weights(), self.networks[0])

    def use_threads(self, batch_size: int) -> None:
        """Has torch use as many threads as pay for networks of this size, in the whole process; programs call it."""
        use_threads("auto", batch_size, *self.networks)
