"""Files written whole or not at all, and files of others read without running anything that is in them.

Our own checkpoints are safetensors with one JSON text of metadata and a SHA-256 over everything, so that a truncated
or changed file is noticed before its weights are used.
"""

import argparse
import contextlib
import errno
import hashlib
import json
import os
import pickle
import re
import secrets
import struct
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from convnext.errors import UserError

METADATA_KEY = "convnext"
HASH_KEY = "sha256"

# What a link fails of where there is no room for a name, as opposed to a file system that has no links.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# The safetensors names of the element types that a network, an optimizer or a random generator can hold.
_DTYPES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class DamagedFile(UserError):  # noqa: N818 - the name is what the caller asks for
    """A file that is empty, cut short or changed; what was kept of it before may still be whole."""


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], *, keep: Path | None = None
) -> None:
    """Write tensors and JSON-able metadata as a safetensors file with a hash, atomically.

    Tensors may share memory, be strided in any way and lie on any device. The file that was there becomes `keep`, a
    name in the same folder; see `replacing`. UserError when the place cannot be written or an element type has no name
    in the format; the old files then stay as they were.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise UserError(f"cannot save {name}: {tensor.dtype} has no place in a safetensors file; convert it")
    stored = {name: tensors[name].detach().cpu().contiguous() for name in _order(tensors)}
    text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=True)
    header = _header(stored, text, _digest(stored, text))
    with replacing(path, keep=keep) as temporary, temporary.open("xb") as file:
        file.write(header)
        for tensor in stored.values():
            file.write(_bytes_of(tensor))


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: the tensors, on the CPU, and the metadata.

    DamagedFile when the file is empty, truncated or changed by as little as one bit; UserError when it is missing or
    not one of ours.
    """
    path = existing_file(path)
    tensors, stored = _read_safetensors(path)
    if METADATA_KEY not in stored and HASH_KEY not in stored:
        raise UserError(f"{path} was not written by convnext: it carries no spec; convnext.load reads such files")
    if not _is_whole(path, tensors, stored):
        raise DamagedFile(f"{path} is damaged: its contents do not match its own hash; copy it again from where it was")
    metadata: dict[str, Any] = json.loads(stored[METADATA_KEY])
    return tensors, metadata


def put_back(keep: Path, path: Path) -> None:
    """Put the file that was kept in the place of a damaged or lost one; UserError when the place cannot be written.

    Otherwise the next `write_tensors(path, ..., keep=keep)` would keep the damaged file.
    """
    try:
        keep.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    _flush_folder(path.parent)


def is_own_file(path: str | Path) -> bool:
    """Tell whether a file is a safetensors file with our metadata, without reading its tensors."""
    return _metadata_text(existing_file(path)) is not None


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Return our metadata of a file without reading its tensors or holding its hash, None where it has none."""
    text = _metadata_text(existing_file(path))
    metadata: dict[str, Any] | None = None if text is None else json.loads(text)
    return metadata


def _metadata_text(path: Path) -> str | None:
    if not _looks_like_safetensors(path):
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text: str | None = (file.metadata() or {}).get(METADATA_KEY)
            return text
    except SafetensorError:
        raise _damaged(path) from None


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, atomically; UserError when the place cannot be written."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON value, indented, atomically; UserError when the place cannot be written."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds; UserError names the file where it cannot be read or holds no object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} cannot be read ({why}); put it back from a copy, or move it away") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} cannot be read (it holds no JSON object); put it back from a copy, or move it away")
    return value


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write bytes, atomically; UserError when the place cannot be written."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(data)


def write_pickle(path: str | Path, value: Any) -> None:
    """Write a value as torch.save does (a .pth file), atomically; UserError when the place cannot be written."""
    # Into memory first: torch.save turns a full disk into an error of its own that does not say so.
    buffer = BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getvalue())


@contextlib.contextmanager
def replacing(path: str | Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there takes its place, flushed to disk, if all goes well.

    The old file becomes `keep`, a name in the same folder, so that whenever the machine stops, a whole file is there
    under one of the two names. On any failure the temporary file is removed and the old files stay; a failure of the
    file system becomes a UserError that says what to do.
    """
    path = Path(path)
    if not path.name:
        raise UserError(f"cannot write {path}: it is a folder; give the name of a file")
    temporary = _partial(path)
    try:
        yield temporary
        flush(temporary)
        if keep is not None and path.exists():
            _rotate(temporary, path, keep)
        else:
            temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _rotate(new: Path, path: Path, keep: Path) -> None:
    """Make the file at `path` `keep` and `new` `path`, never without a whole file at `path` where there are links."""
    second = _partial(keep)
    try:
        os.link(path, second)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        # No links on FAT and some network file systems: for a moment the old file is there as `keep` alone.
        path.replace(keep)
        new.replace(path)
        return
    try:
        new.replace(path)
        # Now, not before, `keep` may go: should the old file be damaged, it was the only good one.
        _flush_folder(path.parent)
        second.replace(keep)
    finally:
        # Between two names of one file a rename does nothing, and both stay.
        second.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def _flush_folder(folder: Path) -> None:
    # The files are in place by now; some network file systems cannot flush a folder.
    with contextlib.suppress(OSError):
        flush(folder)


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the sentence for a file that could not be written: what is wrong and what to do."""
    advice = {
        errno.ENOSPC: "the disk is full; free some space or take another folder",
        errno.EDQUOT: "your disk quota is used up; free some space or take another folder",
        errno.EFBIG: "the file would be larger than is allowed here (see ulimit -f); take another folder",
        errno.EROFS: "the file system is read-only; take another folder",
        errno.EACCES: "you may not write there; take another folder or change its permissions",
        errno.EPERM: "you may not write there; take another folder or change its permissions",
        errno.ENOENT: f"there is no folder {path.parent} that can be written; make it first or take another",
        errno.ENOTDIR: f"{path.parent} is not a folder; take another",
        errno.EISDIR: "it is a folder; give the name of a file",
        errno.ENAMETOOLONG: "the name is too long; take a shorter one",
    }
    reason = advice.get(error.errno or 0, f"{error.strerror or error}; take another folder")
    return UserError(f"cannot write {path}: {reason}")


def existing_file(path: str | Path) -> Path:
    """Return the path of a file that can be read; UserError says what is there instead."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file; name the checkpoint inside it")
    if not path.exists():
        raise UserError(f"there is no file {path}; check the name")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read; change its permissions")
    return path


