"""``rnnlab generate RUN… --prompt TEXT``: a language model writes, printed as it comes."""

import sys
from argparse import Namespace
from collections.abc import Sequence

from rnnlab.commands.arguments import add_allow, add_device, guarded, load_execution, parser, refuse_overrides
from rnnlab.errors import InputError
from rnnlab.runs.directory import RunDirectory
from rnnlab.shell import pasted, shown_path
from rnnlab.use.members import members
from rnnlab.use.options import Sampling, check_device


def main(arguments: list[str]) -> int:
    """Runs the verb; returns the exit status."""
    options = parser(
        "generate",
        "Lets a language model (a run with data=text) go on from a prompt. Several runs, or a sweep's best "
        "configuration with all its seeds, write together: their probabilities are averaged.",
    )
    options.add_argument("runs", metavar="RUN", nargs="+", help="a run directory, several, or a sweep's")
    options.add_argument("--prompt", metavar="TEXT", default="", help="what it goes on from; may be empty")
    options.add_argument("--length", metavar="N", type=int, default=500, help="characters, bytes or words (500)")
    options.add_argument(
        "--temperature", metavar="T", type=float, default=1.0,
        help="below 1 surer, above 1 more surprising; 0: always the most probable (1)",
    )  # fmt: skip
    options.add_argument("--top-k", metavar="K", type=int, help="only the K most probable at each step")
    options.add_argument("--top-p", metavar="P", type=float, help="only the most probable that together have P")
    options.add_argument("--seed", metavar="S", type=int, default=0, help="the same seed, the same text (0)")
    options.add_argument("--samples", metavar="M", type=int, default=1, help="how many texts (1)")
    add_device(options)
    add_allow(options)
    given = options.parse_args(arguments)
    return guarded(lambda: generate(given))


def generate(given: Namespace) -> int:
    """Prints the first text as it comes and the others, which are written beside it, after it.

    Raises:
        InputError: it is no run of a language model, or an option makes no sense.
    """
    sampling = Sampling(given.length, given.temperature, given.top_k, given.top_p, given.seed, given.samples)
    check_device(given.device)
    refuse_overrides("generate", given.runs)
    runs = members(given.runs, quiet=True)
    _refuse_other_tasks(runs)
    load_execution()
    from rnnlab.runs.ensemble import Member
    from rnnlab.use.trained import open_runs

    model = open_runs([Member(run, run.config) for run in runs], given.allow, given.device)
    model.use_threads(given.samples)
    texts = [given.prompt] * given.samples
    said = False
    for pieces in model.writing(given.prompt, sampling):
        if not said:  # not before it is sure that there is something to say
            sys.stdout.write(given.prompt)
            said = True
        sys.stdout.write(pieces[0])
        sys.stdout.flush()
        texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
    print()
    for number, text in enumerate(texts[1:], 2):
        print(f"\n── {number} ──\n{text}")
    return 0


def _refuse_other_tasks(runs: Sequence[RunDirectory]) -> None:
    """Refuses a run of one of rnnlab's tasks that writes no text, before torch is imported; a task of one's own shows
    what it is when it is built.

    Raises:
        InputError: naming the run.
    """
    for run in runs:
        task = run.config.get("task") or {}
        module, _, name = str(task.get("_target_")).rpartition(".")
        if module.startswith("rnnlab.tasks.") and name != "LanguageModeling":
            kind = module.rpartition(".")[2]
            raise InputError(
                f"{shown_path(run.path)} is no language model (its task is {kind}): {pasted('predict', run.path)}"
            )
