"""Many short texts in two arrays, so that a million names cost their letters and are shared by all readers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convnext.data.splits import Integers


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Texts by number: their UTF-8 bytes one after the other, and where each ends.

    letters: uint8 (bytes,); ends: int64 (texts,)
    """

    letters: NDArray[np.uint8]
    ends: Integers

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Pack texts."""
        packed = [text.encode() for text in texts]
        ends = np.cumsum(np.fromiter(map(len, packed), dtype=np.int64, count=len(packed)), dtype=np.int64)
        return cls(letters=np.frombuffer(b"".join(packed), dtype=np.uint8), ends=ends)

    @classmethod
    def joined(cls, parts: Sequence["Texts"]) -> "Texts":
        """Return the texts of all parts, one part after the other."""
        if not parts:
            return cls.of(())
        starts = np.cumsum([0, *(len(part.letters) for part in parts[:-1])])
        return cls(
            letters=np.concatenate([part.letters for part in parts]),
            ends=np.concatenate([part.ends + start for part, start in zip(parts, starts, strict=True)]),
        )

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = int(self.ends[number - 1]) if number else 0
        return self.letters[start : int(self.ends[number])].tobytes().decode()

    def between(self, start: int, stop: int) -> "Texts":
        """Return the texts from `start` to before `stop`."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return Texts(letters=self.letters[first:last], ends=self.ends[start:stop] - first)
