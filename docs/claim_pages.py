"""A page for each claim that records speak of, drawn and written from these records: docs/claims/C04.md with its figure C04.svg beside it.

The figure's file begins with a fingerprint of what was drawn, by which `--check` tells whether it is that of the records: letters differ in width from machine to
machine, and with them the drawing.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "claims"
MARK = "<!-- drawn from {} -->"
SCALE_SAYS = {
    "quick": "Scale `quick`: the smallest worlds, made to run in minutes. It shows the pattern; it is not the size to settle a claim at.",
    "small": "Scale `small`: small worlds and small models, their sizes as above; larger ones may differ.",
    "paper": "Scale `paper`: the sizes that the papers state, where they do.",
}


def write_claims(results: Path, *, check: bool) -> list[Path]:
    """Write the pages and figures that differ from the records, and remove pages whose claim no record speaks of. With `check`, only say which these are."""
    from tolman.studies._ledger import LEDGER
    from tolman.studies._settle import settle

    stale, kept = [], set()
    for verdict in settle(results, list(LEDGER)):
        if verdict.verdict == "not run":
            continue
        spec = figure(results, verdict)
        page, drawing = FOLDER / f"{verdict.id}.md", FOLDER / f"{verdict.id}.svg"
        kept |= {page, drawing} if spec else {page}
        stale += update(page, "\n".join(lines(results, verdict, pictured=spec is not None)) + "\n", check)
        if spec is not None:
            stale += redraw(drawing, spec, check)
    for left in {*FOLDER.glob("C*.md"), *FOLDER.glob("C*.svg")} - kept:
        stale.append(left)
        if not check:
            left.unlink()
    return stale


def index(results: Path) -> str:
    """The whole ledger as a Markdown table, what is not run too."""
    from tolman.studies._ledger import LEDGER
    from tolman.studies._settle import settle

    out = ["| id | claim | verdict | measured | from |", "|---|---|---|---|---|"]
    for verdict in settle(results, list(LEDGER)):
        ran = verdict.outcome if verdict.verdict != "not run" else None
        name, checks = (f"[{verdict.id}](claims/{verdict.id}.md)", ran.checks) if ran else (verdict.id, ())
        told = [c for i, c in enumerate(checks) if i < 3 or not c.holds][:4]
        numbers = "<br>".join(f"{c.what}: {c.measured.mean:.2f} [{c.measured.low:.2f}, {c.measured.high:.2f}]" for c in told)
        more = f"<br>and {len(checks) - len(told)} more" if len(checks) > len(told) else ""
        out.append(
            f"| {name} | {LEDGER[verdict.id].says} | {verdict.verdict} | {numbers}{more} | {', '.join(f'`{r.name}`' for r in verdict.runs) if ran else ''} |"
        )
    return "\n".join(out) + "\n"


def figure(results: Path, verdict: Any) -> dict[str, Any] | None:
    """The Vega-Lite description of a claim's figure: the one that its study names, else its checks; None where nothing was measured."""
    from tolman.core.discovery import module
    from tolman.report import _theme, checks
    from tolman.run.frames import Frames
    from tolman.studies._settle import largest, studies, together

    for ran in verdict.runs:
        if (picture := getattr(studies()[ran.study], "pictures", {}).get(verdict.id)) is None:
            continue
        beside = [folder for study in picture.beside if (folder := largest(results, study))]
        drawing = module("report/figures", picture.figure)
        rows = drawing.rows(together([Frames.read(folder) for folder in (results / ran.name, *beside)]))
        if not rows.is_empty():
            return _theme.specification(drawing.draw(rows))
    rows = checks.rows(verdict.to_dict()["checks"])
    return None if rows.is_empty() else _theme.specification(checks.draw(rows, f"{verdict.id}: {verdict.verdict}"))


def lines(results: Path, verdict: Any, *, pictured: bool) -> Iterator[str]:
    """A claim's page: verdict, figure, rule, what was measured, what was run at what cost, and the limits of all this."""
    from tolman.studies._ledger import LEDGER
    from tolman.studies._settle import studies

    claim, outcome = LEDGER[verdict.id], verdict.outcome
    yield from (f"# {verdict.id}: {claim.says}", "", f"**Verdict: {verdict.verdict}.**", "")
    if pictured:
        yield from (f"![What was measured, and where the rule asks it to be]({verdict.id}.svg)", "")
    yield from ("## The rule, written before the run", "", f"{claim.rule[0].upper()}{claim.rule[1:]}.", "")
    for ran in verdict.runs:
        applied = " ".join((studies()[ran.study].claims[verdict.id].__doc__ or "").split())
        yield f"- As study `{ran.study}` applies it: {applied}"
    yield from ("", "## What was measured", "", "| measured | mean [95 % interval] | must be | n | facts | seeds | |", "|---|---|---|---:|---:|---:|---|")
    for c in outcome.checks:
        m = c.measured
        yield f"| {c.what} | {m} | {c.must} | {m.n:,} | {m.clusters:,} | {m.seeds} | {'yes' if c.holds else '**no**'} |"
    yield from ("", "## What was run", "")
    for ran in verdict.runs:
        yield from run_lines(results, ran)
    yield from ("## Limits", "")
    yield from (f"- {text}" for text in limits(verdict))
    yield from ("", "[All claims](../claims.md). This page is written by `make docs` from the records; nothing in it is typed.")


