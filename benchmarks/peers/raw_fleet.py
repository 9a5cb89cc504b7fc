"""Many small nets, each in a notebook's loop: ``raw_fleet.py JOB.npz ANSWER.json JOBS PROCESSES``.

Each seed is one net; the processes share the seeds. See ``benchmarks/fleet.py``.
"""

import json
import multiprocessing
import sys
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train(task: tuple[dict[str, Any], dict[str, np.ndarray], int]) -> float:
    """One net from its seed to its last epoch; its loss on validation then."""
    job, arrays, seed = task
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    train, val = ([torch.from_numpy(arrays[f"{split}_{part}"]) for part in ("x", "y")] for split in ("train", "val"))
    rnn = nn.GRU(train[0].shape[-1], job["hidden_size"], batch_first=True)
    linear = nn.Linear(job["hidden_size"], job["outputs"])
    parameters = [*rnn.parameters(), *linear.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=job["lr"])
    loader = DataLoader(TensorDataset(*train), batch_size=job["batch_size"], shuffle=True)
    checks = DataLoader(TensorDataset(*val), batch_size=4 * job["batch_size"])
    score = float("nan")
    for _ in range(job["epochs"]):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(linear(rnn(x)[0]), y).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        with torch.no_grad():
            score = sum(nn.functional.mse_loss(linear(rnn(x)[0]), y).item() * len(x) for x, y in checks) / len(val[0])
    return score


if __name__ == "__main__":
    file = np.load(sys.argv[1], allow_pickle=False)
    arrays = {name: file[name] for name in file.files if name != "job"}
    tasks = [(json.loads(str(file["job"])), arrays, seed) for seed in range(int(sys.argv[3]))]
    with multiprocessing.Pool(int(sys.argv[4])) as pool:
        losses = pool.map(train, tasks, chunksize=1)
    with open(sys.argv[2], "w") as answer:
        json.dump(losses, answer)
