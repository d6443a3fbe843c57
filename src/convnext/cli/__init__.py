"""The command `convnext`: a thin door that reads options, calls the package and prints.

A mistake of the user is one line on standard error and exit code 2, never a traceback.
"""

import sys

from convnext.errors import UserError, explained


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
        known = explained(error)
        if known is None:
            raise
        sentence = known
    else:
        return
    print(f"convnext: {sentence}", file=sys.stderr)
    sys.exit(2)
