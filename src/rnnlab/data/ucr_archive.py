"""Where the data sets of the UCR and UEA archives lie on this machine, and how others get here."""

import tempfile
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

from rnnlab.data.ts_file import has_classes
from rnnlab.errors import InputError, nearest
from rnnlab.extras import need
from rnnlab.files.folders import is_hidden

TRAIN, TEST = "_TRAIN.ts", "_TEST.ts"


class Files(NamedTuple):
    """A data set's training file, and its test file where it has one."""

    train: Path
    test: Path | None

    @property
    def title(self) -> str:
        return self.train.name.removesuffix(TRAIN).removesuffix(".ts")


def find_named(name: str, download: bool, folder: Path) -> Files:
    """A data set that aeon carries, or that lies in ``folder``; if it is wanted, aeon first puts it there.

    Raises:
        InputError: there is none of that name, it is not on this machine, or aeon is missing.
    """
    packaged, stored = _packaged(), _in_folders(folder)
    found = packaged.get(name) or stored.get(name)
    if found is not None:
        return found
    need("datasets", "aeon", f"data.name={name}", "data.path=FILE_TRAIN.ts needs nothing more")
    # importing it takes seconds, which a packaged data set need not wait for
    from aeon.datasets.tsc_datasets import tsc_zenodo

    here = sorted({*packaged, *stored})
    if name not in tsc_zenodo:
        raise InputError(
            f"data.name={name}: no such data set{nearest(name, [*here, *tsc_zenodo])} (on this machine: "
            f"{', '.join(here)}; data.download=true gets any other of the archive's {len(tsc_zenodo)})"
        )
    if not download:
        raise InputError(
            f"data.name={name} is not on this machine: data.download=true gets it from timeseriesclassification.com "
            f"into {folder}, for a run or a sweep that there is: --allow data.download "
            f"(on this machine: {', '.join(here)})"
        )
    return _download(name, folder)


def find_files(path: Path, test_path: Path | None) -> Files:
    """The files of one's own data set: a training file, or the folder with it; a test file of like name is its own.

    Raises:
        InputError: there is no such file, or a folder holds none or several.
    """
    if not path.exists():
        raise InputError(f"data.path={path}: no such file or folder")
    train = _in_folder(path) if path.is_dir() else path
    if test_path is None:
        beside = train.with_name(train.name.removesuffix(TRAIN) + TEST)
        return Files(train, beside if train.name.endswith(TRAIN) and beside.exists() else None)
    if not test_path.is_file():
        raise InputError(f"data.test_path={test_path}: no such file")
    return Files(train, test_path)


def _in_folder(folder: Path) -> Path:
    named = folder / f"{folder.resolve().name}{TRAIN}"
    if named.exists():
        return named
    there = [file for file in sorted(folder.glob("*.ts")) if not is_hidden(file.name)]
    files = [file for file in there if file.name.endswith(TRAIN)] or there
    if len(files) != 1:
        several = ", ".join(file.name for file in files)
        raise InputError(
            f"data.path={folder}: there are several data sets in this folder ({several}): name one"
            if files
            else f"data.path={folder}: no file NAME{TRAIN} in this folder"
        )
    return files[0]


def _packaged() -> dict[str, Files]:
    spec = find_spec("aeon")  # without importing it
    if spec is None or not spec.submodule_search_locations:
        return {}
    return _in_folders(Path(spec.submodule_search_locations[0]) / "datasets" / "data")


def _in_folders(folder: Path) -> dict[str, Files]:
    """By name the data sets of classes that lie in the folders of a folder."""
    found = {}
    for train in sorted(folder.glob(f"*/*{TRAIN}")):
        files = Files(train, train.with_name(train.name.removesuffix(TRAIN) + TEST))
        if files.test is not None and files.test.exists() and has_classes(train):
            found[files.title] = files
    return found


def _download(name: str, folder: Path) -> Files:
    from aeon.datasets import load_classification

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # whole or not at all: an archive that is cut short must not be found the next time
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
            load_classification(name, extract_path=temporary)
            (Path(temporary) / name).rename(folder / name)
    except (OSError, ValueError, HTTPException, BadZipFile) as error:
        raise InputError(f"data.name={name} could not be downloaded: {' '.join(str(error).split())}") from error
    found = _in_folders(folder).get(name)
    if found is None:
        raise InputError(f"data.name={name}: what was downloaded to {folder / name} has no {name}{TRAIN} with classes")
    return found
