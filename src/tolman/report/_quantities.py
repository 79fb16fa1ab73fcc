"""Numbers as people say them. Loads nothing: `tolman list` passes here."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


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


def parameters(span: Sequence[int] | None) -> str:
    """Parameters of the smallest and the largest model: ` of 0.57 to 2.2 M parameters`; blank where they are not known."""
    return "" if span is None else " of " + " to ".join(dict.fromkeys(f"{n / 1e6:.0f}" if n >= 1e8 else f"{n / 1e6:.2g}" for n in span)) + " M parameters"


def retained(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a model still knows of general prose and questions: `3.21 (+0.05)` and `80 (-3)`; blank where it was not measured."""
    nats, accuracy = row["general_nats"], row["general_accuracy"]
    if nats is None or accuracy is None:
        return "", ""
    return f"{nats:.2f} ({nats - row['general_nats_before']:+.2f})", f"{100 * accuracy:.0f} ({100 * (accuracy - row['general_accuracy_before']):+.0f})"
