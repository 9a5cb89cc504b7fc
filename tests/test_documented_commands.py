"""Every command and snippet of README, CONTRIBUTING and docs/pages runs, in small.

A page is a shell in an empty directory in which ``rnnlab`` is on the PATH, and nothing else was done. Its blocks run
from top to bottom:

- ``sh``: each line is a command. ``rnnlab`` runs in this process, on few data and for one epoch; ``make`` is asked what
  it would do; ``tensorboard`` serves for ever, so that only its directory is looked for; all else goes to bash;
- ``python`` runs, its trainings for few steps where it gives no number of its own, or a large one; with a title it is
  the file of that name, as ``csv``, ``yaml`` and ``text`` with a title are;
- ``text`` and ``yaml`` without a title are shown only.

A comment in the page's source, ``<!-- before … -->``, holds commands that make what the page takes for granted, and
``<!-- not run: why -->`` stands before a block that can't run here.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import compose, needed_by_choices
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from rnnlab.__main__ import VERBS, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
SHOWN = ("text", "yaml", "csv")
PART = re.compile(
    r"^<!-- (?P<comment>before|not run:)(?P<said>.*?)-->$"
    r"|^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# what a run is made small by, where its config has the key and the command doesn't vary it
SMALL = {"trainer.max_epochs": 1, "trainer.max_steps": 20, "trainer.accelerator": "cpu", "data.num_samples": 60,
         "instruments": "none", "hydra.sweeper.n_trials": 2}  # fmt: skip

# extras of which no config tells, and what shows that they are needed
BY_WORD = {"sklearn": "rnnlab.sklearn", "keras": ".weights.h5", "speech": "call.wav"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, or the commands of a comment.

    Attributes:
        language: ``sh``, ``python`` …
        text: what stands in it.
        title: the file that it is.
        reason: why it can't run.
    """

    language: str
    text: str
    title: str | None = None
    reason: str | None = None

    @property
    def needs(self) -> set[str]:
        """The extras that its commands need."""
        words = re.findall(r"[\w/]+=\w+", self.text)
        found = {needed_by_choices()[word] for word in words if word in needed_by_choices()}
        if re.search(r"rnnlab export (?!.*pt2)|RUN/export/", self.text) and self.language in ("sh", "python"):
            found.add("export")
        found |= {extra for extra, word in BY_WORD.items() if word in self.text}
        return set() if self.reason else found


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    reason = None
    for part in PART.finditer(page.read_text(encoding="utf-8")):
        if part["comment"] == "before":
            found.append(Block("sh", part["said"]))
        elif part["comment"]:
            reason = part["said"].strip()
        else:
            found.append(Block(part["language"], part["text"], part["title"], reason))
            reason = None
    return found


def commands(text: str) -> list[str]:
    """The lines of a shell's block; one that ends in a backslash goes on."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def is_plain(line: str) -> bool:
    """Whether a line is one program and its arguments: nothing that only a shell understands."""
    return not any(set(word) <= set("|&;<>()") for word in shlex.shlex(line, posix=True, punctuation_chars="|&;<>"))


def small(arguments: list[str]) -> list[str]:
    """The arguments of ``rnnlab train``, for a run of a second."""
    if {"--help", "--cfg", "--hydra-help"} & set(arguments):
        return arguments
    several = "-m" in arguments or "--multirun" in arguments
    given = [argument for argument in arguments if "=" in argument]
    own = "--config-dir" in arguments
    varied = {each.partition("=")[0] for each in given if several and re.search(r",|\(", each.partition("=")[2])}
    fixed = [each for each in given if each.partition("=")[0] not in varied]
    try:
        config = None if own else compose(*(each for each in fixed if not each.startswith(("hydra", "sweep="))))
    except HydraException:  # of a choice that is not there: the command will say so
        config = None
    searched = any(each.startswith(("hydra/sweeper=", "sweep=mine")) for each in given)
    solved = config is not None and config.get("model", {}).get("solver") == "ridge"
    added = []
    for key, value in SMALL.items():
        if key in varied or (key.startswith("hydra") and not searched) or (solved and key.startswith("trainer.max_")):
            continue
        at: object = config
        for name in key.split(".")[:-1] if config is not None else []:
            at = at.get(name) if isinstance(at, dict) else None
        known = isinstance(at, dict) and key.split(".")[-1] in at if config is not None else key.startswith("trainer")
        if known or key == "instruments" or key.startswith("hydra"):
            added.append(f"{key}={value}")
    return [*(few(argument) if several else argument for argument in arguments), *added]


def few(argument: str) -> str:
    """Two values of an argument of a sweep that has many."""
    key, equals, value = argument.partition("=")
    if key == "data.fold":  # each fold is a test of its own
        return argument
    if found := re.fullmatch(r"range\((\d+)(?:, ?(\d+))?\)", value):
        first = int(found[1]) if found[2] else 0
        return f"{key}=range({first},{first + 2})"
    if equals and "," in value and not re.search(r"[\[\](]", value):
        return f"{key}={','.join(value.split(',')[:2])}"
    return argument


def rnnlab(arguments: list[str]) -> tuple[int, str]:
    """Runs a command in this process; its exit status and what it printed."""
    if arguments[0] == "train":
        arguments = ["train", *small(arguments[1:])]
    elif arguments[0] == "resume":
        arguments = [re.sub(r"(n_trials|max_epochs)=\d+", r"\1=3", few(each)) for each in arguments]
    elif arguments[0] == "benchmark" and len(arguments) > 1:
        arguments = [*(re.sub(r"^\d$", "1", each) for each in arguments), "trainer.max_steps=20", "data.num_samples=60"]
    GlobalHydra.instance().clear()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(arguments)
        except SystemExit as end:
            return int(end.code or 0), printed.getvalue()
    raise AssertionError("rnnlab ends by an exit")


def shell(line: str) -> tuple[int, str]:
    endless = "tail -f" in line
    command = ["bash", "-c", line.replace("tail -f", "tail -n +1")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert not endless or done.stdout, line
    return done.returncode, done.stdout + done.stderr


def run_line(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "rnnlab" and is_plain(line):
        status, printed = rnnlab(words[1:])
    elif words[0] == "make":
        done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        status, printed = done.returncode, done.stdout + done.stderr
    elif words[0] == "tensorboard":
        status, printed = 0 if list(Path(words[-1]).rglob("events.out.tfevents.*")) else 1, "nothing to show there"
    else:
        status, printed = shell(line)
    assert status == 0, f"{line}\n{printed}"


def run_page(page: Path, extras: bool) -> None:
    """Runs the blocks that need no extra, or all."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.reason or (block.needs and not extras):
            continue
        if block.title and not block.title.startswith(("src/", "conf/")):
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "sh" and "git clone" not in block.text:
            for line in commands(block.text):
                run_line(line)
        elif block.language == "python" and not block.title:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(re.sub(r"max_steps=\d{4,}", "max_steps=40", block.text), str(page), "exec"), names)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty directory; modules that are made in it are forgotten."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rnnlab.signals.guard", lambda: None)  # whoever runs the tests listens to signals
    monkeypatch.setattr("rnnlab.runs.budget.MAX_STEPS", SMALL["trainer.max_steps"])
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def title(page: Path) -> str:
    return page.stem


