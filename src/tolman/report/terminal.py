"""Tables and progress for the terminal, as rich renderables; `cli` prints them."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from tolman.report._quantities import duration, parameters, quantity, retained

LABEL, CELL = 30, 16
"""Columns that a label and a number with its interval take."""
MOST_CHECKS = 6
"""So many of a claim's checks are shown in the ledger; all of them where a claim is asked for by its id."""


def span(seconds: float | None) -> str:
    """A duration as people say it: 48 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def percent(mean: float, low: float, high: float) -> str:
    """`97 [91, 99]`, in per cent."""
    return f"{100 * mean:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def results_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Accuracy by condition and kind. `rows` have training, asking, kind, mean, low, high, recall, chance, seeds."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    retrieved = any(math.isfinite(row["recall"]) for row in rows)
    caption = "per cent correct [95 % interval]" + "; found: per cent with every supporting document in context (recall@k)" * retrieved
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("training")
    table.add_column("asking")
    for kind in kinds:
        table.add_column(kind.replace("_", "\n", 1), justify="right")
    general = any(row.get("general_nats") is not None for row in rows)
    if general:
        table.add_column("general\nprose", justify="right")
        table.add_column("general\nquestions", justify="right")
        table.caption = (
            "per cent correct [95 % interval]; general: nats per token and per cent of what the model knew before, in brackets the change by training"
        )
    last = None
    for training, asking in dict.fromkeys((row["training"], row["asking"]) for row in rows):
        mine = {row["kind"]: row for row in rows if (row["training"], row["asking"]) == (training, asking)}
        if last is not None and last != training:
            table.add_section()
        found = [_measured(mine.get(k)) for k in kinds]
        table.add_row(training if training != last else "", asking, *found, *(retained(next(iter(mine.values()))) if general else ()))
        last = training
    return table


def results(rows: Sequence[Mapping[str, Any]], title: str, *, width: int) -> RenderableType:
    """`results_table` where it fits into `width` columns; else a table for each few kinds, the trainings as headings in it."""
    whole = results_table(rows, title)
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    if width >= 2 * LABEL + CELL * len(kinds):
        return whole
    each = max(1, (width - LABEL) // CELL)
    tables = []
    for at in range(0, len(kinds), each):
        some = kinds[at : at + each]
        mine = [row for row in rows if row["kind"] in some]
        table = Table(title=title if not at else None, title_justify="left", caption_justify="left")
        table.add_column("asking", min_width=LABEL - 4)
        for kind in some:
            table.add_column(kind.replace("_", "\n", 1), justify="right", no_wrap=True)
        for training in dict.fromkeys(row["training"] for row in mine):
            table.add_section()
            table.add_row(Text(training, style="bold"))
            for asking in dict.fromkeys(row["asking"] for row in mine if row["training"] == training):
                found = {row["kind"]: row for row in mine if (row["training"], row["asking"]) == (training, asking)}
                table.add_row(asking, *(_measured(found.get(kind)) for kind in some))
        tables.append(table)
    tables[-1].caption = whole.caption
    return Group(*tables)


def _measured(row: Mapping[str, Any] | None) -> str:
    """`97 [91, 99]`, and under it `found 100` where documents were put in context."""
    if row is None:
        return ""
    found = f"\nfound {100 * row['recall']:.0f}" if math.isfinite(row["recall"]) else ""
    return percent(row["mean"], row["low"], row["high"]) + found


class TimeLeft(ProgressColumn):
    """Time left from the whole of what is left and the speed so far."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("left_s")
        return Text("" if left is None else f"{span(left)} left", style="cyan")


