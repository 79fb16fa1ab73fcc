"""The report of a run: one HTML page that needs no network, and its figures as files beside it.

Everything that the page shows is in it: Vega, figures with their data, the table, a sample of single questions. Labels are escaped; documents and model
output reach the page as JSON data and are set as text by its script. A Content-Security-Policy allows only the page's own two scripts, by their hashes, and
no connection at all.
"""

import base64
import functools
import hashlib
import importlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import vl_convert

from tolman.core.discovery import names
from tolman.core.errors import UserError
from tolman.report import _table, _theme
from tolman.report._items import explorer
from tolman.report.summary import estimates
from tolman.run.frames import Frames
from tolman.run.store import write_atomically

PNG_SCALE = 2.0


def write_report(folder: Path, frames: Frames, *, headline: str, notes: Sequence[str] = (), plan: Mapping[str, Any] | None = None) -> Path:
    """Write `folder`/report.html and `folder`/figures/ (each figure as SVG, PNG and CSV; results.csv), and return the page's path.

    `plan` is what the run's plan.json says (None: read it in `folder`, if it is there); title and changed settings come from it.
    A figure without data is left out. Raises UserError if there are no cells or a file cannot be written.
    """
    if frames.cells.is_empty():
        raise UserError(f"there is nothing to report in {folder}: no cell is finished")
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write the report to {folder}: {error.strerror}") from error
    plan = _plan(folder) if plan is None else plan
    library = _library()
    table = estimates(frames)
    figures = _figures(frames)
    csv = {"results": table.write_csv()} | {name: rows.write_csv() for name, rows, _ in figures}
    for name, _, spec in figures:
        svg = _theme.svg(spec)
        write_atomically(folder / "figures" / f"{name}.svg", svg.encode())
        write_atomically(folder / "figures" / f"{name}.png", vl_convert.svg_to_png(svg, scale=PNG_SCALE))
    for name, text in csv.items():
        write_atomically(folder / "figures" / f"{name}.csv", text.encode())
    embedded = {name: {k: v for k, v in spec.items() if k != "config"} for name, _, spec in figures}  # the page brings its own, light or dark
    page = _page(frames, table, plan, embedded, csv, library, headline, notes)
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


@functools.cache
def _library() -> Future[str]:
    """Vega's script, once for all pages of a process. It takes as long to put together as everything else, and holds the interpreter's lock: so another process does it."""
    pool = ThreadPoolExecutor(1)
    script = pool.submit(_bundled)
    pool.shutdown(wait=False)
    return script


def _bundled() -> str:
    code = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
    try:
        return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):  # no other process to be had
        return vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub asks for an argument that it does not need


def _plan(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "plan.json").read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{folder / 'plan.json'} is damaged: {error}; run the study again to write it anew") from error


def _figures(frames: Frames) -> list[tuple[str, pl.DataFrame, dict[str, Any]]]:
    """Name, rows and Vega-Lite description of every figure that has data, by the modules' PLACE (those without one last) and name."""
    out = []
    modules = {name: importlib.import_module(path) for name, path in names("report/figures").items()}
    for name, module in sorted(modules.items(), key=lambda found: (getattr(found[1], "PLACE", math.inf), found[0])):
        rows = module.rows(frames)
        if not rows.is_empty():
            out.append((name, rows, _theme.specification(module.draw(rows))))
    return out


def _page(
    frames: Frames,
    table: pl.DataFrame,
    plan: Mapping[str, Any],
    figures: dict[str, Any],
    csv: dict[str, str],
    library: Future[str],
    headline: str,
    notes: Sequence[str],
) -> str:
    items = explorer(frames)
    data = {"figures": figures, "themes": {"light": _theme.config(), "dark": _theme.config(dark=True)}, "explorer": items, "csv": csv}
    scripts = {"library": _closed(library.result()), "script": _asset("page.js") + _asset("explorer.js")}
    first = frames.cells.row(0, named=True)
    changed = [f"Changed for this run: {', '.join(settings)}."] if (settings := plan.get("settings")) else []
    one_seed = frames.cells["seed"].n_unique() == 1
    return _fill(
        _asset("page.html"),
        {
            "policy": _policy(scripts.values()),
            "style": _asset("style.css"),
            "title": escape(plan.get("title") or first["study"]),
            "study": escape(first["study"]),
            "scale": escape(first["scale"]),
            "headline": escape(headline.replace(" %", "\u00a0%")),
            "seed_warning": '<p class="warning">One seed: intervals speak of facts only, not of other worlds or trainings.</p>' if one_seed else "",
            "facts": _table.facts(frames),
            "notes": _notes([*notes, *changed, *_table.warnings(frames)]),
            "figures": "".join(_figure(name, spec) for name, spec in figures.items()),
            "table_note": escape(_table.note(table)),
            "table": _table.table(table),
            "kinds": _table.kinds(table),
            "sample_note": _sample_note(items),
            "configurations": _table.configurations(frames),
            "environments": _table.environments(frames),
            "data": _json(data),
            **scripts,
        },
    )


def _figure(name: str, spec: dict[str, Any]) -> str:
    title, subtitle = spec["title"]["text"], " ".join(spec["title"].get("subtitle") or [])
    links = "".join(
        f'<a href="figures/{name}.{kind}" download="{name}.{kind}" data-save="{name}" data-as="{kind}">{kind.upper()}</a>' for kind in ("svg", "png", "csv")
    )
    return (
        f'<figure id="{name}"><h2>{escape(title)}</h2><p class="sub">{escape(subtitle)}</p>'
        f'<div class="chart" data-figure="{name}" role="group" aria-label="{escape(title, quote=True)}"></div>'
        f"<figcaption><span>Save as</span>{links}</figcaption></figure>"
    )


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _sample_note(items: dict[str, Any]) -> str:
    if items["shown"] == items["total"]:
        return f"All {items['total']:,} items: each question as it was asked and answered. They are also in items.parquet."
    return f"{items['shown']:,} of {items['total']:,} items, questions sampled evenly within each seed and kind. All are in items.parquet."


def _policy(scripts: Any) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'none'; base-uri 'none'; form-action 'none'"


def _closed(script: str) -> str:
    """`script` without what would end its element early. Only strings and regular expressions hold these, and there the backslash changes nothing."""
    return re.sub(r"<(/script|!--)", r"\\x3C\1", script, flags=re.IGNORECASE)


def _json(value: Any) -> str:
    """JSON that can stand in a script element: ASCII, with <, > and & escaped; what is not a number is null."""
    text = json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def _fill(template: str, values: dict[str, str]) -> str:
    """`template` with each {{name}} replaced, in one pass: what a value holds is never taken for a name."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], template)


def _asset(name: str) -> str:
    return (files("tolman.report") / name).read_text("utf-8")
