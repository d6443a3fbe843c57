"""The folder of a run: made for it alone, cleaned of what a killed run left."""

import contextlib
import shlex
import shutil
import time
from pathlib import Path

from convnext.errors import UserError
from convnext.files import cannot_write
from convnext.train.checkpoint import LAST
from convnext.train.lock import LOCK
from convnext.train.loop import LOG
from convnext.train.track import TRACKERS

RECIPE, CONFIG, SUMMARY = "recipe.json", "run.json", "summary.json"


def new_folder(out: Path | None, name: str) -> Path:
    """Make the folder of a new run and return it; UserError when it is taken or cannot be made.

    None makes runs/<time>-<name>.
    """
    if out is None:
        # What is changed in a network, in parentheses, stands in its summary.
        short = name.partition(" (")[0].replace(":", "-").replace("/", "-")
        return _own_folder(f"{time.strftime('%Y%m%d-%H%M%S')}-{short}")
    try:
        if out.is_dir() and not _is_free(out):
            raise UserError(
                f"{out} exists and is not empty; take another folder, "
                f"or go on with the run in it: convnext train --resume {shlex.quote(str(out))}"
            )
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out / LAST, error) from error
    return out


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, or holds what a run left that was killed before its first checkpoint."""
    names = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
    return not names - {RECIPE, CONFIG, LOG, LOCK} and (RECIPE in names or not names - {LOCK})


def remove_partial(folder: Path) -> None:
    """Remove the half-written files that a killed run could not remove itself."""
    for leftover in folder.glob(".*.partial"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Take away a run that never came to its first checkpoint: nobody could go on with it."""
    for name in (RECIPE, CONFIG, LOG, LOCK):
        (folder / name).unlink(missing_ok=True)
    for name in TRACKERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _own_folder(base: str) -> Path:
    """Make a folder in runs/ that nobody else has, not even a run that starts in this second."""
    number = 1
    while True:
        folder = Path("runs") / (base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise cannot_write(folder / LAST, error) from error
        else:
            return folder
