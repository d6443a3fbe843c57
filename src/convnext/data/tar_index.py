"""Where each picture of a tar lies, found by reading its headers and labels once.

A sample of the WebDataset layout is the members that share a key, the name up to the first dot of its last part: a
picture, and its label in .cls (a text) or .json (under "label", "class" or "cls").
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from convnext.data.labelled import few, plain_label
from convnext.data.pictures import PICTURE_ENDINGS
from convnext.data.splits import Integers
from convnext.data.tar import TarError, TarMember, tar_members
from convnext.data.texts import Texts
from convnext.data.tree import visible

Note = Callable[[str], None]

LABEL_KEYS = ("label", "class", "cls")
UNLABELLED = ""
# Large enough that one read has a header, and a label's header and contents behind it.
READ_BYTES = 4096
MOST_LABEL_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A tar by its name below the root, and what tells whether it has changed."""

    name: str
    bytes: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TarIndex:
    """The pictures of some shards, shard by shard in the order of the tar.

    counts            int64 (shards,): pictures of each
    names             of the members
    offsets, lengths  int64 (pictures,): where a picture lies in its tar, in bytes
    codes             int64 (pictures,): the number of its label among `texts`; the empty text is no label
    """

    shards: tuple[Shard, ...]
    counts: Integers
    names: Texts
    offsets: Integers
    lengths: Integers
    codes: Integers
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.offsets), len(self.lengths), len(self.codes), int(self.counts.sum())}
        if len(sizes) > 1 or len(self.counts) != len(self.shards):
            raise ValueError("the parts of a tar index do not fit each other")

    def __len__(self) -> int:
        return len(self.offsets)

    def one(self, number: int) -> "TarIndex":
        """Return the index of one of the shards."""
        start = int(self.counts[:number].sum())
        stop = start + int(self.counts[number])
        return TarIndex(
            shards=(self.shards[number],),
            counts=self.counts[number : number + 1],
            names=self.names.between(start, stop),
            offsets=self.offsets[start:stop],
            lengths=self.lengths[start:stop],
            codes=self.codes[start:stop],
            texts=self.texts,
        )

    @classmethod
    def joined(cls, parts: Sequence["TarIndex"]) -> "TarIndex":
        """Return the index of the shards of all parts."""
        numbers: dict[str, int] = {}
        # Parts of one file share their texts, so a table for each of these will do.
        tables: dict[int, Integers] = {}
        for part in parts:
            if id(part.texts) not in tables:
                table = [numbers.setdefault(text, len(numbers)) for text in part.texts]
                tables[id(part.texts)] = np.array(table, dtype=np.int64)
        used, codes = np.unique(
            np.concatenate([tables[id(part.texts)][part.codes] for part in parts]), return_inverse=True
        )
        texts = tuple(numbers)
        return cls(
            shards=tuple(shard for part in parts for shard in part.shards),
            counts=np.concatenate([part.counts for part in parts]),
            names=Texts.joined([part.names for part in parts]),
            offsets=np.concatenate([part.offsets for part in parts]),
            lengths=np.concatenate([part.lengths for part in parts]),
            codes=codes.astype(np.int64),
            texts=tuple(texts[number] for number in used),
        )


class _Picture(NamedTuple):
    member: TarMember
    name: str
    ending: str


def index_shard(path: Path, shard: Shard, note: Note) -> TarIndex:
    """Index one tar; TarError where it cannot be read to its end or cannot be understood.

    Where it has no labels at all, each picture counts for itself: the folders may tell its class.
    """
    pictures: dict[str, list[_Picture]] = {}
    labels: dict[str, str] = {}
    links: list[str] = []
    with path.open("rb", buffering=READ_BYTES) as file:
        for member in tar_members(file, shard.bytes):
            name = member.name.removeprefix("./").lstrip("/")
            key, ending = _key(name)
            if member.kind == "other" or not ending or not visible(name):
                continue
            if member.kind == "link":
                links.append(name)
            elif ending in ("cls", "json"):
                _add_label(labels, key, ending, _label(file, member, ending))
            elif f".{ending.rpartition('.')[2]}" in PICTURE_ENDINGS:
                pictures.setdefault(key, []).append(_Picture(member, name, ending))
    if links:
        raise TarError(
            f"holds links, not files ({few(links)}); make it again with tar --dereference --hard-dereference"
        )
    lost = [key for key in labels if key not in pictures]
    if lost and len(lost) < len(labels):
        note(f"warning: labels without a picture in {shard.name} are left out: {few(lost)}")
    return _assembled(shard, pictures, labels)


def _assembled(shard: Shard, pictures: Mapping[str, list[_Picture]], labels: Mapping[str, str]) -> TarIndex:
    if labels:
        rows = [(_one_of(key, group), labels.get(key, UNLABELLED)) for key, group in pictures.items()]
    else:
        rows = [(picture, UNLABELLED) for group in pictures.values() for picture in group]
    rows.sort(key=lambda row: row[0].member.offset)
    twice = [name for name, count in Counter(picture.name for picture, _ in rows).items() if count > 1]
    if twice:
        raise TarError(f"holds {few(twice)} more than once; make it again with each name once")
    texts = tuple(sorted({label for _, label in rows}))
    codes = {text: code for code, text in enumerate(texts)}
    return TarIndex(
        shards=(shard,),
        counts=np.array([len(rows)], dtype=np.int64),
        names=Texts.of(picture.name for picture, _ in rows),
        offsets=np.array([picture.member.offset for picture, _ in rows], dtype=np.int64),
        lengths=np.array([picture.member.length for picture, _ in rows], dtype=np.int64),
        codes=np.array([codes[label] for _, label in rows], dtype=np.int64),
        texts=texts,
    )


def _key(name: str) -> tuple[str, str]:
    """Return the key of a member's sample, and what comes after it, in lower case."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return f"{folder}{slash}{stem}", ending.lower()


def _one_of(key: str, group: Sequence[_Picture]) -> _Picture:
    """Return the picture of a sample; x.jpg goes before x.mask.png."""
    plain = [picture for picture in group if "." not in picture.ending]
    candidates = plain or list(group)
    if len(candidates) > 1:
        names = few([picture.name for picture in candidates])
        raise TarError(f"holds several pictures for the sample {key!r} ({names}); make it again with one for each")
    return candidates[0]


def _add_label(labels: dict[str, str], key: str, ending: str, label: str | None) -> None:
    if label is not None and (ending == "cls" or key not in labels):
        labels[key] = label


def _label(file: BinaryIO, member: TarMember, ending: str) -> str | None:
    """Return the label text in a member, None where it holds none."""
    if member.length > MOST_LABEL_BYTES:
        return None
    file.seek(member.offset)
    text = file.read(member.length).decode("utf-8", "replace")
    if ending == "cls":
        return plain_label(text) or None
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise TarError(f"holds {member.name}, which is no JSON ({error}); make it again") from error
    found = [value[key] for key in LABEL_KEYS if key in value] if isinstance(value, Mapping) else []
    return plain_label(str(found[0])) or None if found and isinstance(found[0], str | int) else None
