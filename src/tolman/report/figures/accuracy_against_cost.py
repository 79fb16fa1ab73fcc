"""Accuracy on latent kinds against what it costs, once and at every question.

Left, what one question costs; right, what training cost, writing its data included. Both axes are logarithmic; what cost nothing stands at 0.
"""

import json
import math
from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy, conditions, group, items_of, words
from tolman.run.frames import Frames

PLACE = 3
PANELS = ("one question", "training, once")
COLUMNS: dict[str, Any] = {
    **{"panel": pl.String, "cost": pl.Float64, "unit": pl.String},
    **dict.fromkeys(("training", "asking", "test_time", "kinds"), pl.String),
    **dict.fromkeys(("mean", "low", "high"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
}
WIDTH_PX, HEIGHT_PX = 400, 300
GAP_PX, SPREAD_PX = 8, 48
"""Distance between points of equal cost, and the most that they may take together."""


def rows(frames: Frames) -> pl.DataFrame:
    """Two rows per condition that was asked latent kinds: `panel` says whether `cost` is that of one question or of training, `unit` is FLOPs, or tokens where
    the FLOPs of any condition are unknown. `mean`, `low`, `high` are accuracy over the latent kinds in `kinds`: those that all these conditions were asked,
    or where they share none, each its own."""
    table = conditions(frames)
    own = [_latent(text) for text in table["kinds"]]
    shared = set.intersection(*map(set, asked)) if (asked := [kinds for kinds in own if kinds]) else set()
    unit = "FLOPs" if all(math.isfinite(v) for c in ("ask", "train", "generate") for v in table[f"{c}_flops"]) else "tokens"
    out = []
    for row, latent in zip(table.iter_rows(named=True), own, strict=True):
        kinds = [kind for kind in latent if kind in shared] or latent
        items = items_of(frames, row["condition"]).filter(pl.col("kind").is_in(kinds))
        if items.is_empty():
            continue
        found = accuracy(items)
        about = {k: row[k] for k in ("training", "asking", "test_time")} | {"kinds": ", ".join(words(k) for k in kinds)}
        numbers = {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}
        column = unit.lower()
        costs = (row[f"ask_{column}"], row[f"train_{column}"] + row[f"generate_{column}"])
        out += [{"panel": panel, "cost": cost, "unit": unit, **about, **numbers} for panel, cost in zip(PANELS, costs, strict=True)]
    return pl.DataFrame(out, schema=COLUMNS)


def draw(rows: pl.DataFrame) -> alt.ConcatChart:
    """The chart of `rows`."""
    kinds = rows["kinds"].unique(maintain_order=True).to_list()
    said = f"Latent kinds: {kinds[0]}." if len(kinds) == 1 else "Each point over the latent kinds that it was asked, not the same for all: see the data."
    subtitle = f"{said} {_theme.intervals_said(rows)} Points of equal cost stand side by side."
    charts = [_panel(rows, panel) for panel in PANELS if panel in set(rows["panel"])]
    return alt.concat(*charts, columns=2).properties(usermeta={"left": 75, "gap": 110}, title=_theme.heading(__doc__, subtitle, 2 * WIDTH_PX + 60))


def _panel(rows: pl.DataFrame, panel: str) -> alt.LayerChart:
    part, scale, axis = _placed(rows.filter((pl.col("panel") == panel) & pl.col("cost").is_finite()))
    trainings = rows["training"].unique(maintain_order=True).to_list()
    colour, _, _ = _theme.scales(_theme.methods_of(rows))
    shape = alt.Scale(domain=trainings, range=[_theme.SHAPES[i % len(_theme.SHAPES)] for i in range(len(trainings))])
    x = alt.X("shown:Q", title=f"{rows['unit'][0]}, {panel}", scale=scale, axis=axis)
    y = alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1], nice=False, padding=7), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    tooltip = [
        alt.Tooltip("training:N"),
        alt.Tooltip("asking:N"),
        alt.Tooltip("kinds:N"),
        alt.Tooltip("cost:Q", title=f"{rows['unit'][0]}, {panel}", format=".3s"),
        alt.Tooltip("mean:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("n:Q", title="questions", format=","),
    ]
    asking = alt.Color("asking:N", scale=colour)
    base = alt.Chart(part)
    return alt.layer(
        base.mark_rule(strokeWidth=2, strokeOpacity=0.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=asking),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x, y=y, color=asking, shape=alt.Shape("training:N", scale=shape, legend=alt.Legend(orient="bottom")), tooltip=tooltip
        ),
    ).properties(width=WIDTH_PX, height=HEIGHT_PX)  # type: ignore[return-value]


def _placed(part: pl.DataFrame) -> tuple[pl.DataFrame, alt.Scale, alt.Axis]:
    """Rows with `shown`, where to draw their cost; a logarithmic scale; and its axis.

    Cost 0 is shown half a decade below the smallest other. Points closer than 2 % are spread around their place, in the order of the legend.
    """
    order = {asking: i for i, asking in enumerate(_theme.askings(_theme.methods_of(part)))}
    some = part.filter(pl.col("cost") > 0)["cost"].to_list() or [1.0]
    free = part["cost"].min() == 0
    zero, most = min(some) / 3, max(some)
    ends = (zero if free else min(some)) / 2.2, most * 2.2
    ticks = [tick for k in range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1) for tick in (10.0**k, 2 * 10.0**k, 5 * 10.0**k)]
    ticks = [tick for tick in ticks if (min(some) if free else ends[0]) <= tick <= ends[1]]
    decades = [tick for tick in ticks if math.log10(tick).is_integer()]
    axis = alt.Axis(
        values=[zero] * free + (decades if len(decades) > 2 else ticks),
        grid=False,
        labelExpr=f"datum.value < {zero * 1.01!r} ? '0' : format(datum.value, '~s')",
    )
    rows = part.sort(pl.col("asking").replace_strict(order, return_dtype=pl.Int64), "training").with_columns(shown=pl.max_horizontal("cost", pl.lit(zero)))
    costs = rows["shown"].to_list()
    near = [[i for i, other in enumerate(costs) if abs(math.log(other / cost)) < 0.02] for cost in costs]
    pixel = math.log10(ends[1] / ends[0]) / WIDTH_PX
    moved = [
        cost * 10 ** (pixel * min(GAP_PX, SPREAD_PX / len(places)) * (places.index(i) - (len(places) - 1) / 2))
        for i, (cost, places) in enumerate(zip(costs, near, strict=True))
    ]
    return rows.with_columns(shown=pl.Series(moved, dtype=pl.Float64)), alt.Scale(type="log", domain=list(ends), nice=False), axis


def _latent(kinds: str) -> list[str]:
    return [kind for kind, info in json.loads(kinds).items() if group(info) == "latent"]
