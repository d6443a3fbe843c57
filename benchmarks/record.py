"""What every committed record says of itself: when, at which commit, on which machine, with which versions."""

import json
import time
from pathlib import Path
from typing import Any

from convnext.machine import commit
from convnext.summary import machine, versions

ROOT = Path(__file__).resolve().parent.parent


def heading(command: str, device: str = "cpu") -> dict[str, Any]:
    """Return the fields that open a record."""
    import torch

    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(torch.device(device)),
        "versions": versions(),
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record as it stands so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
