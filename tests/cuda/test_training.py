"""Training on a GPU against the same training on the CPU, and what only a GPU has: bfloat16, pinned batches, streams.

These are left out where there is no GPU.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convnext.data.erasing import erase
from convnext.data.mixing import mix
from convnext.doctor.diagnosis import examine
from convnext.evaluate import evaluate
from convnext.models import create_model, model_spec
from convnext.plan import RunPlan
from convnext.recipe import Mix, with_overrides
from convnext.recipes import recipe_for
from convnext.run import resume_run, train_run
from convnext.spec import NetSpec
from convnext.train.checkpoint import read_checkpoint
from convnext.weights import read_model
from tests.train.tiny import BATCH_NET, LAYER_NET, Watcher, tiny_recipe, tiny_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")
ATTO = replace(model_spec("convnext_atto"), stem_stride=2)


def plan_of(*overrides: str, **values: Any) -> RunPlan:
    recipe = with_overrides(
        recipe_for("default", "convnext_atto"),
        ["data.size=16", "schedule.epochs=3", "data.workers=2", "engine.log_every=1", *overrides],
    )
    return RunPlan(data="digits", model=ATTO, recipe=recipe, device="cuda", **values)


@pytest.fixture
def exact() -> Any:
    """Switch TF32 off, so that a GPU rounds as a processor does."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("spec", [LAYER_NET, BATCH_NET], ids=["LayerNorm", "BatchNorm"])
def test_losses_scores_and_weights_are_those_of_the_cpu(spec: NetSpec, tmp_path: Path, exact: None) -> None:
    # What is drawn on the device (erasing's noise, dropped branches) differs; mixing is drawn on the host.
    recipe = tiny_recipe("regularise.drop_path=0", "mix.mixup=0.8", "mix.cutmix=1", "ema.decay=0.8", "optim.clip=1")
    seen: dict[str, Watcher] = {}
    for device in ("cpu", "cuda"):
        seen[device] = Watcher()
        trainer = tiny_trainer(tmp_path / device, spec=spec, recipe=recipe, reporter=seen[device], device=device)
        assert trainer.run()
        assert next(trainer.engine.model.parameters()).device.type == device
    # On a GPU the loss of every step is read, because every step is logged here.
    losses = {device: [step.loss for step in watcher.steps] for device, watcher in seen.items()}
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-4)
    on_cpu, on_cuda = (read_checkpoint(tmp_path / device / "last.safetensors") for device in ("cpu", "cuda"))
    for cpu, cuda in ((on_cpu.raw, on_cuda.raw), (on_cpu.ema, on_cuda.ema)):
        assert cpu is not None and cuda is not None
        for name, tensor in cpu.items():
            torch.testing.assert_close(cuda[name].cpu(), tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert [row["raw"]["top1"] for row in seen["cuda"].rows] == [row["raw"]["top1"] for row in seen["cpu"].rows]


def test_a_run_learns_in_bfloat16_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    plan = plan_of("regularise.drop_path=0.1", "augment.erasing=0.25", "mix.mixup=0.2", "schedule.epochs=10")
    watcher = Watcher(signal_after=100)
    assert not train_run(plan, out=tmp_path / "run", reporter=watcher).finished
    result = resume_run(tmp_path / "run", reporter=Watcher())
    assert result.finished and result.summary is not None
    assert result.summary["last"]["raw"]["top1"] > 80, "chance is 10"
    assert result.summary["machine"]["accelerator"] == torch.cuda.get_device_name()
    # What was trained on a GPU is scored on a processor too.
    model = read_model(tmp_path / "run")
    scored = evaluate(model, "digits", device="cpu")
    assert scored.scores.top1 == pytest.approx(result.summary["best"]["top1"], abs=1.0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_step_is_the_eager_one(precision: str, tmp_path: Path) -> None:
    losses = []
    for compiled in ("false", "true"):
        watcher = Watcher()
        plan = plan_of(
            f"engine.compile={compiled}", f"engine.precision={precision}", "regularise.drop_path=0", "schedule.epochs=1"
        )
        train_run(plan, out=tmp_path / compiled, reporter=watcher)
        # The first ones: later on the rounding of each has been learned from.
        losses.append([step.loss for step in watcher.steps][:5])
    tolerance = 1e-3 if precision == "float32" else 2e-2
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)


def test_mixing_on_the_device_is_mixing_on_the_host() -> None:
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6)
    for seed in range(6):
        on_cpu = mix(images.clone(), labels, 6, Mix(mixup=0.8, cutmix=1.0), np.random.default_rng(seed))
        on_cuda = mix(images.to(CUDA), labels.to(CUDA), 6, Mix(mixup=0.8, cutmix=1.0), np.random.default_rng(seed))
        for cpu, cuda in zip(on_cpu, on_cuda, strict=True):
            torch.testing.assert_close(cuda.cpu(), cpu)


def test_the_same_rectangles_are_erased_with_noise_of_the_device() -> None:
    boxes = []
    for device in (torch.device("cpu"), CUDA):
        generator = torch.Generator(device).manual_seed(1)
        images = erase(torch.full((16, 3, 32, 32), 9.0, device=device), 0.5, np.random.default_rng(0), generator)
        boxes.append((images != 9.0).cpu())
    assert torch.equal(*boxes) and 0.02 < boxes[0].float().mean() < 0.3


def test_the_doctor_forecasts_memory_of_the_gpu() -> None:
    diagnosis = examine(plan_of(), timed=True)
    forecast = diagnosis.forecast
    assert forecast is not None and forecast.images_per_second > 0
    total = torch.cuda.get_device_properties(CUDA).total_memory
    assert forecast.memory_bytes is not None and 1e6 < forecast.peak_memory_bytes < forecast.memory_bytes <= total


def test_big_networks_in_bfloat16_have_finite_losses() -> None:
    # Where float16 overflows (L and XL).
    model = create_model("convnext_large", num_classes=10).to(CUDA)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)
    images = torch.randn(4, 3, 224, 224, device=CUDA)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(model(images), torch.arange(4, device=CUDA))
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())
