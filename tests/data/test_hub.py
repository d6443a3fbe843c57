import builtins
import pickle
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convnext.data.hub import HubStore, read_options
from convnext.data.loader import EvalLoader, Share
from convnext.data.pictures import PictureError
from convnext.data.sources import lasting, open_source
from convnext.errors import UserError
from convnext.preprocess import Preprocess

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(6)]


@pytest.fixture
def encoded(make_tree):
    root = make_tree(NAMES)
    return [(root / name).read_bytes() for name in NAMES]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def opened(text, notes=None, **arguments):
    note = ([] if notes is None else notes).append
    return open_source(str(text), seed=1, val_fraction=0.5, note=note, **arguments)


def plain_table(encoded, labels=None, **columns):
    """Return a parquet table as other programs write it: no word of which column is a picture."""
    labels = [name[:3] for name in NAMES] if labels is None else labels
    cells = [{"bytes": data, "path": name} for name, data in zip(NAMES, encoded, strict=True)]
    return pa.table({"image": cells, "label": labels, **columns})


def made_set(encoded, rows=range(12), names=("dog", "cat"), **columns):
    """Return a data set of the library, its classes not in the order of the alphabet."""
    features = {"img": datasets.Image(), "what": datasets.ClassLabel(names=list(names))}
    values = {
        "img": [{"bytes": encoded[row], "path": None} for row in rows],
        "what": [names.index(NAMES[row][:3]) for row in rows],
    }
    features |= {name: datasets.Value("string") for name in columns}
    return datasets.Dataset.from_dict({**values, **columns}, features=datasets.Features(features))


@pytest.fixture(autouse=True)
def quiet(capfd):
    yield
    shown = capfd.readouterr()
    assert shown.out == shown.err == "", "the library's bars and warnings are not for the user"


@pytest.fixture(autouse=True)
def silent_making():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def contents(source):
    whole = source.whole()
    return sorted((source.classes[whole.labels[i]], whole.encoded(i)) for i in range(len(whole)))


def expected(encoded):
    return sorted((name[:3], data) for name, data in zip(NAMES, encoded, strict=True))


