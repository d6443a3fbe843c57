import numpy as np
import pytest

from convnext.data.tree import Listing, source_from_listing, visible
from convnext.errors import UserError


class NameStore:
    def __init__(self, files):
        self.files = files

    def name(self, entry):
        return self.files[entry]

    def picture(self, entry):
        raise AssertionError("a listing reads no pictures")


def source(files, folders=(), seed=0):
    listing = Listing(where="DATA", files=tuple(files), folders=tuple(folders))
    return source_from_listing(listing, NameStore, seed=seed, val_fraction=0.25)


def members(split):
    return {split.name(i): int(split.labels[i]) for i in range(len(split))}


PARTS = ["train/b/1.png", "train/a/2.png", "val/a/3.png", "val/b/4.png"]


def test_train_and_val_folders():
    found = source(PARTS)
    assert found.classes == ("a", "b")
    assert members(found.train) == {"train/a/2.png": 0, "train/b/1.png": 1}
    assert members(found.val) == {"val/a/3.png": 0, "val/b/4.png": 1}
    assert found.label_safe.flip


@pytest.mark.parametrize("name", ["valid", "validation", "test", "Val"])
def test_other_names_of_val(name):
    found = source([file.replace("val/", f"{name}/") for file in PARTS])
    assert members(found.val) == {f"{name}/a/3.png": 0, f"{name}/b/4.png": 1}


def test_val_goes_before_test():
    found = source([*PARTS, "test/a/5.png", "test/c/6.png"])
    assert members(found.val) == {"val/a/3.png": 0, "val/b/4.png": 1}


def test_one_folder_around():
    found = source([f"top/{file}" for file in PARTS] + ["readme.txt"])
    assert members(found.train) == {"top/train/a/2.png": 0, "top/train/b/1.png": 1}


def test_only_a_train_folder_is_split():
    found = source([f"train/{name}/{i}.png" for name in "ab" for i in range(4)])
    assert found.classes == ("a", "b")
    assert (len(found.train), len(found.val)) == (6, 2)
    assert all(name.startswith("train/") for name in members(found.val))


def test_class_folders_are_split_with_each_class_in_both():
    files = [f"{name}/{i}.png" for name in ("b", "a", "a-b") for i in range(8)]
    found = source(files)
    assert found.classes == ("a", "a-b", "b")
    whole = members(found.train) | members(found.val)
    assert whole == {file: found.classes.index(file.split("/")[0]) for file in files}
    assert np.bincount(found.val.labels).tolist() == [2, 2, 2]
    assert members(source(reversed(files)).val) == members(found.val), "the order of the listing is no matter"


def test_a_class_may_be_called_train():
    assert source([f"{name}/{i}.png" for name in ("bus", "train") for i in range(2)]).classes == ("bus", "train")


def test_nested_pictures_of_any_ending():
    found = source([*PARTS, "train/a/deep/er/5.JPEG", "train/b/6.Tiff", "train/b/6.txt", "train/7.png"])
    assert members(found.train) == {
        "train/a/2.png": 0,
        "train/a/deep/er/5.JPEG": 0,
        "train/b/1.png": 1,
        "train/b/6.Tiff": 1,
    }


def passed_over(source):
    return [(one.ending, one.count, one.example) for one in source.passed_over]


def test_what_is_passed_over_in_class_folders_is_counted_by_ending():
    others = ["train/a/8.HEIC", "train/a/7.heic", "val/b/deep/6.heic", "train/b/notes.txt", "val/b/README"]
    # Beside the class folders, and in a part that is not used, no picture would be read either.
    elsewhere = ["readme.md", "train/classes.txt", "test/a/9.heic", "test/a/9.png"]
    expected = [(".heic", 3, "train/a/7.heic"), (".txt", 1, "train/b/notes.txt"), ("no ending", 1, "val/b/README")]
    assert passed_over(source([*PARTS, *others, *elsewhere])) == expected
    wrapped = source([f"top/{file}" for file in [*PARTS, *others, *elsewhere]])
    assert passed_over(wrapped) == [(ending, count, f"top/{example}") for ending, count, example in expected]
    assert passed_over(source(PARTS)) == []


def test_what_is_passed_over_without_parts():
    files = [f"{name}/{i}.png" for name in "ab" for i in range(3)]
    assert passed_over(source([*files, "notes.txt", "b/x.txt"])) == [(".txt", 1, "b/x.txt")]


@pytest.mark.parametrize("ending", "jpg jpeg png bmp webp tif tiff gif ppm".split())
def test_picture_endings(ending):
    assert len(source([*PARTS, f"train/a/x.{ending.upper()}", f"train/a/x.{ending}"]).train) == 4


def test_visible():
    assert visible("a/b.png")
    for name in (".git/a.png", "a/._b.png", "__MACOSX/a.png", "../a.png", "a/../../b.png"):
        assert not visible(name)


@pytest.mark.parametrize(
    ("files", "folders", "words"),
    [
        ([], [], "DATA has no pictures"),
        ([], [], "it is empty"),
        ([], ["a", "b"], "found 2 folders and no files"),
        (["a/1.txt", "a/2.txt", "b/notes"], [], "found 3 other files (2 x .txt, 1 x no ending)"),
        (["1.png", "2.png"], [], "DATA has pictures but no class folders; make one folder for each class"),
        (["cats/1.png", "cats/2.png"], [], "DATA has only one class folder, 'cats'"),
        (["train/cats/1.png", "val/cats/2.png"], [], "DATA has only one class folder, 'cats'"),
        (["a/1.png", "a/2.png", "b/1.png", "b/2.png"], ["c"], "class folder DATA/c has no pictures"),
        ([*PARTS, "train/c/notes.txt"], [], "class folder DATA/train/c has no pictures"),
        ([*PARTS, "train/c/9.png"], [], "DATA: class 'c' is in train/ but not in val/"),
        ([*PARTS, "val/c/9.png", "val/d/9.png"], [], "DATA: class 'c', 'd' is in val/ but not in train/"),
        (["a/1.png", "b/1.png", "b/2.png"], [], "class 'a' has 1 picture"),
        (["train/1.png", "val/2.png"], [], "DATA/train has pictures but no class folders"),
    ],
)
def test_refusals(files, folders, words):
    with pytest.raises(UserError) as error:
        source(files, folders)
    assert words in str(error.value)
