"""Files are written whole or not at all, damage is noticed, and nothing in a foreign file runs."""

import argparse
import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from convnext import files
from convnext.errors import UserError
from convnext.files import DamagedFile, read_foreign, read_tensors, write_bytes, write_json, write_tensors, write_text

TENSORS = {
    "raw.b": torch.arange(12.0).reshape(3, 4),
    "raw.a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 3),
    "rng": torch.arange(5, dtype=torch.uint8),
}
METADATA = {"spec": {"width": 40}, "labels": ["Käse", 'a "b"'], "loss": 0.1, "none": None}


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, METADATA)
    tensors, metadata = read_tensors(path)
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)
    # The file is plain safetensors, with everything of ours in one JSON text.
    assert torch.equal(safetensors.torch.load_file(path)["raw.b"], TENSORS["raw.b"])
    with safetensors.safe_open(path, "pt") as file:
        header = file.metadata()
    assert header.keys() == {"format", "convnext", "sha256"}
    assert json.loads(header["convnext"]) == METADATA
    assert left_over(tmp_path) == ["x.safetensors"]


def test_shared_and_strided_tensors_are_written_by_value(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    given = {
        "base": base,
        "turned": base.t(),
        "row": base[1],
        "column": base[:, 2],
        "tied": base,
        "last": base[..., ::2],
    }
    given["channels_last"] = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    given["grown"] = torch.ones(1).expand(5)
    given["trained"] = torch.nn.Parameter(torch.randn(3))
    write_tensors(tmp_path / "x.safetensors", given, {})
    tensors, _ = read_tensors(tmp_path / "x.safetensors")
    for name, tensor in given.items():
        assert torch.equal(tensors[name], tensor), name


def test_a_type_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot save z: torch.complex64"):
        write_tensors(tmp_path / "x.safetensors", {"z": torch.zeros(1, dtype=torch.complex64)}, {})
    assert left_over(tmp_path) == []


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    # The last bytes are weights, the first are the header; both must be covered.
    header = 8 + int.from_bytes(whole[:8], "little")
    words = (b"width", b"__metadata__", b'"pt"', b'"convnext"', b'"sha256"', b"data_offsets", b"BF16", b"raw.a")
    places = {*range(8), len(whole) - 1, header - 1, *(whole.index(word) + 1 for word in words)}
    places |= set(generator.integers(len(whole), size=200).tolist())
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"x\.safetensors"):
            read_tensors(path)


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -40, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, METADATA)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFile, match=r"x\.safetensors"):
        read_tensors(path)


def test_any_damage_is_damage_and_never_a_wrong_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(300):
        changed = bytearray(whole)
        for place in generator.integers(len(whole), size=generator.integers(1, 5)):
            changed[place] = generator.integers(256)
        # What a disk does: bytes changed, an end lost, a block of zeros, an end that belongs to another file.
        start, end = sorted(generator.integers(len(whole), size=2).tolist())
        for damaged in (
            changed,
            whole[:start],
            whole[:start] + bytes(end - start) + whole[end:],
            whole[:start] + whole[end:],
            whole + whole[start:end],
            bytes(start),
        ):
            path.write_bytes(damaged)
            if damaged == whole:
                assert read_tensors(path)[1] == METADATA
                continue
            with pytest.raises(DamagedFile):
                read_tensors(path)


def test_types_and_shapes_that_no_checkpoint_holds_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.ones(8, dtype=torch.int64)}, METADATA)
    whole = path.read_bytes()
    for old, new in ((b'"I64"', b'"U64"'), (b'"I64"', b'"C64"'), (b"[8]", b"[+]"), (b'[8], "', b'[],8 "')):
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(DamagedFile):
            read_tensors(path)
    # torch cannot even express this one.
    header = b'{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}     '
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DamagedFile) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_swapped_names_and_changed_metadata_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a1": torch.zeros(2), "a2": torch.ones(2)}, {"acc": 97})
    whole = path.read_bytes()
    for old, new in ((b'acc\\": 97', b'acc\\": 98'), (b'"a1"', b'"a3"')):
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(UserError, match="do not match its own hash"):
            read_tensors(path)


