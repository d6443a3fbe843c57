"""The corruptions of ImageNet-C: each against what it should do to a picture made for it, and their draws."""

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from convnext.data.augment import eval_picture
from convnext.data.corruptions.corrupt import FUNCTIONS, CorruptedStore, corrupt
from convnext.data.corruptions.patterns import frost_pattern, plasma
from convnext.data.corruptions.resampling import moved_along, smoothed_field, zoomed
from convnext.data.corruptions.table import CORRUPTIONS, GROUPS, NAMES, corruption_named
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from tests.data.conftest import paint

SIDE = 224


def photo(seed: int = 0) -> np.ndarray:
    """A smooth picture with edges and fine grain, of middling levels."""
    generator = np.random.default_rng(seed)
    coarse = ndimage.zoom(generator.uniform(40, 210, (8, 8, 3)), (SIDE / 8, SIDE / 8, 1), order=1)
    coarse[60:120, 80:170] = 255 - coarse[60:120, 80:170]
    return np.clip(coarse + generator.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)


PHOTO = photo()


def made(name: str, severity: int, pixels: np.ndarray = PHOTO, seed: int = 0) -> np.ndarray:
    return corrupt(pixels, name, severity, np.random.default_rng(seed)).astype(float)


def distance(name: str, severity: int) -> float:
    return float(np.mean([((made(name, severity, seed=seed) - PHOTO) ** 2).mean() for seed in range(2)]))


def dot() -> np.ndarray:
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    pixels[112, 112] = 255
    return pixels


def test_there_are_fifteen_in_four_groups_with_five_severities_each():
    assert len(NAMES) == 15 and set(FUNCTIONS) == set(NAMES)
    assert [sum(one.group == group for one in CORRUPTIONS) for group in GROUPS] == [3, 4, 4, 4]
    assert {len(one.parameters) for one in CORRUPTIONS} == {5}


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_is_the_same_again_and_pixels_stay_pixels(name):
    first = corrupt(PHOTO, name, 2, np.random.default_rng(3))
    assert first.shape == PHOTO.shape and first.dtype == np.uint8
    assert (first == corrupt(PHOTO, name, 2, np.random.default_rng(3))).all()
    assert (first != PHOTO).any()


# Frost has another pattern each time; snow and elastic transform change in kind (AlexNet too errs less at their third
# severity than at the second); fog and glass blur trade strength for roughness, and passes for width; halves fit a grid
# of pixels best.
NOT_STEADY = ("frost", "snow", "elastic_transform", "fog", "glass_blur", "pixelate")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_STEADY])
def test_each_severity_is_worse(name):
    distances = [distance(name, severity) for severity in (1, 2, 3, 4, 5)]
    assert distances == sorted(distances) and distances[-1] > 1.5 * distances[0]


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.08), (3, 0.18)])
def test_gaussian_noise(severity, deviation):
    grey = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    noise = made("gaussian_noise", severity, grey) - 128
    assert noise.std() / 255 == pytest.approx(deviation, rel=0.02)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02, "each channel on its own"


def test_shot_noise_grows_with_the_level():
    for level in (50, 180):
        grey = np.full((SIDE, SIDE, 3), level, dtype=np.uint8)
        noisy = made("shot_noise", 1, grey) / 255
        assert noisy.mean() == pytest.approx(level / 255, abs=0.01)
        assert noisy.var() == pytest.approx(level / 255 / 60, rel=0.1)


def test_impulse_noise_hits_its_share_both_ways():
    grey = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    noisy = made("impulse_noise", 5, grey)
    assert ((noisy == 0).mean(), (noisy == 255).mean()) == pytest.approx((0.135, 0.135), rel=0.05)
    assert set(np.unique(noisy)) == {0, 128, 255}


