"""The key maps agree with the libraries themselves, and what is none of ours is named."""

import pytest
import timm
import torch
import torchvision
from timm.models.convnext import checkpoint_filter_fn

from convnext.errors import UserError
from convnext.models import MODELS, create_model
from convnext.network import Network
from convnext.roadmap import diff
from convnext.spec import NetSpec
from convnext.weights.schemes import SCHEMES, recognise, scheme_named
from convnext.weights.statedict import rename_all, shapes_of
from tests.outside import SMALL, model_of


def ours() -> dict[str, torch.Tensor]:
    return Network(SMALL).state_dict()


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_renamed_keys_and_shapes_are_the_librarys_own(library: str) -> None:
    renamed = rename_all(ours(), SCHEMES[library])
    assert shapes_of(renamed) == shapes_of(model_of(library).state_dict())


@pytest.mark.parametrize(
    ("name", "conv_mlp"), [("convnext_atto", True), ("convnext_nano", True), ("convnext_tiny", False)]
)
def test_timms_registered_models_have_our_names_and_shapes(name: str, conv_mlp: bool) -> None:
    with torch.device("meta"):
        renamed = rename_all(create_model(name).state_dict(), SCHEMES["timm"], conv_mlp=conv_mlp)
        assert shapes_of(renamed) == shapes_of(timm.create_model(name).state_dict())


def test_official_names_become_what_timms_filter_for_official_files_makes_of_them() -> None:
    theirs = model_of("timm")
    filtered = checkpoint_filter_fn({"model": ours() | {"head.bias": torch.arange(7.0)}}, theirs)
    renamed = rename_all(ours() | {"head.bias": torch.arange(7.0)}, SCHEMES["timm"])
    assert filtered.keys() == renamed.keys()
    assert len(renamed) == len(ours())
    numbered = {name: torch.full_like(tensor, index) for index, (name, tensor) in enumerate(ours().items())}
    filtered = checkpoint_filter_fn(numbered, theirs)
    for name, tensor in rename_all(numbered, SCHEMES["timm"]).items():
        assert torch.equal(tensor, filtered[name]), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_gives_each_parameter_a_name_of_its_own(scheme: str) -> None:
    names = list(ours())
    assert len({SCHEMES[scheme].rename(name) for name in names}) == len(names)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_classes": 21841},
        {"in_channels": 1},
        {"layer_scale": None},
        {"depths": (2, 2, 11, 2), "width": 12},
        {"expansion": 2, "kernel": 5},
    ],
)
def test_the_spec_is_read_from_names_and_shapes(scheme: str, changes: dict[str, object]) -> None:
    spec = NetSpec.from_dict({**SMALL.to_dict(), **changes})
    with torch.device("meta"):
        tensors = rename_all(Network(spec).state_dict(), SCHEMES[scheme])
    found = recognise(shapes_of(tensors), "x.pth")
    assert found.spec == spec
    assert found.scheme.name == scheme
    assert found.has_head


@pytest.mark.parametrize("name", MODELS)
def test_every_registered_model_is_recognised(name: str) -> None:
    with torch.device("meta"):
        net = create_model(name, num_classes=5)
    found = recognise(shapes_of(net.state_dict()), "x.pth")
    assert found.spec == net.spec


def test_a_checkpoint_without_a_head_is_recognised() -> None:
    shapes = {name: shape for name, shape in shapes_of(ours()).items() if not name.startswith("head.")}
    found = recognise(shapes, "x.pth")
    assert not found.has_head
    assert diff(found.spec, SMALL).keys() == {"num_classes"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vit_tiny_patch16_224", "Transformer"),
        ("swin_tiny_patch4_window7_224", "Swin"),
        ("resnet18", "basic blocks"),
        ("resnet50d", "deep stem"),
        ("efficientnet_b0", "no ConvNeXt"),
        ("convnext_atto_ols", "overlapping stem"),
    ],
)
def test_other_architectures_are_refused_with_what_they_look_like(name: str, said: str) -> None:
    with torch.device("meta"):
        shapes = shapes_of(timm.create_model(name).state_dict())
    with pytest.raises(UserError, match=rf"my\.pth .*{said}"):
        recognise(shapes, "my.pth")


def test_torchvisions_transformer_and_detector_are_refused() -> None:
    with torch.device("meta"):
        shapes = shapes_of(torchvision.models.vit_b_16().state_dict())
    with pytest.raises(UserError, match="Transformer"):
        recognise(shapes, "x")
    with pytest.raises(UserError, match="a detector"):
        recognise({"backbone.body.conv1.weight": (64, 3, 7, 7), "rpn.head.conv.weight": (1, 1, 1, 1)}, "x")


def test_an_unknown_scheme_offers_the_near_ones() -> None:
    with pytest.raises(UserError, match="did you mean timm"):
        scheme_named("tim")
