import json

import numpy as np
import pytest

from convnext.data.sources import lasting, open_source
from convnext.errors import UserError

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(6)]


@pytest.fixture
def pictures(make_tree):
    return make_tree(NAMES)


def opened(text, **arguments):
    return open_source(str(text), seed=1, val_fraction=0.5, **arguments)


def rows(names, label=lambda name: name.split("/")[0]):
    return [(name, str(label(name))) for name in names]


def table(rows, separator=","):
    return "".join(separator.join(row) + "\n" for row in rows)


def objects(rows, keys=("path", "label", "split")):
    return "".join(json.dumps(dict(zip(keys, row, strict=False))) + "\n" for row in rows)


def contents(source):
    whole = source.whole()
    return {whole.name(i): (source.classes[whole.labels[i]], whole.encoded(i)) for i in range(len(whole))}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", table([("path", "label"), *rows(NAMES)])),
        ("l.csv", table([("Label", "width", "FileName"), *((label, "9", name) for name, label in rows(NAMES))])),
        ("l.csv", table(rows(NAMES))),
        ("l.csv", "\ufeff" + table([("image", "class"), *rows(NAMES)]).replace("\n", "\r\n")),
        ("l.csv", table([("path", "label")]) + "".join(f'"{name}"," {label} "\n\n' for name, label in rows(NAMES))),
        ("l.tsv", table([("file", "category"), *rows(NAMES)], "\t")),
        ("l.TSV", table(rows(NAMES), "\t")),
        ("l.jsonl", objects(rows(NAMES))),
        ("l.ndjson", "\n" + objects(rows(NAMES), ("file_name", "Class"))),
    ],
)
def test_every_form_of_list(pictures, name, text):
    (pictures / name).write_text(text, newline="")
    source = opened(pictures / name)
    assert source.classes == ("cat", "dog")
    assert contents(source) == {one: (one.split("/")[0], (pictures / one).read_bytes()) for one in NAMES}
    assert not source.has_own_val
    assert np.bincount(source.val.labels).tolist() == [3, 3]
    assert np.asarray(source.val.picture(0)).shape == (9, 12, 3)


def test_split_is_that_of_the_same_folder(pictures):
    (pictures / "l.csv").write_text(table(rows(NAMES)))
    folder, listed = opened(pictures), opened(pictures / "l.csv")
    assert [listed.val.name(i) for i in range(6)] == [folder.val.name(i) for i in range(6)]


@pytest.mark.parametrize("words", [("train", "val"), ("Training", "validation"), ("train", "test")])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_part_column(pictures, kind, words):
    lines = [(name, label, words["5" in name]) for name, label in rows(NAMES)]
    text = table([("path", "label", "split"), *lines]) if kind == "csv" else objects(lines)
    (pictures / f"l.{kind}").write_text(text)
    source = opened(pictures / f"l.{kind}")
    assert source.has_own_val
    assert sorted(source.val.name(i) for i in range(len(source.val))) == ["cat/5.png", "dog/5.png"]
    assert len(source.train) == 10


def test_of_val_and_test_val_is_held_out(pictures):
    part = {"4": "val", "5": "test"}
    (pictures / "l.csv").write_text(table([(name, label, part.get(name[4], "train")) for name, label in rows(NAMES)]))
    source = opened(pictures / "l.csv")
    assert sorted(source.val.name(i) for i in range(2)) == ["cat/4.png", "dog/4.png"]
    assert len(source.train) == 8


def test_list_of_one_part_is_split(pictures):
    (pictures / "l.csv").write_text(table([(name, label, "train") for name, label in rows(NAMES)]))
    source = opened(pictures / "l.csv")
    assert not source.has_own_val and len(source.val) == 6


@pytest.mark.parametrize("pattern", ["{train,val}.csv", "{train,val}/list.csv"])
def test_two_lists(pictures, pattern, make_tree):
    base = pictures
    if "/" in pattern:
        # The paths of a list are relative to its own folder.
        base = make_tree([f"{part}/{name}" for part in ("train", "val") for name in NAMES], "parted")
    (base / pattern.replace("{train,val}", "train")).write_text(table(rows(NAMES[1:])))
    (base / pattern.replace("{train,val}", "val")).write_text(table(rows(NAMES[:1])))
    source = opened(base / pattern)
    assert source.has_own_val and (len(source.train), len(source.val)) == (11, 1)
    expected = "val/cat/0.png" if "/" in pattern else "cat/0.png"
    assert source.val.name(0) == expected
    assert source.val.encoded(0) == (base / expected).read_bytes()


def test_numbers_are_classes_by_value_or_by_a_list_of_names(pictures):
    numbers = {"cat": 10, "dog": 9}
    (pictures / "l.csv").write_text(table(rows(NAMES, lambda name: numbers[name[:3]])))
    assert opened(pictures / "l.csv").classes == ("9", "10")
    (pictures / "classes.txt").write_text("".join(f"class {number}\n" for number in range(11)))
    source = opened(pictures / "l.csv")
    assert source.classes == ("class 9", "class 10")
    assert {label for name, (label, _) in contents(source).items() if name.startswith("dog")} == {"class 9"}


