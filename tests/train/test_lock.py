"""Two trainings never share a folder, and a dead one never keeps it."""

import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from convnext.errors import UserError
from convnext.train.lock import LOCK, run_lock

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def no_warning(text: str) -> None:
    raise AssertionError(text)


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; return its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def is_free(folder: Path) -> bool:
    try:
        with run_lock(folder, no_warning):
            return True
    except UserError:
        return False


def test_a_second_training_is_told_who_is_there(tmp_path: Path) -> None:
    with run_lock(tmp_path, no_warning):
        assert list(tmp_path.iterdir()) == [tmp_path / LOCK]
        with pytest.raises(UserError) as caught, run_lock(tmp_path, no_warning):
            pass
        said = str(caught.value)
        assert str(tmp_path) in said and socket.gethostname() in said
        assert f"kill {os.getpid()}" in said and "take another folder" in said
        # The refused one took nothing away.
        assert not is_free(tmp_path)
    assert is_free(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_kept_out(tmp_path: Path) -> None:
    def try_it() -> None:
        assert not is_free(tmp_path)

    with run_lock(tmp_path, no_warning):
        assert os.waitpid(forked(try_it), 0)[1] == 0
    assert os.waitpid(forked(try_it), 0)[1] != 0


def test_the_lock_of_a_killed_training_is_free_at_once_though_its_worker_lives(tmp_path: Path) -> None:
    read, write = os.pipe()

    def worker() -> None:
        os.write(write, str(os.getpid()).encode())
        time.sleep(60)

    def parent() -> None:
        with run_lock(tmp_path, no_warning):
            os.waitpid(forked(worker), 0)

    training = forked(parent)
    worker_id = int(os.read(read, 20))
    try:
        assert not is_free(tmp_path)
        os.kill(training, signal.SIGKILL)
        os.waitpid(training, 0)
        os.kill(worker_id, 0)
        assert (tmp_path / LOCK).exists()
        assert is_free(tmp_path)
        os.kill(worker_id, 0)
    finally:
        os.kill(worker_id, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_the_trap_above_is_a_real_one(tmp_path: Path) -> None:
    """A plain flock is shared with forked workers."""
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    worker = forked(lambda: time.sleep(60))
    os.close(descriptor)
    try:
        assert not is_free(tmp_path)
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_a_worker_that_leaves_does_not_take_the_lock_along(tmp_path: Path) -> None:
    child = 1
    try:
        with run_lock(tmp_path, no_warning):
            child = os.fork()
            if child == 0:
                raise SystemExit
            assert os.waitpid(child, 0)[1] == 0
            assert (tmp_path / LOCK).exists() and not is_free(tmp_path)
    finally:
        if child == 0:
            os._exit(0)


def test_many_at_once_are_one_at_a_time(tmp_path: Path) -> None:
    inside = tmp_path / "inside"

    def work() -> None:
        done = 0
        while done < 50:
            try:
                with run_lock(tmp_path, no_warning):
                    # Fails where someone else is in here.
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                    inside.unlink()
                    done += 1
            except UserError:
                time.sleep(0)

    children = [forked(work) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


def test_a_lock_that_nobody_signed_is_refused_too(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UserError, match=r"in use: another process"), run_lock(tmp_path, no_warning):
        pass
    os.close(descriptor)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    warnings: list[str] = []
    with run_lock(tmp_path, warnings.append):
        assert list(tmp_path.iterdir()) == []
    assert len(warnings) == 1 and str(tmp_path) in warnings[0] and os.strerror(code) in warnings[0]


def test_a_system_without_flock_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    warnings: list[str] = []
    with run_lock(tmp_path, warnings.append):
        pass
    assert len(warnings) == 1 and "this system has no flock" in warnings[0]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*gone"), run_lock(tmp_path / "gone", no_warning):
        pass