def test_defocus_spreads_a_dot_over_a_disc():
    square = np.where(ndimage.binary_dilation(dot(), np.ones((5, 5, 1))), 255, 0).astype(np.uint8)
    bright = made("defocus_blur", 3, square)
    rows, columns = np.nonzero(bright[..., 0])
    reach = np.hypot(rows - 112, columns - 112).max()
    assert 6 < reach <= 6 + 2 * 2**0.5 + 2
    for severity, level in ((3, 200), (4, 202), (5, 202)):
        flat = np.full((SIDE, SIDE, 3), 200, dtype=np.uint8)
        # Discs that touch the edge of their kernel are 1% too bright in the published files. Up to the edge of these:
        assert (abs(made("defocus_blur", severity, flat) - level) <= 1e-9).mean() > 0.99


def test_motion_follows_one_line_with_falling_weights():
    planes = np.zeros((1, 64, 64), dtype=np.float32)
    planes[0, 32, 40] = 1
    moved = moved_along(planes, 10, 3, 0)[0]
    weights = np.exp(-(np.arange(21) ** 2) / 18)
    assert np.allclose(moved[32, 40 - np.arange(21)], weights / weights.sum(), atol=1e-6)
    assert moved.sum() == pytest.approx(1, abs=1e-5) and (moved[:32] == 0).all()
    turned = moved_along(planes, 10, 3, -90)[0]
    assert np.allclose(turned[32 + np.arange(21), 40], weights / weights.sum(), atol=1e-6), "90 degrees up"


@pytest.mark.parametrize("factor", [1.0, 1.07, 1.3, 2.5, 4.5])
def test_zoom_equals_scipys(factor):
    plane = np.random.default_rng(0).random((SIDE, SIDE)).astype(np.float32)
    part = int(np.ceil(SIDE / factor))
    start = (SIDE - part) // 2
    enlarged = ndimage.zoom(plane[start : start + part, start : start + part], factor, order=1)
    trim = (len(enlarged) - SIDE) // 2
    assert np.allclose(zoomed(plane[None], factor)[0], enlarged[trim : trim + SIDE, trim : trim + SIDE], atol=1e-5)


def test_zoom_blur_keeps_the_middle():
    moved = made("zoom_blur", 5)
    near, far = (abs(moved - PHOTO)[region].mean() for region in (np.s_[106:118, 106:118], np.s_[:12, :12]))
    assert near < far


def test_glass_takes_every_colour_from_nearby():
    # Colours that tell their place: the row in red, the column in green.
    rows, columns = np.indices((SIDE, SIDE))
    places = np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)
    moved = abs(made("glass_blur", 1, places) - places)
    assert 0 < moved[10:-10, 10:-10].max() <= 6 and moved[..., :2].mean() > 0.2


@pytest.mark.parametrize("width", [0.9, 19.52, 170.8])
def test_a_smoothed_field_equals_scipys(width):
    field = np.random.default_rng(0).uniform(-1, 1, (48, 48)).astype(np.float32)
    expected = ndimage.gaussian_filter(field.astype(float), width, mode="reflect", truncate=3)
    assert np.allclose(smoothed_field(field, width), expected, atol=1e-5)


def test_elastic_transform_without_strength_is_the_picture():
    still = FUNCTIONS["elastic_transform"](PHOTO, np.random.default_rng(0), 0.0, 1.0, 0.0)
    assert abs(still.astype(int) - PHOTO).max() <= 1


def test_elastic_transform_moves_the_corners_where_it_was_told():
    class Shift:
        def uniform(self, low, high, size):
            return np.zeros(size) if size != (3, 2) else np.tile([5.0, -3.0], (3, 1))

    moved = FUNCTIONS["elastic_transform"](PHOTO, Shift(), 0.0, 1.0, 5.0)
    # Three corners moved alike move the whole picture: 5 to the right, 3 up.
    assert abs(moved[:-10, 10:].astype(int) - PHOTO[3:-7, 5:-5]).max() <= 1


