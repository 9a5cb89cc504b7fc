"""The files of an inspection: its pictures, its numbers, and one page that asks no network and runs no script.

The page is written in f-strings, each text escaped where it stands: it has no template that a person would change, for
which jinja2 would be a dependency.
"""

import base64
import csv
import hashlib
import html
import io
import math
import shutil
import tempfile
from pathlib import Path

from rnnlab import __version__
from rnnlab.errors import InputError
from rnnlab.instruments.instrument import Entry, Table
from rnnlab.instruments.style import short
from rnnlab.runs import page as report
from rnnlab.store import json_text
from rnnlab.store.files import remove, replace
from rnnlab.use.inspection import Inspection, Shown

PAGE, NUMBERS = "index.html", "inspect.json"
NUMBERS_BYTES = 64 * 2**20

STYLE = """
figure.picture { margin: 10px 0 6px; }
figure.picture img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); }
figure.picture img { border-radius: 6px; }
table.numbers { width: auto; min-width: min(100%, 320px); }
table.numbers td.text { white-space: normal; overflow-wrap: anywhere; }
table.numbers td.text { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
nav a { text-decoration: none; }
@media (prefers-color-scheme: dark) { figure.picture img { border-color: transparent; } }
/* on a phone a picture keeps a size at which its labels can be read, and is moved sideways */
@media (max-width: 620px) {
  figure.picture { overflow-x: auto; }
  figure.picture::before { content: "wider than the screen: move it sideways"; position: sticky; left: 0; }
  figure.picture::before { font-size: 0.75rem; color: var(--quiet); }
  table.numbers td.text { min-width: 14em; }
  figure.picture img { max-width: none; width: max(100%, 680px); }
}
"""
OPEN_UP_TO = 12
"""Rows of a table that are seen at once; longer ones open with a click."""


def render(inspection: Inspection, command: str) -> str:
    """The whole page.

    Whatever a run or its data say is text to the page, and its content security policy lets nothing run at all.

    Args:
        inspection: what is shown.
        command: by which it was made.
    """
    style = (Path(report.__file__).parent / "page.css").read_text(encoding="utf-8") + STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = html.escape(inspection.title)
    links = "".join(f'<a href="#{each.name}">{html.escape(_brief(each.title))}</a>' for each in inspection.shown)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title} · rnnlab inspect</title>
<style>{style}</style>
</head>
<body>
<main>
<header class="top"><div><p class="eyebrow">rnnlab inspect</p><h1>{title}</h1></div></header>
<nav>{links}</nav>
<section class="card answer">{_facts(inspection)}{_pairs(inspection.about)}</section>
{"".join(map(_section, inspection.shown))}
{_left_out(inspection)}
<p class="quiet small">Made by <code>{html.escape(command)}</code>, rnnlab {__version__}. Beside this page lie the
pictures as PNGs, their tables as CSVs, and all numbers in inspect.json.</p>
</main>
</body>
</html>
"""


def _facts(inspection: Inspection) -> str:
    return "".join(
        f'<p class="headline">{html.escape(name)}: {html.escape(value)}</p>' for name, value in inspection.facts
    )


def _pairs(pairs: list[tuple[str, str]]) -> str:
    inside = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="pairs">{inside}</dl>'


def _section(each: Shown) -> str:
    image = base64.b64encode(each.png).decode()
    title = html.escape(each.title)
    return (
        f'<section class="card" id="{each.name}"><h2>{title}</h2><p class="quiet">{html.escape(each.reading)}</p>'
        f'<figure class="picture"><img alt="{title}" src="data:image/png;base64,{image}"></figure>'
        f"{_table(each.table) if each.table is not None and each.table.rows else ''}</section>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    whole = (
        f'<div class="scroll"><table class="numbers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    if len(table.rows) <= OPEN_UP_TO:
        return whole
    return f"<details><summary>{len(table.rows)} rows of numbers</summary>{whole}</details>"


def _cell(value: Entry) -> str:
    if isinstance(value, str):
        long = ' class="text"' if len(value) > 40 else ""
        return f"<td{long}>{html.escape(value)}</td>"
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    text = "–" if math.isnan(value) else short(value)
    return f'<td class="number">{text}</td>'


def _left_out(inspection: Inspection) -> str:
    if not inspection.left_out:
        return ""
    rows = "".join(
        f"<dt>{html.escape(_brief(title))}</dt><dd>{html.escape(reason)}</dd>" for title, reason in inspection.left_out
    )
    return f'<section class="card"><h2>Left out, and why</h2><dl class="pairs">{rows}</dl></section>'


def _brief(title: str) -> str:
    return title.split(":")[0]


# ---- files ---------------------------------------------------------------------------------------


def write(inspection: Inspection, page: str, folder: Path, inside: Path | None = None) -> list[str]:
    """Writes pictures, their tables, the numbers and the page: all together where the folder is new, else one by one.

    Of what an earlier inspection has left there it takes away pictures and tables that this one does not have.

    Args:
        inspection: what was looked at.
        page: the HTML of it.
        folder: where they go.
        inside: see :func:`rnnlab.store.open_directory.placed`.

    Returns:
        The names of the files.

    Raises:
        InputError: it cannot be written.
    """
    files: dict[str, bytes] = {f"{each.name}.png": each.png for each in inspection.shown}
    files |= {f"{each.name}.csv": _csv(each.table) for each in inspection.shown if each.table and each.table.rows}
    numbers = {
        "title": inspection.title,
        "about": dict(inspection.about),
        "facts": inspection.facts,
        "tables": {
            each.name: {"columns": each.table.columns, "rows": each.table.rows}
            for each in inspection.shown
            if each.table
        },
        "left_out": dict(inspection.left_out),
        "files": [*files, PAGE],
    }
    files[NUMBERS] = (json_text.dump(numbers, indent=1, ascii_only=False) + "\n").encode()
    files[PAGE] = page.encode()
    try:
        if folder.is_dir() and any(folder.iterdir()):
            before = _written_before(folder)
            for name, content in files.items():
                replace(folder / name, content, inside=inside)
            for name in before - set(files):
                remove(folder / name, inside)
            return list(files)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, content in files.items():
                replace(temporary / name, content)
            temporary.chmod(0o755)
            temporary.replace(folder)  # an empty directory gives way
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    return list(files)


def _csv(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue().encode()


def _written_before(folder: Path) -> set[str]:
    """Pictures and tables that an earlier inspection says it wrote."""
    try:
        names = json_text.read(folder / NUMBERS, NUMBERS_BYTES)["files"]
        names = [name for name in names if isinstance(name, str) and name == Path(name).name]
        return {name for name in names if name.endswith((".png", ".csv"))}
    except (OSError, InputError, KeyError, TypeError):
        return set()
