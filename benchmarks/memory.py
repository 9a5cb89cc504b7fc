"""What a long sequence costs in memory, with the states kept and recomputed: the highest mark of a process each."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.measurement import ONE_THREAD, Result, Verdict

BATCH, FEATURES, HIDDEN = 32, 8, 64
STEPS = 10_000
MODELS = {
    "gru": ("gru", "GRU", "auto"),
    "layer_norm_lstm": ("layer_norm_lstm", "LayerNormLSTM", "auto"),
    "layer_norm_lstm, the loop": ("layer_norm_lstm", "LayerNormLSTM", "reference"),
}

OF_TORCH = {"gru": "GRU", "rnn": "RNN", "lstm": "LSTM"}
TORCHS = "torch.nn"
"""In place of a backend: the layer that torch.nn has."""
LIMIT = 1.2


def measure(quick: bool = False) -> Result:
    """One process a case: a forward and a backward pass."""
    steps = STEPS // 5 if quick else STEPS
    rows, verdicts, numbers = [], [], {}
    for name, case in MODELS.items():
        kept, again = (_child(*case, steps, recompute) for recompute in (False, True))
        numbers[name] = {"kept": kept, "recomputed": again}
        share = again["memory"] / kept["memory"]
        rows.append([
            name, str(steps), f"{kept['memory'] / 1e6:,.0f}", f"{again['memory'] / 1e6:,.0f}", f"{share:.2f}",
            f"{kept['seconds']:.2f}", f"{again['seconds']:.2f}", f"{again['seconds'] / kept['seconds']:.2f}",
        ])  # fmt: skip
        # the output and its gradient
        least = 2 * 4 * BATCH * steps * HIDDEN
        beside, before = max(again["memory"] - least, 0), kept["memory"] - least
        verdicts.append(
            Verdict(
                f"{name}: beside the output and its gradient at most a fifth",
                f"{beside / 1e6:,.0f} of {before / 1e6:,.0f} MB",
                5 * beside <= before,
            )
        )
    for name, kind in OF_TORCH.items():
        ours, theirs = (_child(name, kind, backend, steps, False) for backend in ("derived", TORCHS))
        ratio = ours["memory"] / theirs["memory"]
        numbers[f"{name}, against nn.{kind}"] = {"ours": ours, "rival's": theirs}
        promise = f"{name}: at most {LIMIT} of the memory of nn.{kind}"
        figure = f"{ratio:.2f}: {ours['memory'] / 1e6:,.0f} of {theirs['memory'] / 1e6:,.0f} MB"
        verdicts.append(Verdict(promise, figure, ratio <= LIMIT))
    return Result(
        "memory",
        f"What does model.recompute=true save? One layer, {HIDDEN} units, batch {BATCH}, one thread, one process each.",
        ["layer", "steps", "MB", "MB recomputed", "share", "seconds", "seconds recomputed", "ratio"],
        rows,
        verdicts,
        [
            "Memory is the highest mark of the process over a forward and a backward pass, less what it had with the "
            f"input of {FEATURES} features. The output of every step and its gradient are in it both ways."
        ],
        numbers,
    )


def _child(module: str, kind: str, backend: str, steps: int, recompute: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", module, kind, backend, str(steps), str(recompute)]
    ended = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def child(module: str, kind: str, backend: str, steps: int, recompute: bool) -> dict[str, float]:
    """Inside the measured process."""
    from resource import RUSAGE_SELF, getrusage

    import torch

    from benchmarks.cells import cell
    from rnnlab.cells.recomputation import recomputed

    def highest() -> int:
        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    torch.manual_seed(0)
    if backend == TORCHS:
        layer = getattr(torch.nn, kind)(FEATURES, HIDDEN, batch_first=True)
    else:
        layer = cell(module, kind)(FEATURES, HIDDEN, backend=backend)
    # what is loaded at first use is no part of the question
    layer(torch.randn(BATCH, 20, FEATURES))[0].sum().backward()
    x = torch.randn(BATCH, steps, FEATURES)
    before, begun = highest(), time.perf_counter()
    output = (recomputed(layer, x) if recompute else layer(x))[0]
    output.backward(torch.ones_like(output))
    return {"seconds": time.perf_counter() - begun, "memory": highest() - before}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        module, kind, backend, steps, recompute = sys.argv[2:]
        print(json.dumps(child(module, kind, backend, int(steps), recompute == "True")))
    else:
        from benchmarks.__main__ import main

        main(["memory", *sys.argv[1:]])
