"""Which two recipes a sweep trains by: one for the rows 2 to 17 of Figure 2, and the ResNet's own for the first."""

from collections.abc import Sequence
from dataclasses import replace

from convnext.errors import UserError
from convnext.recipe import Recipe, with_epochs, with_overrides
from convnext.recipe_files import open_recipe
from convnext.roadmap import Regime
from convnext.setting import read_setting

# Below this, batches of 4096 make too few steps, and what makes pictures harder costs more than it gives.
MANY_PICTURES = 100_000
# Settings of these are for both rows, for they are no matter of how a network is trained.
_SHARED_PARTS = ("data", "evaluate", "engine")
_COMMON_LEAVES = ("data.size", "schedule.epochs")


def sweep_recipes(
    regime: Regime,
    pictures: int,
    *,
    modern: str | None = None,
    classic: str | None = None,
    epochs: int | None = None,
    size: int | None = None,
    settings: Sequence[str] = (),
    classic_settings: Sequence[str] = (),
) -> tuple[Recipe, Recipe]:
    """Return the modern and the classic recipe of a sweep, of the same length and picture size.

    pictures          to train on; they choose roadmap and classic-90, or below 100,000 roadmap-small and classic-small
    modern, classic   a recipe's name, file or run instead
    settings          LEAF=VALUE for the modern recipe; those of data, evaluate and engine are for both
    classic_settings  LEAF=VALUE for the classic recipe, of other leaves than size and epochs

    Workers, crop in scoring, precision and compiling are the modern recipe's in both; batch, micro-batch and the
    interpolation of pictures are each recipe's own. UserError for whatever is wrong with a recipe or a setting.
    """
    many = pictures >= MANY_PICTURES
    model = f"{regime.paper}:modern_recipe"
    one = open_recipe(modern or ("roadmap" if many else "roadmap-small"), model)
    one = one if epochs is None else with_epochs(one, epochs)
    sizes = [] if size is None else [f"data.size={size}"]
    one = with_overrides(one, [*sizes, *settings])
    other = open_recipe(classic or ("classic-90" if many else "classic-small"), model)
    other = with_epochs(other, one.schedule.epochs)
    # The batch is a part of the classic recipe, for its learning rate belongs to it, and BatchNorm counts within a
    # micro-batch.
    other = replace(
        other,
        data=replace(one.data, batch_size=other.data.batch_size),
        evaluate=replace(other.evaluate, crop=one.evaluate.crop),
        engine=replace(one.engine, micro_batch=other.engine.micro_batch),
    )
    for text in classic_settings:
        leaf, _ = read_setting(text)
        if leaf in _COMMON_LEAVES:
            raise UserError(f"{leaf} is that of all rows, so --set-classic cannot change it; take --set {text}")
    shared = [text for text in settings if read_setting(text)[0].partition(".")[0] in _SHARED_PARTS]
    return one, with_overrides(other, [*shared, *classic_settings])
