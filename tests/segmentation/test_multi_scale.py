import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext.errors import UserError
from convnext.segmentation.multi_scale import (
    PAPER_RATIOS,
    multi_scale_probabilities,
    pixel_classes,
    probabilities,
    scaled_size,
)
from convnext.segmentation.sliding import Window
from tests.segmentation.made import random_segmenter


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((512, 683), 1.0, (512, 683)),
        ((683, 512), 0.5, (342, 256)),
        ((512, 683), 1.75, (896, 1195)),
        ((100, 1000), 1.0, (205, 2048)),
        ((1200, 1600), 1.0, (512, 683)),
        ((1, 5000), 1.0, (1, 2048)),
    ],
)
def test_pictures_are_scaled_to_fit_long_and_short_side(
    size: tuple[int, int], ratio: float, expected: tuple[int, int]
) -> None:
    assert scaled_size(*size, (2048, 512), ratio) == expected
    assert scaled_size(*size, (512, 2048), ratio) == expected


def test_half_a_pixel_is_rounded_up() -> None:
    assert scaled_size(5, 2, (100, 1)) == (3, 1)
    assert scaled_size(2, 5, (100, 1)) == (1, 3)


def lopsided() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, (1, 3), padding=(0, 1)).double()


def test_the_mirror_image_is_mirrored_back_and_averaged_after_the_softmax() -> None:
    model, images = lopsided(), torch.randn(2, 3, 6, 9, dtype=torch.float64)
    with torch.no_grad():
        plain, mirrored = model(images).softmax(1), model(images.flip(-1)).softmax(1).flip(-1)
        assert (plain - mirrored).abs().max() > 0.01
        result = probabilities(model, images, size=(6, 9), flip=True)
        torch.testing.assert_close(result, (plain + mirrored) / 2)
        torch.testing.assert_close(probabilities(model, images.flip(-1), size=(6, 9), flip=True), result.flip(-1))
        torch.testing.assert_close(probabilities(model, images, size=(6, 9)), plain)


def test_logits_not_probabilities_are_resized_to_the_size_asked_for() -> None:
    model, images = lopsided(), torch.randn(1, 3, 6, 9, dtype=torch.float64)
    with torch.no_grad():
        result = probabilities(model, images, size=(13, 17))
        enlarged = F.interpolate(model(images), size=(13, 17), mode="bilinear", align_corners=False)
    torch.testing.assert_close(result, enlarged.softmax(1))


@pytest.mark.parametrize("most_values", [1, 13 * 17 * 2 * 2, 2**26])
@pytest.mark.parametrize("window", [None, Window(side=4, stride=3)])
def test_classes_are_the_likeliest_and_few_values_are_there_at_once(
    most_values: int, window: Window | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model, images = nn.Conv2d(3, 7, (1, 3), padding=(0, 1)), torch.randn(2, 3, 6, 9)
    with torch.no_grad():
        expected = probabilities(model, images, size=(13, 17), window=window).argmax(dim=1)
    made: list[int] = []
    whole = F.interpolate

    def noting(values: Tensor, **how: object) -> Tensor:
        result = whole(values, **how)  # type: ignore[arg-type]
        made.append(result.numel())
        return result

    monkeypatch.setattr(F, "interpolate", noting)
    with torch.no_grad():
        found = pixel_classes(model, images, size=(13, 17), window=window, most_values=most_values)
    assert found.dtype == torch.int64 and torch.equal(found, expected) and len(found.unique()) == 7
    assert sum(made) == 2 * 7 * 13 * 17 and max(made) <= max(most_values, 2 * 13 * 17)


def test_of_classes_that_are_alike_the_first_is_taken() -> None:
    alike = torch.tensor([1.0, 2.0, 2.0, 0.0, 2.0])[:, None, None].expand(5, 3, 4)
    for most_values in (1, 24, 1000):
        found = pixel_classes(lambda _: alike[None], torch.zeros(1, 3, 3, 4), size=(3, 4), most_values=most_values)
        assert (found == 1).all()


def test_windows_are_used_where_given() -> None:
    sides: set[tuple[int, int]] = set()

    def model(images: Tensor) -> Tensor:
        sides.add((images.shape[-2], images.shape[-1]))
        return images

    probabilities(model, torch.randn(1, 3, 20, 30), size=(20, 30), window=Window(side=8, stride=5), flip=True)
    assert sides == {(8, 8)}


def test_each_size_is_made_from_the_picture_and_probabilities_are_averaged_at_its_own_size() -> None:
    model, images = lopsided(), torch.randn(1, 3, 12, 18, dtype=torch.float64)
    with torch.no_grad():
        result = multi_scale_probabilities(model, images, base=(64, 16), ratios=(0.5, 1.5), flip=True)
        parts = []
        for height, width in ((8, 12), (24, 36)):
            resized = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
            for mirrored in (False, True):
                seen = model(resized.flip(-1) if mirrored else resized)
                part = F.interpolate(seen, size=(12, 18), mode="bilinear", align_corners=False).softmax(1)
                parts.append(part.flip(-1) if mirrored else part)
    torch.testing.assert_close(result, sum(parts) / 4)


def test_a_segmenter_is_scored_at_the_papers_ratios() -> None:
    segmenter = random_segmenter()
    window = Window(side=64, stride=43)
    with torch.no_grad():
        result = multi_scale_probabilities(segmenter.logits, torch.randn(1, 3, 50, 75), base=(256, 64), window=window)
    assert result.shape == (1, 5, 50, 75)
    torch.testing.assert_close(result.sum(1), torch.ones(1, 50, 75))
    assert PAPER_RATIOS == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def test_no_ratio_and_a_ratio_of_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="at least one size"):
        multi_scale_probabilities(lopsided(), torch.zeros(1, 3, 4, 4), base=(8, 4), ratios=())
    with pytest.raises(UserError, match="above 0, got 0"):
        scaled_size(4, 4, (8, 4), 0)
