"""The one error a user meets: a sentence that names the thing, the value, what is allowed and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave us; its text is the whole message, shown without a traceback."""


def nearest(name: str, options: Iterable[str]) -> str:
    """Return "; did you mean A or B?" for the options close to `name`, or "; known are ..." when none is close."""
    known = list(options)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; known are {shown}"


def explained(error: Exception) -> str | None:
    """Return a sentence for a failure of the machine that a user can do something about, else None."""
    # By name, because importing torch only to compare would slow every command down.
    if type(error).__name__ == "OutOfMemoryError":
        return "the accelerator's memory is full; take a smaller data.batch_size or --size (--set data.batch_size=16)"
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return (
            f"a process that reads pictures died ({str(error).splitlines()[0]}); memory or /dev/shm may be full: "
            "try --set data.workers=0"
        )
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in ("gloo", "NCCL")):
        reason = str(error).splitlines()[0][:200]
        return f"this process lost the others of its run, and the first to end says why ({reason})"
    return None
