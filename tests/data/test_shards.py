import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from convnext.data import tar_index_file
from convnext.data.folders import open_folder
from convnext.data.loader import EvalLoader, Share, TrainLoader
from convnext.data.pictures import PictureError
from convnext.data.sources import lasting, open_source
from convnext.data.splits import LabelSafe
from convnext.data.tar_index_file import INDEX_FILE
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog", "eel") for i in range(8)]
CLASSES = ("cat", "dog", "eel")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def samples(root, names, label="cls"):
    """Return the members of a shard: each picture of a folder with its label."""
    members = []
    for name in names:
        key = name.replace("/", "_").removesuffix(".png")
        label_bytes = {
            "cls": f"{CLASSES.index(name.split('/')[0])}\n".encode(),
            "json": json.dumps({"width": 12, "label": name.split("/")[0]}).encode(),
        }
        members += [(f"{key}.png", (root / name).read_bytes()), (f"{key}.{label}", label_bytes[label])]
    return members


@pytest.fixture
def pictures(make_tree):
    return make_tree(NAMES)


@pytest.fixture
def shards(pictures, tmp_path):
    """Write the pictures into three shards of eight, classes mixed, with the names of the classes beside them."""
    for number in range(3):
        write_tar(tmp_path / f"shards/set-{number:04}.tar", samples(pictures, NAMES[number::3]))
    (tmp_path / "shards/classes.txt").write_text("cat\ndog\neel\n")
    return tmp_path / "shards"


@pytest.fixture
def notes():
    return []


def opened(text, notes=None, **arguments):
    return open_source(
        str(text), seed=1, val_fraction=0.25, note=[].append if notes is None else notes.append, **arguments
    )


def by_key(source, separator):
    """Return label name and bytes of each picture, by class and number."""
    found = {}
    for split in (source.train, source.val):
        for index in range(len(split)):
            key = Path(split.name(index)).with_suffix("").as_posix().split("/", 1)[separator == "_"]
            assert key not in found
            found[key.replace("_", "/")] = (source.classes[split.labels[index]], split.encoded(index))
    return found


def test_shards_equal_the_folder_they_were_made_of(pictures, shards, notes):
    folder = open_folder(pictures, seed=1, val_fraction=0.25)
    source = opened(shards, notes)
    assert source.classes == folder.classes == CLASSES
    assert not source.has_own_val
    expected = {
        Path(name).with_suffix("").as_posix(): (name.split("/")[0], (pictures / name).read_bytes()) for name in NAMES
    }
    assert by_key(source, "_") == expected
    assert np.bincount(source.val.labels).tolist() == np.bincount(folder.val.labels).tolist() == [2, 2, 2]
    assert notes == [f"indexing 3 shards of {shards}, once"]
    # In any order, with no state between reads.
    split = source.whole()
    order = np.random.default_rng(0).permutation(len(split)).tolist()
    for index in [*order, *order]:
        name = Path(split.name(index)).stem.replace("_", "/") + ".png"
        assert (np.asarray(split.picture(index)) == np.asarray(folder_picture(pictures, name))).all()


def folder_picture(pictures, name):
    from PIL import Image

    return Image.open(pictures / name)


def test_second_opening_reads_the_index_and_no_tar(shards, notes, monkeypatch):
    first = opened(shards, notes)
    monkeypatch.setattr(tar_index_file, "index_shard", lambda *_: pytest.fail("a tar was indexed again"))
    again = opened(shards, notes)
    assert len(notes) == 1
    assert again.fingerprint() == first.fingerprint()
    assert [again.train.encoded(i) for i in range(18)] == [first.train.encoded(i) for i in range(18)]


def test_only_what_changed_is_indexed_again(shards, notes, pictures):
    opened(shards, notes)
    members = [(f"again_{name}", data) for name, data in samples(pictures, NAMES[1::3])]
    write_tar(shards / "set-0001.tar", members)
    source = opened(shards, notes)
    assert notes[1] == f"indexing 1 of 3 shards of {shards}, once (new, or changed since)"
    names = [source.whole().name(i) for i in range(24)]
    assert sum("again_" in name for name in names) == 8
    (shards / "set-0002.tar").unlink()
    write_tar(shards / "set-0003.tar", samples(pictures, NAMES[2::3]))
    assert len(opened(shards, notes).whole()) == 24
    assert "indexing 1 of 3" in notes[2]


