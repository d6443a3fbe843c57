import pytest
import torch

from convnext.detection.paste import on_original, paste_masks
from convnext.detection.targets import Detections


def test_a_full_mask_fills_its_box_but_for_what_lies_outside_the_picture() -> None:
    masks = torch.ones(2, 28, 28)
    boxes = torch.tensor([[4.0, 6.0, 20.0, 30.0], [-10.0, 30.0, 12.0, 60.0]])
    pasted = paste_masks(masks, boxes, (40, 50))
    assert pasted.shape == (2, 40, 50) and pasted.dtype == torch.bool
    expected = torch.zeros(2, 40, 50, dtype=torch.bool)
    expected[0, 6:30, 4:20] = True
    expected[1, 30:40, 0:12] = True
    assert torch.equal(pasted, expected)


def test_the_half_of_a_mask_is_the_half_of_its_box() -> None:
    masks = torch.zeros(1, 28, 28)
    masks[0, :, 14:] = 1
    pasted = paste_masks(masks, torch.tensor([[10.0, 10.0, 66.0, 38.0]]), (60, 80))
    expected = torch.zeros(60, 80, dtype=torch.bool)
    expected[10:38, 38:66] = True
    assert torch.equal(pasted[0], expected)


def test_probabilities_are_interpolated_before_they_are_asked_for_a_half() -> None:
    # Rising from 0 to 1 over the box, so that the half is passed in its middle whatever the cells.
    rising = ((torch.arange(28) + 0.5) / 28).expand(28, 28)[None]
    pasted = paste_masks(rising, torch.tensor([[0.0, 0.0, 100.0, 10.0]]), (10, 100))
    assert pasted[0, 5].tolist() == [False] * 50 + [True] * 50


@pytest.mark.parametrize("convention", ["openmmlab", "torchvision"])
def test_nothing_found_gives_no_masks(convention: str) -> None:
    pasted = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (8, 9), convention=convention)  # type: ignore[arg-type]
    assert pasted.shape == (0, 8, 9)


def test_boxes_outside_the_picture_or_without_area_have_no_pixels() -> None:
    boxes = torch.tensor([[60.0, 5.0, 70.0, 10.0], [5.0, 5.0, 5.0, 10.0]])
    assert not paste_masks(torch.ones(2, 28, 28), boxes, (40, 50)).any()


def test_boxes_go_back_to_the_original_picture() -> None:
    found = Detections(
        boxes=torch.tensor([[10.0, 20.0, 30.0, 40.0]]), scores=torch.tensor([0.9]), labels=torch.tensor([1])
    )
    # 80 pixels high became 40, 150 wide became 50.
    original = on_original(found, (40, 50), (80, 150))
    assert original.boxes.tolist() == [[30.0, 40.0, 90.0, 80.0]]
    assert original.labels.tolist() == [1] and original.masks is None