def test_contrast_and_brightness_by_hand():
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0] = [200, 100, 0]
    assert made("contrast", 1, pixels)[0, 0].tolist() == [140, 70, 0] and made("contrast", 1, pixels)[1, 0, 0] == 60
    bright = made("brightness", 2, pixels)
    assert bright[0, 0].tolist() == [251, 125, 0], "200 + 51, and the others in proportion"
    assert bright[1, 0].tolist() == [51, 51, 51], "black becomes grey"


def test_fog_keeps_the_range_of_the_picture():
    foggy = made("fog", 4)
    assert foggy.max() <= PHOTO.max()
    # The picture counts highest / (highest + strength) in the sum, and fog of decay 1.5 adds little detail.
    detail, before = (np.abs(np.diff(pixels.astype(float), axis=1)).mean() for pixels in (foggy, PHOTO))
    highest = PHOTO.max() / 255
    assert detail / before == pytest.approx(highest / (highest + 2.5), rel=0.25)


def test_plasma_fills_its_range_and_is_rougher_with_less_decay():
    smooth, rough = (plasma(64, decay, np.random.default_rng(0)) for decay in (3.0, 1.2))
    assert (smooth.min(), smooth.max()) == (0, 1)
    steps = [np.abs(np.diff(field, axis=1)).mean() / field.std() for field in (smooth, rough)]
    assert steps[0] < steps[1]
    # On a torus the last column goes on into the first.
    assert abs(smooth[:, 0] - smooth[:, -1]).max() < 0.2


def test_frost_is_as_bright_as_the_photographs():
    means = [frost_pattern(SIDE, np.random.default_rng(seed)).mean() * 255 for seed in range(12)]
    assert 110 < min(means) < 135 and 195 < max(means) < 215


def test_snow_whitens():
    assert made("snow", 1).mean() > PHOTO.mean() + 20


def test_pixelate_and_jpeg_are_pillows():
    image = Image.fromarray(PHOTO)
    small = image.resize((56, 56), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BOX)
    assert (made("pixelate", 5) == np.asarray(small)).all()
    sizes = [len(np.unique(made("jpeg_compression", severity))) for severity in (1, 5)]
    assert min(sizes) > 10
    blocks = made("jpeg_compression", 5)[:8, :8, 0]
    assert blocks.std() < PHOTO[:8, :8, 0].std(), "at quality 7 the grain is gone"


class Painted:
    def name(self, entry):
        return f"{entry}.png"

    def picture(self, entry):
        return paint(entry, 300, 260)


def test_a_store_cuts_corrupts_and_writes_as_the_published_files_were_made():
    store = CorruptedStore(store=Painted(), corruption="contrast", severity=1)
    square = eval_picture(paint(4, 300, 260), Preprocess(size=224, crop=0.875, interpolation="bilinear"))
    assert square.shape == (SIDE, SIDE, 3)
    file = io.BytesIO()
    # Contrast draws nothing, so any generator will do.
    Image.fromarray(corrupt(square, "contrast", 1, np.random.default_rng(9))).save(file, "JPEG", quality=85)
    assert (np.asarray(store.picture(4)) == np.asarray(Image.open(file))).all()
    assert store.name(4) == "4.png"


def test_a_draw_depends_on_entry_corruption_severity_and_seed_alone():
    store = CorruptedStore(store=Painted(), corruption="fog", severity=2)
    first = np.asarray(store.picture(1))
    store.picture(2)
    assert (np.asarray(pickle.loads(pickle.dumps(store)).picture(1)) == first).all()
    assert (np.asarray(replace(store, seed=1).picture(1)) != first).any()

    class Same(Painted):
        def picture(self, entry):
            return paint(1, 300, 260)

    assert (np.asarray(replace(store, store=Same()).picture(2)) != first).any(), "another draw for another entry"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: corruption_named("frog"), "there is no corruption frog; did you mean fog"),
        (lambda: made("fog", 6), "a severity is 1, 2, 3, 4 or 5, got 6"),
        (lambda: made("fog", 1, PHOTO[:10]), "square colour pictures"),
    ],
)
def test_mistakes(call, words):
    with pytest.raises(UserError, match=words):
        call()
