"""The files of a dense data set, in a folder or in a zip: what is there, their bytes, and stores of the pictures."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from convnext.data.archives import ZipStore, list_zip
from convnext.data.dense.splits import LabelError
from convnext.data.folders import FolderStore, list_folder
from convnext.data.pictures import FORMATS, PictureError, read_picture, upright_turn
from convnext.data.tree import Listing
from convnext.errors import UserError

FileStore = FolderStore | ZipStore
SHOWN = 3
# The turn that takes back a turn.
BACK = {Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90}


@dataclass(frozen=True, kw_only=True, eq=False)
class Files:
    """What lies in a folder or a zip; names are relative, with forward slashes.

    prefix: of the one folder around everything, "" where there is none; names in the listing are without it.
    """

    listing: Listing
    prefix: str
    open_any: Callable[[tuple[str, ...]], FileStore]

    @property
    def where(self) -> str:
        """What to call the data in a message."""
        return self.listing.where

    def store(self, names: tuple[str, ...]) -> FileStore:
        """Return a store of files by their places in `names`."""
        return self.open_any(tuple(self.prefix + name for name in names))

    def text(self, name: str) -> str:
        """Return the contents of a text file; UserError where it cannot be read."""
        try:
            return self.store((name,)).encoded(0).decode("utf-8-sig")
        except (PictureError, UnicodeDecodeError) as error:
            raise UserError(f"{self.where}: {name} cannot be read ({error}); copy it again") from error


def open_files(path: Path) -> Files:
    """Return the files of a folder or a zip, without a folder that only wraps the others."""
    if path.is_dir():
        files = Files(
            listing=list_folder(path),
            prefix="",
            open_any=lambda names: FolderStore(root=path, files=names),
        )
    else:
        listing, open_zipped = list_zip(path)
        files = Files(listing=listing, prefix="", open_any=open_zipped)
    if not files.listing.files:
        raise UserError(f"{path} has no files")
    return _unwrapped(files)


def fitted_picture(store: FileStore, entry: int, size: tuple[int, int], of_what: str) -> Image.Image:
    """Return a picture that its labels fit: mode RGB, of this height and width.

    A file may ask to be turned, and labels may have been drawn on it turned or not; the one that fits is returned,
    upright where both do. of_what: what has the size, for the LabelError where neither fits.
    """
    data = store.encoded(entry)
    name = store.name(entry)
    picture = read_picture(data, name)
    height, width = size
    if picture.size == (width, height):
        return picture
    turn = _turn(data)
    if turn is not None and picture.size == (height, width):
        return picture.transpose(BACK.get(turn, turn))
    raise LabelError(
        f"{name}: the picture is {picture.width} x {picture.height} and {of_what} {width} x {height}; "
        "labels and picture must have one size"
    )


def shown(names: list[str]) -> str:
    """Return the first names and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


def _turn(data: bytes) -> Image.Transpose | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return upright_turn(image)


def _unwrapped(files: Files) -> Files:
    tops = files.listing.tops()
    at_top = any("/" not in name for name in files.listing.files)
    if len(tops) != 1 or at_top:
        return files
    inner = files.listing.inside(tops[0])
    if all("/" not in name for name in inner.files):
        return files
    return _unwrapped(replace(files, listing=inner, prefix=f"{files.prefix}{tops[0]}/"))
