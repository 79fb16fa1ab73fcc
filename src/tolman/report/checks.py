"""The checks of a claim as a figure: what was measured with its interval, and where the rule asks it to be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme

WIDTH_PX, ROW_PX = 700, 42
WANTED = "rgba(0, 158, 115, 0.16)"
COLOURS = {True: "#007A58", False: "#D55E00"}
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("what", "must"), pl.String),
    "holds": pl.Boolean,
    **dict.fromkeys(("mean", "low", "high", "from", "to", "unit"), pl.Float64),
    **dict.fromkeys(("n", "seeds"), pl.Int64),
}


def rows(checks: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """One row per check (as `tolman claims --json` prints them) that measured something: `from` and `to` bound what the rule asks, as far as the axis goes. A measure
    of another size than shares, among some of these, is drawn in a `unit` of its own, a power of ten."""
    known = [c for c in checks if math.isfinite(c["mean"])]
    if not known:
        return pl.DataFrame(schema=COLUMNS)
    sizes = [max(finite(c), key=abs) for c in known]
    mixed = min(map(abs, sizes)) <= 1
    units = [10.0 ** math.ceil(math.log10(abs(size))) if mixed and abs(size) > 5 else 1.0 for size in sizes]
    left, right = ends([{k: c[k] / unit for k in MEASURED} for c, unit in zip(known, units, strict=True)])
    out = []
    for c, unit in zip(known, units, strict=True):
        below = c["must"].startswith("<")
        wanted = {"from": left * unit if below else max(left * unit, c["threshold"]), "to": min(right * unit, c["threshold"]) if below else right * unit}
        out.append({k: c[k] for k in ("what", "must", "holds", "mean", "low", "high", "n", "seeds")} | wanted | {"unit": unit})
    return pl.DataFrame(out, schema=COLUMNS)


MEASURED = ("low", "high", "mean", "threshold")


def finite(check: Mapping[str, Any]) -> list[float]:
    """The ends of a check's interval, its mean and its threshold, as far as they are numbers (one seed has no interval over seeds)."""
    return [check[k] for k in MEASURED if math.isfinite(check[k])]


def ends(checks: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Ends of the axis: 0 and 1, or further where one of the `finite` is."""
    shown = [v for c in checks for v in finite(c)]
    return math.floor(min(0.0, *shown) * 10) / 10, math.ceil(max(1.0, *shown) * 10) / 10


def draw(rows: pl.DataFrame, title: str) -> alt.LayerChart | alt.FacetChart:
    """The chart of `rows`: a line for each check, its name and numbers above it, shaded where it must be."""
    placed = rows.with_row_index("i").with_columns(
        at=pl.col("i") + 0.7,
        over=pl.col("i") + 0.28,
        top=pl.col("i") + 0.52,
        bottom=pl.col("i") + 0.88,
        name=pl.format(
            "{}: {}{}",
            "what",
            pl.col("must").str.replace(r"^> (\S+) \(whole interval\)$", "surely > $1"),
            pl.when(pl.col("unit") == 1).then(pl.lit("")).otherwise(pl.format(" (drawn in units of {})", pl.col("unit").cast(pl.Int64))),
        ),
        numbers=pl.Series([f"{r['mean']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in rows.iter_rows(named=True)], dtype=pl.String),
        said=pl.when("holds").then(pl.lit("as claimed")).otherwise(pl.lit("not as claimed")),
    )
    placed = placed.with_columns(pl.col("from", "to", "low", "high", "mean") / pl.col("unit"))
    shown = [v for column in ("from", "to", "low", "high") for v in placed[column] if math.isfinite(v)]
    left, right = min(0.0, *shown), max(1.0, *shown)
    placed = placed.with_columns(pl.col("low", "high").clip(left, right))  # an unbounded interval goes as far as the axis
    room = 0.02 * (right - left)
    x = alt.X("mean:Q", title="measured", scale=alt.Scale(domain=[left - room, right + room], nice=False), axis=alt.Axis(tickCount=5))
    y, over, top = (alt.Y(f"{c}:Q", scale=alt.Scale(domain=[len(rows) + 0.1, 0], nice=False, zero=False), axis=None) for c in ("at", "over", "top"))
    names = ["as claimed", "not as claimed"]
    colour = alt.Color("said:N", scale=alt.Scale(domain=names, range=[COLOURS[True], COLOURS[False]]), legend=None)
    shape = alt.Shape("said:N", scale=alt.Scale(domain=names, range=["circle", "cross"]), legend=None)
    base = alt.Chart(placed)
    text = {"fontSize": 13, "baseline": "middle"}
    layers = alt.layer(
        base.mark_rect(color=WANTED).encode(x=alt.X("from:Q", title="measured"), x2="to:Q", y=top, y2="bottom:Q"),
        base.mark_text(align="left", dx=4, **text).encode(x=alt.datum(left), y=over, text="name:N"),
        base.mark_text(align="right", dx=-4, **text).encode(x=alt.datum(right), y=over, text="numbers:N", color=colour),
        base.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q", title="measured"), x2="high:Q", y=y, color=colour),
        base.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ).properties(width=WIDTH_PX, height=(len(rows) + 0.1) * ROW_PX)
    subtitle = "Shaded: where the rule asks it to be. Circle: as claimed; cross: not. Bars: 95 % intervals, clustered on facts and on seeds."
    heading = alt.TitleParams(_theme.wrapped(title, WIDTH_PX / 9.5), subtitle=_theme.wrapped(subtitle, WIDTH_PX / 6.1), fontSize=16)
    return layers.properties(title=heading)