RUN = [page for page in PAGES if any(block.language in ("sh", "python") for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=title)
def test_what_a_page_says_to_type_runs(page: Path, elsewhere: None) -> None:
    run_page(page, extras=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.needs(*sorted(needs))])
        for page in RUN
        if (needs := set().union(*(block.needs for block in blocks(page))))
    ],
    ids=title,
)
def test_what_a_page_says_to_type_runs_with_extras(page: Path, elsewhere: None) -> None:
    run_page(page, extras=True)


# ---- without running it ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_every_block_says_what_it_is_or_why_it_cannot_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = blocks(page)
    assert text.count("\n```") == 2 * len([block for block in found if f"\n{block.text}```" in text])
    for block in found:
        assert block.language in ("sh", "python", *SHOWN), (
            f"a block of {page.name} doesn't say what it is: {block.text}"
        )
        assert block.reason is None or len(block.reason.split()) > 2
        if block.language in SHOWN and block.title is None:
            assert not re.match(r"(rnnlab|make|python|pip) \w", block.text), f"{page.name}: is that not to be typed?"
    assert "…" not in "".join(
        line for block in found if block.language == "sh" and not block.reason
        for line in re.sub(r"#.*|git clone …", "", block.text)
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_commands_within_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    verbs = re.findall(r"`rnnlab (\w+)", text)
    targets = re.findall(r"`make ([a-z-]+)", text)
    assert set(verbs) <= VERBS.keys()
    made = re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= {*made, "test-all"}


def test_each_extra_is_said_what_it_is_for() -> None:
    from conftest import packages

    text = (ROOT / "docs" / "pages" / "install.md").read_text(encoding="utf-8")
    assert packages().keys() - {"dev"} <= set(re.findall(r"^\| `(\w+)` \| ", text, re.MULTILINE))


def test_the_readme_fits_on_a_screen() -> None:
    text = re.sub(r"<!--.*?-->\n*", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(text.splitlines()) <= 75
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / link).exists(), link


def test_a_page_that_lies_is_caught(tmp_path: Path, elsewhere: None) -> None:
    page = tmp_path / "page.md"
    for text in ("```sh\nrnnlab list modles\n```\n", "```sh\nfalse | grep x\n```\n", "```sh\nmake nothing\n```\n",
                 "<!-- before\nrnnlab lst\n-->\n", "```sh\ntensorboard --logdir nowhere\n```\n"):  # fmt: skip
        page.write_text(text)
        with pytest.raises(AssertionError):
            run_page(page, extras=True)
    page.write_text("```python\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError):
        run_page(page, extras=True)
    page.write_text("<!-- not run: it needs a cluster -->\n\n```sh\nfalse\n```\n")
    run_page(page, extras=True)
