"""How far does accuracy fall with the number of distractors, and with what they are?

A panel for each training and latent kind; a line for each kind of distractors and place of the documents that are needed. The band reaches to the most that one in-context sequence
of the training showed beside the fact it asked for.
"""

import json

import altair as alt
import polars as pl

from tolman.report import _theme
from tolman.report.summary import accuracy, group, words
from tolman.run.frames import Frames

PLACE = 2
SERIES = {
    ("any", "random"): ("any documents", "#0072B2", "circle"),
    ("rare_word", "random"): ("with the rarest word of the question (a name)", "#D55E00", "square"),
    ("common_word", "random"): ("with its commonest word (a relation)", "#E69F00", "diamond"),
    ("any", "first"): ("any, the needed ones first", "#009E73", "triangle-up"),
    ("any", "last"): ("any, the needed ones last", "#CC79A7", "triangle-down"),
}
"""(like, place) of the oracle -> what it is called, colour, shape."""
LEAST = 3
"""Below so many numbers of distractors there is no curve to draw."""
_SEEN = {"datasets/reversals": "episode_facts", "datasets/codebooks": "episode_definitions", "datasets/two_hop": "episode_facts"}
_SAME = ("condition", "training", "kinds")
"""What cells have in common that differ in their seed only."""
COLUMNS = {"panel": pl.String, "training": pl.String, "kind": pl.String, "what": pl.String, "distractors": pl.Int64, "seen": pl.Int64, "mean": pl.Float64,
           "low": pl.Float64, "high": pl.Float64, "n": pl.Int64, "clusters": pl.Int64, "seeds": pl.Int64}  # fmt: skip


def rows(frames: Frames) -> pl.DataFrame:
    """One row per training, latent kind, kind and number of distractors, of cells that ask through an oracle; none where a study has fewer than LEAST numbers.
    `seen` is the most distractors that an in-context sequence of the training had, where that is known."""
    cells = []
    for condition, training, kinds, config in frames.cells.select(*_SAME, "config").unique(_SAME, maintain_order=True).iter_rows():
        cell = json.loads(config)
        oracle = cell["test_time"].get("retriever", {})
        if oracle.get("is") != "memory/oracle":
            continue
        what = SERIES[oracle.get("like", "any"), oracle.get("place", "random")][0] if _drawn(oracle) else None
        facts = cell["dataset"].get(_SEEN.get(cell["dataset"]["is"], ""))
        latent = [kind for kind, info in json.loads(kinds).items() if group(info) == "latent"]
        about = {"condition": condition, "training": training, "kinds": kinds, "what": what, "distractors": oracle["distractors"], "seen": facts and facts - 1}
        cells += [about | {"kind": kind} for kind in latent if what]
    if len({c["distractors"] for c in cells}) < LEAST:
        return pl.DataFrame(schema=COLUMNS)
    keys = ("training", "kind", "what", "distractors", "seen")
    schema = {**dict.fromkeys(_SAME, pl.String), **{k: COLUMNS[k] for k in keys}}
    placed = frames.cells.select("fingerprint", *_SAME).join(pl.DataFrame(cells, schema=schema), on=_SAME).drop("condition", "kinds")
    items = frames.items.select("fingerprint", "kind", "cluster", "seed", "correct").join(placed, on=["fingerprint", "kind"], maintain_order="left")
    out = []
    for key, mine in items.group_by(keys, maintain_order=True):
        named = dict(zip(keys, key, strict=True))
        value = accuracy(mine)
        out.append(
            named
            | {"panel": f"{named['training'].partition(',')[0]}: {words(str(named['kind']))}"}
            | {k: getattr(value, k) for k in ("mean", "low", "high", "n", "clusters", "seeds")}
        )
    return pl.DataFrame(out, schema=COLUMNS)


def _drawn(oracle: dict[str, str]) -> bool:
    return (oracle.get("like", "any"), oracle.get("place", "random")) in SERIES


def draw(rows: pl.DataFrame) -> alt.FacetChart:
    """The chart of `rows`."""
    panels = rows["panel"].unique(maintain_order=True).to_list()
    columns, width = _theme.panels(panels)
    present = set(rows["what"])
    series = [(what, colour, shape) for what, colour, shape in SERIES.values() if what in present]
    counts = sorted(set(rows["distractors"]))
    scale = alt.Scale(type="symlog", constant=1, domain=[-0.12, max(counts) * 1.12], nice=False)
    x = alt.X("distractors:Q", title="distractors in context", scale=scale, axis=alt.Axis(values=counts, format="d", grid=False, labelOverlap=True))
    y = alt.Y("mean:Q", title="accuracy", scale=alt.Scale(domain=[0, 1], nice=False, padding=7), axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]))
    names, colours, shapes = (list(column) for column in zip(*series, strict=True))
    colour = alt.Color("what:N", scale=alt.Scale(domain=names, range=colours), legend=alt.Legend(columns=2, labelLimit=400))
    shape = alt.Shape("what:N", scale=alt.Scale(domain=names, range=shapes))
    tooltip = [
        alt.Tooltip("panel:N"), alt.Tooltip("what:N", title="distractors"), alt.Tooltip("distractors:Q", title="how many"),
        alt.Tooltip("mean:Q", title="accuracy", format=".1%"), alt.Tooltip("low:Q", title="interval from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"), alt.Tooltip("clusters:Q", title="facts"), alt.Tooltip("seeds:Q"),
    ]  # fmt: skip
    base = alt.Chart(rows)
    band = base.transform_filter("isValid(datum.seen)").transform_aggregate(seen="max(seen)", groupby=["panel"])  # one each: translucent ones would add up
    layers = alt.layer(
        band.transform_calculate(none="0").mark_rect(color=_theme.BAND).encode(x=alt.X("none:Q", scale=scale), x2="seen:Q"),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        base.mark_rule(strokeWidth=2.5, strokeOpacity=0.5).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        base.mark_point(filled=True, size=75, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    ).properties(width=width, height=230)
    subtitle = f"Shaded: as many as training showed beside the fact it asked for. {_theme.intervals_said(rows)}"
    return layers.facet(facet=alt.Facet("panel:N", sort=panels, header=_theme.header(width, panels)), columns=columns).properties(
        usermeta={"left": 60, "gap": 28}, title=_theme.heading(__doc__, subtitle, columns * width + 60)
    )
