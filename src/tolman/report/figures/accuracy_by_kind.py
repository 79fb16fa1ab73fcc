"""Accuracy by kind of question and way of asking.

A column for each training, a block of rows for each kind, a dot with its 95 % interval for each way of asking, a tick where a guesser would be.
"""

import json

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import GROUPS, estimates
from tolman.run.frames import Frames

PLACE = 1
HEADINGS = {"trained": "TRAINED FORM", "latent": "LATENT", "control": "CONTROL"}
LINE_PX = 15
"""Height of a line: from one way of asking to the next."""


def rows(frames: Frames) -> pl.DataFrame:
    """One row per training, way of asking and kind: `mean` accuracy, `low` and `high` of its 95 % interval, `chance`, `n` questions, `clusters`, `seeds`."""
    table = estimates(frames)
    kept = ("training", "asking", "test_time", "kind", "label", "group", "description", "mean", "low", "high", "chance", "n", "clusters", "seeds")
    return table.select(kept)


def draw(rows: pl.DataFrame) -> alt.FacetChart:
    """The chart of `rows`."""
    trainings = rows["training"].unique(maintain_order=True).to_list()
    columns, width = _theme.panels(trainings)
    placed, ticks, height = _layout(rows)
    colour, shape, _ = _theme.scales(_theme.methods_of(rows))
    tooltip, axis = _tooltip(), _axis(ticks)  # the axis goes to every layer: one that lacks it would bring back the default, which drops close labels
    x = alt.X("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1], nice=False, padding=7), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    y = alt.Y("at:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=axis)
    asking = alt.Color("asking:N", scale=colour)
    base = alt.Chart(placed)
    latent = base.transform_filter("datum.group == 'latent'")
    bands = latent.transform_aggregate(**{"from": "min(band_from)", "to": "max(band_to)"})  # type: ignore[arg-type]  # one each: translucent ones would add up
    layers = alt.layer(
        bands.mark_rect(color=_theme.BAND).encode(x=alt.datum(0), x2=alt.datum(1), y=alt.Y("from:Q", axis=axis), y2="to:Q"),
        base.transform_calculate(what="'chance'")
        .mark_rule(strokeWidth=1.5)
        .encode(x="chance:Q", y=alt.Y("above:Q", axis=axis), y2="below:Q", stroke=_theme.CHANCE),
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x="low:Q", x2="high:Q", y=y, color=asking, tooltip=tooltip),
        base.mark_point(filled=True, size=75, opacity=1).encode(x=x, y=y, color=asking, shape=alt.Shape("asking:N", scale=shape), tooltip=tooltip),
    ).properties(width=width, height=height * LINE_PX)
    subtitle = f"Shaded: latent kinds, never trained in the form that is asked. {_theme.intervals_said(rows)}"
    return layers.facet(facet=alt.Facet("training:N", sort=trainings, header=_theme.header(width, trainings)), columns=columns).properties(
        usermeta={"left": 130, "gap": 28}, title=_theme.heading(__doc__, subtitle, columns * width + 150)
    )


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("training:N"),
        alt.Tooltip("asking:N"),
        alt.Tooltip("label:N", title="kind"),
        alt.Tooltip("description:N", title="asks"),
        alt.Tooltip("mean:Q", title="accuracy", format=".1%"),
        alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("chance:Q", format=".1%"),
        alt.Tooltip("n:Q", title="questions", format=","),
        alt.Tooltip("clusters:Q", title="facts", format=","),
        alt.Tooltip("seeds:Q"),
    ]


def _layout(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[float, str], float]:
    """Rows with their heights on the page (`at`, `above`, `below`, `band_from`, `band_to`), the label at each height, and the height of all; a line is 1.

    A kind takes as many lines as there are ways in which it was asked in any training, so that nothing is left empty.
    """
    order = list(_theme.askings(_theme.methods_of(rows)))
    at, ticks, placed = 0.2, {}, []
    for group in (g for g in GROUPS if g in set(rows["group"])):
        top, at = at, at + 1.6
        ticks[round(top + 0.8, 3)] = HEADINGS[group]
        blocks = []
        for (label,), part in rows.filter(pl.col("group") == group).group_by("label", maintain_order=True):
            asked = [a for a in order if a in set(part["asking"])]
            ticks[round(at + len(asked) / 2, 3)] = str(label)
            heights = pl.DataFrame({"asking": asked, "at": [at + i + 0.5 for i in range(len(asked))]})
            blocks.append(part.join(heights, on="asking", maintain_order="left"))
            at += len(asked) + 0.7
        placed += [block.with_columns(band_from=pl.lit(top), band_to=pl.lit(at - 0.1)) for block in blocks]
        at += 0.4
    return pl.concat(placed).with_columns(above=pl.col("at") - 0.5, below=pl.col("at") + 0.5), ticks, round(at, 3)


def _axis(ticks: dict[float, str]) -> alt.Axis:
    """An axis that reads `ticks`, group headings small and bold."""
    headings = [at for at, label in ticks.items() if label in HEADINGS.values()]
    is_heading = f"indexof({json.dumps(headings)}, datum.value) >= 0"
    return alt.Axis(
        title=None,
        grid=False,
        values=list(ticks),
        labelOverlap=False,
        labelExpr=f"{json.dumps(list(ticks.values()))}[indexof({json.dumps(list(ticks))}, datum.value)]",
        labelFontWeight={"condition": {"test": is_heading, "value": "bold"}, "value": "normal"},  # type: ignore[arg-type]
        labelFontSize={"condition": {"test": is_heading, "value": 11}, "value": 13},  # type: ignore[arg-type]
    )
