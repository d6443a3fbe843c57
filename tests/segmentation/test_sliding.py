import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from convnext.errors import UserError
from convnext.segmentation.sliding import Window, sliding_logits


@given(length=st.integers(1, 3000), side=st.integers(1, 700), share=st.floats(0.01, 1))
def test_windows_stand_where_openmmlab_puts_them_and_cover_each_pixel(length: int, side: int, share: float) -> None:
    stride = max(1, int(side * share))
    spans = Window(side=side, stride=stride).spans(length)
    expected = []
    # Their formula: the number of steps rounded up, each window cut at the border and moved back by what was cut.
    for index in range(max(length - side + stride - 1, 0) // stride + 1):
        end = min(index * stride + side, length)
        expected.append((max(end - side, 0), end))
    assert spans == expected
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(end - start == min(side, length) for start, end in spans)
    assert all(later <= end for (_, end), (later, _) in itertools.pairwise(spans))


def test_the_papers_windows() -> None:
    assert Window(side=512, stride=341).spans(1000) == [(0, 512), (341, 853), (488, 1000)]
    assert Window(side=512, stride=341).spans(853) == [(0, 512), (341, 853)]
    assert Window(side=512, stride=341).spans(512) == [(0, 512)]
    assert Window(side=640, stride=426).spans(300) == [(0, 300)]


def own_places(images: Tensor) -> Tensor:
    """Give each pixel its row and column inside the window: what it looks like depends on the window alone."""
    n, _, height, width = images.shape
    rows = torch.arange(height, dtype=images.dtype)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=images.dtype).expand(height, width)
    return torch.stack([rows, columns]).expand(n, 2, height, width)


def test_logits_are_averaged_by_count() -> None:
    # Windows at rows 0-3 and 1-4, at columns 0-3, 2-5 and 3-6.
    result = sliding_logits(own_places, torch.zeros(1, 3, 4, 6), Window(side=3, stride=2))
    assert result[0, 0, :, 0].tolist() == [0, 0.5, 1.5, 2]
    assert result[0, 1, 0].tolist() == [0, 1, 1, 0.5, 1.5, 2]


def test_a_model_of_single_pixels_gives_the_same_by_windows_as_at_once() -> None:
    model = torch.nn.Conv2d(3, 4, 1).double()
    images = torch.randn(2, 3, 23, 31, dtype=torch.float64)
    for window in (
        Window(side=8, stride=5),
        Window(side=8, stride=8),
        Window(side=1, stride=1),
        Window(side=26, stride=9),
    ):
        with torch.no_grad():
            torch.testing.assert_close(sliding_logits(model, images, window), model(images))


def test_windows_are_cut_from_the_picture_and_are_not_padded_where_it_is_smaller() -> None:
    seen: list[tuple[int, ...]] = []

    def model(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape))
        return images

    images = torch.randn(2, 3, 5, 20)
    assert torch.equal(sliding_logits(model, images, Window(side=8, stride=8)), images)
    assert seen == [(2, 3, 5, 8)] * 3


def test_sums_of_half_precision_are_kept_in_full() -> None:
    result = sliding_logits(lambda images: images.bfloat16(), torch.full((1, 1, 9, 9), 1.0), Window(side=3, stride=1))
    assert result.dtype == torch.float32
    assert torch.equal(result, torch.ones(1, 1, 9, 9))


@pytest.mark.parametrize(("side", "stride"), [(0, 1), (8, 0), (8, 9)])
def test_windows_that_leave_gaps_are_refused(side: int, stride: int) -> None:
    with pytest.raises(UserError, match="of a window must be at least 1"):
        Window(side=side, stride=stride)
