"""A plugin of pytest for mutation testing: a test that takes little time says first whether a mutant is noticed."""

import json
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """File by file, since tests of one file share what they set up, and within a file by what each took."""
    took = Path("mutmut-stats.json")  # in the directory that mutmut runs the tests in
    if not took.exists():
        return
    durations = json.loads(took.read_text())["duration_by_test"]
    of_files: dict[str, float] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        of_files[file] = of_files.get(file, 0) + durations.get(item.nodeid, 0)

    def key(item: pytest.Item) -> tuple[float, str, float]:
        file = item.nodeid.partition("::")[0]
        return of_files[file], file, durations.get(item.nodeid, 0)

    items.sort(key=key)
