"""The gradient at a state, of cells whose memory is a function of it, and of those that train no weights."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.cells.esn import ESN
from rnnlab.cells.lru import LRU
from rnnlab.cells.mlstm import MLSTM
from rnnlab.cells.s4d import S4D
from rnnlab.data.sine import Sine
from rnnlab.instruments.gradient_flow import GradientFlow, gradient_norms
from rnnlab.instruments.subject import Subject
from rnnlab.network import Network
from rnnlab.spec import Batch
from rnnlab.tasks.forecasting import Forecasting


@pytest.mark.parametrize("cell", [ESN, MLSTM, S4D, LRU])
def test_it_is_the_gradient_at_a_state_that_is_handed_in(cell: Any) -> None:
    torch.manual_seed(0)
    data = Sine(num_samples=30, length=12)
    network = Network(data.spec.input, Forecasting.output(data.spec), cell, hidden_size=5)
    task = Forecasting(network, data.spec).eval()
    batch = Subject("", task, data).full(3)
    norms = gradient_norms(task, batch)
    asked = [weight.requires_grad for weight in (*network.parameters(), *network.buffers())]
    for t in (0, 6, 10):
        with torch.no_grad():
            _, (state,) = network(batch.inputs[:, : t + 1])
        parts = [state] if isinstance(state, Tensor) else list(state)
        for part in parts:
            part.requires_grad_()
        output, _ = network(batch.inputs[:, t + 1 :], (state,))
        loss = task.loss(output[:, -1:], Batch(batch.inputs[:, -1:], batch.targets[:, -1:])) * len(batch.inputs)
        # LRU's memory is the real part alone; what mLSTM's m does to C and n of its own step cancels what it does later
        wanted = parts[: {LRU: 1, MLSTM: 2}.get(cell, len(parts))]
        gradients = torch.autograd.grad(loss, wanted)
        whole = torch.cat([gradient.flatten(1) for gradient in gradients], 1)
        torch.testing.assert_close(norms[0, t], whole.double().norm(dim=-1).mean(), rtol=1e-4, atol=0)
        assert norms[0, t] > 0
    # and it leaves what is trained as it was
    assert asked == [True] * len(list(network.parameters())) + [False] * len(list(network.buffers()))


@pytest.mark.parametrize("lowest", [0.4, 0.07, 0.02, 1e-9])
def test_its_axis_has_numbers_whatever_its_range(lowest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    data = Sine(num_samples=30, length=12)
    network = Network(data.spec.input, Forecasting.output(data.spec), ESN, hidden_size=5)
    norms = torch.logspace(math.log10(lowest), math.log10(0.5), 12).repeat(1, 1)
    monkeypatch.setattr("rnnlab.instruments.gradient_flow.gradient_norms", lambda *_: norms)
    flow, subject = GradientFlow(), Subject("", Forecasting(network, data.spec).eval(), data)
    figure = flow.draw(subject, flow.measure(subject)).figure
    figure.canvas.draw()
    axis = figure.axes[0].yaxis
    low, high = figure.axes[0].get_ylim()
    labels = [label.get_text() for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True))
              if label.get_text() and low <= label.get_position()[1] <= high]  # fmt: skip
    assert 2 <= len(labels) <= 14 and len(set(labels)) == len(labels)