def test_numbers_in_json(pictures):
    lines = [{"path": name, "label": int(name.startswith("dog"))} for name in NAMES]
    (pictures / "l.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert opened(pictures / "l.jsonl").classes == ("0", "1")


def test_pictures_elsewhere(pictures, tmp_path, monkeypatch):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "l.csv").write_text(table(rows(NAMES)))
    (lists / "absolute.csv").write_text(table([(str(pictures / name), label) for name, label in rows(NAMES)]))
    (lists / "above.csv").write_text(table([(f"../pictures/{name}", label) for name, label in rows(NAMES)]))
    expected = [(pictures / name).read_bytes() for name in NAMES]
    for text, root in (("l.csv@../pictures", None), ("l.csv", pictures), ("absolute.csv", None), ("above.csv", None)):
        monkeypatch.chdir(lists)
        source = opened(text, root=root)
        assert sorted(data for _, data in contents(source).values()) == sorted(expected)
        kept = lasting(text)
        monkeypatch.chdir("/")
        assert opened(kept, root=root).fingerprint() == source.fingerprint()
    assert kept == str(lists / "above.csv")


GOOD = table([("path", "label"), *rows(NAMES)])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.csv", "", r"l\.csv has no rows"),
        ("l.csv", "path,label\n", r"l\.csv has no rows"),
        ("l.csv", "path,width\ncat/0.png,3\n", r"line 1: no column of labels among path, width; call it label, class,"),
        ("l.csv", "label,width\ncat,3\n", r"line 1: no column of pictures among label, width; call it path, file,"),
        ("l.csv", GOOD + "cat/1.png\n", r"l\.csv, line 14: 1 columns instead of 2 \(path, label\)"),
        ("l.csv", GOOD + "a,b.png,cat\n", r"line 14: 3 columns instead of 2"),
        ("l.csv", GOOD + "cat/1.png,\n", r"line 14: no label in it \(label, class, target, ...\), got"),
        ("l.csv", GOOD + ' ,"cat"\n', r"line 14: no picture in it"),
        ("l.csv", 'path,label\n"cat/0.png,cat\n', r"line 2: .*columns instead of"),
        (
            "l.csv",
            "path,label,split\ncat/0.png,cat,trian\n",
            r"line 2: the part must be train or one of val, .* got 'trian'",
        ),
        (
            "l.csv",
            "path,label,split\ncat/0.png,cat,train\ncat/1.png,cat,\n",
            r"line 3: no part in it, which other rows have",
        ),
        ("l.csv", "cat/0.png\n", r"line 1: 1 columns instead of 2"),
        ("l.jsonl", '{"path": "cat/0.png", "label": "cat"}\n{"path": 3\n', r"l\.jsonl, line 2: no JSON"),
        ("l.jsonl", "[1, 2]\n", r"line 1: no JSON object; write one a line, such as {'path': 'a.jpg', 'label': 'cat'}"),
        ("l.jsonl", '{"path": "cat/0.png", "label": true}\n', "line 1: no label in it"),
        ("l.jsonl", '{"path": "cat/0.png", "label": null}\n', "line 1: no label in it"),
        ("l.jsonl", '{"path": ["a"], "label": 1}\n', "line 1: no picture in it"),
        ("l.csv", table(rows(NAMES[:6])), "has only one class, 'cat'"),
        ("l.csv", table(rows(NAMES[:7])), "class 'dog' has 1 picture"),
        ("l.csv@nowhere", GOOD, r"there is no folder nowhere for the pictures of l\.csv; give it as LIST@FOLDER"),
    ],
)
def test_refusals(pictures, monkeypatch, name, text, words):
    monkeypatch.chdir(pictures)
    (pictures / name.partition("@")[0]).write_text(text)
    with pytest.raises(UserError, match=words):
        opened(name)


def test_missing_pictures_are_counted_and_the_first_named(pictures):
    lost = [f"cat/{number}.png" for number in range(5, 13)]
    (pictures / "l.csv").write_text(GOOD + table(rows([*lost, "nowhere/1.png", "cat"])))
    with pytest.raises(UserError) as error:
        opened(pictures / "l.csv")
    assert f"names 9 pictures that are not under {pictures}: 'cat/6.png', 'cat/7.png', 'cat/8.png'," in str(error.value)
    assert f"and 4 more (the first in {pictures / 'l.csv'}, line 15); paths are relative to" in str(error.value)


def test_other_encoding(pictures):
    (pictures / "l.csv").write_bytes("path,label\nköter/1.png,hund\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"l\.csv is not in UTF-8"):
        opened(pictures / "l.csv")


def test_odd_rows_of_csv(pictures):
    (pictures / "l.csv").write_text(GOOD + "x" * 200_000 + ",cat\n")
    with pytest.raises(UserError, match=r"l\.csv, line 14: field larger than field limit"):
        opened(pictures / "l.csv")
