"""What a network says of a coming value: one number, a normal distribution, or quantiles."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from torch import Tensor

from rnnlab.errors import InputError

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
Level = Annotated[float, Gt(0), Lt(1)]
POINT_CLAIMS_NOTHING = "a point forecast claims no probability (task.distribution=gaussian or quantiles would)"
FEWEST_CASES = 10
"""Of validation, by which a quantile is moved."""

LEVEL = 80
"""Per cent of the interval whose coverage is reported."""
LEAST_DEVIATION = 1e-3
"""On the network's scale: a smaller one would make one lucky value worth any loss."""

Score = Callable[[Tensor, Tensor], Tensor]
"""Of ``(n, parameters)`` forecasts and ``(n,)`` true values, both in the data's units: ``(n,)``."""


class Distribution(ABC):
    """A forecast of ``parameters`` numbers for each value.

    The network's output holds, for ``size`` values, ``parameters × size``
    numbers: the first parameter of every value, then the second, and so on.
    """

    parameters: int
    levels: tuple[float, ...] = ()
    """Of the quantiles that it states, in order; none of a point forecast."""
    conforms = False
    """Whether :meth:`conform` moves anything."""

    def split(self, output: Tensor) -> Tensor:
        """``(…, parameters × size)`` of the network to ``(…, size, parameters)``."""
        return output.unflatten(-1, (self.parameters, -1)).transpose(-1, -2)

    @abstractmethod
    def loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        """``(…, size)`` loss of ``(…, size, parameters)`` and ``(…, size)``, on the network's scale."""

    @abstractmethod
    def point(self, forecast: Tensor) -> Tensor:
        """``(…, size)`` the one number that stands for it, of ``(…, size, parameters)``."""

    def deviation(self, forecast: Tensor, truth: Tensor) -> Tensor:
        """``(…, size)`` how far the truth is from ``(…, size, parameters)``, on the network's scale, where it is said
        how sure the forecast is in that unit: itself by default.
        """
        return truth - self.point(forecast)

    @abstractmethod
    def around(self, center: Tensor, deviation: Tensor) -> Tensor:
        """``(…, size, parameters)`` as if errors about ``center`` were normal: how a simple predictor is scored."""

    @abstractmethod
    def in_units(self, forecast: Tensor, shift: Tensor, scale: Tensor, log: bool) -> Tensor:
        """``(…, size, parameters)`` of values that are ``x * scale + shift``, or the exponential of that."""

    def combine(self, forecasts: Tensor) -> Tensor:
        """``(members, …, size, parameters)`` of several networks to one ``(…, size, parameters)``: their mean."""
        return forecasts.mean(0)

    def scores(self, log: bool) -> dict[str, Score]:
        """What a point forecast has not, by name, of what :meth:`in_units` gives."""
        return {}

    def interval(self, forecast: Tensor, log: bool) -> tuple[Tensor, Tensor] | None:
        """The bounds, in units, of the ``level`` % interval, of what :meth:`in_units` gives."""
        return None

    level = LEVEL

    def below(self, forecast: Tensor, truth: Tensor, log: bool) -> Tensor:
        """``(n, levels)`` whether each true value lies below each quantile, of what :meth:`in_units` gives."""
        raise NotImplementedError

    def columns(self, forecast: Tensor) -> dict[str, Tensor]:
        """Further ``(n, size)`` columns of a table of predictions, of what :meth:`in_units` gives."""
        return {}

    def shrink(self, parameters: Tensor, gain: float) -> None:
        """Leaves so much of the point forecast, in place, of ``(parameters, …)`` numbers."""
        parameters[0] *= gain

    def conform(self, bias: Tensor, forecast: Tensor, truth: Tensor, known: Tensor) -> float:
        """Moves what the readout's bias adds, so that each quantile holds its share of some true values. The point
        forecast stays: it is what the network has learned, and how it compares with what it is added to is known.

        Args:
            bias: ``(parameters × size,)``, changed in place.
            forecast: ``(n, size, parameters)``.
            truth: ``(n, size)``.
            known: ``(n, size)`` where the truth is.

        Returns:
            The largest move.
        """
        return 0.0

    def reading(self) -> dict[str, Any]:
        """How the parameters stand in the network's output, as plain values."""
        return {"distribution": "point"}