class RunProgress:
    """Shows how a run goes: bars on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, labels: Mapping[str, str], workers: int) -> None:
        self.console, self.labels, self.workers = console, labels, max(1, workers)
        self.done: dict[str, float] = dict.fromkeys(labels, 0.0)
        self.began = time.monotonic()
        self.said = 0.0
        self.bars = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeLeft(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.whole = self.bars.add_task("trainings", total=len(labels), note="", left_s=None)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "RunProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind, training = event["event"], event.get("training", "")
        if kind == "warning":
            self.console.print(f"[yellow]warning:[/] {event['text']}", highlight=False)
        elif kind == "building":
            self.tasks.setdefault(training, self.bars.add_task(self.labels.get(training, training), total=None, note="building the corpus", left_s=None))
        elif kind == "step":
            self.done[training] = 0.95 * event["step"] / event["steps"]
            if training in self.tasks:
                self.bars.update(self.tasks[training], completed=event["step"], total=event["steps"], note=f"loss {event.get('loss', float('nan')):.3f}")
        elif kind == "trained" and training in self.tasks:
            self.bars.update(self.tasks[training], note="asking")
        elif kind == "group":
            self.done[training] = 1.0
            if training in self.tasks:
                self.bars.remove_task(self.tasks.pop(training))
        left = self.left_s()
        self.bars.update(self.whole, completed=sum(d == 1.0 for d in self.done.values()), left_s=left)
        if not self.console.is_terminal and time.monotonic() - self.said > 15:
            self.said = time.monotonic()
            finished = sum(self.done.values()) / max(1, len(self.done))
            self.console.print(f"{100 * finished:3.0f} % of {len(self.done)} trainings, {span(left)} left" if left is not None else "started", highlight=False)

    def left_s(self) -> float | None:
        """Seconds left at the speed so far; None before there is a speed."""
        finished = sum(self.done.values())
        elapsed = time.monotonic() - self.began
        return None if finished < 0.02 or elapsed < 2 else elapsed * (len(self.done) - finished) / finished


def ledger(verdicts: Sequence[Mapping[str, Any]], *, full: bool = False) -> RenderableType:
    """A block for each claim: verdict, claim, key numbers with intervals, what they come from and its cost. `verdicts` are what `tolman claims --json` prints.

    Of many checks the first and those that fail are shown; `full` shows all, and the rule.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for verdict in verdicts:
        name = verdict["verdict"]
        style = {"holds": "green", "does not hold here": "red", "not run": "dim"}.get(name.partition(":")[0], "yellow")
        parts: list[RenderableType] = [Text(name, style=f"bold {style}"), Text(verdict["claim"])]
        if full:
            parts.append(Text(f"Rule: {verdict['rule']}.", style="italic"))
        if not verdict["runs"]:
            claim = Text.assemble(("not run  ", "dim"), verdict["claim"])
            parts = [
                claim,
                *parts[2:],
                *([Text(f"Decided by: tolman run {', '.join(verdict['studies'])}", style="dim")] if full and verdict["studies"] else []),
            ]
        else:
            parts += [_checks(verdict["checks"], full), *(Text(_ran(run), style="dim") for run in verdict["runs"])]
            parts += [Text(verdict["note"])] if full and verdict["note"] else []
        table.add_row(verdict["id"], Group(*parts, Text()))
    return table


def _checks(checks: Sequence[Mapping[str, Any]], full: bool) -> RenderableType:
    """What was measured, with its interval, beside what it must be."""
    shown = checks if full or len(checks) <= MOST_CHECKS else [c for i, c in enumerate(checks) if i < MOST_CHECKS - 2 or not c["holds"]][:MOST_CHECKS]
    grid = Table.grid(padding=(0, 2))
    for column in ({"no_wrap": True}, {"min_width": 12}, {"no_wrap": True}, {}):
        grid.add_column(**column)  # type: ignore[arg-type]
    for c in shown:
        must = c["must"].replace(" (whole interval)", ", surely")
        mark = Text("ok", style="green") if c["holds"] else Text("no", style="red")
        mean, low, high = (f"{c[k]:.{3 if full else 2}f}" for k in ("mean", "low", "high"))
        measured = Text(f"{mean} [{low}, {high}]")
        if full:
            measured.append(f"\nn = {c['n']}, {c['seeds']} seed{'s' * (c['seeds'] != 1)}", style="dim")
        grid.add_row(mark, Text(c["what"]), measured, must)
    left = [c for c in checks if c not in shown]
    if left:
        failing = sum(not c["holds"] for c in left)
        grid.add_row("", f"and {len(left)} more, " + (f"{failing} of them not as claimed" if failing else "all as claimed"), "", "")
    return grid


def _ran(run: Mapping[str, Any]) -> str:
    """`reversals-quick: 3 seeds, 9 trainings of 0.57 M parameters, 54 TFLOPs in 17 min`."""
    seeds, trainings = f"{run['seeds']} seed{'s' * (run['seeds'] != 1)}", f"{run['trainings']} training{'s' * (run['trainings'] != 1)}"
    return f"{run['name']}: {seeds}, {trainings}{parameters(run['parameters'])}, {quantity(run['train_flops'])}FLOPs in {duration(run['train_s'])}"


def listing(title: str, rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Names with a line about each."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table
