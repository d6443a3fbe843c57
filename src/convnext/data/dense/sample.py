"""A picture with its objects or its label map, and the three changes of place that keep them on each other."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from convnext.data.dense.coco_masks import boxes_of
from convnext.data.dense.cut import cut_to, has_area
from convnext.data.dense.splits import LabelMap, Objects
from convnext.data.pictures import Pixels

Window = tuple[int, int, int, int]  # top, left, height, width in pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One picture with what is known of it, either objects or a label map.

    pixels   uint8 (height, width, 3)
    objects  in pixels of this picture
    labels   uint8 (height, width)
    """

    pixels: Pixels
    objects: Objects | None = None
    labels: LabelMap | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape[:2]
        return height, width


def sample_of(picture: Image, *, objects: Objects | None = None, labels: LabelMap | None = None) -> Sample:
    """Return a picture in mode RGB with its objects or its label map."""
    # A copy, because torch takes none that cannot be written to.
    return Sample(pixels=np.array(picture), objects=objects, labels=labels)


def resized(sample: Sample, size: tuple[int, int]) -> Sample:
    """Return a sample of another height and width: pixels bilinear, as torchvision's detectors do, labels nearest.

    Areas stay those of the picture as it came, because they tell small objects from large ones in the scores.
    """
    if size == sample.size:
        return sample
    (height, width), (new_height, new_width) = sample.size, size
    objects = sample.objects
    if objects is not None:
        ratios = np.array([new_width / width, new_height / height] * 2, dtype=np.float32)
        masks = None if objects.masks is None else _nearest(objects.masks.view(np.uint8), size).view(np.bool_)
        # Cut, because rounding may put an edge a little outside.
        objects = replace(objects, boxes=cut_to(objects.boxes * ratios, new_height, new_width), masks=masks)
    layers = torch.from_numpy(np.ascontiguousarray(sample.pixels)).permute(2, 0, 1)
    pixels = F.resize(layers, list(size), interpolation=InterpolationMode.BILINEAR, antialias=False)
    return Sample(
        pixels=pixels.permute(1, 2, 0).numpy(),
        objects=objects,
        labels=None if sample.labels is None else _nearest(sample.labels[None], size)[0],
    )


def cropped(sample: Sample, window: Window) -> Sample:
    """Return what lies in a window of the picture; objects of which nothing is left are dropped.

    The box of an object that the window cuts is the tight one of what is left of its mask, where it has one.
    """
    top, left, height, width = window
    rows, columns = slice(top, top + height), slice(left, left + width)
    labels = None if sample.labels is None else sample.labels[rows, columns]
    objects = None if sample.objects is None else _cropped_objects(sample.objects, window)
    return Sample(pixels=sample.pixels[rows, columns], objects=objects, labels=labels)


def flipped(sample: Sample) -> Sample:
    """Return the mirror image, left and right exchanged."""
    objects = sample.objects
    if objects is not None:
        boxes = objects.boxes.copy()
        boxes[:, [0, 2]] = np.float32(sample.size[1]) - objects.boxes[:, [2, 0]]
        masks = None if objects.masks is None else objects.masks[:, :, ::-1]
        objects = replace(objects, boxes=boxes, masks=masks)
    labels = None if sample.labels is None else sample.labels[:, ::-1]
    return Sample(pixels=sample.pixels[:, ::-1], objects=objects, labels=labels)


def _cropped_objects(objects: Objects, window: Window) -> Objects:
    top, left, height, width = window
    moved = objects.boxes - np.array([left, top, left, top], dtype=np.float32)
    boxes = cut_to(moved, height, width)
    masks = objects.masks
    if masks is not None:
        masks = masks[:, top : top + height, left : left + width]
        is_cut = (boxes != moved).any(axis=1)
        boxes[is_cut] = boxes_of(masks[is_cut])
    kept = replace(objects, boxes=boxes, masks=masks)
    return kept if (has := has_area(boxes)).all() else kept.chosen(has)


def _nearest(layers: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return layers (M, height, width) of another size, each pixel from the one that its centre lies on."""
    result: torch.Tensor = F.resize(
        torch.from_numpy(np.ascontiguousarray(layers)), list(size), interpolation=InterpolationMode.NEAREST_EXACT
    )
    scaled: NDArray[np.uint8] = result.numpy()
    return scaled
