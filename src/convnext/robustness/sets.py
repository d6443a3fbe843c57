"""Open the sets by name, each in the layout in which it is usually unpacked.

imagenet   wnid folders, in the folder or in its val/; any other source of pictures is opened as for training
real       the same pictures, also without folders, and real.json
v2         folders 0 to 999, which are class numbers
a, r       200 wnid folders
sketch     1,000 wnid folders
c          GROUP/CORRUPTION/SEVERITY/wnid, without the group too, or clean pictures (`convnext.robustness.corrupted`)
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from convnext.data.folders import FolderStore, list_folder
from convnext.data.sources import Split, open_source
from convnext.data.tar_index import Note
from convnext.data.tree import VAL_NAMES
from convnext.errors import UserError, nearest
from convnext.labels import NUM_CLASSES_1K, imagenet_1k, is_wnid
from convnext.robustness.class_folders import LabelledPictures, class_root, folders_in, read_class_folders
from convnext.robustness.masks import check_classes, classes_of
from convnext.robustness.real import FILE, PICTURE, RealLabels, picture_number, read_real_labels

SetName = Literal["imagenet", "real", "v2", "a", "r", "sketch", "c"]
SETS: tuple[SetName, ...] = get_args(SetName)
TITLES: dict[SetName, str] = {
    "imagenet": "ImageNet-1K",
    "real": "ImageNet ReaL",
    "v2": "ImageNet-V2",
    "a": "ImageNet-A",
    "r": "ImageNet-R",
    "sketch": "ImageNet-Sketch",
    "c": "ImageNet-C",
}
V2_NAMES = ("imagenetv2-matched-frequency-format-val", "imagenetv2-matched-frequency")


@dataclass(frozen=True, kw_only=True, eq=False)
class Exam:
    """Pictures to be scored.

    classes  what the labels count, as wnids or names
    only     the classes whose logits compete, None for all that the head has; the labels count `classes` all the same
    real     labels by the picture's number; the labels of `split` are then these numbers and count no classes
    """

    where: str
    classes: tuple[str, ...]
    split: Split
    only: tuple[str, ...] | None = None
    real: RealLabels | None = None


def check_set(name: str) -> SetName:
    """Return the name of a set; UserError for any other text."""
    for known in SETS:
        if name == known:
            return known
    raise UserError(f"--on must be one of {', '.join(SETS)}, got {name!r}{nearest(name, SETS)}")


def open_set(name: SetName, data: str, *, labels: Path | None = None, note: Note) -> Exam:
    """Open one of the sets except "c".

    labels  where the ReaL labels lie; None is real.json in the folder
    note    is told of what is passed over

    UserError when the data does not lie in the layout of the set.
    """
    assert name != "c", "its pictures lie in 75 folders"
    if labels is not None and name != "real":
        raise UserError(f"--labels is for --on real, not for --on {name}")
    if name == "imagenet":
        return open_imagenet(data, note)
    root = _folder(name, data)
    if name == "real":
        return _open_real(root, labels or root / FILE)
    if name == "v2":
        return _open_v2(root)
    pictures = _wnid_folders(name, root)
    if name == "sketch":
        return _exam(pictures)
    check_classes(name, pictures.where, pictures.classes)
    return replace(_exam(pictures), only=classes_of(name))


def open_imagenet(data: str, note: Note) -> Exam:
    """Open clean pictures of ImageNet's classes: wnid folders, or any other source, of which the held-out part counts.

    UserError when validation pictures lie without class folders.
    """
    root = Path(data).expanduser()
    if root.is_dir():
        found = class_root(root, is_wnid, VAL_NAMES)
        if found is not None:
            return _exam(read_class_folders(found))
        for place in (root, *(root / name for name in VAL_NAMES if (root / name).is_dir())):
            if next((True for path in place.iterdir() if PICTURE.search(path.name)), False):
                raise UserError(
                    f"{place} holds ILSVRC2012_val_*.JPEG without class folders, so nothing says what they show; "
                    "torchvision.datasets.ImageNet(ROOT, split='val') sorts the archive into wnid folders by the "
                    "development kit (--on real needs no folders)"
                )
    source = open_source(data, note=note)
    return Exam(where=source.name, classes=source.classes, split=source.val if source.has_own_val else source.whole())


def _open_real(root: Path, labels: Path) -> Exam:
    real = read_real_labels(labels)
    listing = list_folder(_val(root))
    files = tuple(listing.pictures())
    if not files:
        raise UserError(f"{listing.where} has no pictures; --on real takes ILSVRC2012_val_*.JPEG, in folders or not")
    numbers = np.array([picture_number(file, len(real)) for file in files], dtype=np.int64)
    split = Split(store=FolderStore(root=_val(root), files=files), entries=np.arange(len(files)), labels=numbers)
    return Exam(where=listing.where, classes=imagenet_1k().wnids, split=split, real=real)


def _open_v2(root: Path) -> Exam:
    found = class_root(root, str.isdecimal, V2_NAMES)
    if found is None:
        raise UserError(
            f"{root} is not in the layout of ImageNet-V2, folders 0 to 999: it has {_some(root)}; name the folder that "
            "holds them"
        )
    pictures = read_class_folders(found)
    strangers = [name for name in pictures.classes if not name.isdecimal() or int(name) >= NUM_CLASSES_1K]
    if strangers:
        raise UserError(f"{found} has a folder {strangers[0]}; those of ImageNet-V2 are called 0 to 999")
    # As text "10" comes before "2": the number is the class, not the place.
    wnids = imagenet_1k().wnids
    return replace(_exam(pictures), classes=tuple(wnids[int(name)] for name in pictures.classes))


def _wnid_folders(name: SetName, root: Path) -> LabelledPictures:
    found = class_root(root, is_wnid)
    if found is None:
        raise UserError(
            f"{root} is not in the layout of {TITLES[name]}, folders named by wnid such as n01440764: it has "
            f"{_some(root)}"
        )
    return read_class_folders(found)


def _folder(name: SetName, data: str) -> Path:
    root = Path(data).expanduser()
    if not root.is_dir():
        raise UserError(f"--on {name} takes a folder, and {data} is none; unpack the archive and name its folder")
    return root


def _val(root: Path) -> Path:
    return next((root / name for name in VAL_NAMES if (root / name).is_dir()), root)


def _exam(pictures: LabelledPictures) -> Exam:
    return Exam(where=pictures.where, classes=pictures.classes, split=pictures.split)


def _some(root: Path) -> str:
    names = [folder.name for folder in folders_in(root)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "no folders"
