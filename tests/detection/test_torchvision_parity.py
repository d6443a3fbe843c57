"""A ResNet-50 in the convention torchvision is torchvision's Faster and Mask R-CNN, number by number."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN, fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d

from convnext.detection.checkpoint import load_detector, renamed
from convnext.detection.detector import Detector, build_detector
from convnext.detection.paste import on_original, paste_masks
from convnext.detection.targets import Target
from tests.detection.made import pictures, randomise, target

CLASSES = 4
# Short side 64 and long side 96, so that torchvision's resizing leaves them alone.
SIZES = ((64, 96), (96, 64))
MOST = 20
OPTIONS = {
    "min_size": 64,
    "max_size": 96,
    "image_mean": [0.0] * 3,
    "image_std": [1.0] * 3,
    "_skip_resize": True,
    "box_detections_per_img": MOST,
}


def their_mask_rcnn(*, frozen: bool) -> nn.Module:
    torch.manual_seed(0)
    if not frozen:
        return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **OPTIONS)
    backbone = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    return MaskRCNN(_resnet_fpn_extractor(backbone, 5), num_classes=CLASSES + 1, **OPTIONS)


@pytest.fixture(scope="module", params=["fresh", "frozen"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[nn.Module, Detector]]:
    theirs = their_mask_rcnn(frozen=request.param == "frozen")
    randomise(theirs)
    # Scores of exactly 1 would leave to chance which of two boxes comes first.
    with torch.no_grad():
        theirs.get_parameter("roi_heads.box_predictor.cls_score.weight").mul_(0.05)
    theirs.double()
    loaded = load_detector(theirs.state_dict())
    assert loaded.scheme == "torchvision"
    assert loaded.detector.spec.freeze_norms == (request.param == "frozen")
    # In double precision, where no rounding decides which of two boxes is better.
    ours = build_detector(replace(loaded.detector.spec, max_detections=MOST))
    ours.load_state_dict(loaded.detector.state_dict())
    for net in (theirs, ours):
        sampler = net.roi_heads.fg_bg_sampler
        assert (sampler.batch_size_per_image, sampler.positive_fraction) == (512, 0.25)
        # Enough to learn the same from, and a fraction of the time.
        sampler.batch_size_per_image = 32
    yield theirs, ours.double()


def objects() -> list[Target]:
    drawn = [
        target([[8, 8, 40, 44], [30, 10, 90, 60], [60, 44, 75, 60]], [0, 3, 2], side=96),
        target([[4, 20, 60, 90]], [1], side=96),
    ]
    return [Target(boxes=one.boxes.double(), labels=one.labels, masks=one.masks) for one in drawn]


def as_theirs(images: Tensor, targets: list[Target]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    cut = [image[:, :height, :width] for image, (height, width) in zip(images, SIZES, strict=True)]
    given = []
    for one, (height, width) in zip(targets, SIZES, strict=True):
        assert one.masks is not None
        given.append({"boxes": one.boxes, "labels": one.labels + 1, "masks": one.masks[:, :height, :width]})
    return cut, given


def in_order(scores: Tensor, boxes: Tensor) -> list[int]:
    """By score; boxes below a cell of a map see the same values, so some have the same score to the last digits."""
    rows = torch.cat([-scores[:, None], boxes], dim=1).round(decimals=5).tolist()
    return sorted(range(len(rows)), key=rows.__getitem__)


def test_losses_and_gradients_equal_torchvisions(pair: tuple[nn.Module, Detector]) -> None:
    theirs, ours = pair
    images = pictures(SIZES, side=96).double()
    cut, given = as_theirs(images, objects())
    state = [{name: value.clone() for name, value in net.state_dict().items()} for net in pair]
    theirs.train()
    ours.train()
    torch.manual_seed(3)
    expected = theirs(cut, given)
    torch.manual_seed(3)
    losses = ours(images, SIZES, objects())
    assert set(losses) == set(expected)
    for name, loss in expected.items():
        torch.testing.assert_close(
            losses[name], loss, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    by_name = dict(theirs.named_parameters())
    pairs = {
        "backbone.network.layer1.0.conv1.weight": "backbone.body.layer1.0.conv1.weight",
        "fpn.inner_blocks.2.0.weight": "backbone.fpn.inner_blocks.2.0.weight",
        "roi_heads.box_head.fc7.weight": "roi_heads.box_head.fc7.weight",
        "roi_heads.mask_predictor.mask_fcn_logits.weight": "roi_heads.mask_predictor.mask_fcn_logits.weight",
    }
    for own, their in pairs.items():
        gradient = by_name[their].grad
        assert gradient is not None
        difference = (ours.get_parameter(own).grad - gradient).norm() / gradient.norm()
        assert difference < 1e-8, own
    for net, old in zip(pair, state, strict=True):
        net.load_state_dict(old)


def test_detections_equal_torchvisions(pair: tuple[nn.Module, Detector]) -> None:
    theirs, ours = pair
    images = pictures(SIZES, side=96).double()
    cut, _ = as_theirs(images, objects())
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        expected = theirs(cut)
        found = ours(images, SIZES)
    assert len(found[0].labels) == MOST
    for one, want, size in zip(found, expected, SIZES, strict=True):
        ours_first, theirs_first = (in_order(one.scores, one.boxes), in_order(want["scores"], want["boxes"]))
        assert one.labels[ours_first].tolist() == (want["labels"] - 1)[theirs_first].tolist()
        torch.testing.assert_close(one.scores[ours_first], want["scores"][theirs_first], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(one.boxes[ours_first], want["boxes"][theirs_first], rtol=1e-9, atol=1e-9)
        placed = on_original(one, size, size)
        assert placed.masks is not None
        pasted = paste_masks(placed.masks, placed.boxes, size, convention="torchvision")
        assert torch.equal(pasted[ours_first], want["masks"][theirs_first, 0] > 0.5)


def test_state_dicts_are_the_same_both_ways(pair: tuple[nn.Module, Detector]) -> None:
    theirs, ours = pair
    expected = theirs.state_dict()
    written = renamed(ours, "torchvision")
    assert set(written) == set(expected)
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())


def test_old_names_of_the_coco_weights_are_read() -> None:
    theirs = their_mask_rcnn(frozen=True)
    randomise(theirs, seed=5)
    old = {}
    for name, tensor in theirs.state_dict().items():
        parts = name.split(".")
        if "fpn" in parts or name.startswith("rpn.head.conv"):
            name = ".".join(part for index, part in enumerate(parts) if not (part == "0" and index == len(parts) - 2))
            name = name.replace("rpn.head.conv.0.", "rpn.head.conv.")
        elif name.startswith("roi_heads.mask_head."):
            name = f"roi_heads.mask_head.mask_fcn{int(parts[2]) + 1}.{parts[4]}"
        old[name] = tensor
    assert "rpn.head.conv.weight" in old and "backbone.fpn.inner_blocks.0.weight" in old
    detector = load_detector(old).detector
    assert torch.equal(detector.state_dict()["fpn.layer_blocks.3.0.bias"], old["backbone.fpn.layer_blocks.3.bias"])
    assert torch.equal(
        detector.state_dict()["roi_heads.mask_head.1.0.weight"], old["roi_heads.mask_head.mask_fcn2.weight"]
    )


def test_faster_rcnn_is_recognised_with_its_classes() -> None:
    with torch.device("meta"):
        theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    state = {name: torch.zeros(tensor.shape) for name, tensor in theirs.state_dict().items()}
    spec = load_detector(state).detector.spec
    assert (spec.head, spec.num_classes, spec.convention) == ("faster-rcnn", 90, "torchvision")
    frozen = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    detector = load_detector(frozen).detector
    norm = detector.backbone.network.get_submodule("bn1")
    # What torchvision sets for its own COCO weights, which were trained so.
    assert isinstance(norm, FrozenBatchNorm2d) and norm.eps == 0.0
    assert replace(detector.spec, frozen_eps=1e-5, freeze_norms=False) == spec
