"""The dimension legend: one letter a dimension, the same in every file.

=======  ==============================================================
letter   meaning
=======  ==============================================================
``B``    batch: sequences side by side
``T``    time: steps of the longest sequence in the batch
``F``    features of one step of the input
``H``    hidden units of one layer (one direction)
``S``    size of what is predicted: values a step, classes, or tokens
=======  ==============================================================

Boundaries are annotated with the aliases below. The test run checks them at
run time (``pytest --jaxtyping-packages=rnnlab,beartype.beartype``); training
pays nothing for them.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from jaxtyping import Float, Inexact, Int, Shaped
from torch import Tensor

Inputs = Shaped[Tensor, "B T ..."]
"""Features ``(batch, time, features)`` or token numbers ``(batch, time)``."""
Features = Float[Tensor, "B T F"]
Tokens = Int[Tensor, "B T"]
Step = Float[Tensor, "B F"]
Hidden = Float[Tensor, "B H"]
HiddenSequence = Float[Tensor, "B T H"]
StateStep = Inexact[Tensor, "B H"]
"""As ``Hidden``, real or complex."""
StateSequence = Inexact[Tensor, "B T H"]
"""As ``HiddenSequence``, real or complex."""
Lengths = Int[Tensor, "B"]

State = Tensor | tuple[Tensor, ...]
"""What a cell carries from step to step, each tensor ``(batch, …)``."""

# A signature is the schema of its config: these ranges are checked before a run starts.
PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
"""At least 0 and below 1: a dropout rate, a share of the data."""


@dataclass(frozen=True)
class OnDisk:
    """Marks an annotation: the value is a place in the file system."""


FilePath = Annotated[str, OnDisk()]
"""A file or a folder. A run keeps it as an absolute path, so that it can be resumed and evaluated from anywhere."""