def test_touched_tar_is_not_taken_for_the_old_one(shards, notes):
    opened(shards, notes)
    os.utime(shards / "set-0000.tar", ns=(1, 1))
    opened(shards, notes)
    assert "indexing 1 of 3" in notes[1]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_damaged_index_is_made_anew_with_a_note(shards, notes, damage):
    expected = opened(shards, notes).fingerprint()
    path = shards / INDEX_FILE
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x10
    path.write_bytes(
        {"cut": data[: len(data) // 2], "empty": b"", "flipped": bytes(flipped), "other": b"PK" * 50}[damage]
    )
    assert opened(shards, notes).fingerprint() == expected
    assert f"the index {path} is damaged and is made anew" in notes[1]
    opened(shards, notes)
    assert len(notes) == 3


def test_no_flipped_bit_of_an_index_goes_unnoticed(shards, notes):
    expected = opened(shards, notes).fingerprint()
    path = shards / INDEX_FILE
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 60).tolist():
        flipped = bytearray(data)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        assert opened(shards, notes).fingerprint() == expected


def test_index_of_a_folder_that_may_not_be_written(shards, notes, home, monkeypatch):
    real = tar_index_file.replacing

    def refuse(path):
        if Path(path).parent == shards:
            raise UserError(f"cannot write {path}: you may not write there")
        return real(path)

    monkeypatch.setattr(tar_index_file, "replacing", refuse)
    opened(shards, notes)
    opened(shards, notes)
    assert len(notes) == 1
    assert len(list((home / ".cache/convnext/shards").iterdir())) == 1
    shutil.rmtree(home)
    home.write_text("a file, so that nothing can be kept there either")
    opened(shards, notes)
    assert "the index cannot be kept, so it is made anew each time" in notes[-1]


def test_index_goes_where_the_shards_go(shards, notes, tmp_path):
    before = opened(shards, notes).fingerprint()
    moved = shards.rename(tmp_path / "moved")
    assert opened(moved, notes).fingerprint() == before
    assert len(notes) == 1


def test_one_tar_and_a_pattern(shards, notes, monkeypatch):
    assert len(opened(shards / "set-0000.tar").whole()) == 8
    pattern = f"{shards}/set-{{0000..0002}}.tar"
    source = opened(pattern, notes)
    assert source.name == pattern
    assert [source.whole().name(0)[:12], len(source.whole())] == ["set-0000.tar", 24]
    assert notes == [f"indexing 2 of 3 shards of {shards}, once (new, or changed since)"]
    assert len(opened(f"{shards}/set-000{{0,2}}.tar").whole()) == 16
    monkeypatch.chdir(shards.parent)
    relative = "shards/set-{0000..0002}.tar"
    kept = lasting(relative)
    monkeypatch.chdir("/")
    assert kept == pattern
    assert opened(kept).fingerprint() == source.fingerprint()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("set-{0000..0004}.tar", "2 of the 5 files of .* are missing: .*set-0003.tar', .*set-0004.tar'"),
        ("sett-{00..11}.tar", r"none of the 12 files of .* is there; the first would be .*sett-00\.tar"),
        ("set-{0000..9999999}.tar", "stands for more than 1,000,000 files"),
        ("{0..999}-{0..9999}.tar", "stands for more than 1,000,000 files"),
        ("{set-0000.tar,classes.txt}", "a pattern names files of one kind, got set-0000.tar and classes.txt"),
        ("{classes.txt,classes.txt}", "a pattern names tars, lists or parquet files, not classes.txt"),
    ],
)
def test_patterns_that_are_refused(shards, pattern, words):
    with pytest.raises(UserError, match=words):
        opened(f"{shards}/{pattern}")


