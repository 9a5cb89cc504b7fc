"""What is heard of a sound: the logarithm of its energy in bands that are as wide as an ear hears them, frame by frame.

S. B. Davis & P. Mermelstein, "Comparison of parametric representations for monosyllabic word recognition in
continuously spoken sentences" (1980); the mel scale by D. O'Shaughnessy, "Speech communication" (1987), page 150.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rnnlab.errors import InputError

FLOOR = 1e-6
"""Energy below which all is silence, for samples between -1 and 1."""


@dataclass(frozen=True)
class LogMel:
    """Sound to features: no frame knows of a later one, so that a stream gives the same.

    Attributes:
        rate: samples a second.
        bands: features of a frame.
        window: seconds that a frame looks at.
        hop: seconds from one frame to the next.

    Raises:
        InputError: a frame has too few samples for so many bands, or frames leave sound out.
    """

    rate: int
    bands: int = 40
    window: float = 0.025
    hop: float = 0.01

    def __post_init__(self) -> None:
        if not 2 <= self.step <= self.size:
            raise InputError(
                f"data.hop={self.hop}: from one frame to the next there are {self.step} samples; at least 2 are needed "
                f"and at most the {self.size} of data.window={self.window}"
            )
        if empty := int((self.filters.sum(0) == 0).sum()):
            raise InputError(
                f"data.bands={self.bands}: {empty} of the bands lie between two frequencies that a window of "
                f"data.window={self.window} seconds tells apart: take fewer bands, or a longer window"
            )

    @property
    def size(self) -> int:
        """Samples of a frame."""
        return round(self.window * self.rate)

    @property
    def step(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop * self.rate)

    @property
    def points(self) -> int:
        """Samples of a frame with the zeros behind it: a power of 2."""
        return 1 << max(1, self.size - 1).bit_length()

    @cached_property
    def filters(self) -> Tensor:
        """``(frequencies, bands)`` triangles that overlap by half, evenly spread over the mel scale."""
        highest = self.rate / 2
        edges = _hertz(np.linspace(0, 2595 * np.log10(1 + highest / 700), self.bands + 2))
        frequencies = np.linspace(0, highest, self.points // 2 + 1)[:, None]
        rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
        return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)))

    def frames(self, samples: int) -> int:
        """Frames of so many samples: those that lie in them as a whole."""
        return max(0, 1 + (samples - self.size) // self.step)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """``(samples,)`` between -1 and 1 to ``(frames, bands)``; a sound shorter than a frame ends in silence."""
        wave = np.zeros(max(len(samples), self.size))
        wave[: len(samples)] = samples
        window = torch.hann_window(self.size, dtype=torch.float64)
        cut = torch.from_numpy(wave).unfold(0, self.size, self.step) * window
        energy = torch.fft.rfft(cut, self.points).abs().square() / window.square().sum()
        return (energy @ self.filters + FLOOR).log().numpy()


def _hertz(mel: np.ndarray) -> np.ndarray:
    """Of mel = 2595 log10(1 + hertz / 700)."""
    return np.asarray(700 * (10 ** (mel / 2595) - 1))
