"""One optimizer step against an independent plain loop, and the ways to carry it out against each other."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from convnext.data.loader import Batch
from convnext.errors import UserError
from convnext.recipe import Recipe
from convnext.tasks.classify import ReadyBatch
from convnext.train.chance import Chance
from convnext.train.engine import Engine, NotFiniteError, Place
from tests.train.tiny import (
    BATCH_NET,
    LAYER_NET,
    DoubleTask,
    Watcher,
    tiny_network,
    tiny_recipe,
    tiny_task,
    tiny_trainer,
)

CPU = torch.device("cpu")
STEPS = 50


class Fed(DoubleTask):
    """Trains on batches that were mixed by timm."""

    mixed: list[tuple[Tensor, Tensor]]

    def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
        ready = super().prepare(batch, device, chance)
        if chance is None:
            return ready
        images, targets = self.mixed.pop(0)
        return replace(ready, images=images, targets=targets)


def mixed_batches(count: int, recipe: Recipe) -> list[tuple[Tensor, Tensor]]:
    """Return batches of timm's Mixup and CutMix over random pictures, in float64."""
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=3)
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(count):
        labels = torch.randint(3, (4,), generator=generator)
        images = torch.randn(4, 3, 8, 8, dtype=torch.float64, generator=generator) + labels[:, None, None, None]
        mixed, targets = mixup(images, labels)
        batches.append((mixed, targets.double()))
    return batches


def randomised(recipe: Recipe) -> nn.Module:
    """Return the tiny LayerNorm net in float64 with every parameter random, LayerScale at a size that counts."""
    network = tiny_network(LAYER_NET, recipe).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator), alpha=0.1)
    return network


