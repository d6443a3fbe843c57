"""Look at every picture of a split once, in several processes, and keep what is to be said of it, not its pixels."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.check.duplicates import THUMBNAIL_PX, Thumbnails
from convnext.data.pictures import FORMATS, ORIENTATION_TAG, PictureError, read_picture
from convnext.data.splits import Integers, Split

DIGEST_BYTES = 16
CHUNK = 32
FORMAT_OF_ENDING = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".ppm": "PPM",
}
# Of phones; a JPEG with a second picture behind the first.
SAME_FORMAT = {"MPO": "JPEG"}
USUAL_MODES = ("RGB", "L", "P", "1", "RGBA", "LA")
UPRIGHT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What was seen of one picture.

    width_px, height_px  upright
    digest               hash of its size and pixels
    thumbnail            uint8 (16, 16, 3)
    grey                 all three channels are equal
    mode, turned, kind   of its file: an unusual colour mode; whether its metadata says to turn it; its format where
                         the ending of its name says another. None or False where it has no file of its own
    """

    width_px: int
    height_px: int
    digest: bytes
    thumbnail: NDArray[np.uint8]
    grey: bool
    mode: str | None = None
    turned: bool = False
    kind: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What was seen of the pictures of a split; each row of an array is one that could be read.

    places      in the split (N,)
    sizes_px    width and height (N, 2)
    digests     uint8 (N, 16)
    thumbnails  uint8 (N, 16, 16, 3)
    grey        (N,)
    unreadable, modes, kinds   by place in the split, for the few of which there is something to say
    turned      places in the split
    """

    places: Integers
    sizes_px: Integers
    digests: NDArray[np.uint8]
    thumbnails: Thumbnails
    grey: NDArray[np.bool_]
    unreadable: Mapping[int, str]
    modes: Mapping[int, str]
    kinds: Mapping[int, str]
    turned: tuple[int, ...]

    @property
    def short_sides_px(self) -> Integers:
        """The shorter side of each picture that could be read."""
        sides: Integers = self.sizes_px.min(axis=1)
        return sides


def look_at(split: Split, place: int) -> Look:
    """Return what there is to say of one picture; PictureError when it cannot be read."""
    name = split.name(place)
    encoded = split.encoded(place)
    picture = split.picture(place) if encoded is None else read_picture(encoded, name)
    pixels = np.asarray(picture)
    digest = hashlib.blake2b(repr(picture.size).encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(pixels).data)
    thumbnail = np.asarray(picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX))
    mode, turned, kind = (None, False, None) if encoded is None else _header(encoded, name)
    return Look(
        width_px=picture.width,
        height_px=picture.height,
        digest=digest.digest(),
        thumbnail=thumbnail,
        # The thumbnail of a grey picture is grey; few others need a look at every pixel.
        grey=_is_grey(thumbnail) and _is_grey(pixels),
        mode=mode,
        turned=turned,
        kind=kind,
    )


def look_at_all(split: Split, *, workers: int, advance: Callable[[int], None]) -> Looks:
    """Look at every picture of a split.

    workers: processes that read, 0 for this one; advance: told how many pictures more were looked at.
    """
    # Here, because it imports torch.
    from convnext.data.readers import planned_loader, quiet_workers, signals_held_back

    chunks = [range(start, min(start + CHUNK, len(split))) for start in range(0, len(split), CHUNK)]
    seen: dict[int, Look | str] = {}
    loader: Iterable[dict[int, Look | str]] = planned_loader(
        _Chunks(split=split),  # type: ignore[arg-type]
        chunks,
        workers=workers,
    )
    with quiet_workers():
        with signals_held_back():
            found_by_readers = iter(loader)
        for found in found_by_readers:
            seen.update(found)
            advance(len(found))
    return _stacked(seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunks:
    """What runs in the processes: pictures by their places, or the reason why one cannot be read."""

    split: Split

    def __getitem__(self, places: Sequence[int]) -> dict[int, Look | str]:
        return {place: self._look(place) for place in places}

    def _look(self, place: int) -> Look | str:
        try:
            return look_at(self.split, place)
        except PictureError as error:
            return str(error)


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 1] == pixels[:, :, 2]).all())


def _header(encoded: bytes, name: str) -> tuple[str | None, bool, str | None]:
    """Return what is unusual about a file: its mode, whether it is to be turned, its format against its ending."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            kind = SAME_FORMAT.get(image.format or "", image.format)
            mode = None if image.mode in USUAL_MODES else image.mode
            try:
                turned = image.getexif().get(ORIENTATION_TAG, UPRIGHT) in range(2, 9)
            except Exception:  # broken metadata
                turned = False
    expected = FORMAT_OF_ENDING.get(PurePosixPath(name).suffix.lower(), kind)
    return mode, turned, None if kind == expected else kind


def _stacked(seen: Mapping[int, Look | str]) -> Looks:
    looks = {place: look for place, look in sorted(seen.items()) if isinstance(look, Look)}
    side = THUMBNAIL_PX
    return Looks(
        places=np.array(list(looks), dtype=np.int64),
        sizes_px=np.array([(look.width_px, look.height_px) for look in looks.values()], dtype=np.int64).reshape(-1, 2),
        digests=np.frombuffer(b"".join(look.digest for look in looks.values()), np.uint8).reshape(-1, DIGEST_BYTES),
        thumbnails=np.array([look.thumbnail for look in looks.values()], np.uint8).reshape(-1, side, side, 3),
        grey=np.array([look.grey for look in looks.values()], dtype=np.bool_),
        unreadable={place: reason for place, reason in sorted(seen.items()) if isinstance(reason, str)},
        modes={place: look.mode for place, look in looks.items() if look.mode is not None},
        kinds={place: look.kind for place, look in looks.items() if look.kind is not None},
        turned=tuple(place for place, look in looks.items() if look.turned),
    )
