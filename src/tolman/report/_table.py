"""The parts of the page that are plain HTML: key facts, the table of results, configurations. Every value is escaped."""

import json
import math
from html import escape
from typing import Any

import polars as pl

from tolman.core.data import Verdict
from tolman.report._quantities import duration, quantity, retained
from tolman.report.summary import conditions
from tolman.run.frames import Frames, computed
from tolman.run.retention import MEASURES


def facts(frames: Frames) -> str:
    """Study, scale, seeds, machine, revision, date and totals as the inside of a definition list."""
    cells = frames.cells
    environments = [json.loads(text) for text in cells["environment"].unique(maintain_order=True)]
    seeds = sorted(cells["seed"].unique())
    machine = {f"{e['processor']}, {e['cores']} cores" + (f", {e['memory_gib']:g} GiB" if e.get("memory_gib") else "") for e in environments}
    flops, seconds = computed(cells)
    found = {
        "Study": cells["study"][0],
        "Scale": cells["scale"][0],
        "Seeds": f"{len(seeds)} ({', '.join(map(str, seeds))})" if len(seeds) <= 6 else f"{len(seeds)} ({seeds[0]} to {seeds[-1]})",
        "Cells": f"{len(cells):,} from {cells['train_fingerprint'].n_unique():,} trainings",
        "Questions asked": f"{cells['n_questions'].sum():,}",
        "Training": f"{quantity(flops)}FLOPs, {duration(seconds)}",
        "Asking": f"{quantity(float(cells['ask_flops'].sum()))}FLOPs, {duration(float(cells['ask_s'].sum()))}",
        "Machine": "; ".join(sorted(machine)),
        "Revision": ", ".join(sorted({e.get("revision") or "not from a checkout" for e in environments})),
        "Date": " to ".join(sorted({cells["created"].min()[:10], cells["created"].max()[:10]})),  # type: ignore[index]
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in found.items())


def warnings(frames: Frames) -> list[str]:
    """What a reader must know that the numbers do not show."""
    out = []
    if leaks := int(frames.cells["leaks"].max() or 0):  # type: ignore[arg-type]
        out.append(f"The leak check found up to {leaks} test statements in the training documents of a cell: its latent scores are not trustworthy.")
    if len({json.loads(text).get("revision") for text in frames.cells["environment"].unique()}) > 1:
        out.append("The cells were run by more than one revision of the source.")
    return out


def note(table: pl.DataFrame) -> str:
    """What the columns mean, for above the table."""
    one = "One seed: intervals speak of facts only. " if table["seeds"].max() == 1 else ""
    known = "General prose (nats per token, lower is better) and questions: what the model still knows after training, in brackets the change. " * _general(
        table
    )
    return f"{one}Accuracy with its 95 % interval, clustered on facts and seeds; the thin line is chance. {_recall(table)}{known}Costs are per question and per trained model."


def _general(table: pl.DataFrame) -> bool:
    """Whether retention was measured."""
    return bool(table["general_nats"].is_not_null().any())


def _recall(table: pl.DataFrame) -> str:
    return "Recall@k is the share of questions with every supporting document in context. " if table["recall"].is_finite().any() else ""