@pytest.mark.parametrize("place", ["one.parquet", "folder", "folder/data"])
@pytest.mark.parametrize("kind", ["struct", "binary", "image"])
def test_parquet(encoded, tmp_path, place, kind):
    path = tmp_path / place / ("x.parquet" if not place.endswith("parquet") else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = plain_table(encoded)
    if kind == "binary":
        table = pa.table({"jpg": pa.array(encoded, pa.binary()), "class_name": table["label"], "width": [12.0] * 12})
    if kind == "image":
        made_set(encoded).to_parquet(path)
    else:
        pq.write_table(table, path, row_group_size=3)
    source = opened(tmp_path / place.removesuffix("/data"))
    assert source.classes == (("dog", "cat") if kind == "image" else ("cat", "dog"))
    assert contents(source) == expected(encoded)
    assert not source.has_own_val
    assert np.bincount(source.val.labels).tolist() == [3, 3]
    assert np.asarray(source.val.picture(0)).shape == (9, 12, 3)


def test_parts_of_parquet(encoded, tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    rows = {"train-00000-of-00002": range(0, 12, 3), "train-00001-of-00002": range(1, 12, 3)}
    rows |= {"validation-00000-of-00001": range(2, 12, 3), "test-00000-of-00001": range(2)}
    for name, chosen in rows.items():
        pq.write_table(plain_table(encoded).take(list(chosen)), tmp_path / f"set/{name}.parquet")
    notes = []
    source = opened(tmp_path / "set", notes)
    assert source.has_own_val and (len(source.train), len(source.val)) == (8, 4)
    assert contents(source) == expected(encoded)
    assert [source.val.encoded(i) for i in range(4)] == encoded[2::3]
    assert source.val.name(3) == "set/validation/3"
    assert notes == [f"opening {tmp_path / 'set'}; tables of it are kept in {tmp_path / 'cache'}"]
    monkeypatch.chdir(tmp_path)
    pattern = "set/train-0000{0..1}-of-00002.parquet"
    assert len(opened(lasting(pattern)).whole()) == 8


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_saved_set(encoded, tmp_path, monkeypatch, prefix):
    made_set(encoded).save_to_disk(tmp_path / "saved")
    source = opened(f"{prefix}{tmp_path / 'saved'}")
    assert (source.classes, source.has_own_val) == (("dog", "cat"), False)
    assert contents(source) == expected(encoded)
    monkeypatch.chdir(tmp_path)
    assert lasting(f"{prefix}./saved") == f"{prefix}{tmp_path / 'saved'}"
    assert opened(f"{prefix}saved").fingerprint() == source.fingerprint()


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("training", "test"), ("train", "dev")])
def test_saved_parts(encoded, tmp_path, names):
    parts = {name: made_set(encoded, range(at, 12, 3)) for at, name in enumerate(names)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = opened(tmp_path / "saved")
    assert source.has_own_val
    assert [source.train.encoded(i) for i in range(4)] == encoded[0::3]
    assert [source.val.encoded(i) for i in range(4)] == encoded[1::3]
    assert [source.val.name(0), source.train.name(3)] == [f"saved/{names[1]}/0", f"saved/{names[0]}/3"]


def test_rows_in_any_order_once_over_ranks_and_workers(encoded, tmp_path):
    datasets.DatasetDict(
        train=made_set(encoded, range(0, 12, 2)), test=made_set(encoded, range(1, 12, 2))
    ).save_to_disk(tmp_path / "saved")
    whole = opened(tmp_path / "saved").whole()
    order = [*encoded[::2], *encoded[1::2]]
    for index in np.random.default_rng(0).permutation(12).tolist():
        assert whole.encoded(index) == order[index]
    for workers in (0, 2):
        seen = []
        for rank in range(2):
            copy = pickle.loads(pickle.dumps(whole))
            share = Share(rank=rank, world_size=2)
            loader = EvalLoader(copy, preprocess=Preprocess(size=8), batch_size=4, workers=workers, share=share)
            batches = list(loader)
            assert not any(batch.unreadable for batch in batches)
            seen += [index for batch in batches for index in batch.indices.tolist()]
        assert seen == list(range(12))


def test_select_and_shuffle_of_the_library_are_kept(encoded, tmp_path):
    made_set(encoded).shuffle(seed=4).select(range(7)).save_to_disk(tmp_path / "saved")
    source = opened(tmp_path / "saved")
    assert len(source.whole()) == 7
    assert set(contents(source)) <= set(expected(encoded))


def test_pictures_by_path(encoded, tmp_path):
    features = datasets.Features({"image": datasets.Image()})
    paths = [str(tmp_path / "pictures" / name) for name in NAMES]
    table = datasets.Dataset.from_dict({"image": paths}, features=features)
    table = table.cast_column("image", datasets.Image(decode=False))
    store = HubStore(titles=("set/train",), tables=(table,), column="image")
    assert [store.encoded(i) for i in range(12)] == encoded
    Path(paths[3]).unlink()
    with pytest.raises(PictureError, match=r"^set/train/3: cannot be read as a picture \(No such file"):
        store.picture(3)


def test_row_without_a_picture(encoded, tmp_path):
    cells = [{"bytes": None, "path": None}, *({"bytes": data, "path": None} for data in encoded[1:])]
    pq.write_table(pa.table({"image": cells, "label": [0] * 6 + [1] * 6}), tmp_path / "x.parquet")
    whole = opened(tmp_path / "x.parquet").whole()
    failed = []
    for index in range(12):
        try:
            whole.picture(index)
        except PictureError as error:
            failed.append(str(error))
    assert failed == [f"{tmp_path.name}/train/0: there is no picture in this row"]


def many_columns(encoded, tmp_path):
    table = plain_table(encoded, fine=["a", "b"] * 6, mask=[{"bytes": data, "path": ""} for data in reversed(encoded)])
    pq.write_table(table.rename_columns(["photo", "coarse", "fine", "mask"]), tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def test_columns_are_named_where_it_is_not_clear(encoded, tmp_path):
    path = many_columns(encoded, tmp_path)
    with pytest.raises(UserError) as error:
        opened(path)
    assert "several columns that may be the image (photo, mask); there are photo (struct), coarse (string)" in str(
        error.value
    )
    with pytest.raises(UserError, match=r"several columns that may be the label \(coarse, fine\)"):
        opened(f"hf:{path}?image=photo")
    assert contents(opened(f"hf:{path}?image=photo&label=coarse")) == expected(encoded)
    fine = opened(f"hf:{path}?image=mask&label=fine")
    assert fine.classes == ("a", "b")
    assert contents(fine) == sorted((("a", "b")[i % 2], data) for i, data in enumerate(reversed(encoded)))
    assert lasting(f"hf:{path}?image=photo") == f"hf:{path}?image=photo"


def test_class_column_goes_before_other_columns(encoded, tmp_path):
    made_set(encoded, label=["x"] * 12).save_to_disk(tmp_path / "saved")
    assert opened(tmp_path / "saved").classes == ("dog", "cat")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?image=foto&label=fine", r"has no column 'foto'; there are photo \(struct\), coarse"),
        ("?imgae=photo", r"there is no option 'imgae' in .*; did you mean image"),
        ("?image=", r"the option image in .* has no value; write it as hf:NAME\?image=COLUMN"),
        ("?image=photo&label=fine&split=val", r"has the parts train; split=val must be one or two of them"),
    ],
)
def test_bad_options(encoded, tmp_path, query, words):
    with pytest.raises(UserError, match=words):
        opened(f"hf:{many_columns(encoded, tmp_path)}{query}")


def test_options_of_other_data_are_refused(make_tree):
    with pytest.raises(UserError, match=r"is neither parquet nor a saved data set, so it takes no label"):
        opened(f"hf:{make_tree(NAMES)}?label=x")


