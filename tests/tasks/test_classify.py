"""The classification task: what the network sees, what is minimised, how it is shown held-out pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import normalize, to_dtype

from convnext.data.builtin import DIGITS_SAFE
from convnext.data.loader import Batch
from convnext.data.sources import LabelSafe
from convnext.errors import UserError
from convnext.network import Network
from convnext.preprocess import Preprocess
from convnext.tasks.classify import ClassifyTask, ReadyBatch, evaluation_preprocess, sample_guesses
from convnext.tasks.normalise import normalise
from tests.train.tiny import LAYER_NET, tiny_recipe, tiny_source, tiny_task

CPU = torch.device("cpu")
PAPER = Preprocess()


def batch(count: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator),
        labels=torch.arange(count) % 3,
        indices=torch.arange(count),
        unreadable=(),
    )


def test_pictures_are_normalised_as_torchvision_does_and_lie_channels_last() -> None:
    given = batch()
    kept = given.images.clone()
    ready = tiny_task(tiny_recipe()).prepare(given, CPU, None)
    expected = normalize(to_dtype(kept, torch.float32, scale=True), list(PAPER.mean), list(PAPER.std))
    torch.testing.assert_close(ready.images, expected, rtol=1e-6, atol=1e-6)
    assert ready.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(given.images, kept) and torch.equal(ready.labels, given.labels)


def test_each_channel_has_its_own_mean() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    preprocess = Preprocess(mean=(0.5, 0.1, 0.0), std=(0.5, 0.1, 2.0))
    assert normalise(images, preprocess).flatten().tolist() == pytest.approx([-1, 1, 0.5])


class Fixed(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_loss_is_cross_entropy_with_the_recipes_smoothing() -> None:
    torch.manual_seed(0)
    model = Fixed(torch.randn(4, 3, dtype=torch.float64))
    ready = ReadyBatch(images=torch.zeros(4, 3, 8, 8), labels=torch.tensor([0, 1, 2, 0]))
    logs = model.logits.detach().log_softmax(1)
    for smoothing in (0.0, 0.1, 0.4):
        total = tiny_task(tiny_recipe(f"mix.label_smoothing={smoothing}")).loss(model, ready)["total"]
        target = F.one_hot(ready.labels, 3).double() * (1 - smoothing) + smoothing / 3
        torch.testing.assert_close(total.detach(), -(target * logs).sum(1).mean(), rtol=1e-12, atol=0)
    assert tiny_task(tiny_recipe()).recipe.mix.label_smoothing == 0.1


def test_scores_are_plain_cross_entropy_whatever_the_smoothing() -> None:
    task = tiny_task(tiny_recipe("mix.label_smoothing=0.4"))
    metric = task.metric()
    logits = torch.tensor([[2.0, 0, 0], [0, 0, 1]])
    metric.update(logits, ReadyBatch(images=torch.zeros(2, 3, 8, 8), labels=torch.tensor([0, 1])))
    values = metric.compute()
    assert values["top1"] == 50 and values["top5"] is None and values["images"] == 2
    assert values["loss"] == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 1])).item(), rel=1e-6)


def test_head_is_kept_where_the_classes_agree_and_fresh_where_not() -> None:
    task = tiny_task(tiny_recipe("regularise.head_scale=0.001"))
    same = Network(LAYER_NET)
    weight = same.classifier.weight
    task.build(same)
    assert same.classifier.weight is weight
    other = Network(replace(LAYER_NET, num_classes=7))
    task.build(other)
    assert other.classifier.weight.shape[0] == 3 == other.spec.num_classes
    assert 0 < other.classifier.weight.abs().max() < 1e-4


def test_what_cannot_be_trained_is_a_sentence() -> None:
    task = tiny_task(tiny_recipe())
    with pytest.raises(UserError, match="Linear"):
        task.build(nn.Linear(2, 2))
    with pytest.raises(UserError, match="1 channels"):
        task.build(Network(replace(LAYER_NET, in_channels=1)))


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        (224, None, ("short_side", 0.875)),
        (384, None, ("squash", 1.0)),
        (64, 1.0, ("short_side", 1.0)),
        (384, 0.9, ("short_side", 0.9)),
    ],
)
def test_held_out_pictures_follow_the_papers_rule_or_the_recipe(
    size: int, crop: float | None, expected: tuple[str, float]
) -> None:
    recipe = tiny_recipe(f"data.size={size}", f"evaluate.crop={crop}", "augment.interpolation=bilinear")
    preprocess = evaluation_preprocess(recipe, LabelSafe())
    assert (preprocess.resize, preprocess.crop) == expected
    assert (preprocess.size, preprocess.interpolation, preprocess.mean) == (size, "bilinear", PAPER.mean)


def test_a_crop_never_cuts_more_than_the_source_allows() -> None:
    recipe = tiny_recipe("data.size=32", "evaluate.crop=0.5")
    assert evaluation_preprocess(recipe, LabelSafe()).crop == 0.5
    crop = evaluation_preprocess(recipe, DIGITS_SAFE).crop
    assert crop**2 == pytest.approx(DIGITS_SAFE.min_crop_scale) and crop == math.sqrt(0.7)


def test_training_pictures_obey_the_source() -> None:
    recipe = tiny_recipe("augment.flip=1", "augment.crop_scale=0.2,0.3", "augment.crop_ratio=1,1")
    source = replace(tiny_source(), label_safe=LabelSafe(flip=False, min_crop_scale=1))
    for batch in tiny_task(recipe, source).train_batches().epoch(0):
        for pixels, index in zip(batch.images, batch.indices.tolist(), strict=True):
            whole = source.train.picture(index).resize((8, 8), Image.Resampling.BICUBIC)
            assert np.abs(pixels.permute(1, 2, 0).numpy() - np.asarray(whole).astype(int)).max() <= 1


def test_grey_networks_get_grey_pictures() -> None:
    recipe = tiny_recipe()
    preprocess = evaluation_preprocess(recipe, LabelSafe(), in_channels=1)
    task = ClassifyTask(tiny_source(), recipe, preprocess=preprocess, seed=0)
    task.build(Network(replace(LAYER_NET, in_channels=1)))
    assert next(iter(task.val_batches())).images.shape[1] == 1
    assert next(task.train_batches().epoch(0)).images.shape[1] == 1


def test_guesses_say_what_the_model_says_of_the_picture_beside_them() -> None:
    task = tiny_task(tiny_recipe(), tiny_source(val=30, spoilt=frozenset({22})))
    torch.manual_seed(1)
    model = Network(LAYER_NET).eval()
    guesses = sample_guesses(task, model, CPU, 7)
    places = np.linspace(0, 29, 7).round().astype(int)[1:]  # the first cannot be read
    assert len(guesses) == 6
    batches = list(task.val_batches())
    images = {int(i): image for one in batches for i, image in zip(one.indices, one.images, strict=True)}
    for guess, place in zip(guesses, places, strict=True):
        assert guess.truth == task.source.classes[task.source.val.labels[place]]
        assert np.array_equal(guess.pixels, images[place].permute(1, 2, 0).numpy())
        with torch.no_grad():
            shares = model(normalise(images[place][None], task.preprocess)).softmax(1)[0]
        assert guess.probability == pytest.approx(shares.max().item(), rel=1e-5)
        assert guess.predicted == task.source.classes[int(shares.argmax())]
