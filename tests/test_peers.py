"""Networks of timm and torchvision behind our own doors: built, counted, and refused in one sentence."""

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch

from convnext.errors import UserError
from convnext.models import MODELS, any_spec, create_model, model_cost, model_name, require_fits
from convnext.peer_spec import PEERS, PeerSpec, spec_from_dict, with_options
from convnext.peers import Peer, built_for_size
from convnext.recipe import Optim
from convnext.recipes import recipe_for, source_of
from convnext.reference import ISOTROPIC, ONE_K, PAPER_ROWS, TWENTY_TWO_K, PaperRow, paper_row
from convnext.train.optim import parameter_groups
from tests.test_cost import require_printed

SWIN = "timm:swin_tiny_patch4_window7_224"
SMALL_SWIN = with_options(any_spec(SWIN), {"embed_dim": 24, "depths": [1, 1, 1, 1]})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "row", [row for row in PAPER_ROWS if row.model in PEERS], ids=lambda row: f"{row.table}-{row.model}-{row.size}"
)
def test_the_printed_costs_of_the_other_systems(row: PaperRow) -> None:
    require_printed(row, model_cost(any_spec(row.model), row.size))


def test_every_system_of_the_tables_is_there() -> None:
    rows = {(row.table, row.model, row.size) for row in PAPER_ROWS}
    assert len(rows) == len(PAPER_ROWS) == 15 + 20 + 6
    one = {(model, size) for table, model, size in rows if table == ONE_K}
    assert one >= {("regnety_16g", 224), ("efficientnet_b7", 600), ("efficientnetv2_large", 480), ("deit_base", 224)}
    more = {(model, size) for table, model, size in rows if table == TWENTY_TWO_K}
    assert more >= {("bit_r101x3", 384), ("bit_r152x4", 480), ("vit_large_384", 384), ("swin_large_384", 384)}
    assert {model for table, model, _ in rows if table == ISOTROPIC} == {
        *(f"vit_{size}" for size in ("small", "base", "large")),
        *(f"convnext_isotropic_{size}" for size in ("small", "base", "large")),
    }
    assert all(row.model in MODELS or row.model in PEERS for row in PAPER_ROWS)
    assert set(PEERS) <= {row.model for row in PAPER_ROWS}
    assert all(
        entry.input_size == row.size for row in PAPER_ROWS for entry in PEERS.values() if entry.name == row.model
    )


def test_a_row_of_the_paper_is_found_by_model_size_and_table() -> None:
    tiny = paper_row("convnext_tiny")
    assert tiny is not None and (tiny.top1, tiny.images_per_second, tiny.a100_images_per_second) == (
        82.1,
        774.7,
        1943.5,
    )
    more = paper_row("convnext_tiny", 384, (TWENTY_TWO_K,))
    assert more is not None and more.top1 == 84.1
    assert paper_row("convnext_tiny", 384) is None and paper_row("convnext_xlarge") is None


def test_attention_is_counted_by_hand() -> None:
    """One block of a ViT: four linear layers of the attention and MLP, and two products of queries, keys, values."""
    spec = with_options(
        PeerSpec(library="timm", name="vit_small_patch16_224", num_classes=10),
        {"depth": 1, "embed_dim": 64, "num_heads": 4},
    )
    tokens, width = 16 + 1, 64
    block = tokens * width * (3 * width + width + 4 * width + 4 * width) + 2 * tokens * tokens * width
    assert model_cost(spec, 64).macs == 16 * (16 * 16 * 3) * width + block + width * 10


def test_a_network_that_cannot_be_built_without_memory_is_counted_too() -> None:
    # torchvision computes RegNet's widths with tensors.
    assert model_cost(any_spec("torchvision:regnet_y_400mf"), 224).params == 4_344_144


def test_a_convnext_counts_the_same_through_timm() -> None:
    theirs, ours = model_cost(any_spec("timm:convnext_tiny"), 224), model_cost(any_spec("convnext_tiny"), 224)
    assert (theirs.params, theirs.macs) == (ours.params, ours.macs)
    # timm's LayerScale is inside the layers that activations are counted of, as ours is.
    assert theirs.activations == ours.activations


