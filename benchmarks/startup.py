"""What it costs to be answered: ``rnnlab train --help`` and ``--cfg job`` against ``import torch``."""

import subprocess
import sys

from benchmarks.measurement import RNNLAB, Cost, Result, Verdict, medians, run

TARGET = 1 / 3
IMPORT_TORCH = [sys.executable, "-c", "import torch"]
ANSWERS = {
    "rnnlab train --help": [RNNLAB, "train", "--help"],
    "rnnlab train --cfg job": [RNNLAB, "train", "--cfg", "job"],
}


def measure(quick: bool = False) -> Result:
    """Runs all commands in turn, again and again, so that each meets the machine in the same moods."""
    commands = {"python -c 'import torch'": IMPORT_TORCH, **ANSWERS, "python -c pass": [sys.executable, "-c", "pass"]}
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for command in commands.values():
        run(command)  # once for nothing: bytecode is written, files come into memory
    for _ in range(3 if quick else 11):
        for name, command in commands.items():
            costs[name].append(run(command))
    middle = {name: medians(each) for name, each in costs.items()}
    torch = middle["python -c 'import torch'"]
    rows = [
        [name, f"{cost.cpu:.3f}", f"{cost.cpu / torch.cpu:.2f}", f"{cost.wall:.3f}", f"{cost.wall / torch.wall:.2f}"]
        for name, cost in middle.items()
    ]
    verdicts = []
    for name, command in ANSWERS.items():
        ratio = middle[name].cpu / torch.cpu
        verdicts.append(
            Verdict(
                f"`{name}` takes under a third of the CPU-seconds of `import torch`", f"{ratio:.2f}", ratio < TARGET
            )
        )
        imported = imports_torch(command[1:])
        verdicts.append(Verdict(f"`{name}` imports no torch", "imported" if imported else "not imported", not imported))
    return Result(
        "startup",
        "What does an answer cost that needs no training? Whole processes, medians, each command in turn.",
        ["command", "CPU-seconds", "against torch", "wall seconds", "against torch"],
        rows,
        verdicts,
        numbers={"rounds": {name: [cost._asdict() for cost in each] for name, each in costs.items()}},
    )


def imports_torch(arguments: list[str]) -> bool:
    """Whether ``python -X importtime`` sees torch come in."""
    command = [sys.executable, "-X", "importtime", "-m", "rnnlab", *arguments]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return any(line.rpartition("|")[2].strip() == "torch" for line in report.splitlines())


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["startup", *sys.argv[1:]])
