import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from convnext.detection.assign import BACKGROUND, NEITHER, MaxIoU, drawn, labels_of, sample_proposals
from tests.detection.made import no_objects, target

# Overlaps with the square [0, 10]: 1, 0.5, 0.4, 0.2 and none.
BOXES = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [0, 0, 10, 2], [20, 20, 30, 30]], dtype=torch.float)
SQUARE = torch.tensor([[0.0, 0.0, 10.0, 10.0]])


def test_thresholds_part_objects_from_neither_and_background() -> None:
    assigned = MaxIoU(positive=0.5, negative=0.3)(BOXES, SQUARE)
    assert assigned.tolist() == [0, 0, NEITHER, BACKGROUND, BACKGROUND]


def test_each_object_takes_its_nearest_boxes_from_a_least_overlap_on() -> None:
    objects = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 24], [20, 20, 30, 22]], dtype=torch.float)
    # The second overlaps the last box by 0.4 and takes it; the third by 0.2 only.
    assigned = MaxIoU(positive=0.7, negative=0.3, low_quality=0.3)(BOXES, objects)
    assert assigned.tolist() == [0, NEITHER, NEITHER, BACKGROUND, 1]
    assigned = MaxIoU(positive=0.7, negative=0.3, low_quality=0.1)(BOXES, objects)
    assert assigned.tolist()[4] == 2


def test_an_object_takes_a_box_from_another_and_all_boxes_of_the_same_overlap() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 10]], dtype=torch.float)
    objects = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 8]], dtype=torch.float)
    assert MaxIoU(positive=0.5, negative=0.5)(boxes, objects).tolist() == [0, 0]
    assert MaxIoU(positive=0.5, negative=0.5, low_quality=0.5)(boxes, objects).tolist() == [1, 1]


def test_without_objects_everything_is_background() -> None:
    assigned = MaxIoU(positive=0.5, negative=0.3, low_quality=0.3)(BOXES, torch.zeros(0, 4))
    assert assigned.tolist() == [BACKGROUND] * 5
    assert MaxIoU(positive=0.5, negative=0.3)(torch.zeros(0, 4), SQUARE).shape == (0,)


def test_at_most_a_share_is_drawn_as_objects_and_background_fills_the_rest() -> None:
    assigned = torch.tensor([3] * 10 + [BACKGROUND] * 10 + [NEITHER] * 10)
    torch.manual_seed(0)
    positive, negative = drawn(assigned, BalancedPositiveNegativeSampler(8, 0.25))
    assert len(positive) == 2 and len(negative) == 6
    assert (assigned[positive] == 3).all() and (assigned[negative] == BACKGROUND).all()
    few = torch.tensor([0] + [BACKGROUND] * 20)
    positive, negative = drawn(few, BalancedPositiveNegativeSampler(8, 0.5))
    assert positive.tolist() == [0] and len(negative) == 7


def test_the_objects_own_boxes_are_drawn_from_and_stand_for_themselves() -> None:
    # The two boxes are the same, so that by overlap both would stand for the first.
    objects = target([[8, 8, 40, 40], [8, 8, 40, 40]], [2, 1])
    proposals = torch.tensor([[8.0, 8.0, 40.0, 38.0], [60.0, 60.0, 70.0, 70.0]])
    sampler = BalancedPositiveNegativeSampler(512, 0.25)
    samples = sample_proposals(proposals, objects, MaxIoU(positive=0.5, negative=0.5), sampler)
    assert samples.boxes.tolist() == [*objects.boxes.tolist(), *proposals.tolist()]
    assert samples.objects.tolist() == [0, 1, 0]
    assert samples.from_data.tolist() == [True, True, False, False]
    empty = sample_proposals(proposals, no_objects(), MaxIoU(positive=0.5, negative=0.5), sampler)
    assert empty.num_positive == 0 and empty.from_data.tolist() == [False, False]
    labels = labels_of([samples, empty], [objects, no_objects()], background=3)
    assert labels.tolist() == [2, 1, 2, 3, 3, 3]
