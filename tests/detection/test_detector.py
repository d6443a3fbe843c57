from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import FrozenBatchNorm2d

from convnext.detection.detector import Detector, build_detector
from convnext.detection.spec import Convention, HeadName, detector_spec
from convnext.detection.targets import Detections, Target
from convnext.errors import UserError
from convnext.network import Network
from tests.detection.made import (
    SIZES,
    TINY,
    TINY_RESNET,
    no_objects,
    pictures,
    randomise,
    target,
    targets,
    tiny_detector,
    tiny_spec,
)

KINDS: list[tuple[HeadName, Convention]] = [
    ("faster-rcnn", "openmmlab"),
    ("mask-rcnn", "openmmlab"),
    ("cascade-mask-rcnn", "openmmlab"),
    ("faster-rcnn", "torchvision"),
    ("mask-rcnn", "torchvision"),
]


def losses_of(detector: Detector, given: list[Target], *, seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    losses = detector.train()(pictures(), SIZES, given)
    assert isinstance(losses, dict)
    return losses


def detections_of(detector: Detector, images: Tensor, sizes: tuple[tuple[int, int], ...]) -> list[Detections]:
    with torch.no_grad():
        found = detector.eval()(images, sizes)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("some", ["objects", "no objects"])
@pytest.mark.parametrize(("head", "convention"), KINDS)
def test_every_parameter_gets_a_gradient(head: HeadName, convention: Convention, some: str) -> None:
    detector = tiny_detector(head, convention)
    randomise(detector)
    given = targets() if some == "objects" else [no_objects(), no_objects()]
    losses = losses_of(detector, given)
    assert all(loss.ndim == 0 and bool(loss.isfinite()) for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
        # Without objects there is nothing to learn about boxes and masks; the coarse maps are for larger pictures.
        if some == "objects" and not name.startswith(("fpn.layer_blocks.2", "fpn.layer_blocks.3")):
            assert bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize(("head", "convention"), KINDS)
def test_detections_are_few_inside_the_picture_and_best_first(head: HeadName, convention: Convention) -> None:
    detector = tiny_detector(head, convention)
    randomise(detector)
    found = detections_of(detector, pictures(), SIZES)
    for one, (height, width) in zip(found, SIZES, strict=True):
        assert 0 < len(one.boxes) <= 100
        assert bool((one.boxes >= 0).all())
        assert bool((one.boxes[:, 2] <= width).all()) and bool((one.boxes[:, 3] <= height).all())
        assert bool((one.boxes[:, 2:] > one.boxes[:, :2]).all())
        assert bool((one.scores > 0.05).all()) and one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)
        assert set(one.labels.tolist()) <= {0, 1, 2}
        assert (one.masks is None) == (head == "faster-rcnn")
        if one.masks is not None:
            assert one.masks.shape == (len(one.boxes), 28, 28)
            assert 0 <= float(one.masks.min()) < float(one.masks.max()) <= 1


@pytest.mark.parametrize("convention", ["openmmlab", "torchvision"])
def test_thresholds_and_the_largest_number_are_those_of_the_spec(convention: Convention) -> None:
    spec = tiny_spec("faster-rcnn", convention)
    torch.manual_seed(0)
    detector = build_detector(spec)
    randomise(detector)
    strict = build_detector(replace(spec, score_threshold=0.5, max_detections=3, nms_threshold=0.3))
    strict.load_state_dict(detector.state_dict())
    every, few = (detections_of(one, pictures(), SIZES)[0] for one in (detector, strict))
    assert len(every.scores) > 3 and len(few.scores) == 3
    assert float(few.scores.min()) > 0.5
    assert few.scores[0] == every.scores[0]


def test_padding_changes_nothing_beside_the_picture() -> None:
    detector = tiny_detector()
    randomise(detector)
    images = pictures(((64, 64),), side=64)
    wide = torch.zeros(1, 3, 64, 128)
    wide[:, :, :, :64] = images
    # What is right of the picture is seen by its neighbours, so the numbers differ but the boxes stay inside.
    (found,) = detections_of(detector, wide, ((64, 64),))
    assert float(found.boxes.max()) <= 64


@pytest.mark.parametrize(("head", "convention"), KINDS)
def test_the_seed_decides_what_is_drawn(head: HeadName, convention: Convention) -> None:
    detector = tiny_detector(head, convention)
    first, again, other = (losses_of(detector, targets(), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_step_against_the_gradient_lowers_the_loss() -> None:
    detector = tiny_detector("cascade-mask-rcnn")
    optimizer = torch.optim.AdamW(detector.parameters(), lr=3e-3)
    totals = []
    for _ in range(6):
        total = sum(losses_of(detector, targets()).values())
        assert isinstance(total, Tensor)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_half_precision_changes_little() -> None:
    for convention in ("openmmlab", "torchvision"):
        detector = tiny_detector("mask-rcnn", convention)  # type: ignore[arg-type]
        exact = losses_of(detector, targets())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = losses_of(detector, targets())
        assert all(loss.dtype == torch.float32 for loss in rough.values())
        for name, loss in exact.items():
            assert abs(rough[name] - loss).item() < 0.1 * loss.item() + 0.02, name
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (found, _) = detections_of(detector, pictures(), SIZES)
        assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_a_box_without_area_names_its_picture() -> None:
    flat = target([[10, 10, 30, 30]], [0])
    flat = Target(boxes=torch.tensor([[10.0, 10.0, 30.0, 10.0]]), labels=flat.labels, masks=flat.masks)
    for convention in ("openmmlab", "torchvision"):
        detector = tiny_detector("mask-rcnn", convention)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"picture 1 of the batch has the box \[10.0, 10.0, 30.0, 10.0\]"):
            losses_of(detector, [targets()[0], flat])


def test_other_targets_that_cannot_be_learned_from() -> None:
    detector = tiny_detector("mask-rcnn")
    good = targets()
    foreign = Target(boxes=good[1].boxes, labels=torch.tensor([3]), masks=good[1].masks)
    with pytest.raises(UserError, match="picture 1 of the batch has the label 3; labels run from 0 to 2"):
        losses_of(detector, [good[0], foreign])
    with pytest.raises(UserError, match="picture 0 has 2 objects and none masks"):
        losses_of(detector, [Target(boxes=good[0].boxes, labels=good[0].labels), good[1]])
    with pytest.raises(UserError, match="picture 0 has 2 labels but boxes of shape"):
        losses_of(detector, [Target(boxes=good[0].boxes[:1], labels=good[0].labels, masks=good[0].masks), good[1]])
    with pytest.raises(UserError, match="2 pictures but 1 targets"):
        losses_of(detector, good[:1])


def test_modes_and_targets_belong_together() -> None:
    detector = tiny_detector()
    with pytest.raises(UserError, match="training mode needs targets"):
        detector.train()(pictures(), SIZES)
    with pytest.raises(UserError, match="evaluation mode takes no targets"):
        detector.eval()(pictures(), SIZES, targets())
    with pytest.raises(UserError, match="2 pictures but 1 sizes"):
        detector.eval()(pictures(), SIZES[:1])


def test_the_weights_of_a_network_are_copied_without_its_head() -> None:
    network = Network(replace(TINY, num_classes=7, layer_scale=1e-6))
    randomise(network)
    detector = build_detector(tiny_spec(), network=network, drop_path=0.3)
    ours = detector.backbone.network.state_dict()
    theirs = {name: value for name, value in network.state_dict().items() if not name.startswith(("norm.", "head."))}
    assert set(ours) == set(theirs) and all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert detector.backbone.network.drop_path == 0.3
    assert network.classifier.out_features == 7
    with pytest.raises(UserError, match=r"depths \(1, 1, 1, 1\) and width 16"):
        build_detector(tiny_spec(), network=Network(replace(TINY, width=16)))
    with pytest.raises(UserError, match="differ in another part"):
        build_detector(tiny_spec(), network=Network(replace(TINY, layer_scale=None)))


def test_layer_scale_starts_at_one_and_each_map_has_a_norm() -> None:
    state = tiny_detector().state_dict()
    assert bool((state["backbone.network.stages.2.0.gamma"] == 1).all())
    assert [state[f"backbone.norm{index}.weight"].shape[0] for index in range(4)] == [8, 16, 32, 64]
    assert not any(name.startswith(("backbone.network.norm", "backbone.network.head")) for name in state)
    resnet = build_detector(tiny_spec(backbone=TINY_RESNET))
    assert not any("norm0" in name for name in resnet.state_dict())


def test_frozen_norms_stay_as_they_are() -> None:
    spec = replace(tiny_spec(backbone=TINY_RESNET, freeze_norms=True), frozen_eps=0.0)
    detector = build_detector(spec)
    norms = [layer for layer in detector.backbone.modules() if isinstance(layer, FrozenBatchNorm2d)]
    assert len(norms) == 17 and all(norm.eps == 0 for norm in norms)
    before = {name: value.clone() for name, value in detector.backbone.named_buffers()}
    losses_of(detector, targets())
    assert before and all(torch.equal(value, before[name]) for name, value in detector.backbone.named_buffers())


def test_an_isotropic_network_detects_too() -> None:
    spec = tiny_spec(backbone=replace(TINY, depths=(2,), transitions="none", stem_stride=16))
    detector = build_detector(spec)
    losses = losses_of(detector, targets())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in detector.parameters())
    assert detector.rpn.strides == (4, 8, 16, 32, 64)


def test_other_classes_replace_the_predictors_alone() -> None:
    for head, convention in KINDS:
        detector = tiny_detector(head, convention)
        before = {name: value.clone() for name, value in detector.state_dict().items()}
        detector.reset_classes(5)
        fresh = build_detector(replace(tiny_spec(head, convention), num_classes=5))
        assert detector.spec == fresh.spec
        after = detector.state_dict()
        assert {name: value.shape for name, value in after.items()} == {
            name: value.shape for name, value in fresh.state_dict().items()
        }
        assert all(torch.equal(value, before[name]) for name, value in after.items() if "predictor" not in name)
        losses_of(detector, [target([[8, 8, 40, 40]], [4]), no_objects()])


def test_the_spec_of_a_registered_network() -> None:
    spec = detector_spec("convnext_tiny", "mask-rcnn", 80)
    assert spec.backbone.layer_scale == 1.0 and spec.norm_outputs and spec.convention == "openmmlab"
    assert detector_spec("resnet50", "faster-rcnn", 80).norm_outputs is False
