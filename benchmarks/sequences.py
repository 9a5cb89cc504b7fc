"""``python -m benchmarks.sequences``: tokens a second of an encoder and decoder, against the same network by hand."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.end_to_end import peers
from benchmarks.measurement import ONE_THREAD, Result, Verdict, publish
from rnnlab.cells.gru import GRU
from rnnlab.decoding import Search, beam_search
from rnnlab.network import Network
from rnnlab.spec import IGNORED, Batch, DataSpec, InputSpec, TargetSpec
from rnnlab.tasks.transcription import Transcription

WORDS, BATCH, READ, SAID, BEAM = 2000, 32, 20, 20, 8
SIZES = (64, 256)
"""Hidden units, and of the embeddings."""
FRAMES, BANDS, SIGNS = 200, 40, 12
"""Of what is transcribed: steps, features, and different tokens."""
LIMIT = 1.1
"""Of the time of the loop by hand."""


class ByHand(nn.Module):
    """Bidirectional GRU, additive attention, GRU: as a person writes them with torch.nn; Luong's order of steps."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.read, self.said = nn.Embedding(words, size), nn.Embedding(words + 1, size)
        self.encoder = nn.GRU(size, size, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(size, size, batch_first=True)
        self.of_memory, self.of_query = nn.Linear(2 * size, size, bias=False), nn.Linear(size, size)
        self.weigh, self.combine = nn.Linear(size, 1, bias=False), nn.Linear(3 * size, size)
        self.readout = nn.Linear(size, words)

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory, final = self.encoder(self.read(inputs))
        return memory, self.of_memory(memory), final[:1].contiguous()

    def forward(self, tokens: Tensor, memory: Tensor, keys: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        said, state = self.decoder(self.said(tokens), state)
        scores = self.weigh((self.of_query(said)[:, :, None] + keys[:, None]).tanh()).squeeze(-1)
        context = scores.softmax(-1) @ memory
        return self.readout(self.combine(torch.cat([context, said], -1)).tanh()), state

    @torch.no_grad()
    def search(self, inputs: Tensor, end: int, longest: int, beam: int) -> Tensor:
        """The sequences of a beam search, as long as the longest."""
        batch, words = len(inputs), self.readout.out_features
        memory, keys, state = self.encode(inputs)
        memory, keys = (part.repeat_interleave(beam, 0) for part in (memory, keys))
        state = state.repeat_interleave(beam, 1)
        tokens = torch.full((batch * beam, 1), words)
        scores = torch.full((batch, beam), -torch.inf)
        scores[:, 0] = 0
        said = torch.empty(batch, beam, 0, dtype=torch.int64)
        ended = torch.zeros(batch, beam, dtype=torch.bool)
        for _ in range(longest):
            output, state = self(tokens, memory, keys, state)
            logs = output[:, -1].log_softmax(-1).view(batch, beam, words)
            stay = torch.full_like(logs, -torch.inf)
            stay[..., end] = 0
            total = scores[..., None] + torch.where(ended[..., None], stay, logs)
            scores, chosen = total.flatten(1).topk(beam)
            parent, token = torch.div(chosen, words, rounding_mode="floor"), chosen % words
            ended = ended.gather(1, parent) | (token == end)
            said = torch.cat([said.gather(1, parent[..., None].expand_as(said)), token[..., None]], 2)
            if ended.all():
                break
            rows = (torch.arange(batch)[:, None] * beam + parent).flatten()
            state, tokens = state[:, rows], token.view(-1, 1)
        return said


class TranscribedByHand(nn.Module):
    """Bidirectional GRU and readout, for ``nn.CTCLoss``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.encoder = nn.GRU(BANDS, size, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(2 * size, SIGNS + 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.encoder(inputs)[0])


def measure(quick: bool) -> Result:
    """Training steps and searches of both, in turn."""
    rounds = 3 if quick else 15
    sizes = SIZES[: 1 if quick else None]
    rows, ratios, numbers = [], [], {}
    peer = {} if quick else of_joeynmt(sizes, rounds)
    for size in sizes:
        found = {"training": training, "beam of 8": searching, "CTC": transcribing}
        for what, (hand, ours) in ((what, step(size, rounds)) for what, step in found.items()):
            ratios.append(ours / hand)
            tokens = BATCH * SAID
            numbers[f"{what} {size}"] = {"by hand": tokens / hand, "rnnlab": tokens / ours}
            row = [f"{what}, {size} units", f"{tokens / hand:,.0f}", f"{tokens / ours:,.0f}", f"{ours / hand:.2f}"]
            if peer and what not in peer[str(size)]:
                row += ["", ""]
            elif peer:
                theirs = peer[str(size)][what]
                numbers[f"{what} {size}"]["JoeyNMT"] = tokens / theirs
                row += [f"{tokens / theirs:,.0f}", f"{ours / theirs:.2f}"]
            rows.append(row)
    return Result(
        "sequences",
        f"Tokens a second that are said, in training (loss, gradients, clipping, Adam) and by a beam search of {BEAM}, "
        f"of {BATCH} texts of {READ} words each, {WORDS:,} different ones, one thread: a bidirectional GRU, "
        "additive attention and a GRU, against the same network by hand (nn.GRU, nn.Linear, torch.optim.Adam) and, in "
        "a process of its own before, JoeyNMT 2.3 (without its reading of data and its log). CTC: a step of "
        f"task=transcription of {BATCH} inputs of {FRAMES} steps and {BANDS} features, {SAID} tokens of {SIGNS} kinds "
        "each, a bidirectional GRU, against nn.GRU, nn.Linear and nn.CTCLoss.",
        ["step", "by hand", "rnnlab", "time, rnnlab / by hand", *(["JoeyNMT", "rnnlab / JoeyNMT"] if peer else [])],
        rows,
        [Verdict(f"at most {LIMIT} of the time by hand", f"{max(ratios):.2f}", max(ratios) <= LIMIT)],
        [],
        numbers,
    )


def of_joeynmt(sizes: Sequence[int], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of JoeyNMT's steps by size, in an environment of its own, which the first call makes."""
    script = Path(__file__).parent / "peers" / "joeynmt_net.py"
    numbers = map(str, (WORDS, BATCH, READ, SAID, BEAM, rounds, *sizes))
    environment = {**os.environ, **ONE_THREAD}
    ended = subprocess.run([peers("joeynmt"), str(script), *numbers], env=environment, capture_output=True, text=True,
                           check=True)  # fmt: skip
    found: dict[str, dict[str, float]] = json.loads(ended.stdout)
    return found


def network(size: int) -> Network:
    """Ours."""
    torch.manual_seed(0)
    names = tuple(map(str, range(WORDS)))
    target = TargetSpec("sequence", WORDS, names, end=0, longest=SAID)
    return Network(InputSpec(vocabulary=WORDS), target, GRU, size, bidirectional=True)


def texts(read: int = READ, said: int | None = None) -> tuple[Tensor, Tensor]:
    """Inputs of so many tokens, and targets that end, of as many by default."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(1, WORDS, (BATCH, read), generator=generator)
    targets = torch.randint(1, WORDS, (BATCH, read if said is None else said), generator=generator)
    targets[:, -1] = 0
    return inputs, targets


def training(size: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step by hand, and of ours."""
    return in_turn(rounds, *both(size, *texts(READ, SAID)))


def both(size: int, inputs: Tensor, targets: Tensor) -> tuple[Callable[[], None], Callable[[], None]]:
    """A step of training by hand, and of ours."""
    ours, hand = network(size), ByHand(WORDS, size)
    before = torch.cat([torch.full((BATCH, 1), WORDS), targets[:, :-1]], 1)

    def by_hand() -> Tensor:
        output, _ = hand(before, *hand.encode(inputs))
        return F.cross_entropy(output.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    def of_ours() -> Tensor:
        return F.cross_entropy(ours.teach(inputs, targets)[0].flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    return (
        partial(update, by_hand, hand, torch.optim.Adam(hand.parameters())),
        partial(update, of_ours, ours, torch.optim.Adam(ours.parameters())),
    )


def update(loss: Callable[[], Tensor], net: nn.Module, optimizer: Any) -> None:
    """A step of training."""
    optimizer.zero_grad()
    loss().backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def searching(size: int, rounds: int) -> tuple[float, float]:
    """Seconds of a search by hand, and of ours: none of both finds an end before it must."""
    inputs, _ = texts()
    ours, hand = network(size).eval(), ByHand(WORDS, size).eval()
    for readout in (ours.readout, hand.readout):
        readout.bias.data[0] = -50
    search = Search(BEAM)
    return in_turn(
        rounds,
        lambda: hand.search(inputs, 0, SAID, BEAM),
        lambda: beam_search(ours, inputs, None, 0, SAID - 1, search),
    )


def transcribing(size: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step of CTC by hand, and of ours."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCH, FRAMES, BANDS, generator=generator)
    targets = torch.randint(SIGNS, (BATCH, SAID + 1), generator=generator)
    targets[:, -1] = SIGNS
    names = (*map(str, range(SIGNS)), "<end>")
    spec = DataSpec(
        InputSpec(features=BANDS), TargetSpec("sequence", SIGNS + 1, names, end=SIGNS, longest=SAID + 1), FRAMES
    )
    torch.manual_seed(0)
    ours = Transcription(Network(spec.input, Transcription.output(spec), GRU, size, bidirectional=True), spec)
    hand, loss = TranscribedByHand(size), nn.CTCLoss(blank=SIGNS)
    lengths = torch.full((BATCH,), FRAMES)
    said, batch = torch.full((BATCH,), SAID), Batch(inputs, targets, None)

    def by_hand() -> Tensor:
        found: Tensor = loss(hand(inputs).log_softmax(-1).transpose(0, 1), targets[:, :-1], lengths, said)
        return found

    return in_turn(
        rounds,
        partial(update, by_hand, hand, torch.optim.Adam(hand.parameters())),
        partial(update, lambda: ours.loss(ours(batch), batch), ours, torch.optim.Adam(ours.parameters())),
    )


def in_turn(rounds: int, *calls: Callable[[], Any]) -> tuple[float, float]:
    """The median seconds of each of two, after a first round that warms up."""
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for call, taken in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
    hand, ours = (median(taken[1:]) for taken in seconds)
    return hand, ours


if __name__ == "__main__":
    publish(measure(quick=False), quick=False)
