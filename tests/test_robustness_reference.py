"""The published rows, which file has which, and the verdicts."""

import pytest

from convnext.errors import UserError
from convnext.reference import PAPER_ROWS
from convnext.robustness_reference import ROWS, candidates, compare, row_named, row_of_checkpoint

TINY = row_named("convnext_tiny-1k-224")

# Table 8 as the paper prints it: clean, C, C-bar, A, R, Sketch.
PRINTED = """
resnet50-1k-224 76.1 76.7 57.7 0.0 36.1 24.1
swin_tiny-1k-224 81.2 62.0 - 21.6 41.3 29.1
convnext_tiny-1k-224 82.1 53.2 40.0 24.2 47.2 33.8
swin_base-1k-224 83.4 54.4 - 35.8 46.6 32.4
convnext_base-1k-224 83.8 46.8 34.4 36.7 51.3 38.2
convnext_base-22k-384 86.8 43.1 30.7 62.3 64.9 51.6
convnext_large-22k-384 87.5 40.2 29.9 65.5 66.7 52.8
convnext_xlarge-22k-384 87.8 38.8 27.1 69.3 68.2 55.0
""".split("\n")[1:-1]


@pytest.mark.parametrize("line", PRINTED)
def test_table_8(line):
    name, *values = line.split()
    columns = ("imagenet_top1", "c_mce", "c_bar_error", "a_top1", "r_top1", "sketch_top1")
    numbers = ROWS[name].numbers
    found = [f"{numbers[column].value}" if column in numbers else "-" for column in columns]
    assert found == values and numbers["a_top1"].source == "Table 8"


def test_every_row_of_tables_1_and_2_is_a_row():
    assert len(ROWS) == len(PAPER_ROWS) + 1  # ResNet-50 is in Table 8 only
    assert ROWS["convnext_small-22k-384"].numbers["imagenet_top1"].value == 85.8
    assert ROWS["convnext_isotropic_large-1k-224"].numbers["imagenet_top1"].source == "Table 2"


def test_public_results():
    found = [TINY.numbers[name].value for name in ("imagenet_top5", "real_top1", "v2_top1")]
    assert found == [95.85, 87.31, 70.93] and TINY.numbers["v2_top1"].source == "public results"
    assert row_named("convnext_large-1k-224").numbers["real_top1"].value == 88.59


@pytest.mark.parametrize(
    ("checkpoint", "model", "name"),
    [
        ("files/convnext_tiny_1k_224_ema.pth", "convnext_tiny", "convnext_tiny-1k-224"),
        ("convnext_base_1k_384.pth", "convnext_base", "convnext_base-1k-384"),
        ("convnext_xlarge_22k_1k_384_ema.pth", "convnext_xlarge", "convnext_xlarge-22k-384"),
        ("convnext_tiny_22k_1k_224.safetensors", "convnext_tiny", "convnext_tiny-22k-224"),
        ("convnext_iso_base_1k_224_ema.pth", "convnext_isotropic_base", "convnext_isotropic_base-1k-224"),
        ("hf:timm/convnext_tiny.fb_in1k", "convnext_tiny", "convnext_tiny-1k-224"),
        ("hf:timm/convnext_large.fb_in22k_ft_in1k_384@main", "convnext_large", "convnext_large-22k-384"),
        ("timm:convnext_base.fb_in22k_ft_in1k", "convnext_base", "convnext_base-22k-224"),
        ("hf:facebook/convnext-tiny-224", "convnext_tiny", "convnext_tiny-1k-224"),
        ("hf:facebook/convnext-xlarge-384-22k-1k", "convnext_xlarge", "convnext_xlarge-22k-384"),
        ("timm:resnet50.tv_in1k", "resnet50", "resnet50-1k-224"),
        ("resnet50-0676ba61.pth", "resnet50", "resnet50-1k-224"),
        ("torchvision:resnet50.IMAGENET1K_V1", "resnet50", "resnet50-1k-224"),
        ("timm:swin_base_patch4_window7_224.ms_in22k_ft_in1k", None, "swin_base-22k-224"),
        ("timm:swin_base_patch4_window12_384.ms_in1k", "swin_base_384", "swin_base_384-1k-384"),
    ],
)
def test_published_names_have_a_row(checkpoint, model, name):
    row = row_of_checkpoint(checkpoint, model)
    assert row is not None and row.name == name


@pytest.mark.parametrize(
    ("checkpoint", "model"),
    [
        ("convnext_tiny_22k_224.pth", "convnext_tiny"),  # a head of 22K, not fine-tuned
        ("hf:facebook/convnext-tiny-224-22k", "convnext_tiny"),
        ("timm:convnext_tiny.fb_in22k", "convnext_tiny"),
        ("timm:convnext_tiny", "convnext_tiny"),  # timm prefers weights of its own
        ("timm:convnext_tiny.in12k_ft_in1k", "convnext_tiny"),
        ("convnext_tiny-983f1562.pth", "convnext_tiny"),  # torchvision's training
        ("convnext_tiny_1k_224_mine.pth", "convnext_tiny"),
        ("convnext_tiny_1k_224_ema.pth", "convnext_small"),  # another network in it
        ("resnet50-11ad3fa6.pth", "resnet50"),  # torchvision's second weights
        ("torchvision:resnet50", "resnet50"),  # which it prefers
        ("hf:somebody/model@convnext_tiny_1k_224", "convnext_tiny"),
        ("runs/best", None),
    ],
)
def test_nothing_is_guessed(checkpoint, model):
    assert row_of_checkpoint(checkpoint, model) is None


def test_candidates_are_the_rows_of_the_network():
    assert [row.name for row in candidates("convnext_tiny")] == [
        "convnext_tiny-1k-224",
        "convnext_tiny-22k-224",
        "convnext_tiny-22k-384",
    ]
    assert candidates(None) == []
    with pytest.raises(UserError, match="no reference row convnext_tiny-1k; did you mean convnext_tiny-1k-224"):
        row_named("convnext_tiny-1k")


@pytest.mark.parametrize(
    ("measured", "verdict", "words"),
    [
        (82.3, "agrees", "agrees: 0.20 apart, and 0.2 is allowed"),
        (81.9, "agrees", "agrees: 0.20 apart"),
        (82.31, "differs", "differs by 0.21, more than the 0.2 that rounding"),
        (81.4, "differs", "differs by 0.70, more than the 0.2"),
    ],
)
def test_a_verdict_of_the_whole_set(measured, verdict, words):
    found = compare(TINY, "imagenet_top1", measured, images=50_000, size=224)
    assert (found.verdict, found.reference) == (verdict, 82.1) and words in found.text
    assert found.difference == pytest.approx(measured - 82.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"images": 49_999, "size": 224}, "no verdict: 49,999 pictures were scored, and the set has 50,000"),
        ({"images": 50_000, "size": 288}, "no verdict: scored at 288 pixels, and the row is for 224"),
        ({"images": 50_000, "size": 224, "computed": True}, "computed here"),
    ],
)
def test_no_verdict_where_none_can_be(settings, words):
    found = compare(TINY, "imagenet_top1", 82.1, **settings)
    assert found.verdict == "none" and words in found.text


def test_a_at_384_is_allowed_for():
    row = row_named("convnext_base-22k-384")
    assert compare(row, "a_top1", 64.0, images=7500, size=384).verdict == "agrees"
    assert compare(TINY, "a_top1", 25.9, images=7500, size=224).verdict == "differs"
    assert compare(row, "c_mce", 43.5, images=3_750_000, size=384).verdict == "agrees"
    assert compare(row, "v2_top1", 70.0, images=10_000, size=384) is None
