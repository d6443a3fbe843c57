"""The index of a set of tars, kept in a file beside them and taken from it while they stay as they are."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convnext.data.labelled import SHOWN
from convnext.data.tar import TarError
from convnext.data.tar_index import Note, Shard, TarIndex, index_shard
from convnext.data.texts import Texts
from convnext.errors import UserError
from convnext.files import replacing

INDEX_FILE = ".convnext-index.npz"
# Where the tars lie in a place that may not be written.
INDEX_FOLDER = "~/.cache/convnext/shards"
INDEX_VERSION = 1
TELL_SECONDS = 10.0


def open_index(root: Path, names: Sequence[str], note: Note) -> TarIndex:
    """Return the index of the shards with these names below a root, from its file as far as that is still true.

    note: is told when shards are indexed, which may take minutes, and what is odd about them.

    UserError that names the shards which are missing, cut short, damaged, compressed or otherwise of no use; what was
    indexed of the others is kept.
    """
    shards = [_shard(root, name) for name in names]
    places = (root / INDEX_FILE, _far_place(root))
    kept = _kept(places, note)
    missing = [shard for shard in shards if shard not in kept]
    if missing:
        what = f"{len(missing)} of {len(shards)} shards" if len(missing) < len(shards) else f"{len(shards)} shards"
        note(f"indexing {what} of {root}, once{' (new, or changed since)' if kept else ''}")
        kept = {shard: index for shard, index in kept.items() if _unchanged(root, shard)}
        try:
            _index(root, missing, kept, note)
        finally:
            _keep(places, list(kept.values()), note)
    return TarIndex.joined([kept[shard] for shard in shards])


def _index(root: Path, shards: Sequence[Shard], kept: dict[Shard, TarIndex], note: Note) -> None:
    """Index shards into `kept`; UserError at the end for those that cannot be."""
    failed: list[str] = []
    told = time.monotonic()
    for number, shard in enumerate(shards):
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            note(f"indexed {number:,} of {len(shards):,} shards")
        try:
            kept[shard] = index_shard(root / shard.name, shard, note)
        except (TarError, OSError) as error:
            failed.append(
                f"{root / shard.name} {error if isinstance(error, TarError) else f'cannot be read ({error})'}"
            )
    if failed:
        more = f" -- and {len(failed) - SHOWN} shards more" if len(failed) > SHOWN else ""
        several = f"{len(failed)} of the shards cannot be used: " if len(failed) > 1 else ""
        raise UserError(several + " -- ".join(failed[:SHOWN]) + more)


def _shard(root: Path, name: str) -> Shard:
    try:
        status = (root / name).stat()
    except OSError as error:
        raise UserError(f"{root / name} cannot be read: {error.strerror}") from error
    return Shard(name=name, bytes=status.st_size, changed_ns=status.st_mtime_ns)


def _unchanged(root: Path, shard: Shard) -> bool:
    try:
        return _shard(root, shard.name) == shard
    except UserError:
        return False


def _far_place(root: Path) -> Path:
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Path(INDEX_FOLDER).expanduser() / f"{name}.npz"


def _kept(places: Sequence[Path], note: Note) -> dict[Shard, TarIndex]:
    """Return what the index files hold, shard by shard."""
    found: dict[Shard, TarIndex] = {}
    for place in places:
        if not place.is_file():
            continue
        try:
            index = _read(place)
        # A damaged zip may raise anything on its way to the numbers in it.
        except Exception as error:
            note(f"warning: the index {place} is damaged and is made anew ({error})")
            continue
        found |= {shard: index.one(number) for number, shard in enumerate(index.shards)}
    return found


def _keep(places: Sequence[Path], indices: Sequence[TarIndex], note: Note) -> None:
    """Write the index to the first place that can be written."""
    if not indices:
        return
    index = TarIndex.joined(indices)
    reasons: list[str] = []
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, index)
        except (UserError, OSError) as error:
            reasons.append(str(error))
        else:
            return
    note(f"warning: the index cannot be kept, so it is made anew each time ({'; '.join(reasons)})")


def _write(path: Path, index: TarIndex) -> None:
    told = {
        "version": INDEX_VERSION,
        "shards": [[shard.name, shard.bytes, shard.changed_ns] for shard in index.shards],
        "texts": index.texts,
    }
    with replacing(path) as temporary, temporary.open("xb") as file:
        np.savez(
            file,
            told=np.frombuffer(json.dumps(told).encode(), dtype=np.uint8),
            counts=index.counts,
            letters=index.names.letters,
            ends=index.names.ends,
            offsets=index.offsets,
            lengths=index.lengths,
            codes=index.codes,
        )


def _read(path: Path) -> TarIndex:
    # Opened here, because np.load leaves the file open where it fails.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        told: Mapping[str, Any] = json.loads(arrays["told"].tobytes())
        if told["version"] != INDEX_VERSION:
            raise ValueError(f"it has version {told['version']}")
        return TarIndex(
            shards=tuple(Shard(name=name, bytes=size, changed_ns=ns) for name, size, ns in told["shards"]),
            counts=arrays["counts"],
            names=Texts(letters=arrays["letters"], ends=arrays["ends"]),
            offsets=arrays["offsets"],
            lengths=arrays["lengths"],
            codes=arrays["codes"],
            texts=tuple(told["texts"]),
        )
