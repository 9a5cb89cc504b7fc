"""A notebook's loop in PyTorch: ``plain_torch.py JOB.npz ANSWER.json``, see ``benchmarks/end_to_end.py``."""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
file = np.load(sys.argv[1], allow_pickle=False)
job = json.loads(str(file["job"]))
train, val = (
    [torch.from_numpy(file[f"{split}_{part}"]) for part in ("x", "y", "lengths")] for split in ("train", "val")
)
tokens, classes, hidden = job["vocabulary"], job["outputs"], job["hidden_size"]


class Net(nn.Module):
    """Embedding where there are tokens, a recurrent layer, a readout of every step or of the last valid one."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, job["embedding_size"]) if tokens else None
        size = job["embedding_size"] if tokens else train[0].shape[-1]
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM}[job["model"]](size, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        if job["kind"] != "classify":
            return self.linear(self.rnn(x)[0])
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.linear(self.rnn(packed)[1][-1])


def loss_of(net: nn.Module, x: torch.Tensor, y: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Squared error, or cross entropy."""
    prediction = net(x, lengths)
    if job["kind"] == "forecast":
        return nn.functional.mse_loss(prediction, y)
    return nn.functional.cross_entropy(prediction.flatten(0, -2), y.flatten())


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=job["lr"])
loader = DataLoader(TensorDataset(*train), batch_size=job["batch_size"], shuffle=True)
checks = DataLoader(TensorDataset(*val), batch_size=4 * job["batch_size"])
curve, started = [], time.perf_counter()
for _ in range(job["epochs"]):
    net.train()
    for batch in loader:
        optimizer.zero_grad()
        loss = loss_of(net, *batch)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    net.eval()
    with torch.no_grad():
        score = sum(loss_of(net, *batch).item() * len(batch[0]) for batch in checks) / len(val[0])
    curve.append([time.perf_counter() - started, score])
with open(sys.argv[2], "w") as answer:
    json.dump({"curve": curve, "updates": job["epochs"] * len(loader)}, answer)
