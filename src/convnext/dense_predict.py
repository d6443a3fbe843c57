"""Say what pictures hold: objects with boxes and masks, or a class for each pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from convnext.data.dense.batches import MULTIPLE_PX
from convnext.data.dense.resize import fitted_size, padded_size
from convnext.data.dense.sample import resized, sample_of
from convnext.data.pictures import PictureError, read_picture
from convnext.dense_model import DenseModel
from convnext.detection.detector import Detector
from convnext.detection.paste import on_original
from convnext.segmentation.segmenter import Segmenter
from convnext.segmentation.sliding import Window
from convnext.tasks.detect import pasted
from convnext.tasks.normalise import normalise
from convnext.tasks.segment import segment_pictures
from convnext.train.device import Precision, autocast, choose_device, choose_precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a picture holds, or why it could not be read.

    picture  as it came, upright; None where it could not be read
    boxes    (D, 4) x0, y0, x1, y1 in its pixels, best first, with scores, labels and masks (D, height, width); none of
             a segmenter
    labels   class names of the boxes, and their numbers
    classes  (height, width): the number of the class of each pixel; None of a detector
    """

    path: str
    picture: Image.Image | None = None
    boxes: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    labels: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    masks: NDArray[np.bool_] | None = None
    classes: NDArray[np.uint8] | None = None
    error: str | None = None


def find_in_pictures(
    model: DenseModel,
    paths: Sequence[Path],
    *,
    least_score: float = 0.3,
    device: str = "auto",
    precision: Precision = "auto",
) -> Iterator[Found]:
    """Yield what each picture holds, in order, one at a time because they differ in size.

    least_score  of the boxes that are told

    A picture that cannot be read yields an error, and the rest go on.
    """
    place = choose_device(device)
    exact = choose_precision(precision, place)
    network = model.network.to(place).eval()
    for path in paths:
        try:
            picture = read_picture(path, str(path))
        except PictureError as error:
            yield Found(path=str(path), error=str(error) if str(path) in str(error) else f"{path}: {error}")
            continue
        with torch.inference_mode(), autocast(place, exact):
            if isinstance(network, Detector):
                found = _objects(model, network, str(path), picture, place, least_score)
            else:
                found = _pixels(model, network, str(path), picture, place)
        # Outside, so that the caller's own work between two pictures is not in inference mode.
        yield found


def _objects(
    model: DenseModel, detector: Detector, path: str, picture: Image.Image, place: torch.device, least: float
) -> Found:
    part = model.recipe.detect
    assert part is not None, "a detector's recipe says how long a side may be"
    original = (picture.height, picture.width)
    size = fitted_size(original, short=model.recipe.data.size, longest=part.longest)
    height, width = padded_size([size], multiple=MULTIPLE_PX)
    images = torch.zeros(1, 3, height, width, device=place)
    images[:, :, : size[0], : size[1]] = _normalised(model, picture, size, place)
    (found,) = detector(images, [size])
    found = on_original(found, size, original)
    kept = (found.scores >= least).cpu().numpy()
    numbers = tuple(found.labels.cpu().numpy()[kept].tolist())
    masks = pasted(found, original, detector.spec.convention)[kept] if found.masks is not None else None
    return Found(
        path=path,
        picture=picture,
        boxes=found.boxes.float().cpu().numpy()[kept],
        scores=found.scores.float().cpu().numpy()[kept],
        labels=tuple(model.labels[label] for label in numbers),
        numbers=numbers,
        masks=masks,
    )


def _pixels(model: DenseModel, segmenter: Segmenter, path: str, picture: Image.Image, place: torch.device) -> Found:
    part = model.recipe.segment
    assert part is not None, "a segmenter's recipe says what its window is"
    original = (picture.height, picture.width)
    size = fitted_size(original, short=min(part.base), longest=max(part.base))
    window = Window(side=model.recipe.data.size, stride=part.stride)
    images = _normalised(model, picture, size, place)
    classes = segment_pictures(segmenter, images, size=original, part=part, window=window)
    return Found(path=path, picture=picture, classes=classes[0].to(torch.uint8).cpu().numpy())


def _normalised(model: DenseModel, picture: Image.Image, size: tuple[int, int], place: torch.device) -> torch.Tensor:
    # By the loaders' own resampler, so that a picture is seen as it was in training.
    pixels = torch.from_numpy(np.ascontiguousarray(resized(sample_of(picture), size).pixels))
    return normalise(pixels.permute(2, 0, 1)[None].to(place), model.preprocess)
