import numpy as np
from sklearn.datasets import load_digits

from convnext.data.builtin import open_digits


def test_all_digits_scaled_and_each_once():
    source = open_digits(seed=0, val_fraction=0.2)
    assert source.classes == tuple("0123456789")
    assert len(source.train) + len(source.val) == 1797
    assert abs(len(source.val) - 359) <= 5
    reference = load_digits()
    seen = set()
    for split in (source.train, source.val):
        for index, entry in enumerate(split.entries):
            seen.add(split.name(index))
            pixels = np.asarray(split.picture(index))
            assert pixels.shape == (8, 8, 3)
            assert (pixels == np.rint(reference.images[entry] * 255 / 16)[:, :, None]).all()
            assert reference.target[entry] == split.labels[index]
    assert len(seen) == 1797


def test_whole_range_is_used():
    source = open_digits(seed=0, val_fraction=0.2)
    pixels = np.stack([np.asarray(source.val.picture(index)) for index in range(len(source.val))])
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_no_flip_and_mild_crops():
    safe = open_digits(seed=0, val_fraction=0.2).label_safe
    assert not safe.flip
    assert safe.min_crop_scale >= 0.6
