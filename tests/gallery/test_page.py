"""The page of the best and the worst, as a browser would read it."""

import base64
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext.errors import UserError
from convnext.gallery.page import Entry, write_page
from tests.lab.page import Page

NASTY = 'a<b>&"quoted" {{ x }} </script>'


def picture(colour: str, width: int = 60, height: int = 40) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def entry(name: str, score: float | None = 50.0, *, width: int = 60, facts: tuple[str, ...] = ()) -> Entry:
    pair = (("predicted", picture("red", width)), ("true", picture("lime", width)))
    return Entry(name=name, score=score, score_name="AP50", pictures=pair, facts=facts)


def written(
    place: Path,
    *,
    title: str = "title",
    summary: Sequence[tuple[str, str]] = (),
    best: Sequence[Entry] = (),
    worst: Sequence[Entry] = (),
    per_class: Sequence[tuple[str, Mapping[str, float | None]]] = (),
) -> Page:
    path = place / "page.html"
    write_page(path, title=title, summary=summary, best=best, worst=worst, per_class=per_class)
    return Page(path)


def embedded(page: Page) -> list[Image.Image]:
    start = "data:image/jpeg;base64,"
    pictures = []
    for link in page.links:
        if link.startswith(start):
            pictures.append(Image.open(BytesIO(base64.b64decode(link.removeprefix(start), validate=True))))
            pictures[-1].load()
    return pictures


def test_pictures_stand_in_the_order_given_predicted_beside_true(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        best=[entry("first.jpg", 97.25), entry("second.jpg", 90.0)],
        worst=[entry("last.jpg", 0.04), entry("last but one.jpg", None)],
    )
    assert page.texts["h2"] == ["Best pictures", "Worst pictures"]
    assert page.texts["h3"] == ["first.jpg", "second.jpg", "last.jpg", "last but one.jpg"]
    assert page.texts["b"] == ["97.2", "90.0", "0.0", "–"]
    assert page.texts["figcaption"] == ["predicted", "true"] * 4
    found = [image.getpixel((30, 20)) for image in embedded(page)]
    assert len(found) == 8
    for number, (red, green, _) in enumerate(found):  # type: ignore[misc]
        assert (red > 240 and green < 15) if number % 2 == 0 else (green > 240 and red < 15)


def test_names_are_shown_as_they_are_and_run_nothing(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        title=NASTY,
        summary=[(NASTY, NASTY)],
        best=[entry(NASTY, facts=(NASTY,))],
        per_class=[(NASTY, {NASTY: 1.5})],
    )
    for tag in ("title", "h1", "dt", "dd", "h3", "li"):
        assert page.texts[tag] == [NASTY], tag
    assert page.tables["per-class"] == [["class", NASTY], [NASTY, "1.5"]]
    assert page.source.count("<script") == page.source.count("</script>") == 1
    assert "<b>&" not in page.source


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    page = written(tmp_path, best=[entry("one")], worst=[entry("two")], per_class=[("cat", {"AP": 5.0})])
    local = [link for link in page.links if not link.startswith("data:image/jpeg;base64,")]
    assert local and all(link.startswith("#") and link[1:] in page.ids for link in local)
    assert not re.search(r"https?:|//\w|@import|url\(", re.sub(r"base64,[\w+/=]+", "", page.source))
    assert "prefers-color-scheme: dark" in page.source
    assert len(page.ids) == len(set(page.ids))


def test_pictures_are_at_most_900_pixels_wide_and_keep_their_shape(tmp_path: Path) -> None:
    large = Entry(name="large", score=1.0, score_name="mIoU", pictures=(("predicted", picture("red", 1800, 600)),))
    sizes = [image.size for image in embedded(written(tmp_path, best=[large], worst=[entry("small")]))]
    assert sizes == [(900, 300), (60, 40), (60, 40)]


def test_pictures_are_embedded_as_they_look(tmp_path: Path) -> None:
    # Thin lines in strong colours, as of boxes: a codec that halves the colour's resolution would blur them.
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, ::6] = (255, 0, 255)
    one = Entry(name="x", score=1.0, score_name="AP50", pictures=(("predicted", Image.fromarray(pixels)),))
    (shown,) = embedded(written(tmp_path, best=[one]))
    assert np.abs(np.array(shown).astype(int) - pixels).mean() < 8
    grey = Entry(name="x", score=1.0, score_name="AP50", pictures=(("predicted", Image.new("LA", (9, 9))),))
    assert len(embedded(written(tmp_path, best=[grey]))) == 1


def test_the_numbers_and_facts_are_there(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        summary=[("box AP", "43.2"), ("pictures", "5,000")],
        best=[entry("one", facts=("found 5 of 6", "missed: truck"))],
    )
    assert page.texts["dt"] == ["box AP", "pictures"] and page.texts["dd"] == ["43.2", "5,000"]
    assert page.texts["li"] == ["found 5 of 6", "missed: truck"]


def test_the_table_has_each_class_its_values_and_bars(tmp_path: Path) -> None:
    rows: list[tuple[str, dict[str, float | None]]] = [
        ("cat", {"AP": 25.0, "pictures": 1500}),
        ("dog", {"AP": None, "pictures": 3000}),
        ("bird", {"AP": 100.0, "AP50": 7.25, "pictures": 0}),
        ("hare", {"AP": float("nan"), "pictures": 30}),
    ]
    page = written(tmp_path, per_class=rows)
    assert page.tables["per-class"] == [
        ["class", "AP", "pictures", "AP50"],
        ["cat", "25.0", "1,500", "–"],
        ["dog", "–", "3,000", "–"],
        ["bird", "100.0", "0", "7.2"],
        ["hare", "–", "30", "–"],
    ]
    cells = re.findall(r'data-value="([^"]*)" style="--share: ([\d.]+)"', page.source)
    assert [value for value, _ in cells] == ["25", "1500", "", "", "3000", "", "100", "0", "7.25", "", "30", ""]
    assert [float(share) for _, share in cells] == [0.25, 0.5, 0, 0, 1, 0, 1, 0, 0.0725, 0, 0.01, 0]
    # Each head is a button, or nothing could be clicked.
    assert page.texts["button"] == ["class", "AP", "pictures", "AP50"]


def test_values_beyond_the_scale_have_bars_within_it(tmp_path: Path) -> None:
    page = written(tmp_path, per_class=[("cat", {"AP": 130.0}), ("dog", {"AP": -1.0})])
    assert re.findall(r"--share: ([\d.-]+)\"", page.source) == ["1.0", "0.0"]


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    page = written(tmp_path, title="Nothing")
    assert page.texts["h1"] == ["Nothing"] and "No pictures to show." in page.words
    assert not page.tables and not embedded(page)


def test_a_file_name_that_is_no_text_does_no_harm(tmp_path: Path) -> None:
    page = written(tmp_path, best=[entry("bad\udcffname.jpg")])
    assert page.texts["h3"] == ["bad?name.jpg"]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*no folder"):
        write_page(tmp_path / "none" / "page.html", title="", summary=[], best=[], worst=[], per_class=[])
    with pytest.raises(UserError, match=r"cannot write .*folder"):
        write_page(tmp_path, title="", summary=[], best=[], worst=[], per_class=[])
    with pytest.raises(UserError, match="'x' has no pictures"):
        Entry(name="x", score=1.0, score_name="AP50", pictures=())
    assert list(tmp_path.iterdir()) == []
