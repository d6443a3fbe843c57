"""Label pictures: every layout and kind of file gives the classes that its values mean, and mistakes are named."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from convnext.data.dense.cityscapes import CLASSES, LABEL_IDS
from convnext.data.dense.label_maps import meaning, read_values
from convnext.data.dense.sources import open_segmentation
from convnext.data.dense.splits import LabelError
from convnext.data.pictures import PictureError
from convnext.errors import UserError
from dense.made import HEIGHT, WIDTH, label_folder, label_values, painted, plain_pairs, save


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("form", ["{part}/{kind}/{name}", "{kind}/{part}/{name}", "set/{part}/{kind}/deep/{name}"])
def test_plain_folders_and_their_zips(tmp_path, make_zip, form):
    root = label_folder(tmp_path / "set", plain_pairs(form=form), [0, 1, 2, 255])
    inner = root / "set" if form.startswith("set") else root
    (inner / "classes.txt").write_text("sky\nroad\ncar\n")
    for source in (open_segmentation(str(root)), open_segmentation(str(make_zip(root)))):
        assert (source.kind, source.classes) == ("labels", ("sky", "road", "car"))
        assert source.has_own_val and (len(source.train), len(source.val)) == (3, 2)
        assert source.train.name(1).endswith("train1.jpg") and source.train.label_name(1).endswith("train1.png")
        assert np.array_equal(source.train.label_map(1), label_values(1, [0, 1, 2, 255]))
        assert source.train.label_map(1).dtype == np.uint8
        assert np.array_equal(source.val.label_map(0), label_values(3, [0, 1, 2, 255]))
        picture, labels = source.val.picture_and_map(0)
        assert picture.tobytes() == source.val.picture(0).tobytes() and labels.shape == (HEIGHT, WIDTH)


def test_a_value_that_is_to_be_ignored(tmp_path):
    root = label_folder(tmp_path, plain_pairs(), [0, 1, 11])
    (root / "classes.txt").write_text("sky\nroad\nignore_index=11 (unlabelled)\n")
    source = open_segmentation(str(root))
    assert source.classes == ("sky", "road")
    expected = label_values(0, [0, 1, 11])
    assert np.array_equal(source.train.label_map(0), np.where(expected == 11, 255, expected))


def test_in_the_layout_of_ade20k_zero_is_no_class(tmp_path):
    pairs = {
        f"images/{part}/{number}.jpg": f"annotations/{part}/{number}.png"
        for part in ("training", "validation")
        for number in range(2)
    }
    root = label_folder(tmp_path / "ADE" / "ADEChallengeData2016", pairs, [0, 1, 2, 3]).parent
    source = open_segmentation(str(root))
    assert source.classes == ("1", "2", "3") and source.has_own_val
    expected = label_values(0, [0, 1, 2, 3])
    assert np.array_equal(source.train.label_map(0), np.where(expected == 0, 255, expected - 1))
    table = "Idx\tRatio\tTrain\tVal\tName\n1\t.1\t9\t9\twall\n2\t.1\t9\t9\tbuilding, edifice\n3\t.1\t9\t9\tsky\n"
    (root / "ADEChallengeData2016" / "objectInfo150.txt").write_text(table)
    assert open_segmentation(str(root)).classes == ("wall", "building, edifice", "sky")


@pytest.mark.parametrize("ending", ["labelTrainIds", "labelIds"])
def test_cityscapes(tmp_path, ending):
    values = [0, 18, 255, 5] if ending == "labelTrainIds" else [LABEL_IDS[0], LABEL_IDS[18], 4, LABEL_IDS[5]]
    pairs = {
        f"leftImg8bit/{part}/ulm/ulm_{number}_leftImg8bit.png": f"gtFine/{part}/ulm/ulm_{number}_gtFine_{ending}.png"
        for part in ("train", "val")
        for number in range(2)
    }
    root = label_folder(tmp_path, pairs, values)
    # What lies beside them and is not asked for.
    save(painted(9), root / "gtFine" / "train" / "ulm" / "ulm_0_gtFine_color.png")
    save(painted(9), root / "gtFine" / "train" / "ulm" / "ulm_0_gtFine_instanceIds.png")
    source = open_segmentation(str(root))
    assert source.classes == CLASSES and len(CLASSES) == len(LABEL_IDS) == 19
    named = dict(zip(values, [0, 18, 255, 5], strict=True))
    expected = np.vectorize(named.get)(label_values(0, values))
    assert np.array_equal(source.train.label_map(0), expected)


def test_without_a_part_for_val_the_seed_splits(tmp_path):
    pairs = {f"images/{number}.jpg": f"labels/{number}.png" for number in range(10)}
    root = label_folder(tmp_path, pairs, [0, 1])
    one, again, other = (open_segmentation(str(root), seed=seed) for seed in (0, 0, 1))
    assert not one.has_own_val and (len(one.train), len(one.val)) == (8, 2)
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    found = {split.name(index) for split in (one.train, one.val) for index in range(len(split))}
    assert found == set(pairs)


def test_all_kinds_of_label_pictures():
    values = np.array([[0, 1, 2], [3, 2, 1]])
    palette = Image.new("P", (3, 2))
    palette.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    palette.putdata(values.reshape(-1).tolist())
    for image in (
        Image.fromarray(values.astype(np.uint8)),
        Image.fromarray(values.astype(np.uint16)),
        palette,
    ):
        assert np.array_equal(read_values(png(image), "a.png"), values)
    large = np.array([[0, 300], [65535, 7]])
    assert np.array_equal(read_values(png(Image.fromarray(large.astype(np.uint16))), "a.png"), large)
    assert np.array_equal(read_values(png(Image.fromarray(values > 1)), "a.png"), values > 1)
    stream = io.BytesIO()
    palette.save(stream, "PNG", bits=2)
    assert np.array_equal(read_values(stream.getvalue(), "a.png"), values)


@pytest.mark.parametrize(("bits", "levels"), [(2, 4), (4, 16)])
def test_grey_pictures_of_few_bits_are_not_spread(bits, levels):
    """Pillow scales them to 0..255 as it reads them; it cannot write them, so the file is made by hand."""
    import struct
    import zlib

    row = bytes([int("".join(f"{value:0{bits}b}" for value in part), 2) for part in
                 np.arange(levels).reshape(-1, 8 // bits)])  # fmt: skip

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", levels, 1, bits, 0, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    assert read_values(data, "a.png").tolist() == [list(range(levels))]


def test_what_is_no_label_picture():
    with pytest.raises(LabelError, match=r"a\.png: a label map has one number .* colour picture \(RGB\)"):
        read_values(png(painted(1)), "a.png")
    stream = io.BytesIO()
    painted(1).convert("L").save(stream, "JPEG")
    with pytest.raises(LabelError, match=r"JPEG changes values"):
        read_values(stream.getvalue(), "a.png")
    with pytest.raises(PictureError, match=r"a\.png: cannot be read as a picture"):
        read_values(b"nothing", "a.png")
    whole = png(Image.fromarray(label_values(0, [0, 1]).astype(np.uint8)))
    with pytest.raises(PictureError, match=r"a\.png"):
        read_values(whole[: len(whole) // 2], "a.png")


def test_values_that_are_no_class_are_named(tmp_path):
    root = label_folder(tmp_path, plain_pairs(), [0, 1, 2, 9])
    (root / "classes.txt").write_text("a\nb\n")
    with pytest.raises(LabelError, match=r"train/labels/train0\.png: value 2, 9 is no class; allowed are 0 to 1"):
        open_segmentation(str(root)).train.label_map(0)
    assert meaning(3).classes_of(np.array([[0, 2, 255]]), "a").tolist() == [[0, 2, 255]]
    with pytest.raises(LabelError, match="value 300"):
        meaning(3).classes_of(np.array([[300]]), "a")


def test_a_picture_of_another_size_than_its_map(tmp_path):
    root = label_folder(tmp_path, plain_pairs(), [0, 1])
    save(painted(0, WIDTH + 1), root / "train" / "images" / "train0.jpg")
    source = open_segmentation(str(root))
    with pytest.raises(LabelError, match=r"train0\.jpg: the picture is 31 x 20 and its label map is 30 x 20"):
        source.train.picture_and_map(0)


def test_a_picture_on_its_side_fits_its_map(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    root = label_folder(tmp_path, plain_pairs(), [0, 1])
    save(painted(0), root / "train" / "images" / "train0.jpg", exif=exif)
    assert open_segmentation(str(root)).train.picture(0).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "train/labels/train1.png").unlink(), "1 of 3 have no label picture of the same name"),
        (
            lambda root: (root / "val/images/val0.jpg").unlink(),
            r"1 of 2 have no picture of the same name in val/images/",
        ),
        (lambda root: [shutil.rmtree(root / part / "labels") for part in ("train", "val")], "no folders of pictures"),
        (lambda root: (root / "classes.txt").write_text("a\n\nb\n"), "has an empty line"),
        (lambda root: (root / "classes.txt").write_text("a\nb\na\n"), "has a twice"),
        (lambda root: (root / "classes.txt").write_text("a\n"), "has only one class, 'a'"),
        (lambda root: (root / "classes.txt").write_text("\n"), "no names"),
        (lambda root: (root / "classes.txt").write_text("\n".join(map(str, range(256)))), "256 classes; at most 255"),
        (
            lambda root: (root / "classes.txt").write_text("a\nignore_index=1\nignore_index=2"),
            "2 lines with ignore_index",
        ),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path, change, said):
    root = label_folder(tmp_path / "set", plain_pairs(), [0, 1])
    change(root)
    with pytest.raises(UserError, match=said):
        open_segmentation(str(root))


def test_counting_classes_without_their_names(tmp_path):
    told = []
    source = open_segmentation(str(label_folder(tmp_path / "a", plain_pairs(), [0, 2, 255])), note=told.append)
    assert source.classes == ("0", "1", "2") and not told
    with pytest.raises(UserError, match="value 300; at most 255 classes"):
        open_segmentation(str(label_folder(tmp_path / "b", plain_pairs(), [0, 300], dtype=np.uint16)))
    with pytest.raises(UserError, match="no pixel of any label picture is labelled"):
        open_segmentation(str(label_folder(tmp_path / "c", plain_pairs(), [255])))
    lossy = {f"images/{number}.jpg": f"labels/{number}.jpg" for number in range(2)}
    with pytest.raises(UserError, match=r"must be PNG, which keeps values as they are; labels/0\.jpg is not"):
        open_segmentation(str(label_folder(tmp_path / "d", lossy, [0, 1])))
