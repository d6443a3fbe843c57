import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convnext.data.sources import open_source
from convnext.data.splits import LabelSafe, split_by_seed
from convnext.errors import UserError


class NoStore:
    def name(self, entry):
        return f"n{entry}"

    def picture(self, entry):
        raise AssertionError("a split reads no pictures")


def split(labels, classes, seed=0, val_fraction=0.2):
    return split_by_seed(NoStore(), np.asarray(labels, dtype=np.int64), classes, seed=seed, val_fraction=val_fraction)


@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_a_partition_with_each_class_in_both_parts(counts, fraction, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    train, val = split(labels, [str(c) for c in range(len(counts))], seed, fraction)
    assert sorted([*train.entries, *val.entries]) == list(range(len(labels)))
    for part in (train, val):
        assert (labels[part.entries] == part.labels).all()
    for label, count in enumerate(counts):
        held_out = (val.labels == label).sum()
        assert held_out == min(max(round(count * fraction), 1), count - 1)


def test_seed_decides():
    labels = [0, 1] * 50
    first, again, other = (split(labels, ["a", "b"], seed)[1].entries for seed in (3, 3, 4))
    assert (first == again).all()
    assert set(first) != set(other)


def test_draw_is_not_the_first_or_last_of_a_class():
    val = split([0] * 100 + [1] * 100, ["a", "b"])[1]
    assert 20 < np.median(val.entries[:20]) < 80
    assert set(val.entries[:20] + 100) != set(val.entries[20:])


def test_names_follow_the_entries():
    train, val = split([0, 0, 1, 1], ["a", "b"])
    assert sorted([train.name(0), train.name(1), val.name(0), val.name(1)]) == ["n0", "n1", "n2", "n3"]
    assert [val.name(i) for i in range(2)] == [f"n{entry}" for entry in val.entries]


def test_class_of_one_picture_is_named():
    with pytest.raises(UserError, match=r"class 'lynx' has 1 picture, and two are needed"):
        split([0, 0, 1], ["cat", "lynx"])


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_fraction_is_checked(fraction):
    with pytest.raises(UserError, match=rf"val_fraction must be between 0 and 1, got {fraction}"):
        split([0, 0, 1, 1], ["a", "b"], val_fraction=fraction)


def test_label_safe_of_photographs():
    assert LabelSafe() == LabelSafe(flip=True, min_crop_scale=0.08)
    with pytest.raises(UserError, match="min_crop_scale must be above 0 and at most 1, got 0"):
        LabelSafe(min_crop_scale=0)


def test_a_fingerprint_tells_data_and_split_but_not_the_place(tmp_path):
    def folder(root, names=("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png")):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
        return open_source(str(root), seed=1, val_fraction=0.3).fingerprint()

    here = folder(tmp_path / "here")
    assert here == folder(tmp_path / "moved" / "away")
    assert here != folder(tmp_path / "more", ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/4.png"))
    assert here != open_source(str(tmp_path / "here"), seed=2, val_fraction=0.6).fingerprint()


def test_the_whole_of_a_source_is_both_parts_and_knows_whose_split_it_is():
    drawn = open_source("digits", seed=3)
    whole = drawn.whole()
    assert not drawn.has_own_val
    assert len(whole) == 1797
    assert np.array_equal(whole.labels, np.concatenate([drawn.train.labels, drawn.val.labels]))
    first_held_out = len(drawn.train)
    for index, part, place in ((0, drawn.train, 0), (first_held_out, drawn.val, 0), (1796, drawn.val, -1)):
        place %= len(part)
        assert whole.name(index) == part.name(place)
        assert np.array_equal(np.asarray(whole.picture(index)), np.asarray(part.picture(place)))
    assert len({whole.name(index) for index in range(len(whole))}) == 1797
