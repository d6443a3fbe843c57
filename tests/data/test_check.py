"""What `data check` finds in made folders with planted faults, by name, and what it leaves alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext.data.builtin import ArrayStore
from convnext.data.check.findings import Finding, by_level, count_text, plural
from convnext.data.check.look import look_at
from convnext.data.check.report import Check, check_source
from convnext.data.sources import LabelSafe, Source, Split, open_source


def scene(text: str, width: int = 48, height: int = 36) -> Image.Image:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def save(picture: Image.Image, path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)


def good_folder(root: Path, train: int = 12, val: int = 55) -> Path:
    for part, count in (("train", train), ("val", val)):
        for name in ("cat", "dog"):
            for number in range(count):
                save(scene(f"{part}{name}{number}"), root / part / name / f"{number}.png")
    return root


def plant(root: Path) -> None:
    """Put one of each fault into a good folder."""
    train, val = root / "train", root / "val"
    (train / "cat" / "broken.jpg").write_bytes(b"no picture")
    whole = (train / "cat" / "0.png").read_bytes()
    (val / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    shutil.copy(train / "cat" / "1.png", val / "cat" / "leak.png")
    # The same pixels in another file format leak just as well.
    save(Image.open(train / "dog" / "1.png"), val / "dog" / "leak.bmp")
    shutil.copy(train / "cat" / "2.png", train / "cat" / "again.png")
    shutil.copy(train / "cat" / "3.png", train / "dog" / "contra.png")
    shutil.copy(val / "cat" / "4.png", val / "cat" / "seen.png")
    save(Image.open(train / "dog" / "5.png").resize((40, 30)), val / "dog" / "near.jpg", quality=60, subsampling=0)
    mirrored = Image.open(train / "dog" / "6.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save(mirrored, val / "dog" / "mirror.jpg", quality=90, subsampling=0)
    save(Image.new("RGB", (40, 40), (7, 7, 9)), train / "cat" / "blank.png")
    save(scene("thin", 200, 40), train / "cat" / "thin.png")
    save(scene("tiny", 9, 8), train / "dog" / "tiny.png")
    save(scene("cmyk").convert("CMYK"), train / "dog" / "cmyk.jpg")
    save(scene("grey").convert("L"), train / "dog" / "grey.png")
    save(scene("wrong"), train / "dog" / "wrong.jpg", format="PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    save(scene("turned"), train / "dog" / "turned.jpg", exif=exif)


EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "unreadable": (
        "error",
        (
            "train/cat/broken.jpg: not a picture of a known kind (JPEG, PNG, BMP, WEBP, TIFF, GIF, PPM)",
            "val/cat/cut.png: cannot be read as a picture (image file is truncated)",
        ),
    ),
    "contradicting": ("error", ("train/dog/contra.png (dog) = train/cat/3.png (cat)",)),
    "leaked": ("error", ("val/cat/leak.png = train/cat/1.png", "val/dog/leak.bmp = train/dog/1.png")),
    "nearly_leaked": (
        "warning",
        ("val/dog/mirror.jpg ~ train/dog/6.png (mirrored)", "val/dog/near.jpg ~ train/dog/5.png"),
    ),
    "twice": ("warning", ("train/cat/again.png = train/cat/2.png",)),
    "twice_held_out": ("note", ("val/cat/seen.png = val/cat/4.png",)),
    "blank": ("warning", ("train/cat/blank.png",)),
    "thin": ("warning", ("train/cat/thin.png (200 x 40)",)),
    "small": ("warning", ("train/dog/tiny.png (9 x 8)",)),
    "mode": ("note", ("train/dog/cmyk.jpg (CMYK)",)),
    "grey": ("note", ("train/dog/grey.png",)),
    "ending": ("note", ("train/dog/wrong.jpg is PNG",)),
    "turned": ("note", ("train/dog/turned.jpg",)),
}


def found(checked: Check) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {finding.key: (finding.level, finding.names) for finding in checked.findings}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = good_folder(tmp_path_factory.mktemp("bad"))
    plant(root)
    return root


def test_a_good_folder_gives_no_finding(tmp_path: Path) -> None:
    checked = check_source(open_source(str(good_folder(tmp_path))), size=36)
    assert checked.findings == () and checked.ok
    assert checked.sizes is not None
    assert (checked.sizes.smallest_px, checked.sizes.median_px, checked.sizes.longest_px) == (36, 36, 48)
    assert (checked.num_classes, checked.num_train, checked.num_val, checked.has_own_val) == (2, 24, 110, True)


def test_each_planted_fault_is_named_and_nothing_else(bad: Path) -> None:
    checked = check_source(open_source(str(bad)))
    assert found(checked) == EXPECTED
    assert not checked.ok
    levels = [finding.level for finding in checked.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert all(finding.advice and finding.detail for finding in checked.findings)
    assert checked.sizes is not None
    readable = sum(path.is_file() for path in bad.rglob("*")) - 2
    assert checked.sizes.grey_share == pytest.approx(1 / readable)


def test_a_zip_gives_the_same(bad: Path, make_zip: Callable[..., Path]) -> None:
    checked = check_source(open_source(str(make_zip(bad))))
    assert found(checked) == EXPECTED


def test_processes_find_the_same_and_every_picture_is_reported(bad: Path) -> None:
    source = open_source(str(bad))
    counts: list[int] = []
    checked = check_source(source, workers=2, advance=counts.append)
    assert found(checked) == EXPECTED
    assert sum(counts) == len(source.train) + len(source.val) and len(counts) > 2


def test_files_that_are_passed_over_are_noted(tmp_path: Path, make_zip: Callable[..., Path]) -> None:
    root = good_folder(tmp_path / "pictures")
    for name in ("train/cat/1.heic", "train/cat/2.HEIC", "val/dog/notes.txt", "train/readme.txt"):
        (root / name).write_text("")
    # Read like any other JPEG, however its name ends.
    save(scene("jpe"), root / "train" / "cat" / "x.jpe", format="JPEG")
    for data in (root, make_zip(root)):
        checked = check_source(open_source(str(data)))
        (finding,) = checked.findings
        assert (finding.level, finding.key, checked.ok) == ("note", "passed_over", True)
        assert finding.title == "3 files passed over because of the ending"
        assert finding.names == ("train/cat/1.heic (2 x .heic)", "val/dog/notes.txt (1 x .txt)")
        assert ".jpe," in finding.detail and "JPEG or PNG" in finding.advice


def test_pictures_below_the_training_size_are_named(bad: Path) -> None:
    checked = check_source(open_source(str(bad)), size=33)
    level, names = found(checked)["small"]
    assert level == "warning"
    assert names == ("train/dog/tiny.png (9 x 8)", "val/dog/near.jpg (40 x 30)")
    # What is so for most is what the data is like.
    assert found(check_source(open_source(str(bad)), size=64))["small"][0] == "note"


def test_a_copy_that_we_drew_into_the_held_out_part_leaks_too(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(30):
            save(scene(f"{name}{number % 15}"), tmp_path / name / f"{number}.png")
    source = open_source(str(tmp_path))
    leaked = next(finding for finding in check_source(source).findings if finding.key == "leaked")
    train = {source.train.name(index) for index in range(len(source.train))}
    val = {source.val.name(index) for index in range(len(source.val))}
    assert leaked.names and all(name.split(" = ")[0] in val for name in leaked.names)
    assert all(name.split(" = ")[1] in train for name in leaked.names)
    assert "drawn" in leaked.advice


def test_a_leak_with_another_label_is_both(tmp_path: Path) -> None:
    root = good_folder(tmp_path)
    shutil.copy(root / "train" / "cat" / "1.png", root / "val" / "dog" / "copy.png")
    keys = found(check_source(open_source(str(root))))
    assert keys["leaked"][1] == ("val/dog/copy.png = train/cat/1.png",)
    assert keys["contradicting"][1] == ("val/dog/copy.png (dog) = train/cat/1.png (cat)",)
    assert "nearly_leaked" not in keys and "twice" not in keys


def source_of(train: list[int], val: list[int], classes: tuple[str, ...] = ("a", "b", "c")) -> Source:
    """Return a source of painted pictures with so many of each class."""
    store = ArrayStore(
        title="painted",
        pictures=np.stack([np.asarray(scene(str(seed), 20, 20).convert("L")) for seed in range(sum(train + val))]),
    )
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts in (train, val)])
    entries, split = np.arange(len(labels)), sum(train)
    return Source(
        name="painted",
        classes=classes,
        train=Split(store=store, entries=entries[:split], labels=labels[:split]),
        val=Split(store=store, entries=entries[split:], labels=labels[split:]),
        label_safe=LabelSafe(),
    )


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [
        ([30, 30, 30], [40, 40, 40], {}),
        ([100, 10, 50], [40, 40, 40], {"imbalance": ("warning", ("b (10)", "c (50)", "a (100)"))}),
        ([99, 10, 50], [40, 40, 40], {}),
        ([30, 9, 30], [40, 40, 40], {"few_of_a_class": ("warning", ("b (9)",))}),
        ([30, 0, 30], [40, 40, 40], {"empty_class": ("error", ("b",))}),
        ([30, 30, 30], [60, 0, 60], {"absent_from_val": ("warning", ("b",))}),
        ([30, 30, 30], [33, 33, 33], {"few_held_out": ("warning", ())}),
        ([30, 30, 30], [34, 33, 33], {}),
        ([30, 30, 30], [0, 0, 0], {"no_val": ("error", ())}),
    ],
)
def test_counts_of_classes(train: list[int], val: list[int], expected: dict[str, object]) -> None:
    checked = check_source(source_of(train, val))
    assert {key: value for key, value in found(checked).items() if key != "grey"} == expected


def test_digits_have_no_fault_that_matters() -> None:
    checked = check_source(open_source("digits"))
    assert {finding.key: finding.level for finding in checked.findings} == {"small": "note", "grey": "note"}


def test_a_set_without_a_readable_picture_is_reported(make_tree: Callable[..., Path]) -> None:
    root = make_tree([f"{name}/{number}.png" for name in ("cat", "dog") for number in range(5)])
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    checked = check_source(open_source(str(root)))
    assert checked.sizes is None and len(found(checked)["unreadable"][1]) == 10


def test_a_turned_picture_is_seen_upright(bad: Path) -> None:
    source = open_source(str(bad))
    place = next(index for index in range(len(source.train)) if source.train.name(index).endswith("turned.jpg"))
    look = look_at(source.train, place)
    assert (look.width_px, look.height_px, look.turned) == (36, 48, True)


def test_words() -> None:
    finding = Finding(level="note", key="k", title="t", detail="d", advice="a", names=("x", "y", "z", "v", "w"))
    assert finding.shown_names() == "x, y, z and 2 more"
    assert finding.to_dict()["names"] == ["x", "y", "z", "v", "w"]
    error = Finding(level="error", key="k", title="t", detail="d", advice="a")
    assert by_level([finding, error, finding]) == (error, finding, finding)
    assert count_text([finding, error, finding]) == "1 error, 2 notes" and count_text([]) == "nothing found"
    assert (plural(1, "picture"), plural(2000, "class", "classes")) == ("1 picture", "2,000 classes")
