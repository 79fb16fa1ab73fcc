"""Numbers as people say them. Loads nothing: `tolman list` passes here."""

import math


def quantity(number: float) -> str:
    """Three digits with an SI prefix, and a space before the unit: 4.1e12 -> `4.10 T`."""
    if not math.isfinite(number):
        return "unknown "
    if number == 0:
        return "0 "
    power = min(6, max(0, math.floor(math.log10(abs(number)) / 3)))
    return f"{number / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `31 s`, `12 min`, `3.4 h`."""
    if not math.isfinite(seconds):
        return "unknown"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
