"""COCO data in folders, zips and single files, and every mistake in it by its sentence."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from convnext.data.dense.sources import open_detection
from convnext.data.dense.splits import LabelError
from convnext.data.pictures import PictureError
from convnext.errors import UserError
from dense.made import HEIGHT, WIDTH, annotation, coco_folder, coco_tables, painted, save, write_coco


def by_name(split):
    return {split.name(index).rsplit("/", 1)[-1]: index for index in range(len(split))}


def same_data(one, other):
    assert (one.classes, one.category_ids, one.has_masks) == (other.classes, other.category_ids, other.has_masks)
    for mine, theirs in ((one.train, other.train), (one.val, other.val)):
        for index in range(len(mine)):
            assert mine.picture(index).tobytes() == theirs.picture(index).tobytes()
            for name in ("boxes", "labels", "crowd", "areas", "masks"):
                assert np.array_equal(getattr(mine.objects(index), name), getattr(theirs.objects(index), name))


def test_a_folder_as_coco_has_it(tmp_path):
    source = open_detection(str(coco_folder(tmp_path / "coco")))
    assert (source.kind, source.has_masks, source.has_own_val) == ("objects", True, True)
    # By the numbers of the categories, wherever they stand.
    assert (source.classes, source.category_ids) == (("cat", "dog"), (7, 9))
    assert [source.train.name(index) for index in range(3)] == [f"train2017/00{number}.png" for number in (10, 11, 12)]
    assert [source.train.picture_id(index) for index in range(3)] == [10, 11, 12]
    assert source.val.picture(1).tobytes() == painted(51).tobytes()
    objects = source.train.objects(0)
    assert objects.boxes.tolist() == [[4, 5, 10, 11], [20, 5, 26, 11]]
    assert (objects.labels.tolist(), objects.crowd.tolist(), objects.areas.tolist()) == (
        [0, 0],
        [False, True],
        [36, 36],
    )
    expected = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    expected[0, 5:11, 4:10] = True
    expected[1, 5:11, 4:6] = True  # what its run lengths say, wherever its box is
    assert np.array_equal(objects.masks, expected)
    assert source.train.objects(1).boxes.tolist() == [[10.5, 5, 16.5, 11]]
    assert source.train.objects(1).labels.tolist() == [1]
    assert source.train.objects(1, masks=False).masks is None
    empty = source.train.objects(2)
    assert (len(empty), empty.boxes.shape, empty.masks.shape) == (0, (0, 4), (0, HEIGHT, WIDTH))


@pytest.mark.parametrize("prefix", ["", "coco/", "./outer/coco/"])
def test_a_zip_is_the_same(tmp_path, make_zip, prefix):
    root = coco_folder(tmp_path / "coco")
    folder, zipped = open_detection(str(root)), open_detection(str(make_zip(root, prefix=prefix)))
    same_data(folder, zipped)
    assert prefix or folder.fingerprint() == zipped.fingerprint()


def test_pictures_are_found_in_other_places(tmp_path):
    root = coco_folder(tmp_path / "coco")
    (root / "images").mkdir()
    shutil.move(root / "train2017", root / "images" / "train2017")
    shutil.move(root / "val2017", root / "val")
    source = open_detection(str(root))
    assert source.train.name(0) == "images/train2017/0010.png"
    assert source.val.picture(0).tobytes() == painted(50).tobytes()


def test_one_folder_for_each_part_with_its_json(tmp_path):
    for part, first in (("train", 1), ("valid", 5)):
        tables = coco_tables(2, first=first, annotations=[annotation(1, first)])
        write_coco(tmp_path, tables, json_name=f"{part}/_annotations.coco.json", folder=part)
    source = open_detection(str(tmp_path))
    assert source.has_own_val
    assert [source.val.name(index) for index in range(2)] == ["valid/0005.png", "valid/0006.png"]


def test_one_json_is_split_by_the_seed(tmp_path):
    tables = coco_tables(20, first=1, annotations=[annotation(number, number) for number in range(1, 21)])
    path = write_coco(tmp_path / "set", tables, json_name="labels.json", folder="images")
    first, again, other = (open_detection(str(path), seed=seed, val_fraction=0.25) for seed in (0, 0, 1))
    assert not first.has_own_val and (len(first.train), len(first.val)) == (15, 5)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    names = set(by_name(first.train)) | set(by_name(first.val))
    assert len(names) == 20
    same_data(first, open_detection(str(tmp_path / "set"), val_fraction=0.25))
    with pytest.raises(UserError, match="val_fraction must be between 0 and 1"):
        open_detection(str(path), val_fraction=1.0)


def test_one_of_cocos_own_jsons(tmp_path):
    root = coco_folder(tmp_path / "coco")
    source = open_detection(str(root / "annotations" / "instances_train2017.json"))
    assert len(source.train) + len(source.val) == 3
    assert source.train.name(0).startswith("train2017/")


def test_boxes_without_an_area_are_dropped_and_others_cut(tmp_path):
    rows = [
        annotation(1, 1, side=0),
        annotation(2, 1, left=WIDTH + 3),
        annotation(3, 1, left=WIDTH - 2, top=-4, category=9),
        annotation(4, 1, bbox=[3, 3, -2, 5]),
    ]
    path = write_coco(tmp_path, coco_tables(2, first=1, annotations=rows), json_name="a.json", folder="images")
    source = open_detection(str(path))
    split = source.train if "0001.png" in by_name(source.train) else source.val
    objects = split.objects(by_name(split)["0001.png"])
    assert (objects.boxes.tolist(), objects.labels.tolist()) == ([[WIDTH - 2, 0, WIDTH, 2]], [1])
    assert len(split.boxes_as_given(by_name(split)["0001.png"])[0]) == 4


def test_boxes_without_masks(tmp_path):
    rows = [annotation(1, 1), annotation(2, 2)]
    for row in rows:
        del row["segmentation"], row["area"]
    told = []
    path = write_coco(tmp_path, coco_tables(2, first=1, annotations=rows), json_name="a.json", folder="images")
    source = open_detection(str(path), note=told.append)
    assert not source.has_masks and not told
    assert source.train.objects(0).areas.tolist() == [36]
    rows[0]["segmentation"] = [[1, 1, 5, 1, 5, 5]]
    write_coco(tmp_path, coco_tables(2, first=1, annotations=rows), json_name="a.json", folder="images")
    assert not open_detection(str(path), note=told.append).has_masks
    assert told == [f"{tmp_path}: 1 of 2 objects have a box but no mask, so masks are not used"]


def test_a_picture_that_lies_on_its_side(tmp_path):
    """Annotations may be for the picture as it is stored or as it stands; the size tells."""
    exif = Image.Exif()
    exif[0x0112] = 6
    tables = coco_tables(2, first=1, annotations=[])
    tables["images"][1] |= {"height": WIDTH, "width": HEIGHT}
    write_coco(tmp_path, tables, json_name="a.json", folder="images")
    for name in ("0001.png", "0002.png"):
        save(painted(5), tmp_path / "images" / name, exif=exif)
    source = open_detection(str(tmp_path / "a.json"))
    pictures = {}
    for split in (source.train, source.val):
        pictures |= {name: split.picture(index) for name, index in by_name(split).items()}
    assert pictures["0001.png"].tobytes() == painted(5).tobytes()
    assert pictures["0002.png"].tobytes() == painted(5).transpose(Image.Transpose.ROTATE_270).tobytes()


def broken(tmp_path, change):
    """Write a good file with one mistake and open it."""
    tables = coco_tables(2, first=1, annotations=[annotation(1, 1), annotation(2, 2)])
    tables = change(tables) or tables
    path = tmp_path / "a.json"
    write_coco(tmp_path, coco_tables(2, first=1, annotations=[]), json_name="a.json", folder="images")
    path.write_text(tables if isinstance(tables, str) else json.dumps(tables))
    return open_detection(str(path))


def setting(table, place, **values):
    def change(tables):
        tables[table][place].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tables: "{", "a.json is not JSON"),
        (lambda tables: "[1, 2]", "is not a COCO file of objects: it has no list images, annotations, categories"),
        (lambda tables: '{"images": [], "annotations": {}}', "no list annotations, categories"),
        (lambda tables: '{"images": [1], "annotations": [], "categories": []}', "images must be a list of tables"),
        (
            setting("annotations", 1, category_id=8),
            r"annotation 2 of 0002.png has category_id 8, which .*known are 7, 9",
        ),
        (setting("annotations", 1, image_id=77), "annotation 2 belongs to image 77, which is not among"),
        (setting("annotations", 1, bbox=[1, 2, 3]), r"annotation 2 of 0002.png needs a bbox of four numbers"),
        (setting("annotations", 1, bbox=[1, 2, 3, float("nan")]), "annotation 2 of 0002.png needs a bbox"),
        (setting("annotations", 1, area="big"), "annotation 2 of 0002.png has the area 'big'"),
        (setting("annotations", 1, id=1), "annotation id 1 twice"),
        (setting("annotations", 1, id=None), "an annotation needs a whole number as id, got None"),
        (setting("images", 1, id=1), "image id 1 twice"),
        (setting("images", 1, height=None), "image 0002.png needs height and width"),
        (setting("images", 1, file_name=3), "an image needs a whole number as id and a text"),
        (setting("images", 1, file_name="../0002.png"), "1 of 2 pictures that a.json names are not there: ../0002.png"),
        (setting("images", 0, file_name="gone.png"), "1 of 2 pictures that a.json names are not there: gone.png"),
        (setting("categories", 0, id=7), "category id 7 twice"),
        (setting("categories", 0, name="cat"), "category name cat twice"),
        (setting("categories", 0, name=5), "a category needs"),
        (lambda tables: tables | {"categories": [], "annotations": []}, "has no categories"),
        (lambda tables: tables | {"images": [], "annotations": []}, "has no images"),
        (lambda tables: tables | {"images": tables["images"][:1], "annotations": []}, "there is 1 picture, and two"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        broken(tmp_path, change)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        (
            {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
            r"0001.png: its mask has the size",
        ),
        ({"size": [HEIGHT, WIDTH], "counts": [5]}, "annotation 1 of images/0001.png: its run lengths do not add up"),
        ([[1, 2, 3]], "annotation 1 of images/0001.png: its polygon needs three"),
    ],
)
def test_wrong_masks_are_named_when_they_are_read(tmp_path, segmentation, said):
    source = broken(tmp_path, setting("annotations", 0, segmentation=segmentation))
    split = source.train if "0001.png" in by_name(source.train) else source.val
    with pytest.raises(LabelError, match=said):
        split.objects(0)
    assert len(split.objects(0, masks=False)) == 1


def test_a_picture_of_another_size_and_a_broken_one(tmp_path):
    source = broken(tmp_path, lambda tables: tables)
    for split in (source.train, source.val):
        save(painted(0, WIDTH, HEIGHT + 1), tmp_path / split.name(0))
        with pytest.raises(LabelError, match=r"the picture is 30 x 21 and its annotations are for 30 x 20"):
            split.picture(0)
        (tmp_path / split.name(0)).write_bytes(b"no picture")
        with pytest.raises(PictureError, match=r"000\d.png: not a picture"):
            split.picture(0)


def test_parts_that_do_not_go_together(tmp_path):
    root = coco_folder(tmp_path / "coco")
    path = root / "annotations" / "instances_val2017.json"
    tables = json.loads(path.read_text())
    tables["categories"][0]["name"] = "cow"
    path.write_text(json.dumps(tables))
    with pytest.raises(UserError, match=r"different categories \(9 'cow', 9 'dog'\)"):
        open_detection(str(root))
    shutil.copy(path, root / "annotations" / "instances_val2014.json")
    with pytest.raises(UserError, match="several COCO files for val"):
        open_detection(str(root))


def test_what_is_no_detection_data(tmp_path):
    with pytest.raises(UserError, match="no such folder or file"):
        open_detection(str(tmp_path / "none"))
    save(painted(1), tmp_path / "set" / "train" / "cat" / "1.png")
    save(painted(1), tmp_path / "set" / "val" / "cat" / "1.png")
    with pytest.raises(UserError, match=r"has no annotations of objects: it holds 2 files in train, val; DATA is"):
        open_detection(str(tmp_path / "set"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no files"):
        open_detection(str(tmp_path / "empty"))
    (tmp_path / "text.zip").write_text("x")
    with pytest.raises(UserError, match="neither a folder nor a whole zip"):
        open_detection(str(tmp_path / "text.zip"))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("annotations/instances_train.json", b"\xff\xfe\x00")
        archive.writestr("annotations/instances_val.json", "{}")
    with pytest.raises(UserError, match=r"instances_train\.json cannot be read"):
        open_detection(str(tmp_path / "bad.zip"))
