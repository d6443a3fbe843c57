"""The recipes by name."""

from convnext.errors import UserError, nearest
from convnext.recipe import Recipe

RECIPES: dict[str, Recipe] = {"default": Recipe(name="default")}


def recipe_named(name: str) -> Recipe:
    """Return the recipe of that name; UserError offers near names."""
    if name not in RECIPES:
        raise UserError(f"there is no recipe {name}{nearest(name, RECIPES)}")
    return RECIPES[name]
