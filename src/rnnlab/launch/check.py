"""What can be found out about the jobs of a sweep before the first one starts."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rnnlab.errors import InputError
from rnnlab.launch.launcher import Findings
from rnnlab.runs.build import locate
from rnnlab.runs.preparation import PARTS, check_settings, prepare
from rnnlab.runs.schema import PARTIAL, TARGET, check_arguments, check_value
from rnnlab.runs.trainer import check_trainer

SECONDS = 3.0
"""For building networks and data: the different ones first, all where there are few."""
SEEDS = ("seed", "shuffle_seed")
BYTES_BESIDE_CHECKPOINTS = 2**20  # pictures, TensorBoard, logs


def check_jobs(
    jobs: Sequence[tuple[str, Mapping[str, Any]]],
    path: Path,
    allow: Sequence[str] | None = None,
    elsewhere: bool = False,
    nodes: bool = False,
) -> Findings:
    """Checks names, types, devices, monitors, data files and room on the disk.

    Every part of every config is held against the signature of what it names;
    data and networks are built for as many jobs as a few seconds allow.

    Args:
        jobs: name and config of each.
        path: of the sweep.
        allow: see :func:`rnnlab.runs.build.build`.
        elsewhere: the jobs will run on other machines, whose devices are not known here.
        nodes: a job may take several machines.

    Raises:
        InputError: naming the first job that cannot work, and how many cannot.
    """
    problems: dict[str, str] = {}
    seen: set[str] = set()
    new_parts: list[tuple[str, Mapping[str, Any]]] = []
    others: list[tuple[str, Mapping[str, Any]]] = []
    for name, config in jobs:
        parts = {part: json.dumps(config.get(part), sort_keys=True) for part in PARTS}
        try:
            check_settings(config)
            for part in PARTS:
                if part != "trainer" and part + parts[part] not in seen:
                    _check_part(config.get(part), part, allow)
            # a trainer's mistakes are those of the machine: they cost nothing to find
            check_trainer(config["trainer"], allow, machine=not elsewhere)
            if config["trainer"].get("num_nodes", 1) != 1 and not nodes:
                raise InputError(
                    f"trainer.num_nodes={config['trainer']['num_nodes']}: in a sweep a job takes several machines "
                    "with hydra/launcher=slurm only"
                )
        except InputError as error:
            problems[name] = str(error)
        unseeded = {part: json.dumps(_without_seeds(config.get(part)), sort_keys=True) for part in PARTS}
        fresh = {part + text for part, text in unseeded.items()} - seen
        seen |= fresh | {part + text for part, text in parts.items()}
        combination = json.dumps([unseeded, config["monitor"], config["mode"]])
        if combination not in seen:
            seen.add(combination)
            (new_parts if fresh else others).append((name, config))
    parameters = 0
    deadline = time.monotonic() + SECONDS
    for name, config in (*new_parts, *others):
        if name in problems:
            continue
        if time.monotonic() > deadline:
            break
        try:
            parameters = max(parameters, prepare(config, allow, machine=not elsewhere).parameters)
        except InputError as error:
            problems[name] = str(error)
    if problems:
        name, problem = next(iter(problems.items()))
        # of a search these are the choices and ends of ranges that it may meet, which are no jobs
        count = f" ({len(problems)} of the {len(jobs)} settings that were checked cannot work; no job was started)"
        more = count if len(jobs) > 1 else ""
        raise InputError(f"job {name}: {problem}{more}")
    # the last checkpoint has weights and two moments of Adam, the best one weights
    needed = len(jobs) * (parameters * 16 + BYTES_BESIDE_CHECKPOINTS)
    free = shutil.disk_usage(path).free
    if needed > free:
        raise InputError(
            f"{path}: {len(jobs)} jobs need some {_size(needed)} and there are {_size(free)} left: "
            "make room, or choose another hydra.sweep.dir"
        )
    gpus = torch.cuda.device_count()
    return Findings(needed, gpus, bool(gpus) and any(config["trainer"]["accelerator"] != "cpu" for _, config in jobs))


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _check_part(node: Any, key: str, allow: Sequence[str] | None) -> None:
    """Names and types, without building anything."""
    if isinstance(node, Mapping):
        if TARGET in node:
            target = locate(node, key, allow)
            check_value(node.get(PARTIAL, False), bool, f"{key}.{PARTIAL}")
            arguments = {name: value for name, value in node.items() if name not in (TARGET, PARTIAL)}
            check_arguments(target, arguments, key, complete=False, built=False)
        for name, value in node.items():
            _check_part(value, f"{key}.{name}", allow)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check_part(value, f"{key}[{i}]", allow)


def _without_seeds(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _without_seeds(value) for name, value in node.items() if name not in SEEDS}
    return node