def table(table: pl.DataFrame) -> str:
    """The results as a sortable table; where documents were put in context, with recall@k; where it was measured, with what training left of
    general knowledge; where verdicts other than correct and wrong occur, they and `wrong` have columns."""
    verdicts = [v for v in Verdict if v not in (Verdict.CORRECT, Verdict.WRONG) and table[f"share_{v}"].max() > 0]  # type: ignore[operator]
    if verdicts:
        verdicts = [Verdict.WRONG, *verdicts]
    retrieved, general = bool(table["recall"].is_finite().any()), _general(table)
    heads = ["Training", "Asking", "Kind", "Accuracy", "Chance", *["Recall@k"] * retrieved, *["General prose", "General questions"] * general]
    heads += [str(v).capitalize() for v in verdicts] + [
        "Questions",
        "Facts",
        "Seeds",
        "Tokens a question",
        "FLOPs a question",
        "Training FLOPs",
        "Training time",
    ]
    numeric = set(heads[heads.index("Accuracy") :])
    head = "".join(f'<th scope="col"{_class(h in numeric)}><button type="button">{escape(h)}</button></th>' for h in heads)
    body = "".join(_row(row, verdicts, retrieved, general) for row in table.iter_rows(named=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: dict[str, Any], verdicts: list[Verdict], retrieved: bool, general: bool) -> str:
    tag = "" if row["group"] == "trained" else f'<span class="tag">{row["group"]}</span>'
    once = {cost: row[f"train_{cost}"] + row[f"generate_{cost}"] for cost in ("flops", "s")}
    cells = [
        _text(row["training"]),
        _text(row["asking"]),
        _text(row["label"], tag),
        f'<td class="number" data-sort="{row["mean"]!r}"><div class="measured">{_strip(row)}{interval(row)}</div></td>',
        _number(row["chance"], percent(row["chance"])),
        *([_number(row["recall"], percent(row["recall"]) if math.isfinite(row["recall"]) else "")] if retrieved else []),
        *((_number(row[m] or 0.0, text) for m, text in zip(MEASURES, retained(row), strict=True)) if general else ()),
        *(_number(row[f"share_{v}"], percent(row[f"share_{v}"])) for v in verdicts),
        *(_number(row[name], f"{row[name]:,}") for name in ("n", "clusters", "seeds")),
        _number(row["ask_tokens"], f"{row['ask_tokens']:,.0f}" if math.isfinite(row["ask_tokens"]) else "unknown"),
        _number(row["ask_flops"], quantity(row["ask_flops"]).strip()),
        _number(once["flops"], quantity(once["flops"]).strip()),
        _number(once["s"], duration(once["s"])),
    ]
    return f'<tr class="{row["group"]}">{"".join(cells)}</tr>'


def kinds(table: pl.DataFrame) -> str:
    """Each kind and what it asks, as the inside of a definition list."""
    out = []
    for row in table.unique("kind", maintain_order=True).iter_rows(named=True):
        group = "" if row["group"] == "trained" else f" ({row['group']})"
        out.append(f"<dt>{escape(row['label'])}</dt><dd>{escape(row['description'] + group)}</dd>")
    return "".join(out)


def configurations(frames: Frames) -> str:
    """The resolved configuration of each condition, folded."""
    of_condition = frames.cells.select("condition", "config", "seed").partition_by("condition", as_dict=True)
    out = []
    for row in conditions(frames).iter_rows(named=True):
        cells = of_condition[row["condition"],]
        config = json.loads(cells["config"][0])
        config["seed"] = sorted(cells["seed"].to_list())
        text = escape(json.dumps(config, indent=2, ensure_ascii=False))
        name = f"{escape(row['training'])} <span>/ {escape(row['asking'])} / {escape(row['condition'])}</span>"
        out.append(f'<details class="configuration"><summary>{name}</summary><pre tabindex="0">{text}</pre></details>')
    return "".join(out)


def environments(frames: Frames) -> str:
    """Each environment that cells ran in."""
    texts = [json.dumps(json.loads(text), indent=2, ensure_ascii=False) for text in frames.cells["environment"].unique(maintain_order=True)]
    return "".join(f'<pre tabindex="0">{escape(text)}</pre>' for text in texts)


def interval(row: dict[str, Any]) -> str:
    """`97.3 % [91.0, 99.8]`."""
    return f"{percent(row['mean'])} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "unknown"


def _strip(row: dict[str, Any]) -> str:
    """Accuracy, interval and chance as a small drawing that repeats the text."""
    low, mean, chance = (f"{100 * row[name]:.1f}%" for name in ("low", "mean", "chance"))
    width = f"{100 * (row['high'] - row['low']):.1f}%"
    return f'<div class="strip" aria-hidden="true"><u style="left:{chance}"></u><i style="left:{low};width:{width}"></i><b style="left:{mean}"></b></div>'


def _text(value: str, tag: str = "") -> str:
    return f'<td class="text" data-sort="{escape(value, quote=True)}">{escape(value)}{tag}</td>'


def _number(value: float, text: str) -> str:
    return f'<td class="number" data-sort="{value!r}">{escape(text)}</td>'


def _class(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
