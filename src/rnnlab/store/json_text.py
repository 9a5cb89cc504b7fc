"""JSON that anybody may have written: of limited size, depth and numbers, its texts ones that can be printed."""

import json
import math
import re
from pathlib import Path
from typing import Any

from rnnlab.store.files import Damaged, read_text

DEPTH = 60
DIGITS = 30
"""Of a whole number; a longer one is none that anything here counts."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONE = re.compile(r"[\ud800-\udfff]")


def read(path: Path, limit: int) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        limit: bytes that it can sensibly have.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is no JSON, or beyond a limit.
        OSError: it cannot be read.
    """
    text = read_text(path, limit)
    if text.count("[") + text.count("{") > DEPTH and _depth(text) > DEPTH:
        raise Damaged(path, f"it is nested more than {DEPTH} deep")
    try:
        content = json.loads(text, parse_int=_whole)
    except ValueError as error:
        raise Damaged(path, str(error)) from None
    return _printable(content) if _SURROGATE.search(text) else content


def dump(content: Any, indent: int | None = None, ascii_only: bool = True) -> str:
    """JSON as its standard has it: a number that is no finite one is ``null``."""
    return json.dumps(_standard(content), indent=indent, allow_nan=False, ensure_ascii=ascii_only)


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _printable(content: Any) -> Any:
    """Halves of characters, which JSON can write and nothing can print, become question marks."""
    if isinstance(content, str):
        return _LONE.sub("?", content)
    if isinstance(content, list):
        return [_printable(item) for item in content]
    if isinstance(content, dict):
        return {_printable(name): _printable(value) for name, value in content.items()}
    return content


def _standard(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {name: _standard(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_standard(item) for item in content]
    return content
