"""What must hold of every registered model."""

import pytest
import torch

from convnext.cost import total_cost
from convnext.models import MODELS, create_model, model_name
from tests.flops import counted_activations, counted_macs, counted_params, on_meta


@pytest.mark.parametrize("name", MODELS)
def test_costs_equal_torchs_own_count(name: str) -> None:
    spec = MODELS[name].spec
    model = on_meta(spec)
    assert total_cost(spec).params == counted_params(model)
    for size in (64, 97, 224):
        cost = total_cost(spec, size)
        assert (cost.macs, cost.activations) == (counted_macs(model, size), counted_activations(model, size))


@pytest.mark.parametrize("name", MODELS)
def test_it_is_named_and_takes_options(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=7, in_channels=4, drop_path=0.1, layer_scale=0.1)
    assert model_name(model.spec) == name
    size = MODELS[name].input_size
    assert model(torch.empty(2, 4, size, size, device="meta")).shape == (2, 7)
    assert any("gamma" in key for key in model.state_dict())


def test_the_public_names_do_not_change() -> None:
    assert list(MODELS) == [
        *(f"convnext_{size}" for size in "atto femto pico nano tiny small base large xlarge".split()),
        *(f"convnext_isotropic_{size}" for size in "small base large".split()),
        "resnet50",
        "resnet200",
    ]
