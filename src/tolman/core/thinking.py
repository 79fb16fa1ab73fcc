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


def states_needed(trace: str, needed: Collection[str]) -> bool:
    """Whether the trace states everything that the question needs."""
    return bool(needed) and set(needed) <= set(statements(trace))


def confabulates(told: Collection[bool]) -> bool:
    """Whether a trace, of whose statements `told` says which the documents make, states anything else."""
    return not all(told)


def searches(trace: str, question: str) -> bool:
    """Whether the trace guesses and checks: statements of one relation about different things, ending where the question's first word is found."""
    said = [s.split() for s in statements(trace)]
    same_relation = len({tuple(words[1:-1]) for words in said}) == 1
    return len(said) > 1 and same_relation and len({words[0] for words in said}) > 1 and said[-1][-1:] == question.split()[:1]
