"""The command `convnext`: a thin door that reads options, calls the package and prints.

A mistake of the user is one line on standard error and exit code 2, never a traceback.
"""

import sys

from convnext.errors import UserError


def main() -> None:
    """Run the command line and leave with its exit code."""
    from convnext.cli.app import app

    try:
        app()
    except UserError as error:
        # Of several processes only the one that met the error speaks.
        if type(error).__name__ == "OtherProcessError":
            sys.exit(2)
        sentence = str(error)
    except Exception as error:
        known = _explained(error)
        if known is None:
            raise
        sentence = known
    else:
        return
    print(f"convnext: {sentence}", file=sys.stderr)
    sys.exit(2)


def _explained(error: Exception) -> str | None:
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
