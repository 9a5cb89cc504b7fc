"""English that every Python carries, read where it is installed."""

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from rnnlab.errors import InputError

# Tests, examples and tables, and what somebody else has installed.
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data", "site-packages", "dist-packages"}


def reference() -> str:
    """The language reference that ``help()`` prints: about 0.46 million characters.

    Raises:
        InputError: this Python was packaged without it.
    """
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError:
        raise InputError("this Python has no pydoc_data.topics to read: give a text of yours, data.path=FILE") from None
    return "\n\n".join(topics[name].strip() for name in sorted(topics))


def documentation() -> str:
    """The reference, then each docstring of the standard library once, by file name: about 2 million characters.

    No module is imported: the sources are parsed, which takes some seconds.
    """
    return "\n\n".join(dict.fromkeys([reference(), *_docstrings(Path(sysconfig.get_path("stdlib")))]))


def _docstrings(library: Path) -> Iterator[str]:
    for file in sorted(library.rglob("*.py")):
        parts = file.relative_to(library).parts
        if LEFT_OUT.intersection(parts) or parts[0].startswith("config-"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old escapes in somebody else's source
                module = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield text