def plain_loop(model: nn.Module, batches: list[tuple[Tensor, Tensor]], recipe: Recipe) -> Iterator[tuple[float, Any]]:
    """Train with nothing but torch and timm's groups; yield each step's loss and the running average."""
    groups = param_groups_weight_decay(model, recipe.optim.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), eps=1e-8, fused=False, foreach=False)
    average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    warm, last = 4, STEPS
    for step, (images, targets) in enumerate(batches):
        rate = 0.01 * step / warm if step < warm else 0.0
        if step >= warm:
            rate = 1e-6 + (0.01 - 1e-6) * 0.5 * (1 + math.cos(math.pi * (step - warm) / (last - warm)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = -(targets * F.log_softmax(model(images), dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        squares = sum(
            float((parameter.grad**2).sum()) for parameter in model.parameters() if parameter.grad is not None
        )
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad *= min(1.0, 0.5 / (squares**0.5 + 1e-6))
        optimizer.step()
        for name, tensor in model.state_dict().items():
            average[name] = 0.9 * average[name] + 0.1 * tensor
        yield loss.item(), average


def test_fifty_steps_equal_a_plain_loop_in_float64(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        *("schedule.epochs=10", "schedule.warmup_epochs=0.8", "ema.decay=0.9", "optim.clip=0.5"),
        *("regularise.drop_path=0", "mix.mixup=0.8", "mix.cutmix=1", "optim.weight_decay=0.3"),
    )
    batches = mixed_batches(STEPS, recipe)
    theirs = randomised(recipe)
    expected = list(plain_loop(theirs, batches, recipe))
    task = tiny_task(recipe, kind=Fed)
    assert isinstance(task, Fed)
    task.mixed = list(batches)
    watcher = Watcher()
    trainer = tiny_trainer(tmp_path, recipe=recipe, task=task, reporter=watcher, double=True)
    trainer.engine.model.load_state_dict(randomised(recipe).state_dict())
    assert trainer.engine.ema is not None
    trainer.engine.ema.model.load_state_dict(randomised(recipe).state_dict())
    assert trainer.run() and not task.mixed
    losses = [report.loss for report in watcher.steps]
    assert losses == pytest.approx([loss for loss, _ in expected], rel=0, abs=1e-10)
    assert losses[-1] != pytest.approx(losses[0], abs=1e-2)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(trainer.engine.model.state_dict()[name], tensor, rtol=0, atol=1e-10)
        torch.testing.assert_close(
            trainer.engine.ema.model.state_dict()[name], expected[-1][1][name], rtol=0, atol=1e-10
        )


def engine_of(recipe: Recipe, *, precision: Any = "float32", spec: Any = LAYER_NET) -> Engine[Batch, ReadyBatch]:
    network = tiny_network(spec, recipe)
    return Engine(tiny_task(recipe), network, recipe, Place(device=CPU, precision=precision), seed=3)


def steps_of(engine: Engine[Batch, ReadyBatch], count: int = 5) -> list[float]:
    losses = []
    for number, batches in zip(range(count), engine.epoch(0, 0), strict=False):
        done = engine.step(batches, number)
        losses.append(done.loss_sum.item() / done.pictures)
    return losses


def test_micro_batches_add_up_to_the_batch() -> None:
    settings = ("regularise.drop_path=0", "schedule.warmup_epochs=0")
    whole = engine_of(tiny_recipe(*settings))
    parts = engine_of(tiny_recipe(*settings, "engine.micro_batch=1"))
    assert parts.batches.micro_batches == 4
    assert steps_of(parts) == pytest.approx(steps_of(whole), rel=1e-5)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_clipping_bounds_the_gradient_with_and_without_autocast(precision: str) -> None:
    # SGD moves by lr times the gradient, so the way of a step is the clipped norm itself.
    recipe = tiny_recipe(
        *("optim.name=sgd", "optim.momentum=0", "optim.weight_decay=0", "optim.lr=1", "optim.clip=0.001"),
        *("schedule.warmup_epochs=0", "ema.decay=none"),
    )
    for clip, ways in ((0.001, pytest.approx(0.001, rel=1e-3)), (None, None)):
        settings = replace(recipe, optim=replace(recipe.optim, clip=clip))
        engine = engine_of(settings, precision=precision)
        before = nn.utils.parameters_to_vector(engine.model.parameters()).detach().clone()
        engine.step(next(engine.epoch(0, 0)), 0)
        after = nn.utils.parameters_to_vector(engine.model.parameters()).detach()
        way = float((after - before).norm())
        assert way == ways if ways is not None else way > 0.01


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights() -> None:
    seen: list[torch.dtype] = []
    engine = engine_of(tiny_recipe(), precision="bfloat16")
    engine.model.get_submodule("stages.0.0.pwconv1").register_forward_hook(lambda *given: seen.append(given[2].dtype))
    losses = steps_of(engine)
    assert set(seen) == {torch.bfloat16} and {p.dtype for p in engine.model.parameters()} == {torch.float32}
    assert losses == pytest.approx(steps_of(engine_of(tiny_recipe())), rel=0.02)


@pytest.mark.parametrize("spec", [LAYER_NET, BATCH_NET], ids=["layer", "batch"])
def test_a_compiled_network_learns_the_same_and_keeps_its_names(spec: Any) -> None:
    settings = ("regularise.drop_path=0", "schedule.warmup_epochs=0")
    plain = engine_of(tiny_recipe(*settings), spec=spec)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = engine_of(tiny_recipe(*settings, "engine.compile=true"), spec=spec)
    assert steps_of(compiled, 3) == pytest.approx(steps_of(plain, 3), rel=1e-4)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
    assert torch._dynamo.utils.counters["frames"]["ok"] >= 1, "nothing was compiled"
    torch._dynamo.reset()


def test_a_loss_that_is_no_number_moves_nothing() -> None:
    engine = engine_of(tiny_recipe("schedule.warmup_epochs=0", "engine.micro_batch=2"))
    with torch.no_grad():
        engine.model.get_parameter("head.bias")[0] = float("nan")
    before = {name: tensor.clone() for name, tensor in engine.model.state_dict().items() if name != "head.bias"}
    with pytest.raises(NotFiniteError):
        engine.step(next(engine.epoch(0, 0)), 0)
    assert all(torch.equal(engine.model.state_dict()[name], tensor) for name, tensor in before.items())


def test_batch_norm_refuses_micro_batches_of_one() -> None:
    with pytest.raises(UserError, match=r"micro-batches of one picture.*engine.micro_batch"):
        engine_of(tiny_recipe("engine.micro_batch=1"), spec=BATCH_NET)
    engine_of(tiny_recipe("engine.micro_batch=1"), spec=LAYER_NET)
