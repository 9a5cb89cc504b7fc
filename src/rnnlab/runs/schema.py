"""A signature as the schema of its config: which arguments there are, and what each may be."""

import inspect
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from rnnlab.errors import InputError, UnknownKeys, nearest
from rnnlab.ranges import Harmless

PARTIAL, TARGET = "_partial_", "_target_"
LONGEST = 200
"""Characters of a value that a message shows."""


def has(annotation: Any, mark: type) -> bool:
    """Whether an annotation, or a part of it, is marked so (:mod:`rnnlab.ranges`)."""
    return isinstance(annotation, mark) or any(has(part, mark) for part in get_args(annotation))


def is_plain(value: Any, annotation: Any = None) -> bool:
    """Whether a value can do no harm, whoever wrote it: a number, a choice of those that an annotation lists, or text
    of which it says so.
    """
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, list):
        return all(is_plain(item) for item in value)
    if not isinstance(value, str):
        return False
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if get_origin(annotation) is Annotated:
        return has(annotation, Harmless)
    return any(is_plain(value, part) for part in get_args(annotation))


def check_arguments(
    target: Any,
    arguments: Mapping[Any, Any],
    key: str,
    given: Mapping[str, Any] | None = None,
    complete: bool = True,
    built: bool = True,
) -> None:
    """Holds arguments against a signature.

    Args:
        target: the class or function that will be called.
        arguments: those from the config.
        key: where they stand in the config; empty for its top.
        given: further arguments, which need no check.
        complete: whether every required argument must be there.
        built: whether configs among them have been built already; else they are looked at when they are.

    Raises:
        InputError: naming the key, the value, and what is allowed.
    """
    given = given or {}
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise InputError(f"{_join(key, TARGET)}: {target} has no signature, and nothing can be checked") from error
    named = {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name not in given
    }
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    hints = annotations(target)
    unknown = [] if takes_any else [name for name in map(str, arguments) if name not in named]
    for name, value in ((str(name), value) for name, value in arguments.items()):
        if name in unknown:
            known = f" (known: {_list(named)})" if named else " (it takes none)"
            text = f"{_join(key, name)}={shown(value)}: unknown key{nearest(name, named)}{known}"
            raise UnknownKeys(text, key, unknown)
        if name in hints and (built or not _is_config(value)):
            check_value(value, hints[name], _join(key, name))
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if complete and missing:
        raise InputError(f"{_join(key, missing[0])} is missing: give {_join(key, missing[0])}=…")


def _is_config(value: Any) -> bool:
    """Whether it stands for what it builds, or for several of them."""
    if isinstance(value, list):
        return any(map(_is_config, value))
    return isinstance(value, Mapping) and TARGET in value


def _held(annotation: Any) -> list[Any]:
    """What the mappings of an annotation hold."""
    parts = [annotation, *get_args(annotation)]
    return [get_args(part)[1] for part in parts if get_origin(part) is Mapping and len(get_args(part)) == 2]


def check_value(value: Any, annotation: Any, key: str) -> None:
    """Holds one value against one annotation.

    Raises:
        InputError: ``key=value: `` and what is allowed.
    """
    adapter = _remembered(annotation)
    if adapter is None:
        return
    # a run's own numbers may be none: a series that repeats itself has no unit of MASE
    for number in _numbers(value) if Any not in (annotation, *_held(annotation)) else ():
        if isinstance(number, float) and not math.isfinite(number):
            raise InputError(f"{key}={shown(value)}: must be finite")
        # what neither numpy nor torch can count, or single precision hold
        if abs(number) >= (2**63 if isinstance(number, int) else 3e38):
            raise InputError(f"{key}={shown(value)}: must be below {'2**63' if isinstance(number, int) else '3e38'}")
    problems = _problems(adapter, value)
    if problems and isinstance(value, list):  # which also stands for a tuple
        others = _problems(adapter, _as_tuple(value))
        problems = others and [p for p in (*problems, *others) if p["type"] not in ("tuple_type", "list_type")]
        problems = problems or others
    if not problems:
        return
    texts = []
    for problem in problems:
        text = _allowed(problem)
        if problem["type"] == "is_instance_of" and len(problems) > 1:
            continue
        if text not in texts:
            texts.append(text)
    if takes_null(annotation):
        texts.append("null")
    hint = ""
    if isinstance(value, str):
        options = [e["ctx"]["expected"] for e in problems if e["type"] == "literal_error"]
        hint = nearest(value, [o.strip("' ") for option in options for o in option.replace(" or ", ",").split(",")])
    raise InputError(f"{key}={shown(value)}: must be {' or '.join(texts)}{hint}")


def takes_null(annotation: Any) -> bool:
    """Whether ``null`` is a value of it."""
    if get_origin(annotation) is Annotated:
        return takes_null(get_args(annotation)[0])
    return type(None) in get_args(annotation)


def _problems(adapter: Any, value: Any) -> list[Any]:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        return list(error.errors())
    return []


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _remembered(annotation: Any) -> Any:
    try:
        return _adapter(annotation)
    except TypeError:  # an annotation with parts that cannot be remembered
        return _adapter.__wrapped__(annotation)


def _allowed(problem: Mapping[str, Any]) -> str:
    """What is allowed, of one of pydantic's problems, as a person says it who writes YAML."""
    context = problem.get("ctx", {})
    if problem["type"] == "is_instance_of":
        name = str(context["class"]).rpartition(".")[2]
        return "a list" if name == "Sequence" else f"a config that builds {article(name)} ({TARGET}: …)"
    if problem["type"] == "dict_type":
        return "a config with keys of its own (KEY: …)"
    if problem["type"] == "sequence_str":
        return f"a list, such as [{shown(problem['input'])}]"
    if problem["type"] in ("too_short", "too_long"):
        bound = "at least" if problem["type"] == "too_short" else "at most"
        number = context["min_length" if problem["type"] == "too_short" else "max_length"]
        return f"{bound} {number} values, and there are {context['actual_length']}"
    if problem["type"] == "callable_type":
        return f"a config that builds something ({TARGET}: …)"
    if problem["type"] == "bool_type":
        return "true or false"
    return str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")


def _numbers(value: Any) -> Iterable[int | float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(item)


@lru_cache(maxsize=1024)
def _adapter(annotation: Any) -> Any:
    """What holds values against an annotation, and is slow to make; ``None`` where it says nothing to check."""
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return None


def unknown_keys(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses keys at the top of a config that nothing reads."""
    known = list(known)
    for name in config:
        if name not in known:
            raise InputError(f"{name}={shown(config[name])}: unknown key{nearest(name, known)} (known: {_list(known)})")


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


@lru_cache(maxsize=256)
def annotations(target: Any) -> dict[str, Any]:
    """Of the arguments of a class or function, by name; empty where they cannot be found out."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}
    if inspect.isclass(target) and getattr(target, "__dataclass_fields__", None):
        hints = get_type_hints(target, include_extras=True)
    return hints


def shown(value: Any) -> str:
    """A value as it is written in YAML and on the command line; a long one is cut."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) + "}"
    elif isinstance(value, list):
        text = f"[{', '.join(shown(item) for item in value)}]"
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def article(name: str) -> str:
    """A name with its indefinite article."""
    return f"an {name}" if name[:1] in "AEIOUaeiou" else f"a {name}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
