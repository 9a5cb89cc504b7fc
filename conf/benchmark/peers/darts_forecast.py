"""darts' recurrent networks on one series: ``darts_forecast.py JOB.npz ANSWER.json``; see ``rnnlab/runs/peers.py``.

It runs in an environment of its own, and imports nothing of rnnlab.
"""

import json
import logging
import sys
import time
import warnings

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.models import BlockRNNModel, RNNModel
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
file = np.load(sys.argv[1], allow_pickle=False)
job = json.loads(str(file["job"]))
values, steps, length = file["values"].astype(np.float32), job["horizon"], job["length"]
start = job["start"] if job["frequency"] else 0
index = (
    pd.date_range(start, periods=len(values), freq=job["frequency"]) if job["frequency"] else pd.RangeIndex(len(values))
)
series = TimeSeries.from_times_and_values(index, values)
scaler = Scaler(StandardScaler())
known = scaler.fit_transform(series[: job["known"]])
# what a user who knows the months hands in: the calendar, of the future where the model reads one
cycles = {"cyclic": {"future" if job["model"] == "RNNModel" else "past": ["month"]}} if job["frequency"] else None
shared = {
    "input_chunk_length": length,
    "random_state": job["seed"],
    "add_encoders": cycles,
    "pl_trainer_kwargs": {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "enable_checkpointing": False,
    },
}
began = time.perf_counter()
if job["model"] == "RNNModel":
    model = RNNModel(model="LSTM", training_length=length + steps, **shared)
else:
    model = BlockRNNModel(model="GRU", output_chunk_length=steps, **shared)
model.fit(known, verbose=False)
forecasts = model.historical_forecasts(
    scaler.transform(series), start=job["known"], start_format="position", forecast_horizon=steps,
    stride=job["stride"], retrain=False, last_points_only=False, verbose=False,
)  # fmt: skip
found = [scaler.inverse_transform(each).values()[:, 0].tolist() for each in forecasts]
with open(sys.argv[2], "w") as answer:
    json.dump({"forecasts": found, "seconds": time.perf_counter() - began}, answer)
