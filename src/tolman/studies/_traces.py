"""What a trace does, from the record: states what is needed, makes things up, searches."""

import polars as pl

from tolman.core.thinking import statements


def states_needed(row: dict) -> bool:  # type: ignore[type-arg]
    """Whether the trace states everything that the question needs."""
    return bool(row["needed"]) and set(row["needed"]) <= set(statements(row["trace"]))


def confabulates(row: dict) -> bool:  # type: ignore[type-arg]
    """Whether the trace states anything that no document does."""
    return not all(row["trace_told"])


def searches(row: dict) -> bool:  # type: ignore[type-arg]
    """Whether the trace guesses and checks: statements of one relation about different things, ending where the question's first word is found."""
    said = [s.split() for s in statements(row["trace"])]
    same_relation = len({tuple(words[1:-1]) for words in said}) == 1
    return len(said) > 1 and same_relation and len({words[0] for words in said}) > 1 and said[-1][-1:] == row["question_text"].split()[:1]


def length(row: dict) -> float:  # type: ignore[type-arg]
    """Words of the trace."""
    return float(len(row["trace"].split()))


def with_traces(items: pl.DataFrame) -> pl.DataFrame:
    """The items that have a trace, with what each trace does: `states_needed`, `confabulates`, `searches`, `length`."""
    thought = items.filter(pl.col("trace") != "")
    rows = thought.select("trace", "trace_told", "needed", "question_text").to_dicts()
    return thought.with_columns(
        *(
            pl.Series(f.__name__, [f(row) for row in rows], dtype=pl.Float64 if f is length else pl.Boolean)
            for f in (states_needed, confabulates, searches, length)
        )
    )
