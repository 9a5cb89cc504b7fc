"""What mkdocs asks while it builds: the pages of cells, data and tasks, their pictures, and the notebooks."""

import io
from collections.abc import Callable, Iterator
from typing import Any

from mkdocs.structure.files import File, Files
from pagemaker import cells, choices, data, notebooks, recurrence, scores, tasks

SECTIONS = {"model": ("Cells", "cells", cells), "data": ("Data", "data", data), "task": ("Tasks", "tasks", tasks)}


def on_config(config: Any) -> Any:
    """Each section of the navigation goes on with a page for each choice of its group."""
    for group, (title, folder, _) in SECTIONS.items():
        section = next(entry[title] for entry in config.nav if title in entry)
        section += [f"{folder}/{name}.md" for name in choices.choices(group)]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made, and what is drawn for them."""
    for uri, content in made():
        files.append(File.generated(config, uri, content=content))
    return files


WIDE = 9
"""Columns of a table that needs the place of the table of contents."""


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The table of all cells gets what was measured of each; a wide table gets the whole width."""
    markdown = cells.overview(markdown) if page.file.src_uri == "cells.md" else markdown
    if any(line.startswith("|") and line.count("|") > WIDE for line in markdown.splitlines()):
        page.meta.setdefault("hide", ["toc"])
    return markdown


def made() -> Iterator[tuple[str, str | bytes]]:
    """Each page and picture, by its place below ``pages``."""
    for group, (_, folder, maker) in SECTIONS.items():
        for name in choices.choices(group):
            yield f"{folder}/{name}.md", maker.page(name)
            drawn: dict[str, Callable[[], Any]] = getattr(maker, "pictures", lambda _: {})(name)
            for file, draw in drawn.items():
                yield f"{folder}/{file}", png(draw())
    yield "plan/gru.png", png(recurrence.plan())
    for picture in sorted(scores.RESULTS.parent.glob("*.png")):
        yield f"measured/{picture.name}", picture.read_bytes()
    yield from notebooks.files()


def png(figure: Any) -> bytes:
    """A figure as a file holds it."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    return memory.getvalue()
