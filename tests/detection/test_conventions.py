"""What the numbers of OpenMMLab's and torchvision's detectors mean, each by a value worked out by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from convnext.detection.anchors import Anchors
from convnext.detection.boxes import BoundedBoxCoder
from convnext.detection.pool import AlignedRoIPool, torchvision_pool
from convnext.detection.proposals import CASCADE, SINGLE, Proposals
from convnext.detection.targets import Target
from tests.detection.made import pictures, tiny_detector

STRIDES = (4, 8, 16, 32)


def anchors_of(*, rounded: bool, side: int = 96) -> list[Tensor]:
    """By level, (rows, columns, ratios, 4)."""
    sides = [side // 4, side // 8, side // 16, side // 32, -(-side // 64)]
    maps = [torch.zeros(1, 1, here, here) for here in sides]
    generator = Anchors((*STRIDES, 64), rounded=rounded)
    (every,) = generator(ImageList(torch.zeros(1, 3, side, side), [(side, side)]), maps)
    counts = [3 * here * here for here in sides]
    return [part.view(here, here, 3, 4) for part, here in zip(every.split(counts), sides, strict=True)]


def test_exact_anchors_stand_on_the_corners_of_their_cells() -> None:
    levels = anchors_of(rounded=False)
    # Ratio is height over width; 32 pixels at stride 4, the area is 1024 for each ratio.
    wide, square, tall = levels[0][2, 5]
    root = 32 * math.sqrt(2)
    torch.testing.assert_close(wide, torch.tensor([20 - root / 2, 8 - root / 4, 20 + root / 2, 8 + root / 4]))
    assert square.tolist() == [4.0, -8.0, 36.0, 24.0]
    torch.testing.assert_close(tall, torch.tensor([20 - root / 4, 8 - root / 2, 20 + root / 4, 8 + root / 2]))
    assert levels[4][1, 0, 1].tolist() == [-256.0, 64.0 - 256, 256.0, 64.0 + 256]


def test_torchvisions_anchors_are_rounded_and_their_last_level_is_not_64_apart() -> None:
    levels = anchors_of(rounded=True)
    # 45.25 by 22.63 around 0: corners 22.63 and 11.31, rounded; 96 pixels over two cells are 48 apart.
    assert levels[0][0, 0, 0].tolist() == [-23.0, -11.0, 23.0, 11.0]
    assert levels[4][1, 0, 1].tolist() == [-256.0, 48.0 - 256, 256.0, 48.0 + 256]


def test_offsets_by_hand() -> None:
    coder = BoundedBoxCoder((0.1, 0.1, 0.2, 0.2))
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    # The centre moves by 0.1 * 1 * 20 and 0.1 * -2 * 40, the sides by exp(0.2 * 5 ln 2) = 2 and exp(-0.2 * 5 ln 2).
    step = 5 * math.log(2)
    decoded = coder.decode_single(torch.tensor([[1.0, -2.0, step, -step]]), box)
    torch.testing.assert_close(decoded, torch.tensor([[22.0 - 20, 32.0 - 10, 22.0 + 20, 32.0 + 10]]))
    torch.testing.assert_close(coder.encode_single(decoded, box), torch.tensor([[1.0, -2.0, step, -step]]))


def test_boxes_neither_grow_nor_shrink_without_bound() -> None:
    coder = BoundedBoxCoder((0.05, 0.05, 0.1, 0.1))
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    grown, shrunk = coder.decode_single(torch.tensor([[0.0, 0.0, 1e3, -1e3] * 2]), box).view(2, 4)
    assert torch.equal(grown, shrunk)
    torch.testing.assert_close(grown, torch.tensor([50 - 3125.0, 50 - 0.8, 50 + 3125.0, 50 + 0.8]))


def ramp(side: int, stride: int) -> Tensor:
    """A map whose value at a point of the picture is its x, at the centre of each cell."""
    centres = (torch.arange(side // stride) + 0.5) * stride
    return centres.expand(1, 1, side // stride, -1).contiguous()


def test_aligned_pooling_of_a_ramp_gives_the_centres_of_its_cells() -> None:
    pool = AlignedRoIPool(7, STRIDES)
    features = {str(index): ramp(256, stride) for index, stride in enumerate(STRIDES)}
    small, large = (torch.tensor([16.0, 8.0, 72.0, 64.0]), torch.tensor([20.0, 30.0, 160.0, 170.0]))
    pooled = pool(features, [torch.stack([small, large])])
    for cells, box in zip(pooled, (small, large), strict=True):
        wanted = box[0] + (torch.arange(7) + 0.5) * (box[2] - box[0]) / 7
        torch.testing.assert_close(cells[0], wanted.expand(7, 7))


def test_a_large_box_is_sampled_at_each_cell_of_its_map() -> None:
    features = {str(stride): torch.randn(1, 1, 896 // stride, 896 // stride) for stride in STRIDES}
    pooled = AlignedRoIPool(7, STRIDES)(features, [torch.tensor([[0.0, 0.0, 896.0, 896.0]])])
    # 28 by 28 cells of the coarsest map in 7 by 7: each is the mean of 4 by 4.
    torch.testing.assert_close(pooled, F.avg_pool2d(features["32"], 4))


def test_torchvisions_pooling_is_half_a_cell_off() -> None:
    pool = torchvision_pool(7, STRIDES)
    features = {str(index): ramp(256, stride) for index, stride in enumerate(STRIDES)}
    box = torch.tensor([16.0, 8.0, 72.0, 64.0])
    pooled = pool(features, [box[None]], [(256, 256)])
    # 56 pixels: the finest map, whose cell is 4 pixels.
    torch.testing.assert_close(pooled[0, 0, 3], 16 + (torch.arange(7) + 0.5) * 8 + 2)


@pytest.mark.parametrize(("side", "level"), [(20, 0), (111.9, 0), (112, 1), (223.9, 1), (224, 2), (448, 3), (5000, 3)])
def test_a_box_is_pooled_from_the_level_of_its_size(side: float, level: int) -> None:
    boxes = torch.tensor([[0.0, 0.0, side, side], [5.0, 5.0, 5.0 + 2 * side, 5.0 + side / 2]])
    assert AlignedRoIPool(7, STRIDES).level_of(boxes).tolist() == [level, level]
    assert torchvision_pool(7, STRIDES).map_levels([boxes]).tolist() == [level, level]


def test_each_map_is_pooled_for_its_own_boxes_and_picture() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0]])
    features = {
        str(index): values[:, index, None, None, None]
        .expand(-1, 1, 512 // stride, -1)
        .expand(-1, -1, -1, 512 // stride)
        for index, stride in enumerate(STRIDES)
    }
    sides = (50.0, 130.0, 300.0, 500.0)
    boxes = torch.tensor([[0.0, 0.0, side, side] for side in sides])
    pooled = AlignedRoIPool(7, STRIDES)(features, [boxes[[3, 0]], boxes[[1, 2]]])
    assert pooled[:, 0, 3, 3].tolist() == [4.0, 1.0, 20.0, 30.0]


def test_the_coarsest_map_is_every_second_cell_of_the_one_before() -> None:
    detector = tiny_detector()
    features = detector.pyramid(pictures(((160, 160),), side=160))
    assert list(features) == ["0", "1", "2", "3", "pool"]
    assert torch.equal(features["pool"], features["3"][:, :, ::2, ::2])
    assert features["pool"].shape[-2:] == (3, 3)


def logits_for(column: int, *, count: int = 4) -> Tensor:
    logits = torch.full((1, count), -5.0)
    logits[0, column] = 5.0
    return logits


@pytest.mark.parametrize("convention", ["openmmlab", "torchvision"])
def test_the_background_stands_last_or_first(convention: str) -> None:
    detector = tiny_detector("faster-rcnn", convention).eval()  # type: ignore[arg-type]
    background = 3 if convention == "openmmlab" else 0
    predictor = detector.roi_heads.box_predictors[0] if convention == "openmmlab" else detector.roi_heads.box_predictor
    torch.nn.init.zeros_(predictor.cls_score.weight)
    torch.nn.init.zeros_(predictor.bbox_pred.weight)
    found = {}
    for column in range(4):
        predictor.cls_score.bias.data = logits_for(column)[0]
        with torch.no_grad():
            (one,) = detector(pictures(((96, 96),)), [(96, 96)])
        found[column] = set(one.labels.tolist())
    first = int(convention == "torchvision")
    assert found == {column: set() if column == background else {column - first} for column in range(4)}


def test_anchors_beyond_the_picture_are_left_out_by_the_cascade_only() -> None:
    anchors = torch.cat([level.reshape(-1, 4) for level in anchors_of(rounded=False)])
    grids = [(24, 24), (12, 12), (6, 6), (3, 3), (2, 2)]
    # An anchor that ends at the picture's very edge is beyond it: 88 and 60 are such edges.
    size = (60, 88)
    single = Proposals(8, (*STRIDES, 64), SINGLE).counted(anchors, grids, size)
    # Of 96x96 pixels the picture's own padding ends at 64x96: 16, 8, 4, 2 and 1 rows of cells are counted.
    rows, columns = [16, 8, 4, 2, 1], [24, 12, 6, 3, 2]
    assert int(single.sum()) == sum(3 * down * across for down, across in zip(rows, columns, strict=True))
    cascade = Proposals(8, (*STRIDES, 64), CASCADE).counted(anchors, grids, size)
    inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < 88) & (anchors[:, 3] < 60)
    assert torch.equal(cascade, single & inside)
    assert 0 < int(cascade.sum()) < int(single.sum())


def test_proposals_of_an_untrained_network_are_its_anchors_inside_the_picture() -> None:
    detector = tiny_detector()
    torch.nn.init.zeros_(detector.rpn.head.bbox_pred.weight)
    torch.nn.init.zeros_(detector.rpn.head.cls_logits.weight)
    detector.eval()
    images = pictures(((60, 90),))
    proposals, losses = detector.rpn(ImageList(images, [(60, 90)]), detector.pyramid(images))
    assert losses == {}
    boxes = proposals[0]
    assert 0 < len(boxes) <= 1000
    assert float(boxes.min()) >= 0 and float(boxes[:, 2].max()) <= 90 and float(boxes[:, 3].max()) <= 60
    anchors = torch.cat([level.reshape(-1, 4) for level in anchors_of(rounded=False)])
    cut = torch.minimum(anchors.clamp(min=0), torch.tensor([90.0, 60.0, 90.0, 60.0]))
    assert ((boxes[:, None] - cut).abs().amax(dim=2).amin(dim=1) < 1e-3).all()


def test_a_target_of_the_last_class_is_not_the_background() -> None:
    for convention in ("openmmlab", "torchvision"):
        detector = tiny_detector("faster-rcnn", convention).train()  # type: ignore[arg-type]
        box = torch.tensor([[10.0, 10.0, 50.0, 50.0]])
        for label in (0, 2):
            losses = detector(pictures(((96, 96),)), [(96, 96)], [Target(boxes=box, labels=torch.tensor([label]))])
            assert losses["loss_box_reg"].item() > 0
