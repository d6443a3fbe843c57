"""A picture of which only a part will be needed, so that no more of its file is decoded."""

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from convnext.data.colours import to_array
from convnext.data.jpeg import PlainJpeg, plain_jpeg
from convnext.data.pictures import Pixels, read_picture
from convnext.data.splits import Split

Box = tuple[int, int, int, int]  # left, top, width, height in pixels
FineBox = tuple[float, float, float, float]
MODES = {1: "L", 3: "RGB"}
SCALES = (8, 4, 2)


class Uncut(Protocol):
    """A picture of a known size whose pixels are not asked for yet."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    def part(self, box: Box, side: int) -> tuple[Pixels, FineBox]:
        """Return pixels that hold a box, and where it lies in them.

        side: what the box will be scaled to; the pixels may be fewer than the picture's, but no fewer than this.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPicture:
    """A picture in memory, mode L or RGB."""

    image: Image.Image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def part(self, box: Box, side: int) -> tuple[Pixels, FineBox]:
        """Return the box itself."""
        left, top, width, height = box
        return to_array(self.image.crop((left, top, left + width, top + height))), (0, 0, width, height)


@dataclass(frozen=True, kw_only=True, eq=False)
class JpegPicture:
    """A JPEG that is decoded as far as it is needed, to RGB.

    name     what to call it in an error
    reduced  whether a large part may be decoded at a smaller scale
    """

    jpeg: PlainJpeg
    name: str
    reduced: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.jpeg.width, self.jpeg.height

    def part(self, box: Box, side: int) -> tuple[Pixels, FineBox]:
        """Decode the rows down to the end of the box; PictureError for a broken file."""
        left, top, width, height = box
        scales = [scale for scale in SCALES if self.reduced and min(width, height) >= scale * side]
        scale = scales[0] if scales else 1
        pixels = self.jpeg.rows(top + height, scale)
        if pixels is None:
            return LoadedPicture(image=read_picture(self.jpeg.data, self.name)).part(box, side)
        if scale == 1:
            return pixels, box
        return pixels, (left / scale, top / scale, width / scale, height / scale)


def open_uncut(split: Split, index: int, channels: int, *, reduced: bool = False) -> Uncut:
    """Return picture `index` of a split, decoded or not, in grey (1) or colour (3); PictureError for a broken file."""
    data = split.encoded(index)
    # Grey is made from the colours, as in evaluation, and not taken from the file.
    jpeg = None if data is None or channels == 1 else plain_jpeg(data)
    if jpeg is not None:
        return JpegPicture(jpeg=jpeg, name=split.name(index), reduced=reduced)
    image = split.picture(index) if data is None else read_picture(data, split.name(index))
    mode = MODES[channels]
    return LoadedPicture(image=image if image.mode == mode else image.convert(mode))
