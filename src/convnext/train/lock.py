"""One training at a time in a run folder: a lock that the system takes back from a process that dies.

flock, not the POSIX locks of fcntl.lockf: those are lost as soon as any code of the process opens and closes the file,
and they would let a second training of the same process in.
"""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from convnext.errors import UserError
from convnext.files import cannot_write

LOCK = ".lock"
# A glance of `is_locked` holds the lock for microseconds; a training that meets one waits that long.
_GLANCE_SECONDS = 0.05
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


class FolderInUseError(UserError):
    """Another training is in the folder."""


def is_locked(folder: Path) -> bool:
    """Whether a training is in a run folder now; False too where the system or the file system has no such locks."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        # A shared lock, because NFS gives no exclusive one to a descriptor that only reads.
        refusal = _flock(descriptor, shared=True)
        return refusal is not None and refusal.errno in _TAKEN
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def run_lock(folder: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Keep other trainings out of a run folder for as long as the `with` lasts or the process lives.

    FolderInUseError when another training is in there, which it names; UserError when the folder cannot be written.
    `warn` hears when the system or the file system has no such locks; the folder is then not guarded.
    """
    path = folder / LOCK
    held = _Held(_locked(path, warn))
    if held.descriptor is not None:
        held.sign()
        if hasattr(os, "register_at_fork"):
            # A forked worker shares the lock and may outlive a killed parent, which would keep the folder taken.
            os.register_at_fork(after_in_child=held.drop)
    try:
        yield
    finally:
        if held.descriptor is not None:
            # Removed while it is locked; `_locked` looks whether the file it locked is still the one in the folder.
            with contextlib.suppress(OSError):
                path.unlink()
        held.drop()


class _Held:
    """A descriptor whose closing gives the lock up, unless another process shares it; None holds nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def sign(self) -> None:
        """Write into the file who holds it."""
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        assert self.descriptor is not None
        # On a full disk the lock holds all the same, and the checkpoint will say what is wrong.
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, json.dumps(owner).encode())

    def drop(self) -> None:
        """Close the descriptor, once."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path, warn: Callable[[str], None]) -> int | None:
    """Return a descriptor of the lock file that holds the lock, or None where there are no locks."""
    patient = True
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        refusal = _flock(descriptor)
        if refusal is None and _is_same_file(descriptor, path):
            return descriptor
        os.close(descriptor)
        if refusal is None:
            # Its last owner removed the file between our opening and our locking it.
            continue
        if refusal.errno in _TAKEN:
            if not patient:
                raise FolderInUseError(_taken(path))
            patient = False
            time.sleep(_GLANCE_SECONDS)
            continue
        path.unlink(missing_ok=True)
        warn(f"nothing keeps a second training out of {path.parent}: it cannot be locked ({refusal.strerror})")
        return None


def _flock(descriptor: int, *, shared: bool = False) -> OSError | None:
    """Lock without waiting; return why not."""
    try:
        import fcntl
    except ImportError:
        return OSError(errno.ENOSYS, "this system has no flock")
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error
    return None


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _taken(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {owner['pid']} on {owner['host']} has been training there since {owner['since']}"
        stop = f"stop it (kill {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        # Its owner has just made the file, or the disk was full.
        who, stop = "another process is training there", "stop it"
    return f"{path.parent} is in use: {who}; wait until it ends, {stop}, or take another folder"
