"""Pages of drawings: they highlight what the data says, can be read and searched, and are the same each time."""

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon
from PIL import Image

from convnext.cost import total_cost
from convnext.diagrams.draw import draw_page, page
from convnext.diagrams.nets import drawn
from convnext.diagrams.panel import macs_text
from convnext.diagrams.parts import elements, parts_of
from convnext.lab.regimes import chosen_regime
from convnext.models import MODELS
from convnext.roadmap import spec_at
from tests.diagrams.expected import STEP_NAMES, TOLD
from tests.diagrams.svg import svg_texts

WARM = "#ffc27a"


def drawing(*names: str, regime: str = "resnet50", size: int = 224) -> Figure:
    return page([drawn(name, regime=regime, size=size) for name in names])


def by_gid(figure: Figure, number: int) -> dict[str, Any]:
    start = f"net{number}."
    return {
        str(artist.get_gid()).removeprefix(start): artist
        for artist in figure.axes[0].get_children()
        if str(artist.get_gid()).startswith(start)
    }


def warm(figure: Figure, number: int) -> set[str]:
    return {
        gid.removesuffix(".mark")
        for gid, artist in by_gid(figure, number).items()
        if gid.endswith(".mark") and to_hex(artist.get_facecolor()) == WARM
    }


def dashed(figure: Figure, number: int) -> set[str]:
    return {
        gid.removesuffix(".mark")
        for gid, artist in by_gid(figure, number).items()
        if isinstance(artist, FancyBboxPatch) and artist.get_linestyle() in ("--", "dashed")
    }


def as_drawn(names: set[str]) -> set[str]:
    """A convolution is one box, whatever of it changed."""
    inside = re.compile(r"(first|spatial|last)\.(kernel|kind|place|channels)")
    return {found[1] if (found := inside.fullmatch(name)) else name for name in names}


def test_the_page_of_all_steps_highlights_what_the_data_says() -> None:
    figure = drawing(*STEP_NAMES)
    assert not warm(figure, 1) and not dashed(figure, 1)
    for number, name in enumerate(STEP_NAMES[1:], start=2):
        marked, gone, _ = TOLD[name]
        assert warm(figure, number) == as_drawn(marked), name
        assert dashed(figure, number) == gone, name
        written = by_gid(figure, number)
        for key, text in elements(parts_of(spec_at(name))).items():
            if as_drawn({key}) == {key}:
                assert written[key].get_text() == text
        assert all(written[key].get_text().startswith("no ") for key in gone)


def test_the_long_name_of_a_scaled_regime_stays_in_its_drawing() -> None:
    options = {"stem_stride": 2, "layer_scale": 1e-6}
    regime = chosen_regime("quarter", width=32, depths=(2, 3, 4, 3), settings=options)
    figure = page([drawn(name, regime=regime) for name in ("width", "separate_downsampling")])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().startswith(f"{regime.name}:")]
    assert len(boxes) == 2 and boxes[0].x1 < boxes[1].x0 and boxes[1].x1 < figure.bbox.x1


def width_of(figure: Figure, number: int, role: str) -> tuple[float, float]:
    polygon = by_gid(figure, number)[f"{role}.mark"]
    assert isinstance(polygon, Polygon)
    (left, _), (right, _), (lower_right, _), (lower_left, _) = polygon.get_xy()[:4]
    return round(right - left, 6), round(lower_right - lower_left, 6)


def test_a_bottleneck_is_narrow_inside_and_an_inverted_one_wide() -> None:
    figure = drawing("original", "width", "inverted", "move_up")
    top, inside = width_of(figure, 1, "first")
    assert top > inside and width_of(figure, 1, "spatial") == (inside, inside)
    assert width_of(figure, 1, "last") == (inside, top)
    assert width_of(figure, 2, "first") > (top, inside)
    narrow, wide = width_of(figure, 3, "first")
    assert narrow < wide and width_of(figure, 3, "last") == (wide, narrow)
    assert width_of(figure, 3, "spatial") == (wide, wide) and width_of(figure, 4, "spatial") == (narrow, narrow)
    heights = [by_gid(figure, 4)[f"{role}.mark"].get_xy()[0][1] for role in ("spatial", "first", "last")]
    assert heights == sorted(heights)


def test_norms_and_activations_stand_behind_their_convolution_in_their_order() -> None:
    for name, order in (
        ("gelu", "spatial spatial.norm spatial.act first first.norm first.act last last.norm block.act"),
        ("fewer_norms", "spatial spatial.norm first first.norm first.act last last.norm"),
        ("width", "first first.norm first.act spatial spatial.norm spatial.act last last.norm block.act"),
        ("convnext_tiny", "spatial spatial.norm first first.act last last.norm block.scale"),
    ):
        # The one before tells what is gone, which keeps its place.
        written = by_gid(drawing("gelu", name), 2)
        places = {key: written[key].get_position() for key in order.split()}
        assert sorted(places, key=lambda key: (round(places[key][1], 3), places[key][0])) == order.split()