@pytest.mark.parametrize("layout", ["{part}/set-{number:02}.tar", "imagenet-{part}-{number:06}.tar"])
@pytest.mark.parametrize("val", ["val", "validation"])
def test_train_and_val_shards(pictures, tmp_path, layout, val):
    root = tmp_path / "parted"
    for number in range(2):
        write_tar(root / layout.format(part="train", number=number), samples(pictures, NAMES[number::3], "json"))
    write_tar(root / layout.format(part=val, number=0), samples(pictures, NAMES[2::3], "json"))
    write_tar(root / layout.format(part="test", number=0), samples(pictures, NAMES[:3], "json"))
    source = opened(root)
    assert source.has_own_val and source.classes == CLASSES
    assert (len(source.train), len(source.val)) == (16, 8)
    keys = sorted(Path(source.val.name(i)).stem.replace("_", "/") + ".png" for i in range(8))
    assert keys == sorted(NAMES[2::3])
    assert all(source.classes[label] in source.val.name(i) for i, label in enumerate(source.val.labels))


def test_shard_of_neither_part_is_named(pictures, tmp_path):
    for name in ("train", "val", "more"):
        write_tar(tmp_path / f"parted/x-{name}.tar", samples(pictures, NAMES))
    with pytest.raises(UserError, match=r"others of which that cannot be told: 'x-more\.tar'"):
        opened(tmp_path / "parted")


