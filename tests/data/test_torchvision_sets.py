import hashlib
import json
import pickle
import struct
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from convnext.data.pictures import PictureError
from convnext.data.sources import open_source
from convnext.errors import UserError


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise URLError("there is no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def write_idx(folder, start, pixels, labels):
    folder.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">IIII", 0x803, *pixels.shape)
    (folder / f"{start}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    header = struct.pack(">II", 0x801, len(labels))
    (folder / f"{start}-labels-idx1-ubyte").write_bytes(header + bytes(labels))


@pytest.fixture
def mnist_like(tmp_path):
    """Write 8 + 4 pictures in the layout of MNIST and FashionMNIST; return the pixels of both parts."""
    generator = np.random.default_rng(0)
    parts = {}
    for start, count in (("train", 8), ("t10k", 4)):
        parts[start] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for name in ("MNIST", "FashionMNIST"):
            write_idx(tmp_path / name / "raw", start, parts[start], [9 - i for i in range(count)])
    return parts


@pytest.mark.parametrize("place", ["text", "argument"])
def test_fashion_mnist_on_disk(tmp_path, mnist_like, place):
    at = f"@{tmp_path}" if place == "text" else ""
    source = open_source(f"torchvision:FashionMNIST{at}", root=tmp_path if not at else None)
    assert source.name == "torchvision:FashionMNIST"
    assert source.classes[0] == "T-shirt/top"
    assert len(source.classes) == 10
    assert source.train.labels.tolist() == [9, 8, 7, 6, 5, 4, 3, 2]
    assert source.val.labels.tolist() == [9, 8, 7, 6]
    for split, start in ((source.train, "train"), (pickle.loads(pickle.dumps(source.val)), "t10k")):
        for index in range(len(split)):
            pixels = np.asarray(split.picture(index))
            assert (pixels == mnist_like[start][index][:, :, None]).all()
    assert source.val.name(2) == "torchvision:FashionMNIST/val/2"


def test_place_in_the_text_goes_first(tmp_path, mnist_like):
    assert len(open_source(f"torchvision:MNIST@{tmp_path}", root=tmp_path / "elsewhere").val) == 4


def test_what_keeps_labels_true(tmp_path, mnist_like):
    clothes = open_source("torchvision:FashionMNIST", root=tmp_path).label_safe
    glyphs = open_source("torchvision:MNIST", root=tmp_path).label_safe
    assert clothes.flip and not glyphs.flip
    assert clothes.min_crop_scale == glyphs.min_crop_scale == 0.7


def write_pickle(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar_on_disk(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)
    kind = torchvision.datasets.CIFAR10
    train = write_pickle(folder / "data_batch_1", {"data": pixels, "labels": [2, 0, 1]})
    val = write_pickle(folder / "test_batch", {"data": pixels[:2], "labels": [1, 1]})
    meta = write_pickle(folder / "batches.meta", {"label_names": ["ant", "bee", "cow"]})
    monkeypatch.setattr(kind, "train_list", [["data_batch_1", train]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", val]])
    monkeypatch.setitem(kind.meta, "md5", meta)
    source = open_source(f"torchvision:CIFAR10@{tmp_path}")
    assert source.classes == ("ant", "bee", "cow")
    assert (source.train.labels.tolist(), source.val.labels.tolist()) == ([2, 0, 1], [1, 1])
    expected = pixels[1].reshape(3, 32, 32).transpose(1, 2, 0)
    assert (np.asarray(source.train.picture(1)) == expected).all()
    assert source.label_safe.flip and source.label_safe.min_crop_scale == 0.08


@pytest.fixture
def food(tmp_path):
    """Write a small Food101, whose parts are chosen by `split` and called train and test."""
    base = tmp_path / "food-101"
    (base / "meta").mkdir(parents=True)
    names = {"train": {"pie": ["pie/1", "pie/2"], "egg": ["egg/1"]}, "test": {"pie": ["pie/3"], "egg": ["egg/2"]}}
    for part, files in names.items():
        (base / "meta" / f"{part}.json").write_text(json.dumps(files))
        for number, name in enumerate(files["pie"] + files["egg"]):
            path = base / "images" / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (50 * number, 0, 0)).save(path)
    return tmp_path


def test_parts_named_by_split(food):
    source = open_source(f"torchvision:Food101@{food}")
    assert source.classes == ("egg", "pie")
    assert (source.train.labels.tolist(), source.val.labels.tolist()) == ([1, 1, 0], [1, 0])
    assert np.asarray(source.train.picture(2))[0, 0, 0] in range(95, 106)


def test_corrupt_picture_is_a_picture_error(food):
    (food / "food-101/images/pie/1.jpg").write_bytes(b"broken")
    source = open_source(f"torchvision:Food101@{food}")
    with pytest.raises(PictureError, match=r"^torchvision:Food101/train/0: cannot be read as a picture"):
        source.train.picture(0)
    assert source.train.picture(1).size == (9, 9)


class Made:
    """A data set of torchvision's kind that keeps no list of labels."""

    labels_given = (0, 2, 1)
    picture = Image.new("L", (4, 4), 7)

    def __init__(self, root, split="train", download=False):
        if split not in ("train", "valid"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        print("data sets tell of their progress")

    def __len__(self):
        return len(self.labels_given)

    def __getitem__(self, index):
        return self.picture, self.labels_given[index]


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "SVHN", Made)
    return Made


def test_labels_are_read_one_by_one_where_no_list_is_kept(made, capsys):
    source = open_source("torchvision:SVHN")
    assert capsys.readouterr().out == "", "standard output is for tables"
    assert source.train.labels.tolist() == [0, 2, 1]
    assert source.classes == ("0", "1", "2")
    assert np.asarray(source.val.picture(0)).tolist() == [[[7] * 3] * 4] * 4


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("labels_given", ("a", "b"), "torchvision:SVHN does not give a picture and a class number each time"),
        ("picture", np.zeros((4, 4)), "torchvision:SVHN does not give a picture and a class number each time"),
        ("labels_given", (), "torchvision:SVHN has no pictures in its train part"),
        ("labels_given", (0, -1), "torchvision:SVHN has labels outside of its 1 classes"),
    ],
)
def test_other_kinds_of_data_are_refused(made, monkeypatch, attribute, value, words):
    monkeypatch.setattr(made, attribute, value)
    with pytest.raises(UserError) as error:
        open_source("torchvision:SVHN")
    assert words in str(error.value)


def test_pairs_of_path_and_label_are_a_list(made, monkeypatch):
    monkeypatch.setattr(made, "_samples", [("a", 0), ("b", 1), ("c", 1)], raising=False)
    monkeypatch.setattr(made, "__getitem__", lambda self, index: 1 / 0)
    assert open_source("torchvision:SVHN").train.labels.tolist() == [0, 1, 1]


def test_broken_sample_where_no_list_is_kept(made, monkeypatch):
    monkeypatch.setattr(made, "__getitem__", lambda self, index: 1 / 0)
    with pytest.raises(UserError, match=r"torchvision:SVHN cannot be read \(division by zero\)"):
        open_source("torchvision:SVHN")


@pytest.mark.parametrize("name", ["FashionMNIST", "CIFAR10", "Food101"])
def test_failed_download(tmp_path, name, capsys):
    with pytest.raises(UserError) as error:
        open_source(f"torchvision:{name}@{tmp_path / 'none'}")
    start = f"torchvision:{name} was not found under {tmp_path / 'none'} and could not be downloaded ("
    assert str(error.value).startswith(start)
    assert str(error.value).endswith(f"; name its folder as torchvision:{name}@FOLDER")
    assert capsys.readouterr().out == "", "standard output is for tables"


def test_case_of_the_name_is_no_matter(tmp_path, mnist_like):
    assert open_source(f"torchvision:fashionmnist@{tmp_path}").name == "torchvision:FashionMNIST"


def test_set_that_cannot_be_downloaded(tmp_path):
    with pytest.raises(UserError, match=r"torchvision:FER2013 was not found under .* and has to be put there by hand"):
        open_source(f"torchvision:FER2013@{tmp_path}")


def test_set_on_disk_is_not_downloaded(tmp_path, mnist_like, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: pytest.fail("downloaded"))
    assert len(open_source(f"torchvision:MNIST@{tmp_path}").train) == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FashonMNIST", "no classification data set 'FashonMNIST' with a train part; did you mean FashionMNIST"),
        ("", "no classification data set ''"),
        ("ImageFolder", "no classification data set 'ImageFolder'"),
        ("wrap_dataset_for_transforms_v2", "no classification data set 'wrap"),
    ],
)
def test_unknown_name(name, words):
    with pytest.raises(UserError) as error:
        open_source(f"torchvision:{name}")
    assert words in str(error.value)
