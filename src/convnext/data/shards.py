"""Tar shards in WebDataset layout as an ordinary data set: any picture can be read at any time, by its place in a tar.

A stream with a shuffle buffer, as such shards are usually read, could neither go on exactly where it was stopped nor
promise each picture once over ranks and workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.archives import MAX_MEMBER_BYTES
from convnext.data.labelled import SHOWN, Labelled, class_names_beside, few, labelled_source
from convnext.data.part_names import WHOLE, common_root, parts_of
from convnext.data.pictures import PictureError, read_picture
from convnext.data.splits import Integers, Source
from convnext.data.tar_index import UNLABELLED, Note, TarIndex
from convnext.data.tar_index_file import open_index
from convnext.data.texts import Texts
from convnext.data.tree import VAL_NAMES, Listing, source_from_listing
from convnext.errors import UserError
from convnext.labels import is_wnid

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
LABELS_WANTED = "beside each picture there must be its label in .cls, or in .json under label, class or cls"


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardStore:
    """Pictures by shard, offset and length: a few bytes a picture, however many there are.

    The tar is opened for each read, as ZipStore does: there is no handle to share between processes, to pickle, or to
    leak.

    shards             the tars by their names below the root
    numbers            int32 (pictures,): which shard holds a picture
    offsets, lengths   int64 (pictures,): in bytes
    """

    root: Path
    shards: tuple[str, ...]
    numbers: NDArray[np.int32]
    offsets: Integers
    lengths: Integers
    names: Texts

    def name(self, entry: int) -> str:
        """Return the tar and the name in it."""
        return f"{self.shards[int(self.numbers[entry])]}/{self.names[entry]}"

    def picture(self, entry: int) -> Image.Image:
        """Read and decode one member."""
        return read_picture(self.encoded(entry), self.name(entry))

    def encoded(self, entry: int) -> bytes:
        """Read one member."""
        length = int(self.lengths[entry])
        if length > MAX_MEMBER_BYTES:
            raise PictureError(f"{self.name(entry)}: refused, it has {length:,} bytes")
        try:
            with (self.root / self.shards[int(self.numbers[entry])]).open("rb") as file:
                file.seek(int(self.offsets[entry]))
                data = file.read(length)
        except OSError as error:
            raise PictureError(f"{self.name(entry)}: cannot be read ({error.strerror})") from error
        if len(data) < length:
            raise PictureError(f"{self.name(entry)}: cannot be read (the tar has become shorter since it was indexed)")
        return data


def open_shards(where: str, paths: Sequence[Path], *, seed: int, val_fraction: float, note: Note) -> Source:
    """Return the source of some tars, in their order.

    where: what to call them. The folder train or val that a tar lies in, or such a word in its name, says which part it
    belongs to; without both parts all of them are split by the seed. A tar without any label in it is taken as one of
    class folders.

    UserError for shards that cannot be read to their end, and samples without a label.
    """
    root = common_root(paths)
    parts = parts_of(where, [path.relative_to(root).as_posix() for path in paths])
    index = open_index(root, list(parts), note)
    if len(index) == 0:
        raise UserError(f"{where} has no pictures in its {len(parts)} shards")
    store = ShardStore(
        root=root,
        shards=tuple(parts),
        numbers=np.repeat(np.arange(len(parts), dtype=np.int32), index.counts),
        offsets=index.offsets,
        lengths=index.lengths,
        names=index.names,
    )
    if index.texts == (UNLABELLED,):
        return _of_class_folders(where, store, parts, seed=seed, val_fraction=val_fraction)
    _check_labels(where, store, index)
    held_out = np.array([part in VAL_NAMES for part in parts.values()], dtype=bool)
    given = Labelled(
        where=where,
        store=store,
        texts=index.texts,
        labels=index.codes,
        held_out=held_out[store.numbers] if held_out.any() else None,
    )
    return labelled_source(given, class_names_beside(root), seed=seed, val_fraction=val_fraction)


def _check_labels(where: str, store: ShardStore, index: TarIndex) -> None:
    if UNLABELLED not in index.texts:
        return
    without = np.flatnonzero(index.codes == index.texts.index(UNLABELLED))
    names = few([store.name(int(one)) for one in without[:SHOWN]])
    raise UserError(f"{where} has {len(without)} pictures without a label ({names}); {LABELS_WANTED}")


def _of_class_folders(
    where: str, store: ShardStore, parts: Mapping[str, str], *, seed: int, val_fraction: float
) -> Source:
    """Return the source of tars without labels, from the folders in them; a tar may be a class by its wnid, too."""
    files: dict[str, int] = {}
    for entry, number in enumerate(store.numbers.tolist()):
        shard, name = store.shards[number], store.names[entry]
        part, wnid = parts[shard], PurePosixPath(shard).stem
        name = f"{wnid}/{name}" if is_wnid(wnid) else name.removeprefix(f"{part}/")
        name = name if part == WHOLE else f"{part}/{name}"
        if name in files:
            raise UserError(f"{where} has {name} in two of its shards; give each picture a name of its own")
        files[name] = entry
    if all(name.count("/") < (1 if part == WHOLE else 2) for name in files):
        raise UserError(f"{where} has {len(files)} pictures and no labels; {LABELS_WANTED}")

    def chosen(names: tuple[str, ...]) -> ShardStore:
        entries = [files[name] for name in names]
        return replace(
            store,
            numbers=store.numbers[entries],
            offsets=store.offsets[entries],
            lengths=store.lengths[entries],
            names=Texts.of(store.names[entry] for entry in entries),
        )

    listing = Listing(where=where, files=tuple(files), folders=())
    return source_from_listing(listing, chosen, seed=seed, val_fraction=val_fraction)
