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
