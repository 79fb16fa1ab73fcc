"""What is learned when: accuracy over training.

A row for each kind asked while the model trained, a column for each training, a line for each way of asking: the mean over seeds, with each seed as a thin
line.
"""

import json

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import GROUPS, group, words
from tolman.run.frames import Frames

PLACE = 2
HEIGHT_PX = 150


def rows(frames: Frames) -> pl.DataFrame:
    """One row per training, way of asking, kind, step and seed; `seed` null is the mean over seeds.

    `tokens`, `flops` and `seconds` are what training had cost by then; `chance` is that of the kind under the scoring of that way of asking;
    `n` counts questions, `seeds` trainings.
    """
    points = frames.trainings.filter(pl.col("kind").is_not_null())
    chance = _chance(frames)
    key = ["training", "asking", "kind", "step"]
    measures = ("tokens", "flops", "seconds", "loss", "accuracy")
    mean = points.group_by(key, maintain_order=True).agg(
        *[pl.col(m).cast(pl.Float64).mean() for m in measures], pl.col("n").sum(), pl.col("seed").n_unique().cast(pl.Int64).alias("seeds")
    )
    single = points.select(*key, *[pl.col(m).cast(pl.Float64) for m in measures], "n", pl.lit(1, pl.Int64).alias("seeds"), "seed")
    both = pl.concat([mean.with_columns(pl.lit(None, pl.Int64).alias("seed")), single])
    joined = both.join(
        chance, on=["training", "asking", "kind"], how="inner", maintain_order="left"
    )  # a shared training may have been watched for another study
    order = pl.col("group").replace_strict({g: i for i, g in enumerate(GROUPS)}, default=len(GROUPS), return_dtype=pl.Int64)
    return joined.sort(order, maintain_order=True)


def draw(rows: pl.DataFrame) -> alt.VConcatChart:
    """The chart of `rows`."""
    shown = ("training", "asking", "kind", "label", "group", "step", "seed", "chance", "accuracy", "loss", "tokens", "seconds")
    short = rows.select(shown).with_columns(pl.col("accuracy", "loss", "chance").round(4), pl.col("seconds").round(1))
    parts = short.partition_by("kind", maintain_order=True)
    sections = [_section(part, rows, first=i == 0, last=i == len(parts) - 1) for i, part in enumerate(parts)]
    seeds = int(rows["seeds"].max() or 1)  # type: ignore[arg-type]
    lines = "One seed." if seeds == 1 else f"Bold: mean over {seeds} seeds; thin: each seed."
    columns, width = _theme.panels(rows["training"].unique().to_list())
    subtitle = f"{lines} A point asks {_questions(rows)} questions of each model."
    return alt.vconcat(*sections, spacing=8).properties(usermeta={"left": 60, "gap": 28}, title=_theme.heading(__doc__, subtitle, columns * width + 60))


def _section(part: pl.DataFrame, rows: pl.DataFrame, *, first: bool, last: bool) -> alt.FacetChart:
    """One kind: a panel for each training. The first names the trainings, the last the axis."""
    trainings = rows["training"].unique(maintain_order=True).to_list()
    columns, width = _theme.panels(trainings)
    colour, _, dash = _theme.scales(_theme.methods_of(rows))
    group = "" if part["group"][0] == "trained" else f" ({part['group'][0]})"
    above = {
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "start",
        "titleX": 0,
        "titleY": -12,
        "titleFontSize": 13,
        "titleFontWeight": 600,
        "titlePadding": 0,
    }
    axis = alt.Axis(format="%", values=[0, 0.5, 1], **above)  # type: ignore[arg-type]
    most = float(rows["step"].max() or 1)  # type: ignore[arg-type]
    x = alt.X(
        "step:Q", title="training step" if last else None, scale=alt.Scale(domain=[0, most], nice=False), axis=alt.Axis(format=",.0f", tickCount=4, grid=False)
    )
    y = alt.Y("accuracy:Q", title=part["label"][0] + group, scale=alt.Scale(domain=[0, 1], nice=False, padding=4), axis=axis)
    asking, dashed = alt.Color("asking:N", scale=colour), alt.StrokeDash("asking:N", scale=dash)
    base = alt.Chart(part)
    mean, single = base.transform_filter("datum.seed === null"), base.transform_filter("datum.seed !== null")
    chance = base.transform_aggregate(n="count()", groupby=["chance"]).transform_calculate(what="'chance'")
    layers = alt.layer(
        chance.mark_rule(strokeWidth=1.5).encode(y="chance:Q", stroke=_theme.CHANCE),
        single.mark_line(strokeWidth=1, strokeOpacity=0.4).encode(x=x, y=y, color=asking, detail="seed:N"),
        mean.mark_line(strokeWidth=2.5).encode(x=x, y=y, color=asking, strokeDash=dashed),
        mean.mark_circle(size=90, fillOpacity=0).encode(x=x, y=y, tooltip=_tooltip()),
    ).properties(width=width, height=HEIGHT_PX)
    header = _theme.header(width, trainings, padding=28)
    if not first:
        header.labelExpr = "''"
    return layers.facet(facet=alt.Facet("training:N", sort=trainings, header=header), columns=columns)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("asking:N"),
        alt.Tooltip("label:N", title="kind"),
        alt.Tooltip("step:Q", format=","),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("loss:Q", title="loss, nats a token", format=".3f"),
        alt.Tooltip("tokens:Q", title="tokens trained on", format=".3s"),
        alt.Tooltip("seconds:Q", title="seconds of training", format=",.0f"),
    ]


def _questions(rows: pl.DataFrame) -> str:
    each = rows.filter(pl.col("seed").is_not_null())["n"].unique().sort().to_list()
    return str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}"


def _chance(frames: Frames) -> pl.DataFrame:
    """Label, group, chance and test-time method of each training, way of asking and kind, by the labels that the cells have."""
    cells = frames.cells.group_by("training", "asking", "test_time", "kinds", maintain_order=True).len()
    told = [
        {"kinds": text, "kind": kind, "label": words(kind), "group": group(info), "chance": info["chance"]}
        for text in cells["kinds"].unique(maintain_order=True)
        for kind, info in json.loads(text).items()
    ]
    schema = dict.fromkeys(("kinds", "kind", "label", "group"), pl.String) | {"chance": pl.Float64}
    return (
        cells.join(pl.DataFrame(told, schema=schema), on="kinds", maintain_order="left_right")
        .with_columns(pl.col("chance").repeat_by("len"))  # the mean is over cells
        .explode("chance")
        .group_by("training", "asking", "kind", maintain_order=True)
        .agg(*[pl.col(c).first() for c in ("test_time", "label", "group")], pl.col("chance").mean())
    )
