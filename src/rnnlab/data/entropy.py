"""How well a text is predicted by what is no network: counts and compressors, which have seen the training text."""

import zlib
from collections.abc import Callable
from importlib import import_module
from math import log

import numpy as np
import torch
from torch import Tensor

COUNTED = 2**24
"""Tokens, the last before the test, of which at most the pairs are counted: sorting them takes a second or two."""
COMPRESSED, MEASURED = 2**23, 2**20
"""Bytes, the last before the test, that a compressor reads first, and the first of the test that it is measured on:
``xz -9`` manages about 2 MB a second."""


def unigram(train: Tensor, vocabulary: int) -> np.ndarray:
    """``(vocabulary,)`` probability of each token by its count, with one more for each (Laplace), so that none is 0."""
    counts = np.ones(vocabulary)
    for part in train.split(2**20):
        counts += torch.bincount(part, minlength=vocabulary).numpy()
    return counts / counts.sum()


def bigram_nats(train: Tensor, test: Tensor, vocabulary: int) -> float:
    """Nats a token of the test when each is predicted from the one before it, by counts of pairs in the training text.

    p(b|a) = (n(ab) + k(a) p(b)) / (n(a) + k(a)), where k(a) different tokens
    have followed a, and p(b) is :func:`unigram`'s (Witten and Bell 1991, method C).

    Args:
        train: ``(tokens,)``, of which the last ``COUNTED`` count.
        test: ``(tokens,)``.
        vocabulary: number of tokens that there are.
    """
    p = unigram(train, vocabulary)
    train = train[-COUNTED:]
    pairs, counts = np.unique(_pairs(train, vocabulary), return_counts=True)
    followed = np.bincount(train[:-1].numpy(), minlength=vocabulary)
    kinds = np.bincount(pairs // vocabulary, minlength=vocabulary)
    total, tokens = 0.0, 0
    for start in range(0, len(test) - 1, COUNTED):
        asked = _pairs(test[start : start + COUNTED + 1], vocabulary)
        before, after = asked // vocabulary, asked % vocabulary
        at = np.searchsorted(pairs, asked).clip(max=len(pairs) - 1)
        seen = np.where(pairs[at] == asked, counts[at], 0)
        # where nothing ever followed, the pseudo-count of one leaves the unigram
        k = np.maximum(kinds[before], 1)
        total -= np.log((seen + k * p[after]) / (followed[before] + k)).sum()
        tokens += len(asked)
    return total / tokens


def _pairs(ids: Tensor, vocabulary: int) -> np.ndarray:
    ids = ids.long()
    return (ids[:-1] * vocabulary + ids[1:]).numpy()


def compressed_nats(train: bytes, test: bytes, tokens: int, compress: Callable[[bytes], bytes]) -> float:
    """Nats a token that the test adds to a compressed file in which the training text stands before it."""
    added = len(compress(train + test)) - len(compress(train))
    return 8 * log(2) * added / tokens


def compressors() -> dict[str, Callable[[bytes], bytes]]:
    """``gzip -9`` and ``xz -9`` by name, as far as this Python was built with them."""

    def gzip(text: bytes) -> bytes:
        return zlib.compress(text, 9)

    try:
        lzma = import_module("lzma")
    except ImportError:
        return {"gzip": gzip}

    def xz(text: bytes) -> bytes:
        # a dictionary as large as the text finds what the preset's 64 MiB find, in less memory
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": max(4096, len(text))}]
        return lzma.compress(text, format=lzma.FORMAT_XZ, filters=filters)

    return {"gzip": gzip, "xz": xz}
