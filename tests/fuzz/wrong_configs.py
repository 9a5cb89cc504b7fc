"""Wrong configs and overrides: seeded, and as many of them as one asks for."""

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**30, -(10**30), 0.0, 0.5, -0.5, 1.5, 1e-300,
    1e300, float("nan"), float("inf"),
    "", "abc", "auto", "none", "null", "true", "0.1", "val/loss", "../x", "/", "a\nb", "[a]", "ä", "\ud800",
    "\x00", "x" * 5000,
    [], [1], [1, 2], [[1], [2]], ["a", 3], [None], {}, {"a": 1}, {"_target_": "os.system"}, {"_target_": 3},
    {"_target_": "rnnlab.cells.gru.GRU", "_partial_": True}, {"_target_": "torch.optim.SGD", "lr": 0.1},
    {"_target_": "builtins.dict", "a": 1}, {"_partial_": 5},
]  # fmt: skip
TEXTS = [
    "null", "true", "", "0", "-1", "1e400", "nan", "1" + "0" * 40, "abc", "'a b'", "[]", "[1,2", "{}",
    "{a:1}", "[gru,lstm]",
    "${seed}", "${nope}", "${", "${oc.env:NOPE}", "a=b", "a#b", "(", "f(x)", "ö", ";", "'", '"', "\\", "\t", ",", "a,b",
    "interval(0,1)", "range(3)", "choice(1,2)", "???", "x" * 3000, "../..", "!!python/object:os.system", "%s",
    "\x1b[31m",
]  # fmt: skip
LIGHTNING = [
    "callbacks", "logger", "plugins", "barebones", "default_root_dir", "enable_checkpointing", "enable_progress_bar",
    "fast_dev_run", "limit_train_batches", "limit_val_batches", "log_every_n_steps", "max_time", "min_epochs",
    "min_steps",
    "overfit_batches", "check_val_every_n_epoch", "val_check_interval", "inference_mode", "benchmark", "sync_batchnorm",
    "reload_dataloaders_every_n_epochs", "use_distributed_sampler", "enable_model_summary", "num_sanity_val_steps",
]  # fmt: skip
GROUPS = [
    "model",
    "data",
    "task",
    "optimizer",
    "scheduler",
    "trainer",
    "instruments",
    "experiment",
    "sweep",
    "hydra/launcher",
]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a config has a value, inner nodes too."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from places(value, (*path, name))


def wrong_config(right: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], str]:
    """A config of which one to three things are changed, and what was changed."""
    config = copy.deepcopy(right)
    changes = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(places(config)))
        parent = config
        for name in path[:-1]:
            parent = parent[name]
        kind = rng.random()
        if kind < 0.08:
            del parent[path[-1]]
            changes.append(f"without {path}")
            continue
        value = copy.deepcopy(rng.choice(VALUES))
        if kind < 0.16 and isinstance(parent, dict):
            path = (
                *path[:-1],
                rng.choice(["_partial_", "_target_", "network", "spec", "input", "seed", "nope", "", 3]),
            )
        elif kind < 0.24 and "trainer" in config and isinstance(config["trainer"], dict):
            path, parent = ("trainer", rng.choice(LIGHTNING)), config["trainer"]
        parent[path[-1]] = value
        changes.append(f"{path}: {str(value)[:60]!r}")
    return config, ", ".join(changes)


def wrong_override(keys: list[str], rng: random.Random) -> str:
    """An override that is likely to be wrong, as a person may type it."""
    kind = rng.random()
    key = (
        rng.choice(keys)
        if kind < 0.6
        else rng.choice(GROUPS)
        if kind < 0.85
        else rng.choice(["", "nope", "lr", "a.b", "@"])
    )
    if kind < 0.2:  # misspelt
        at = rng.randrange(len(key))
        key = key[:at] + rng.choice(["", key[at] * 2, "x"]) + key[at + 1 :]
    start, sign = rng.choice(["", "", "", "+", "++", "~"]), rng.choice(["=", "=", "=", "=", "", "=="])
    return f"{start}{key}{sign}{rng.choice(TEXTS)}"
