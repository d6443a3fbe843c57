"""A batch larger than the data: what is taken instead, and what is said of the learning rate."""

import pytest

from convnext.recipe import Optim, Recipe, diff, with_overrides
from convnext.recipes import recipe_for
from convnext.train.fitted import fitted_batch, fitted_recipe
from convnext.train.usual_lr import lr_to_take


@pytest.mark.parametrize(
    ("asked", "pictures", "processes", "micro_batch", "taken"),
    [
        (64, 64, 1, 128, 64),
        (4096, 500, 1, 128, 124),
        (4096, 500, 2, 128, 124),
        (512, 48, 1, 128, 12),
        # Even micro-batches for each process, and two pictures at least.
        (4096, 500, 1, 60, 120),
        (64, 4, 1, 128, 2),
        (64, 4, 3, 128, 6),
    ],
)
def test_the_batch_that_is_taken(asked: int, pictures: int, processes: int, micro_batch: int, taken: int) -> None:
    assert fitted_batch(asked, pictures, processes=processes, micro_batch=micro_batch) == taken


def said_of(recipe: Recipe, pictures: int, *, pretrained: bool) -> str | None:
    fitted, said = fitted_recipe(recipe, pictures, processes=1, pretrained=pretrained)
    assert set(diff(recipe, fitted)) <= {"data.batch_size"}, "nothing else is changed"
    return said


def test_fine_tuning_on_few_pictures_names_the_learning_rate_that_fits() -> None:
    recipe = recipe_for("finetune-22k-to-1k", "convnext_tiny")
    # 5e-5 at 512 by the square root is 1.768e-5 at 64, and below that it stays.
    expected = (
        "data.batch_size is 12, not 512: there are 48 pictures to train on; optim.lr stays 5e-05, and usual at this "
        "batch is 1.8e-05: --set optim.lr=1.8e-05"
    )
    assert said_of(recipe, 48, pretrained=True) == expected
    followed = with_overrides(recipe, ["optim.lr=1.8e-05"])
    assert said_of(followed, 48, pretrained=True) == expected.partition(";")[0]
    scratch = said_of(recipe_for("imagenet-1k", "convnext_tiny"), 500, pretrained=False)
    assert scratch is not None and scratch.endswith("--set optim.lr=0.0007")


def test_nothing_is_said_of_what_stays() -> None:
    assert said_of(recipe_for("default", None), 64, pretrained=False) is None
    small = said_of(recipe_for("default", None), 40, pretrained=False)
    assert small == "data.batch_size is 10, not 64: there are 40 pictures to train on"


@pytest.mark.parametrize(
    ("optim", "batch", "before", "pretrained", "lr"),
    [
        (Optim(lr=4e-3), 64, 4096, False, 5e-4),
        (Optim(lr=1e-3), 512, 2500, False, 1.4e-3),
        (Optim(lr=5e-5), 64, 512, True, 1.8e-5),
        (Optim(name="sgd", lr=0.1), 128, 256, False, 0.05),
        # The rule gives the same at both, or the recipe asks for it already.
        (Optim(lr=4e-3), 16, 64, False, None),
        (Optim(lr=4e-3), 4000, 4096, False, None),
        (Optim(lr=5.2e-4), 64, 4096, False, None),
    ],
)
def test_the_learning_rate_to_take(optim: Optim, batch: int, before: int, pretrained: bool, lr: float | None) -> None:
    assert lr_to_take(optim, batch, before=before, pretrained=pretrained) == lr
