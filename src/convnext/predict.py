"""Say what pictures show: files, folders and globs in, labels with probabilities out."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convnext.classifier import Classifier
from convnext.data.augment import eval_picture
from convnext.data.pictures import PICTURE_ENDINGS, PictureError, read_picture
from convnext.data.tree import visible
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.tasks.normalise import normalise

GREY, COLOUR = "L", "RGB"


@dataclass(frozen=True, kw_only=True)
class Label:
    """A class and the probability, 0 to 1, that the picture shows it."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most likely labels of a picture, best first, or the reason why it could not be read."""

    path: str
    labels: tuple[Label, ...]
    error: str | None = None


def find_pictures(inputs: Iterable[str]) -> list[Path]:
    """Return the pictures that files, folders (searched through) and globs name, each once, in order.

    A file is taken whatever its ending; in folders and globs only pictures count. UserError for a name that leads
    to nothing.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_file() or not (path.is_dir() or glob.has_magic(str(path))):
            # A file that is not there is reported in its turn, as one that cannot be read is.
            found[path] = None
            continue
        inside = _inside(path) if path.is_dir() else _matches(path)
        pictures = sorted(one for one in inside if one.suffix.lower() in PICTURE_ENDINGS and one.is_file())
        if not pictures:
            reason = "has no pictures in it" if path.is_dir() else "is no file, folder or glob that matches a picture"
            raise UserError(f"{text} {reason}; pictures end in {', '.join(PICTURE_ENDINGS)}")
        found.update(dict.fromkeys(pictures))
    if not found:
        raise UserError("name at least one picture, folder or glob")
    return list(found)


def _inside(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if visible(path.relative_to(folder).as_posix()))


def _matches(pattern: Path) -> Iterator[Path]:
    # Path.glob wants the fixed part and the pattern apart; glob takes what a user types.
    return (Path(name) for name in glob.glob(str(pattern), recursive=True))  # noqa: PTH207


def predict_pictures(
    model: Classifier,
    paths: Sequence[Path],
    *,
    preprocess: Preprocess,
    labels: Sequence[str] | None = None,
    top: int = 5,
    batch_size: int = 32,
) -> Iterator[Prediction]:
    """Yield a prediction for each picture, in order, as each batch is done.

    labels      class names; without them the class numbers are given
    top         how many labels a picture, at most the classes there are
    batch_size  pictures a forward pass; all are brought to one size, so batches never vary in shape but the last

    A picture that cannot be read yields a prediction with an error, and the rest go on.
    """
    if top < 1:
        raise UserError(f"top must be at least 1, got {top}")
    model.eval()
    names = list(labels) if labels is not None else [str(index) for index in range(model.spec.num_classes)]
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        read = [_read(path, preprocess, model.spec.in_channels) for path in chunk]
        pixels = [one for one in read if isinstance(one, np.ndarray)]
        scores = iter(_probabilities(model, pixels, preprocess)) if pixels else iter(())
        for path, one in zip(chunk, read, strict=True):
            if isinstance(one, np.ndarray):
                yield Prediction(path=str(path), labels=_best(next(scores), names, top))
            else:
                yield Prediction(path=str(path), labels=(), error=one)


def _read(path: Path, preprocess: Preprocess, channels: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | str":
    try:
        picture = read_picture(path, str(path)).convert(GREY if channels == 1 else COLOUR)
        return eval_picture(picture, preprocess)
    except PictureError as error:
        return str(error) if str(path) in str(error) else f"{path}: {error}"


def _probabilities(model: Classifier, pixels: Sequence[np.ndarray], preprocess: Preprocess) -> Tensor:
    device = next(model.parameters()).device
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(device)
    with torch.inference_mode():
        logits = model(normalise(images, preprocess))
    probabilities: Tensor = logits.float().softmax(1).cpu()
    return probabilities


def _best(probabilities: Tensor, names: Sequence[str], top: int) -> tuple[Label, ...]:
    values, places = probabilities.topk(min(top, len(names)))
    return tuple(
        Label(label=names[place], probability=value)
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    )
