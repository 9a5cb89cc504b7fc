"""What the validation part corrects in the readout of a trained forecaster: its gain, and its quantiles."""

from torch import Tensor, nn

from rnnlab.spec import DataSpec
from rnnlab.student import doubt
from rnnlab.tasks.distribution import Distribution


def correct(
    readout: nn.Linear, distribution: Distribution, spec: DataSpec, forecast: Tensor, truth: Tensor, moves: bool
) -> dict[str, float]:
    """How much of what the network adds to a fitted forecast is worth adding, and what its quantiles lack.

    The share, ``gain``, is the least-squares one on the validation part, from 0 to 1, shrunk by how unsure it is
    that anything is gained there: by 1 - (chance / gain)² (after W. James & C. Stein, 1961), where chance is the
    gain that a t test takes for none (:func:`rnnlab.student.doubt`), and to 0 below it. Both go into the readout.

    Args:
        readout: whose weights are changed.
        distribution: what is said of each value.
        spec: of the data.
        forecast: ``(n, size, parameters)`` of the validation part, in the order of time; changed in place.
        truth: ``(n, size)``, NaN where it is unknown.
        moves: whether quantiles are moved.

    Returns:
        What was changed, by name.
    """
    known = truth.isfinite()
    corrected: dict[str, float] = {}
    if spec.residual:
        gain = _gain(distribution.point(forecast), truth.where(known, 0.0), known, spec.steps_ahead or 1)
        for part in (readout.weight, readout.bias):
            distribution.shrink(part.view(distribution.parameters, -1), gain)
        distribution.shrink(forecast.movedim(-1, 0), gain)
        corrected["gain" if spec.residual == "ridge" else f"gain/{spec.residual}"] = gain
    if moves:
        corrected["conformal"] = distribution.conform(readout.bias, forecast, truth, known)
    return corrected


def _gain(point: Tensor, truth: Tensor, known: Tensor, steps_ahead: int) -> float:
    """Of ``(n, size)`` forecasts in the order of time, held against 0, which is the base's."""
    point = point.where(known, 0.0)
    gain = float(((truth * point).sum() / point.square().sum().clamp_min(1e-12)).clamp(0, 1))
    better = (truth.square() - (truth - gain * point).square()).sum(1)
    gained, chance = doubt(better.tolist(), steps_ahead)
    return gain * (1 - (chance / gained) ** 2) if gained > chance else 0.0
