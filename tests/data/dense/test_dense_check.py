"""What the check finds in made data with planted faults, by name, and what it leaves alone."""

import shutil

import numpy as np
import pytest
from PIL import Image

from convnext.data.dense.check import check_dense
from convnext.data.dense.sources import open_detection, open_segmentation
from dense.made import (
    HEIGHT,
    WIDTH,
    annotation,
    coco_folder,
    coco_tables,
    label_folder,
    painted,
    plain_pairs,
    save,
    voc_folder,
    write_coco,
)


def found(source, **arguments):
    return {finding.key: finding for finding in check_dense(source, **arguments)}


@pytest.mark.parametrize("workers", [0, 1])
def test_made_scenes_are_clean(workers):
    counted = []
    assert found(open_detection("scenes:30"), workers=workers, advance=counted.append) == {}
    assert sum(counted) == 36
    assert found(open_segmentation("scenes:30")) == {}


def test_planted_faults_of_objects(tmp_path):
    empty_mask = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    rows = [
        annotation(1, 1),
        annotation(2, 2, left=WIDTH - 3),  # three pixels outside
        annotation(3, 2, left=WIDTH - 6.5),  # half a pixel, which is rounding
        annotation(4, 3, side=0),
        annotation(5, 3, segmentation=empty_mask),
        annotation(6, 4, segmentation={"size": [3, 3], "counts": [9]}),
        *(annotation(number, 7) for number in range(10, 12)),
    ]
    train = coco_tables(7, first=1, annotations=rows)
    write_coco(tmp_path, train, json_name="annotations/instances_train.json", folder="train")
    val = coco_tables(2, first=20, annotations=[annotation(1, 20, category=9), annotation(2, 21)])
    write_coco(tmp_path, val, json_name="annotations/instances_val.json", folder="val")
    (tmp_path / "train" / "0005.png").write_bytes(b"no picture")
    shutil.copy(tmp_path / "train" / "0001.png", tmp_path / "val" / "0020.png")
    findings = found(open_detection(str(tmp_path)))
    assert findings["outside"].names == ("train/0002.png (1)",)
    assert findings["no_area"].names == ("train/0003.png (1)",)
    assert findings["empty_masks"].names == ("train/0003.png (1)",)
    assert findings["wrong_labels"].level == findings["leaked"].level == findings["unreadable"].level == "error"
    (wrong,) = findings["wrong_labels"].names
    assert "annotation 6 of train/0004.png: its mask has the size [3, 3]" in wrong
    assert findings["leaked"].names == ("val/0020.png = train/0001.png",)
    (unreadable,) = findings["unreadable"].names
    assert unreadable.startswith("train/0005.png: not a picture")
    assert findings["empty_class"].names == ("dog",) and findings["empty_class"].level == "warning"
    assert "absent_from_val" not in findings
    assert findings["without_labels"].names == ("train/0006.png",) and findings["without_labels"].level == "note"
    levels = [finding.level for finding in check_dense(open_detection(str(tmp_path)))]
    assert levels == sorted(levels, key=("error", "warning", "note").index)


def test_uneven_classes_and_those_that_are_not_scored(tmp_path):
    rows = [annotation(number, number % 4 + 1) for number in range(1, 201)]
    rows += [annotation(500 + number, 2, category=9, iscrowd=1, side=3) for number in range(50)]
    rows += [annotation(900, 1, category=9), annotation(901, 1, category=9)]
    train = coco_tables(5, first=1, annotations=rows)
    write_coco(tmp_path, train, json_name="annotations/instances_train.json", folder="train")
    val = coco_tables(1, first=20, annotations=[annotation(1, 20)])
    write_coco(tmp_path, val, json_name="annotations/instances_val.json", folder="val")
    findings = found(open_detection(str(tmp_path)))
    # Crowds do not count: nobody knows how many they are.
    assert findings["imbalance"].names == ("dog (2)", "cat (200)") and "100 to 1" in findings["imbalance"].title
    assert findings["absent_from_val"].names == ("dog",)


def test_planted_faults_of_label_maps(tmp_path):
    root = label_folder(tmp_path, plain_pairs(train=6, val=2), [0, 1])
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    labels = root / "train" / "labels"
    Image.fromarray(np.full((HEIGHT, WIDTH), 9, np.uint8)).save(labels / "train1.png")
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(labels / "train2.png")
    save(painted(3, WIDTH + 2), root / "train" / "images" / "train3.jpg")
    save(painted(3), labels / "train4.png")
    (labels / "train5.png").write_bytes(b"x")
    shutil.copy(root / "train" / "images" / "train0.jpg", root / "val" / "images" / "val1.jpg")
    findings = found(open_segmentation(str(root)))
    assert [name.split(":")[0] for name in findings["wrong_labels"].names] == [
        "train/labels/train1.png",
        "train/images/train3.jpg",
        "train/labels/train4.png",
    ]
    assert "value 9 is no class" in findings["wrong_labels"].names[0]
    assert findings["unreadable"].names[0].startswith("train/labels/train5.png")
    assert findings["without_labels"].names == ("train/images/train2.jpg",)
    assert findings["without_labels"].level == "warning"
    assert findings["leaked"].names == ("val/images/val1.jpg = train/images/train0.jpg",)
    assert findings["empty_class"].names == ("car",)


def test_good_data_of_every_form_is_clean(tmp_path):
    root = coco_folder(tmp_path / "coco")
    assert set(found(open_detection(str(root)))) == {"without_labels"}
    # One of its boxes leaves the picture, one picture is empty, and its lists leave two classes out.
    of_voc = found(open_detection(str(voc_folder(tmp_path / "voc"))))
    assert set(of_voc) == {"outside", "without_labels", "absent_from_val", "empty_class"}
    assert found(open_segmentation(str(label_folder(tmp_path / "maps", plain_pairs(), [0, 1, 255])))) == {}