def test_other_safetensors_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    assert not files.is_own_file(path)
    with pytest.raises(UserError, match="was not written by convnext"):
        read_tensors(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for read in (read_tensors, read_foreign):
        with pytest.raises(UserError, match=r"there is no file .*gone\.pth"):
            read(tmp_path / "gone.pth")
        with pytest.raises(UserError, match="is a folder"):
            read(tmp_path)


def writers() -> list[Any]:
    return [
        lambda path: write_tensors(path, TENSORS, METADATA),
        lambda path: write_json(path, {"a": 1}),
        lambda path: write_text(path, "text"),
        lambda path: files.write_pickle(path, {"a": torch.zeros(3)}),
    ]


@pytest.mark.parametrize("write", writers())
@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "may not write"), (errno.EROFS, "read-only"), (errno.EIO, "error")],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, code: int, said: str, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "x.safetensors"
    path.write_text("old")
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(UserError, match=rf"cannot write .*x\.safetensors.*(?i:{said})"):
        write(path)
    assert path.read_text() == "old"
    assert left_over(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("write", writers())
def test_a_place_that_is_no_folder_is_named(tmp_path: Path, write: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"there is no folder .*missing"):
        write(tmp_path / "missing" / "x")
    with pytest.raises(UserError, match=r"file is not a folder"):
        write(tmp_path / "file" / "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"it is a folder"):
        write(tmp_path / "folder")
    with pytest.raises(UserError, match=r"cannot write /proc/x"):
        write("/proc/x")
    assert left_over(tmp_path) == ["file", "folder"]


def test_a_file_over_the_size_limit_leaves_nothing_half_written(tmp_path: Path) -> None:
    program = """
import resource, sys, torch
from pathlib import Path
from convnext.errors import UserError
from convnext.files import write_pickle, write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
keep = Path(sys.argv[1]).with_name("kept")
for write in (lambda p, t: write_tensors(p, t, {}, keep=keep), write_pickle):
    write(sys.argv[1], {"a": torch.zeros(10)})
    try:
        write(sys.argv[1], {"a": torch.zeros(100000)})
    except UserError as error:
        print(error)
"""
    path = tmp_path / "x.safetensors"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(str(path) in line and "larger than is allowed" in line for line in lines)
    assert left_over(tmp_path) == ["x.safetensors"]
    assert read_foreign(path)["a"].shape == (10,)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert left_over(tmp_path) == ["x"]


def test_the_folder_is_flushed_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    flush, replace = files.flush, Path.replace
    monkeypatch.setattr(files, "flush", lambda path: (events.append(path), flush(path)))
    monkeypatch.setattr(Path, "replace", lambda self, new: (events.append("replace"), replace(self, new)))
    write_bytes(tmp_path / "x", b"1")
    assert [event if event == "replace" else event.name.endswith(".partial") for event in events] == [
        True,
        "replace",
        False,
    ]
    assert events[2] == tmp_path


class Evil:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


class Config:
    """An object of a class that only its program knows."""


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"model": {"a": torch.zeros(2)}, "x": Evil(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"evil\.pth holds an object of _?io\.open, .*save model\.state_dict\(\)"):
        read_foreign(path)
    assert not mark.exists()
    # The trap is a real one.
    torch.load(path, weights_only=False)["x"].close()
    assert mark.exists()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        ({"config": Config()}, r"test_files\.Config"),
        ({"history": np.zeros(3)}, r"numpy\._?core\.multiarray\._reconstruct"),
        ({"path": Path("x")}, r"pathlib"),
    ],
)
def test_other_objects_are_refused_by_name(tmp_path: Path, value: Any, named: str) -> None:
    torch.save(value, tmp_path / "x.pth")
    with pytest.raises(UserError, match=rf"holds an object of \S*{named}.*state_dict"):
        read_foreign(tmp_path / "x.pth")


def training_checkpoint() -> dict[str, Any]:
    arguments = argparse.Namespace(
        model="convnext_tiny", lr=np.float64(4e-3), epochs=np.int64(300), inner=argparse.Namespace()
    )
    return {
        "model": {"a": torch.arange(3.0)},
        "optimizer": {
            "state": {0: {"step": torch.tensor(1.0)}},
            "param_groups": [{"lr": np.float32(0.5), "betas": (0.9, 0.999)}],
        },
        "epoch": np.int32(7),
        "best": np.float64(82.1),
        "flag": np.bool_(True),
        "args": arguments,
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_namespace_and_numpy_scalars_load(tmp_path: Path, zipped: bool) -> None:
    torch.save(training_checkpoint(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found = read_foreign(tmp_path / "x.pth")
    assert torch.equal(found["model"]["a"], torch.arange(3.0))
    assert found["args"].lr == 4e-3
    assert found["epoch"] == 7
    # Allowed for that one call only.
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(tmp_path / "x.pth", weights_only=True)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_both_names_of_numpys_module_load(tmp_path: Path, module: str) -> None:
    torch.save(training_checkpoint(), tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pth").read_bytes()
    now = np.float64(0).__reduce__()[0].__module__
    line = f"c{now}\nscalar\n".encode()
    assert line in data
    (tmp_path / "x.pth").write_bytes(data.replace(line, f"c{module}\nscalar\n".encode()))
    assert read_foreign(tmp_path / "x.pth")["best"] == 82.1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"hello, this is text", "is not a checkpoint, or is damaged"),
        (b"PK\x03\x04" + b"\0" * 100, "is not a checkpoint, or is damaged"),
        (b"\x80\x02}", "is not a checkpoint, or is damaged"),
        (b"\0" * 100, "is not a checkpoint, or is damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\1" * 50, "is not a checkpoint, or is damaged"),
    ],
)
def test_what_is_no_checkpoint_gets_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    for name in ("x.pth", "x.bin", "x.safetensors"):
        (tmp_path / name).write_bytes(data)
        expected = said if name != "x.safetensors" or not data else "web page|Git LFS|is not a checkpoint"
        with pytest.raises(UserError, match=expected) as caught:
            read_foreign(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_pth_gets_a_sentence(tmp_path: Path, share: float) -> None:
    torch.save({"model": {"a": torch.randn(1000)}}, tmp_path / "x.pth")
    data = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"x\.pth is not a checkpoint, or is damaged or cut short"):
        read_foreign(tmp_path / "x.pth")


def test_the_kind_of_file_is_told_by_its_contents(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "x.pth")
    assert torch.equal(read_foreign(tmp_path / "x.pth")["a"], torch.ones(2))


def test_a_list_is_not_a_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"holds a builtins\.list, not a dictionary"):
        read_foreign(tmp_path / "x.pth")


def test_a_bare_builtin_in_a_pickle_is_refused_by_name(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth holds an object of \w*\.?eval, and loading it would run code"):
        read_foreign(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_no_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": {"a": 1}}, protocol=4))
    with pytest.raises(UserError, match="plain pickle"):
        read_foreign(tmp_path / "plain.pth")
