"""A recipe's batch on data that is too small for it: which one is taken instead, and what to say of it."""

from dataclasses import replace

from convnext.recipe import Recipe
from convnext.train.usual_lr import lr_to_take


def fitted_batch(batch_size: int, num_pictures: int, *, processes: int, micro_batch: int) -> int:
    """Return a batch that the data can fill: of fewer pictures a quarter, in even micro-batches for each process."""
    if batch_size <= num_pictures:
        return batch_size
    share = num_pictures // 4 // processes
    pair = 2 * max(1, -(-share // micro_batch))
    return max(2, share // pair * pair) * processes


def fitted_recipe(recipe: Recipe, num_pictures: int, *, processes: int, pretrained: bool) -> tuple[Recipe, str | None]:
    """Return the recipe with a batch that the data can fill, and a sentence on what was changed, None for nothing.

    The learning rate stays, for nothing is scaled behind the user's back; the sentence names the one that would fit.
    """
    asked = recipe.data.batch_size
    batch_size = fitted_batch(asked, num_pictures, processes=processes, micro_batch=recipe.engine.micro_batch)
    if batch_size == asked:
        return recipe, None
    said = f"data.batch_size is {batch_size}, not {asked}: there are {num_pictures} pictures to train on"
    lr = lr_to_take(recipe.optim, batch_size, before=asked, pretrained=pretrained)
    if lr is not None:
        said += f"; optim.lr stays {recipe.optim.lr:g}, and usual at this batch is {lr:g}: --set optim.lr={lr:g}"
    return replace(recipe, data=replace(recipe.data, batch_size=batch_size)), said
