"""Docstrings as Markdown, and equations of docstrings as tables that a browser sets."""

import re
from dataclasses import dataclass
from html import escape

SECTIONS = ("Args", "Attributes", "Returns", "Raises")
_SUBSCRIPT = re.compile(r"_(\{[^{}]*\}|[0-9A-Za-zα-ωΑ-Ω]+)")
_SUPERSCRIPT = re.compile(r"\^(\{[^{}]*\}|\([^()]*\)|[0-9A-Za-zα-ωΑ-Ω]+)")
_FUNCTIONS = "exp tanh cos sin log max min diag softmax sigmoid softplus relu".split()


@dataclass(frozen=True)
class Docstring:
    """Its prose as Markdown, and each entry of its sections (``Attributes`` …) by name."""

    prose: str
    sections: dict[str, dict[str, str]]

    @property
    def fields(self) -> dict[str, str]:
        """What the arguments or attributes are."""
        return {**self.sections.get("Args", {}), **self.sections.get("Attributes", {})}


def read(text: str) -> Docstring:
    """A docstring in Google's style, cleaned of its indentation."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    into = prose
    for line in text.splitlines():
        if line.rstrip().rstrip(":") in SECTIONS and line.rstrip().endswith(":"):
            into = sections.setdefault(line.strip().rstrip(":"), [])
        elif line and not line.startswith(" ") and into is not prose:
            into = prose
            prose.append(line)
        else:
            into.append(line)
    return Docstring(markdown("\n".join(prose)), {name: _entries(lines) for name, lines in sections.items()})


def _entries(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        entry = re.match(r" {4}(\w+): (.*)$", line)
        if entry:
            name = entry[1]
            found[name] = entry[2]
        elif name:
            found[name] = f"{found[name]} {line.strip()}"
    return {name: inline(text.strip()) for name, text in found.items()}


def markdown(text: str) -> str:
    """Prose of a docstring: blocks after ``::`` and indented ones are code, the rest is text."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.strip() == "::":
            continue
        if block.startswith("    "):
            code = "\n".join(line[4:] for line in block.splitlines())
            if blocks and blocks[-1].startswith("```text\n"):
                blocks[-1] = f"{blocks[-1][:-3]}\n{code}\n```"
            else:
                blocks.append(f"```text\n{code}\n```")
        else:
            blocks.append(inline(re.sub(r"::$", ":", block.strip())))
    return "\n\n".join(blocks)


def inline(text: str) -> str:
    """One paragraph: roles and double backticks become code, papers become links."""
    parts = re.split(r"(:\w+:`[^`]*`|``.+?``)", text, flags=re.DOTALL)
    return "".join(_code(part) if part.endswith("`") and "`" in part[:-1] else _words(part) for part in parts)


def _code(text: str) -> str:
    inner = re.sub(r"^:\w+:", "", text).strip("`")
    return f"`{' '.join(inner.lstrip('~').split())}`"


def _words(text: str) -> str:
    text = re.sub(r"([*<\\])", r"\\\1", text)
    text = re.sub(r"\b(arXiv)\s+(\d{4}\.\d{4,5})", r"[\1 \2](https://arxiv.org/abs/\2)", text)
    return re.sub(r"(?<![(<])\b(https?://[^\s,;)]+[^\s,;).])", r"<\1>", text)


# ---- equations -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Equation:
    """``left = right``, and what it is called; a line that is no equation has no left side."""

    left: str
    right: str
    gloss: str = ""


def equations(docstring: str) -> tuple[list[Equation], str]:
    """The indented lines at the top of a module's docstring, and its prose without them.

    The first line is the module's title, which no page needs twice.
    """
    found: list[Equation] = []
    blocks = re.split(r"\n\s*\n", docstring.strip("\n"))
    for block in blocks:
        if not block.startswith("    "):
            continue
        for line in block.splitlines():
            body, _, gloss = line.strip().partition("    ")
            comma, gloss = ("", gloss.strip())
            left, equals, right = body.rstrip(", ").partition(" = ")
            if equals and len(left) < 40:
                found.append(Equation(left.strip(), right.strip() + comma, gloss))
            elif found:
                last = found.pop()
                found.append(Equation(last.left, f"{last.right} {body}", " ".join(filter(None, (last.gloss, gloss)))))
    prose = "\n\n".join(markdown(block) for block in blocks[1:] if not block.startswith("    "))
    return found, prose


def typeset(text: str) -> str:
    """A formula of a docstring as HTML: sub- and superscripts, variables in italics."""
    parts = re.split(r"(_(?:\{[^{}]*\}|[0-9A-Za-zα-ωΑ-Ω]+)|\^(?:\{[^{}]*\}|\([^()]*\)|[0-9A-Za-zα-ωΑ-Ω]+))", text)
    html = []
    for part in parts:
        for pattern, tag in ((_SUBSCRIPT, "sub"), (_SUPERSCRIPT, "sup")):
            match = pattern.fullmatch(part)
            if match:
                html.append(f"<{tag}>{_variables(match[1].strip('{}'))}</{tag}>")
                break
        else:
            html.append(_variables(part))
    return "".join(html).replace(" - ", " − ")


def _variables(text: str) -> str:
    return re.sub(
        r"(?<![A-Za-z&])([A-Za-zα-ωΑ-Ω]\u0304?)(?![A-Za-z;])",
        lambda letter: letter[1] if letter[1] in "σφΣΠ" else f"<i>{letter[1]}</i>",
        escape(text, quote=False),
    )


def table(found: list[Equation]) -> str:
    """Equations under each other, aligned at their equals signs."""
    rows = "\n".join(
        f"<tr><td>{typeset(each.left)}</td><td>=</td><td>{typeset(each.right)}</td><td>{typeset_words(each.gloss)}</td></tr>"
        for each in found
    )
    return f'<table class="equations">\n{rows}\n</table>'


def typeset_words(gloss: str) -> str:
    """What stands beside an equation: words, or a formula where it has an equals sign."""
    return typeset(gloss) if "=" in gloss else escape(gloss, quote=False)
