"""The same network, trained as often, by rnnlab, by a plain PyTorch loop, by Keras 3 and by darts.

The peers live in an environment of their own, ``build/peers``, which the first
call makes (some minutes, and a network). The data is rnnlab's: each job's
arrays are written to one file, which all peers read.
"""

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measurement import RNNLAB, Cost, Result, Verdict, composed, run

PEERS = Path(__file__).parent / "peers"
ENVIRONMENT = Path(__file__).parents[1] / "build" / "peers"
PADDING = -99.0
EQUAL = ["early_stopping.patience=null", "model.dropout=0", "trainer.accelerator=cpu", "instruments=none"]


@dataclass(frozen=True)
class Job:
    """What is trained, and the loss that has to be reached.

    Attributes:
        epochs: of a measurement, and of a quick look.
        less: what makes a quick look quicker.
    """

    name: str
    kind: str
    overrides: tuple[str, ...]
    epochs: tuple[int, int]
    stated: float
    less: tuple[str, ...] = ()

    def arguments(self, quick: bool) -> list[str]:
        return [*self.overrides, *(self.less if quick else ()), *EQUAL, f"trainer.max_epochs={self.epochs[quick]}"]


JOBS = (
    Job("sine waves, GRU of 64 units", "forecast", ("model=gru", "model.hidden_size=64", "data=sine"), (30, 2), 0.02),
    Job(
        "JapaneseVowels, GRU of 64 units",
        "classify",
        ("model=gru", "model.hidden_size=64", "data=ucr", "data.name=JapaneseVowels", "data.val_fraction=0.2"),
        (40, 2),
        0.3,
    ),
    Job(
        "characters, LSTM of 128 units",
        "language",
        ("model=lstm", "model.hidden_size=128", "model.embedding_size=64", "data=text", "data.length=64"),
        (3, 1),
        1.7,
        ("data.num_samples=640",),
    ),
)
RIVALS = {
    "plain PyTorch loop": ("plain_torch.py", {}),
    "Keras 3 on torch": ("keras_net.py", {"KERAS_BACKEND": "torch"}),
    "Keras 3 on jax": ("keras_net.py", {"KERAS_BACKEND": "jax"}),
}
SERIES = ("data=airline", "data.strategy=recursive", "data.batch_size=16", "model=lstm", "model.hidden_size=32")


def measure(quick: bool = False) -> Result:
    """Whole processes in turn, three rounds; one thread each."""
    python = peers()
    rows: list[list[str]] = []
    verdicts: list[Verdict] = []
    numbers: dict[str, Any] = {"stated": {job.name: job.stated for job in JOBS}}
    with tempfile.TemporaryDirectory() as folder:
        for job in JOBS:
            file = Path(folder) / "job.npz"
            describe(job, quick, file)
            rounds = [_round(job, quick, python, file, Path(folder) / str(i)) for i in range(1 if quick else 3)]
            numbers[job.name] = rounds
            for name in rounds[0]:
                costs = [each[name] for each in rounds]
                reached = [_reached(each["curve"], job.stated) for each in costs]
                rows.append([
                    job.name if name == "rnnlab" else "",
                    name,
                    f"{costs[0]['updates']:,}",
                    f"{median(each['wall'] for each in costs):.1f}",
                    f"{median(each['curve'][-1][0] for each in costs):.1f}",
                    "–" if None in reached else f"{median(filter(None, reached)):.1f}",
                    f"{median(each['curve'][-1][1] for each in costs):.3g}",
                ])  # fmt: skip
            ours, loop = (
                median(each[name]["curve"][-1][0] for each in rounds) for name in ("rnnlab", "plain PyTorch loop")
            )
            verdicts.append(Verdict(f"{job.name}: no slower than the plain loop", f"{ours / loop:.2f}×", ours <= loop))
        rows += _forecasting(quick, python, Path(folder), numbers)
    return Result(
        "end_to_end",
        "How long does a whole training take in rnnlab, and in what people use else? Same network, data, updates, "
        "batches and optimizer; whole processes of one thread each, in turn, medians.",
        ["job", "who", "updates", "process, s", "training, s", "to the stated loss, s", "validation loss"],
        rows,
        verdicts,
        [
            "Stated losses: "
            + ", ".join(f"{job.name}: {job.stated}" for job in JOBS)
            + " on validation, at the end of "
            "an epoch. Training: all epochs with their validation, without imports. rnnlab also tests, measures "
            "baselines and keeps checkpoints, metrics and TensorBoard; no figures. Of its training the end is known "
            "and the epochs are taken to be equally long. Each starts from the initial weights of its framework.",
            "rnnlab reads text as streams whose state goes on from batch to batch; the others read the same windows "
            "shuffled, each from a state of zero. Keras' GRU is the variant with reset_after, as torch's.",
            "Airline: darts' RNNModel on the same months, standardised alike; its sampler takes other windows and "
            "rounds the updates up to whole epochs. Its score is the mean absolute percentage error of forecasts six "
            "months ahead from every month of 1958 to 1960, as rnnlab's test.",
            f"Peers: {', '.join(_versions(python))}; numpy {version('numpy')} here.",
        ],
        numbers,
    )


