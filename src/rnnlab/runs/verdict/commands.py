"""Commands that a verdict advises: those of the run with some keys changed."""

from rnnlab.configs import common_keys
from rnnlab.runs.budget import KEYS, OF_DESCENT
from rnnlab.runs.verdict.evidence import Evidence
from rnnlab.store.verdict import Advice

IN_CLOSED_FORM = ("model=esn", "model.solver=ridge")
"""Overrides that make a readout in closed form of one that is trained."""


def again(evidence: Evidence, answers: str, *overrides: str, sweep: bool = False) -> Advice | None:
    """The command of the run with some keys changed; ``None`` where they have no part in how it was made."""
    values = dict(override.split("=", 1) for override in overrides)
    changed = values.keys()
    if is_closed_form(evidence) and any(key.startswith((*OF_DESCENT, "model.readout_dropout")) for key in changed):
        return None
    # what the new command would refuse beside what is changed
    becomes = not sweep and any(each in IN_CLOSED_FORM for each in overrides)
    stays_so = is_closed_form(evidence) and not changed & {"model", "model.solver"}
    without: tuple[str, ...] = OF_DESCENT if becomes or stays_so else ()
    if "model.linear" in changed:
        without += ("data.linear",)
    # a new choice of a group has keys of its own
    groups = {key: common_keys(key, tuple(values[key].split(","))) for key in changed if "." not in key}

    def stays(key: str) -> bool:
        group, _, rest = key.partition(".")
        return group not in groups or group in ("seed", "monitor", "mode") or rest in groups[group]

    kept = [
        override
        for override in evidence.overrides
        if (key := override.partition("=")[0].lstrip("+~")) not in changed
        and not key.startswith(("hydra", *without))
        and stays(key)
    ]
    # a run that was gone on with may have a larger budget than its command says
    for number, override in enumerate(kept):
        name = override.partition("=")[0].lstrip("+")
        if name in KEYS and evidence.config.get(name) is not None:
            kept[number] = f"{name}={evidence.config[name]}"
    directories = [word for place in evidence.config_dirs for word in ("--config-dir", place)]
    return Advice(words=("train", *(["-m"] if sweep else []), *directories, *kept, *overrides), answers=answers)


def is_closed_form(evidence: Evidence) -> bool:
    """Whether the readout was solved, and not trained."""
    return evidence.config.get("model.solver") == "ridge"


def longer(evidence: Evidence, times: int) -> Advice | None:
    """So many times the updates: of a run with a schedule from the start, else where it ended."""
    if is_closed_form(evidence):
        return None
    epochs = evidence.config.get("trainer.max_epochs")
    steps = times * max(evidence.steps, evidence.budget)
    override = f"trainer.max_epochs={times * epochs}" if isinstance(epochs, int) else f"trainer.max_steps={steps}"
    question = "Does it go on getting better?" if times == 3 else "Does it take more updates?"
    if is_scheduled(evidence):
        return again(evidence, question, override)
    return Advice(words=("resume", override), answers=question)


def longer_windows(evidence: Evidence) -> Advice | None:
    """Of a series that is long enough for them."""
    length = evidence.config.get("data.length")
    if not isinstance(length, int) or evidence.thing != "window" or evidence.sequences.get("train", 0) < 8 * length:
        return None
    return again(evidence, "Do longer windows say more?", f"data.length={4 * length}")


def shorter(evidence: Evidence) -> Advice | None:
    """Over fewer steps, where the length is the difficulty of a task and not a window of a series."""
    length = evidence.config.get("data.length")
    if not isinstance(length, int) or length <= 10 or evidence.ordered:
        return None
    return again(evidence, "Does it learn the same over fewer steps?", f"data.length={max(5, length // 4)}")


def is_scheduled(evidence: Evidence) -> bool:
    """Whether the learning rate followed a schedule that ended where the training was to end."""
    return str(evidence.config.get("scheduler._target_") or "").startswith("rnnlab.tasks.schedules")


def rates(evidence: Evidence) -> Advice | None:
    """Learning rates around the run's own."""
    rate = evidence.config.get("optimizer.lr")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return None
    values = ",".join(f"{rate * factor:.1g}" for factor in (0.1, 1 / 3, 3))
    return again(evidence, "Is it the learning rate?", f"optimizer.lr={values}", sweep=True)


def reservoir(evidence: Evidence) -> tuple[Advice | None, ...]:
    """What there is to change where nothing is learned but the readout: the units, and how long they remember."""
    hidden, radius = (evidence.config.get(f"model.{key}") for key in ("hidden_size", "cell.spectral_radius"))
    if not is_closed_form(evidence):
        return ()
    advice: list[Advice | None] = []
    if isinstance(hidden, int):
        advice.append(again(evidence, "Do more units help?", f"model.hidden_size={4 * hidden}"))
    if isinstance(radius, (int, float)):
        radii = "model.cell.spectral_radius=0.5,0.8,0.99"
        advice.append(again(evidence, "Does a longer or a shorter memory help?", radii, sweep=True))
    return tuple(advice)


def lower_rate(evidence: Evidence) -> Advice | None:
    """A tenth of the learning rate."""
    rate = evidence.config.get("optimizer.lr")
    if not isinstance(rate, (int, float)) or rate <= 0:
        return None
    return again(evidence, "Is a smaller learning rate steadier?", f"optimizer.lr={rate / 10:.1g}")


def models(evidence: Evidence) -> Advice | None:
    """Two other models."""
    ours = evidence.choices.get("model")
    others = [name for name in evidence.models if name != ours]
    if ours is None or not others:
        return None
    return again(evidence, "Does another model do better?", f"model={','.join(others[:2])}", sweep=True)


def seeds(evidence: Evidence) -> Advice | None:
    """Four other seeds."""
    return again(evidence, "Does it hold over other seeds?", "seed=1,2,3,4", sweep=True)


def tries_the_same(one: Advice, other: Advice) -> bool:
    """Whether two commands are the same but for a key of which both try the same value, one of them perhaps others."""
    first, second = (set(advice.words) - {"-m"} for advice in (one, other))
    differ = sorted(first - second), sorted(second - first)
    if not any(differ):
        return True
    if max(map(len, differ)) != 1 or min(map(len, differ)) != 1:
        return False
    (key, _, values), (other_key, _, other_values) = (words[0].partition("=") for words in differ)
    return key == other_key and bool(set(values.split(",")) & set(other_values.split(",")))