class Point(Distribution):
    """One number, by the given ``(…, size)`` loss."""

    parameters = 1

    def __init__(self, loss: Callable[..., Tensor]) -> None:
        self.elementwise = loss

    def loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        return self.elementwise(forecast[..., 0], truth, reduction="none")

    def point(self, forecast: Tensor) -> Tensor:
        return forecast[..., 0]

    def around(self, center: Tensor, deviation: Tensor) -> Tensor:
        return center[..., None]

    def in_units(self, forecast: Tensor, shift: Tensor, scale: Tensor, log: bool) -> Tensor:
        return to_units(forecast, shift, scale, log)


class Gaussian(Distribution):
    """Mean and standard deviation, by the negative log-likelihood; in logarithms a log-normal distribution.

    The network puts out the mean and what a softplus makes the deviation of
    (Salinas et al. 2020, "DeepAR", arXiv 1704.04110, section 3.1). The point
    forecast is the median, which for a normal distribution is the mean.
    """

    parameters = 2
    levels = tuple(level / 20 for level in range(1, 20))

    def _deviation(self, forecast: Tensor) -> Tensor:
        return F.softplus(forecast[..., 1]) + LEAST_DEVIATION

    def loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        # F.gaussian_nll_loss takes the variance, whose square of a small deviation is 0 in single precision
        deviation = self._deviation(forecast)
        z = (truth - forecast[..., 0]) / deviation
        return z.square() / 2 + deviation.log() + math.log(2 * math.pi) / 2

    def point(self, forecast: Tensor) -> Tensor:
        return forecast[..., 0]

    def deviation(self, forecast: Tensor, truth: Tensor) -> Tensor:
        return (truth - forecast[..., 0]) / self._deviation(forecast)

    def around(self, center: Tensor, deviation: Tensor) -> Tensor:
        raw = (deviation - LEAST_DEVIATION).clamp_min(1e-6).expm1().log()  # the inverse of softplus
        return torch.stack([center, torch.where(deviation > 20, deviation, raw).expand_as(center)], -1)

    def combine(self, forecasts: Tensor) -> Tensor:
        """The normal distribution with the mean and the variance of the members' mixture."""
        means, variances = forecasts[..., 0], self._deviation(forecasts).square()
        return self.around(means.mean(0), (variances.mean(0) + means.var(0, correction=0)).sqrt())

    def in_units(self, forecast: Tensor, shift: Tensor, scale: Tensor, log: bool) -> Tensor:
        """The median and the deviation (of the logarithm, where it is one)."""
        median = to_units(forecast[..., 0], shift, scale, log)
        return torch.stack([median, self._deviation(forecast) * scale], -1)

    def scores(self, log: bool) -> dict[str, Score]:
        return {"crps": lognormal_crps if log else gaussian_crps, **interval_scores(self, log)}

    def interval(self, forecast: Tensor, log: bool) -> tuple[Tensor, Tensor]:
        median, deviation = forecast.unbind(-1)
        reach = math.sqrt(2) * torch.erfinv(torch.tensor(self.level / 100)).item() * deviation
        if log:
            return median * (-reach).exp(), median * reach.exp()
        return median - reach, median + reach

    def below(self, forecast: Tensor, truth: Tensor, log: bool) -> Tensor:
        # the probability integral transform (Gneiting, Balabdaoui and Raftery 2007)
        median, deviation = forecast.unbind(-1)
        error = truth.log() - median.log() if log else truth - median
        return torch.special.ndtr(error / deviation)[:, None] <= truth.new_tensor(self.levels)

    def reading(self) -> dict[str, Any]:
        return {
            "distribution": "gaussian",
            "least_deviation": LEAST_DEVIATION,
            "layout": "the means of all values, then what softplus(x) + least_deviation makes their deviations of; "
            "a deviation is times scale in units",
        }


