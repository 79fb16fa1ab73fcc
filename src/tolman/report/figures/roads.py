"""What each road answers, what it carries over, and what it costs.

A row for each road, a panel for each kind of question: a filled mark for the set that was written or practised about, a hollow one for the other. Beside them the price:
training (writing its data included), one question, and after how many questions a road without documents has paid off.
"""

import json
import math
from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report._quantities import quantity
from tolman.report.figures.break_even import crossing
from tolman.report.summary import accuracy, conditions, items_of, open_book, words
from tolman.run.frames import Frames

PLACE = 0
OTHER = "other_"
"""How the kinds of the set about which nothing was written or practised begin."""
SETS = ("A, the set of facts that was written and practised about", "B, about which nothing was written or practised")
COSTS = {"training, FLOPs": "once", "a question, FLOPs": "each", "pays off after": "pays_off"}
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("training", "asking", "test_time", "kind", "set"), pl.String),
    **dict.fromkeys(("mean", "low", "high", "chance", "once", "each", "pays_off"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
}
WIDTH_PX, COST_PX, LINE_PX = 128, 92, 24


def rows(frames: Frames) -> pl.DataFrame:
    """One row per road, kind and set, of a study of two sets in which one model was trained on what it wrote and one thinks: accuracy with its interval; `once` and `each`, FLOPs
    of training and of a question; `pays_off`, for a road without documents whose training cost more than the cheapest: after how many questions it has cost less than the
    cheapest road with documents of the cheapest training (infinite: never; nan: for other roads)."""
    table, shown = conditions(frames), open_book(frames)
    if not len(table) or not (table["generate_tokens"] > 0).any() or not (table["test_time"] == "test_time/thinking").any():
        return pl.DataFrame(schema=COLUMNS)
    if not frames.items["kind"].str.starts_with(OTHER).any():  # one set of facts: nothing to carry over to
        return pl.DataFrame(schema=COLUMNS)
    table = table.with_columns(once=pl.col("train_flops") + pl.col("generate_flops"), shown=pl.col("condition").is_in(list(shown)))
    least = min(table["once"].to_list())
    rival = min(table.filter(pl.col("shown") & (pl.col("once") == least))["ask_flops"].to_list(), default=math.nan)
    out = []
    for road in table.iter_rows(named=True):
        pays = math.nan
        if not road["shown"] and road["once"] > least and math.isfinite(rival):
            pays = crossing(road["once"], road["ask_flops"], least, rival)
        for kind, about in json.loads(road["kinds"]).items():
            mine = items_of(frames, road["condition"]).filter(pl.col("kind") == kind)
            if len(mine):
                found = accuracy(mine)
                out.append(
                    {k: road[k] for k in ("training", "asking", "test_time", "once")}
                    | {"kind": words(kind.removeprefix(OTHER)), "set": SETS[kind.startswith(OTHER)], "chance": about["chance"]}
                    | {"each": road["ask_flops"], "pays_off": pays}
                    | {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}
                )
    return pl.DataFrame(out, schema=COLUMNS)


def draw(rows: pl.DataFrame) -> alt.ConcatChart:
    """The chart of `rows`."""
    placed, axis, height = _layout(rows)
    colour, _, _ = _theme.scales(_theme.methods_of(rows))
    kinds = rows["kind"].unique(maintain_order=True).to_list()
    marks = placed.drop(*COSTS.values())  # JSON has no nan
    charts = [_accuracy(marks.filter(pl.col("kind") == kind), kind, axis, height, colour, first=i == 0) for i, kind in enumerate(kinds)]
    roads = placed.unique(["training", "asking"], maintain_order=True)
    charts += [_cost(roads, title, column, axis, height, colour) for title, column in COSTS.items()]
    subtitle = (
        f"Filled: {SETS[0]}; hollow: {SETS[1]}. {_theme.intervals_said(rows)} Pays off: after so many questions a road without documents has cost less than the "
        "cheapest one with documents, whatever that answers."
    )
    return alt.concat(*charts, columns=len(charts), spacing=14).properties(
        usermeta={"left": 225, "gap": 14, "least": COST_PX, "shared": True},
        title=_theme.heading(__doc__, subtitle, len(kinds) * WIDTH_PX + len(COSTS) * COST_PX + 225),
    )


def _accuracy(part: pl.DataFrame, title: str, axis: dict[str, Any], height: float, colour: alt.Scale, *, first: bool) -> alt.LayerChart:
    percents = alt.Axis(format="%", values=[0, 0.5, 1], orient="top")
    x = alt.X("mean:Q", title=title, scale=alt.Scale(domain=[0, 1], nice=False, padding=6), axis=percents)
    y = alt.Y("at:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=alt.Axis(**axis, labels=first))
    fill = alt.FillOpacity("set:N", scale=alt.Scale(domain=list(SETS), range=[1, 0]), legend=None)
    ink = alt.Stroke("asking:N", scale=colour, legend=None)
    tooltip = [
        alt.Tooltip("training:N"), alt.Tooltip("asking:N"), alt.Tooltip("kind:N"), alt.Tooltip("set:N"), alt.Tooltip("mean:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"), alt.Tooltip("high:Q", title="to", format=".1%"), alt.Tooltip("n:Q", title="questions", format=","),
    ]  # fmt: skip
    base = alt.Chart(part)
    return alt.layer(
        base.mark_rule(strokeWidth=2, strokeOpacity=0.45).encode(x="low:Q", x2="high:Q", y=y, stroke=ink, tooltip=tooltip),
        base.mark_point(filled=True, size=52, strokeWidth=1.8, opacity=1).encode(
            x=x, y=y, stroke=ink, fill=alt.Fill("asking:N", scale=colour, legend=None), fillOpacity=fill, tooltip=tooltip
        ),
    ).properties(width=WIDTH_PX, height=height * LINE_PX)  # type: ignore[return-value]


def _cost(roads: pl.DataFrame, title: str, column: str, axis: dict[str, Any], height: float, colour: alt.Scale) -> alt.LayerChart:
    said = [_said(value, column) for value in roads[column].to_list()]
    bars = pl.lit(0.0) if column == "pays_off" else pl.col(column)
    part = roads.with_columns(said=pl.Series(said, dtype=pl.String), bar=bars).select("training", "asking", "line", "said", "bar")
    most = max(1.0, *part["bar"].to_list()) * 1.9  # room for the number behind the longest bar
    x = alt.X("bar:Q", title=title, scale=alt.Scale(domain=[0, most], nice=False), axis=alt.Axis(values=[], orient="top", grid=False, domain=False))
    y = alt.Y("line:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=alt.Axis(**axis, labels=False))
    tooltip = [alt.Tooltip("training:N"), alt.Tooltip("asking:N"), alt.Tooltip("said:N", title=title)]
    base = alt.Chart(part)
    return alt.layer(
        base.mark_rule(strokeWidth=9, strokeOpacity=0.75).encode(
            x=x, x2=alt.datum(0), y=y, stroke=alt.Stroke("asking:N", scale=colour, legend=None), tooltip=tooltip
        ),
        base.mark_text(align="left", dx=4, fontSize=12).encode(x=x, y=y, text="said:N"),
    ).properties(width=COST_PX, height=height * LINE_PX)  # type: ignore[return-value]


def _said(value: float, column: str) -> str:
    if math.isnan(value):
        return ""
    return "never" if math.isinf(value) else quantity(value).strip() if column != "pays_off" else f"{quantity(value).strip()} asked"


def _layout(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any], float]:
    """Rows with their heights (`line` of the road, `at` of the mark, the first set above the other), an axis that reads the roads under their trainings, which are bold,
    and the height of all; a road is 1."""
    at, ticks, bold, lines = 0.0, {}, [], []
    for training in rows["training"].unique(maintain_order=True):
        bold.append(round(at + 0.6, 3))
        ticks[bold[-1]] = training
        at += 1.1
        for asking in rows.filter(pl.col("training") == training)["asking"].unique(maintain_order=True):
            ticks[round(at + 0.5, 3)] = asking
            lines.append({"training": training, "asking": asking, "line": at + 0.5})
            at += 1
        at += 0.25
    placed = rows.join(pl.DataFrame(lines), on=["training", "asking"], maintain_order="left")
    axis = {
        "title": None, "grid": False, "values": list(ticks), "labelOverlap": False, "labelLimit": 235,
        "labelExpr": f"{json.dumps(list(ticks.values()))}[indexof({json.dumps(list(ticks))}, datum.value)]",
        "labelFontWeight": {"condition": {"test": f"indexof({json.dumps(bold)}, datum.value) >= 0", "value": "bold"}, "value": "normal"},
    }  # fmt: skip
    return placed.with_columns(at=pl.col("line") + pl.when(pl.col("set") == SETS[0]).then(-0.17).otherwise(0.17)), axis, round(at, 3)
