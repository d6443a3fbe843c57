"""Recipe: how a network is trained, as one frozen value made of small parts.

A variant is `dataclasses.replace(base, ...)` or `with_overrides(base, ["optim.lr=1e-3"])`; a recipe saved as JSON
beside a run is enough to run it again. A leaf is named part.field, for example `optim.lr`.
"""

import json
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from convnext.errors import UserError, nearest
from convnext.preprocess import Interpolation

PartT = TypeVar("PartT", bound="Part")


def _setting(default: Any, allowed: str, test: Callable[[Any], bool]) -> Any:
    """Return a dataclass field that says in words and in code which values of its type it takes."""
    return field(default=default, metadata={"allowed": allowed, "test": test})


def _at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: least <= value < float("inf")


def _above_zero(value: Any) -> bool:
    return bool(0 < value < float("inf"))


def _fraction(value: Any) -> bool:
    return bool(0 <= value <= 1)


def _coerce(value: Any, kind: Any) -> Any:
    """Return `value` as the annotated type, a whole number as a float where a float is asked for; else TypeError."""
    if get_origin(kind) in (Union, types.UnionType):
        return _coerce_any(value, get_args(kind))
    if get_origin(kind) is Literal and isinstance(value, str) and value in get_args(kind):
        return value
    if kind is type(None) and value is None:
        return None
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
        for setting in fields(self):
            leaf = f"{type(self).__name__.lower()}.{setting.name}"
            given = getattr(self, setting.name)
            try:
                value = _coerce(given, kinds[setting.name])
            except TypeError:
                value = None
                fits = False
            else:
                fits = value is None or setting.metadata["test"](value)
            if not fits:
                raise UserError(
                    f"{leaf} must be {setting.metadata['allowed']}, got {given!r}; the default is {setting.default!r}"
                )
            object.__setattr__(self, setting.name, value)


Weights = Literal["auto", "ema", "raw"]


@dataclass(frozen=True, kw_only=True)
class Data(Part):
    """What a batch is.

    size          side of the training pictures in pixels
    batch_size    pictures a step; pictures left over at the end of an epoch are dropped
    workers       processes that read pictures; 0 reads in the training process
    val_fraction  part held out for validation where the data has no such part of its own
    """

    size: int = _setting(64, "a whole number of pixels of at least 8", _at_least(8))
    batch_size: int = _setting(64, "a whole number of at least 1", _at_least(1))
    workers: int = _setting(2, "a whole number of at least 0", _at_least(0))
    val_fraction: float = _setting(0.2, "above 0 and below 1", lambda value: 0 < value < 1)


@dataclass(frozen=True, kw_only=True)
class Augment(Part):
    """How a training picture is varied; a source may forbid what would make its labels false.

    crop_scale     share of the picture's area that a random crop takes, lowest and highest
    crop_ratio     width over height of the crop, lowest and highest
    flip           chance of a horizontal flip
    interpolation  how pictures are resized, in training and in evaluation
    """

    crop_scale: tuple[float, float] = _setting(
        (0.35, 1.0), "two rising numbers above 0 and at most 1", lambda pair: 0 < pair[0] <= pair[1] <= 1
    )
    crop_ratio: tuple[float, float] = _setting(
        (3 / 4, 4 / 3), "two rising numbers above 0", lambda pair: 0 < pair[0] <= pair[1] < float("inf")
    )
    flip: float = _setting(0.5, "a chance from 0 to 1", _fraction)
    interpolation: Interpolation = field(
        default="bicubic", metadata={"allowed": "nearest, bilinear or bicubic", "test": bool}
    )


@dataclass(frozen=True, kw_only=True)
class Mix(Part):
    """How targets are softened.

    label_smoothing  share of the target spread evenly over all classes
    """

    label_smoothing: float = _setting(0.1, "at least 0 and below 1", lambda value: 0 <= value < 1)


@dataclass(frozen=True, kw_only=True)
class Optim(Part):
    """AdamW.

    lr            highest learning rate, absolute (not scaled by the batch)
    weight_decay  of matrices and kernels; biases, norms and LayerScale are not decayed
    betas, eps    of AdamW
    """

    lr: float = _setting(2e-3, "a number above 0", _above_zero)
    weight_decay: float = _setting(0.05, "a number of at least 0", _at_least(0))
    betas: tuple[float, float] = _setting(
        (0.9, 0.999), "two numbers of at least 0 and below 1", lambda pair: all(0 <= beta < 1 for beta in pair)
    )
    eps: float = _setting(1e-8, "a number above 0", _above_zero)


@dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """How long, and how the learning rate moves: linear from 0 to `optim.lr`, then a cosine, both per step.

    epochs         passes over the training pictures
    warmup_epochs  length of the linear part, in epochs; may be a fraction
    min_lr         where the cosine ends
    """

    epochs: int = _setting(20, "a whole number of at least 1", _at_least(1))
    warmup_epochs: float = _setting(2.0, "a number of at least 0", _at_least(0))
    min_lr: float = _setting(1e-6, "a number of at least 0", _at_least(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs > self.epochs:
            raise UserError(
                f"schedule.warmup_epochs must be at most schedule.epochs ({self.epochs}), got "
                f"{self.warmup_epochs:g}; a tenth of the epochs is a good start"
            )


@dataclass(frozen=True, kw_only=True)
class Regularise(Part):
    """What the network is built with.

    drop_path    stochastic depth of the last block, growing linearly from 0 over all blocks
    layer_scale  start of LayerScale in fresh weights; None keeps the model's own
    head_scale   factor on the start of a fresh head; the paper fine-tunes with 0.001
    """

    drop_path: float = _setting(0.05, "at least 0 and below 1", lambda value: 0 <= value < 1)
    layer_scale: float | None = _setting(
        None, "above 0 and at most 10, or none for the model's own", lambda value: 0 < value <= 10
    )
    head_scale: float = _setting(1.0, "a number above 0", _above_zero)


@dataclass(frozen=True, kw_only=True)
class Ema(Part):
    """The running average of the weights, moved after every step.

    decay  share of the old average that is kept: a number; "auto", so that the average reaches over a tenth of the
           run's steps (a fixed 0.9999 in 300 steps would still be the initial weights); None for no average
    """

    decay: float | Literal["auto"] | None = _setting(
        "auto",
        'at least 0 and below 1, "auto" or none for off',
        lambda value: value == "auto" or 0 <= value < 1,
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Part):
    """How validation pictures are shown to the network, and which weights choose the best epoch.

    crop     share of the side that the centre crop keeps; None follows the paper: 0.875 below 384 pixels, from there
             on the whole picture squashed to a square
    weights  "ema", "raw", or "auto": the average where there is one
    """

    crop: float | None = _setting(
        None, "above 0 and at most 1, or none for the paper's rule", lambda value: 0 < value <= 1
    )
    weights: Weights = field(default="auto", metadata={"allowed": "auto, ema or raw", "test": bool})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything about a training run except the model and the data.

    Raises UserError where two parts contradict each other.
    """

    name: str
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    mix: Mix = field(default_factory=Mix)
    optim: Optim = field(default_factory=Optim)
    schedule: Schedule = field(default_factory=Schedule)
    regularise: Regularise = field(default_factory=Regularise)
    ema: Ema = field(default_factory=Ema)
    evaluate: Evaluate = field(default_factory=Evaluate)

    def __post_init__(self) -> None:
        if self.schedule.min_lr > self.optim.lr:
            raise UserError(
                f"schedule.min_lr must be at most optim.lr ({self.optim.lr:g}), got {self.schedule.min_lr:g}"
            )
        if self.evaluate.weights == "ema" and self.ema.decay is None:
            raise UserError(
                'evaluate.weights is "ema" but ema.decay is none, so that there is no average; '
                "set ema.decay=auto or evaluate.weights=raw"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, nested as the parts are."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """Build a recipe from `to_dict` values; a leaf that is missing takes its default, an unknown one is refused."""
        parts = _part_types()
        built: dict[str, Any] = {"name": str(values.get("name", "unnamed"))}
        for key, part in values.items():
            if key == "name":
                continue
            if key not in parts:
                raise UserError(f"a recipe has no part {key}{nearest(key, ['name', *parts])}")
            if not isinstance(part, Mapping):
                raise UserError(f"{key} must be a table of settings, got {part!r}")
            _require_known([f"{key}.{leaf}" for leaf in part])
            built[key] = parts[key](**part)
        return cls(**built)


RECIPES: dict[str, Recipe] = {"default": Recipe(name="default")}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name; UserError offers near names."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name}{nearest(name, RECIPES)}")
    return RECIPES[name]


def leaves(recipe: Recipe) -> dict[str, Any]:
    """Return every setting by its leaf name, part.field, in the order of the parts."""
    return {
        f"{part}.{setting.name}": getattr(getattr(recipe, part), setting.name)
        for part, kind in _part_types().items()
        for setting in fields(kind)
    }


def diff(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the leaves in which two recipes differ, each with both values."""
    values = leaves(other)
    return {leaf: (value, values[leaf]) for leaf, value in leaves(one).items() if value != values[leaf]}


def with_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return the recipe with settings written LEAF=VALUE replaced, all at once.

    Numbers are written as in Python, pairs as 0.9,0.999, and "none" is no value. UserError for an unknown leaf (near
    ones are offered) or a value that the leaf does not take.
    """
    changes: dict[str, dict[str, Any]] = {}
    for override in overrides:
        leaf, value = read_setting(override)
        _require_known([leaf])
        part, _, name = leaf.partition(".")
        changes.setdefault(part, {})[name] = value
    parts = {part: replace(getattr(recipe, part), **values) for part, values in changes.items()}
    return replace(recipe, **parts)


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe for another number of epochs, the warm-up shortened or stretched in proportion."""
    share = recipe.schedule.warmup_epochs / recipe.schedule.epochs
    return replace(recipe, schedule=replace(recipe.schedule, epochs=epochs, warmup_epochs=share * epochs))


def _part_types() -> dict[str, type[Part]]:
    hints = get_type_hints(Recipe)
    return {setting.name: hints[setting.name] for setting in fields(Recipe) if setting.name != "name"}


def _require_known(names: Iterable[str]) -> None:
    known = [f"{part}.{setting.name}" for part, kind in _part_types().items() for setting in fields(kind)]
    for name in names:
        if name not in known:
            raise UserError(f"a recipe has no setting {name}{nearest(name, known)}")


def read_setting(text: str) -> tuple[str, Any]:
    """Return the leaf and the value of a setting written LEAF=VALUE; UserError when it is not."""
    leaf, equals, value = text.partition("=")
    if not equals or not leaf.strip():
        raise UserError(f"a setting is written LEAF=VALUE, for example optim.lr=1e-3, got {text!r}")
    return leaf.strip(), _read(value.strip())


def _read(text: str) -> Any:
    """Return what a text on the command line means: none, true or false, a number, a list or a word."""
    if text.lower() in ("none", "null", "off"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    inner = text.strip("()[]")
    if "," in inner:
        return [_read(item.strip()) for item in inner.split(",") if item.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
