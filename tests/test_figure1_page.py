"""Figure 1 as drawn: read back from its SVG, its page and matplotlib's own measures."""

import math
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from convnext.errors import UserError
from convnext.figure1.bubbles import Bubble, Content, Panel
from convnext.figure1.content import content_of
from convnext.figure1.draw import draw_panels, rendered, unlabelled
from convnext.figure1.families import CONVNEXT, FAMILIES, OTHER, SWIN
from convnext.figure1.write import files_of, write_figure1
from tests.lab.page import Page

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
NASTY = 'a<b>&"quoted" $x_1$ </script>'


def made_up(*bubbles: Bubble, name: str = "measured-1", title: str = "Measured") -> Panel:
    return Panel(
        name=name, title=title, across="gmacs", x_label="cost", y_label="top-1", measured=True, bubbles=bubbles
    )


def bubble(gmacs: float, top1: float, label: str = "net", std: float | None = None, *, swin: bool = False) -> Bubble:
    return Bubble(
        model="net",
        label=label,
        family=SWIN if swin else CONVNEXT,
        size=64,
        params=3_400_000,
        gmacs=gmacs,
        top1=top1,
        std=std,
        seeds=3,
        source="measured, flowers",
    )


@pytest.fixture(scope="module")
def papers() -> Content:
    return content_of([], [])


