import json
from importlib.resources import files
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.robustness.real import picture_number, read_real_labels


def write(folder: Path, value: object) -> Path:
    (folder / "real.json").write_text(json.dumps(value))
    return folder / "real.json"


def test_the_published_file_is_read_as_it_is(tmp_path):
    pytest.importorskip("timm")
    text = files("timm.data").joinpath("_info", "imagenet_real_labels.json").read_text()
    (tmp_path / "real.json").write_text(text)
    labels = read_real_labels(tmp_path / "real.json")
    assert len(labels) == 50_000 and sum(map(bool, labels)) == 46_837
    assert labels[:2] == ((), (970, 795))


def test_a_number_is_counted_from_one():
    assert picture_number("n01440764/ILSVRC2012_val_00000001.JPEG", 3) == 0
    assert picture_number("ILSVRC2012_val_00000003.png", 3) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ILSVRC2012_val_00000004.JPEG", "has number 4, and there are labels for 1 to 3"),
        ("ILSVRC2012_val_00000000.JPEG", "has number 0"),
        ("n01440764_10026.JPEG", "is no name of a validation picture"),
    ],
)
def test_other_pictures_are_refused(name, words):
    with pytest.raises(UserError, match=words):
        picture_number(name, 3)


@pytest.mark.parametrize("value", [{}, [], [1], [[1000]], [[-1]], [["1"]], [[True]]])
def test_other_files_are_refused(tmp_path, value):
    with pytest.raises(UserError, match="no list of lists of class numbers from 0 to 999"):
        read_real_labels(write(tmp_path, value))


def test_a_missing_or_broken_file_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"name the file with --labels"):
        read_real_labels(tmp_path / "real.json")
    (tmp_path / "real.json").write_text("[[1]")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_real_labels(tmp_path / "real.json")
