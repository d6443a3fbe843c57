"""Copies are found without comparing each picture with each, and the same ones as if one had."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from convnext.data.check import duplicates
from convnext.data.check.duplicates import comparable, difference_hashes, near_pairs, same_groups


def scene(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """Paint something smooth, as photographs are at the size of a thumbnail."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)


def thumbnails(*pictures: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(picture.resize((16, 16), Image.Resampling.BOX)) for picture in pictures])


def saved(picture: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return Image.open(stream).convert("RGB")


def bits_apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.array([[bin(int(left) ^ int(right)).count("1") for right in other] for left in one])


def test_equal_rows_are_grouped_in_order() -> None:
    rows = np.array([[3, 3], [1, 2], [3, 3], [9, 9], [1, 2], [3, 3], [0, 7]], dtype=np.uint8)
    assert same_groups(rows) == [[0, 2, 5], [1, 4]]
    assert same_groups(rows[:0]) == [] and same_groups(rows[3:4]) == []


@pytest.mark.parametrize("kind", ["jpeg 90", "jpeg 30", "half", "brighter", "mirror", "mirror, half"])
def test_a_changed_copy_is_found_among_others(kind: str) -> None:
    changes = {
        "jpeg 90": lambda picture: saved(picture, 90),
        "jpeg 30": lambda picture: saved(picture, 30),
        "half": lambda picture: picture.resize((48, 36), Image.Resampling.BICUBIC),
        "brighter": lambda picture: picture.point([min(255, int(1.1 * value)) for value in range(256)] * 3),
        "mirror": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "mirror, half": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((48, 36)),
    }
    one = thumbnails(*(scene(seed) for seed in range(60)))
    others = [scene(1000 + seed) for seed in range(20)]
    others[7] = changes[kind](scene(33))
    assert near_pairs(one, thumbnails(*others)) == [(33, 7, "mirror" in kind)]


def test_unlike_pictures_are_not_near() -> None:
    one, other = (thumbnails(*(scene(seed + shift) for seed in range(300))) for shift in (0, 5000))
    assert near_pairs(one, other) == []
    assert near_pairs(one[:0], other) == [] and near_pairs(one, other[:0]) == []


def test_two_blue_skies_are_not_near_though_both_are_blue() -> None:
    noise = np.random.default_rng(0).integers(-12, 13, (2, 16, 16, 3))
    skies = (np.array([40, 90, 200]) + noise).astype(np.uint8)
    # The same order of brightness along each row gives both the same hash, so only the thumbnails can tell.
    ramp = np.arange(16, dtype=np.uint8)[:, None]
    skies += ramp
    assert near_pairs(skies[:1], skies[1:]) == []


def test_of_several_copies_the_nearest_is_named() -> None:
    one = thumbnails(saved(scene(1), 20), scene(1), saved(scene(1), 50))
    assert near_pairs(one, thumbnails(scene(1))) == [(1, 0, False)]


def test_the_hash_says_where_a_picture_gets_brighter() -> None:
    rising = np.tile(np.linspace(0, 255, 16).astype(np.uint8)[None, None, :, None], (1, 16, 1, 3))
    assert difference_hashes(rising).tolist() == [2**64 - 1]
    assert difference_hashes(rising[:, :, ::-1]).tolist() == [0]
    # Bright left of the middle of the upper half only: in 4 of 8 rows all steps but the first few go down.
    half = np.zeros((1, 16, 16, 3), dtype=np.uint8)
    half[0, :8, 8:] = 200
    assert [bin(int(value)).count("1") for value in difference_hashes(half)] == [8]


def test_all_hashes_within_seven_bits_are_proposed_and_none_beyond() -> None:
    generator = np.random.default_rng(0)
    one = generator.integers(0, 2**64, 150, dtype=np.uint64)
    other = np.repeat(one[:100], 3)
    for place in range(len(other)):
        for bit in generator.choice(64, size=place % 12, replace=False):
            other[place] ^= np.uint64(1) << np.uint64(bit)
    left, right = duplicates._candidates(duplicates._ranked(one), other)
    expected = np.argwhere(bits_apart(one, other) <= 7)
    assert len(expected) >= 8 * 300 // 12
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == sorted(map(tuple, expected.tolist()))


def test_bits_are_counted() -> None:
    values = np.array([0, 1, 2**63, 2**64 - 1, 0x0F0F, 0x123456789ABCDEF0], dtype=np.uint64)
    assert duplicates._bits(values).tolist() == [bin(int(value)).count("1") for value in values]


def test_thousands_of_like_pictures_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    standardised = duplicates._standardised

    def counting(pictures: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(pictures)
        return standardised(pictures)

    monkeypatch.setattr(duplicates, "_standardised", counting)
    still = np.repeat(thumbnails(scene(5)), 3000, axis=0)
    assert len(near_pairs(still, still[:400])) == 400
    assert compared <= 2 * 2 * 400 * duplicates.MOST_COMPARED


def test_tiny_and_flat_pictures_are_not_compared() -> None:
    flat = np.full((1, 16, 16, 3), 90, dtype=np.uint8)
    flat[0, 0, 0] = 93
    pictures = np.concatenate([thumbnails(scene(1), scene(2)), flat])
    assert comparable(pictures, np.array([100, 15, 100])).tolist() == [0]