def test_parts_may_be_chosen(encoded, tmp_path):
    parts = {name: made_set(encoded, range(at, 12, 3)) for at, name in enumerate(("a", "b", "test"))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    with pytest.raises(UserError, match=r"has the parts a, b, test, none of them called train; choose: write it as"):
        opened(tmp_path / "saved")
    source = opened(f"hf:{tmp_path}/saved?split=b,a")
    assert [source.train.encoded(i) for i in range(4)] == encoded[1::3]
    assert [source.val.encoded(i) for i in range(4)] == encoded[0::3]
    assert not opened(f"hf:{tmp_path}/saved?split=b").has_own_val
    with pytest.raises(UserError, match=r"split=a,b,test must be one or two"):
        opened(f"hf:{tmp_path}/saved?split=a,b,test")


def test_test_part_without_labels_is_passed_over(encoded, tmp_path):
    unlabelled = made_set(encoded).remove_columns("what").add_column("what", [-1] * 12)
    unlabelled = unlabelled.cast_column("what", datasets.ClassLabel(names=["dog", "cat"]))
    datasets.DatasetDict(train=made_set(encoded), test=unlabelled).save_to_disk(tmp_path / "saved")
    assert not opened(tmp_path / "saved").has_own_val
    with pytest.raises(UserError, match=r"has pictures without a label \(-1\) in train and test; choose other parts"):
        opened(f"hf:{tmp_path}/saved?split=train,test")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": [1, 2] * 6}, r"has no image column; there are label \(int64\); write it as"),
        ({"image": ["a.jpg"] * 12, "label": [1, 2] * 6}, r"has no image column; there are image \(string\), label"),
        (
            {"jpg": [b"x"] * 12, "score": [0.5] * 12},
            r"has no label column; there are jpg \(binary\), score \(float64\)",
        ),
        ({"jpg": [b"x"] * 12, "label": [1, None] * 6}, r"has 6 rows without a label in its part train"),
        ({"jpg": [b"x"] * 12, "label": ["a"] * 12}, r"has only one class, 'a'"),
        ({"jpg": [b"x"] * 12, "label": ["a"] * 11 + ["b"]}, r"class 'b' has 1 picture"),
    ],
)
def test_tables_of_no_use(tmp_path, columns, words):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=words):
        opened(tmp_path / "x.parquet")


def test_damaged_parquet(encoded, tmp_path):
    pq.write_table(plain_table(encoded), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"x\.parquet cannot be opened \(.*\); check the name, or fetch it again"):
        opened(tmp_path / "x.parquet")


def test_hub_without_network():
    notes = []
    with pytest.raises(UserError, match=r"the hub cannot be reached and hf:some/set:small is not in the cache folder"):
        opened("hf:some/set:small", notes)
    assert notes[0].startswith("opening hf:some/set:small; what the hub sends is kept in ")


def test_hub_names(monkeypatch, encoded, tmp_path):
    asked = []

    def load(path, name=None, **arguments):
        asked.append((path, name, arguments["revision"], arguments["cache_dir"]))
        return datasets.DatasetDict(train=made_set(encoded), validation=made_set(encoded, range(3, 9)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    source = opened("hf:some/set@v1.0:small 2?label=what", root=tmp_path)
    assert (source.name, len(source.train), len(source.val)) == ("hf:some/set@v1.0:small 2", 12, 6)
    assert source.val.name(5) == "hf:some/set@v1.0:small 2/validation/5"
    opened("hf:mnist")
    assert asked == [("some/set", "small 2", "v1.0", str(tmp_path)), ("mnist", None, None, None)]
    assert lasting("hf:some/set@v1.0?label=x") == "hf:some/set@v1.0?label=x"


@pytest.mark.parametrize("text", ["hf:", "hf:a/b/c", "hf:a b", "hf:a/b@", "hf:-a", "hf:a/.."])
def test_what_is_no_hub_name(text):
    with pytest.raises(UserError, match=r"a hub data set is written hf:OWNER/NAME"):
        opened(text)


@pytest.mark.parametrize("text", ["hf:./nowhere", "hf:/no/where?label=x", "hf:~/nowhere"])
def test_folder_that_is_not_there(text):
    with pytest.raises(UserError, match=r"there is no file or folder [~./].*where; check the name"):
        opened(text)


def test_library_that_is_not_installed(tmp_path, encoded, monkeypatch):
    made_set(encoded).save_to_disk(tmp_path / "saved")
    real = builtins.__import__

    def absent(name, *arguments):
        if name == "datasets":
            raise ModuleNotFoundError("No module named 'datasets'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.delitem(sys.modules, "datasets")
    with pytest.raises(UserError, match=r"needs the Hugging Face library datasets .*: pip install 'convnext\[data\]'"):
        opened(tmp_path / "saved")


def test_settings_of_the_library_are_given_back(tmp_path, encoded):
    made_set(encoded).save_to_disk(tmp_path / "saved")
    datasets.enable_progress_bars()
    before = datasets.logging.get_verbosity()
    opened(tmp_path / "saved")
    assert datasets.is_progress_bar_enabled() and datasets.logging.get_verbosity() == before


def test_options_are_read():
    assert read_options("hf:a/b?image=x&label=y%26z") == ("a/b", {"image": "x", "label": "y&z"})
