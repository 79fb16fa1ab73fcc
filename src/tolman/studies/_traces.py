"""What a trace does, from the record: states what is needed, makes things up, searches."""

import polars as pl

from tolman.core.thinking import confabulates, searches, states_needed


def with_traces(items: pl.DataFrame) -> pl.DataFrame:
    """The items that have a trace, with what each trace does: `states_needed`, `confabulates`, `searches`, and its `length` in words."""
    thought = items.filter(pl.col("trace") != "")
    rows = thought.select("trace", "trace_told", "needed", "question_text").rows()
    return thought.with_columns(
        pl.Series("states_needed", [states_needed(trace, needed) for trace, _, needed, _ in rows], dtype=pl.Boolean),
        pl.Series("confabulates", [confabulates(told) for _, told, _, _ in rows], dtype=pl.Boolean),
        pl.Series("searches", [searches(trace, question) for trace, _, _, question in rows], dtype=pl.Boolean),
        pl.Series("length", [float(len(trace.split())) for trace, *_ in rows], dtype=pl.Float64),
    )
