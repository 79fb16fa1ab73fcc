"""When does writing documents once cost less than retrieving them at every question?

Each line is a way to answer: what it cost before the first question (training, and writing what was trained on), and what each question adds. Where a line that begins
higher crosses one that rises faster, it has paid off.
"""

import math
from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy, conditions, group, items_of, open_book, words
from tolman.run.frames import Frames

PLACE = 4
UNITS = ("FLOPs", "tokens")
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("unit", "training", "asking", "test_time", "kinds"), pl.String),
    **dict.fromkeys(("once", "each", "break_even", "mean", "low", "high"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
}
WIDTH_PX, HEIGHT_PX = 400, 300
STEPS = 48
"""Points of a line, which is bent on logarithmic axes."""


def rows(frames: Frames) -> pl.DataFrame:
    """One row per unit and way to answer, where some training's data were written by a model: trainings on such data asked closed book, and the others with
    documents. `once` is the cost before the first question, `each` that of one; `break_even`, for the former, after how many questions it costs less than the
    cheapest of the latter, that is, than each of them (nan for these, infinite where it never does). `mean`, `low`, `high` are accuracy over `kinds`, the latent ones."""
    table = conditions(frames)
    table = table.filter(pl.col("dataset").is_in(table.filter(pl.col("generate_tokens") > 0)["dataset"].unique().to_list()))
    written, closed = pl.col("generate_tokens") > 0, pl.col("test_time") == "test_time/closed_book"
    table = table.filter((written & closed) | (~written & pl.col("condition").is_in(list(open_book(frames)))))
    out = []
    for unit in UNITS:
        column = unit.lower()
        ways = table.with_columns(once=pl.col(f"train_{column}") + pl.col(f"generate_{column}"), each=f"ask_{column}")
        ways = ways.filter(pl.col("once").is_finite() & pl.col("each").is_finite())  # an endpoint's FLOPs are unknown
        retrieved = ways.filter(~closed).select("once", "each").rows()
        for row in ways.iter_rows(named=True):
            mine = _latent(frames, row["condition"])
            found = accuracy(mine)
            offline = row["test_time"] == "test_time/closed_book"
            out.append(
                {k: row[k] for k in ("training", "asking", "test_time", "once", "each")}
                | {"unit": unit, "kinds": ", ".join(words(k) for k in mine["kind"].unique(maintain_order=True))}
                | {"break_even": max((crossing(row["once"], row["each"], *other) for other in retrieved), default=math.nan) if offline else math.nan}
                | {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}
            )
    return pl.DataFrame(out, schema=COLUMNS)


def crossing(once: float, each: float, other_once: float, other_each: float) -> float:
    """After how many questions the first way has cost less than the other: 0 if from the start, infinity if never."""
    if once <= other_once and each <= other_each:
        return 0.0
    if each >= other_each:
        return math.inf
    return max(0.0, (once - other_once) / (other_each - each))


def draw(rows: pl.DataFrame) -> alt.ConcatChart:
    """The chart of `rows`."""
    finite = [n for n in rows["break_even"].to_list() if math.isfinite(n) and n > 0]
    subtitle = "Both axes are logarithmic. Dots: where writing has paid off against the cheapest way to put documents before each question."
    charts = [_panel(rows.filter(pl.col("unit") == unit), unit, finite) for unit in UNITS if unit in set(rows["unit"])]
    return alt.concat(*charts, columns=2).properties(usermeta={"left": 75, "gap": 110}, title=_theme.heading(__doc__, subtitle, 2 * WIDTH_PX + 60))


def _panel(part: pl.DataFrame, unit: str, crossings: list[float]) -> alt.LayerChart | alt.FacetChart:
    most = 10 ** math.ceil(math.log10(30 * max(crossings, default=1e3)))
    least = max(1.0, 10 ** math.floor(math.log10(min(crossings, default=1e3) / 300)))
    named = part.with_columns(way=pl.format("{}, {}", "training", "asking"))
    asked = [least * (most / least) ** (i / (STEPS - 1)) for i in range(STEPS)]
    lines = [{"way": row["way"], "questions": n, "cost": row["once"] + n * row["each"]} for row in named.iter_rows(named=True) for n in asked]
    points = [row | {"questions": row["break_even"], "cost": row["once"] + row["break_even"] * row["each"]} for row in named.iter_rows(named=True)]
    points = [point for point in points if math.isfinite(point["questions"]) and point["questions"] > 0]
    ways = named["way"].to_list()
    palette = [*(c for _, pair in _theme.HUES.values() for c in pair), *(c for c, _ in _theme.OTHERS)]
    hues = alt.Scale(domain=ways, range=[palette[i % len(palette)] for i in range(len(ways))])
    colour, quiet = alt.Color("way:N", scale=hues, legend=alt.Legend(columns=1)), alt.Color("way:N", scale=hues, legend=None)
    dash = alt.StrokeDash("way:N", scale=alt.Scale(domain=ways, range=[_theme.DASHES[i % len(_theme.DASHES)] for i in range(len(ways))]), legend=None)
    x = alt.X(
        "questions:Q",
        title="questions asked",
        scale=alt.Scale(type="log", domain=[least, most], nice=False),
        axis=alt.Axis(format="~s", tickCount=6, grid=False),
    )
    spent = [line["cost"] for line in lines]
    decades = [10.0**k for k in range(math.floor(math.log10(min(spent))), math.ceil(math.log10(max(spent))) + 1)]
    if len([d for d in decades if min(spent) <= d <= max(spent)]) < 2:
        decades = [digit * decade for decade in decades for digit in (1, 1.5, 2, 3, 5, 7)]
    y = alt.Y("cost:Q", title=f"{unit} in all", scale=alt.Scale(type="log", nice=False, padding=8, zero=False), axis=alt.Axis(format="~s", values=decades))
    tooltip = [
        alt.Tooltip("way:N"), alt.Tooltip("once:Q", title=f"{unit}, once", format=".3s"), alt.Tooltip("each:Q", title=f"{unit}, each question", format=".3s"),
        alt.Tooltip("break_even:Q", title="pays off after questions", format=",.0f"), alt.Tooltip("mean:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"), alt.Tooltip("high:Q", title="to", format=".1%"), alt.Tooltip("kinds:N"),
    ]  # fmt: skip
    layers = [alt.Chart(pl.DataFrame(lines)).mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour, strokeDash=dash)]
    if points:
        dots = alt.Chart(pl.DataFrame(points))
        layers.append(dots.mark_point(filled=True, size=90, opacity=1).encode(x=x, y=y, color=quiet, tooltip=tooltip))
        layers.append(dots.mark_text(dy=-12, fontSize=12, align="right", dx=4).encode(x=x, y=y, color=quiet, text=alt.Text("questions:Q", format=",.0f")))
    return alt.layer(*layers).properties(width=WIDTH_PX, height=HEIGHT_PX)


def _latent(frames: Frames, condition: str) -> pl.DataFrame:
    """The items of the condition's latent kinds."""
    kinds = frames.kinds()
    return items_of(frames, condition).filter(pl.col("kind").is_in([k for k, info in kinds.items() if group(info) == "latent"]))
