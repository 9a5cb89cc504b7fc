"""neuralforecast's LSTM on one series: ``neuralforecast_forecast.py JOB.npz ANSWER.json``; ``rnnlab/runs/peers.py``.

It runs in an environment of its own, and imports nothing of rnnlab.
"""

import json
import logging
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
os.environ["NIXTLA_ID_AS_COL"] = "1"

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from neuralforecast import NeuralForecast  # noqa: E402
from neuralforecast.models import LSTM  # noqa: E402

logging.disable(logging.WARNING)
file = np.load(sys.argv[1], allow_pickle=False)
job = json.loads(str(file["job"]))
values, steps = file["values"].astype(np.float64), job["horizon"]
frequency = job["frequency"] or 1
times = pd.date_range(job["start"], periods=len(values), freq=frequency) if job["frequency"] else np.arange(len(values))
table = pd.DataFrame({"unique_id": "series", "ds": times, "y": values})
began = time.perf_counter()
model = LSTM(
    h=steps, input_size=job["length"], random_seed=job["seed"], accelerator="cpu", enable_progress_bar=False,
    enable_model_summary=False, logger=False, enable_checkpointing=False,
)  # fmt: skip
forecaster = NeuralForecast(models=[model], freq=frequency, local_scaler_type="standard")
found = forecaster.cross_validation(
    table, n_windows=None, test_size=len(values) - job["known"], step_size=job["stride"], val_size=0, refit=False
)
forecasts = [window["LSTM"].tolist() for _, window in found.groupby("cutoff", sort=True)]
with open(sys.argv[2], "w") as answer:
    json.dump({"forecasts": forecasts, "seconds": time.perf_counter() - began}, answer)
