"""darts' RNNModel on a monthly series: ``darts_rnn.py JOB.npz ANSWER.json``, see ``benchmarks/end_to_end.py``."""

import json
import logging
import sys
import time
import warnings

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import Scaler
from darts.metrics import mape
from darts.models import RNNModel
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
file = np.load(sys.argv[1], allow_pickle=False)
job = json.loads(str(file["job"]))
values = file["series"].astype(np.float32)
series = TimeSeries.from_times_and_values(pd.date_range("1949-01", periods=len(values), freq="MS"), values)
train = series[: job["train_months"]]
scaler = Scaler(StandardScaler())
scaled_train = scaler.fit_transform(train)
scaled = scaler.transform(series)
length = job["length"]
batches = -(-(len(train) - length) // job["batch_size"])  # a window of length + 1 months from every start
started = time.perf_counter()
model = RNNModel(
    model=job["model"].upper(), hidden_dim=job["hidden_size"], n_rnn_layers=1, dropout=0.0,
    input_chunk_length=length, training_length=length, batch_size=job["batch_size"],
    n_epochs=-(-job["updates"] // batches), optimizer_kwargs={"lr": job["lr"]}, random_state=0,
    pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
                       "gradient_clip_val": 1.0, "logger": False, "enable_checkpointing": False},
)  # fmt: skip
model.fit(scaled_train, verbose=False)
seconds = time.perf_counter() - started
forecasts = model.historical_forecasts(
    scaled, start=job["test_start"], forecast_horizon=job["horizon"], stride=1, retrain=False, last_points_only=False,
    start_format="position", verbose=False,
)  # fmt: skip
error = float(np.mean([mape(series, scaler.inverse_transform(each)) for each in forecasts]))
with open(sys.argv[2], "w") as answer:
    json.dump(
        {"seconds": seconds, "mape": error, "forecasts": len(forecasts), "updates": model.n_epochs * batches}, answer
    )
