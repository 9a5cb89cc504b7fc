"""Where a run comes from: the process, the code, its versions, the machine."""

import contextlib
import functools
import hashlib
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from rnnlab import __version__

VERSIONED = ("torch", "lightning", "hydra-core", "omegaconf", "tensorboard", "torchmetrics", "numpy")

PARTS_THAT_TRAIN = ("callbacks", "cells", "data", "files", "kernels", "runs", "tasks")
"""Folders of rnnlab that decide about a run's scores: a change in them makes a resumed sweep another one."""
BESIDE = ("__init__", "__main__", "api", "configs", "errors", "extras", "results", "shell", "signals")
"""Of the files beside them, of which a network is made, those that do not."""


def provenance() -> dict[str, Any]:
    """What a reader needs to run it again: command, code, versions, machine."""
    return {**process_facts(), "platform": platform.platform(), "versions": dict(_versions()), "git": dict(_git())}


@functools.cache  # what is imported stays, whatever is installed or committed meanwhile
def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"rnnlab": __version__, "python": platform.python_version()}
    for package in VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def is_first_process() -> bool:
    """Whether this is the process that owns the run's files, and not a further one of a data-parallel run."""
    return os.environ.get("LOCAL_RANK", "0") == os.environ.get("SLURM_PROCID", "0") == "0"


def process_facts() -> dict[str, Any]:
    """Which process this is, on which machine."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "process_started": started(os.getpid())}


@functools.cache
def _git() -> dict[str, Any]:
    """Commit of the checkout that rnnlab runs from, and whether it differs from it; empty from a wheel."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        lines = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.splitlines()
        commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
        return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines)}
    return {}


def started(pid: int | None) -> int | None:
    """When a process started, in clock ticks since boot (Linux): tells it from a later one of the same number."""
    if pid is None:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # a zombie works no more: it only waits for somebody to ask how it ended
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        pass
    if sys.platform != "linux":
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return -1
    return None


def code_digests() -> dict[str, str]:
    """A short digest of each file of rnnlab that decides about scores, by its path in the package."""
    package = Path(__file__).parents[1]
    files = [file for part in PARTS_THAT_TRAIN for file in sorted((package / part).glob("*.py"))]
    files += [file for file in sorted(package.glob("*.py")) if file.stem not in BESIDE]
    return {file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files}
