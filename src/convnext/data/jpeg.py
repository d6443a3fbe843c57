"""Decode no more of a JPEG than a crop needs, straight into an array, with exactly Pillow's pixels.

Only plain files are taken: sequential, upright, grey or three colours, and whole. All others are left to
`read_picture`, which knows every kind and says what is wrong with a broken one.
"""

import re
import struct
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image

from convnext.data.pictures import MAX_PIXELS, ORIENTATION_TAG, UPRIGHT, Pixels

START, EXIF = b"\xff\xd8", b"Exif\0\0"
SEGMENT = struct.Struct(">BBH")  # marker, kind, length
FRAME = struct.Struct(">BHHB")  # bits, height, width, channels
SEQUENTIAL_FRAMES, SCAN, METADATA = (0xC0, 0xC1), 0xDA, 0xE1
# Segments that hold tables, colour profiles and remarks, and the least length at which Pillow makes sense of them.
HARMLESS = dict.fromkeys((0xC4, 0xDB, *range(0xE3, 0xF0), 0xFE), 2) | {0xE0: 16, 0xE2: 18, 0xEE: 14}
MARKER, END = re.compile(rb"\xff[^\x00]"), b"\xff\xd9"
# What a decoder says when all rows are there and bytes are left over.
LEFT_OVER = "extraneous bytes before marker"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainJpeg:
    """A JPEG that needs nothing but decoding.

    width, height   of the picture in pixels
    height_at       place in `data` of the two bytes that tell the height
    rows_below      how many more rows the smoothing of coarser colours looks at
    """

    data: bytes
    width: int
    height: int
    height_at: int
    rows_below: int

    def rows(self, end: int, scale: int = 1) -> Pixels | None:
        """Return the RGB pixels of the rows above `end`, and perhaps more rows; None where the decoder gives up.

        scale: 2, 4 or 8 shrinks both sides by that, rounded up, in the decoder, which is faster.
        """
        end = min(end + self.rows_below, self.height)
        data: bytes | bytearray = self.data
        if end < self.height:
            # A decoder stops after as many rows as the file says there are: this one says fewer.
            data = bytearray(self.data)
            data[self.height_at : self.height_at + 2] = end.to_bytes(2, "big")
        height, width = -(-end // scale), -(-self.width // scale)
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        # The decoder chooses its smallest size that is no smaller than this; 0 for the whole size.
        least = (0, 0) if scale == 1 else (height, width)
        try:
            simplejpeg.decode_jpeg(data, "RGB", min_height=least[0], min_width=least[1], buffer=pixels)
        except ValueError as error:
            # After any other complaint Pillow has to decide.
            if end == self.height or LEFT_OVER not in str(error):
                return None
        return pixels


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """Return the file as a plain JPEG; None for any other file, whole or broken."""
    try:
        return _read_segments(data) if data.startswith(START) else None
    except (struct.error, IndexError):  # the file ends within its header
        return None


def _read_segments(data: bytes) -> PlainJpeg | None:
    place = len(START)
    frame = None
    has_exif = False
    while True:
        mark, kind, length = SEGMENT.unpack_from(data, place)
        segment = place + SEGMENT.size
        place += 2 + length
        if mark != 0xFF or kind == SCAN:
            break
        if kind in SEQUENTIAL_FRAMES and frame is None:
            frame = segment
        elif kind == METADATA:
            is_exif = data.startswith(EXIF, segment)
            if (is_exif and has_exif) or not _is_upright(data[segment:place]):
                return None
            has_exif |= is_exif
        elif length < HARMLESS.get(kind, length + 1):
            return None
    if frame is None or mark != 0xFF:
        return None
    bits, height, width, channels = FRAME.unpack_from(data, frame)
    is_plain = bits == 8 and channels in (1, 3) and 0 < width * height <= MAX_PIXELS
    if not is_plain or data[segment] != channels or not _is_one_whole_scan(data, place):
        return None
    # The low half of a byte for each channel: how many of its rows there are in a block of rows.
    rows = max(data[frame + FRAME.size + 1 + 3 * channel] & 15 for channel in range(channels))
    return PlainJpeg(
        data=data, width=width, height=height, height_at=frame + 1, rows_below=0 if rows == 1 else 2 * rows
    )


def _is_upright(metadata: bytes) -> bool:
    """Whether metadata leaves the picture as it is; False also where that is hard to tell."""
    if not metadata.startswith(EXIF):
        return b"Orientation" not in metadata
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is harmless
            exif.load(metadata)
            return exif.get(ORIENTATION_TAG) not in UPRIGHT
    except Exception:  # Pillow raises anything on broken metadata
        return False


def _is_one_whole_scan(data: bytes, start: int) -> bool:
    """Whether the file goes on from its scan to its end without any other marker.

    A file with restart markers would do but for one thing: a damaged one is not told from one that was cut.
    """
    found = MARKER.search(data, start)
    return found is not None and found[0] == END
