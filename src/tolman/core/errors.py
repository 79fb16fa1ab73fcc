"""What a user is told when something they gave us is wrong: one sentence that says what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """The user can mend this. Its message is one sentence naming the file, field or value and what would be right."""


def suggest(given: str, known: Iterable[str]) -> str:
    """`did you mean 'entities'?` for the nearest of `known`, else the list of what there is."""
    known = sorted(known)
    near = get_close_matches(given, known, n=1, cutoff=0.55)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there is: {', '.join(known)}" if known else "there is none"
