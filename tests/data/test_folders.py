import pickle

import numpy as np
import pytest

from convnext.data.folders import list_folder, open_folder
from convnext.data.pictures import PictureError

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]


def test_pictures_and_labels_belong_together(make_tree):
    root = make_tree([*NAMES, "dog/deep/5.png"])
    source = open_folder(root, seed=0, val_fraction=0.2)
    assert (source.name, source.classes) == (str(root), ("cat", "dog"))
    assert (len(source.train), len(source.val)) == (9, 2)
    from PIL import Image

    for split in (source.train, pickle.loads(pickle.dumps(source.val))):
        for index in range(len(split)):
            name = split.name(index)
            assert source.classes[split.labels[index]] == name.split("/")[0]
            assert (np.asarray(split.picture(index)) == np.asarray(Image.open(root / name))).all()


def test_hidden_things_are_passed_over(make_tree):
    root = make_tree([*NAMES, ".cache/x.png", "cat/.x.png", "__MACOSX/cat/x.png"])
    (root / ".empty").mkdir()
    assert sorted(list_folder(root).files) == NAMES
    assert sorted(list_folder(root).folders) == ["cat", "dog"]


def test_linked_class_folders_are_followed(make_tree):
    root = make_tree(NAMES)
    (root / "cat").rename(root.parent / "elsewhere")
    (root / "cat").symlink_to(root.parent / "elsewhere")
    assert open_folder(root, seed=0, val_fraction=0.2).classes == ("cat", "dog")


def test_corrupt_picture_is_named(make_tree):
    root = make_tree(NAMES)
    (root / "cat/3.png").write_bytes(b"broken")
    source = open_folder(root, seed=0, val_fraction=0.2)
    failed = []
    for split in (source.train, source.val):
        for index in range(len(split)):
            try:
                split.picture(index)
            except PictureError as error:
                failed.append(str(error))
    assert len(failed) == 1
    assert failed[0].startswith("cat/3.png: not a picture")


def test_unreadable_folder_is_named(make_tree, monkeypatch):
    import os

    from convnext.errors import UserError

    root = make_tree(NAMES)
    real = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"cannot list .*dog: Permission denied"):
        list_folder(root)
