"""From the options of a command to the plan of a detection or segmentation: which recipe, network, weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from convnext.cli.console import note
from convnext.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from convnext.plan import RunPlan
    from convnext.preprocess import Preprocess
    from convnext.recipe import Recipe
    from convnext.recipe import Task as TaskName
    from convnext.weights.statedict import WeightsChoice

DenseTask = Literal["detect", "segment"]
# No network of its own is named: the smallest one.
MODEL = "convnext_atto"


def task_of(task: str | None, recipe: str | None) -> "TaskName":
    """Return the task that was asked for, or that of the named recipe; UserError where they are two."""
    from convnext.recipe_files import open_recipe

    if task is None and recipe is None:
        return "classify"
    found: TaskName = "classify" if recipe is None else open_recipe(recipe, None).task
    if recipe is not None and task is not None and task != found:
        raise UserError(f"the recipe {recipe} is for {found}, not {task}; leave out --task, or take another recipe")
    return found if task is None else task  # type: ignore[return-value]


def make_dense_plan(
    data: str,
    task: DenseTask,
    *,
    head: str | None,
    head_settings: "Mapping[str, Any]",
    model: str | None,
    recipe_of: "Callable[[str | None], Recipe]",
    weights: str | None,
    network: "Mapping[str, Any]",
    seed: int,
    device: str,
    track: Sequence[str],
    name: str | None,
    lasting_weights: str | None,
    quiet: bool,
) -> "RunPlan":
    """Return the plan of a detection or segmentation.

    recipe_of  the recipe with the values for a registered network
    network    settings of the network by name, `--set model.NAME`
    name       what reports call a network in which something was changed
    """
    from convnext.cli.plan import fresh_model
    from convnext.plan import RunPlan

    preprocess: Preprocess | None = None
    if weights is None:
        start: Any = fresh_model(model or MODEL, dict(network))
        recipe = recipe_of(model or MODEL)
    else:
        # Which of two sets of weights is taken hangs on the recipe, but not on the network.
        start, preprocess, found = _loaded(task, model, weights, dict(network), recipe_of(model or MODEL), quiet=quiet)
        recipe, name = recipe_of(found), found
    return RunPlan(
        data=data,
        model=start,
        recipe=recipe,
        task=task,
        head=head,
        head_settings=head_settings,
        seed=seed,
        preprocess=preprocess,
        device=device,
        track=tuple(track),
        weights=lasting_weights,
        name=name,
    )


def _loaded(
    task: DenseTask, model: str | None, weights: str, network: dict[str, Any], recipe: "Recipe", *, quiet: bool
) -> "tuple[nn.Module, Preprocess, str | None]":
    """Return a whole detector or segmenter, or a network for its stages; its normalisation and registered name."""
    from convnext.models import model_name
    from convnext.spec import NetSpec
    from convnext.weights import read_model

    other = sorted(set(network) - {"stem_stride"})
    if other:
        raise UserError(
            f"model.{other[0]} cannot be set with --weights, which decide the network; only model.stem_stride may be"
        )
    whole, dense_error = _whole(task, weights, recipe)
    if whole is not None:
        if network:
            raise UserError("model.stem_stride cannot be set of weights that hold the whole model; leave it out")
        built, preprocess, line, spec = whole
    else:
        try:
            loaded = _either(
                # With some number of classes, because a file without a head does not tell; the head is dropped.
                lambda choice: read_model(
                    weights, weights=choice, num_classes=2, stem_stride=network.get("stem_stride")
                ),
                recipe,
            )
        except UserError as error:
            raise UserError(f"{error} (and as weights of --task {task}: {dense_error})") from None
        built, preprocess, line = loaded.network, loaded.preprocess, f"{loaded.line}; its stages are taken"
        if not isinstance(loaded.network.spec, NetSpec):
            raise UserError(
                f"{weights} holds {loaded.network.spec.title}, and --task {task} stands on our own networks"
            )
        spec = loaded.network.spec
    found = model_name(spec)
    if model is not None and found != model:
        raise UserError(
            f"{weights} holds {found or 'a network without a registered name'}, not {model}; leave out --model, or "
            "name other weights"
        )
    if not quiet:
        note(line)
    return built, preprocess, found


def _either(read: "Callable[[WeightsChoice], Any]", recipe: "Recipe") -> Any:
    """Read the weights that the recipe starts from, or those that there are."""
    try:
        return read(recipe.regularise.start)
    except UserError:
        # The recipe chooses only where a file holds two sets; whatever else is wrong with it is said again.
        return read("auto")


def _whole(task: DenseTask, weights: str, recipe: "Recipe") -> "tuple[Any, str | None]":
    """Return (network, preprocessing, line, spec of its stages) of a detector's or segmenter's file, or why not."""
    from convnext.preprocess import Preprocess

    built: Any
    loaded: Any
    try:
        if task == "detect":
            from convnext.detection.checkpoint import load_detector

            loaded = _either(lambda choice: load_detector(weights, weights=choice), recipe)
            built = loaded.detector
        else:
            from convnext.segmentation.checkpoint import load_segmenter

            loaded = _either(lambda choice: load_segmenter(weights, weights=choice), recipe)
            built = loaded.segmenter
    except UserError as error:
        return None, str(error)
    rule = replace(Preprocess.for_size(recipe.data.size), mean=loaded.mean, std=loaded.std)
    return (built, rule, loaded.line, built.spec.backbone), None