class Quantiles(Distribution):
    """Some quantiles, by the pinball loss (Koenker and Bassett 1978); they are put in order before they are read, about
    the median, which stays what it is.

    Args:
        levels: of the quantiles, in order, 0.5 among them: the point forecast.
    """

    conforms = True

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = tuple(levels)
        self.parameters = len(self.levels)
        self.median = self.levels.index(0.5)
        #: the widest interval that has as much above as below
        self._low = next(
            i for i, q in enumerate(self.levels) if any(abs(1 - q - other) < 1e-9 for other in self.levels)
        )
        self._high = next(i for i, q in enumerate(self.levels) if abs(1 - self.levels[self._low] - q) < 1e-9)
        self.level = round(100 * (self.levels[self._high] - self.levels[self._low]))

    def ordered(self, forecast: Tensor) -> Tensor:
        """``(…, levels)`` rearranged where they cross (Chernozhukov, Fernández-Val and Galichon 2010), each side of the
        median by itself: the point forecast depends on no other quantile.
        """
        below, median, above = forecast.tensor_split((self.median, self.median + 1), -1)
        below, above = below.sort(-1).values, above.sort(-1).values
        return torch.cat([below.minimum(median), median, above.maximum(median)], -1)

    def loss(self, forecast: Tensor, truth: Tensor) -> Tensor:
        return pinball(forecast, truth, self.levels).mean(-1)

    def point(self, forecast: Tensor) -> Tensor:
        return forecast[..., self.median]

    def deviation(self, forecast: Tensor, truth: Tensor) -> Tensor:
        """In units of the way from the median to the outermost quantile on that side: beyond 1 it is exceeded."""
        ordered = self.ordered(forecast)
        error = truth - ordered[..., self.median]
        if self._low == self._high:
            return error
        above, below = (
            ordered[..., self._high] - ordered[..., self.median],
            ordered[..., self.median] - ordered[..., self._low],
        )
        return error / torch.where(error > 0, above, below).clamp_min(LEAST_DEVIATION)

    def around(self, center: Tensor, deviation: Tensor) -> Tensor:
        normal = [math.sqrt(2) * torch.erfinv(torch.tensor(2 * q - 1, dtype=torch.float64)).item() for q in self.levels]
        return center[..., None] + deviation[..., None] * center.new_tensor(normal)

    def combine(self, forecasts: Tensor) -> Tensor:
        """Each quantile is the mean of the members' (Vincent 1912): as sharp as they are, where they agree."""
        return self.ordered(forecasts).mean(0)

    def in_units(self, forecast: Tensor, shift: Tensor, scale: Tensor, log: bool) -> Tensor:
        return self.ordered(to_units(forecast, shift[..., None], scale[..., None], log))

    def scores(self, log: bool) -> dict[str, Score]:
        # twice the mean pinball loss over evenly spaced quantiles comes to the CRPS as they get closer
        crps = {"crps": lambda forecast, truth: 2 * pinball(forecast, truth, self.levels).mean(-1)}
        return crps | (interval_scores(self, log) if self.level else {})

    def interval(self, forecast: Tensor, log: bool) -> tuple[Tensor, Tensor]:
        return forecast[..., self._low], forecast[..., self._high]

    def below(self, forecast: Tensor, truth: Tensor, log: bool) -> Tensor:
        return truth[:, None] <= forecast

    def columns(self, forecast: Tensor) -> dict[str, Tensor]:
        return {f"q{level:g}": part for level, part in zip(self.levels, forecast.unbind(-1), strict=True)}

    def shrink(self, parameters: Tensor, gain: float) -> None:
        # the other quantiles keep their distance from the median
        parameters -= (1 - gain) * parameters[self.median].clone()

    def conform(self, bias: Tensor, forecast: Tensor, truth: Tensor, known: Tensor) -> float:
        moved = bias.view(len(self.levels), -1)
        largest = 0.0
        for value in range(truth.shape[1]):
            error = (truth[:, value, None] - forecast[:, value])[known[:, value]].sort(0).values
            number = len(error)
            if number < FEWEST_CASES:
                continue
            for place, level in enumerate(self.levels):
                if place == self.median:
                    continue
                # the next one outwards of n + 1 places, as one more value is to come
                rank = math.ceil(level * (number + 1)) if level > 0.5 else math.floor(level * (number + 1))
                move = error[min(max(rank, 1), number) - 1, place]
                moved[place, value] += move
                largest = max(largest, abs(float(move)))
        return largest

    def reading(self) -> dict[str, Any]:
        return {
            "distribution": "quantiles",
            "levels": list(self.levels),
            "layout": "all values of the first quantile, then of the second …; the median is the point forecast; sort "
            "those below it by size, and those above, and let none pass it",
        }


