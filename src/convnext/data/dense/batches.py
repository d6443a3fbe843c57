"""Batches of pictures of several sizes, padded at the right and at the bottom, with their objects or label maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from convnext.data.dense.resize import padded_size
from convnext.data.dense.sample import Sample
from convnext.data.dense.splits import IGNORED, Masks

MULTIPLE_PX = 32
Size = tuple[int, int]  # height and width in pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectBatch:
    """Pictures with their objects; one entry for each picture in all that are tuples.

    images          uint8 (N, 3, H, W), padded with zeros to a multiple of 32; N may be 0
    sizes           what of each image is not padding
    original_sizes  of each picture as it came
    boxes           float32 (M, 4) left, top, right, bottom in pixels. In training of the image as it is here, without
                    crowds; in evaluation of the picture as it came, because that is what is scored
    labels          int64 (M,)
    masks           uint8 (M, H, W) as large as the padded image in training, in evaluation (M, height, width) as the
                    picture came; None for each picture where they were not asked for
    crowd           bool (M,)
    areas           float32 (M,) square pixels in the picture as it came
    indices         int64 (N,) places in the split
    picture_ids     the data's own numbers of the pictures
    unreadable      pictures that belong here and could not be read, by name, with the reason; they are in no tensor
    """

    images: Tensor
    sizes: tuple[Size, ...]
    original_sizes: tuple[Size, ...]
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: tuple[Tensor | None, ...]
    crowd: tuple[Tensor, ...]
    areas: tuple[Tensor, ...]
    indices: Tensor
    picture_ids: tuple[int, ...]
    unreadable: Mapping[str, str]

    def pin_memory(self) -> "DetectBatch":
        """Return the batch in memory from which a GPU copies while the processor goes on."""
        return replace(
            self,
            images=self.images.pin_memory(),
            boxes=_pinned(self.boxes),
            labels=_pinned(self.labels),
            masks=tuple(None if one is None else one.pin_memory() for one in self.masks),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentBatch:
    """Pictures with their label maps.

    images          uint8 (N, 3, H, W), padded with zeros; N may be 0
    maps            uint8 (N, h, w), 255 where nothing is known and in the padding: as large as the images in training,
                    in evaluation as large as the pictures came
    sizes           what of each image is not padding
    original_sizes  of each picture as it came
    indices         int64 (N,) places in the split
    unreadable      pictures that belong here and could not be read, by name, with the reason; they are in no tensor
    """

    images: Tensor
    maps: Tensor
    sizes: tuple[Size, ...]
    original_sizes: tuple[Size, ...]
    indices: Tensor
    unreadable: Mapping[str, str]

    def pin_memory(self) -> "SegmentBatch":
        """Return the batch in memory from which a GPU copies while the processor goes on."""
        return replace(self, images=self.images.pin_memory(), maps=self.maps.pin_memory())


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """A picture that was read for a batch.

    sample    as it goes into the image
    original  as it came, without its pixels counting any more
    index     place in the split
    """

    sample: Sample
    original: Sample
    index: int
    picture_id: int = 0


def detect_batch(read: Sequence[Read], unreadable: Mapping[str, str], *, training: bool, masks: bool) -> DetectBatch:
    """Return the batch of pictures with objects. masks: whether their masks are wanted."""
    height, width = padded_size([one.sample.size for one in read], multiple=MULTIPLE_PX)
    objects = [(one.sample if training else one.original).objects for one in read]
    found = [one for one in objects if one is not None]
    assert len(found) == len(read), "these pictures have label maps"
    return DetectBatch(
        images=_images(read, (height, width)),
        sizes=tuple(one.sample.size for one in read),
        original_sizes=tuple(one.original.size for one in read),
        boxes=tuple(torch.from_numpy(one.boxes) for one in found),
        labels=tuple(torch.from_numpy(one.labels) for one in found),
        masks=tuple(_sheet(one.masks, (height, width) if training else None) if masks else None for one in found),
        crowd=tuple(torch.from_numpy(one.crowd) for one in found),
        areas=tuple(torch.from_numpy(one.areas) for one in found),
        indices=_indices(read),
        picture_ids=tuple(one.picture_id for one in read),
        unreadable=unreadable,
    )


def segment_batch(read: Sequence[Read], unreadable: Mapping[str, str], *, crop: int | None) -> SegmentBatch:
    """Return the batch of pictures with label maps. crop: side of its images in training; in evaluation None.

    In evaluation there is one picture, or none.
    """
    if crop is not None:
        size = map_size = (crop, crop)
        labels = [one.sample.labels for one in read]
    else:
        assert len(read) <= 1, "pictures differ in size"
        size, map_size = (read[0].sample.size, read[0].original.size) if read else ((MULTIPLE_PX, MULTIPLE_PX),) * 2
        labels = [one.original.labels for one in read]
    maps = torch.full((len(read), *map_size), IGNORED, dtype=torch.uint8)
    for place, one in zip(maps, labels, strict=True):
        assert one is not None, "these pictures have objects"
        place[: one.shape[0], : one.shape[1]] = torch.from_numpy(np.ascontiguousarray(one))
    return SegmentBatch(
        images=_images(read, size),
        maps=maps,
        sizes=tuple(one.sample.size for one in read),
        original_sizes=tuple(one.original.size for one in read),
        indices=_indices(read),
        unreadable=unreadable,
    )


def _images(read: Sequence[Read], size: Size) -> Tensor:
    # Channels last in memory, as the networks want it: a view, not a copy.
    images = np.zeros((len(read), *size, 3), dtype=np.uint8)
    for image, one in zip(images, read, strict=True):
        height, width = one.sample.size
        image[:height, :width] = one.sample.pixels
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _sheet(masks: Masks | None, size: Size | None) -> Tensor:
    """Return masks on sheets of a size; of their own size where it is None."""
    assert masks is not None, "masks were asked for"
    sheet = np.zeros((len(masks), *(size or masks.shape[1:])), dtype=np.uint8)
    sheet[:, : masks.shape[1], : masks.shape[2]] = masks
    return torch.from_numpy(sheet)


def _indices(read: Sequence[Read]) -> Tensor:
    return torch.tensor([one.index for one in read], dtype=torch.int64)


def _pinned(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.pin_memory() for tensor in tensors)
