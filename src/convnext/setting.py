"""A setting: a field of a frozen value that knows in words and in code what it takes, and how it is written as text."""

import math
import types
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from convnext.errors import UserError


def setting(default: Any, allowed: str, test: Callable[[Any], bool], *, rare: bool = False) -> Any:
    """Return a dataclass field that says in words and in code which values of its type it takes.

    rare  left out of lists and files of classification recipes where it has its default
    """
    return field(default=default, metadata={"allowed": allowed, "test": test, "rare": rare})


def choice(default: str, options: Any, *, rare: bool = False) -> Any:
    """Return a dataclass field that takes one of the words of a Literal; `rare` as in `setting`."""
    *rest, last = get_args(options)
    return setting(default, f"{', '.join(rest)} or {last}", bool, rare=rare)


def switch(default: bool) -> Any:
    """Return a dataclass field that is on or off."""
    return setting(default, "true or false", lambda value: True)


def at_least(least: float) -> Callable[[Any], bool]:
    """Return the test of a finite number from `least` up."""
    return lambda value: least <= value < float("inf")


def above_zero(value: Any) -> bool:
    """Whether a value is a finite number above 0."""
    return bool(0 < value < float("inf"))


def below_one(value: Any) -> bool:
    """Whether a value is a share that is never the whole."""
    return bool(0 <= value < 1)


def is_fraction(value: Any) -> bool:
    """Whether a value is a chance."""
    return bool(0 <= value <= 1)


def _coerce(value: Any, kind: Any) -> Any:
    """Return `value` as the annotated type, a whole number as a float where a float is asked for; else TypeError."""
    if get_origin(kind) in (Union, types.UnionType):
        return _coerce_any(value, get_args(kind))
    if get_origin(kind) is Literal and isinstance(value, str) and value in get_args(kind):
        return value
    if kind is type(None) and value is None:
        return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str):
        return value
    if get_origin(kind) is tuple and isinstance(value, list | tuple) and len(value) == len(get_args(kind)):
        return tuple(_coerce(item, each) for item, each in zip(value, get_args(kind), strict=True))
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and value == int(value):
        return int(value)
    raise TypeError(f"{value!r} is not {kind}")


def _coerce_any(value: Any, kinds: tuple[Any, ...]) -> Any:
    for kind in kinds:
        try:
            return _coerce(value, kind)
        except TypeError:
            continue
    raise TypeError(f"{value!r} is none of {kinds}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a recipe: checks every field against its type and its allowed values.

    Raises UserError that names the leaf, the value and what is allowed.
    """

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for one in fields(self):
            leaf = f"{type(self).__name__.lower()}.{one.name}"
            given = getattr(self, one.name)
            try:
                value = _coerce(given, kinds[one.name])
            except TypeError:
                value = None
                fits = False
            else:
                fits = value is None or one.metadata["test"](value)
            if not fits:
                raise UserError(
                    f"{leaf} must be {one.metadata['allowed']}, got {given!r}; the default is {one.default!r}"
                )
            object.__setattr__(self, one.name, value)


def read_setting(text: str) -> tuple[str, Any]:
    """Return the leaf and the value of a setting written LEAF=VALUE; UserError when it is not."""
    leaf, equals, value = text.partition("=")
    if not equals or not leaf.strip():
        raise UserError(f"a setting is written LEAF=VALUE, for example optim.lr=1e-3, got {text!r}")
    return leaf.strip(), read_value(value.strip())


def read_value(text: str) -> Any:
    """Return what a text on the command line or in a file means: none, true or false, a number, a list or a word."""
    if text.lower() in ("none", "null", "off"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    inner = text.strip("()[]")
    if "," in inner:
        return [read_value(item.strip()) for item in inner.split(",") if item.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def shown(value: Any) -> str:
    """Return the value of a setting as `read_setting` reads it, short: none, true, 0.9,0.999."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(shown(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