@pytest.mark.parametrize("name", [SWIN, "timm:resnet18", "timm:resnetv2_50x1_bit", "torchvision:resnet18"])
def test_a_peer_is_trained_like_a_network_of_ours(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, size=64)
    assert isinstance(network, Peer) and network.spec.num_classes == 5
    images = torch.randn(2, 3, 64, 64)
    network(images).sum().backward()
    # BiT starts its last norms with 0, so a gradient may be 0, but it is there.
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    before = network(images)
    network.pick_classes([3, 1])
    assert network.spec.num_classes == 2
    torch.testing.assert_close(network(images), before[:, [3, 1]])
    network.reset_head(4, head_scale=0.001)
    assert network.spec.num_classes == 4 and network(images).abs().max() < 0.1 * before.abs().max().clamp(min=1)
    groups = parameter_groups(network, Optim(weight_decay=0.05))
    assert sum(len(group.parameters) for group in groups) == len(list(network.parameters()))


def test_tables_of_places_and_tokens_are_not_decayed() -> None:
    decayed, not_decayed = parameter_groups(create_model(SMALL_SWIN, size=64), Optim(weight_decay=0.05))
    assert not any("relative_position_bias_table" in name for name in decayed.parameters)
    assert "net.layers.0.blocks.0.attn.relative_position_bias_table" in not_decayed.parameters
    decayed, not_decayed = parameter_groups(create_model("deit_small", size=32), Optim(weight_decay=0.05))
    assert {"net.pos_embed", "net.cls_token"} <= set(not_decayed.parameters)
    with pytest.raises(UserError, match=r"layer_decay needs a network of this package.*got timm:swin_tiny"):
        parameter_groups(create_model(SMALL_SWIN), Optim(layer_decay=0.8))


def test_only_nets_of_a_fixed_grid_are_built_for_a_size() -> None:
    assert built_for_size(PeerSpec(library="timm", name="resnet18"), 64).size is None
    assert built_for_size(PeerSpec(library="torchvision", name="vit_b_16"), 64).size == 64
    assert create_model("deit_small", size=64, num_classes=3)(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(UserError, match="timm:deit_small_patch16_224 cannot take pictures of 7 pixels"):
        model_cost(any_spec("deit_small"), 7)
    for size in (None, 64):
        network = create_model("swin_tiny", size=size, num_classes=3)
        require_fits(network.spec, size or 224)
        with pytest.raises(UserError, match="swin_tiny_patch4_window7_224 cannot take pictures of 96 pixels"):
            require_fits(network.spec, 96)


def test_stochastic_depth_reaches_the_library() -> None:
    torch.manual_seed(0)
    network = create_model(SMALL_SWIN, size=32, drop_path=0.9, num_classes=3).train()
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", [SWIN, "torchvision:swin_t", "torchvision:convnext_tiny"])
def test_no_stochastic_depth_is_none_whatever_the_library_prefers(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name, size=32, num_classes=3).train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), network(images))