def read_foreign(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that another program wrote (.pth, .pt, .bin or .safetensors), running nothing from it.

    Pickles may hold tensors, plain values, argparse.Namespace and numpy scalars; anything else is refused with a
    UserError that names it. Which kind of file it is is told by its first bytes, not by its name.
    """
    path = existing_file(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; download or copy it again")
    if _looks_like_safetensors(path):
        tensors, _ = _read_safetensors(path)
        return dict(tensors)
    with path.open("rb") as file:
        start = file.read(512).lstrip()
    if start[:1] == b"<":
        raise UserError(f"{path} is a web page, not a checkpoint; download the file itself, not the page about it")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a Git LFS pointer, not the checkpoint; run git lfs pull where it came from")
    value = _unpickle(path)
    if not isinstance(value, Mapping):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UserError(f"{path} holds a {kind}, not a dictionary of tensors; save model.state_dict() instead")
    return dict(value)


def _unpickle(path: Path) -> Any:
    try:
        # An open file, because torch.load would judge a path by its suffix.
        with (
            path.open("rb") as file,
            torch.serialization.safe_globals(_allowed_globals()),
            warnings.catch_warnings(),
        ):
            # torch warns of pickles that it did not write itself; the sentence below says more.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from None
    # A damaged file may trip torch's reader (even its seek) or its unpickler, so any other failure means the same.
    except Exception:
        raise _damaged(path) from None


def _refused(path: Path, error: Exception) -> UserError:
    text = str(error)
    found = re.search(r"(?:Unsupported global: )?GLOBAL ([\w.]+)|(?:Unsupported class|class) ([\w]+(?:\.[\w]+)+)", text)
    with path.open("rb") as file:
        # The opcode that opens every pickle from protocol 2 on, and the highest protocol that there is.
        plain = re.fullmatch(rb"\x80[\x02-\x05]", file.read(2)) is not None
    if found is None and plain:
        return UserError(
            f"{path} is a plain pickle, which may hold code, and not a file of torch.save, so it was not loaded; "
            "where it was made, save with torch.save(model.state_dict(), ...), or as safetensors"
        )
    if found is None:
        return _damaged(path)
    return UserError(
        f"{path} holds an object of {found[1] or found[2]}, and loading it would run code from the file, so it was not "
        "loaded; where the file was made, save model.state_dict() alone, or a safetensors file, and load that"
    )


def _allowed_globals() -> list[Any]:
    """Return what official, timm and torchvision training checkpoints hold beside tensors: none of it runs code."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in "?bhilqBHILQefdSU"}
    # numpy 2 renamed its module; files written before name the old one.
    old_name = "numpy.core.multiarray.scalar"
    new_name = "numpy._core.multiarray.scalar"
    return [argparse.Namespace, np.dtype, *kinds, (scalar, old_name), (scalar, new_name)]


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    # A changed type or shape may pass the reader and trip torch, so any failure means the same.
    except Exception:
        raise _damaged(path) from None


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    # Eight bytes of header length, then the JSON header; a zip or a pickle starts otherwise.
    return start[6:] == b"\0\0{"


def _damaged(path: Path) -> DamagedFile:
    return DamagedFile(f"{path} is not a checkpoint, or is damaged or cut short; download or copy it again")


def _is_whole(path: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, str]) -> bool:
    """Tell whether a file of ours is what was written, to the last blank of its header."""
    if METADATA_KEY not in stored or HASH_KEY not in stored:
        return False
    if any(tensor.dtype not in _DTYPES for tensor in tensors.values()):
        return False
    if _digest(tensors, stored[METADATA_KEY]) != stored[HASH_KEY]:
        return False
    header = _header({name: tensors[name] for name in _order(tensors)}, stored[METADATA_KEY], stored[HASH_KEY])
    with path.open("rb") as file:
        return file.read(len(header)) == header


def _order(tensors: Mapping[str, Tensor]) -> list[str]:
    # Wider elements first keeps every tensor aligned, as the safetensors library itself orders them.
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _header(tensors: Mapping[str, Tensor], metadata_text: str, digest: str) -> bytes:
    """Return the start of a safetensors file that holds these tensors in this order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", METADATA_KEY: metadata_text, HASH_KEY: digest}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header, ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    return struct.pack("<Q", len(encoded)) + encoded


def _digest(tensors: Mapping[str, Tensor], metadata_text: str) -> str:
    """Return the SHA-256 over the metadata and each tensor's name, type, shape and bytes, in the order of names."""
    digest = hashlib.sha256(json.dumps(metadata_text).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a contiguous CPU tensor, without a copy."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def flush(path: Path) -> None:
    """Ask the system to have a file or folder on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
