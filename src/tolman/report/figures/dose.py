"""How many facts must be seen reversed before the others reverse?

Above, a panel for each setting: to the right more of the facts are stated in both directions, on a scale that gives each tenfold reduction of the rest the same room.
Below, where the records have it, what does bring reversals: other objectives over the same facts, and the fact itself in context.
"""

import json
import math
from collections import defaultdict
from typing import Any

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy, words
from tolman.run.frames import Frames

PLACE = 0
KINDS = {
    "trained_reversed": ("stated both ways, asked reversed", "#6f6f6f", "square"),
    "heldout_forward": ("stated forward only, asked forward", "#0072B2", "diamond"),
    "heldout_reversal": ("stated forward only, asked reversed", "#D55E00", "circle"),
}
"""Kind -> what is asked, its colour and its shape. The last is the question; the others show that the facts, and reversing, were learned."""
LATENT = "heldout_reversal"
CONTRASTS = {"objective": "Another objective over the same facts", "context": "The fact put in context"}
"""What does bring reversals, where it is not the share."""
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("part", "setting", "sizes", "training"), pl.String),
    "share": pl.Float64,
    **dict.fromkeys(("kind", "what"), pl.String),
    "relation": pl.Int64,
    **dict.fromkeys(("chance", "mean", "low", "high"), pl.Float64),
    **dict.fromkeys(("n", "clusters", "seeds"), pl.Int64),
}
SHARES = (0, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Those that get a tick."""
HEIGHT_PX, ROW_PX = 165, 40
NAMES_AT = {True: (0.8, 0.69, 0.58), False: (0.2, 0.31, 0.42)}
"""Heights of the names of lines in the first panel: those of lines in the upper half, and in the lower."""
REVERSES = 0.5
"""From this accuracy on, held-out facts are said to reverse."""


def rows(frames: Frames) -> pl.DataFrame:
    """One row per `part`, setting, share of the facts stated both ways, and kind; none where no study of reversals has more than one share.

    `part` is `share` for the settings of a study in which the share varies (next-token training, asked from the weights), `objective` for trainings by another objective
    and `context` for questions asked with the fact in context, each beside its own study's next-token or closed-book result. `relation` is null for all relations
    pooled; held-out reversals also have a row for each relation. `sizes` and `training` say what the setting was.
    """
    of_world = frames.cells.filter(pl.col("dataset") == "datasets/reversals")
    cells = [cell | _about(cell) for cell in of_world.unique(_SAME, keep="first", maintain_order=True).iter_rows(named=True)]
    cells = [cell for cell in cells if cell["share"] is not None]
    seen: dict[tuple[str, str], set[Any]] = defaultdict(set)
    for cell in cells:
        seen[cell["study"], "share"].add(cell["share"])
        for field in ("objective", "test_time") if cell["scoring"] == "scoring/exact" else ():
            seen[cell["study"], field].add(cell[field])
    placed = [{k: c[k] for k in _SAME} | {"part": part} | {k: c[k] for k in _KEPT} for c in cells if (part := _part(c, seen))]
    if not any(p["part"] == "share" for p in placed):
        return pl.DataFrame(schema=COLUMNS)
    kinds = {text: json.loads(text) for text in of_world["kinds"].unique()}
    shared = {name: of_world.schema[name] for name in _SAME}
    placed = of_world.select("fingerprint", "kinds", *_SAME).join(pl.DataFrame(placed, schema_overrides=shared), on=_SAME, nulls_equal=True)
    items = frames.items.select("fingerprint", "kind", "cluster", "seed", "correct").filter(pl.col("kind").is_in(list(KINDS)))
    items = items.join(placed, on="fingerprint", how="inner", maintain_order="left")
    out = []
    for (part, setting, share, kind), mine in items.group_by("part", "setting", "share", "kind", maintain_order=True):
        here = {"part": part, "setting": setting, "share": share, "kind": kind}
        first = mine.row(0, named=True)
        said = mine.unique("fingerprint", maintain_order=True)["kinds"]
        chance = sum(kinds[text][kind]["chance"] for text in said) / len(said)
        about = here | {"what": KINDS[kind][0], "sizes": first["sizes"], "training": first["about_training"], "chance": chance}
        out.append(about | {"relation": None} | _numbers(mine))
        if kind == LATENT and part == "share":
            by_relation = mine.with_columns(relation=pl.col("cluster").str.extract(r"-(\d+)$").cast(pl.Int64)).drop_nulls("relation")
            out += [about | {"relation": r} | _numbers(group) for (r,), group in sorted(by_relation.group_by("relation"), key=lambda found: found[0])]
    return pl.DataFrame(out, schema=COLUMNS)


def draw(rows: pl.DataFrame) -> alt.VConcatChart:
    """The chart of `rows`."""
    doses, contrasts = rows.filter(pl.col("part") == "share"), rows.filter(pl.col("part") != "share")
    settings = doses["setting"].unique(maintain_order=True).to_list()
    columns, width = _theme.panels(settings)
    panels = [_panel(doses.filter(pl.col("setting") == s), doses, width, first=i == 0, last=i >= len(settings) - columns) for i, s in enumerate(settings)]
    found = {str(name): part for (name,), part in contrasts.group_by("part", maintain_order=True)}
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    free = columns - len(lines[-1])
    if free and len(lines) > 1 and "context" in found:  # the panels leave room for it
        lines[-1].append(_contrast(found.pop("context"), "context", free * width + 60 * (free - 1) + 45))
    parts: list[Any] = [alt.vconcat(*[alt.hconcat(*line, spacing=26) for line in lines], spacing=22)]
    if found:
        each = (columns * width + 25 * columns - 75) // 2 if len(found) > 1 else columns * width + 25 * columns + 5
        parts.append(alt.hconcat(*[_contrast(part, name, each) for name, part in found.items()], spacing=34))
    chance = 100 * float(doses["chance"].max())  # type: ignore[arg-type]
    subtitle = (
        f"{said(rows)} Answers from the weights alone, per cent right. {_theme.intervals_said(doses)} "
        f"Small dots: single relations. Dashed: a guess among the names, right in {chance:.2g} %."
    )
    return alt.vconcat(*parts, spacing=36).properties(usermeta={"left": 76, "gap": 80}, title=_theme.heading(__doc__, subtitle, columns * width + 60))


def said(rows: pl.DataFrame) -> str:
    """What the curves show, as a sentence made from the numbers."""
    held = rows.filter((pl.col("part") == "share") & (pl.col("kind") == LATENT) & pl.col("relation").is_null())
    rising = held.filter(pl.col("mean") > REVERSES).sort("share")
    if not rising.is_empty():
        first = rising.row(0, named=True)
        return f"Held-out facts first reverse with {percent(first['share'])} of the facts stated both ways ({first['setting']}: {100 * first['mean']:.0f} %)."
    most, largest = held.sort("share").row(-1, named=True), 100 * float(held["mean"].max())  # type: ignore[arg-type]
    return (
        f"No threshold up to {percent(most['share'])}: in no setting and at no share do more than {largest:.1f} % of the held-out facts come out reversed "
        f"(at {percent(most['share'])}: {100 * most['mean']:.1f} % [{100 * most['low']:.1f}, {100 * most['high']:.1f}])."
    )


def percent(share: float) -> str:
    """`95 %`, `99.9 %`, `99.99 %`: three digits, or as many as tell a share that is nearly one from one."""
    return f"{100 * share:.6g} %" if share > 0.99 else f"{100 * share:.3g} %"


_SAME = ("study", "condition", "training", "asking", "parameters")
"""What cells have in common that differ in their seed only."""
_KEPT = ("setting", "share", "sizes", "about_training")
_CHANCE = "#8b8b8b"


def _about(cell: dict[str, Any]) -> dict[str, Any]:
    """What a cell of the reversal world was, from its configuration: share stated both ways, sizes and training in words. `share` is None where that is not known."""
    config = json.loads(cell["config"])
    world, train = config["dataset"], config["train_time"]
    if "reversed_share" not in world:
        return {"share": None}
    facts = world["entities"] * world["relations"]
    parameters = f", {cell['parameters'] / 1e6:.2g} M parameters" if cell["parameters"] else ""
    decay = f", weight decay {train['weight_decay']:g}" if "weight_decay" in train else ""
    return {
        "share": round(world["reversed_share"] * (facts - world["held_out"])) / facts,
        "setting": cell["training"].rpartition(", ")[0] or cell["training"],
        "sizes": f"{facts:,} facts{parameters}",
        "about_training": f"{train['steps']:,} steps{decay}" if "steps" in train else "",
        "objective": train.get("objective", "next_token"),
        "episodes": world.get("episodes", "none"),
        "distractors": config["test_time"].get("retriever", {}).get("distractors"),
    }


def _part(cell: dict[str, Any], seen: dict[tuple[str, str], set[Any]]) -> str | None:
    """Which part of the figure a cell belongs to, if any; contrasts get the label that tells them apart as their `setting`. `seen`: (study, field) -> its values."""
    if cell["scoring"] != "scoring/exact":
        return None
    if len(seen[cell["study"], "share"]) > 1:
        return "share" if cell["test_time"] == "test_time/closed_book" and cell["objective"] == "next_token" else None
    if seen[cell["study"], "objective"] - {"next_token"}:
        cell["setting"] = cell["training"]
        return "objective"
    if seen[cell["study"], "test_time"] - {"test_time/closed_book"} and cell["episodes"] == "fresh" and cell["distractors"] in (None, 3):
        cell["setting"] = cell["asking"]
        return "context"
    return None


def _numbers(items: pl.DataFrame) -> dict[str, Any]:
    found = accuracy(items)
    return {k: getattr(found, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _scales() -> tuple[alt.Scale, alt.Scale]:
    """Colour and shape by kind."""
    names = [what for what, _, _ in KINDS.values()]
    return alt.Scale(domain=names, range=[c for _, c, _ in KINDS.values()]), alt.Scale(domain=names, range=[s for _, _, s in KINDS.values()])


def _panel(mine: pl.DataFrame, doses: pl.DataFrame, width: int, *, first: bool, last: bool) -> alt.LayerChart | alt.FacetChart:
    """One setting: controls and held-out reversals over the share. The first panel names them, the last row the axis."""
    most = float(doses["share"].max())  # type: ignore[arg-type]
    ends = [-0.2, max(_nines(most), _nines(0.99)) + 0.2]
    ticks = {round(_nines(share), 4): f"{100 * share:g}" for share in SHARES if _nines(share) < ends[1]}
    labels = f"{json.dumps(list(ticks.values()))}[indexof({json.dumps(list(ticks))}, round(datum.value * 1e4) / 1e4)]"
    x_axis = alt.Axis(values=list(ticks), labelExpr=labels, labelOverlap=False, labelFontSize=12, grid=False)
    x = alt.X("at:Q", title="facts stated in both directions, %" if last else None, axis=x_axis, scale=alt.Scale(domain=ends, nice=False))
    y_axis = alt.Axis(values=[0, 0.5, 1], labelExpr="100 * datum.value + ' %'", labelFontSize=12)
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(domain=[-0.03, 1.03], nice=False), axis=y_axis)
    aside = {"trained_reversed": -1, "heldout_forward": 1, LATENT: 0}  # so that marks at one place stand side by side
    pixel = (ends[1] - ends[0]) / width
    beside = 5 * pl.col("kind").replace_strict(aside, return_dtype=pl.Float64)
    spread = 4 * (pl.col("relation") - pl.col("relation").max() / 2)
    placed = mine.with_columns(at=-(1 - pl.col("share")).log10() + pixel * pl.coalesce(spread, beside))
    colours, shapes = _scales()
    colour, shape = alt.Color("what:N", scale=colours, legend=None), alt.Shape("what:N", scale=shapes, legend=None)
    pooled, single = alt.Chart(placed.filter(pl.col("relation").is_null())), alt.Chart(placed.filter(pl.col("relation").is_not_null()))
    chance = alt.Chart(mine.filter(pl.col("kind") == LATENT).select(pl.col("chance").mean()))
    layers: list[Any] = [
        chance.mark_rule(strokeWidth=1, strokeDash=[3, 3], color=_CHANCE).encode(y=alt.Y("chance:Q", title=None)),
        single.mark_point(filled=True, size=9, opacity=0.45).encode(x=x, y=y, color=colour, tooltip=_tooltip("relation:O")),
        pooled.mark_line(strokeWidth=2, strokeOpacity=0.55).encode(x=x, y=y, color=colour),
        pooled.mark_rule(strokeWidth=2.5, strokeOpacity=0.6).encode(x=x, y=alt.Y("low:Q", title=None), y2="high:Q", color=colour),
        pooled.mark_point(filled=True, size=62, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=_tooltip()),
    ]
    if first:
        layers.append(_names(mine, ends, colour, shape))
    title = alt.TitleParams(
        mine["setting"][0], subtitle=[mine["sizes"][0], mine["training"][0]], fontSize=14, subtitleFontSize=12, subtitleLineHeight=16, offset=10
    )
    return alt.layer(*layers).properties(width=width, height=HEIGHT_PX, title=title)


def _names(mine: pl.DataFrame, ends: list[float], colour: alt.Color, shape: alt.Shape) -> alt.LayerChart | alt.FacetChart:
    """What each line is, in its colour: under lines in the upper half, over those in the lower."""
    means = mine.filter(pl.col("relation").is_null()).group_by("kind", "what").agg(pl.col("mean").mean())
    out, left = [], ends[0] + 0.1 * (ends[1] - ends[0])
    for upper in (True, False):
        half = means.filter((pl.col("mean") >= 0.5) == upper).sort("mean", "kind", descending=[upper, True])
        out += [{"what": what, "y": y, "x": left} for what, y in zip(half["what"], NAMES_AT[upper], strict=False)]
    base = alt.Chart(pl.DataFrame(out)).encode(x="x:Q", y="y:Q", color=colour)
    return base.mark_text(fontSize=12, align="left", baseline="middle", dx=9).encode(text="what:N") + base.mark_point(filled=True, size=62, opacity=1).encode(
        shape=shape
    )


def _contrast(rows: pl.DataFrame, part: str, width: int) -> alt.LayerChart | alt.FacetChart:
    """What may bring reversals: a line for each way, with its name above it; held-out reversals between their controls."""
    settings = rows["setting"].unique(maintain_order=True).to_list()
    aside = {"trained_reversed": -0.15, "heldout_forward": 0.15, LATENT: 0.0}
    line = pl.col("setting").replace_strict({name: i + 0.68 for i, name in enumerate(settings)}, return_dtype=pl.Float64)
    placed = rows.with_columns(at=line + pl.col("kind").replace_strict(aside, return_dtype=pl.Float64))
    colours, shapes = _scales()
    colour, shape = alt.Color("what:N", scale=colours, legend=None), alt.Shape("what:N", scale=shapes, legend=None)
    percents = alt.Axis(labelExpr="100 * datum.value + ' %'", values=[0, 0.5, 1], labelFontSize=12)
    x = alt.X("mean:Q", title="answered right", scale=alt.Scale(domain=[-0.03, 1.03], nice=False), axis=percents)
    y = alt.Y("at:Q", scale=alt.Scale(domain=[len(settings) + 0.1, 0], nice=False, zero=False), axis=None)
    names = pl.DataFrame({"name": [words(s) for s in settings], "at": [i + 0.27 for i in range(len(settings))], "x": [0.0] * len(settings)})
    base = alt.Chart(placed)
    shares = sorted(rows["share"].unique().to_list())
    stated = f"{' to '.join(percent(s) for s in dict.fromkeys((shares[0], shares[-1])))} of the facts stated both ways"
    title = alt.TitleParams(CONTRASTS[part], subtitle=[stated], fontSize=14, subtitleFontSize=12, offset=10)
    return alt.layer(
        alt.Chart(names).mark_text(fontSize=12, align="left", baseline="middle", dx=4).encode(x="x:Q", y=y, text="name:N"),
        base.mark_rule(strokeWidth=2.5, strokeOpacity=0.6).encode(x=alt.X("low:Q", title="answered right"), x2="high:Q", y=y, color=colour),
        base.mark_point(filled=True, size=62, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=_tooltip()),
    ).properties(width=width, height=(len(settings) + 0.1) * ROW_PX, title=title)


def _tooltip(*more: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("setting:N"), alt.Tooltip("share:Q", title="stated both ways", format=".2%"), alt.Tooltip("what:N", title="asked"),
        *(alt.Tooltip(name) for name in more),
        alt.Tooltip("mean:Q", title="right", format=".1%"), alt.Tooltip("low:Q", title="interval from", format=".1%"), alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("n:Q", title="questions", format=","), alt.Tooltip("clusters:Q", title="facts", format=","), alt.Tooltip("seeds:Q"),
    ]  # fmt: skip
