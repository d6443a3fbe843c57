"""The headers of a tar: what lies in it and where, without reading what it holds.

Python's tarfile takes a damaged header in mid-file for the end, so that pictures would be lost without a word, and
needs three times as long, which counts for millions of members. Read are the formats of POSIX (ustar and pax) and GNU.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

BLOCK = 512
ZEROS = bytes(BLOCK)
TAIL_BYTES = 1 << 20
# Type flags; only files and flags that are not known here have contents behind their header.
FILES, LINKS, WITHOUT_CONTENTS = b"0\x007", b"12", b"123456"
LONGER = ("path", "size", "GNU.sparse.major")
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

Kind = Literal["file", "link", "other"]


class TarError(Exception):
    """A tar cannot be read to its end; the text says why and what to do."""


class TarMember(NamedTuple):
    """A member: its name, what it is, and where its contents lie in the tar."""

    name: str
    kind: Kind
    offset: int
    length: int


def tar_members(file: BinaryIO, file_bytes: int) -> Iterator[TarMember]:
    """Yield what an uncompressed tar of `file_bytes` bytes holds, in order; the file may be read in between.

    TarError when it is compressed, cut short, damaged, or holds more behind its end.
    """
    _check_start(file.read(6), file_bytes)
    position = 0
    longer: dict[str, Any] = {}
    while True:
        header = _block(file, position, file_bytes)
        if header == ZEROS:
            _check_tail(file, file_bytes)
            return
        flag = header[156:157]
        length: int = longer.get("size", _number(header[124:136]))
        start = position + BLOCK
        position = start + (0 if flag in WITHOUT_CONTENTS else -(-length // BLOCK) * BLOCK)
        name: str = longer.get("path", _name(header))
        if length < 0 or position > file_bytes:
            raise TarError(f"is cut short in {name}; copy or download it again")
        if flag in b"LKxXg":
            longer |= _longer(flag, file.read(length))
            continue
        if flag == b"S" or "GNU.sparse.major" in longer:
            raise TarError(f"holds {name} as a sparse file; make it again without --sparse")
        longer = {}
        yield TarMember(name, _kind(flag, name), start, length)


def _check_start(start: bytes, file_bytes: int) -> None:
    kind = next((name for magic, name in COMPRESSED.items() if start.startswith(magic)), None)
    if kind is not None:
        raise TarError(
            f"is compressed with {kind}, so that no picture in it can be read without all before it; unpack it to a "
            "plain .tar (pictures are compressed already, so it hardly grows)"
        )
    if file_bytes == 0:
        raise TarError("is empty; copy or download it again")


def _block(file: BinaryIO, position: int, file_bytes: int) -> bytes:
    """Return the header at a position, its checksum compared."""
    if position + BLOCK > file_bytes:
        raise TarError(
            "ends without the end mark of a tar, so it was cut short; copy or download it again (or, where you know it "
            "to be whole, mark its end with: truncate -s +1024 FILE)"
        )
    file.seek(position)
    header = file.read(BLOCK)
    if header != ZEROS and sum(header) - sum(header[148:156]) + 8 * 32 != _number(header[148:156]):
        what = "is not a tar" if position == 0 else f"is damaged at byte {position:,}"
        raise TarError(f"{what}; copy or download it again")
    return header


def _check_tail(file: BinaryIO, file_bytes: int) -> None:
    if file.read(min(TAIL_BYTES, file_bytes)).strip(b"\0"):
        raise TarError("holds more behind its end mark, as tars do that were joined with cat; keep them apart")


def _number(field: bytes) -> int:
    """Return an octal number, or one of base 256 where the first bit is set; -1 for neither."""
    if field[0] == 0o200:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        return -1


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "backslashreplace")


def _kind(flag: bytes, name: str) -> Kind:
    if flag in FILES and not name.endswith("/"):
        return "file"
    return "link" if flag in LINKS else "other"


def _longer(flag: bytes, data: bytes) -> dict[str, Any]:
    """Return what an extra header says of the next member: its path or its size."""
    if flag == b"L":
        return {"path": data.rstrip(b"\0").decode("utf-8", "backslashreplace")}
    found: dict[str, str] = {}
    try:
        while flag in b"xX" and data.strip(b"\0"):
            digits = data.partition(b" ")[0]
            record, data = data[: int(digits)], data[int(digits) :]
            key, _, value = record[len(digits) + 1 : -1].partition(b"=")
            found[key.decode("utf-8", "replace")] = value.decode("utf-8", "backslashreplace")
        return {key: int(found[key]) if key == "size" else found[key] for key in LONGER if key in found}
    except ValueError as error:
        raise TarError(f"is damaged in an extended header ({error}); copy or download it again") from error
