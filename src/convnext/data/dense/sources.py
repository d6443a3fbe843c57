"""One text names a data set for detection or segmentation: a folder, a zip, a COCO file, or the made scenes."""

from pathlib import Path

from convnext.data.dense.coco import is_coco, open_coco, open_json
from convnext.data.dense.files import Files, open_files
from convnext.data.dense.label_folders import open_label_folders
from convnext.data.dense.scenes import is_scenes, open_scenes
from convnext.data.dense.splits import DenseSource
from convnext.data.dense.voc import is_voc, open_voc
from convnext.data.sources import tell
from convnext.data.tar_index import Note
from convnext.errors import UserError

DETECTION_FORMS = (
    "a folder with annotations/instances_train*.json and the pictures, a zip of one, one COCO json, a VOC folder, or "
    "scenes"
)
SEGMENTATION_FORMS = (
    "a folder or zip with train/images, train/labels, val/images, val/labels, or as ADE20K has it, or scenes"
)


def open_detection(text: str, *, seed: int = 0, val_fraction: float = 0.2, note: Note = tell) -> DenseSource:
    """Open the data set with objects that a text names.

    text: `scenes` or `scenes:COUNT` are made; a path is a folder or zip as COCO or VOC have it, or one COCO file.
    seed, val_fraction: how a set without a held-out part of its own is split; whole pictures are drawn.
    note: is told of what is odd without being wrong.
    Raises UserError when there is no such thing or its annotations are wrong.
    """
    if is_scenes(text):
        return open_scenes(text, "objects")
    path = _existing(text, DETECTION_FORMS)
    if path.suffix.lower() == ".json":
        return open_json(path, seed=seed, val_fraction=val_fraction, note=note)
    files = open_files(path)
    if is_voc(files):
        return open_voc(files, seed=seed, val_fraction=val_fraction)
    if is_coco(files):
        return open_coco(files, seed=seed, val_fraction=val_fraction, note=note)
    raise UserError(f"{text} has no annotations of objects: {_found(files)}; DATA is {DETECTION_FORMS}")


def open_segmentation(text: str, *, seed: int = 0, val_fraction: float = 0.2, note: Note = tell) -> DenseSource:
    """Open the data set with label maps that a text names; arguments as for `open_detection`.

    text: `scenes` or `scenes:COUNT` are made; a path is a folder or zip in one of the layouts of `label_folders`.
    """
    if is_scenes(text):
        return open_scenes(text, "labels")
    files = open_files(_existing(text, SEGMENTATION_FORMS))
    return open_label_folders(files, seed=seed, val_fraction=val_fraction, note=note)


def _existing(text: str, forms: str) -> Path:
    path = Path(text).expanduser()
    try:
        exists = path.exists()
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}; DATA is {forms}") from error
    if not exists:
        raise UserError(f"no such folder or file: {text}; DATA is {forms}")
    return path


def _found(files: Files) -> str:
    tops = files.listing.tops()
    return f"it holds {len(files.listing.files):,} files in {', '.join(tops[:5]) or 'no folders'}"
