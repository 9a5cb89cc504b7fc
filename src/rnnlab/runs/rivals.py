"""What other packages reach on the same data: run beside ours, on the same training and test sequences."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rnnlab.data.split import SplitName
from rnnlab.data.ucr import UCR
from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
from rnnlab.runs.classical import ets, sarimax
from rnnlab.runs.peers import PEERS, peer


def rocket(data: UCR, seed: int, kernels: int = 2000) -> dict[str, float]:
    """aeon's Rocket (A. Dempster, F. Petitjean & G. I. Webb 2020, arXiv 1910.13051): random convolutions, of whose
    outputs a ridge classifier reads the maximum and the share above zero.

    It sees validation, too, and so the whole training file, as published results do. Sequences of varying length, which
    it does not take, are filled up with zeros.

    Returns:
        ``test/accuracy`` and ``seconds``.

    Raises:
        InputError: aeon is not installed.
    """
    need("datasets", "aeon", "Rocket")
    from aeon.classification.convolution_based import RocketClassifier

    parts: dict[Any, tuple[np.ndarray, list[str]]] = {}
    longest = max(len(values) for file in data.read.values() for values in file.sequences)
    of: dict[str, tuple[SplitName, ...]] = {"train": ("train", "val"), "test": ("test",)}
    rng = np.random.default_rng(seed)  # recordings need no random numbers
    for name, splits in of.items():
        served = [data.unscaled(rng, split, index) for split in splits for index in range(data.size(split))]
        padded = np.zeros((len(served), served[0].inputs.shape[1], longest))
        for row, sample in zip(padded, served, strict=True):
            row[:, : len(sample.inputs)] = sample.inputs.T
        parts[name] = (padded, [data.class_names[int(sample.target)] for sample in served])
    started = time.monotonic()
    classifier = RocketClassifier(n_kernels=kernels, random_state=seed, n_jobs=1)
    classifier.fit(*map(np.asarray, parts["train"]))
    found = classifier.predict(parts["test"][0])
    accuracy = float((np.asarray(found) == np.asarray(parts["test"][1])).mean())
    return {"test/accuracy": accuracy, "seconds": time.monotonic() - started}


RIVALS: dict[str, Callable[..., dict[str, float]]] = {"rocket": rocket, "ets": ets, "sarimax": sarimax}
"""By the name under which a benchmark's file asks for them."""


def rival(name: str, peers: str | None = None) -> Callable[..., dict[str, float]]:
    """What runs a rival.

    Args:
        name: of it.
        peers: see :func:`rnnlab.runs.peers.peer`.

    Raises:
        InputError: there is none of that name.
    """
    known = [*RIVALS, *PEERS]
    if name not in known:
        raise InputError(f"rivals: there is no {name}{nearest(name, known)} (there are {', '.join(known)})")
    return peer(name, peers) if name in PEERS else RIVALS[name]