def peers(name: str = "peers") -> str:
    """Python of an environment of peers, made where there is none.

    Args:
        name: of its folder in ``build/``, and of the file of requirements, that of ``peers`` being requirements.txt.
            What stands behind ``#no-deps`` there is installed without what it asks for.

    Raises:
        RuntimeError: it could not be installed; with what pip said.
    """
    environment = ENVIRONMENT.with_name(name)
    python, stamp = environment / "bin" / "python", environment / "requirements.txt"
    file = PEERS / ("requirements.txt" if name == "peers" else f"{name}.txt")
    wanted = file.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making build/{name} for the peers: minutes", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        run([str(python), "-m", "pip", "install", "-q", "-r", str(file)])
        alone = [line.split()[1] for line in wanted.splitlines() if line.startswith("#no-deps ")]
        if alone:
            run([str(python), "-m", "pip", "install", "-q", "--no-deps", *alone])
        stamp.write_text(wanted)
    return str(python)


def describe(job: Job, quick: bool, file: Path) -> None:
    """Writes a job's data and sizes for the peers: ``(sequences, time, features)``, or tokens ``(sequences, time)``."""
    import torch

    from rnnlab.runs.preparation import prepare

    config = composed(job.arguments(quick))
    made = prepare(config)
    arrays: dict[str, Any] = {}
    for split in ("train", "val"):
        data = made.data.split(split)
        batch = data.batch(torch.arange(len(data)))
        time = batch.inputs.shape[1]
        lengths = np.full(len(data), time) if batch.lengths is None else batch.lengths.numpy()
        arrays |= {f"{split}_x": batch.inputs.numpy(), f"{split}_y": batch.targets.numpy(), f"{split}_lengths": lengths}
    spec = made.data.spec
    network = made.task.network
    described = {
        "kind": job.kind,
        "model": config["model"]["cell"]["_target_"].rpartition(".")[2].lower(),
        "hidden_size": network.hidden_size,
        "embedding_size": config["model"]["embedding_size"],
        "vocabulary": spec.input.vocabulary,
        "outputs": network.readout.out_features,
        "lr": config["optimizer"]["lr"],
        "batch_size": made.data.batch_size,
        "epochs": job.epochs[quick],
        "padding": PADDING,
    }
    np.savez(file, job=json.dumps(described), **arrays)


def _round(job: Job, quick: bool, python: str, file: Path, folder: Path) -> dict[str, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    directory = folder / f"run-{job.kind}"
    cost = run([RNNLAB, "train", *job.arguments(quick), f"hydra.run.dir={directory}"])
    metrics = json.loads((directory / "metrics.json").read_text())
    rows = list(csv.DictReader((directory / "metrics.csv").open()))
    # the epochs of one run take equally long
    curve = [[metrics["seconds"] * (i + 1) / len(rows), float(row["val/loss"])] for i, row in enumerate(rows)]
    found = {"rnnlab": {"wall": cost.wall, "curve": curve, "updates": metrics["steps"]}}
    # jax compiles, which takes most of its time in a quick look
    rivals = {name: rival for name, rival in RIVALS.items() if not quick or name != "Keras 3 on jax"}
    for name, (script, environment) in rivals.items():
        cost, answer = _peer(python, script, file, folder, environment)
        found[name] = {"wall": cost.wall, **answer}
    return found


def _peer(
    python: str, script: str, file: Path, folder: Path, environment: Mapping[str, str]
) -> tuple[Cost, dict[str, Any]]:
    answer = folder / "answer.json"
    one = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    cost = run([python, str(PEERS / script), str(file), str(answer)], environment={**one, **environment})
    return cost, json.loads(answer.read_text())


def _forecasting(quick: bool, python: str, folder: Path, numbers: dict[str, Any]) -> list[list[str]]:
    """Air passengers by rnnlab and by darts."""
    arguments = [*SERIES, *EQUAL, f"trainer.max_epochs={10 if quick else 150}"]
    config = composed(arguments)
    ours, theirs = [], []
    for number in range(1 if quick else 3):
        directory = folder / f"airline{number}"
        cost = run([RNNLAB, "train", *arguments, f"hydra.run.dir={directory}"])
        metrics = json.loads((directory / "metrics.json").read_text())
        ours.append({"wall": cost.wall, "seconds": metrics["seconds"], "updates": metrics["steps"],
                     "mape": metrics["test/mape"]})  # fmt: skip
        if not number:
            described = {
                "model": "lstm", "hidden_size": 32, "length": config["data"]["length"], "horizon": 6,
                "batch_size": config["data"]["batch_size"], "lr": config["optimizer"]["lr"],
                "updates": metrics["steps"], "train_months": 84, "test_start": 108,
            }  # fmt: skip
            np.savez(folder / "airline.npz", job=json.dumps(described), series=_airline())
        cost, answer = _peer(python, "darts_rnn.py", folder / "airline.npz", folder, {})
        theirs.append({"wall": cost.wall, **answer})
    numbers["airline"] = {"rnnlab": ours, "darts": theirs}
    return [
        [
            "airline, LSTM of 32 units" if name == "rnnlab" else "",
            name,
            f"{each[0]['updates']:,}",
            f"{median(one['wall'] for one in each):.1f}",
            f"{median(one['seconds'] for one in each):.1f}",
            "",
            f"{median(one['mape'] for one in each):.1f} % MAPE of the test",
        ]
        for name, each in (("rnnlab", ours), ("darts", theirs))
    ]


def _airline() -> np.ndarray:
    """Passengers of 144 months, in thousands."""
    from aeon.datasets import load_airline

    return np.asarray(load_airline(), dtype=float).ravel()


def _reached(curve: Sequence[Sequence[float]], stated: float) -> float | None:
    return next((seconds for seconds, loss in curve if loss <= stated), None)


def _versions(python: str) -> list[str]:
    names = ("torch", "keras", "jax", "darts")
    code = f"from importlib.metadata import version; print(*(f'{{n}} {{version(n)}}' for n in {names!r}), sep=',')"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip().split(",")


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["end_to_end", *sys.argv[1:]])
