"""Recipes in files: YAML or JSON, whole or as changes to a named one, and the recipe.json of a run."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convnext.dense_parts import PARTS_OF_TASKS, not_for
from convnext.errors import UserError, nearest
from convnext.recipe import Recipe
from convnext.recipes import NAMED, recipe_for
from convnext.setting import read_value

ENDINGS = (".yaml", ".yml", ".json")
RUN_RECIPE = "recipe.json"


@dataclass(frozen=True, kw_only=True)
class FoundRecipe:
    """A recipe, the named one that it is built on, and the file that it was read from (None for a named recipe)."""

    recipe: Recipe
    base: str
    path: Path | None


def open_recipe(text: str, model: str | None, *, pretrained: bool = False) -> Recipe:
    """Return the recipe that a name, a file or a run folder stands for, with the values for a model.

    model       decides what a named recipe leaves to it; None takes the model that the recipe is shown for
    pretrained  whether training goes on from given weights: `small-data` is then `small-data-finetune`

    UserError for an unknown name, or a file that is no recipe, with its name and the leaf.
    """
    return find_recipe(text, model, pretrained=pretrained).recipe


def find_recipe(text: str, model: str | None, *, pretrained: bool = False) -> FoundRecipe:
    """Return what `open_recipe` does, with the named recipe and the file behind it."""
    path = Path(text)
    if text not in NAMED and (path.suffix.lower() in ENDINGS or path.is_dir()):
        return read_recipe_file(path, model, pretrained=pretrained)
    recipe = recipe_for(text, model, pretrained=pretrained)
    return FoundRecipe(recipe=recipe, base=recipe.name, path=None)


def read_recipe_file(path: Path, model: str | None = None, *, pretrained: bool = False) -> FoundRecipe:
    """Read a recipe from YAML or JSON: leaves nested as the parts are, and `base`, a named recipe that they change.

    Without a base, a leaf that is missing takes its default. A text is read as on the command line, so that 1e-3 is a
    number (YAML 1.1 takes it for a text) and none is no value. A folder is a run, whose recipe.json is read.
    """
    path = path / RUN_RECIPE if path.is_dir() else path
    values = _table(path)
    base = values.pop("base", None)
    if base is not None and (not isinstance(base, str) or base not in NAMED):
        raise UserError(f"{path}: base must be a named recipe, got {base!r}{nearest(str(base), NAMED)}")
    start = None if base is None else recipe_for(base, model, pretrained=pretrained)
    for part in PARTS_OF_TASKS:
        if start is not None and getattr(start, part) is None and values.get(part) is not None:
            raise UserError(f"{path}: {not_for(part, start.name)}")
    name = values.pop("name", path.stem if start is None else start.name)
    try:
        recipe = Recipe.from_dict({"name": name, **_merged({} if start is None else start.to_dict(), values)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if start is not None:
        return FoundRecipe(recipe=recipe, base=start.name, path=path)
    return FoundRecipe(recipe=recipe, base=recipe.name if recipe.name in NAMED else "default", path=path)


def _merged(start: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    parts = {part: leaves for part, leaves in start.items() if part != "name"}
    for part, leaves in values.items():
        if isinstance(leaves, Mapping):
            parts[part] = {**parts.get(part, {}), **{str(leaf): _value(value) for leaf, value in leaves.items()}}
        elif leaves is not None:
            parts[part] = leaves
    return parts


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in value]
    return read_value(value) if isinstance(value, str) else value


def _table(path: Path) -> dict[str, Any]:
    """Return the file's table; UserError in one sentence when it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as a recipe ({_reason(error)}); name a recipe (convnext recipe list), "
            "a .yaml or .json file, or a run folder"
        ) from error
    values = _parsed(text, path)
    if not isinstance(values, dict):
        raise UserError(
            f"{path} holds no recipe; it is written as parts and leaves, for example base: imagenet-1k, "
            "then optim: and below it, indented, lr: 1e-3"
        )
    return {str(key): value for key, value in values.items()}


def _parsed(text: str, path: Path) -> Any:
    if path.suffix.lower() == ".json":
        try:
            return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error})") from error
    import yaml

    try:
        _require_once(yaml.compose(text, Loader=yaml.SafeLoader), path)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path} is not YAML ({reason}{where})") from error


def _once(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """Return a table of JSON; UserError for a key that is there twice."""
    counts = Counter(key for key, _ in pairs)
    for key, count in counts.items():
        if count > 1:
            raise UserError(f"{path} has {key} twice in one table; leave one of them out")
    return dict(pairs)


def _require_once(root: Any, path: Path) -> None:
    """Raise UserError for a part that stands twice in a YAML file, or a leaf twice in a part: the last would win."""
    parts = _pairs(root)
    for start, pairs in (("", parts), *((f"{part.value}.", _pairs(leaves)) for part, leaves in parts)):
        lines: dict[Any, int] = {}
        for key, _ in pairs:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise UserError(
                    f"{path} has {start}{key.value} twice, in line {lines[key.value]} and in line {line}; "
                    "leave one of them out"
                )
            lines[key.value] = line


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    """Return the keys and values of a table of YAML, those with a plain word for a key; none of anything else."""
    from yaml import MappingNode, ScalarNode

    if not isinstance(node, MappingNode):
        return []
    return [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not a text in UTF-8"
