"""The command line: ``rnnlab VERB …``, the same as ``python -m rnnlab VERB …``."""

import os  # which Python has imported before it looks at the current directory
import sys


def leave_out_current_directory() -> None:
    """Takes the current directory off the path of modules, for this process and those that it starts.

    It may be a run directory of anybody's: a file in it called as one that some library tries to import (msvcrt.py)
    would be executed. An own class that a config names is looked for there by :func:`rnnlab.runs.build.locate`.
    With ``python -m rnnlab`` Python itself has by then imported what ``runpy`` needs (``contextlib``, ``collections``,
    ``functools`` …), from the current directory first; ``rnnlab`` and ``python -P -m rnnlab`` never look there.
    """
    try:
        here = os.getcwd()
    except OSError:  # it was removed
        here = ""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    kept = [entry for entry in given if os.path.isabs(entry) or os.path.abspath(entry) != here]
    sys.path[:] = [entry for entry in sys.path if entry not in ("", ".") and (entry != here or here in kept)]
    os.environ["PYTHONSAFEPATH"] = "1"  # python -m and -c would put it back
    if kept != given:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)


if __name__ == "__main__":
    leave_out_current_directory()

VERBS = {
    "start": "look at a file of yours, and say which commands to begin with",
    "train": "train a network, or sweep over many (-m)",
    "resume": "go on with a run or a sweep that was stopped",
    "evaluate": "test a run, perhaps on other data",
    "predict": "what trained runs say of new data, as a table or in a pipe",
    "generate": "a language model writes",
    "export": "a file to deploy, ONNX or pt2, checked against its run",
    "inspect": "look inside a run: memory, gates, dynamics, saliency, worst examples",
    "benchmark": "published numbers beside ours, over several seeds",
    "report": "compare runs: table, CSV and one HTML page",
    "list": "what there is: models, data, tasks, experiments, sweeps, trainers …",
}


ELSEWHERE = {
    **dict.fromkeys(("test", "eval", "validate", "score"), "rnnlab evaluate RUN tests a run again"),
    **dict.fromkeys(("init", "begin", "look", "profile"), "rnnlab start FILE looks at a file of yours"),
    **dict.fromkeys(("fit", "run", "learn"), "rnnlab train trains a network"),
    **dict.fromkeys(("sweep", "multirun", "search", "tune", "grid"), "rnnlab train -m model=rnn,gru seed=0,1 sweeps"),
    **dict.fromkeys(("infer", "inference", "forecast"), "rnnlab predict RUN --input FILE"),
    **dict.fromkeys(("sample", "write"), "rnnlab generate RUN"),
    **dict.fromkeys(("compare", "leaderboard", "rank"), "rnnlab report DIR compares runs"),
    **dict.fromkeys(("continue", "restart"), "rnnlab resume DIR goes on"),
    **dict.fromkeys(("plot", "visualize", "explain"), "rnnlab inspect RUN draws; figures are in RUN/figures"),
    **dict.fromkeys(("convert", "deploy", "onnx"), "rnnlab export RUN"),
    **dict.fromkeys(("ls", "show"), "rnnlab list"),
    "tensorboard": "tensorboard --logdir outputs",
}
"""Words that other programs have for what is said in another way here."""


def main(arguments: list[str] | None = None) -> None:
    """Runs one verb and exits: 0 done, 1 a run failed, 2 bad input, 130 stopped by Ctrl-C, 143 by SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    leave_out_current_directory()
    # not before: importlib would be found there, and the others try modules of other systems, such as msvcrt
    import importlib

    from rnnlab.shell import readable_streams, short_temporary_directory
    from rnnlab.signals import guard

    readable_streams()
    short_temporary_directory()
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help", "help"):
        print(usage())
        sys.exit(0)
    if verb in ("-V", "--version"):
        from rnnlab import __version__

        print(f"rnnlab {__version__}")
        sys.exit(0)
    if verb in ("-sc", "--shell-completion"):
        from rnnlab.commands.completion import complete

        sys.exit(complete(rest, list(VERBS)))
    if verb not in VERBS:
        from rnnlab.errors import nearest, one_line

        hint = f": {ELSEWHERE[verb]}" if verb in ELSEWHERE else f"{nearest(verb, VERBS)} ({', '.join(VERBS)})"
        print(f"rnnlab: there is no command '{one_line(verb)[:80]}'{hint}", file=sys.stderr)
        sys.exit(2)
    guard()
    try:
        status = importlib.import_module(f"rnnlab.commands.{verb}").main(rest)
        sys.stdout.flush()
    except KeyboardInterrupt:  # while the verb was imported
        print("stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # whoever read our output has left: nothing more to say, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def usage() -> str:
    """The help of the whole program."""
    verbs = "\n".join(f"  {verb:9} {what}" for verb, what in VERBS.items())
    return (
        f"rnnlab: experiments with recurrent neural networks\n\n{verbs}\n\n"
        "rnnlab start FILE                            a file of yours: what it holds, and how to begin\n"
        "rnnlab train model=lstm data=sine            one run\n"
        "rnnlab train -m model=rnn,lstm,gru seed=0,1  a sweep\n"
        "rnnlab train -m sweep=learning_rate          a ready one (rnnlab list sweeps)\n"
        "rnnlab VERB --help                           more"
    )


if __name__ == "__main__":
    main()