LOADER = {
    "size": 8,
    "augment": Augment(crop_scale=(0.5, 1.0), flip=0.5),
    "label_safe": LabelSafe(),
    "batch_size": 6,
    "seed": 3,
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_sample_once_over_ranks_and_workers(shards, world_size, workers):
    split = opened(shards).whole()
    seen, scored = [], []
    for rank in range(world_size):
        # As another process would have it.
        copy = pickle.loads(pickle.dumps(split))
        share = Share(rank=rank, world_size=world_size)
        train = TrainLoader(copy, **LOADER, workers=workers, share=share)
        seen += [index for batch in train.epoch(0) for index in batch.indices.tolist()]
        evaluation = EvalLoader(copy, preprocess=Preprocess(size=8), batch_size=5, workers=workers, share=share)
        scored += [index for batch in evaluation for index in batch.indices.tolist()]
    assert sorted(seen) == sorted(scored) == list(range(24))


def test_entering_in_mid_epoch_gives_the_same_pixels(shards):
    loader = TrainLoader(opened(shards).train, **LOADER, workers=0)
    whole = list(loader.epoch(1))
    rest = list(TrainLoader(opened(shards).train, **LOADER, workers=2).epoch(1, first_step=1))
    assert len(whole) == 3
    for one, other in zip(whole[1:], rest, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_index_is_a_few_bytes_a_picture(shards):
    store = opened(shards).train.store
    assert len(pickle.dumps(store)) < 1500 + 24 * 60


@pytest.mark.parametrize("prefix", ["", "./", "top/", "./top/"])
def test_tar_of_class_folders(pictures, tmp_path, prefix):
    write_tar(tmp_path / "plain.tar", [(prefix + name, (pictures / name).read_bytes()) for name in NAMES])
    folder, source = open_folder(pictures, seed=1, val_fraction=0.25), opened(tmp_path / "plain.tar")
    assert source.classes == folder.classes
    strip = "plain.tar/" + prefix.removeprefix("./")
    for one, other in ((source.train, folder.train), (source.val, folder.val)):
        assert [one.name(i).removeprefix(strip) for i in range(len(one))] == [other.name(i) for i in range(len(other))]
        assert [one.encoded(i) for i in range(len(one))] == [other.encoded(i) for i in range(len(other))]
        assert (one.labels == other.labels).all()


@pytest.mark.parametrize("inner", ["", "{part}/"])
def test_train_and_val_tars_of_class_folders(pictures, tmp_path, inner):
    for part, names in (("train", NAMES[::2]), ("val", NAMES[1::2])):
        members = [(inner.format(part=part) + name, (pictures / name).read_bytes()) for name in names]
        write_tar(tmp_path / f"plain/{part}.tar", members)
    source = opened(tmp_path / "plain")
    assert source.has_own_val and source.classes == CLASSES
    assert (len(source.train), len(source.val)) == (12, 12)
    assert sorted(source.val.name(i).split("val.tar/")[1].removeprefix("val/") for i in range(12)) == sorted(
        NAMES[1::2]
    )


def test_a_tar_for_each_wnid_as_imagenet_comes(pictures, tmp_path):
    for wnid, name in (("n01440764", "cat"), ("n02102040", "dog")):
        write_tar(
            tmp_path / f"ilsvrc/{wnid}.tar",
            [(f"{i}.png", (pictures / f"{name}/{i}.png").read_bytes()) for i in range(8)],
        )
    source = opened(tmp_path / "ilsvrc")
    assert source.classes == ("n01440764", "n02102040")
    whole = source.whole()
    for index in range(16):
        name = ("cat", "dog")[whole.labels[index]] + "/" + whole.name(index).split("/")[1]
        assert whole.encoded(index) == (pictures / name).read_bytes()


def test_class_folders_beside_a_tar_are_not_passed_over(pictures, shards):
    shutil.copy(shards / "set-0000.tar", pictures / "left.tar")
    assert len(opened(pictures).whole()) == 24
    shutil.copytree(pictures, pictures.parent / "parted/train", ignore=shutil.ignore_patterns("*.tar"))
    shutil.copytree(pictures, pictures.parent / "parted/val")
    assert len(opened(pictures.parent / "parted").whole()) == 48


@pytest.mark.parametrize("beside", [("runs",), ("runs", "docs"), ("runs", "train", "val")])
def test_a_run_in_the_folder_of_the_shards_is_no_class(shards, beside):
    before = opened(shards).fingerprint()
    for name in beside:
        (shards / name / "one").mkdir(parents=True)
        (shards / name / "curves.png").write_bytes(b"")
    assert opened(shards).fingerprint() == before


def test_other_folders_beside_those_of_the_parts(pictures, tmp_path):
    for part in ("train", "val"):
        write_tar(tmp_path / f"parted/{part}/x.tar", samples(pictures, NAMES))
    for name in ("runs", "docs", "more"):
        (tmp_path / "parted" / name).mkdir()
    assert len(opened(tmp_path / "parted").whole()) == 48


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            [("a.png", "0"), ("a.cls", "7"), ("b.jpg", "1"), ("b.cls", "10"), ("c.jpeg", "2"), ("c.cls", " 07 ")],
            {"7": 2, "10": 1},
        ),
        ([("a.png", "0"), ("a.cls", "x"), ("b.webp", "1"), ("b.json", '{"class": "y"}')], {"x": 1, "y": 1}),
        ([("a.png", "0"), ("a.json", '{"cls": 3}'), ("b.PNG", "1"), ("b.CLS", "2")], {"2": 1, "3": 1}),
        (
            [("a.png", "0"), ("a.json", '{"label": "no"}'), ("a.cls", "1"), ("b.png", ""), ("b.cls", "2")],
            {"1": 1, "2": 1},
        ),
        ([("d/a.png", "0"), ("d/a.cls", "1"), ("e/a.png", "0"), ("e/a.cls", "2")], {"1": 1, "2": 1}),
        ([("a.png", ""), ("a.mask.png", ""), ("a.cls", "1"), ("b.left.png", ""), ("b.cls", "2")], {"1": 1, "2": 1}),
        (
            [
                ("a.png", ""),
                ("a.cls", "1"),
                ("._a.png", ""),
                ("__MACOSX/a.png", ""),
                ("b.png", ""),
                ("b.cls", "2"),
                ("x.txt", ""),
            ],
            {"1": 1, "2": 1},
        ),
        ([("b.png", ""), ("a.cls", "1"), ("a.png", ""), ("b.cls", "2")], {"1": 1, "2": 1}),
    ],
)
def test_where_labels_come_from(tmp_path, members, expected):
    write_tar(tmp_path / "train.tar", [(name, text.encode()) for name, text in members])
    write_tar(tmp_path / "val.tar", [(name, text.encode()) for name, text in members])
    source = opened(f"{tmp_path}/{{train,val}}.tar")
    assert source.classes == tuple(expected), "numbers by value"
    assert np.bincount(source.train.labels).tolist() == list(expected.values())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "ant\nbee\ncow\n"),
        ("labels.txt", "ant\r\nbee\r\ncow"),
        ("classnames.json", '["ant", "bee", "cow"]'),
        ("classnames.json", '{"0": "ant", "2": "cow", "1": "bee"}'),
        ("classnames.json", '{"cow": 2, "ant": 0, "bee": 1}'),
    ],
)
def test_class_names_beside_the_shards(shards, name, text):
    (shards / "classes.txt").unlink()
    assert opened(shards).classes == ("0", "1", "2")
    (shards / name).write_text(text)
    assert opened(shards).classes == ("ant", "bee", "cow")


