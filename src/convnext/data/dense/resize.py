"""Sizes: how large a picture becomes, so that its sides keep their ratio and stay within bounds."""


def fitted_size(size: tuple[int, int], *, short: float, longest: float) -> tuple[int, int]:
    """Return height and width with a short side of `short`, or less where the long side would be above `longest`.

    size: height and width now, pixels. Rounded to whole pixels, at least one.
    """
    height, width = size
    scale = min(short / min(size), longest / max(size))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def padded_size(sizes: list[tuple[int, int]], *, multiple: int) -> tuple[int, int]:
    """Return the least height and width, both multiples of a number, that hold all sizes; one multiple for none."""
    highest, widest = (max((size[axis] for size in sizes), default=1) for axis in (0, 1))
    return -(-highest // multiple) * multiple, -(-widest // multiple) * multiple
