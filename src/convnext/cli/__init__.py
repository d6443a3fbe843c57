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
        print(f"convnext: {error}", file=sys.stderr)
        sys.exit(2)
