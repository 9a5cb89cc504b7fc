"""What a teaching notebook does with sine waves, as one script: the opponent of ``make train``.

The same sizes, the same number of updates, the same batch size, a plot at the
end; nothing else that rnnlab does: no baseline, no test, no rollout, no
checkpoint, no record of the run. ``python benchmarks/notebook_sine.py [epochs]
[plot.png] [seconds.txt]``; the last file says how long the training took.
"""

import sys
import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 30
plot = sys.argv[2] if len(sys.argv) > 2 else "notebook_sine.png"
clock = sys.argv[3] if len(sys.argv) > 3 else None

# 900 noisy waves of 50 steps; the target is the wave one step later
rng = np.random.default_rng(0)
torch.manual_seed(0)
frequency, phase = rng.uniform(0.02, 0.1, (900, 1)), rng.uniform(0, 2 * np.pi, (900, 1))
clean = rng.uniform(0.5, 1, (900, 1)) * np.sin(2 * np.pi * frequency * np.arange(51) + phase)
waves = torch.tensor(clean + 0.1 * rng.standard_normal(clean.shape), dtype=torch.float32)[:, :, None]
x, y = waves[:, :-1], waves[:, 1:]
train = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True)
val = DataLoader(TensorDataset(x[800:], y[800:]), batch_size=32)


class Model(nn.Module):
    """A layer and a readout."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(1, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.rnn(x)[0])


model = Model(64)
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
criterion = nn.MSELoss()
train_losses, val_losses = [], []

started = time.perf_counter()
for epoch in range(epochs):
    model.train()
    total = 0.0
    for inputs, targets in train:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    train_losses.append(total / len(train))
    model.eval()
    with torch.no_grad():
        val_losses.append(sum(criterion(model(inputs), targets).item() for inputs, targets in val) / len(val))
    print(f"epoch {epoch + 1}: train {train_losses[-1]:.4f} val {val_losses[-1]:.4f}")
seconds = time.perf_counter() - started

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4))
left.plot(train_losses, label="train")
left.plot(val_losses, label="validation")
left.set(xlabel="epoch", ylabel="MSE")
left.legend()
with torch.no_grad():
    prediction = model(x[800:801])
right.plot(y[800, :, 0], label="truth")
right.plot(prediction[0, :, 0], label="prediction")
right.set(xlabel="step")
right.legend()
fig.savefig(plot)
if clock:
    with open(clock, "w") as file:
        file.write(str(seconds))
