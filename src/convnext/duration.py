"""Times and speeds in words."""


def duration(seconds: float) -> str:
    """Return a time in words that fit its length: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 3.5 days."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole // 60 % 60:02d} min"
    return f"{seconds / 86400:.1f} days"


def pace(images_per_second: float) -> str:
    """Return a speed with as many digits as mean something: 2,417, 61, 2.6, 0.31."""
    return f"{images_per_second:,.0f}" if images_per_second >= 9.95 else f"{images_per_second:.2g}"
