"""VOC data: boxes counted from 1 to what is inside, lists of parts, and what is wrong."""

import pytest

from convnext.data.dense.sources import open_detection
from convnext.errors import UserError
from dense.made import voc_folder


def names(split):
    return [split.name(index).rsplit("/", 1)[-1] for index in range(len(split))]


def test_a_folder_and_its_zip(tmp_path, make_zip):
    root = voc_folder(tmp_path / "voc")
    for source in (open_detection(str(root)), open_detection(str(make_zip(root)))):
        assert (source.kind, source.classes, source.category_ids) == ("objects", ("cat", "dog"), (1, 2))
        assert (source.has_masks, source.has_own_val) == (False, True)
        # In the order of their lists.
        assert (names(source.train), names(source.val)) == (["a.jpg", "c.jpg"], ["d.jpg", "b.jpg"])
        first = source.train.objects(0)
        assert first.boxes.tolist() == [[0, 0, 5, 4], [10, 2, 20, 12]]
        assert (first.labels.tolist(), first.crowd.tolist()) == ([1, 0], [False, True])
        assert first.areas.tolist() == [20, 100] and first.masks is None
        # One pixel wide is an area; what leaves the picture is cut.
        assert source.val.objects(1).boxes.tolist() == [[2, 3, 3, 9]]
        assert source.val.objects(0).boxes.tolist() == [[25, 9, 30, 18]]
        assert len(source.train.objects(1)) == 0
        assert source.train.picture(0).size == (30, 20)


def test_without_lists_the_seed_splits(tmp_path):
    source = open_detection(str(voc_folder(tmp_path, lists=False)), val_fraction=0.25)
    assert not source.has_own_val and (len(source.train), len(source.val)) == (3, 1)
    assert sorted(names(source.train) + names(source.val)) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_the_order_of_classes_may_be_given(tmp_path):
    root = voc_folder(tmp_path)
    base = root / "VOCdevkit" / "VOC2007"
    (base / "classes.txt").write_text("owl\ndog\ncat\n")
    source = open_detection(str(root))
    assert source.classes == ("owl", "dog", "cat") and source.train.objects(0).labels.tolist() == [1, 2]
    (base / "classes.txt").write_text("owl\ndog\n")
    with pytest.raises(UserError, match=r"cat is in the annotations and not in classes\.txt"):
        open_detection(str(root))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("Annotations/a.xml", "<annotation>", r"a\.xml cannot be read as a VOC annotation"),
        ("Annotations/a.xml", "<annotation/>", r"a\.xml cannot be read .*it has no size/height"),
        (
            "Annotations/a.xml",
            "<annotation><size><width>0</width><height>2</height></size></annotation>",
            r"a\.xml needs a height and a width",
        ),
        ("ImageSets/Main/train.txt", "a\nz\n", r"train\.txt names z, which has no XML"),
        ("ImageSets/Main/val.txt", "\n", r"val\.txt is empty"),
    ],
)
def test_what_is_wrong(tmp_path, file, text, said):
    root = voc_folder(tmp_path)
    (root / "VOCdevkit" / "VOC2007" / file).write_text(text)
    with pytest.raises(UserError, match=said):
        open_detection(str(root))


def test_a_missing_picture(tmp_path):
    root = voc_folder(tmp_path)
    (root / "VOCdevkit" / "VOC2007" / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(UserError, match="1 of 4 pictures are not in JPEGImages/: b"):
        open_detection(str(root))
