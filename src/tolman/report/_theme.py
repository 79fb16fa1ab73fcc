"""How figures look: one theme, light and dark; one colour and shape for each way of asking, the same in every figure.

Hues are those of Okabe and Ito (2008), which readers with any of the common colour deficiencies tell apart; shape or dash repeats what colour says.
A test-time method has a hue (closed book vermillion, in context green, retrieval blue), its variants are shades of it.
"""

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from tolman.report.summary import naturally

FONT = "Inter, Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
HUES: dict[str, tuple[str, tuple[str, str]]] = {
    "test_time/closed_book": ("#D55E00", ("#D55E00", "#E69F00")),
    "test_time/in_context": ("#009E73", ("#007A58", "#52C9A3")),
    "test_time/retrieval": ("#0072B2", ("#86C8F0", "#005E99")),
}
"""Test-time method -> its colour, and the ends of the range from which its variants take theirs."""
OTHERS = (("#CC79A7", ("#A04878", "#E7AECB")), ("#A08A00", ("#7A6A00", "#D6C23C")), ("#6D6AA8", ("#4B4890", "#A5A2D6")), ("#7A7A7A", ("#555555", "#AAAAAA")))
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "triangle-right", "triangle-left")
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3], [5, 2], [1, 2], [12, 4], [4, 1, 1, 1])
CHANCE = alt.Stroke("what:N", scale=alt.Scale(domain=["chance"], range=["#8b8b8b"]), legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=2))
"""How the line of chance is drawn: the layer gives its data the constant column `what` = 'chance', which puts it in the legend."""
BAND = "rgba(128, 118, 90, 0.13)"
LIGHT = {"ink": "#1d1d1b", "soft": "#5b5b57", "line": "#d9d8d3", "paper": "#ffffff"}
DARK = {"ink": "#ecebe6", "soft": "#aaa9a2", "line": "#3a3a38", "paper": "#191918"}


def askings(methods: Mapping[str, str]) -> dict[str, tuple[str, str, list[int]]]:
    """Way of asking -> colour, shape, dash. `methods` maps each label to the address of its test-time method; the result has the order of figures:
    methods as they first come, variants of one in natural order of their labels."""
    spare = iter(OTHERS * (1 + len(methods)))
    look: dict[str, tuple[str, str, list[int]]] = {}
    for method in dict.fromkeys(methods.values()):
        labels = sorted((label for label, m in methods.items() if m == method), key=naturally)
        base, ends = HUES.get(method) or next(spare)
        for i, label in enumerate(labels):
            at = len(look)
            colour = base if len(labels) == 1 else _mix(*ends, i / (len(labels) - 1))
            look[label] = (colour, SHAPES[at % len(SHAPES)], DASHES[at % len(DASHES)])
    return look


def scales(methods: Mapping[str, str]) -> tuple[alt.Scale, alt.Scale, alt.Scale]:
    """Scales for colour, shape and dash by way of asking."""
    look = askings(methods)
    domain = list(look)
    return tuple(alt.Scale(domain=domain, range=[style[i] for style in look.values()]) for i in range(3))  # type: ignore[return-value]


def methods_of(rows: Any) -> dict[str, str]:
    """Way of asking -> address of its test-time method, from the columns `asking` and `test_time` of a figure's rows."""
    return dict(rows.select("asking", "test_time").unique(maintain_order=True).iter_rows())


def heading(docstring: str | None, subtitle: str, width: int) -> alt.TitleParams:
    """A figure's title: the first line of its module's docstring, over a subtitle wrapped to `width` pixels."""
    assert docstring, "a figure's module begins with a docstring: its first line is the title"
    return alt.TitleParams(docstring.split("\n")[0].rstrip("."), subtitle=wrapped(subtitle, width / 6.1))


def wrapped(text: str, characters: float) -> list[str]:
    """`text` in lines of at most so many characters; a number and its % stay together."""
    return textwrap.wrap(text.replace(" %", "\u00a0%"), max(40, int(characters)))