def test_class_names_keep_their_order_and_unused_ones_go(pictures, tmp_path):
    write_tar(tmp_path / "x/a.tar", samples(pictures, NAMES, "json"))
    (tmp_path / "x/classes.txt").write_text("eel\nfox\ndog\ncat\n")
    source = opened(tmp_path / "x")
    assert source.classes == ("eel", "dog", "cat")
    whole = source.whole()
    assert all(source.classes[label] in whole.name(i) for i, label in enumerate(whole.labels))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("classes.txt", "cat\ndog\n", "labels outside of its 2 class names: '2'; numbers begin at 0"),
        ("classes.txt", "cat\n\ndog\n", r"classes\.txt has an empty line or one name twice"),
        ("classes.txt", "cat\ncat\neel\n", r"classes\.txt has an empty line or one name twice"),
        ("classnames.json", '{"0": "a", "2": "b", "3": "c"}', "its numbers are not 0, 1, 2 and so on"),
        ("classnames.json", "7", "neither a list nor a table"),
        ("classnames.json", "{", r"the class names in .*classnames\.json cannot be read"),
    ],
)
def test_bad_class_names(shards, name, text, words):
    (shards / "classes.txt").unlink()
    (shards / name).write_text(text)
    with pytest.raises(UserError, match=words):
        opened(shards)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            [("a.png", ""), ("a.cls", "1"), ("b.png", "")],
            r"has 1 pictures without a label \('bad\.tar/b\.png'\); beside each",
        ),
        (
            [("a.png", ""), ("a.json", '{"width": 3}')],
            r"has 1 pictures and no labels; beside each picture there must be",
        ),
        ([("a.png", ""), ("a.json", "{")], r"bad\.tar holds a\.json, which is no JSON"),
        ([("a.png", ""), ("a.jpg", ""), ("a.cls", "1")], r"several pictures for the sample 'a' \('a\.png', 'a\.jpg'\)"),
        ([("a.png", ""), ("a.png", ""), ("a.cls", "1")], "several pictures for the sample 'a'"),
        ([("x/a.png", ""), ("x/a.png", "")], r"holds 'x/a\.png' more than once"),
        ([("a.cls", "1"), ("b.txt", "2")], "has no pictures in its 1 shards"),
        ([("a.png", ""), ("a.cls", "1"), ("b.png", ""), ("b.cls", "1")], "has only one class, '1'; a classifier needs"),
        ([("a.png", ""), ("a.cls", "1"), ("b.png", ""), ("b.cls", "2")], "class '1' has 1 picture, and two are needed"),
    ],
)
def test_bad_shards(tmp_path, members, words):
    write_tar(tmp_path / "bad.tar", [(name, text.encode()) for name, text in members])
    with pytest.raises(UserError, match=words):
        opened(tmp_path / "bad.tar")


