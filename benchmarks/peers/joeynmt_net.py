"""JoeyNMT's encoder and decoder: ``joeynmt_net.py WORDS BATCH READ SAID BEAM ROUNDS SIZE…`` prints the seconds of a
training step and of a beam search of each size, see ``benchmarks/sequences.py``.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from joeynmt.loss import XentLoss
from joeynmt.model import build_model
from joeynmt.search import beam_search
from joeynmt.vocabulary import Vocabulary

logging.disable(logging.CRITICAL)
torch.set_num_threads(1)
words, batch, read, said, beam, rounds, *sizes = map(int, sys.argv[1:])
special = SimpleNamespace(
    unk_token="<unk>", pad_token="<pad>", bos_token="<s>", eos_token="</s>", sep_token=None, lang_tags=[],
    unk_id=0, pad_id=1, bos_id=2, eos_id=3, sep_id=None,
)  # fmt: skip
vocabulary = Vocabulary([f"w{number}" for number in range(words - 4)], special)


def seconds(call: Callable[[], Any]) -> float:
    """The median of some calls, after one that warms up."""
    taken = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def measured(size: int) -> dict[str, float]:
    """Of a bidirectional GRU, additive attention without input feeding, and a GRU, of so many units each."""
    torch.manual_seed(0)
    embeddings = {"embedding_dim": size}
    model = build_model(
        {
            "initializer": "xavier_uniform", "embed_initializer": "xavier_uniform",
            "encoder": {"type": "recurrent", "rnn_type": "gru", "hidden_size": size, "bidirectional": True,
                        "num_layers": 1, "embeddings": embeddings, "dropout": 0.0},
            "decoder": {"type": "recurrent", "rnn_type": "gru", "hidden_size": size, "num_layers": 1,
                        "embeddings": embeddings, "attention": "bahdanau", "init_hidden": "bridge",
                        "input_feeding": False, "dropout": 0.0, "hidden_dropout": 0.0},
        },
        vocabulary, vocabulary,
    )  # fmt: skip
    model.loss_function = ("crossentropy", 0.0)
    assert isinstance(model.loss_function, XentLoss)
    source = torch.randint(4, words, (batch, read))
    target = torch.randint(4, words, (batch, said))
    target[:, -1] = model.eos_index
    told = torch.cat([torch.full((batch, 1), model.bos_index), target[:, :-1]], 1)
    mask, lengths = torch.ones(batch, 1, read, dtype=torch.bool), torch.full((batch,), read)
    given = {
        "src": source, "trg_input": told, "trg": target, "src_mask": mask, "src_length": lengths,
        "trg_mask": torch.ones(batch, 1, said, dtype=torch.bool),
    }  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss, *_ = model(return_type="loss", **given)
        (loss / batch / said).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    @torch.no_grad()
    def search() -> None:
        output, hidden, _, _ = model(return_type="encode", **given)
        beam_search(model, beam, output, hidden, mask, said, 0.0, min_output_length=said)  # none ends before it must

    training = seconds(step)
    model.eval()
    return {"training": training, f"beam of {beam}": seconds(search)}


print(json.dumps({size: measured(size) for size in sizes}))
