import numpy as np
import pytest

from convnext.data.sources import open_source
from convnext.errors import UserError

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)]


def test_folder_and_zip_agree(make_tree, make_zip):
    root = make_tree(NAMES)
    folder = open_source(str(root), seed=5, val_fraction=0.4)
    zipped = open_source(str(make_zip(root, "top/")), seed=5, val_fraction=0.4)
    assert [f"top/{folder.val.name(i)}" for i in range(4)] == [zipped.val.name(i) for i in range(4)]
    assert (folder.val.labels == zipped.val.labels).all()


def test_digits_follow_the_seed():
    first, again, other = (open_source("digits", seed=seed).val.entries for seed in (0, 0, 1))
    assert (first == again).all()
    assert set(first) != set(other)
    assert len(open_source("digits", val_fraction=0.5).val) > 2 * len(first)


def test_a_folder_called_digits(make_tree, monkeypatch):
    monkeypatch.chdir(make_tree(NAMES, "digits").parent)
    assert open_source("./digits").classes == ("cat", "dog")
    assert len(open_source("digits").classes) == 10


def test_a_path_with_a_colon(make_tree, monkeypatch):
    monkeypatch.chdir(make_tree(NAMES, "foo:bar").parent)
    assert open_source("foo:bar").classes == ("cat", "dog")


def test_home_is_expanded(make_tree, monkeypatch):
    monkeypatch.setenv("HOME", str(make_tree(NAMES).parent))
    assert np.bincount(open_source("~/pictures").train.labels).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("picturs", "no such folder or file: picturs; did you mean pictures; DATA is a folder of class folders"),
        ("digit", "no such folder or file: digit; did you mean digits; DATA is"),
        ("zzzz", "no such folder or file: zzzz; DATA is a folder of class folders, a zip of one, tar shards,"),
        ("nowhere/at/all", "no such folder or file: nowhere/at/all (nor is there a folder nowhere/at)"),
        ("x" * 5000, "File name too long; DATA is a folder"),
        ("foo:bar", "unknown kind of data 'foo' in 'foo:bar', and no such path; DATA is a folder"),
        ("torchvison:MNIST", "unknown kind of data 'torchvison'"),
        ("notes.txt", "notes.txt is neither a folder nor a whole zip (File is not a zip file)"),
    ],
)
def test_refusals(make_tree, monkeypatch, text, words):
    monkeypatch.chdir(make_tree(NAMES).parent)
    (make_tree(NAMES).parent / "notes.txt").write_text("hello")
    with pytest.raises(UserError) as error:
        open_source(text)
    assert words in str(error.value)


def test_only_what_might_be_data_is_suggested(make_tree, monkeypatch):
    root = make_tree(NAMES)
    monkeypatch.chdir(root.parent)
    for name in ("pictures.txt", "pictures.log", "pictures.tar.gz", ".pictures.csv"):
        (root.parent / name).write_text("")
    with pytest.raises(UserError, match="no such folder or file: picture; did you mean pictures; DATA"):
        open_source("picture")
    root.rename(root.parent / "elsewhere")
    with pytest.raises(UserError, match="no such folder or file: picture; DATA is"):
        open_source("picture")


@pytest.mark.parametrize("ending", ["zip", "tar", "csv", "tsv", "jsonl", "parquet", "ZIP"])
def test_files_that_might_be_data_are_suggested(tmp_path, ending):
    (tmp_path / f"pictures.{ending}").write_text("")
    with pytest.raises(UserError, match=rf"did you mean pictures\.{ending}; DATA"):
        open_source(f"{tmp_path}/picturs.{ending}")
