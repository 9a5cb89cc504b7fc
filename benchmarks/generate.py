"""``python -m benchmarks.generate``: characters a second of a language model, against a loop over torch's own cell."""

import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.measurement import RNNLAB, Result, Verdict, publish, run

SIZES = ((64, 64), (256, 64))
"""Hidden units and embedding; the second is that of ``experiment=character_model``."""


def measure(quick: bool) -> Result:
    """``load(RUN).writing`` and the loop, in turn."""
    rounds, length = (3, 500) if quick else (15, 2000)
    rows, ratios, numbers = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for hidden, embedding in SIZES:
            loop, ours = characters_a_second(train(Path(folder), hidden, embedding), rounds, length)
            ratios.append(ours / loop)
            rows.append([f"lstm {hidden}", f"{loop:,.0f}", f"{ours:,.0f}", f"{ours / loop:.2f}"])
            numbers[f"lstm {hidden}"] = {"loop": loop, "generate": ours}
    return Result(
        "generate",
        f"Characters a second of one text of {length:,} characters, to the text, against the least that a person would "
        "write by hand: an embedding, nn.LSTMCell, a linear layer, softmax and torch.multinomial in inference mode, "
        "with the same weights.",
        ["network", "nn.LSTMCell loop", "generate", "ratio"],
        rows,
        [Verdict("as fast as the loop", f"{min(ratios):.2f}", min(ratios) >= 1)],
        [],
        numbers,
    )


def train(folder: Path, hidden: int, embedding: int) -> Path:
    """A run of a moment: what it learned does not matter here."""
    place = folder / f"lstm{hidden}"
    sizes = [f"model.hidden_size={hidden}", f"model.embedding_size={embedding}", "data.num_samples=400"]
    rest = ["trainer.max_epochs=1", "instruments=none", "trainer.accelerator=cpu", f"hydra.run.dir={place}"]
    run([RNNLAB, "train", "data=text", "model=lstm", *sizes, *rest])
    return place


def characters_a_second(place: Path, rounds: int, length: int) -> tuple[float, float]:
    """Of the loop and of rnnlab."""
    from rnnlab import load
    from rnnlab.use.options import Sampling

    model = load(place)
    network = model.networks[0]
    vocabulary = model.spec.target.names
    ours = network.cells()[0]
    cell = nn.LSTMCell(ours.input_size, ours.hidden_size)
    cell.load_state_dict(ours.state_dict())
    start = vocabulary.index("T")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        torch.set_num_threads(1)
        started = time.perf_counter()
        by_hand(network.encoder, cell, network.readout, vocabulary, start, length)
        between = time.perf_counter()
        deque(model.writing("T", Sampling(length)), maxlen=0)
        seconds[0].append(between - started)
        seconds[1].append(time.perf_counter() - between)
    loop, ours_too = (length / median(each[1:]) for each in seconds)  # the first round warms up
    return loop, ours_too


@torch.inference_mode()
def by_hand(
    embedding: nn.Module, cell: nn.LSTMCell, readout: nn.Module, vocabulary: tuple[str, ...], start: int, length: int
) -> str:
    """The loop that is held against."""
    token = torch.tensor([start])
    state = None
    text = ""
    for _ in range(length):
        state = cell(embedding(token), state)
        token = readout(state[0]).softmax(-1).multinomial(1)[:, 0]
        text += vocabulary[token.item()]
    return text


if __name__ == "__main__":
    publish(measure(quick=False), quick=False)
