"""Recurrent networks of other packages on the windows of a series, run in an environment of their own.

darts and neuralforecast want versions of what rnnlab wants, too, so that they are not imported: a script of
``conf/benchmark/peers`` reads the values and what is to be forecast from a file, and writes its forecasts. Its settings
are the package's defaults and what a fair user would set: a window as long as ours, standardised values, months as
covariates where darts reads them. All are trained on everything that comes before the test part, as ETS and SARIMAX
are, and not refitted.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rnnlab.configs import conf_directory
from rnnlab.data.series import SeriesData
from rnnlab.errors import InputError
from rnnlab.runs.classical import one_series, scores
from rnnlab.store import json_text

PEERS = {
    "darts_rnn": ("darts_forecast.py", "RNNModel"),
    "darts_block_rnn": ("darts_forecast.py", "BlockRNNModel"),
    "neuralforecast_lstm": ("neuralforecast_forecast.py", "LSTM"),
}
"""Of each the script and the class of the model."""
MOST_BYTES = 2**26


def peer(name: str, python: str | None) -> Callable[[SeriesData, int], dict[str, float]]:
    """What runs one of :data:`PEERS`.

    Args:
        name: of it.
        python: of the environment that has it; ``None``: there is none, and whoever runs it is told how to make one.
    """
    script, model = PEERS[name]

    def run(data: SeriesData, seed: int) -> dict[str, float]:
        if python is None:
            raise InputError("it takes an environment of its own: make peers, then --peers build/peers/bin/python")
        one_series(data, name)
        origins = data.places("test")[1]
        frequency = data.panel.frequency
        job = {
            "model": model,
            "horizon": data.horizon,
            "length": data.length,
            "known": int(origins[0]) + 1,
            "stride": data.test_stride,
            "seed": seed,
            "start": str(data.panel.times[0])[:19],
            "frequency": {("month", 1): "MS", ("month", 3): "QS"}.get((frequency.unit, frequency.size)),
        }
        values = data.panel.values[: int(origins[-1]) + data.horizon + 1, 0]
        with tempfile.TemporaryDirectory() as folder:
            question, answer = Path(folder) / "job.npz", Path(folder) / "answer.json"
            np.savez(question, job=json.dumps(job), values=values)
            command = [python, "-I", str(conf_directory() / "benchmark" / "peers" / script), str(question), str(answer)]
            try:
                done = subprocess.run(
                    command,
                    cwd=folder,
                    check=False,
                    capture_output=True,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            except OSError as error:
                raise InputError(f"--peers {python}: {error.strerror}") from None
            if done.returncode or not answer.exists():
                last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
                raise InputError(f"{name} has failed: {' '.join(last)[:300]}")
            found = json_text.read(answer, MOST_BYTES)
        said = np.asarray(found["forecasts"], np.float64)
        if said.shape != (len(origins), data.horizon):
            raise InputError(f"{name}: {said.shape[0]} forecasts, and there are {len(origins)} origins")
        return scores(data, origins, said, float(found["seconds"]))

    return run
