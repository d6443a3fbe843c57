"""`python -m convnext` is the command `convnext`."""

from convnext.cli import main

if __name__ == "__main__":
    main()
