"""Scoring: each picture once, the named weights, and no trace left in the models."""

import pytest
import torch
from torch import Tensor, nn

from convnext.errors import UserError
from convnext.train.score import score
from tests.train.tiny import tiny_recipe, tiny_source, tiny_task

CPU = torch.device("cpu")


class Always(nn.Module):
    """Says one class whatever it sees; counts the pictures, and answers wrong while it is in training mode."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer
        self.seen = 0
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        answer = (self.answer + 1) % 3 if self.training else self.answer
        return self.norm(images).sum() * 0 + torch.eye(3)[answer].expand(len(images), 3)


def test_each_picture_once_under_the_right_name_and_models_as_before() -> None:
    # 8 pictures in batches of 3, so that the last is short; labels 1, 2, 0, ... of 22 + 8 squares: 0 has 2 of 8.
    source = tiny_source(train=22, val=8)
    share = [100 * int((source.val.labels == answer).sum()) / 8 for answer in range(3)]
    assert len(set(share)) > 1
    models = {"raw": Always(0).train(), "ema": Always(1).eval()}
    models["raw"].norm.eval()
    task = tiny_task(tiny_recipe("data.batch_size=3"), source)
    before = {name: value.clone() for name, value in models["raw"].state_dict().items()}
    scores = score(task, models, task.val_batches(), device=CPU)
    assert [models[name].seen for name in models] == [8, 8]
    assert {name: scores[name].values["images"] for name in scores} == {"raw": 8, "ema": 8}
    assert scores["raw"].values["top1"] == share[0]
    assert scores["ema"].values["top1"] == share[1]
    assert (models["raw"].training, models["ema"].training) == (True, False)
    assert not models["raw"].norm.training
    assert all(torch.equal(value, before[name]) for name, value in models["raw"].state_dict().items())


def test_batches_that_repeat_a_picture_are_our_own_bug() -> None:
    task = tiny_task(tiny_recipe())
    twice = [*task.val_batches(), *task.val_batches()]
    with pytest.raises(AssertionError, match="twice"):
        score(task, {"raw": Always(0)}, twice, device=CPU)


def test_modes_come_back_after_a_failure() -> None:
    task = tiny_task(tiny_recipe())
    model = Always(5).train()
    with pytest.raises(IndexError):
        score(task, {"raw": model}, task.val_batches(), device=CPU)
    assert model.training


def test_unreadable_pictures_are_named_and_not_counted() -> None:
    task = tiny_task(tiny_recipe(), tiny_source(val=9, spoilt=frozenset({22, 24})))
    result = score(task, {"raw": Always(0)}, task.val_batches(), device=CPU)["raw"]
    assert list(result.unreadable) == ["squares/22", "squares/24"]
    assert result.values["images"] == 7


def test_nothing_readable_is_a_sentence() -> None:
    task = tiny_task(tiny_recipe(), tiny_source(val=3, spoilt=frozenset({22, 23, 24})))
    with pytest.raises(UserError, match="nothing to score"):
        score(task, {"raw": Always(0)}, task.val_batches(), device=CPU)