def test_label_without_a_picture_is_told(shards, pictures, notes):
    write_tar(shards / "set-0003.tar", [*samples(pictures, ["cat/0.png"]), ("lost.cls", b"1")])
    assert len(opened(shards, notes).whole()) == 25
    assert notes[1] == "warning: labels without a picture in set-0003.tar are left out: 'lost'"


def test_class_of_the_held_out_part_alone(pictures, tmp_path):
    write_tar(tmp_path / "x/train.tar", samples(pictures, NAMES[:16]))
    write_tar(tmp_path / "x/val.tar", samples(pictures, NAMES))
    with pytest.raises(UserError, match=r"class '2' is in the held-out part but not in the part to train on"):
        opened(tmp_path / "x")


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        member = tarfile.TarInfo("cat/1.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/pictures/1.png"
        archive.addfile(member)
    with pytest.raises(UserError, match=r"links\.tar holds links, not files \('cat/1\.png'\); .* --dereference"):
        opened(tmp_path / "links.tar")


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar"])
def test_compressed_tar_is_refused_with_the_reason(shards, tmp_path, name):
    import gzip

    path = tmp_path / name
    path.write_bytes(gzip.compress((shards / "set-0000.tar").read_bytes()))
    with pytest.raises(UserError, match=r"x\.t.* is compressed with gzip, .* unpack it to a plain \.tar"):
        opened(path)


def test_cut_shards_are_all_named_and_the_others_keep_their_index(shards, notes):
    whole = {name: (shards / name).read_bytes() for name in ("set-0000.tar", "set-0002.tar")}
    for name, data in whole.items():
        (shards / name).write_bytes(data[:3000])
    with pytest.raises(UserError) as error:
        opened(shards, notes)
    assert str(error.value).startswith("2 of the shards cannot be used: ")
    assert f"{shards / 'set-0000.tar'} is cut short in " in str(error.value)
    assert f"{shards / 'set-0002.tar'} is cut short in " in str(error.value)
    for name, data in whole.items():
        (shards / name).write_bytes(data)
    assert len(opened(shards, notes).whole()) == 24
    assert "indexing 2 of 3" in notes[1]


def test_tar_that_shrinks_or_goes_after_it_was_indexed(shards):
    split = opened(shards).whole()
    last = max(range(24), key=lambda index: (split.name(index).startswith("set-0002"), split.name(index)))
    (shards / "set-0002.tar").write_bytes((shards / "set-0002.tar").read_bytes()[:600])
    with pytest.raises(PictureError, match=r"^set-0002\.tar/eel_7\.png: cannot be read \(the tar has become shorter"):
        split.picture(last)
    (shards / "set-0002.tar").unlink()
    with pytest.raises(PictureError, match=r"^set-0002\.tar/eel_7\.png: cannot be read \(No such file"):
        split.picture(last)


def test_corrupt_picture_is_named_and_the_rest_goes_on(pictures, tmp_path):
    members = samples(pictures, NAMES)
    members[4] = (members[4][0], members[4][1][:60])
    write_tar(tmp_path / "x.tar", members)
    loader = EvalLoader(opened(tmp_path / "x.tar").whole(), preprocess=Preprocess(size=8), batch_size=5, workers=0)
    assert [name for batch in loader for name in batch.unreadable] == ["x.tar/cat_2.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="find and split are GNU's")
def test_the_commands_of_the_documentation_make_shards(tmp_path, make_tree, notes):
    text = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    script = text.split("```bash\n")[1].split("```")[0]
    make_tree([name.replace(".png", ".jpg") for name in NAMES])
    subprocess.run(["bash", "-euc", script.replace("--lines=1000", "--lines=10")], cwd=tmp_path, check=True)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [f"train-00000{i}.tar" for i in range(3)]
    source = opened(tmp_path / "shards", notes)
    whole = source.whole()
    assert source.classes == CLASSES and len(whole) == 24
    for index in range(24):
        name = whole.name(index).split("/", 1)[1]
        assert name.split("/")[0] == source.classes[whole.labels[index]]
        assert whole.encoded(index) == (tmp_path / "pictures" / name).read_bytes()
