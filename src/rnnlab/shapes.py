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

from jaxtyping import Float, Inexact, Int, Shaped
from torch import Tensor

from rnnlab.ranges import AUTO as AUTO
from rnnlab.ranges import AutoSize as AutoSize
from rnnlab.ranges import FilePath as FilePath
from rnnlab.ranges import Fraction as Fraction
from rnnlab.ranges import Names as Names
from rnnlab.ranges import NGrams as NGrams
from rnnlab.ranges import NonNegativeFloat as NonNegativeFloat
from rnnlab.ranges import NonNegativeInt as NonNegativeInt
from rnnlab.ranges import OnDisk as OnDisk
from rnnlab.ranges import PositiveFloat as PositiveFloat
from rnnlab.ranges import PositiveInt as PositiveInt
from rnnlab.ranges import Share as Share
from rnnlab.ranges import Sizes as Sizes
from rnnlab.ranges import Window as Window

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