def run_lines(results: Path, ran: Any) -> Iterator[str]:
    """One run: its study, size, machine and cost, the sizes that all its trainings share and a table of those that differ."""
    from tolman.report._quantities import duration, parameters, quantity
    from tolman.run.frames import Frames
    from tolman.studies._settle import sizes, studies

    frames = Frames.read(results / ran.name)
    machines = sorted({f"{e['processor']}, {e['cores']} cores" for e in map(json.loads, frames.cells["environment"].unique())})
    days = sorted({frames.cells["created"].min()[:10], frames.cells["created"].max()[:10]})  # type: ignore[index]
    title = studies()[ran.study].__doc__.strip().split("\n")[0]
    yield from (f"**`{ran.name}`** ({title})", "")
    ran_what = f"{ran.seeds} seeds, {ran.trainings} trainings{parameters(ran.parameters)}, {len(frames.cells)} cells, {ran.questions:,} questions"
    yield f"- {ran_what}; {' to '.join(days)} on {'; '.join(machines)}."
    yield f"- Cost of the whole run: training {quantity(ran.train_flops)}FLOPs in {duration(ran.train_s)}, asking {quantity(ran.ask_flops)}FLOPs in {duration(ran.ask_s)}."
    yield f"- Again: `tolman run {ran.study} --scale {ran.scale} --seeds {ran.seeds}`."
    common, differing = sizes(frames)
    for part in ("dataset", "model", "train_time"):
        fields = ", ".join(f"{name.partition('.')[2]} {value}" for name, value in common.items() if name.startswith(part))
        address = frames.cells[part].unique(maintain_order=True).to_list()
        yield f"- {' and '.join(f'`{a}`' for a in address)}: {fields or 'nothing in common'}."
    if len(differing) > 1:
        yield from differences(differing)
    yield ""


MOST_COLUMNS = 14


def differences(differing: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """The fields in which trainings differ: a table, or a line for each training where that would be too wide."""
    named = [(training, {name.partition(".")[2]: short(value) for name, value in fields.items()}) for training, fields in differing]
    names = list(named[0][1])
    if len(names) > MOST_COLUMNS:
        yield "- The trainings differ in:"
        yield from (f"  - {training}: {', '.join(f'{name} {value}' for name, value in fields.items() if value)}." for training, fields in named)
    elif names:
        yield from ("", "| training | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names))
        yield from (f"| {training} | {' | '.join(fields.values())} |" for training, fields in named)


def short(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def limits(verdict: Any) -> Iterator[str]:
    """What the verdict does not say, as far as the records know it."""
    from tolman.studies._settle import studies
    from tolman.studies._study import MIN_SEEDS

    outcome = verdict.outcome
    if outcome.note:
        yield outcome.note
    if outcome.open:
        yield f"Open: {outcome.open}."
    yield from (SCALE_SAYS[scale] for scale in dict.fromkeys(ran.scale for ran in verdict.runs))
    for ran in verdict.runs:
        larger = [s for s in studies()[ran.study].scales if list(SCALE_SAYS).index(s) > list(SCALE_SAYS).index(ran.scale)]
        if larger:
            yield f"`tolman run {ran.study} --scale {larger[-1]}` would be larger; no records of it are here (or they have fewer than {MIN_SEEDS} seeds)."
    if outcome.seeds < MIN_SEEDS:
        yield f"{outcome.seeds} of {MIN_SEEDS} seeds: the intervals say little of other worlds and trainings."
    judged = [c for c in outcome.checks if c.must[:2] in (">=", "<=")]
    across = [c for c in judged if c.measured.low < c.threshold < c.measured.high]
    if judged:
        yield f"Thresholds (>=, <=) are judged by the mean: of {len(judged)} intervals {len(across)} reach{'es' if len(across) == 1 else ''} across the threshold."


def update(page: Path, text: str, check: bool) -> list[Path]:
    """`page` if its text differs from `text`, which is written unless only checked."""
    if page.exists() and page.read_text() == text:
        return []
    if not check:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
    return [page]


def redraw(drawing: Path, spec: dict[str, Any], check: bool) -> list[Path]:
    """`drawing` if it was not drawn from `spec`; it is drawn unless only checked."""
    from tolman.core.component import digest
    from tolman.report import _theme

    mark = MARK.format(digest(rounded({k: v for k, v in spec.items() if k != "$schema"})))
    if drawing.exists() and drawing.read_text().endswith(mark + "\n"):
        return []
    if not check:
        drawing.write_text(_theme.svg(spec) + "\n" + mark + "\n")
    return [drawing]


def rounded(value: Any) -> Any:
    """`value` with numbers to six digits, names that altair counts up (`view_3`, `data-...`) made plain: the same on every machine."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        named = {k: rounded(v) for k, v in value.items() if k not in ("name", "datasets")}
        return named | ({"datasets": [rounded(v) for v in value["datasets"].values()]} if "datasets" in value else {})
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return re.sub(r"^(view|concat|param|layer)_\d+$", r"\1", value) if isinstance(value, str) else value
