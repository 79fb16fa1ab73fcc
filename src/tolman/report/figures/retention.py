"""What was gained, and what general knowledge it cost.

A dot for each training of a model that knew more than the corpus: upwards, how much of the corpus it answers; to the right, how much worse it does on general prose, or how
many general questions it no longer answers. Trained and latent kinds apart.
"""

from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy, conditions, group, items_of
from tolman.run.frames import Frames

PLACE = 3.5
PANELS = {
    "prose": ("general_nats", 1.0, "general prose, nats per token lost"),
    "questions": ("general_accuracy", -1.0, "general questions no longer answered"),
}
"""Panel -> what was measured, the sign that makes a loss positive, and the axis in words."""
GROUPS = {"trained": "trained form", "latent": "latent"}
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("panel", "training", "asking", "group"), pl.String),
    **dict.fromkeys(("before", "after", "lost", "mean", "low", "high"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
}
WIDTH_PX, HEIGHT_PX = 380, 300


def rows(frames: Frames) -> pl.DataFrame:
    """One row per panel, training and group of kinds, where retention was measured: `before` and `after` training, `lost` (positive where the model does worse), and accuracy
    (`mean`, `low`, `high`) over the group's kinds as first asked (closed book, if it was)."""
    table = conditions(frames).filter(pl.col("general_nats").is_not_null() & pl.col("general_nats_before").is_not_null())
    kinds = frames.kinds()
    out = []
    for _, mine in table.group_by("training", maintain_order=True):
        closed = mine.filter(pl.col("test_time") == "test_time/closed_book")
        row = (closed if len(closed) else mine).row(0, named=True)
        for name, label in GROUPS.items():
            items = items_of(frames, row["condition"]).filter(pl.col("kind").is_in([k for k, info in kinds.items() if group(info) == name]))
            found = accuracy(items)
            if items.is_empty():
                continue
            for panel, (measure, sign, _) in PANELS.items():
                before, after = row[f"{measure}_before"], row[measure]
                about = {"panel": panel, "training": row["training"], "asking": row["asking"], "group": label, "before": before, "after": after}
                out.append(about | {"lost": sign * (after - before)} | {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")})
    return pl.DataFrame(out, schema=COLUMNS)


def draw(rows: pl.DataFrame) -> alt.ConcatChart:
    """The chart of `rows`."""
    asked = rows["asking"].unique(maintain_order=True).to_list()
    subtitle = f"Asked {', '.join(asked)}. Right of the line: worse than before training. {_theme.intervals_said(rows)}"
    charts = [_panel(rows, panel) for panel in PANELS]
    return alt.concat(*charts, columns=2).properties(usermeta={"left": 75, "gap": 110}, title=_theme.heading(__doc__, subtitle, 2 * WIDTH_PX + 60))


def _panel(rows: pl.DataFrame, panel: str) -> alt.LayerChart | alt.FacetChart:
    part = rows.filter(pl.col("panel") == panel)
    trainings = rows["training"].unique(maintain_order=True).to_list()
    shape = alt.Scale(domain=trainings, range=[_theme.SHAPES[i % len(_theme.SHAPES)] for i in range(len(trainings))])
    colour = alt.Color("group:N", scale=alt.Scale(domain=list(GROUPS.values()), range=[_theme.OTHERS[3][0], _theme.HUES["test_time/closed_book"][0]]))
    ends = min(0.0, float(part["lost"].min())), max(0.0, float(part["lost"].max()))  # type: ignore[arg-type]
    room = 0.08 * (ends[1] - ends[0]) or 0.1
    form = "%" if panel == "questions" else "+.2f"
    x = alt.X(
        "lost:Q",
        title=PANELS[panel][2],
        scale=alt.Scale(domain=[ends[0] - room, ends[1] + room], nice=False),
        axis=alt.Axis(format=form, tickCount=5, grid=False),
    )
    y = alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1], nice=False, padding=7), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    tooltip = [
        alt.Tooltip("training:N"), alt.Tooltip("group:N", title="kinds"), alt.Tooltip("before:Q", format=".3f"), alt.Tooltip("after:Q", format=".3f"),
        alt.Tooltip("mean:Q", title="accuracy", format=".1%"), alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"), alt.Tooltip("n:Q", title="questions", format=","),
    ]  # fmt: skip
    base = alt.Chart(part)
    return alt.layer(
        alt.Chart(part.head(1)).mark_rule(strokeWidth=1, color=_theme.LIGHT["soft"]).encode(x=alt.datum(0)),
        base.mark_rule(strokeWidth=2, strokeOpacity=0.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x, y=y, color=colour, shape=alt.Shape("training:N", scale=shape, legend=alt.Legend(orient="bottom", columns=2)), tooltip=tooltip
        ),
    ).properties(width=WIDTH_PX, height=HEIGHT_PX)
