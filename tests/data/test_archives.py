import pickle
import struct
import zipfile

import numpy as np
import pytest

from convnext.data.archives import open_zip
from convnext.data.folders import open_folder
from convnext.data.pictures import PictureError
from convnext.errors import UserError

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]


def opened(path, seed=1):
    return open_zip(path, seed=seed, val_fraction=0.3)


def contents(source, strip=""):
    return [
        (split.name(i).removeprefix(strip), int(split.labels[i]), np.asarray(split.picture(i)).tobytes())
        for split in (source.train, source.val)
        for i in range(len(split))
    ]


@pytest.mark.parametrize("prefix", ["", "top/", "/", "top\\"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_equals_its_folder(make_tree, make_zip, prefix, method):
    root = make_tree(NAMES)
    folder = open_folder(root, seed=1, val_fraction=0.3)
    source = opened(make_zip(root, prefix, method))
    assert source.classes == folder.classes
    assert contents(source, "top/") == contents(folder)


def test_empty_class_folder_in_a_zip_is_named(make_tree, make_zip):
    path = make_zip(make_tree(NAMES))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("eel/", "")
    with pytest.raises(UserError, match=r"class folder .*made0\.zip/eel has no pictures"):
        opened(path)


def test_split_can_be_pickled_and_holds_no_handle(make_tree, make_zip):
    source = opened(make_zip(make_tree(NAMES)))
    source.val.picture(0)
    copy = pickle.loads(pickle.dumps(source.val))
    assert (np.asarray(copy.picture(1)) == np.asarray(source.val.picture(1))).all()


def test_leavings_and_traversals_are_passed_over(make_tree, make_zip, tmp_path):
    path = make_zip(make_tree(NAMES))
    picture = (tmp_path / "pictures/cat/0.png").read_bytes()
    expected = contents(opened(path))
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/cat/._0.png", "../../evil/0.png", "cat/../../../evil.png", ".DS_Store", "a.txt"):
            archive.writestr(name, picture)
    assert contents(opened(path)) == expected
    assert not list(tmp_path.parent.rglob("evil*"))


def test_archive_after_other_bytes_is_still_found(make_tree, make_zip):
    path = make_zip(make_tree(NAMES))
    expected = contents(opened(path))
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())
    assert contents(opened(path)) == expected


def test_extra_field_before_the_data(make_tree, make_zip, tmp_path):
    path = make_zip(make_tree(NAMES))
    member = zipfile.ZipInfo("cat/9.png")
    member.extra = struct.pack("<HHI", 0x7777, 4, 1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, (tmp_path / "pictures/dog/4.png").read_bytes())
    seen = {name: pixels for name, _, pixels in contents(opened(path))}
    assert seen["cat/9.png"] == seen["dog/4.png"]


def test_the_last_member_of_a_name_counts(make_tree, make_zip, tmp_path):
    path = make_zip(make_tree(NAMES))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.write(tmp_path / "pictures/dog/4.png", "cat/0.png")
    seen = {name: pixels for name, _, pixels in contents(opened(path))}
    assert len(seen) == 10
    assert seen["cat/0.png"] == seen["dog/4.png"] != seen["dog/3.png"]


def spoil(path, name, shift, data):
    """Overwrite bytes of a stored member, `shift` bytes after its name."""
    whole = bytearray(path.read_bytes())
    start = whole.index(name.encode()) + len(name) + shift
    whole[start : start + len(data)] = data
    path.write_bytes(whole)


def failures(source):
    found = []
    for split in (source.train, source.val):
        for index in range(len(split)):
            try:
                split.picture(index)
            except PictureError as error:
                found.append(str(error))
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_member_is_named_and_the_rest_is_read(make_tree, make_zip, method):
    path = make_zip(make_tree(NAMES), method=method)
    spoil(path, "cat/2.png", 60, b"\0\xff\0\xff")
    (failed,) = failures(opened(path))
    assert failed.startswith("cat/2.png: cannot be read from ")


def test_wrong_offset_is_a_picture_error(make_tree, make_zip):
    path = make_zip(make_tree(NAMES))
    spoil(path, "cat/2.png", -len("cat/2.png") - 30, b"XXXX")
    (failed,) = failures(opened(path))
    assert failed.startswith("cat/2.png: ")
    assert "no member begins where its index says" in failed


def test_member_that_unpacks_to_far_too_much(make_tree, make_zip):
    path = make_zip(make_tree(NAMES))
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(b"cat/2.png") - 46
    whole[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    path.write_bytes(whole)
    (failed,) = failures(opened(path))
    assert failed.startswith("cat/2.png: ")
    assert "refused, it unpacks to 2,147,483,648 bytes" in failed


def test_encrypted_member_is_named(make_tree, make_zip):
    path = make_zip(make_tree(NAMES))
    whole = bytearray(path.read_bytes())
    whole[whole.rindex(b"dog/1.png") - 46 + 8] |= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"made0\.zip: dog/1\.png is encrypted; make the zip again without"):
        opened(path)


def test_other_compression_is_named(make_tree, make_zip):
    path = make_zip(make_tree(NAMES), method=zipfile.ZIP_BZIP2)
    with pytest.raises(UserError, match=r"cat/0\.png has compression method 12; make the zip with deflate"):
        opened(path)


@pytest.mark.parametrize("keep", [0, 10, 600])
def test_not_a_whole_zip(make_tree, make_zip, keep):
    path = make_zip(make_tree(NAMES))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"made0\.zip is neither a folder nor a whole zip"):
        opened(path)


def test_zip_without_pictures(tmp_path):
    path = tmp_path / "texts.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "hello")
    with pytest.raises(UserError, match=r"texts\.zip has no pictures .*: found 1 other files \(1 x \.txt\)"):
        opened(path)
