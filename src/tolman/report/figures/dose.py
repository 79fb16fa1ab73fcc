"""How many facts must be seen reversed before the others reverse?

A panel for each setting. To the right, more of the facts are stated in both directions, to the left fewer; each tick leaves a tenth of what the last one left.
"""

import json
import math

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy
from tolman.run.frames import Frames

PLACE = 0
KINDS = {
    "trained_reversed": ("stated both ways, asked reversed", "#7a7a7a"),
    "heldout_forward": ("stated forward only, asked forward", "#0072B2"),
    "heldout_reversal": ("stated forward only, asked reversed", "#D55E00"),
}
COLUMNS = {"setting": pl.String, "share": pl.Float64, "kind": pl.String, "what": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64,
           "n": pl.Int64, "clusters": pl.Int64, "seeds": pl.Int64}  # fmt: skip


def rows(frames: Frames) -> pl.DataFrame:
    """One row per setting, share of the facts stated both ways, and kind; none where a study of reversals has a single share. `setting` is the training's label
    without its last part, which names the share."""
    cells = []
    for fingerprint, training, config in frames.cells.filter(pl.col("dataset") == "datasets/reversals").select("fingerprint", "training", "config").iter_rows():
        d = json.loads(config)["dataset"]
        if "reversed_share" not in d:
            continue
        facts = d["entities"] * d["relations"]
        share = round(d["reversed_share"] * (facts - d["held_out"])) / facts
        cells.append({"fingerprint": fingerprint, "setting": training.rpartition(", ")[0], "share": share})
    if len({c["share"] for c in cells}) < 2:
        return pl.DataFrame(schema=COLUMNS)
    items = frames.items.filter(pl.col("kind").is_in(list(KINDS))).join(pl.DataFrame(cells), on="fingerprint", maintain_order="left")
    out = []
    for (setting, share, kind), mine in items.group_by("setting", "share", "kind", maintain_order=True):
        found = accuracy(mine)
        out.append(
            {"setting": setting, "share": share, "kind": kind, "what": KINDS[str(kind)][0]}
            | {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}
        )
    return pl.DataFrame(out, schema=COLUMNS)


def draw(rows: pl.DataFrame) -> alt.FacetChart:
    """The chart of `rows`."""
    settings = rows["setting"].unique(maintain_order=True).to_list()
    columns, width = _theme.panels(settings)
    most = float(rows["share"].max())  # type: ignore[arg-type]
    placed = rows.with_columns(nines=-(1 - pl.col("share")).log10())
    ticks = {-math.log10(1 - share): f"{100 * share:g} %" for share in (0, 0.5, 0.9, 0.99, 0.999, 0.9999) if share <= most + 1e-9}
    axis = alt.Axis(
        values=list(ticks), labelExpr=f"{json.dumps(list(ticks.values()))}[indexof({json.dumps([round(t, 4) for t in ticks])}, round(datum.value * 1e4) / 1e4)]"
    )
    x = alt.X(
        "nines:Q", title="facts stated in both directions", axis=axis, scale=alt.Scale(domain=[-0.12, max(*ticks, -math.log10(1 - most)) + 0.12], nice=False)
    )
    y = alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1], nice=False, padding=7), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    colour = alt.Color(
        "what:N", scale=alt.Scale(domain=[what for what, _ in KINDS.values()], range=[c for _, c in KINDS.values()]), legend=alt.Legend(columns=1)
    )
    tooltip = [
        alt.Tooltip("setting:N"), alt.Tooltip("share:Q", title="stated both ways", format=".2%"), alt.Tooltip("what:N", title="asked"),
        alt.Tooltip("mean:Q", title="accuracy", format=".1%"), alt.Tooltip("low:Q", title="interval from", format=".1%"), alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("clusters:Q", title="facts"), alt.Tooltip("seeds:Q"),
    ]  # fmt: skip
    shape = alt.Shape("what:N", scale=alt.Scale(domain=[what for what, _ in KINDS.values()], range=["square", "diamond", "circle"]))
    base = alt.Chart(placed)
    layers = alt.layer(
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        base.mark_rule(strokeWidth=2.5, strokeOpacity=0.6).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        base.mark_point(filled=True, size=75, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    ).properties(width=width, height=190)  # fmt: skip
    subtitle = f"All asked from the weights alone. {_theme.intervals_said(rows)}"
    return layers.facet(facet=alt.Facet("setting:N", sort=settings, header=_theme.header(width)), columns=columns).properties(
        usermeta={"left": 60, "gap": 28}, title=_theme.heading(__doc__, subtitle, columns * width + 60)
    )
