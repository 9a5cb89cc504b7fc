"""What a call of an exported network costs, against the network in torch: one step of one sequence, and a batch."""

import sys
from collections.abc import Callable
from typing import Any

from benchmarks.cells import cell, seconds
from benchmarks.measurement import Result, Verdict

HIDDEN, FEATURES = 64, 8
CELLS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM", "min_gru": "MinGRU", "lru": "LRU"}
SIZES = ((1, 1), (32, 50))
LIMITS = {("gru", 1): 1.0, ("lstm", 1): 1.0, ("gru", 32): 1.0, ("lstm", 32): 1.0}
"""By cell and batch: of torch's time."""


def measure(quick: bool = False) -> Result:
    """Medians of calls taken turn by turn, on one thread each; every file is checked against its network first."""
    import torch
    from torch import Tensor

    from rnnlab.cells.cell import Cell
    from rnnlab.network import Network
    from rnnlab.spec import InputSpec, TargetSpec
    from rnnlab.use.export.check import Steps, check
    from rnnlab.use.export.formats import convert, serve
    from rnnlab.use.export.step_graph import parts

    torch.set_num_threads(1)
    rows: list[list[str]] = []
    verdicts: list[Verdict] = []
    numbers: list[dict[str, Any]] = []

    def calls(files: dict[str, Any], network: Network, x: Tensor, lengths: Tensor) -> list[Callable[[], Any]]:
        state = tuple(network.initial_state(len(x)))
        tensors = [part for each in state for part in parts(each)]
        onnx = files["onnx"]
        given = dict(zip(onnx.names, [part.numpy() for part in (x, lengths, *tensors)], strict=True))
        both: list[Callable[[], Any]] = [lambda: onnx.session.run(None, given), lambda: network(x, state)]
        return [*both, lambda: files["pt2"](x, lengths, tensors)] if "pt2" in files else both

    for name, kind in CELLS.items():
        torch.manual_seed(0)
        factory: type[Cell[Any]] = cell(name, kind)
        network = Network(InputSpec(features=FEATURES), TargetSpec("values", 1), factory, HIDDEN).eval()
        steps = Steps(torch.randn(2000, FEATURES))
        files: dict[str, Any] = {}
        for format in ("onnx",) if quick else ("onnx", "pt2"):
            _, content = convert(network, steps.cut(3, 5), format)  # type: ignore[arg-type]
            files[format] = serve(content, format)  # type: ignore[arg-type]
            verdict = check(files[format], network, steps, 50)
            verdicts.append(
                Verdict(f"{name} as {format} says what the network says", f"{verdict.relative:.0e}", verdict.holds)
            )
        for batch, time in SIZES:
            x, lengths = steps.cut(batch, time), torch.full((batch,), time)
            with torch.inference_mode():
                taken = seconds(*calls(files, network, x, lengths))
            shown = [f"{1000 * each:.3f}" for each in taken]
            ratio = taken[0] / taken[1]
            rows.append([name, f"{batch} × {time}", *shown[:2], f"{ratio:.2f}", *shown[2:]])
            numbers.append(
                {"cell": name, "batch": batch, "time": time, **dict(zip(("onnx", "torch", "pt2"), taken, strict=False))}
            )
            if (name, batch) in LIMITS:
                limit = LIMITS[name, batch]
                promise = f"{name}, {batch} × {time}: onnxruntime takes at most {limit} of torch's time"
                verdicts.append(Verdict(promise, f"{ratio:.2f}", ratio <= limit))
    return Result(
        "export",
        f"What does a call of an exported network cost? {FEATURES} features, one layer of {HIDDEN} units, one value a "
        "step; median milliseconds on one thread.",
        ["cell", "batch × time", "onnxruntime", "torch", "ratio", *([] if quick else ["pt2"])],
        rows,
        verdicts,
        [
            "One step of one sequence is a server's call: the state goes in and comes out. torch is the network as "
            "rnnlab runs it, in inference mode; for min_gru and lru its cells compute all steps in parallel, and the "
            "file has the loop over what is left of a step. The loop of a pt2 file is run by Python."
        ],
        {"cases": numbers},
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["export", *sys.argv[1:]])
