"""What this machine has: processor cores, memory, room on a disk, a checkout of the package; and the memory in use."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return how much memory is free for new use, None where the system does not tell."""
    return _kilobytes_in(Path("/proc/meminfo"), "MemAvailable")


def reset_peak_memory() -> None:
    """Let `peak_memory_bytes` start anew from what is held now, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held (its resident set), since the start or the last reset."""
    known = _status_bytes("VmHWM")
    if known is not None:
        return known
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def held_memory_bytes() -> int:
    """Return how much memory this process holds now (its resident set); not on Linux: the most it has held."""
    known = _status_bytes("VmRSS")
    return peak_memory_bytes() if known is None else known


def _status_bytes(name: str) -> int | None:
    return _kilobytes_in(Path("/proc/self/status"), name)


def _kilobytes_in(path: Path, name: str) -> int | None:
    """Return in bytes what a line "NAME: N kB" of a file says, None where there is no such file or line."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def free_disk_bytes(folder: Path) -> int:
    """Return the room on the disk of a folder, or of the nearest folder above it that exists."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def commit() -> str | None:
    """Return the short commit of the checkout that the package runs from, None where it was installed otherwise."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    asked = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return answer.stdout.strip() or None