@pytest.mark.parametrize(
    "names",
    [
        STEP_NAMES,
        ["original", "separate_downsampling"],
        ["convnext_xlarge"],
        [*MODELS],
        ["convnext_isotropic_large", "resnet200:stage_ratio", "quarter:inverted", "convnext_base"],
    ],
)
def test_nothing_is_written_over_another_or_over_the_edge(names: list[str]) -> None:
    figure = drawing(*names)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = np.array([text.get_window_extent(canvas.get_renderer()).extents for text in texts])
    assert boxes[:, :2].min() > 0
    assert boxes[:, 2].max() < figure.bbox.width and boxes[:, 3].max() < figure.bbox.height
    lower, upper = boxes[:, None, :2], boxes[:, None, 2:]
    over = ((np.minimum(upper, upper.swapaxes(0, 1)) - np.maximum(lower, lower.swapaxes(0, 1))) > 1).all(axis=2)
    np.fill_diagonal(over, False)
    assert [(texts[a].get_text(), texts[b].get_text()) for a, b in np.argwhere(over)] == []


def test_an_svg_can_be_searched_and_its_multiply_adds_sum_up(tmp_path: Path) -> None:
    draw_page(tmp_path / "page.svg", [drawn("original"), drawn("separate_downsampling")])
    texts = dict(svg_texts(tmp_path / "page.svg"))
    said = [text for _, text in svg_texts(tmp_path / "page.svg")]
    for text in ("ResNet, 90-epoch recipe", "resnet50:original, the start", "4.09 GMACs, 25.56M parameters"):
        assert text in said
    assert "4.46 GMACs (+0.37), 28.58M parameters" in said
    assert texts["net1.first"] == "1x1, 256 → 64" and texts["net2.spatial"] == "d7x7, 96"
    assert texts["net2.block.act"] == "no ReLU" and texts["net2.first.act"] == "GELU"
    assert (
        said[said.index("changes from original:") + 1] == "• stem: 7x7 stride 2, BN, ReLU, max-pool → 4x4 stride 4, LN"
    )
    assert "• kernel 3 → 7" in said
    units = {"G": 1e9, "M": 1e6, "k": 1e3}
    for number, total in ((1, 4.089e9), (2, 4.456e9)):
        parts = [f"net{number}.{part}.macs" for part in ("stem", "stage1", "stage2", "stage3", "stage4", "head")]
        written = [texts[part].split() for part in parts]
        assert sum(float(value) * units[unit] for value, unit in written) == pytest.approx(total, rel=3e-3)
    assert [texts[f"net2.{role}.macs"] for role in ("spatial", "first", "last")] == ["14.8 M", "116 M", "116 M"]


def test_multiply_adds_have_three_digits() -> None:
    counts = (768_000, 2_048_000, 9_633_792, 51_380_224, 115_605_504, 999_499_999, 999_900_000, 12_345_678_901)
    assert [macs_text(count) for count in counts] == (
        ["768 k", "2.05 M", "9.63 M", "51.4 M", "116 M", "999 M", "1.00 G", "12.3 G"]
    )


def test_small_nets_and_tried_steps_say_so(tmp_path: Path) -> None:
    figure = drawing("kernel_7", "kernel_9", regime="quarter", size=32)
    said = [text.get_text() for text in figure.axes[0].texts]
    assert "quarter:kernel_7, kept" in said and "quarter:kernel_9, only tried" in said
    spec = spec_at("kernel_7", "quarter")
    assert f"{total_cost(spec, 32).macs / 1e6:.2f} MMACs, 1.83M parameters" in said
    assert "MACs: multiply-adds for one picture of 32x32" in said
    more = (total_cost(spec_at("kernel_9", "quarter"), 32).macs - total_cost(spec, 32).macs) / 1e6
    assert any(f"MMACs (+{more:.2f})" in text for text in said)


def test_the_same_page_has_the_same_bytes_whatever_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = [drawn("gelu"), drawn("gelu")]
    for name in ("one", "two"):
        draw_page(tmp_path / f"{name}.svg", nets)
        draw_page(tmp_path / f"{name}.png", nets)
        for setting, value in (("font.family", ["serif"]), ("savefig.bbox", "tight"), ("lines.antialiased", False)):
            monkeypatch.setitem(matplotlib.rcParams, setting, value)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert matplotlib.rcParams["savefig.bbox"] == "tight"
    said = [text for _, text in svg_texts(tmp_path / "one.svg")]
    assert said[said.index("changes from gelu:") + 1] == "• nothing in the network"
    assert "4.15 GMACs (as before), 25.86M parameters" in said


def test_a_png_is_a_picture_with_warm_places(tmp_path: Path) -> None:
    draw_page(tmp_path / "page.png", [drawn("depthwise"), drawn("inverted")])
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    half = pixels.shape[1] // 2
    upper = pixels[: pixels.shape[0] // 2]
    like_warm = (np.abs(upper - [0xFF, 0xC2, 0x7A]).sum(axis=2) < 12).mean(axis=0)
    assert like_warm[:half].sum() == 0 and like_warm[half:].mean() > 0.02
    assert pixels.min() < 60 and (pixels.mean(axis=2) > 250).mean() < 0.95
