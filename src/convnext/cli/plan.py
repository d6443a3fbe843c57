"""From the options of a command to the plan of a run: which recipe, which network, which weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convnext.cli.console import note
from convnext.errors import UserError

if TYPE_CHECKING:
    from convnext.classifier import Classifier
    from convnext.peer_spec import Spec
    from convnext.plan import RunPlan
    from convnext.preprocess import Preprocess
    from convnext.recipe import Recipe
    from convnext.weights import Loaded
    from convnext.weights.statedict import WeightsChoice

MODEL = "convnext_atto"


def make_plan(
    data: str,
    *,
    model: str | None,
    recipe: str | None,
    weights: str | None,
    epochs: int | None,
    size: int | None,
    settings: Sequence[str],
    seed: int,
    device: str,
    track: Sequence[str] = (),
    task: str | None = None,
    head: str | None = None,
    quiet: bool = False,
) -> "RunPlan":
    """Return the plan that the options of `convnext train` and `convnext doctor` ask for.

    task   classify, detect or segment; None is the recipe's
    head   which detector or segmenter
    quiet  say nothing of the weights that were read
    """
    from convnext.cli.dense_plan import make_dense_plan, task_of
    from convnext.plan import RunPlan
    from convnext.recipes import usual_recipe

    rest, head_settings = sorted_settings(settings, "head")
    recipe_settings, model_settings = sorted_settings(rest)
    kind = task_of(task, recipe)
    if kind == "classify" and (head is not None or head_settings):
        raise UserError(f"heads are for --task detect and segment, got {head or next(iter(head_settings))}")
    usual = recipe or usual_recipe(kind, weights is not None)
    changed = _name(model or MODEL, model_settings) if weights is None and model_settings else None

    def recipe_of(name: str | None) -> "Recipe":
        return _recipe(usual, name, epochs, size, recipe_settings, pretrained=weights is not None)

    if kind != "classify":
        return make_dense_plan(
            data,
            kind,
            head=head,
            head_settings=head_settings,
            model=model,
            recipe_of=recipe_of,
            weights=weights,
            network=model_settings,
            seed=seed,
            device=device,
            track=track,
            name=changed,
            lasting_weights=None if weights is None else _lasting(weights),
            quiet=quiet,
        )
    chosen = recipe_of(model or (MODEL if weights is None else _model_in(weights)))
    preprocess: Preprocess | None = None
    network: Spec | Classifier | str
    if weights is None:
        network = fresh_model(model or MODEL, model_settings)
    else:
        network, preprocess = _loaded(data, model, weights, model_settings, chosen, seed, quiet=quiet)
    return RunPlan(
        data=data,
        model=network,
        recipe=chosen,
        seed=seed,
        preprocess=preprocess,
        device=device,
        track=tuple(track),
        weights=None if weights is None else _lasting(weights),
        name=changed,
    )


def _name(model: str, settings: dict[str, Any]) -> str:
    """Return what to call a registered network in which something is changed."""
    from convnext.setting import shown

    return f"{model} ({'; '.join(f'{name}={shown(value)}' for name, value in settings.items())})"


def _lasting(weights: str) -> str:
    """Return the name of weights so that it means the same from any working directory."""
    path = Path(weights).expanduser()
    return str(path.resolve()) if path.exists() else weights


def sorted_settings(settings: Sequence[str], of: str = "model") -> tuple[list[str], dict[str, Any]]:
    """Return the settings of the recipe as they are, and those of the model (or the head) by name."""
    from convnext.setting import read_setting

    chosen: dict[str, Any] = {}
    others: list[str] = []
    for text in settings:
        leaf, value = read_setting(text)
        if leaf.startswith(f"{of}."):
            chosen[leaf.removeprefix(f"{of}.")] = value
        else:
            others.append(text)
    return others, chosen


def _recipe(
    name: str | None, model: str | None, epochs: int | None, size: int | None, settings: list[str], *, pretrained: bool
) -> "Recipe":
    from convnext.recipe import with_epochs, with_overrides, with_size
    from convnext.recipe_files import open_recipe

    chosen = open_recipe(name or "default", model, pretrained=pretrained)
    chosen = chosen if epochs is None else with_epochs(chosen, epochs)
    chosen = chosen if size is None else with_size(chosen, size)
    return with_overrides(chosen, settings)


def _model_in(weights: str) -> str | None:
    """Return the registered name of the network that some weights belong to."""
    from convnext.models import model_name
    from convnext.weights import read_model

    # With some number of classes, because a file without a head does not tell.
    return model_name(read_model(weights, num_classes=2).network.spec)


def fresh_model(model: str, settings: dict[str, Any]) -> "Spec | str":
    """Return the name or the spec of a network to train from scratch."""
    from convnext.models import any_spec, with_model_settings
    from convnext.peer_spec import PeerSpec, with_options

    if not settings:
        return model
    spec = any_spec(model)
    return with_options(spec, settings) if isinstance(spec, PeerSpec) else with_model_settings(spec, settings)


def _loaded(
    data: str,
    model: str | None,
    weights: str,
    settings: dict[str, Any],
    recipe: "Recipe",
    seed: int,
    *,
    quiet: bool,
) -> "tuple[Classifier, Preprocess]":
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
    say = (lambda text: None) if quiet else note
    classes = open_source(data, val_fraction=recipe.data.val_fraction, note=say).classes

    def read(choice: "WeightsChoice") -> "Loaded":
        # A replaced head is drawn here, so the seed decides it too.
        torch.manual_seed(seed)
        return read_model(
            weights,
            weights=choice,
            classes=classes,
            stem_stride=settings.get("stem_stride"),
            head_scale=recipe.regularise.head_scale,
        )

    try:
        loaded = read(recipe.regularise.start)
    except UserError:
        # The recipe chooses only where a file holds two sets; whatever else is wrong with it is said again.
        loaded = read("auto")
    found = model_name(loaded.network.spec)
    if model is not None and found != model:
        raise UserError(
            f"{weights} holds {found or 'a network without a registered name'}, not {model}; "
            "leave out --model, or name other weights"
        )
    if not quiet:
        note(loaded.line)
    return loaded.network, loaded.preprocess
