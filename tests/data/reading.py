"""Reads pictures with readers and is sent signals while it does, started as a script by test_readers.py.

A line of input lets it go on. Before, it says which processes there are; at last, what it read.
"""

import multiprocessing
import signal
import sys
import zlib
from multiprocessing import forkserver

from convnext.data.loader import EvalLoader, Share, TrainLoader
from convnext.data.sources import open_source
from convnext.data.splits import LabelSafe
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

AUGMENT = Augment(crop_scale=(0.08, 1.0), flip=0.5, randaugment="rand-m9-mstd0.5-inc1")


def loaders(text, *, workers, share):
    source = open_source(text, val_fraction=0.3)
    train = TrainLoader(
        source.train,
        size=8,
        augment=AUGMENT,
        label_safe=LabelSafe(),
        batch_size=12,
        seed=3,
        workers=workers,
        share=share,
    )
    return train, EvalLoader(source.val, preprocess=Preprocess(size=8), batch_size=4, workers=workers, share=share)


def told(batches):
    """Return all that there is to some batches."""
    return [
        (batch.images.numpy().tobytes(), batch.labels.tolist(), batch.indices.tolist(), dict(batch.unreadable))
        for batch in batches
    ]


def checksum(rows):
    return zlib.crc32(repr(rows).encode())


def wait():
    readers = [child.pid for child in multiprocessing.active_children()]
    print(forkserver._forkserver._forkserver_pid or 0, *readers, flush=True)
    sys.stdin.readline()


def main(text, world_size, ending):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    train, val = loaders(text, workers=2, share=Share(world_size=int(world_size)))
    wait()
    epoch = train.epoch(0)
    rows = told([next(epoch)])
    wait()
    rows += told(epoch) + told(val)
    wait()
    print(checksum(rows), flush=True)
    if ending == "killed":
        signal.pause()
    return train, val


if __name__ == "__main__":
    # Python ends with both of them alive, and has to end their readers.
    still_there = main(*sys.argv[1:])
