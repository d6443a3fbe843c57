import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from convnext.detection.proposals import CASCADE, SINGLE, ProposalRules, Proposals, proposal_network
from convnext.detection.spec import Convention, HeadName
from tests.detection.made import tiny_spec

STRIDES = (4, 8, 16, 32, 64)
# Overlaps of 0.8 (an object), 0.5 (neither) and 0 with the object; the last is left out of the losses.
ANCHORS = torch.tensor(
    [[0.0, 0.0, 10.0, 8.0], [0.0, 0.0, 10.0, 5.0], [20.0, 20.0, 30.0, 30.0], [40.0, 40.0, 50.0, 50.0]]
)
OBJECT = torch.tensor([[0.0, 0.0, 10.0, 10.0]])


def plain_box_error(difference: float, smooth_until: float) -> float:
    difference = abs(difference)
    if difference < smooth_until:
        return difference**2 / 2 / smooth_until
    return difference - smooth_until / 2


@pytest.mark.parametrize(("rules", "smooth_until"), [(SINGLE, 0.0), (CASCADE, 1 / 9)], ids=["single", "cascade"])
def test_losses_are_the_plainly_written_ones(rules: ProposalRules, smooth_until: float) -> None:
    network = Proposals(8, STRIDES, rules)
    logits = torch.tensor([0.3, 5.0, -0.7, 9.0, 9.0, 1.1, 0.2, -0.4])
    # The offsets of the anchor that stands for the object: 0, 0.125, 0 and log(1.25) are right.
    offsets = torch.full((8, 4), 100.0)
    offsets[0] = torch.tensor([0.05, 0.5, -0.2, 0.0])
    flags = [torch.tensor([True, True, True, False]), torch.tensor([False, True, True, True])]
    losses = network.losses(logits, offsets, [ANCHORS, ANCHORS], flags, [OBJECT, torch.zeros(0, 4)])
    # Picture 0: one object and one background; picture 1: background alone, counted with one object at least.
    samples = 1 + 1 + 1 + 3

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    objectness = softplus(-0.3) + softplus(-0.7) + softplus(1.1) + softplus(0.2) + softplus(-0.4)
    errors = (0.05, 0.5 - 0.125, -0.2, -math.log(1.25))
    box = sum(plain_box_error(error, smooth_until) for error in errors)
    assert losses["loss_objectness"].item() == pytest.approx(objectness / samples, rel=1e-5)
    assert losses["loss_rpn_box_reg"].item() == pytest.approx(box / samples, rel=1e-5)


def proposals_of(head: HeadName, convention: Convention, *, training: bool) -> Tensor:
    network = proposal_network(tiny_spec(head, convention), STRIDES).train(training)
    network.nms_thresh = 1.0
    side = 256
    images = ImageList(torch.zeros(1, 3, side, side), [(side, side)])
    generator = torch.Generator().manual_seed(0)
    features = {
        str(stride): torch.randn(1, 16, side // stride, side // stride, generator=generator) for stride in STRIDES
    }
    torch.nn.init.normal_(network.head.cls_logits.weight, std=1.0)
    targets = [{"boxes": torch.tensor([[10.0, 10.0, 90.0, 90.0]]), "labels": torch.tensor([1])}] if training else None
    (found,), _ = network(images, features, targets)
    return found


@pytest.mark.parametrize(
    ("head", "convention", "training", "count"),
    [
        ("mask-rcnn", "openmmlab", True, 1000),
        ("mask-rcnn", "openmmlab", False, 1000),
        ("cascade-mask-rcnn", "openmmlab", True, 2000),
        ("cascade-mask-rcnn", "openmmlab", False, 1000),
        ("mask-rcnn", "torchvision", True, 2000),
        ("mask-rcnn", "torchvision", False, 1000),
    ],
)
def test_how_many_proposals_there_are(head: HeadName, convention: Convention, training: bool, count: int) -> None:
    assert len(proposals_of(head, convention, training=training)) == count


def test_overlapping_proposals_are_dropped_within_a_level_only() -> None:
    network = Proposals(8, STRIDES, SINGLE).eval()
    box, near, far = [0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 40.0, 36.0], [50.0, 50.0, 60.0, 60.0]
    flat, sliver = [30.0, 30.0, 30.0, 50.0], [30.0, 30.0, 30.0001, 50.0]
    boxes = torch.tensor([[box, near, far, flat, sliver, box]])
    logits = torch.tensor([1.0, 3.0, 2.0, 9.0, 8.0, 0.5])
    # Five boxes on the first level and one on the second.
    (kept,), _ = network.filter_proposals(boxes, logits, [(55, 64)], [5, 1])
    assert torch.equal(kept, torch.tensor([sliver, near, [50.0, 50.0, 60.0, 55.0], box]))
