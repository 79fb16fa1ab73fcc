"""The contract of figures: `rows(records)` is tested, `draw(rows)` is looked at; here only that both work, with much, little and nothing."""

import json
from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import polars as pl


def check_figure(module: ModuleType, frames: Any) -> None:
    """`module` has a title and its two functions; `rows` copes with no records and with one; what `draw` gives is a Vega-Lite description.

    `frames` is what the figure's `rows` takes: a table, or a dataclass or dict of tables.
    """
    me = module.__name__.rpartition(".")[2]
    title = (module.__doc__ or "").strip().split("\n")[0]
    assert title, f"the figure {me} has no title: the first line of its docstring"
    for name in ("rows", "draw"):
        assert callable(getattr(module, name, None)), f"the figure {me} has no function {name}"
    for size, n in (("no record", 0), ("one record", 1), ("all records", None)):
        given = cut(frames, n)
        try:
            rows = module.rows(given)
        except Exception as error:
            raise AssertionError(f"the figure {me} fails on {size}: rows raises {error!r}") from error
        assert isinstance(rows, pl.DataFrame), f"the figure {me}: rows gives a {type(rows).__name__}, not a polars DataFrame"
        if n is None:
            assert len(rows), f"the figure {me} has no rows for the records given"
            assert module.rows(given).equals(rows), f"the figure {me}: rows differ from call to call"
        if len(rows):
            check_chart(f"the figure {me}, drawn from {size},", module, rows)


def check_chart(me: str, module: ModuleType, rows: pl.DataFrame) -> None:
    """The chart is valid Vega-Lite: Altair's schema accepts it, and it is JSON with the data in it."""
    before = rows.clone()
    try:
        chart = module.draw(rows).to_dict()
    except Exception as error:
        raise AssertionError(f"{me} fails: {error!r}") from error
    assert rows.equals(before), f"{me} changes its rows"
    assert isinstance(chart, dict) and "vega-lite" in chart.get("$schema", ""), f"{me} is no Vega-Lite description"
    try:
        text = json.dumps(chart, allow_nan=False)
    except ValueError as error:
        raise AssertionError(f"{me} is no JSON: {error}") from error
    assert '"url"' not in text, f"{me} loads its data from elsewhere"


def cut(frames: Any, n: int | None) -> Any:
    """The tables with their first `n` rows (None: all)."""
    if n is None:
        return frames
    if isinstance(frames, pl.DataFrame):
        return frames.head(n)
    if isinstance(frames, dict):
        return {name: cut(table, n) for name, table in frames.items()}
    assert is_dataclass(frames) and not isinstance(frames, type), f"tables are expected, not a {type(frames).__name__}"
    tables = {f.name: cut(table, n) for f in fields(frames) if isinstance(table := getattr(frames, f.name), pl.DataFrame)}
    return replace(frames, **tables)