def panels(labels: Sequence[str]) -> tuple[int, int]:
    """How many panels stand side by side, and how wide each is in pixels."""
    columns = min(3, max(1, len(labels)))
    return columns, {1: 560, 2: 350, 3: 270}[columns]


def header(width: int, labels: Sequence[str], padding: int = 8) -> alt.Header:
    """Header of panels, their labels wrapped so that none runs into the next."""
    lines = {label: textwrap.wrap(label, int(width / 8.5)) for label in labels}
    return alt.Header(title=None, labelExpr=f"{json.dumps(lines)}[datum.label]", labelAnchor="start", labelPadding=padding)


def intervals_said(rows: Any) -> str:
    """What the bars are and speak of, as a sentence for a subtitle."""
    seeds = rows["seeds"].max()
    return "Bars: 95 % intervals; with one seed they speak of facts only." if seeds == 1 else f"Bars: 95 % intervals, clustered on facts and on {seeds} seeds."


def specification(chart: alt.TopLevelMixin, *, dark: bool = False) -> dict[str, Any]:
    """The Vega-Lite description of `chart` with its data and our theme. Leaves altair's own settings as they were.

    Not validated here, which takes longer than all else: the contract of figures does that.
    """
    alt.theme.register("tolman", enable=False)(lambda: alt.theme.ThemeConfig(config=config(dark)))  # type: ignore[typeddict-item]
    with alt.theme.enable("tolman"), alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict(validate=False)


def svg(spec: Mapping[str, Any]) -> str:
    """The figure as an SVG file of about half the size: coordinates to a hundredth of a pixel, without the description of every single mark."""
    drawn = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=vega_lite())
    drawn = re.sub(r' (?:aria-roledescription|aria-label|role)="[^"]*"', "", drawn)
    numbers = re.compile(r"-?\d+\.\d{3,}(?:e-\d+)?")
    return re.sub(
        r' (?:d|transform|x[12]?|y[12]?|width|height)="[^"]*"',
        lambda found: numbers.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), found[0]),
        drawn,
    )


def vega_lite() -> str:
    """The newest Vega-Lite that the converter has: the one in the page's bundle too."""
    return max(vl_convert.get_vegalite_versions(), key=lambda version: [int(part) for part in version.split(".")])


def config(dark: bool = False) -> dict[str, Any]:
    """The theme as a Vega-Lite configuration."""
    c = DARK if dark else LIGHT
    axis = {
        "labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal", "labelColor": c["ink"], "titleColor": c["soft"], "titlePadding": 10,
        "gridColor": c["line"], "domainColor": c["line"], "tickColor": c["line"], "labelPadding": 6, "labelLimit": 320, "tickSize": 4,
    }  # fmt: skip
    return {
        "font": FONT, "background": c["paper"], "padding": 12, "view": {"stroke": None},
        "title": {
            "anchor": "start", "frame": "group", "fontSize": 18, "fontWeight": 600, "color": c["ink"], "offset": 18,
            "subtitleFontSize": 13, "subtitleColor": c["soft"], "subtitlePadding": 6, "subtitleLineHeight": 18,
        },
        "axis": axis, "axisY": {"domain": False, "ticks": False}, "axisX": {"grid": True},
        "header": {"labelFontSize": 14, "labelFontWeight": 600, "labelColor": c["ink"], "labelPadding": 8},
        "legend": {
            "orient": "top", "direction": "horizontal", "columns": 4, "title": None, "labelFontSize": 13, "labelColor": c["ink"], "labelLimit": 300,
            "symbolSize": 90, "symbolBaseFillColor": c["ink"], "symbolStrokeWidth": 2, "columnPadding": 18, "rowPadding": 4, "offset": 14,
        },
        "facet": {"spacing": 28}, "concat": {"spacing": 36}, "text": {"color": c["ink"]},
    }  # fmt: skip


def _mix(first: str, second: str, share: float) -> str:
    a, b = ([int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (first, second))
    return "#" + "".join(f"{round(x + (y - x) * share):02X}" for x, y in zip(a, b, strict=True))
