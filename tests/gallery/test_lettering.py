"""Names in pictures: cut to fit, the number after them kept, and in letters that there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from convnext.gallery import lettering
from convnext.gallery.lettering import class_name, line_of, shown_name


def inked(text: str, tail: str = "") -> np.ndarray:
    line = line_of(text, 20, longest_px=400, tail=tail)
    picture = Image.new("L", (460, 60))
    pen = ImageDraw.Draw(picture)
    pen.fontmode = "1"
    line.draw(pen, 30, 15, 255)  # type: ignore[arg-type]
    return np.array(picture) > 0


@given(st.text(max_size=60), st.sampled_from(["", "93%", "×12"]), st.integers(1, 300), st.integers(8, 40))
def test_a_line_is_never_wider_than_allowed(text: str, tail: str, longest: int, size: int) -> None:
    line = line_of(text, size, longest_px=longest, tail=tail)
    assert 0 <= line.width <= longest
    assert line.tail in ("", tail)
    if line.text:
        assert line.text == shown_name(text) or line.text.endswith("…")


def test_ink_stays_within_the_width_and_height() -> None:
    for text in ("fjord Ågrÿ", "кошка", "Ωμέγα", "WWWW"):
        line = line_of(text, 20, longest_px=400, tail="93%")
        rows, columns = inked(text, "93%").nonzero()
        assert columns.min() >= 29 and columns.max() <= 30 + line.width
        assert columns.max() >= 30 + line.width - 4
        assert rows.min() >= 15 and rows.max() < 15 + line.height


def test_the_name_is_cut_before_its_number() -> None:
    whole = line_of("traffic light", 16, longest_px=1000, tail="93%")
    assert (whole.text, whole.tail) == ("traffic light", "93%")
    cut = line_of("traffic light", 16, longest_px=whole.width - 1, tail="93%")
    assert cut.tail == "93%" and cut.text.endswith("…") and "traffic light".startswith(cut.text[:-1].rstrip())
    assert len(cut.text) >= 8
    narrow = line_of("traffic light", 16, longest_px=24, tail="93%")
    assert narrow.tail == "" and narrow.text
    assert line_of("traffic light", 16, longest_px=2, tail="93%").text == ""


def test_the_number_stands_last_even_after_a_name_from_right_to_left() -> None:
    alone, both = inked("قطة"), inked("قطة", "×1")
    end = alone.nonzero()[1].max() + 1
    # Where the name ends there is the gap, and beyond it the number; before it nothing has changed.
    assert np.array_equal(alone[:, :end], both[:, :end])
    assert both[:, end + 3 :].any()


def test_accented_names_are_drawn_in_their_own_letters() -> None:
    # A font that lacks a letter draws the same box for each.
    drawings = [inked(letter).tobytes() for letter in "éčłøßжΩشש"]
    assert len(set(drawings)) == len(drawings)


def test_names_are_one_line_of_characters() -> None:
    assert shown_name("a\nb\t c\x00d\u2028e ") == "a b c d e"
    assert shown_name("bad\udcffbyte") == "bad?byte"
    assert shown_name("<b>&amp;") == "<b>&amp;"


def test_a_name_that_no_font_can_write_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_installed", lambda: ())
    assert class_name("\U0001f408\u732b test", 7) == "class 7"
    assert class_name("  ", 3) == "class 3"
    assert class_name("кошка é", 7) == "кошка é"


def test_an_installed_font_is_taken_only_where_it_has_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_installed", lambda: ("/no/such/font.ttf", lettering._plain_path()))
    assert class_name("\U0001f408\u732b other", 7) == "class 7"