@pytest.fixture(scope="module")
def folder(papers: Content, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("figure1")
    write_figure1(papers, place / "figure1")
    return place


@pytest.fixture(scope="module")
def figure(papers: Content) -> Figure:
    return draw_panels(papers.panels)


def used_at(group: ElementTree.Element) -> tuple[float, float]:
    use = next(group.iter(f"{SVG}use"))
    return float(use.get("x", "")), float(use.get("y", ""))


def scale_of(axis: ElementTree.Element, side: int, *, log: bool) -> tuple[float, float]:
    """Return start and step of an axis from its first and last tick: a place on the page is (place - start) / step."""
    ticks = [group for group in axis if "tick" in group.get("id", "")]
    marks = []
    for tick in (ticks[0], ticks[-1]):
        value = float("".join(next(tick.iter(f"{SVG}text")).itertext()))
        marks.append((used_at(tick)[side], math.log10(value) if log else value))
    (start, low), (end, high) = marks
    step = (end - start) / (high - low)
    return start - low * step, step


def test_each_bubble_stands_where_the_ticks_say(papers: Content, folder: Path) -> None:
    tree = ElementTree.parse(folder / "figure1.svg")
    groups = {group.get("id", ""): group for group in tree.iter(f"{SVG}g")}
    found = 0
    for panel in papers.panels:
        (axes,) = [
            group
            for name, group in groups.items()
            if name.startswith("axes_") and any(inner.get("id") == f"bubble-{panel.name}-1" for inner in group)
        ]
        inner = {group.get("id", ""): group for group in axes}
        across, up = [group for name, group in inner.items() if name.startswith("matplotlib.axis")]
        x_start, x_step = scale_of(across, 0, log=True)
        y_start, y_step = scale_of(up, 1, log=False)
        for number, one in enumerate(panel.bubbles, start=1):
            x, y = used_at(inner[f"bubble-{panel.name}-{number}"])
            assert 10 ** ((x - x_start) / x_step) == pytest.approx(one.gmacs, rel=1e-3)
            assert (y - y_start) / y_step == pytest.approx(one.top1, abs=1e-3)
            said = "".join(inner[f"label-{panel.name}-{number}"].itertext())
            assert one.label in said
            found += 1
    assert found == 35 == sum(name.startswith("bubble-") for name in groups)


def outlines(tree: ElementTree.ElementTree) -> dict[str, str]:
    """The outline of each bubble by its name: a shape that comes twice is drawn from one definition."""
    paths = {f"#{path.get('id')}": path.get("d", "") for path in tree.iter(f"{SVG}path")}
    return {
        group.get("id", ""): paths[next(group.iter(f"{SVG}use")).get(LINK, "")]
        for group in tree.iter(f"{SVG}g")
        if group.get("id", "").startswith("bubble-")
    }


def area(path: str) -> float:
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", path)]
    width, height = (max(numbers[side::2]) - min(numbers[side::2]) for side in (0, 1))
    # A circle is drawn with curves, a diamond's first corner is alone in its row.
    share = math.pi / 4 if "C" in path else 1.0 if numbers[1] in (numbers[3], numbers[-1]) else 0.5
    return share * width * height


def test_areas_are_proportional_to_cost_round_or_square(papers: Content, folder: Path) -> None:
    tree = ElementTree.parse(folder / "figure1.svg")
    groups, drawn = {group.get("id", ""): group for group in tree.iter(f"{SVG}g")}, outlines(tree)
    per_gmac = {}
    for panel in papers.panels:
        for number, one in enumerate(panel.bubbles, start=1):
            name = f"bubble-{panel.name}-{number}"
            per_gmac[name] = area(drawn[name]) / one.gmacs
            assert ("C" in drawn[name]) == (one.family.kind == "ConvNet")
            style = ElementTree.tostring(groups[name], encoding="unicode")
            assert f"fill: {one.family.colour.lower()}" in style
    # To the digits that an SVG keeps.
    assert max(per_gmac.values()) == pytest.approx(min(per_gmac.values()), rel=1e-3)


def test_measured_bubbles_have_a_scale_of_their_own() -> None:
    small = draw_panels([made_up(bubble(0.01, 50), bubble(0.04, 60, swin=True))])
    areas = {one.get_gid(): one.get_sizes()[0] for one in small.axes[0].collections if one.get_gid()}
    assert areas["bubble-measured-1-1"] > 20
    assert areas["bubble-measured-1-2"] == pytest.approx(math.pi / 4 * 4 * areas["bubble-measured-1-1"])


def label_boxes(figure: Figure) -> list[tuple[int, str, Bbox]]:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    return [
        (at, text.get_gid() or "", text.get_window_extent(renderer))
        for at, axes in enumerate(figure.axes)
        for text in axes.texts
        if (text.get_gid() or "").startswith("label-")
    ]


@pytest.mark.parametrize("across", ["gmacs", "speed"])
def test_labels_cover_neither_each_other_nor_a_bubble_nor_the_frame(across: str) -> None:
    panels = content_of([], [], across="speed" if across == "speed" else "gmacs").panels
    figure = draw_panels(panels)
    figure.draw_without_rendering()
    boxes = label_boxes(figure)
    assert len(boxes) == sum(len(panel.bubbles) for panel in panels) and unlabelled(figure, panels) == []
    for (here, one, first), (there, other, second) in combinations(boxes, 2):
        assert here != there or not first.overlaps(second), (one, other)
    points = figure.dpi / 72
    for at, name, box in boxes:
        axes = figure.axes[at]
        frame = axes.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1, name
        drawn = [one for one in axes.collections if one.get_gid()]
        assert drawn
        for one in drawn:
            ((x, y),) = axes.transData.transform(one.get_offsets())
            (size,) = one.get_sizes()
            far = math.hypot(x - min(max(x, box.x0), box.x1), y - min(max(y, box.y0), box.y1))
            # Half the side at least; squares reach farther in the corners only.
            assert far > math.sqrt(size) / 2 * points * 0.99, (name, one.get_gid())


def test_bubbles_and_error_bars_stay_inside_the_axes() -> None:
    panels = [*content_of([], []).panels, made_up(bubble(0.02, 61, std=9), bubble(0.03, 75, std=2), bubble(0.5, 62))]
    figure = draw_panels(panels)
    points = figure.dpi / 72
    for axes in figure.axes:
        frame = axes.get_window_extent()
        for one in axes.collections:
            if not one.get_gid():
                continue
            ((x, y),) = axes.transData.transform(one.get_offsets())
            far = math.sqrt(one.get_sizes()[0]) / 2 * points
            assert frame.x0 < x - far and x + far < frame.x1 and frame.y0 < y - far and y + far < frame.y1
    low, high = figure.axes[4].get_ylim()
    assert low < 52 and high > 77
    bars = [one.get_segments()[0] for one in figure.axes[4].collections if isinstance(one, LineCollection)]
    # A single run has none.
    assert sorted((low, high) for (_, low), (_, high) in bars) == [(52, 70), (73, 77)]


def test_the_same_content_gives_the_same_bytes_whatever_the_style(
    papers: Content, folder: Path, tmp_path: Path
) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "path"}):
        write_figure1(papers, tmp_path / "figure1")
    for name in ("figure1.png", "figure1.svg", "figure1.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_the_page_needs_nothing_else_and_tells_every_number(papers: Content, folder: Path) -> None:
    page = Page(folder / "figure1.html")
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"url\((?!#)|@import|https?:(?!//www\.w3\.org/)", page.source)
    assert len(set(page.ids)) == len(page.ids)
    for panel in papers.panels:
        head, *rows = page.tables[f"table-{panel.name}"]
        assert head[3:8] == ["pixels", "parameters", "GMACs", "top-1, %", "images/s"]
        told = [(row[0], int(row[3]), float(row[4].rstrip("M")), float(row[5]), float(row[6])) for row in rows]
        assert told == [(one.label, one.size, one.params / 1e6, one.gmacs, one.top1) for one in panel.bubbles]
        for number in range(1, len(panel.bubbles) + 1):
            name = f"{panel.name}-{number}"
            assert {f"bubble-{name}", f"label-{name}", f"row-{name}"} <= set(page.ids)
    assert page.source.count('tabindex="0"') == 35
    # A rim that stands with the shape could not change where a bubble is chosen.
    assert not re.search(r'<path id="[^"]*" d="[^"]*" style="stroke: var\(--page\)', page.source)
    titles = [text for text in page.texts["title"] if text.startswith("ConvNeXt-T 224")]
    assert titles[0] == (
        "ConvNeXt-T 224: 82.1% top-1, 4.5 GMACs, 29M parameters, 774.7 images/s (paper, Table 1, ImageNet-1K)"
    )


