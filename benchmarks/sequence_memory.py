"""``python -m benchmarks sequence_memory``: memory of a training step of an encoder and decoder, against the length."""

import json
import os
import subprocess
import sys

from benchmarks.measurement import ONE_THREAD, Result, Verdict

SIZE = 64
LENGTHS = (25, 50, 100, 200, 400)
WAYS = ("by hand", "rnnlab")
WARM_UP = 12
"""Tokens of a step before: what is imported, and compiled once for each kind of layer, is no matter of the length."""
LIMIT = 1.2
"""Of the memory of the network by hand."""


def measure(quick: bool = False) -> Result:
    """One process a length and a way, since the highest mark of a process never falls."""
    rows, ratios, numbers = [], [], {}
    for length in LENGTHS[:: 2 if quick else 1]:
        hand, ours = (_child(way, length) for way in WAYS)
        ratios.append(ours / hand)
        numbers[str(length)] = {"by hand": hand, "rnnlab": ours}
        rows.append([str(length), f"{hand / 1e6:,.0f}", f"{ours / 1e6:,.0f}", f"{ours / hand:.2f}"])
    return Result(
        "sequence_memory",
        f"Megabytes of a training step of a bidirectional GRU, additive attention and a GRU of {SIZE} units, 32 texts, "
        "as long on both sides, one thread: ours, and the same network by hand.",
        ["tokens a side", "by hand", "rnnlab", "rnnlab / by hand"],
        rows,
        [Verdict(f"at most {LIMIT} of the memory by hand", f"{max(ratios):.2f}", max(ratios) <= LIMIT)],
        [
            "The highest mark of a process over two steps, less what it had with the network and the texts. Additive "
            "attention holds a vector of all units for each pair of tokens, and so grows with the square of the length."
        ],
        numbers,
    )


def _child(way: str, length: int) -> float:
    command = [sys.executable, "-m", "benchmarks.sequence_memory", "--child", way, str(length)]
    ended = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    return float(json.loads(ended.stdout))


def child(way: str, length: int) -> float:
    """Inside the measured process."""
    from resource import RUSAGE_SELF, getrusage

    from benchmarks.sequences import both, texts

    def highest() -> int:
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    short, long = (both(SIZE, *texts(tokens)) for tokens in (WARM_UP, length))
    for step in short:
        step()
    before = highest()
    for _ in range(2):
        long[WAYS.index(way)]()
    return highest() - before


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(sys.argv[2], int(sys.argv[3]))))
    else:
        from benchmarks.__main__ import main

        main(["sequence_memory", *sys.argv[1:]])
