"""What the doctor knows of the data and the machine, gathered quickly: counts, and a look at a few hundred pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from convnext.data.check.balance import class_counts
from convnext.data.check.look import look_at
from convnext.data.dense.splits import DenseSource, DenseSplit, Kind, LabelError
from convnext.data.pictures import PictureError
from convnext.data.sources import Source
from convnext.data.splits import PassedOver
from convnext.machine import cores, free_disk_bytes

LOOKED_AT = 200
RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that the rules go by, beside the recipe and the network.

    train_counts, val_counts   pictures by class; empty in detection and segmentation, whose pictures have several
    dense                      there: pictures to train on, held out, and classes
    wrong_labels               there: why labels of some pictures that were looked at would end the run
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
    dense: tuple[int, int, int] | None = None
    wrong_labels: tuple[str, ...] = ()
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
        return sum(self.train_counts.values()) if self.dense is None else self.dense[0]

    @property
    def num_val(self) -> int:
        """Pictures held out."""
        return sum(self.val_counts.values()) if self.dense is None else self.dense[1]

    @property
    def looked_at_all(self) -> bool:
        """Whether there were so few pictures that every one was read."""
        return self.looked_at == self.num_train + self.num_val

    @property
    def num_classes(self) -> int:
        """Classes to tell apart."""
        return len(self.train_counts) if self.dense is None else self.dense[2]


def gather_facts(
    source: Source | DenseSource,
    *,
    device: torch.device,
    processes: int,
    pretrained: bool,
    folder: Path = RUNS,
    masks: bool = False,
) -> Facts:
    """Look at the data and at this machine; folder: where the run's files will lie; masks: whether they are learned."""
    here = torch.cuda.device_count() if device.type == "cuda" else 1
    machine = Facts(
        train_counts={},
        val_counts={},
        median_side_px=0,
        pretrained=pretrained,
        processes=processes,
        local_processes=min(processes, here),
        device=_kind(device),
        has_bfloat16=device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False),
        cores=cores(),
        free_disk_bytes=free_disk_bytes(folder),
    )
    if isinstance(source, DenseSource):
        return _with_objects(machine, source, masks=masks)
    return _with_pictures(machine, source)


def _with_pictures(machine: Facts, source: Source) -> Facts:
    split = source.whole()
    places = _spread(len(split), LOOKED_AT)
    sides: list[int] = []
    unreadable: list[str] = []
    for place in places:
        try:
            look = look_at(split, place)
        except PictureError as error:
            unreadable.append(str(error))
        else:
            sides.append(min(look.width_px, look.height_px))
    return replace(
        machine,
        train_counts=class_counts(source.train, source.classes),
        val_counts=class_counts(source.val, source.classes),
        median_side_px=_median(sides),
        looked_at=len(places),
        unreadable=tuple(unreadable),
        passed_over=source.passed_over,
        min_crop_scale=source.label_safe.min_crop_scale,
    )


def _with_objects(machine: Facts, source: DenseSource, *, masks: bool) -> Facts:
    sides: list[int] = []
    unreadable: list[str] = []
    wrong: list[str] = []
    total = len(source.train) + len(source.val)
    looked_at = 0
    for split in (source.train, source.val):
        places = _spread(len(split), max(1, LOOKED_AT * len(split) // max(1, total)))
        looked_at += len(places)
        for place in places:
            try:
                sides.append(min(_size_with_labels(split, place, source.kind, masks=masks)))
            except PictureError as error:
                unreadable.append(str(error))
            except LabelError as error:
                wrong.append(str(error))
    return replace(
        machine,
        dense=(len(source.train), len(source.val), len(source.classes)),
        median_side_px=_median(sides),
        looked_at=looked_at,
        unreadable=tuple(unreadable),
        wrong_labels=tuple(wrong),
    )


def _size_with_labels(split: DenseSplit, place: int, kind: Kind, *, masks: bool) -> tuple[int, int]:
    """Return the size of a picture; its labels are read as training reads them."""
    if kind == "labels":
        return split.picture_and_map(place)[0].size
    split.objects(place, masks=masks)
    return split.picture(place).size


def _spread(length: int, most: int) -> list[int]:
    """Return at most so many places, evenly over 0 to length - 1."""
    places: list[int] = np.unique(np.linspace(0, length - 1, min(most, length)).round().astype(int)).tolist()
    return places


def _median(sides: list[int]) -> int:
    return int(np.median(sides)) if sides else 0


def _kind(device: torch.device) -> Literal["cpu", "cuda", "mps"]:
    match device.type:
        case "cuda" | "mps" as kind:
            return kind
        case _:
            return "cpu"