def test_the_svg_alone_tells_the_numbers_too(folder: Path) -> None:
    tree = ElementTree.parse(folder / "figure1.svg")
    titles = [group.findtext(f"{SVG}title") for group in tree.iter(f"{SVG}g") if group.get("class") == "bubble"]
    assert len(titles) == 35
    said = "ConvNeXt-XL 384: 87.8% top-1, 179.0 GMACs, 350M parameters, 30.2 images/s (paper, Table 1, ImageNet-22K)"
    assert None not in titles and titles.count(said) == 1


def test_names_are_texts_whatever_is_in_them(tmp_path: Path) -> None:
    panel = made_up(bubble(0.02, 61, NASTY, std=1.5), title=f"Measured on {NASTY}")
    write_figure1(Content(panels=(panel,), left_out=(NASTY,)), tmp_path / "figure1")
    page = Page(tmp_path / "figure1.html")
    assert "b" not in page.tags
    assert page.tables["table-measured-1"][1][0] == NASTY and page.texts["li"] == [NASTY]
    assert page.tables["table-measured-1"][1][6] == "61.00 ± 1.50"
    texts = ["".join(text.itertext()) for text in ElementTree.parse(tmp_path / "figure1.svg").iter(f"{SVG}text")]
    assert NASTY in texts and f"Measured on {NASTY}" in texts


def test_a_long_title_is_cut_and_a_label_that_fits_nowhere_is_named() -> None:
    panel = made_up(bubble(0.02, 61, "x" * 200), bubble(0.03, 62, "short"), title="a" + "b" * 200 + "c")
    figure = draw_panels([panel])
    assert unlabelled(figure, [panel]) == ["x" * 200]
    title = figure.axes[0].get_title(loc="left")
    assert title.startswith("ab") and title.endswith("bc") and "…" in title
    figure.draw_without_rendering()
    assert figure.axes[0]._left_title.get_window_extent().x1 <= figure.bbox.x1


def test_ends_of_an_axis_do_not_blow_up_what_is_next_to_nothing() -> None:
    axes = draw_panels([made_up(bubble(4.5, 61.00), bubble(4.51, 61.01))]).axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert right / left > 2.4 and top - bottom >= 2
    assert left < 4.5 < 4.51 < right and bottom < 61 < top


def test_all_panels_are_drawn_and_a_family_has_one_mark_in_the_legend(tmp_path: Path) -> None:
    stranger = Bubble(
        model="timm:x", label="x", family=OTHER, size=64, params=1, gmacs=0.05, top1=55.0, seeds=1, source="measured"
    )
    panels = [made_up(bubble(0.02, 61), stranger, name=f"measured-{at}") for at in range(3)]
    figure = draw_panels(panels)
    legend = [text.get_text() for text in figure.axes[-1].texts]
    assert legend == [family.name for family in FAMILIES if family in (CONVNEXT, OTHER)]
    said = [text.get_text() for text in figure.axes[1].texts]
    assert "round: ConvNet, diamond: unknown" in said
    (tmp_path / "figure.svg").write_bytes(rendered(figure, "svg"))
    drawn = outlines(ElementTree.parse(tmp_path / "figure.svg"))
    ratio = area(drawn["bubble-measured-2-2"]) / area(drawn["bubble-measured-2-1"])
    assert "C" not in drawn["bubble-measured-2-2"] and ratio == pytest.approx(2.5, rel=1e-3)


def test_the_ending_decides_what_is_written(papers: Content, tmp_path: Path) -> None:
    assert [path.name for path in files_of(tmp_path / "a")] == ["a.png", "a.svg", "a.html"]
    half = Content(panels=papers.panels[:1])
    assert write_figure1(half, tmp_path / "b.PNG").paths == (tmp_path / "b.PNG",)
    assert [path.name for path in tmp_path.iterdir()] == ["b.PNG"]
    with Image.open(tmp_path / "b.PNG") as image:
        assert image.format == "PNG" and image.width > 1000
    with pytest.raises(UserError, match=r"got .*figure\.pdf"):
        write_figure1(half, tmp_path / "figure.pdf")
