"""Each set in the layouts in which people have it, and one sentence for any other."""

import json
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.labels import imagenet_1k
from convnext.robustness.masks import classes_of
from convnext.robustness.sets import Exam, check_set, open_set
from tests.robustness.made import paint_all

WNIDS = imagenet_1k().wnids


def opened(name: str, root: Path, **settings: Path) -> Exam:
    return open_set(name, str(root), note=lambda text: None, **settings)


def labelled(exam: Exam) -> dict[str, str]:
    """The class of each picture by name."""
    return {exam.split.name(at): exam.classes[label] for at, label in enumerate(exam.split.labels)}


@pytest.mark.parametrize("inside", ["", "val", "archive"])
def test_imagenet_in_wnid_folders(tmp_path, inside):
    paint_all(tmp_path / inside, [f"{WNIDS[7]}/a.JPEG", f"{WNIDS[2]}/b.JPEG", f"{WNIDS[7]}/c.JPEG"])
    found = labelled(opened("imagenet", tmp_path))
    assert found == {f"{WNIDS[2]}/b.JPEG": WNIDS[2], f"{WNIDS[7]}/a.JPEG": WNIDS[7], f"{WNIDS[7]}/c.JPEG": WNIDS[7]}


def test_of_train_and_val_the_held_out_part_counts(tmp_path):
    paint_all(tmp_path, [f"train/{WNIDS[0]}/a.JPEG", f"val/{WNIDS[1]}/b.JPEG"])
    assert labelled(opened("imagenet", tmp_path)) == {f"{WNIDS[1]}/b.JPEG": WNIDS[1]}


def test_any_other_source_is_opened_as_for_training(tmp_path):
    folders = [f"{part}/{name}" for part in ("train", "val") for name in ("red", "blue")]
    paint_all(tmp_path, [f"{folder}/{at}.png" for folder in folders for at in "12"])
    exam = opened("imagenet", tmp_path)
    assert exam.classes == ("blue", "red") and len(exam.split) == 4


@pytest.mark.parametrize("inside", ["", "val"])
def test_flat_validation_pictures_are_told_how_to_be_sorted(tmp_path, inside):
    paint_all(tmp_path / inside, ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"])
    with pytest.raises(UserError, match=r"without class folders, .*torchvision\.datasets\.ImageNet"):
        opened("imagenet", tmp_path)


@pytest.mark.parametrize("prefix", ["", "val/", "n01440764/"])
def test_real_numbers_pictures_in_folders_or_not(tmp_path, prefix):
    paint_all(tmp_path, [f"{prefix}ILSVRC2012_val_0000000{number}.JPEG" for number in (3, 1)])
    (tmp_path / "real.json").write_text(json.dumps([[5], [], [7, 9]]))
    exam = opened("real", tmp_path)
    assert exam.split.labels.tolist() == [0, 2] and exam.real == ((5,), (), (7, 9))
    (tmp_path / "real.json").rename(tmp_path / "elsewhere.json")
    assert opened("real", tmp_path, labels=tmp_path / "elsewhere.json").real == exam.real
    assert exam.split.picture(0).size == (30, 24)


@pytest.mark.parametrize("inside", ["", "imagenetv2-matched-frequency-format-val"])
def test_v2_folders_are_numbers_not_texts(tmp_path, inside):
    paint_all(tmp_path / inside, [f"{number}/a.jpeg" for number in (0, 2, 10, 999)])
    found = labelled(opened("v2", tmp_path))
    assert found == {f"{number}/a.jpeg": WNIDS[number] for number in (0, 2, 10, 999)}


def test_of_three_variants_of_v2_matched_frequency_is_taken(tmp_path):
    for number, name in enumerate(("imagenetv2-top-images-format-val", "imagenetv2-matched-frequency-format-val")):
        paint_all(tmp_path / name, [f"{number}/a.jpeg"])
    assert labelled(opened("v2", tmp_path)) == {"1/a.jpeg": WNIDS[1]}
    (tmp_path / "imagenetv2-matched-frequency-format-val").rename(tmp_path / "other")
    with pytest.raises(UserError, match="holds several sets"):
        opened("v2", tmp_path)


@pytest.mark.parametrize(("name", "inside"), [("a", ""), ("a", "imagenet-a"), ("r", "imagenet-r")])
def test_a_and_r_let_their_200_classes_compete(tmp_path, name, inside):
    classes = classes_of(name)
    paint_all(tmp_path / inside, [f"{classes[150]}/a.jpg", f"{classes[3]}/b.jpg"])
    (tmp_path / inside / "README.txt").write_text("about")
    exam = opened(name, tmp_path)
    assert exam.only == classes and labelled(exam)[f"{classes[150]}/a.jpg"] == classes[150]


def test_a_class_of_another_set_is_named(tmp_path):
    (stranger,) = list(set(classes_of("r")) - set(classes_of("a")))[:1]
    paint_all(tmp_path, [f"{classes_of('a')[0]}/a.jpg", f"{stranger}/b.jpg"])
    with pytest.raises(UserError, match=f"has {stranger}, which is none of the 200"):
        opened("a", tmp_path)


@pytest.mark.parametrize("inside", ["", "sketch"])
def test_sketch_has_all_classes(tmp_path, inside):
    paint_all(tmp_path / inside, [f"{WNIDS[9]}/sketch_1.JPEG"])
    exam = opened("sketch", tmp_path)
    assert exam.only is None and labelled(exam) == {f"{WNIDS[9]}/sketch_1.JPEG": WNIDS[9]}


@pytest.mark.parametrize(
    ("name", "files", "words"),
    [
        ("v2", ["n01440764/a.jpg"], "not in the layout of ImageNet-V2, folders 0 to 999: it has n01440764"),
        ("v2", ["0/a.jpg", "1000/a.jpg"], "has a folder 1000; those of ImageNet-V2 are called 0 to 999"),
        ("v2", ["0/a.jpg", "new/a.jpg"], "has a folder new"),
        ("a", ["0/a.jpg"], "not in the layout of ImageNet-A"),
        ("sketch", ["0/a.jpg"], "not in the layout of ImageNet-Sketch"),
        ("real", ["0/a.jpg"], "name the file with --labels"),
        ("sketch", ["n01440764/notes.txt/x.jpg", "n01440764/y"], None),
    ],
)
def test_another_layout_is_refused(tmp_path, name, files, words):
    paint_all(tmp_path, files)
    if words is None:
        assert len(opened(name, tmp_path).split) == 1
        return
    with pytest.raises(UserError, match=words):
        opened(name, tmp_path)


def test_a_set_is_a_folder_and_has_a_name(tmp_path):
    with pytest.raises(UserError, match="--on v2 takes a folder"):
        opened("v2", tmp_path / "x.tar")
    with pytest.raises(UserError, match="--on must be one of imagenet, real, v2, a, r, sketch, c, got 'sketsch'; did"):
        check_set("sketsch")
    with pytest.raises(UserError, match="--labels is for --on real"):
        opened("a", tmp_path, labels=tmp_path / "real.json")
