"""ImageNet-C: its folders of corrupted pictures, or the corruptions computed from clean ones."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convnext.data.corruptions.corrupt import CorruptedStore
from convnext.data.corruptions.table import EXTRA, NAMES, SEVERITIES, check_severity, corruption_named
from convnext.data.tar_index import Note
from convnext.errors import UserError
from convnext.labels import is_wnid
from convnext.robustness.class_folders import class_root, folders_in, read_class_folders
from convnext.robustness.sets import Exam, open_imagenet

# ROOT/[archive/][group/]corruption
DEPTH = 3


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is to be scored of ImageNet-C.

    chosen    pairs of corruption and severity, in the usual order
    computed  whether the corruptions are computed here, from clean pictures
    missing   corruptions that were not asked for by name and have no folder
    open      returns the pictures of a pair
    """

    chosen: tuple[tuple[str, int], ...]
    computed: bool
    missing: tuple[str, ...]
    open: Callable[[str, int], Exam]


def open_conditions(
    data: str, *, corruptions: Sequence[str] = (), severities: Sequence[int] = (), note: Note
) -> Conditions:
    """Find the folders of ImageNet-C, or open clean pictures to corrupt them.

    corruptions, severities  which of them; none for all
    note                     is told of folders that are passed over

    UserError when a corruption or severity that was asked for is unknown or has no folder, or the data is one severity
    of a corruption.
    """
    wanted = {corruption_named(name).name for name in corruptions} or set(NAMES)
    asked = {check_severity(severity) for severity in severities} or set(SEVERITIES)
    names = tuple(name for name in NAMES if name in wanted)
    levels = tuple(level for level in SEVERITIES if level in asked)
    root = Path(data).expanduser()
    found = dict(_corruption_folders(root, DEPTH)) if root.is_dir() else {}
    # Its own name is asked for, which "." does not tell.
    own, outer = root.resolve().name, root.resolve().parent
    if root.is_dir() and not found and own in NAMES:
        found = {own: root}
    if root.is_dir() and outer.name in NAMES and own in map(str, SEVERITIES):
        # To corrupt these again would score something that nobody has published.
        raise UserError(
            f"{root} is one severity of {outer.name}; name {outer} or what holds it, and take --severities {own}"
        )
    if not any(name in found for name in NAMES):
        return _computed(data, names, levels, note)
    extra = [name for name in EXTRA if name in found]
    if extra:
        note(f"passed over, because mCE does not count them: {', '.join(extra)}")
    missing = tuple(name for name in names if name not in found)
    if missing and corruptions:
        known = ", ".join(name for name in NAMES if name in found)
        raise UserError(f"{root} has no folder {missing[0]}; it has {known}")
    chosen = tuple((name, level) for name in names if name in found for level in levels)
    for name, level in chosen:
        if not (found[name] / str(level)).is_dir():
            raise UserError(f"{found[name]} has no folder {level}; the severities are folders 1 to 5")

    def open_condition(name: str, severity: int) -> Exam:
        folder = found[name] / str(severity)
        inner = class_root(folder, is_wnid)
        if inner is None:
            raise UserError(f"{folder} has no folders named by wnid such as n01440764")
        pictures = read_class_folders(inner)
        return Exam(where=pictures.where, classes=pictures.classes, split=pictures.split)

    return Conditions(chosen=chosen, computed=False, missing=missing, open=open_condition)


def _computed(data: str, names: Sequence[str], severities: Sequence[int], note: Note) -> Conditions:
    clean = open_imagenet(data, note)

    def corrupt(name: str, severity: int) -> Exam:
        store = CorruptedStore(store=clean.split.store, corruption=name, severity=severity)
        return replace(clean, split=replace(clean.split, store=store))

    chosen = tuple((name, severity) for name in names for severity in severities)
    return Conditions(chosen=chosen, computed=True, missing=(), open=corrupt)


def _corruption_folders(root: Path, depth: int) -> Iterator[tuple[str, Path]]:
    for folder in folders_in(root):
        if folder.name in NAMES or folder.name in EXTRA:
            yield folder.name, folder
        elif depth > 1 and not is_wnid(folder.name):
            yield from _corruption_folders(folder, depth - 1)
