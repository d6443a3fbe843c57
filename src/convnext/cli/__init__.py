"""The command `convnext`: a thin door that reads options, calls the package and prints.

A mistake of the user is one line on standard error and exit code 2, Ctrl-C one line and 130, never a traceback.
"""

import os
import sys

from convnext.cli.interrupts import STOPPED, Interrupts
from convnext.errors import UserError, explained


def main() -> None:
    """Run the command line and leave with its exit code."""
    interrupts = Interrupts()
    interrupts.listen()
    try:
        _run(interrupts)
    except KeyboardInterrupt:
        interrupts.tell()
        sys.exit(STOPPED)
    finally:
        # Whatever comes from here on, the command has said how it ended.
        interrupts.told = True


def _run(interrupts: Interrupts) -> None:
    from convnext.cli.app import app

    try:
        app()
    except SystemExit as leaving:
        # The command line catches KeyboardInterrupt and leaves without a word.
        if leaving.__context__ is not None and isinstance(leaving.__context__.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        if leaving.code in (None, 0) and "TORCHELASTIC_RUN_ID" in os.environ:
            _leave_torchrun()
        raise
    except UserError as error:
        # Of several processes only the one that met the error speaks.
        if type(error).__name__ == "OtherProcessError":
            sys.exit(2)
        sentence = str(error)
    except Exception as error:
        if interrupts.came:
            # A library that was interrupted may raise an error of its own.
            raise KeyboardInterrupt from None
        known = explained(error)
        if known is None:
            raise
        sentence = known
    else:
        return
    print(f"convnext: {sentence}", file=sys.stderr)
    sys.exit(2)


def _leave_torchrun() -> None:
    """End a process of several that did its work, without taking the interpreter down.

    All is written and the group is left by then. Seen once in about twenty runs: after its last line a process aborted
    ("terminate called without an active exception", the message of a thread that outlives its owner; whose is not
    known), which torchrun takes for a failure of the whole run.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
