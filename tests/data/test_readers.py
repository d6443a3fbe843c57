"""Readers that are not forked from the training: what they are given, which signals they pass over, when they end."""

import contextlib
import os
import signal
import subprocess
import sys

import datasets
import numpy as np
import pytest
import reading
from reading import checksum, loaders, told
from test_shards import samples, write_tar
from test_torchvision_sets import write_idx

from convnext.data.loader import EvalLoader, Share
from convnext.data.readers import _Parcel
from convnext.data.sources import open_source
from convnext.data.splits import Split
from convnext.errors import UserError
from convnext.preprocess import Preprocess

NAMES = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)]


def saved(root, place):
    cells = [{"bytes": (root / name).read_bytes(), "path": None} for name in NAMES]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    table = datasets.Dataset.from_dict({"image": cells, "label": [name[:3] for name in NAMES]}, features=features)
    datasets.disable_progress_bars()
    table.save_to_disk(place / "saved")
    table.to_parquet(place / "saved.parquet")
    datasets.enable_progress_bars()


@pytest.fixture
def every_source(make_tree, make_zip, tmp_path, monkeypatch):
    """Open every kind of data there is, all of it one split."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = make_tree(NAMES)
    saved(root, tmp_path)
    write_tar(tmp_path / "shard.tar", samples(root, NAMES))
    (tmp_path / "list.csv").write_text("".join(f"pictures/{name},{name[:3]}\n" for name in NAMES))
    generator = np.random.default_rng(0)
    for start in ("train", "t10k"):
        pixels = generator.integers(0, 256, (5, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / "MNIST/raw", start, pixels, [0, 1, 2, 3, 4])
    places = [root, make_zip(root), *(tmp_path / name for name in ("shard.tar", "list.csv", "saved", "saved.parquet"))]
    texts = ["digits", f"torchvision:MNIST@{tmp_path}", *map(str, places)]
    return [open_source(text, note=str).whole() for text in texts]


def test_every_source_is_the_same_in_a_reader(every_source):
    kinds = {type(split.store.parts[0].store).__name__ for split in every_source}
    assert kinds == {"ArrayStore", "TorchvisionStore", "FolderStore", "ZipStore", "ShardStore", "HubStore"}
    for split in every_source:
        # An open file would not be pickled, and one that was used may have one open.
        split.picture(0)
        make, arguments = _Parcel(split).__reduce__()
        there = make(*arguments)
        assert isinstance(there, Split) and there.labels.tolist() == split.labels.tolist()
        for index in range(0, len(split), 1 + len(split) // 10):
            assert there.name(index) == split.name(index)
            assert there.encoded(index) == split.encoded(index)
            assert there.picture(index).tobytes() == split.picture(index).tobytes()


def test_readers_see_the_same_arrays_and_cannot_change_them():
    entries = np.arange(1000)
    split = Split(store=open_source("digits").train.store, entries=entries, labels=entries[::-1] % 7)
    parcel = _Parcel(split)
    make, arguments = parcel.__reduce__()
    one, other = make(*arguments), make(*arguments)
    for mine, theirs in ((one.entries, other.entries), (one.store.pictures, other.store.pictures)):
        assert np.shares_memory(mine, theirs) and mine.flags.aligned
        with pytest.raises(ValueError, match="read-only"):
            mine[0] = 0
    assert (one.labels == split.labels).all() and (one.store.pictures == split.store.pictures).all()
    # What the server imports, so that no reader has to.
    assert {"convnext.data.splits", "convnext.data.builtin"} <= set(parcel.modules)


def test_readers_of_several_processes_change_nothing(make_tree):
    root = make_tree([f"{name}/{i}.png" for name in ("cat", "dog", "eel") for i in range(30)])
    for name in ("cat/3.png", "eel/17.png", "eel/18.png"):
        (root / name).write_bytes((root / name).read_bytes()[:80])
    share = Share(rank=1, world_size=2, micro_batches=3)
    alone, alone_val = loaders(str(root), workers=0, share=share)
    train, val = loaders(str(root), workers=2, share=share)
    for epoch in (0, 1):
        whole = told(alone.epoch(epoch))
        assert told(train.epoch(epoch)) == whole
        assert told(train.epoch(epoch, first_step=3)) == whole[9:]
        assert told(val) == told(alone_val)
    assert len(whole) == 15 and any(row[3] for row in whole)


def test_a_store_that_cannot_be_sent_is_a_sentence():
    class Local:
        def name(self, entry):
            return str(entry)

    split = Split(store=Local(), entries=np.arange(12), labels=np.arange(12))
    with pytest.raises(UserError, match=r"Local.*data\.workers=0"):
        EvalLoader(split, preprocess=Preprocess(size=8), batch_size=4, workers=1, share=Share(world_size=2))


@contextlib.contextmanager
def no_leavings(process):
    """After a failure, kill a process and those whose ids were added to the set."""
    pids = set()
    try:
        yield pids
    except BaseException:
        for pid in {process.pid, *pids}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are a thing of POSIX")
@pytest.mark.parametrize(("world_size", "ending"), [(1, "killed"), (1, "left"), (2, "killed"), (2, "left")])
def test_signals_to_all_stop_no_reader_and_none_outlives_its_parent(make_tree, world_size, ending):
    root = make_tree([f"{name}/{i}.png" for name in ("cat", "dog") for i in range(90)])
    train, val = loaders(str(root), workers=0, share=Share(world_size=world_size))
    expected = checksum(told(train.epoch(0)) + told(val))
    process = subprocess.Popen(
        [sys.executable, reading.__file__, str(root), str(world_size), ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    servers, counts = set(), []
    with process, no_leavings(process) as pids:
        for _ in range(3):
            server, *readers = map(int, process.stdout.readline().split())
            servers.add(server)
            counts.append(len(readers))
            pids |= {server, *readers} - {0}
            # Ctrl-C goes to the whole group; SIGTERM to every process that a scheduler knows of.
            for number in (signal.SIGINT, signal.SIGTERM):
                os.killpg(process.pid, number)
                for pid in pids:
                    os.kill(pid, number)
            process.stdin.write("\n")
            process.stdin.flush()
        assert counts == [0, 2, 4] and len(servers) == 1 and (servers == {0}) == (world_size == 1)
        assert int(process.stdout.readline()) == expected
        if ending == "killed":
            process.kill()
        # All of them hold the other end of standard output, so it ends when the last of them has.
        _, errors = process.communicate(timeout=20)
    assert process.returncode == (-signal.SIGKILL if ending == "killed" else 0)
    assert ending == "killed" or errors == ""
