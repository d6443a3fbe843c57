"""Pictures in a zip, read where they lie: nothing is ever extracted."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from convnext.data.pictures import MAX_PIXELS, PictureError, read_picture
from convnext.data.splits import Source
from convnext.data.tree import Listing, source_from_listing, visible
from convnext.errors import UserError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, then the lengths of the name and of the extra field
MAX_MEMBER_BYTES = 4 * MAX_PIXELS


@dataclass(frozen=True, kw_only=True)
class Member:
    """Where one file lies in a zip."""

    name: str
    offset: int
    stored_bytes: int
    bytes: int
    method: int
    crc: int


@dataclass(frozen=True, kw_only=True)
class ZipStore:
    """Pictures by their place in a zip.

    The file is opened for each read, as a folder's files are: so there is no handle to share between
    processes, to pickle, or to leak.
    """

    path: Path
    members: tuple[Member, ...]

    def name(self, entry: int) -> str:
        """Return the name inside the zip."""
        return self.members[entry].name

    def picture(self, entry: int) -> Image.Image:
        """Read, inflate and decode one member."""
        return read_picture(self.encoded(entry), self.name(entry))

    def encoded(self, entry: int) -> bytes:
        """Read and inflate one member."""
        member = self.members[entry]
        try:
            return _read(self.path, member)
        except (OSError, struct.error, zlib.error, ValueError) as error:
            raise PictureError(f"{member.name}: cannot be read from {self.path} ({error})") from error


def open_zip(path: Path, *, seed: int, val_fraction: float) -> Source:
    """Return the source of a zip of class folders, or of train/ and val/, with or without one folder around."""
    listing, open_store = list_zip(path)
    return source_from_listing(listing, open_store, seed=seed, val_fraction=val_fraction)


def list_zip(path: Path) -> tuple[Listing, Callable[[tuple[str, ...]], ZipStore]]:
    """Return what is visible in a zip, and how to open some of its files, in that order."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"{path} is neither a folder nor a whole zip ({error}); give a folder of class folders or a zip of one"
        ) from error
    # The last one of a name counts, as it does when a zip is unpacked; an absolute name is as relative as any.
    by_name = {info.filename.replace("\\", "/").removeprefix("./").lstrip("/"): info for info in infos}
    by_name = {name: info for name, info in by_name.items() if visible(name)}
    listing = Listing(
        where=str(path),
        files=tuple(name for name in by_name if not name.endswith("/")),
        folders=tuple(name.rstrip("/") for name in by_name if name.endswith("/")),
    )
    return listing, lambda files: ZipStore(
        path=path, members=tuple(_member(path, name, by_name[name]) for name in files)
    )


def _member(path: Path, name: str, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & 0x1:
        raise UserError(f"{path}: {name} is encrypted; make the zip again without a password")
    if info.compress_type not in METHODS:
        raise UserError(
            f"{path}: {name} has compression method {info.compress_type}; make the zip with deflate or store"
        )
    return Member(
        name=name,
        offset=info.header_offset,
        stored_bytes=info.compress_size,
        bytes=info.file_size,
        method=info.compress_type,
        crc=info.CRC,
    )


def _read(path: Path, member: Member) -> bytes:
    """Return the bytes of a member; ValueError where the zip does not hold what its index says."""
    if member.bytes > MAX_MEMBER_BYTES:
        raise ValueError(f"refused, it unpacks to {member.bytes:,} bytes")
    with path.open("rb") as file:
        file.seek(member.offset)
        signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise ValueError("the zip is damaged: no member begins where its index says")
        file.seek(name_bytes + extra_bytes, 1)
        data = file.read(member.stored_bytes)
    if member.method == zipfile.ZIP_DEFLATED:
        # The declared size bounds what is inflated, so a member that lies about it cannot fill the memory.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(member.bytes, 1))
    if len(data) != member.bytes or zlib.crc32(data) != member.crc:
        raise ValueError("the zip is damaged: the checksum of this member differs")
    return data
