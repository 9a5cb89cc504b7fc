"""The same in Keras 3: ``KERAS_BACKEND=jax keras_net.py JOB.npz ANSWER.json``, see ``benchmarks/end_to_end.py``."""

import json
import sys
import time

import keras
import numpy as np

keras.utils.set_random_seed(0)
file = np.load(sys.argv[1], allow_pickle=False)
job = json.loads(str(file["job"]))
(x, y, lengths), (val_x, val_y, val_lengths) = (
    [file[f"{split}_{part}"] for part in ("x", "y", "lengths")] for split in ("train", "val")
)
kind, per_step = job["kind"], job["kind"] != "classify"
layers = []
if job["vocabulary"]:
    layers.append(keras.layers.Embedding(job["vocabulary"], job["embedding_size"]))
elif kind == "classify":
    layers.append(keras.layers.Masking(mask_value=job["padding"]))
layers += [
    {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[job["model"]](job["hidden_size"], return_sequences=per_step),
    keras.layers.Dense(job["outputs"]),
]
net = keras.Sequential(layers)
net.compile(
    optimizer=keras.optimizers.Adam(job["lr"], clipnorm=None, global_clipnorm=1.0),
    loss="mse" if kind == "forecast" else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
if kind == "classify":  # what is masked must be told by a value
    for values, valid in ((x, lengths), (val_x, val_lengths)):
        values[np.arange(values.shape[1]) >= valid[:, None]] = job["padding"]


class Clock(keras.callbacks.Callback):
    """Notes the validation loss and the time at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.curve: list[list[float]] = []
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.curve.append([time.perf_counter() - self.started, float((logs or {})["val_loss"])])


clock = Clock()
net.fit(
    x, y, batch_size=job["batch_size"], epochs=job["epochs"], validation_data=(val_x, val_y),
    validation_batch_size=4 * job["batch_size"], verbose=0, callbacks=[clock],
)  # fmt: skip
with open(sys.argv[2], "w") as answer:
    json.dump({"curve": clock.curve, "updates": job["epochs"] * -(-len(x) // job["batch_size"])}, answer)
