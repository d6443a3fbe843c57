"""Commands that show and compare recipes."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import Json
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.paper_recipes import Settings
    from convnext.recipe import Recipe
    from convnext.recipe_files import FoundRecipe
    from convnext.train.optim import ParameterGroup

RECIPE_HELP = "A named recipe (convnext recipe list), a .yaml or .json file, or a run folder."
Model = Annotated[
    str | None, typer.Option(help="Show the values for this model of `convnext models`, or a row REGIME:STEP.")
]


def list_recipes(json: Json = False) -> None:
    """List the named recipes."""
    from convnext.recipes import NAMED

    rows = [
        {"name": name, "task": entry.task, "model": entry.model, "title": entry.title} for name, entry in NAMED.items()
    ]
    if json:
        print_json(rows)
        return
    columns = ["recipe", "task", "for"]
    print_table(columns, [[row["name"], row["task"], row["title"]] for row in rows], left=columns)


def show(
    recipe: Annotated[str, typer.Argument(metavar="NAME|FILE", help=RECIPE_HELP)],
    model: Model = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="LEAF=VALUE", help="optim.lr=1e-3, ...; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Show every value of a recipe, its source and what differs from the paper, and the parameter groups."""
    from convnext.recipe import with_overrides
    from convnext.recipe_files import find_recipe
    from convnext.recipes import named, traced

    found = find_recipe(recipe, model)
    plan = with_overrides(found.recipe, set_ or [])
    settings = traced(_settings_of(found, model), plan, "--set")
    name = model or named(found.base).model
    groups = _groups(plan, name, named(found.base).num_classes)
    if json:
        sources = {leaf: {"source": one.source, "differs": one.differs} for leaf, one in settings.items()}
        print_json(
            {**plan.to_dict(), "base": found.base, "model": name, "sources": sources, "parameter_groups": groups}
        )
        return
    print(f"{_title(found)}, for {name}\n")
    _print_settings(settings, _by_rule(plan, name))
    print()
    _print_groups(groups)
    if plan.task != "classify":
        note("The heads, which are not counted here, learn at the full rate.")
    fine_tuning = named(found.base).fine_tuning
    if fine_tuning is not None and found.path is None:
        note(f"With --weights, `convnext train` takes {fine_tuning} in its place.")


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help=RECIPE_HELP)],
    other: Annotated[str, typer.Argument(metavar="B", help=RECIPE_HELP)],
    model: Model = None,
    json: Json = False,
) -> None:
    """Show only the settings in which two recipes differ, side by side."""
    from convnext.recipe import diff as differences
    from convnext.recipe_files import find_recipe
    from convnext.recipes import named
    from convnext.setting import shown

    first = find_recipe(one, model)
    # Both for the same model: what differs is then the recipes' own.
    name = model or named(first.base).model
    found = differences(find_recipe(one, name).recipe, find_recipe(other, name).recipe)
    if json:
        rows = {leaf: {"a": left, "b": right} for leaf, (left, right) in found.items()}
        print_json({"a": one, "b": other, "model": name, "differences": rows})
        return
    if not found:
        note(f"{one} and {other} do not differ for {name}.")
        return
    print_table(
        ["setting", one, other],
        [[leaf, shown(left), shown(right)] for leaf, (left, right) in found.items()],
        left=["setting", one, other],
    )
    note(f"Values for {name}.")


def _settings_of(found: "FoundRecipe", model: str | None) -> "Settings":
    from convnext.recipes import sources_of, traced

    settings = sources_of(found.base, model)
    return settings if found.path is None else traced(settings, found.recipe, found.path.name)


def _title(found: "FoundRecipe") -> str:
    from convnext.recipes import named

    if found.path is None:
        return f"{found.base}: {named(found.base).title}"
    return f"{found.path}: built on {found.base}"


def _groups(recipe: "Recipe", model: str, num_classes: int) -> list[dict[str, Any]]:
    """Return the parameter groups of a model, built without memory, as rows.

    Of a detector and a segmenter they are those of its backbone; its heads are not counted.
    """
    import torch

    from convnext.backbone import Backbone
    from convnext.models import any_spec, create_model
    from convnext.network import Network
    from convnext.spec import NetSpec
    from convnext.train.optim import parameter_groups

    if recipe.task != "classify" and not isinstance(any_spec(model), NetSpec):
        raise UserError(f"the recipe {recipe.name} needs a network of this package (convnext models), got {model}")
    start = recipe.regularise.layer_scale
    with torch.device("meta"):
        network: torch.nn.Module = create_model(
            model, num_classes=num_classes, layer_scale=... if start is None else start
        )
        if recipe.task != "classify" and isinstance(network, Network):
            with_layers = network.spec.norm == "layer"
            network = Backbone(network, norm_outputs=with_layers)

    def row(group: "ParameterGroup") -> dict[str, Any]:
        return {
            "group": group.name,
            "tensors": len(group.parameters),
            "parameters": sum(network.get_parameter(name).numel() for name in group.parameters),
            "lr": recipe.optim.lr * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": group.weight_decay,
        }

    return [row(group) for group in parameter_groups(network, recipe.optim)]


def _by_rule(recipe: "Recipe", model: str) -> dict[str, str]:
    """Return what stands behind the settings that leave a value to a rule or to the model."""
    from convnext.models import any_spec
    from convnext.preprocess import Preprocess
    from convnext.spec import NetSpec

    found: dict[str, str] = {}
    if recipe.evaluate.crop is None and recipe.task == "classify":
        rule = Preprocess.for_size(recipe.data.size)
        found["evaluate.crop"] = f"{rule.crop:g}, by the size" if rule.resize == "short_side" else "squash, by the size"
    if recipe.regularise.layer_scale is None:
        spec = any_spec(model)
        start = spec.layer_scale if isinstance(spec, NetSpec) else None
        found["regularise.layer_scale"] = f"{'none' if start is None else f'{start:g}'}, the model's"
    return found


def _print_settings(settings: "Settings", by_rule: dict[str, str]) -> None:
    from convnext.setting import shown

    columns = ["setting", "value", "source", "differs from the paper"]
    rows = [
        [leaf, by_rule.get(leaf, shown(one.value)), one.source, one.differs or ""] for leaf, one in settings.items()
    ]
    print_table(columns, rows, left=columns)


def _print_groups(groups: list[dict[str, Any]]) -> None:
    print_table(
        ["parameter group", "tensors", "parameters", "lr", "lr scale", "weight decay"],
        [
            [
                row["group"],
                str(row["tensors"]),
                f"{row['parameters']:,}",
                f"{row['lr']:.3g}",
                f"{row['lr_scale']:.3f}",
                f"{row['weight_decay']:g}",
            ]
            for row in groups
        ],
        left=["parameter group"],
    )
