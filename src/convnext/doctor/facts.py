"""What the doctor knows of the data and the machine, gathered quickly: counts, and a look at a few hundred pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from convnext.data.check.balance import class_counts
from convnext.data.check.look import look_at
from convnext.data.pictures import PictureError
from convnext.data.sources import Source
from convnext.data.splits import PassedOver
from convnext.machine import cores, free_disk_bytes

LOOKED_AT = 200
RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the rules go by, beside the recipe and the network.

    train_counts, val_counts   pictures by class
    median_side_px             shorter side of a typical picture; 0 where none could be read
    looked_at, unreadable      how many pictures were read, and why some could not be, by name
    passed_over                files among the pictures that are none by their ending
    min_crop_scale             smallest share of a picture that keeps its label true
    pretrained                 training goes on from given weights
    processes                  that train together; `local_processes` of them on this machine
    device, has_bfloat16       of the machine that is looked at; bfloat16 in hardware
    cores, free_disk_bytes     of this machine
    """

    train_counts: Mapping[str, int]
    val_counts: Mapping[str, int]
    median_side_px: int
    looked_at: int = 0
    unreadable: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    min_crop_scale: float = 0.08
    pretrained: bool = False
    processes: int = 1
    local_processes: int = 1
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    has_bfloat16: bool = False
    cores: int = 2
    free_disk_bytes: int | None = None

    @property
    def num_train(self) -> int:
        """Pictures to train on."""
        return sum(self.train_counts.values())

    @property
    def num_val(self) -> int:
        """Pictures held out."""
        return sum(self.val_counts.values())

    @property
    def looked_at_all(self) -> bool:
        """Whether there were so few pictures that every one was read."""
        return self.looked_at == self.num_train + self.num_val

    @property
    def num_classes(self) -> int:
        """Classes to tell apart."""
        return len(self.train_counts)


def gather_facts(
    source: Source, *, device: torch.device, processes: int, pretrained: bool, folder: Path = RUNS
) -> Facts:
    """Look at the data and at this machine; folder: where the run's files will lie."""
    split = source.whole()
    places = np.unique(np.linspace(0, len(split) - 1, min(LOOKED_AT, len(split))).round().astype(int))
    sides: list[int] = []
    unreadable: list[str] = []
    for place in places.tolist():
        try:
            look = look_at(split, place)
        except PictureError as error:
            unreadable.append(str(error))
        else:
            sides.append(min(look.width_px, look.height_px))
    here = torch.cuda.device_count() if device.type == "cuda" else 1
    return Facts(
        train_counts=class_counts(source.train, source.classes),
        val_counts=class_counts(source.val, source.classes),
        median_side_px=int(np.median(sides)) if sides else 0,
        looked_at=len(places),
        unreadable=tuple(unreadable),
        passed_over=source.passed_over,
        min_crop_scale=source.label_safe.min_crop_scale,
        pretrained=pretrained,
        processes=processes,
        local_processes=min(processes, here),
        device=_kind(device),
        has_bfloat16=device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False),
        cores=cores(),
        free_disk_bytes=free_disk_bytes(folder),
    )


def _kind(device: torch.device) -> Literal["cpu", "cuda", "mps"]:
    match device.type:
        case "cuda" | "mps" as kind:
            return kind
        case _:
            return "cpu"
