"""The command that trains."""

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convnext.cli.console import note, print_json, print_table
from convnext.cli.options import DATA_HELP, SOURCE_HELP, Json, reporter
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.network import Network
    from convnext.preprocess import Preprocess
    from convnext.recipe import Recipe
    from convnext.run import RunResult
    from convnext.seeds import SeedsResult
    from convnext.spec import NetSpec


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA_HELP)] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of `convnext models`, or REGIME:STEP. [default: convnext_atto]")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A named recipe, or a recipe.json of a run.")] = None,
    weights: Annotated[str | None, typer.Option(help=f"Start from these weights. {SOURCE_HELP}")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the pictures; warm-up keeps its share.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side of the pictures, in pixels.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="LEAF=VALUE", help="optim.lr=1e-3, model.stem_stride=2, ...; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of weights, order and augmentation. [default: 0]")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Train with that many seeds; print mean and spread.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run directory. [default: runs/TIME-MODEL]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a stopped run.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    json: Json = False,
) -> None:
    """Train a network on pictures, from scratch or from given weights, or go on with a run."""
    from convnext.run import train_run
    from convnext.seeds import resume as go_on
    from convnext.seeds import train_seeds

    if resume is not None:
        settings: dict[str, Any] = {"DATA": data, "--model": model, "--recipe": recipe, "--weights": weights}
        settings |= {"--epochs": epochs, "--size": size, "--set": set_, "--seed": seed, "--seeds": seeds, "--out": out}
        given = [name for name, value in settings.items() if value not in (None, [])]
        if given:
            raise UserError(f"--resume goes on with a run as it was started, so leave out {', '.join(given)}")
        _show_result(go_on(resume, device=device, reporter=reporter()), json)
        return
    if data is None:
        raise UserError(f"DATA is missing: {DATA_HELP[0].lower()}{DATA_HELP[1:]}")
    plan, model_settings = _plan(recipe, epochs, size, set_ or [])
    first = seed or 0
    start: tuple[NetSpec | Network | str, Preprocess | None]
    if weights is None:
        start = _fresh(model, model_settings), None
    else:
        start = _loaded(data, model, weights, model_settings, plan, first)
    network, preprocess = start
    shared: dict[str, Any] = {"out": out, "preprocess": preprocess, "device": device or "auto", "reporter": reporter()}
    if seeds is not None:
        result: RunResult | SeedsResult = train_seeds(data, network, plan, seeds=range(first, first + seeds), **shared)
    else:
        result = train_run(data, network, plan, seed=first, **shared)
    _show_result(result, json)


def _plan(
    name: str | None, epochs: int | None, size: int | None, settings: list[str]
) -> "tuple[Recipe, dict[str, Any]]":
    """Return the recipe that was asked for, and the settings of the model among --set."""
    from convnext.recipe import Recipe, with_epochs, with_overrides
    from convnext.recipes import recipe_named
    from convnext.setting import read_setting

    model_settings: dict[str, Any] = {}
    recipe_settings: list[str] = []
    for text in settings:
        leaf, value = read_setting(text)
        if leaf.startswith("model."):
            model_settings[leaf.removeprefix("model.")] = value
        else:
            recipe_settings.append(text)
    if name is not None and Path(name).suffix == ".json":
        plan = Recipe.from_dict(_read_json(Path(name)))
    else:
        plan = recipe_named(name or "default")
    plan = plan if epochs is None else with_epochs(plan, epochs)
    sizes = [] if size is None else [f"data.size={size}"]
    return with_overrides(plan, [*sizes, *recipe_settings]), model_settings


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json_module.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a recipe ({error}); name a recipe.json of a run") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no recipe; name a recipe.json of a run")
    return value


def _fresh(model: str | None, settings: dict[str, Any]) -> "NetSpec | str":
    """Return the name or the spec of a network to train from scratch."""
    from convnext.models import model_spec, with_model_settings

    name = model or "convnext_atto"
    return with_model_settings(model_spec(name), settings) if settings else name


def _loaded(
    data: str, model: str | None, weights: str, settings: dict[str, Any], plan: "Recipe", seed: int
) -> "tuple[Network, Preprocess]":
    """Return a network with given weights and a head for the data's classes, and its preprocessing."""
    import torch

    from convnext.data.sources import open_source
    from convnext.models import model_name
    from convnext.weights import read_model

    other = sorted(set(settings) - {"stem_stride"})
    if other:
        raise UserError(
            f"model.{other[0]} cannot be set with --weights, which decide the network; only model.stem_stride may be, "
            "for small pictures"
        )
    classes = open_source(data, val_fraction=plan.data.val_fraction).classes
    # A replaced head is drawn here, so the seed decides it too.
    torch.manual_seed(seed)
    loaded = read_model(
        weights,
        num_classes=len(classes),
        stem_stride=settings.get("stem_stride"),
        head_scale=plan.regularise.head_scale,
    )
    found = model_name(loaded.network.spec)
    if model is not None and found != model:
        raise UserError(
            f"{weights} holds {found or 'a network without a registered name'}, not {model}; "
            "leave out --model, or name other weights"
        )
    note(loaded.line)
    if loaded.labels is not None and loaded.labels != classes:
        loaded.network.reset_head(len(classes), head_scale=plan.regularise.head_scale)
        note("head replaced: the checkpoint tells as many classes apart, but others than the data has")
    return loaded.network, loaded.preprocess


def _show_result(result: "RunResult | SeedsResult", json: bool) -> None:
    """Print a run's summary, or that of several seeds; leave with code 130 when the run was stopped."""
    from convnext.run import RunResult
    from convnext.seeds import spread_text

    if not result.finished:
        note(result.message)
        raise typer.Exit(130)
    assert result.summary is not None
    if json:
        print_json({"folder": str(result.folder), **result.summary})
        return
    print_table(
        ["seed", "best top-1 %", "of epoch", "weights", "last top-1 %", "images/s", "run"],
        [_row(run) for run in ((result,) if isinstance(result, RunResult) else result.runs)],
        left=["run"],
    )
    if not isinstance(result, RunResult):
        spreads = (result.summary[name] for name in ("best", "last"))
        best, last = (spread_text(spread) for spread in spreads)
        print(f"\ntop-1 of {len(result.runs)} seeds, mean ± sample std: best epoch {best}, last epoch {last}")


def _row(run: "RunResult") -> list[str]:
    assert run.summary is not None
    best, last = run.summary["best"], run.summary["last"]
    return [
        str(run.summary["seed"]),
        f"{best['top1']:.2f}",
        str(best["epoch"]),
        best["weights"],
        f"{last[best['weights']]['top1']:.2f}",
        f"{run.summary['images_per_second']:,.0f}",
        str(run.folder),
    ]
