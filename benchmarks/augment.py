"""Images per second that one core brings from a JPEG's bytes to a varied training picture, beside timm's transforms.

python benchmarks/augment.py IMAGES_ZIP [--rounds N]

The whole recipe of the paper at 224 pixels: decoding, random resized crop, flip, RandAugment. Ours ends as uint8 in a
batch, and the device normalises and erases; so does timm's with its prefetcher; timm's plain one does all on the core.
"""

import argparse
import io
import random
import statistics
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import ROOT, heading, write
from timm.data import create_transform

from convnext.data.loader import TrainLoader
from convnext.data.pictures import read_picture
from convnext.data.splits import LabelSafe, Split
from convnext.preprocess import IMAGENET_MEAN, IMAGENET_STD
from convnext.recipe import Augment

SIZE, POLICY, BATCH = 224, "rand-m9-mstd0.5-inc1", 50
AUGMENT = Augment(crop_scale=(0.08, 1.0), flip=0.5, interpolation="bicubic", randaugment=POLICY)
TIMM: dict[str, Any] = {
    "input_size": SIZE,
    "is_training": True,
    "auto_augment": POLICY,
    "interpolation": "bicubic",
    "re_prob": 0.25,
    "re_mode": "pixel",
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
}


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files in memory, so that no disk is measured."""

    files: tuple[bytes, ...]

    def name(self, entry: int) -> str:
        return str(entry)

    def encoded(self, entry: int) -> bytes:
        return self.files[entry]

    def picture(self, entry: int) -> Image.Image:
        return read_picture(self.files[entry], self.name(entry))


def ours(split: Split, *, reduced: bool) -> Callable[[int], None]:
    """Return a pass over all pictures by the training loader, in this process."""
    loader = TrainLoader(
        split,
        size=SIZE,
        augment=AUGMENT,
        label_safe=LabelSafe(),
        batch_size=BATCH,
        seed=0,
        workers=0,
        reduced_decode=reduced,
    )

    def one_pass(epoch: int) -> None:
        for batch in loader.epoch(epoch):
            assert not batch.unreadable

    return one_pass


def timms(files: tuple[bytes, ...], *, prefetcher: bool) -> Callable[[int], None]:
    """Return a pass over all pictures by timm, decoded as timm's own data sets decode."""
    transform = create_transform(**TIMM, use_prefetcher=prefetcher)

    def one_pass(epoch: int) -> None:
        random.seed(epoch)
        np.random.seed(epoch)
        for data in files:
            # Pillow from version 12 on refuses to keep no bits at all, which timm asks for now and then.
            with Image.open(io.BytesIO(data)) as image, warnings.catch_warnings():
                try:
                    transform(image.convert("RGB"))
                except ValueError as error:
                    assert "bits" in str(error)

    return one_pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="a zip of JPEGs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "augment.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with zipfile.ZipFile(asked.images) as archive:
        files = tuple(archive.read(name) for name in archive.namelist() if name.lower().endswith((".jpeg", ".jpg")))
    files = files[: len(files) // BATCH * BATCH]  # the loader leaves out a last, shorter batch
    numbers = np.arange(len(files))
    split = Split(store=Files(files=files), entries=numbers, labels=numbers)
    variants = {
        "timm": timms(files, prefetcher=False),
        "timm, prefetcher": timms(files, prefetcher=True),
        "convnext": ours(split, reduced=False),
        "convnext, reduced decode": ours(split, reduced=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(asked.rounds + 1):
        for name, one_pass in variants.items():
            start = time.perf_counter()
            one_pass(number)
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    ratios = {
        base: statistics.median(a / b for a, b in zip(seconds[base], seconds["convnext"], strict=True))
        for base in ("timm", "timm, prefetcher")
    }
    opening = heading("python benchmarks/augment.py IMAGES_ZIP")
    record = {
        **opening,
        "versions": opening["versions"] | {name: version(name) for name in ("pillow", "simplejpeg", "timm")},
        "data": f"{len(files)} JPEGs of ImageNet, in memory; median {statistics.median(map(len, files)):,.0f} bytes",
        "recipe": f"{SIZE} pixels, crop 0.08-1, flip 0.5, {POLICY}; one process, one thread",
        "rounds": asked.rounds,
        "images_per_second": {
            name: round(len(files) / statistics.median(values), 1) for name, values in seconds.items()
        },
        "times_faster": {base: round(ratio, 2) for base, ratio in ratios.items()},
    }
    write(asked.out, record)
    print(record["images_per_second"], record["times_faster"])


if __name__ == "__main__":
    main()
