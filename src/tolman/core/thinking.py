"""Questions that can be thought about, and what a trace says.

A trace is what a model writes between the question and its answer: statements, each ending with a full stop but the last. The dataset writes examples of traces where
its models cannot yet, the train-time method learns from them, the test-time method has them written, and the record keeps what became of each statement.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from tolman.core.data import Question

ASK = "{question} think"
"""How a model from scratch is asked for a trace. Models that know English may be asked otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle(Question):
    """A question for which the dataset knows a trace that leads to its answer."""

    trace: str


def joined(statements: Collection[str]) -> str:
    """The trace that makes these statements, in order."""
    return " . ".join(statements)


def statements(trace: str) -> list[str]:
    """What a trace says, statement by statement, spaces put in order."""
    return [" ".join(part.split()) for part in re.split(r"[.;\n]", trace) if part.strip()]


def recalled(trace: str, told: Collection[str]) -> list[bool]:
    """For each statement of `trace` whether it is one of `told`, what the documents say (write a set: it is looked up often)."""
    return [statement in told for statement in statements(trace)]
