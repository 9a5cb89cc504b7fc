"""Convolutions in front of a recurrence: what each step reads, padding, lengths, and what they refuse."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM
from rnnlab.encoder import Convolutions, fully_convolutional
from rnnlab.errors import InputError
from rnnlab.network import Network
from rnnlab.spec import InputSpec, TargetSpec
from rnnlab.use.stepper import Stepper

LENGTHS = torch.tensor([20, 7, 1, 13])
CLASS, VALUES = TargetSpec("class", 3), TargetSpec("values", 2)


def build(target: TargetSpec, **options: Any) -> Network:
    torch.manual_seed(0)
    options = {"hidden_size": 6, "encoder": "conv"} | options
    return Network(InputSpec(features=2), target, GRU, **options).double()


def features(steps: int = 20) -> Tensor:
    return torch.randn(4, steps, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stride", [1, 2, 3, 25])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing_whatever_stands_there(stride: int, causal: bool) -> None:
    torch.manual_seed(0)
    convolutions = Convolutions(2, 12, stride, causal and stride == 1).double()
    x = features()
    x[torch.arange(20) >= LENGTHS[:, None]] = torch.nan
    together, lengths = convolutions(x, LENGTHS), convolutions.lengths(LENGTHS)
    assert lengths is not None
    for row, out, length, steps in zip(x, together, LENGTHS.tolist(), lengths.tolist(), strict=True):
        alone = convolutions(row[None, :length])[0]
        assert alone.shape == (steps, 12) and steps == -(-length // stride)
        torch.testing.assert_close(out[:steps], alone, rtol=1e-10, atol=1e-10)


def test_it_is_torchs_group_norm_where_all_steps_are_valid() -> None:
    torch.manual_seed(0)
    convolutions = Convolutions(2, 16).double()
    x = features()
    expected = x.transpose(1, 2)
    for convolution in convolutions.convolutions:
        assert isinstance(convolution, nn.Conv1d)
        width = convolution.kernel_size[0] - 1
        expected = convolution(nn.functional.pad(expected, (width // 2, width - width // 2)))
        expected = nn.functional.group_norm(expected, 2).relu()
    torch.testing.assert_close(convolutions(x), expected.transpose(1, 2))
    torch.testing.assert_close(convolutions(x, torch.full((4,), 20)), expected.transpose(1, 2))


def test_where_every_step_is_predicted_nothing_is_known_of_the_steps_to_come() -> None:
    network, x = build(VALUES), features().requires_grad_()
    network(x)[0][:, 9].sum().backward()
    assert x.grad is not None
    assert x.grad[:, :10].any() and not x.grad[:, 10:].any()
    assert build(CLASS).convolutions is not None and not build(CLASS).convolutions.causal  # type: ignore[union-attr]


def test_batch_normalization_is_over_the_valid_steps_of_a_batch() -> None:
    torch.manual_seed(0)
    network = fully_convolutional(2).double()
    x = features()
    x[torch.arange(20) >= LENGTHS[:, None]] = torch.nan
    first = network.convolutions[0]
    rows = [nn.functional.pad(row[:length].T, (3, 4)) for row, length in zip(x, LENGTHS.tolist(), strict=True)]
    found = torch.cat([first(row[None])[0].T for row in rows])  # every valid step of the batch
    network(x, LENGTHS)
    normalization = network.batch_normalizations[0]
    assert isinstance(normalization, nn.BatchNorm1d) and normalization.running_mean is not None
    torch.testing.assert_close(normalization.running_mean, 0.1 * found.mean(0))
    # after training each sequence is by itself, whatever it is padded to
    network.eval()
    together = network.average(x, LENGTHS)
    for row, mean, length in zip(x, together, LENGTHS.tolist(), strict=True):
        torch.testing.assert_close(network(row[None, :length]).mean(1)[0], mean)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_fcn_is_an_lstm_over_features_beside_convolutions(bidirectional: bool) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"beside": "fcn", "transpose": True, "bidirectional": bidirectional}
    network = Network(InputSpec(features=2, length=25), CLASS, LSTM, hidden_size=6, readout_dropout=0.8, **options)
    network = network.double().eval()
    x = features()
    together = network(x, lengths=LENGTHS)[0]
    for row, out, length in zip(x, together, LENGTHS.tolist(), strict=True):
        torch.testing.assert_close(out, network(row[None, :length])[0][0])
    assert network.trace(x, lengths=LENGTHS).output.allclose(together)
    assert sum(row.parameters for row in network.summary(20)) == sum(each.numel() for each in network.parameters())
    # what is dropped are units of the recurrence alone
    network.readout_dropout.train()
    network.readout.weight.data[:, network.units :] = 0.0
    assert not network(x)[0].allclose(network(x)[0])
    network.readout.weight.data[:, : network.units] = 0.0
    network.readout.weight.data[:, network.units :] = 1.0
    torch.testing.assert_close(network(x)[0], network(x)[0])
    if bidirectional:
        return
    assert network.beside is not None
    whole = nn.functional.pad(x, (0, 0, 0, 5)).transpose(1, 2)
    last = network.cells()[0](whole)[0][:, -1]
    expected = torch.cat([last, network.beside(x).mean(1)], -1)
    torch.testing.assert_close(network.pool(network.hidden(x)[0]), expected)


@pytest.mark.parametrize("readout", ["last", "mean_max", "statistics"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_network_with_them_obeys_the_law_of_padding(readout: str, bidirectional: bool) -> None:
    network = build(CLASS, readout=readout, bidirectional=bidirectional, encoder_stride=3)
    x = features()
    together = network(x, lengths=LENGTHS)[0]
    for row, out, length in zip(x, together, LENGTHS.tolist(), strict=True):
        torch.testing.assert_close(out, network(row[None, :length])[0][0], rtol=1e-9, atol=1e-9)
    assert network.trace(x, lengths=LENGTHS).output.allclose(together)


def test_the_summary_counts_every_parameter() -> None:
    network = build(CLASS, encoder_stride=3, embedding_size=10)
    rows = network.summary(20)
    assert rows[0].shape == (None, 7, 10)
    assert sum(row.parameters for row in rows) == sum(parameter.numel() for parameter in network.parameters())


def test_tokens_are_embedded_first_and_a_linear_layer_is_for_features() -> None:
    tokens = Network(InputSpec(vocabulary=9), CLASS, GRU, hidden_size=6, encoder="conv")
    assert tokens(torch.randint(9, (2, 12)))[0].shape == (2, 3)
    linear = build(CLASS, encoder="linear")
    assert isinstance(linear.encoder, nn.Linear) and linear.encoder.out_features == 6
    with pytest.raises(InputError, match="tokens are embedded"):
        Network(InputSpec(vocabulary=9), CLASS, GRU, encoder="linear")


def test_what_convolutions_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="wants a prediction at each"):
        build(VALUES, encoder_stride=2)
    with pytest.raises(InputError, match=r"is for model\.encoder=conv"):
        build(CLASS, encoder="none", encoder_stride=2)
    for key, options in (("beside", {"beside": "fcn"}), ("transpose", {"transpose": True})):
        with pytest.raises(InputError, match=rf"model\.{key}=.* wants a prediction at each"):
            build(VALUES, encoder="none", **options)
    with pytest.raises(InputError, match="whose longest length is known"):
        build(CLASS, encoder="none", transpose=True)
    transposed = Network(InputSpec(features=2, length=19), CLASS, GRU, hidden_size=6, transpose=True).double()
    with pytest.raises(InputError, match=r"20 steps.* 19 at most"):
        transposed(features())
    with pytest.raises(InputError, match=r"model\.transpose=true reads several steps at once"):
        transposed(features()[:, :19], state=(torch.zeros(4, 6, dtype=torch.float64),))
    network = build(CLASS)
    with pytest.raises(InputError, match="carries no state"):
        network(features(), state=(torch.zeros(4, 6, dtype=torch.float64),))
    with pytest.raises(InputError, match="reads several steps at once"):
        Stepper([network], lambda outputs: outputs.mean(0))
    assert network(features())[1] == ()
    with pytest.raises(InputError, match="must have the shape"):
        network(features()[..., :1])
