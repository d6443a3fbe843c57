"""Likely causes of a training that goes wrong, named from what its recipe says, the likeliest first."""

from convnext.recipe import Recipe
from convnext.train.usual_lr import times_usual, usual_lr

# So many times the usual learning rate. Fine-tuning has a wider band, for what is published for it is cautious.
HIGH, FAR_TOO_HIGH, LOW = 10.0, 40.0, 1 / 20
FINE_TUNING_HIGH, FINE_TUNING_FAR_TOO_HIGH, FINE_TUNING_LOW = 25.0, 100.0, 1 / 100
SMALL_PX = 48
FEW_STEPS = 500


def fine_tunes(recipe: Recipe) -> bool:
    """Whether a recipe looks made for going on from given weights."""
    return recipe.optim.layer_decay < 0.9 or recipe.regularise.head_scale < 0.1


def lr_cause(recipe: Recipe, *, pretrained: bool) -> str | None:
    """Return what is wrong with the learning rate, if it is far from what is usual at this batch."""
    times = times_usual(recipe.optim, recipe.data.batch_size, pretrained=pretrained)
    high, low = (FINE_TUNING_HIGH, FINE_TUNING_LOW) if pretrained else (HIGH, LOW)
    usual = usual_lr(recipe.optim, recipe.data.batch_size, pretrained=pretrained)
    at = f"what is usual at a batch of {recipe.data.batch_size:,}; try optim.lr={usual:.1g}"
    if times >= high:
        return f"optim.lr={recipe.optim.lr:g} is {times:.0f} times {at}"
    if times <= low:
        return f"optim.lr={recipe.optim.lr:g} is 1/{1 / times:.0f} of {at}"
    return None


def chance_causes(recipe: Recipe, *, step: int, learns: bool) -> list[str]:
    """Return why a network may say no more than chance.

    step    optimizer steps that were done
    learns  whether the training loss has fallen all the same
    """
    if learns:
        return [
            "the training loss falls, so the held-out labels may not be those of the train part (another order of "
            "classes, shuffled labels): look at a few pictures of each"
        ]
    pretrained = fine_tunes(recipe)
    return [
        cause
        for cause in (
            lr_cause(recipe, pretrained=pretrained),
            _made_for_weights(recipe) if pretrained else None,
            _no_warmup(recipe),
            _small(recipe),
            f"{step:,} steps are few: take more schedule.epochs or a smaller data.batch_size"
            if step < FEW_STEPS
            else None,
            "labels that do not belong to their pictures: look at a few of each class",
        )
        if cause is not None
    ]


def nan_causes(recipe: Recipe, *, step: int, warmup_steps: int, precision: str) -> str:
    """Return a sentence that names why the loss may have become no number.

    step           at which it was seen
    warmup_steps   in which the learning rate was to rise
    precision      of the forward pass
    """
    likely = [
        lr_cause(recipe, pretrained=fine_tunes(recipe)),
        _no_warmup(recipe),
        f"the learning rate was still rising: its highest value is too high, try optim.lr={recipe.optim.lr / 4:.1g}"
        if 0 < step <= warmup_steps
        else None,
        "no clipping: try optim.clip=1" if recipe.optim.clip is None else None,
        f"{precision}: try engine.precision=float32" if precision != "float32" else None,
        "broken or blank pictures: convnext data check DATA names them",
    ]
    return f"Likely causes: {numbered([cause for cause in likely if cause is not None])}"


def spike_causes(recipe: Recipe) -> list[str]:
    """Return why the loss may suddenly rise."""
    likely = [
        lr_cause(recipe, pretrained=fine_tunes(recipe)),
        "optim.lr is too high for this stage of training" if recipe.optim.clip is not None else None,
        "no clipping: optim.clip=1 keeps one bad batch from undoing many good ones"
        if recipe.optim.clip is None
        else None,
        "a batch of broken or wrongly labelled pictures: convnext data check DATA",
    ]
    return [cause for cause in likely if cause is not None]


def numbered(causes: list[str]) -> str:
    """Return causes as one text: (1) this; (2) that."""
    return "; ".join(f"({number}) {cause}" for number, cause in enumerate(causes, start=1))


def _made_for_weights(recipe: Recipe) -> str:
    return (
        f"optim.layer_decay={recipe.optim.layer_decay:g} and regularise.head_scale={recipe.regularise.head_scale:g} "
        "are for going on from trained weights: give --weights, or take another recipe"
    )


def _no_warmup(recipe: Recipe) -> str | None:
    if recipe.schedule.warms_up or recipe.optim.name != "adamw" or fine_tunes(recipe):
        return None
    return "no warm-up: try schedule.warmup_epochs at a tenth of the epochs"


def _small(recipe: Recipe) -> str | None:
    if recipe.data.size > SMALL_PX:
        return None
    return (
        f"pictures of {recipe.data.size} pixels are small for a stem that strides 4: try model.stem_stride=2, "
        "or 1 for 32 pixels"
    )
