"""Made pictures: small, different from each other, and the same in each run."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnext.data.splits import Split


def paint(number: int, width: int = 12, height: int = 9) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures for the given relative names, each its own, under a folder of tmp_path."""

    def make(names: list[str], root: str = "pictures") -> Path:
        for number, name in enumerate(sorted(names)):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            paint(number).save(path)
        return tmp_path / root

    return make


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    """Zip a folder, with a prefix before each name."""

    def make(root: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / f"made{len(list(tmp_path.glob('made*')))}.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for file in sorted(path for path in root.rglob("*") if path.is_file()):
                archive.writestr(prefix + file.relative_to(root).as_posix(), file.read_bytes())
        return path

    return make


class PaintedStore:
    """Pictures of many shapes made when they are asked for; those in `broken` cannot be read."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.broken = broken

    def name(self, entry: int) -> str:
        return f"painted/{entry}"

    def picture(self, entry: int) -> Image.Image:
        from convnext.data.pictures import PictureError

        if entry in self.broken:
            raise PictureError(f"{self.name(entry)}: made to fail")
        return paint(entry, width=8 + entry % 5, height=8 + entry % 7)


@pytest.fixture
def painted() -> Callable[..., Split]:
    """Give a split of `count` painted pictures, the label of entry i being i modulo 3."""

    def make(count: int, broken: tuple[int, ...] = ()) -> Split:
        entries = np.arange(count)
        return Split(store=PaintedStore(broken), entries=entries, labels=entries % 3)

    return make