def build_distribution(name: str, quantiles: Sequence[float], loss: Callable[..., Tensor]) -> Distribution:
    """The distribution of that name.

    Raises:
        InputError: the quantiles are out of order, or 0.5 is not among them.
    """
    if name == "point":
        return Point(loss)
    if name == "gaussian":
        return Gaussian()
    levels = list(quantiles)
    if 0.5 not in levels or levels != sorted(set(levels)):
        raise InputError(
            f"task.quantiles={levels} must rise and have 0.5 among them, the median, which is the point forecast"
        )
    return Quantiles(levels)


def to_units(values: Tensor, shift: Tensor, scale: Tensor, log: bool) -> Tensor:
    """``values * scale + shift``, or the exponential of that; a last dimension more stands for itself."""
    if values.dim() > shift.dim():
        shift, scale = shift[..., None], scale[..., None]
    values = values * scale + shift
    return values.exp() if log else values


def pinball(forecast: Tensor, truth: Tensor, levels: Sequence[float]) -> Tensor:
    """``(…, levels)`` loss of ``(…, levels)`` quantiles and the ``(…,)`` truth: q·e above, (q - 1)·e below."""
    error = truth[..., None] - forecast
    q = forecast.new_tensor(levels)
    return torch.maximum(q * error, (q - 1) * error)


def gaussian_crps(forecast: Tensor, truth: Tensor) -> Tensor:
    """Continuous ranked probability score of ``(…, 2)`` mean and deviation: σ [z (2Φ(z) - 1) + 2φ(z) - 1/√π]
    (Gneiting and Raftery 2007, equation 21).
    """
    mean, deviation = forecast.unbind(-1)
    z = (truth - mean) / deviation
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    return deviation * (z * (2 * torch.special.ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


def lognormal_crps(forecast: Tensor, truth: Tensor) -> Tensor:
    """The same of ``(…, 2)`` median m and deviation σ of the logarithm (Baran and Lerch 2015, appendix A):
    y (2Φ(ω) - 1) - 2 m exp(σ²/2) [Φ(ω - σ) + Φ(σ/√2) - 1], ω = (log y - log m) / σ.
    """
    median, deviation = forecast.unbind(-1)
    cumulative = torch.special.ndtr
    omega = (truth.log() - median.log()) / deviation
    tail = cumulative(omega - deviation) + cumulative(deviation / math.sqrt(2)) - 1
    return truth * (2 * cumulative(omega) - 1) - 2 * median * (deviation.square() / 2).exp() * tail


def interval_scores(distribution: Distribution, log: bool) -> dict[str, Score]:
    """``coverage@80``, the share of true values in the interval, and ``width@80``, how wide it is in units."""

    def bounds(forecast: Tensor) -> tuple[Tensor, Tensor]:
        found = distribution.interval(forecast, log)
        assert found is not None
        return found

    def covered(forecast: Tensor, truth: Tensor) -> Tensor:
        low, high = bounds(forecast)
        return ((low <= truth) & (truth <= high)).to(truth.dtype)

    def width(forecast: Tensor, truth: Tensor) -> Tensor:
        low, high = bounds(forecast)
        return high - low

    return {f"coverage@{distribution.level}": covered, f"width@{distribution.level}": width}
