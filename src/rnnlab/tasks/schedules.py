"""Learning-rate schedules that know how long the training is.

Each is called with the optimizer and the number of steps, and moves at every step.
"""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from rnnlab.shapes import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt


def warmup(optimizer: Optimizer, total_steps: int, share: Fraction = 0.1) -> LambdaLR:
    """From 0 up to the optimizer's rate over the first ``share`` of the steps, then constant."""
    rising = max(1, round(share * total_steps))
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / rising))


def cosine(optimizer: Optimizer, total_steps: int, warmup: Fraction = 0.0, final: NonNegativeFloat = 0.0) -> LambdaLR:
    """Half a cosine from the optimizer's rate down to its share ``final`` (Loshchilov and Hutter 2017,
    arXiv 1608.03983, without restarts), after a linear warm-up over the share ``warmup`` of the steps.
    """
    rising = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        progress = min(1.0, (step - rising) / max(1, total_steps - rising))
        return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)


def step(optimizer: Optimizer, total_steps: int, drops: PositiveInt = 3, factor: PositiveFloat = 0.1) -> LambdaLR:
    """Multiplied by ``factor`` at each of ``drops`` evenly spaced steps."""
    every = max(1, total_steps // (drops + 1))
    return LambdaLR(optimizer, lambda step: factor ** min(drops, step // every))


def one_cycle(optimizer: Optimizer, total_steps: int, rising: Fraction = 0.3) -> OneCycleLR:
    """Up to the optimizer's rate over the share ``rising`` of the steps and down to almost nothing
    (Smith and Topin 2019, arXiv 1708.07120).
    """
    rate = [group["lr"] for group in optimizer.param_groups]
    # the momentum stays the optimizer's own: cycling it is refused by optimizers without one
    return OneCycleLR(optimizer, rate, total_steps=total_steps, pct_start=rising, cycle_momentum=False)
