"""Pictures in a folder on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from convnext.data.pictures import read_bytes, read_picture
from convnext.data.splits import Source
from convnext.data.tree import Listing, source_from_listing, visible
from convnext.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FolderStore:
    """Pictures by their names under a root folder."""

    root: Path
    files: tuple[str, ...]

    def name(self, entry: int) -> str:
        """Return the path relative to the root."""
        return self.files[entry]

    def picture(self, entry: int) -> Image.Image:
        """Read the file."""
        return read_picture(self.root / self.files[entry], self.files[entry])

    def encoded(self, entry: int) -> bytes:
        """Return the bytes of the file."""
        return read_bytes(self.root / self.files[entry], self.files[entry])


def open_folder(root: Path, *, seed: int, val_fraction: float) -> Source:
    """Return the source of a folder of class folders, or of train/ and val/ with class folders in them."""
    return source_from_listing(
        list_folder(root),
        lambda files: FolderStore(root=root, files=files),
        seed=seed,
        val_fraction=val_fraction,
    )


def list_folder(root: Path) -> Listing:
    """List what is visible under a folder; links are followed."""
    files: list[str] = []
    folders: list[str] = []
    for place, inner, names in os.walk(root, followlinks=True, onerror=_refuse):
        inner[:] = [name for name in inner if visible(name)]
        relative = Path(place).relative_to(root)
        folders += [(relative / name).as_posix() for name in inner]
        files += [(relative / name).as_posix() for name in names if visible(name)]
    return Listing(where=str(root), files=tuple(files), folders=tuple(folders))


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot list {error.filename}: {error.strerror}") from error
