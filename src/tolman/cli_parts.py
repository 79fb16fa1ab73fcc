"""What the verbs of the command line share: where they print, how a setting is read, how a plan is run with its progress shown."""

import json
from typing import Any

import typer
from rich.console import Console

from tolman.core.errors import UserError

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def parse_setting(text: str) -> tuple[str, Any]:
    """`train_time.steps=200` as a path and a JSON value (or a string, where it is no JSON)."""
    path, equals, value = text.partition("=")
    if not equals or "." not in path:
        raise UserError(f"--set {text!r}: write PART.FIELD=VALUE, such as train_time.steps=200")
    try:
        return path, json.loads(value)
    except (ValueError, RecursionError):
        return path, value


def asked_per_kind(text: str | None) -> dict[str, int | None]:
    """`--questions-per-kind` as a setting: a number, `all`, or not given."""
    if text is None:
        return {}
    if text != "all" and not (text.isdecimal() and int(text) > 0):
        raise UserError(f"--questions-per-kind {text!r}: give a number from 1 on, or all")
    return {"dataset.per_kind": None if text == "all" else int(text)}


def run_plan(plan: Any, stopped: type[Exception], *, workers: int | None = 1, engine: str = "local", address: str | None = None) -> None:
    """Run with progress shown on standard error."""
    from tolman.report.terminal import RunProgress

    groups = plan.unfinished()
    labels = {g[0].train_fingerprint(): f"{g[0].training}, seed {g[0].seed}" for g in groups}
    if finished := len(plan.groups()) - len(groups):
        err.print(f"{finished} of {len(plan.groups())} trainings are finished already")
    try:
        with RunProgress(err, labels, workers or len(groups)) as progress:
            plan.run(progress, workers, engine=engine, address=address)
    except (stopped, KeyboardInterrupt) as error:
        err.print("[yellow]stopped[/]; what was finished is kept, and the same command goes on from there")
        raise typer.Exit(130) from error
