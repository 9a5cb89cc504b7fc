"""Labelled sequences in ``.ts`` files."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.data.ts_file import TsFile, read_ts
from rnnlab.data.ucr_archive import find_files
from rnnlab.start.description import Extent, Labelled
from rnnlab.start.labelled import spread
from rnnlab.start.wording import counted, missing_values


def look_at_recordings(path: Path) -> Labelled:
    """What a ``.ts`` file holds, or a folder with ``NAME_TRAIN.ts``.

    Raises:
        InputError: it cannot be read, with the line.
    """
    files = find_files(path, None)
    train = read_ts(files.train)
    test = read_ts(files.test) if files.test is not None else None
    sizes = [len(values) for values in train.sequences]
    missing = sum(int(np.isnan(values).sum()) for values in train.sequences)
    keys: dict[str, Any] = {}
    odd = []
    if missing or (test is not None and any(np.isnan(values).any() for values in test.sequences)):
        keys["data.missing"] = "fill"
        odd.append(missing_values(missing, "the one before is repeated (data.missing=fill)"))
    odd += _odd(train, test)
    size = files.train.stat().st_size + (files.test.stat().st_size if files.test else 0)
    return Labelled(
        path=path, form="a .ts file" if path.is_file() else f"a folder with {files.train.name}",
        extent=Extent(size, len(train.labels)), data="ucr", classes=dict(Counter(train.labels).most_common()),
        lengths=spread(sizes), channels=train.sequences[0].shape[1], tested=len(test.labels) if test else 0,
        odd=tuple(odd), keys=keys,
    )  # fmt: skip


def _odd(train: TsFile, test: TsFile | None) -> list[str]:
    odd = []
    contents = Counter(values.tobytes() for values in train.sequences)
    doubled = sum(count - 1 for count in contents.values())
    if doubled:
        odd.append(f"{counted(doubled, 'sequences', 'repeat')} another")
    if test is not None:
        shared = sum(values.tobytes() in contents for values in test.sequences)
        if shared:
            odd.append(
                f"of the test file {counted(shared, 'sequences', 'are')} in the training file, too: that flatters"
            )
    whole = np.concatenate(train.sequences)
    still = [k + 1 for k in range(whole.shape[1]) if np.nanstd(whole[:, k]) == 0]
    if still:
        odd.append(f"channel {', '.join(map(str, still[:5]))}: always the same value")
    odd += _tell_tales(train)
    rare = [name for name, count in Counter(train.labels).items() if count < 3]
    if rare:
        odd.append(f"fewer than 3 sequences of class {', '.join(rare[:5])}: it is hardly validated")
    by_length = {
        name: {len(v) for v, label in zip(train.sequences, train.labels, strict=True) if label == name}
        for name in set(train.labels)
    }
    if len(set().union(*by_length.values())) > 1 and len(by_length) > 1:
        sets = list(by_length.values())
        if sum(map(len, sets)) == len(set().union(*sets)):
            odd.append("the length of a sequence alone gives its class away")
    return odd


def _tell_tales(file: TsFile) -> list[str]:
    """Channels that stand still within a sequence at a number that only its class has."""
    found = []
    channels = file.sequences[0].shape[1]
    for channel in range(channels):
        firsts = np.array([values[0, channel] for values in file.sequences])
        if not all(np.ptp(values[:, channel]) == 0 for values in file.sequences):
            continue
        owners: dict[float, set[str]] = {}
        for number, label in zip(firsts.tolist(), file.labels, strict=True):
            owners.setdefault(number, set()).add(label)
        if 1 < len(owners) <= len(file.labels) // 2 and all(len(labels) == 1 for labels in owners.values()):
            found.append(f"channel {channel + 1} stands still at a number of its class: it gives the answer away")
    return found
