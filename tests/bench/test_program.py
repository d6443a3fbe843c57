"""Programs are checked against a reference that no part of a network can be left out of."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from convnext.bench import program as programs
from convnext.bench.check import check_losses, check_outputs
from convnext.bench.program import Inference, TrainingStep, build, timer, use_tf32, warm_up
from convnext.bench.randomise import pictures, randomise
from convnext.bench.settings import Program
from convnext.models import create_model

# Small relatives of all families of Table 1, and a ConvNeXt with the LayerScale of the paper.
FAMILIES = ("convnext_atto", "timm:test_vit", "timm:test_resnet", "timm:test_efficientnet")
ATTO = Program(
    model="convnext_atto",
    size=64,
    batch=2,
    dtype="fp32",
    layout="nchw",
    compiled=False,
    train=False,
    device="cpu",
    threads=None,
    seed=0,
)


def random_model(name: str, size: int) -> nn.Module:
    model = create_model(name, size=size).eval()
    randomise(model, size, 3, seed=0)
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_of_a_network_can_be_left_out_unnoticed(name: str) -> None:
    size = 64 if name == "convnext_atto" else 96
    model, images = random_model(name, size), pictures(2, size, 3, seed=9)
    fresh = create_model(name, size=size).state_dict()
    with torch.inference_mode():
        reference = model(images)
        assert check_outputs(model(images), reference, "fp32", 2).error == 0
        for key, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            assert not torch.equal(value, fresh[key]), f"{key} is as the library starts it"
            kept = value.clone()
            value.copy_(torch.ones_like(value) if value.ndim == 1 and "bias" not in key else torch.zeros_like(value))
            check = check_outputs(model(images), reference, "fp32", 2)
            value.copy_(kept)
            assert not check.passed, f"without {key} the logits differ by {check.error:.2g} only"


@pytest.mark.parametrize("name", [*FAMILIES, "resnet50", "timm:tf_efficientnet_b0", "timm:test_nfnet"])
def test_pictures_do_not_look_alike_to_a_random_network(name: str) -> None:
    # With running statistics that do not fit, those of EfficientNet-B0 differ by 6e-6 of the logits' own spread, and a
    # comparison would not notice a program that never looks at them.
    with torch.inference_mode():
        logits = random_model(name, 96)(pictures(2, 96, 3, seed=9))
    assert logits.std(dim=0).square().mean().sqrt() > 0.05 * logits.std()
    assert 1e-2 < logits.std() < 1e3


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    first, again = (random_model("timm:test_resnet", 96).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = create_model("timm:test_resnet")
    randomise(other, 96, 3, seed=1)
    values = other.state_dict()
    assert not any(torch.equal(first[key], values[key]) for key in first if first[key].is_floating_point())


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
@pytest.mark.parametrize("name", ["convnext_atto", "timm:test_resnet"])
def test_the_layouts_compute_the_same(name: str, layout: str) -> None:
    one = build(replace(ATTO, model=name, size=96, layout=layout))  # type: ignore[arg-type]
    one.call()
    check = one.check()
    assert check.passed and check.error < 1e-4 and check.tolerance == 0.01
    assert one.params == sum(parameter.numel() for parameter in create_model(name).parameters())


def test_bfloat16_is_a_little_off_and_passes_with_its_own_tolerance() -> None:
    one = build(replace(ATTO, dtype="bf16"))
    one.call()
    check = one.check()
    assert check.passed and 1e-3 < check.error < check.tolerance == 0.75


class WithoutLayerScale(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        for name, parameter in self.model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1e-6)
        logits: Tensor = self.model(images)
        return logits


WRONG: dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {
    "zeros": lambda model: lambda images: torch.zeros(len(images), 1000),
    "the first picture's logits for all": lambda model: lambda images: model(images[:1]).expand(len(images), -1),
    "one picture only": lambda model: lambda images: model(images[:1]),
    "the same for any picture": lambda model: lambda images: model(pictures(len(images), 64, 3, seed=99).to(images)),
    "no LayerScale": WithoutLayerScale,
    "not a number": lambda model: lambda images: model(images) * float("nan"),
}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_program_does_not_pass(wrong: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "compiled", WRONG[wrong])
    one = build(replace(ATTO, compiled=True, dtype=dtype))  # type: ignore[arg-type]
    one.call()
    check = one.check()
    assert not check.passed and "no speed is given" in check.sentence


def test_a_right_program_in_its_place_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "compiled", lambda model: torch.compile(model, backend="eager"))
    one = build(replace(ATTO, compiled=True, batch=1))
    one.call()
    assert one.check().error < 1e-4


def test_a_reference_that_tells_nothing_lets_nothing_pass() -> None:
    same = torch.ones(2, 5)
    assert not check_outputs(same, same, "fp32", 2).passed
    endless = torch.full((2, 5), torch.inf)
    assert not check_outputs(endless, endless, "fp32", 2).passed


def test_the_error_of_outputs_by_hand() -> None:
    # The pictures lie 2 apart in each class: a standard deviation of sqrt(2). The second is off by 1 in one of four.
    reference = torch.tensor([[0.0, 0, 0, 0], [2.0, 2, 2, 2]])
    outputs = reference + torch.tensor([[0.0, 0, 0, 0], [0.0, 0, 1, 0]])
    assert check_outputs(outputs, reference, "fp32", 2).error == pytest.approx(0.5 / 2**0.5)


def test_the_error_of_losses_by_hand() -> None:
    assert check_losses([7.0, 6.9], [7.0, 6.9], "fp32").error == 0
    unlearned = check_losses([7.0, 7.0], [7.0, 6.9], "fp32")
    assert not unlearned.passed and unlearned.error == pytest.approx(1) and "first step" in unlearned.sentence
    other = check_losses([7.7, 7.6], [7.0, 6.9], "fp32")
    assert not other.passed and other.error == pytest.approx(0.1) and other.tolerance == 1e-3
    assert not check_losses([float("nan"), 6.9], [7.0, 6.9], "bf16").passed
    assert not check_losses([7.0, 7.0], [7.0, 7.0], "fp32").passed, "a step that changes nothing proves nothing"


TRAINING = replace(ATTO, train=True, batch=4)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["convnext_atto", "timm:test_resnet"])
def test_a_training_step_learns_as_the_reference_does(name: str, dtype: str) -> None:
    one = build(replace(TRAINING, model=name, layout="channels_last", dtype=dtype))  # type: ignore[arg-type]
    assert isinstance(one, TrainingStep)
    one.call()
    check = one.check()
    assert check.passed
    first, second = one._losses
    assert second < first, "it learned"
    assert one._reference[0] == pytest.approx(first, rel=1e-2) and one._reference[0] != one._reference[1]
    # Weights and two moments.
    assert one.held_bytes() > 3 * 4 * one.params


@pytest.mark.parametrize("name", ["swin_tiny", "torchvision:efficientnet_b0"])
def test_a_network_that_drops_at_random_by_default_is_stepped_without(name: str) -> None:
    # timm's Swin drops branches of its own accord; torchvision's EfficientNet does, and has dropout before its head.
    one = build(replace(TRAINING, model=name, batch=2))
    one.call()
    check = one.check()
    assert check.passed and check.error < check.tolerance / 10


def test_a_training_step_that_does_not_learn_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                logits = self.model(images)
            return logits.requires_grad_()  # type: ignore[no-any-return]

    monkeypatch.setattr(programs, "compiled", Frozen)
    one = build(replace(TRAINING, compiled=True))
    one.call()
    check = one.check()
    assert not check.passed and check.error == pytest.approx(1)


def test_what_is_held_is_weights_pictures_and_no_more() -> None:
    one = build(ATTO)
    assert isinstance(one, Inference)
    assert one.held_bytes() == 4 * (one.params + 2 * 3 * 64 * 64)
    half = build(replace(ATTO, dtype="bf16", batch=1))
    assert half.held_bytes() == 2 * (one.params + 3 * 64 * 64)


def test_warming_up_takes_its_calls_and_its_seconds() -> None:
    made: list[int] = []

    def timed(calls: int) -> float:
        made.append(calls)
        return 0.25

    assert warm_up(timed, calls=2, seconds=1.0) == 0.25 and made == [1] * 4
    made.clear()
    warm_up(timed, calls=6, seconds=1.0)
    assert made == [1] * 6


def test_the_timer_does_as_many_calls_as_it_is_told() -> None:
    class Counting:
        params = 0
        calls = 0

        def call(self) -> None:
            self.calls += 1

    one = Counting()
    seconds = timer(one, torch.device("cpu"))(7)  # type: ignore[arg-type]
    assert one.calls == 7 and 0 < seconds < 1


def test_tf32_is_on_only_where_it_is_asked_for() -> None:
    kept = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        use_tf32("tf32")
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.cudnn.allow_tf32
        for dtype in ("fp32", "bf16"):
            use_tf32("tf32")
            use_tf32(dtype)  # type: ignore[arg-type]
            assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(kept[0])
        torch.backends.cudnn.allow_tf32 = kept[1]