def test_stages_are_told_where_the_library_tells_them() -> None:
    network = create_model(SMALL_SWIN, size=64)
    maps = network.features(torch.zeros(1, 3, 64, 64))
    assert [tuple(one.shape) for one in maps] == [
        (1, channels, 64 // s, 64 // s) for s, channels in network.feature_info
    ]
    with pytest.raises(UserError, match="does not tell the outputs of its stages"):
        create_model("torchvision:resnet18").features(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("timm:swin_tiny_patch4_window7_225", {}, "timm has no model .*did you mean swin_tiny_patch4_window7_224"),
        ("torchvision:resnet19", {}, "torchvision has no classifier resnet19; did you mean resnet18"),
        ("timm:", {}, "needs a name after the colon"),
        ("swin_tiny", {"stem_stride": 2}, "knows no stem_stride"),
        ("swin_tiny", {"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
        ("torchvision:resnet18", {"drop_path": 0.1}, "torchvision:resnet18 cannot be built with no options"),
        ("torchvision:resnet18", {"in_channels": 1}, "take 3 channels, not 1"),
        ("timm:deit_small_distilled_patch16_224", {}, "no head that is one linear layer"),
    ],
)
def test_mistakes_are_one_sentence(name: str, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        create_model(name, **changes)


def test_an_option_that_the_network_does_not_take_is_a_mistake() -> None:
    spec = any_spec("timm:resnet18")
    assert isinstance(spec, PeerSpec)
    with pytest.raises(UserError, match=r"timm:resnet18 cannot be built with embed_dim=48.*embed_dim"):
        create_model(with_options(spec, {"embed_dim": 48}))
    with pytest.raises(UserError, match=r"model\.num_classes cannot be set"):
        with_options(spec, {"num_classes": 3})


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("timm:vit_small_patch16_224", {"patch_size": 0}),
        ("timm:resnet18", {"act_layer": "nothing"}),
        ("timm:resnet18", {"layers": [2]}),
        ("timm:vit_small_patch16_224", {"num_heads": 0}),
    ],
)
def test_whatever_a_library_raises_is_one_sentence(name: str, option: dict[str, Any]) -> None:
    spec = any_spec(name)
    assert isinstance(spec, PeerSpec)
    with pytest.raises(
        UserError, match=rf"{name} cannot (be built with {next(iter(option))}|take pictures of 64 pixels)"
    ):
        model_cost(with_options(spec, option), 64)


def test_a_spec_from_a_file_makes_timm_read_no_other_file(tmp_path: Path) -> None:
    # Earlier timm unpickles what checkpoint_path names, and a spec comes with files that nobody need trust.
    values = {"library": "timm", "name": "resnet18", "options": {"checkpoint_path": str(tmp_path / "evil.pth")}}
    with pytest.raises(UserError, match=r"model\.checkpoint_path cannot be set"):
        spec_from_dict(values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": 5}, "needs a name after the colon"),
        ({"size": "big"}, "size must be a whole number of at least 1, got 'big'"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"num_classes": True}, "num_classes must be a whole number of at least 1, got True"),
        ({"num_classes": 2.5}, "num_classes must be a whole number of at least 1, got 2.5"),
        ({"in_channels": None}, "in_channels must be a whole number of at least 1, got None"),
        ({"options": [1]}, r"options must be names with values, got \[1\]"),
        ({"options": {"a": {"b": 1}}}, r"model\.a must be a number, a text"),
        ({"options": {"a": [[1]]}}, r"model\.a must be a number, a text"),
    ],
)
def test_a_spec_with_odd_values_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        spec_from_dict({"library": "timm", "name": "resnet18", **values})


def test_without_timm_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "timm":
            raise ImportError("no timm")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"need timm; install it with: pip install 'convnext\[peers\]'"):
        create_model("swin_tiny")
    assert create_model("torchvision:resnet18", num_classes=2).spec.num_classes == 2


def test_specs_survive_json_and_have_names() -> None:
    spec = with_options(PeerSpec(library="timm", name="vit_small_patch16_224", size=64), {"depths": [1, 2], "x": "y"})
    assert spec_from_dict(spec.to_dict()) == spec
    assert spec_from_dict(MODELS["convnext_tiny"].spec.to_dict()) == MODELS["convnext_tiny"].spec
    assert model_name(any_spec("swin_tiny")) == model_name(any_spec(SWIN)) == "swin_tiny"
    assert model_name(any_spec("timm:resnet18")) == "timm:resnet18"
    with pytest.raises(UserError, match="no values of a peer's spec"):
        spec_from_dict({"library": "timm", "name": "resnet18", "colour": "red"})


def test_a_peer_takes_the_recipe_of_the_convnext_it_is_compared_with() -> None:
    assert recipe_for("imagenet-1k", "swin_base").regularise.drop_path == 0.5
    assert recipe_for("imagenet-1k", "timm:resnet18") == recipe_for("imagenet-1k", "convnext_tiny")
    sourced = source_of("imagenet-1k", "swin_base", "regularise.drop_path")
    assert sourced.differs == "the value of convnext_base; the paper trains no swin_base"
    assert source_of("imagenet-1k", "swin_base", "optim.lr") == source_of("imagenet-1k", "convnext_base", "optim.lr")
