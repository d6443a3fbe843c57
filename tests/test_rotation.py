"""The checkpoint before the last one is kept, and whatever stops the machine, one of the two is whole."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convnext import files
from convnext.errors import UserError
from convnext.files import read_tensors, write_tensors

BEFORE = ("nothing", "one", "two", "one twice", "damaged", "put back")


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_number(number: int, path: Path, keep: Path | None) -> None:
    write_tensors(path, {"number": torch.tensor(number)}, {}, keep=keep)


def number_in(path: Path) -> int | None:
    """Return what `write_number` wrote, None where there is no whole file."""
    try:
        return int(read_tensors(path)[0]["number"])
    except UserError:
        return None


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("links", [True, False])
def test_the_old_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        without_links(monkeypatch)
    path, keep = tmp_path / "last", tmp_path / "previous"
    for number in range(4):
        write_number(number, path, keep)
        assert (number_in(path), number_in(keep)) == (number, number - 1 if number else None)
    assert left_over(tmp_path) == ["last", "previous"]
    write_number(9, path, None)
    assert (number_in(path), number_in(keep)) == (9, 2)


def killed_at(call: int, write: Callable[[], None]) -> bool:
    """Run `write` in a process that dies, as of SIGKILL, before its nth call that opens, links, renames or removes."""
    child = os.fork()
    if child == 0:
        seen = 0

        def die(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event in ("open", "os.link", "os.rename", "os.remove"):
                seen += 1
                if seen == call:
                    os._exit(9)

        sys.addaudithook(die)
        try:
            write()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("before", "links"),
    # Without links a damaged file must be put right first, which is what `put_back` is for.
    [(before, True) for before in BEFORE] + [(before, False) for before in BEFORE if before != "damaged"],
)
def test_at_every_moment_there_is_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, links: bool
) -> None:
    if not links:
        without_links(monkeypatch)
    for call in range(1, 40):
        folder = tmp_path / str(call)
        folder.mkdir()
        path, keep = folder / "last", folder / "previous"
        for number in range({"nothing": 0, "one": 1}.get(before, 2)):
            write_number(number, path, keep)
        if before == "one twice":
            # What a kill between the two renames would leave on a program that made `keep` first.
            keep.unlink()
            os.link(path, keep) if links else keep.write_bytes(path.read_bytes())
        elif before in ("damaged", "put back"):
            path.write_bytes(path.read_bytes()[:-1])
            if before == "put back":
                files.put_back(keep, path)
                assert number_in(path) == 0
        old = {number for number in (number_in(path), number_in(keep)) if number is not None}
        killed = killed_at(call, lambda path=path, keep=keep: write_number(7, path, keep))  # type: ignore[misc]
        found = [number_in(path), number_in(keep)]
        assert set(found) <= {*old, 7, None}
        if before != "nothing":
            assert found != [None, None], f"nothing whole is left by a kill at call {call}"
        if links and before not in ("nothing", "damaged"):
            assert found[0] is not None
        # Whatever was left, the next write goes on from it.
        write_number(8, path, keep)
        assert number_in(path) == 8
        if not killed:
            break
    else:
        pytest.fail("never came to the end")
    assert call > 4 and found[0] == 7
    assert left_over(folder) == ["last", "previous"]


@pytest.mark.parametrize(
    ("call", "code"),
    [(call, code) for call in ("write", "fsync", "link", "replace") for code in (errno.ENOSPC, errno.EDQUOT)]
    + [(call, errno.EIO) for call in ("write", "fsync", "replace")],
)
def test_a_full_disk_leaves_both_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path, keep = tmp_path / "last", tmp_path / "previous"
    write_number(1, path, keep)
    write_number(2, path, keep)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(files, "_bytes_of", fail)
            patch.setattr(files, "_digest", lambda *_: "0" * 64)
        else:
            patch.setattr(*((Path, "replace") if call == "replace" else (os, call)), fail)
        with pytest.raises(UserError, match=r"cannot write .*last"):
            write_number(3, path, keep)
    assert (number_in(path), number_in(keep)) == (2, 1)
    assert left_over(tmp_path) == ["last", "previous"]


def test_putting_back_says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*last"):
        files.put_back(tmp_path / "previous", tmp_path / "last")
