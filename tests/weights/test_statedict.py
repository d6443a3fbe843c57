"""The weights are found under whatever keys and prefixes a training script left them, EMA first."""

from typing import Any

import pytest
import torch
from torch import Tensor

from convnext.errors import UserError
from convnext.network import Network
from convnext.weights.schemes import SCHEMES, recognise
from convnext.weights.statedict import find_tensors, rename_all, shapes_of, translate
from tests.outside import SMALL, model_of, randomise

RAW = {"stem.0.weight": torch.zeros(2), "head.fc.bias": torch.zeros(1)}
EMA = {name: tensor + 1 for name, tensor in RAW.items()}


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


RAW_ONLY: list[dict[str, Any]] = [
    RAW,
    {"model": RAW},
    {"state_dict": RAW, "epoch": 3, "optimizer": {"state": {}}},
    {"model_state_dict": RAW},
    {"module": RAW},
    {"model": {"state_dict": RAW}},
    {"model": prefixed(RAW, "module.")},
    prefixed(RAW, "_orig_mod."),
    prefixed(RAW, "module._orig_mod."),
    prefixed(RAW, "_orig_mod.module."),
    {"state_dict": prefixed(RAW, "model.")},
    {"state_dict": prefixed(RAW, "module.backbone.")},
]


@pytest.mark.parametrize("checkpoint", RAW_ONLY)
@pytest.mark.parametrize("choice", ["auto", "raw"])
def test_a_single_set_is_found_and_bared(checkpoint: dict[str, Any], choice: Any) -> None:
    found = find_tensors(checkpoint, choice, "x.pth")
    assert found.weights == "only"
    assert found.tensors.keys() == RAW.keys()
    assert all(torch.equal(found.tensors[name], RAW[name]) for name in RAW)


@pytest.mark.parametrize("checkpoint", RAW_ONLY)
def test_ema_is_refused_where_there_is_none(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"x\.pth has no EMA weights"):
        find_tensors(checkpoint, "ema", "x.pth")


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"model": RAW, "model_ema": EMA, "args": object()},
        {"state_dict": RAW, "state_dict_ema": EMA},
        {"model": RAW, "ema": {"module": EMA, "decay": 0.9999}},
        {"model": RAW, "ema": EMA},
        {"model": RAW, "model_ema": {"n_averaged": torch.tensor(5), **prefixed(EMA, "module.")}},
        {
            "model": prefixed(RAW, "module."),
            "model_ema": {"n_averaged": torch.tensor(5), **prefixed(EMA, "module.module.")},
        },
    ],
)
def test_ema_is_preferred_and_raw_can_be_had(checkpoint: dict[str, Any]) -> None:
    for choice, kind, expected in (("auto", "ema", EMA), ("ema", "ema", EMA), ("raw", "raw", RAW)):
        found = find_tensors(checkpoint, choice, "x.pth")  # type: ignore[arg-type]
        assert found.weights == kind
        assert found.tensors.keys() == expected.keys()
        assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)


def test_a_prefix_that_not_all_names_have_stays() -> None:
    mixed = prefixed(RAW, "backbone.") | {"decode_head.weight": torch.zeros(1)}
    assert find_tensors(mixed, "auto", "x").tensors.keys() == mixed.keys()


def test_ema_only_and_no_weights_are_named() -> None:
    with pytest.raises(UserError, match=r"x\.pth has EMA weights only"):
        find_tensors({"model_ema": EMA}, "raw", "x.pth")
    with pytest.raises(UserError, match=r"x\.pth holds no weights: its keys are epoch, lr"):
        find_tensors({"epoch": 3, "lr": 0.1}, "auto", "x.pth")
    with pytest.raises(UserError, match=r"its keys are none"):
        find_tensors({}, "auto", "x.pth")


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_there_and_back_is_exact(library: str) -> None:
    theirs = model_of(library).state_dict()
    found = recognise(shapes_of(theirs), "x")
    expected = shapes_of(Network(found.spec).state_dict())
    ours = translate(theirs, found, expected, "x")
    assert shapes_of(ours) == expected
    back = rename_all(ours, SCHEMES[library])
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)


def test_what_differs_is_listed() -> None:
    net = Network(SMALL)
    randomise(net)
    tensors, expected = net.state_dict(), shapes_of(net.state_dict())
    found = recognise(expected, "x")

    def refusal(changed: dict[str, Tensor]) -> str:
        with pytest.raises(UserError) as caught:
            translate(changed, found, expected, "my.pth")
        return str(caught.value)

    gone = {name: tensor for name, tensor in tensors.items() if name != "norm.bias"}
    assert "it lacks norm.bias" in refusal(gone)
    assert "it has besides extra.weight" in refusal(tensors | {"extra.weight": torch.zeros(1)})
    assert "head.bias is (8,) instead of (7,)" in refusal(tensors | {"head.bias": torch.zeros(8)})
    grn = {f"stages.{stage}.0.grn.gamma": torch.zeros(1, 1, 1, 8) for stage in range(4)}
    text = refusal(tensors | grn)
    assert "ConvNeXt V2" in text
    assert "and 1 more" in text
    # Trailing ones are a matter of layout, a turned matrix is not.
    name = "stages.0.0.pwconv1.weight"
    assert torch.equal(
        translate(tensors | {name: tensors[name][..., None, None]}, found, expected, "x")[name], tensors[name]
    )
    assert name in refusal(tensors | {name: tensors[name].t()})


def test_resnets_from_before_batches_were_counted_load() -> None:
    from convnext.models import create_model

    net = create_model("resnet50", num_classes=3)
    tensors = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    expected = shapes_of(net.state_dict())
    got = translate(tensors, recognise(shapes_of(tensors), "x"), expected, "x")
    assert got.keys() == expected.keys()
    assert got["bn1.num_batches_tracked"].item() == 0
