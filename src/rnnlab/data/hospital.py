"""A made-up table of labelled sequences: stays in a hospital."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from rnnlab.data.table_target import TargetKind

MADE_UP: dict[TargetKind, Sequence[str]] = {
    "class": ["outcome"], "value": ["days"], "labels": ["fever", "infection"], "steps": ["state"],
}  # fmt: skip
"""The targets of the made-up table."""


def hospital_stays(patients: int = 150) -> pl.DataFrame:
    """Stays of patients: a pulse and a temperature every few hours, a ward, an age, and how it ended.

    A fever rises to a peak and falls again; it ends at ``home`` where it falls before the end, and on a ``ward`` else.
    ``state`` is whether the temperature has passed its peak so far; ``days`` is that of the peak.
    """
    rng = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {
        name: [] for name in (
            "patient", "stay", "hour", "pulse", "temperature", "ward", "age", "outcome", "days", "fever", "infection",
            "state",
        )
    }  # fmt: skip
    stay = 0
    for patient in range(patients):
        age = int(rng.integers(20, 90))
        for _ in range(rng.integers(1, 4)):
            steps = int(rng.integers(10, 25))
            hours = np.cumsum(rng.integers(2, 7, steps))
            peak, height = rng.uniform(0.2, 1.3) * hours[-1], rng.uniform(0.3, 3)
            temperature = 37 + height * np.exp(-(((hours - peak) / 25) ** 2)) + rng.normal(0, 0.1, steps)
            pulse = 70 + 10 * (temperature - 37) + 0.1 * age + rng.normal(0, 3, steps)
            infection = bool(rng.random() < 0.4)
            pulse += 12 * infection * np.arange(steps) / steps
            rows: dict[str, Any] = {
                "patient": f"p{patient:03}", "stay": stay, "hour": hours.tolist(), "pulse": pulse.round(1).tolist(),
                "temperature": temperature.round(2).tolist(), "ward": "ABC"[int(rng.integers(3))], "age": age,
                "outcome": "home" if peak < 0.75 * hours[-1] else "ward", "days": round(float(peak) / 24, 2),
                "fever": int(height > 1.5), "infection": int(infection),
                "state": np.where(hours < peak, "rising", "falling").tolist(),
            }  # fmt: skip
            for name, cells in rows.items():
                columns[name] += cells if isinstance(cells, list) else [cells] * steps
            stay += 1
    return pl.DataFrame(columns)
