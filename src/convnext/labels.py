"""ImageNet's classes by WordNet id (wnid) and name, in the order of the heads of published checkpoints.

ImageNet-1K is ILSVRC 2012 with 1,000 classes. ImageNet-22K is the release of fall 2011 with 21,841, which the paper
uses. Both are numbered by sorted wnid, as in the checkpoints of the official code, timm and torchvision. Traps: the
release of winter 2021 has 19,167 classes, "21K-P" (11,221 or 10,450) and timm's 12K (11,821) are subsets, Google's
"21K" has two classes more (21,843): none of these heads is numbered like either map. One class of 1K is not in 22K:
the teddy bear.

Wnids, words and releases are those of timm's data/_info, which come from ImageNet and WordNet 3.0.
"""

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

from convnext.errors import UserError, nearest

DATA_FILE = "imagenet_synsets.tsv.gz"
NUM_CLASSES_1K, NUM_CLASSES_22K = 1000, 21841
IN_ORDER_SHARE = 0.9
# Of two classes with the same first word, torchvision's names for the later or rarer one.
TOLD_APART = {"n02012849": "crane bird", "n03710721": "maillot tank suit"}
# The teddy bear is not in 22K; "a device regarded as providing amusement" is what comes nearest there. (The map that
# Swin's code ships takes a chemise for it, of which "teddy" is another word, and numbers Google's 21,843 classes.)
STAND_INS = {"n04399382": "n04461879"}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """The classes of a release, in the order of a head: ids such as n01440764, a name for each, and all its words.

    Names are readable and differ from each other: the first word, with more where that is not enough.
    """

    title: str
    wnids: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]

    def find(self, text: str) -> int | None:
        """Return the number of a wnid, a name or a word; None for one that is unknown or has several meanings.

        Words are found in any case and with underscores for spaces, unless that makes two classes one.
        """
        number = self._exact.get(text)
        return self._loose.get(_plain(text)) if number is None else number

    def index(self, text: str) -> int:
        """Return the number of a wnid, a name or a word; UserError for one that is unknown or has several meanings."""
        number = self.find(text)
        if number is None:
            raise UserError(f"{self.title} has no one class {text!r}{nearest(text, self.names)}")
        return number

    def in_order(self, texts: Sequence[str]) -> bool:
        """Tell whether texts name these classes, one after the other; a few may have names of their own."""
        right = sum(
            _plain(text) in (_plain(wnid), _plain(name), _plain(words), *_plain(words).split(", "))
            for text, wnid, name, words in zip(texts, self.wnids, self.names, self.words, strict=False)
        )
        return len(texts) == len(self.wnids) and right >= IN_ORDER_SHARE * len(texts)

    @cached_property
    def _exact(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for texts in (self.wnids, self.names, self.words):
            found = _told_once(enumerate(texts)) | found
        return found

    @cached_property
    def _loose(self) -> dict[str, int]:
        texts = {(number, _plain(text)) for number, line in enumerate(self.words) for text in (line, *line.split(", "))}
        texts |= {(number, _plain(name)) for number, name in enumerate(self.names)}
        return _told_once(texts)


@cache
def imagenet_1k() -> LabelMap:
    """Return the 1,000 classes of ILSVRC 2012, with torchvision's names."""
    rows = [(wnid, words) for wnid, words, releases in _rows() if "1k" in releases]
    names = tuple(TOLD_APART.get(wnid) or words.split(", ")[0] for wnid, words in rows)
    return LabelMap(
        title="ImageNet-1K",
        wnids=tuple(wnid for wnid, _ in rows),
        names=names,
        words=tuple(words for _, words in rows),
    )


@cache
def imagenet_22k() -> LabelMap:
    """Return the 21,841 classes of fall 2011; a name that others share carries all its words, or its wnid."""
    rows = [(wnid, words) for wnid, words, releases in _rows() if "22k" in releases]
    firsts = _told_once((number, words.split(", ")[0]) for number, (_, words) in enumerate(rows))
    wholes = _told_once((number, words) for number, (_, words) in enumerate(rows))
    names = tuple(
        words.split(", ")[0] if words.split(", ")[0] in firsts else words if words in wholes else f"{words} ({wnid})"
        for wnid, words in rows
    )
    return LabelMap(
        title="ImageNet-22K",
        wnids=tuple(wnid for wnid, _ in rows),
        names=names,
        words=tuple(words for _, words in rows),
    )


def label_map_of(num_classes: int) -> LabelMap | None:
    """Return the map of a head that has this many classes and no names of its own, or None."""
    return {NUM_CLASSES_1K: imagenet_1k, NUM_CLASSES_22K: imagenet_22k}.get(num_classes, lambda: None)()


@cache
def rows_of_1k_in_22k() -> tuple[int, ...]:
    """Return, for each class of 1K, its row in a head of 22K; the teddy bear has none there and gets that of "toy"."""
    numbers = {wnid: number for number, wnid in enumerate(imagenet_22k().wnids)}
    return tuple(numbers[STAND_INS.get(wnid, wnid)] for wnid in imagenet_1k().wnids)


def rows_for(labels: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Return the row of each class in a head with these labels, None for a class that the head does not know.

    A class is known by the same text. Where the labels are a release of ImageNet, or one side is all wnids, it is also
    known by wnid, name or any other word for it. Classes that are plainly numbered, "0" to the number of labels less
    one, are taken in order.
    """
    numbers = {label: row for row, label in enumerate(labels)}
    rows = [numbers.get(name) for name in classes]
    # A text that two labels share tells nothing.
    if None not in rows and len(numbers) == len(labels):
        return rows
    if list(classes) == [str(row) for row in range(len(labels))]:
        return list(range(len(labels)))
    release = label_map_of(len(labels))
    if not (release and release.in_order(labels)) and not all(map(is_wnid, labels)) and not all(map(is_wnid, classes)):
        return rows
    wnids = wnids_of(classes)
    by_wnid = _told_once(enumerate(wnids_of(labels)))
    found = [by_wnid.get(wnid, row) for wnid, row in zip(wnids, rows, strict=True)]
    if len(labels) != NUM_CLASSES_22K:
        return found
    return [
        by_wnid.get(STAND_INS.get(wnid, "")) if row is None else row for wnid, row in zip(wnids, found, strict=True)
    ]


def wnids_of(texts: Sequence[str]) -> list[str]:
    """Return the wnid of each of ImageNet's classes by any of its names, the empty text for one that is none of them.

    Texts that name all classes of a release in its order are told apart by their places, where words are shared.
    """
    whole = label_map_of(len(texts))
    if whole is not None and whole.in_order(texts):
        return list(whole.wnids)
    return [_wnid_of(text) for text in texts]


def _wnid_of(text: str) -> str:
    for classes in (imagenet_1k(), imagenet_22k()):
        number = classes.find(text)
        if number is not None:
            return classes.wnids[number]
    return ""


def readable(text: str) -> str:
    """Return the name for a wnid, with the wnid behind it; any other text as it is."""
    for classes in (imagenet_1k(), imagenet_22k()) if is_wnid(text) else ():
        number = classes.find(text)
        if number is not None:
            return f"{classes.names[number]} ({text})" if text not in classes.names[number] else classes.names[number]
    return text


def is_wnid(text: str) -> bool:
    """Tell whether a text is written like a WordNet id, n and eight digits."""
    return len(text) == 9 and text[0] == "n" and text[1:].isdecimal()


def _plain(text: str) -> str:
    return text.replace("_", " ").casefold()


def _told_once(texts: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Return the number of each text that stands for one number only; the empty text stands for none."""
    found: dict[str, int] = {}
    several = {""}
    for number, text in texts:
        if found.setdefault(text, number) != number:
            several.add(text)
    return {text: number for text, number in found.items() if text not in several}


@cache
def _rows() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return (wnid, words, releases), sorted by wnid."""
    text = gzip.decompress(files("convnext").joinpath(DATA_FILE).read_bytes()).decode()
    lines = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple((wnid, words, tuple(releases.split())) for wnid, words, releases in lines)
