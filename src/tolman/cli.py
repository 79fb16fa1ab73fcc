"""The verbs, from list to export; those that change taught directories are in `cli_documents`. Heavy imports happen inside the verb that needs them."""

import json
import math
import os
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from tolman.cli_documents import add, ask, forget, questions, teach
from tolman.cli_parts import asked_per_kind, err, out, parse_setting, run_plan
from tolman.core.discovery import FOLDERS, names, summary
from tolman.core.errors import UserError, suggest

app = typer.Typer(help="What did your language model really learn? Controlled studies of learning in weights and in context.", no_args_is_help=True,
                  add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)  # fmt: skip


@app.command("list")
def list_() -> None:
    """The studies and components there are."""
    from tolman.report.terminal import listing

    for folder in ("studies", *FOLDERS):
        if rows := [(name, summary(module)) for name, module in names(folder).items()]:
            out.print(listing(folder, rows))
            out.print()


@app.command()
def show(name: Annotated[str, typer.Argument(help="A study or component, such as reversals or train_time/pretrain.")], seed: int = 0) -> None:
    """What NAME is: its fields with their documentation, its scales, sample documents and questions."""
    from tolman.report.describe import describe_component, describe_study

    found = [f"{folder}/{n}" for folder in ("studies", *FOLDERS) for n in names(folder) if name in (n, f"{folder}/{n}")]
    if not found:
        every = {n for folder in ("studies", *FOLDERS) for n in names(folder)}
        raise UserError(f"there is no study or component {name!r}; {suggest(name.rpartition('/')[2], every)}")
    for address in found:
        folder, _, short = address.partition("/")
        for part in describe_study(short) if folder == "studies" else describe_component(address, seed):
            out.print(part)


@app.command()
def run(  # noqa: PLR0913
    study: Annotated[str, typer.Argument(help="Which study; `tolman list` names them.")],
    scale: Annotated[str, typer.Option(help="How large: quick, small or paper.")] = "quick",
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds (0, 1, ...); each scale has its own default.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PART.FIELD=VALUE", help="Change a field, such as train_time.steps=200; repeatable.")
    ] = None,
    folder: Annotated[str, typer.Option("--out", help="The store: trained models, records, reports. A folder, or a URL such as s3://bucket/runs.")] = "runs",
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at once; by default all, up to the cores.")] = None,
    engine: Annotated[str, typer.Option(help="Where trainings run: local (this machine) or ray (a cluster).")] = "local",
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster, such as auto or 10.0.0.1:6379; by default one is begun on this machine.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per cell and kind, and nothing else, on standard output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and about how long and how much memory it takes.")] = False,
) -> None:
    """Run a study: what is finished is not run again, what was interrupted goes on."""
    from tolman.run import ranks
    from tolman.run.execute import Stopped
    from tolman.run.plan import result_rows

    if ranks.together() and engine != "local":
        raise UserError(f"--engine {engine} does not go with torchrun, which gives each training several processes: begin `tolman run` without one of the two")
    plan, module = make_plan(study, scale, seeds, set_ or [], folder)
    if ranks.together() and ranks.begin() > 0:
        return ranks.join(plan.store, plan.groups())
    if ranks.together():
        workers = 1
    if engine == "local" or dry_run:
        workers = workers or min(os.cpu_count() or 1, max(1, len(plan.unfinished())))
    if dry_run:
        return print_dry_run(plan, workers or 1, json_)
    run_plan(plan, Stopped, workers=workers, engine=engine, address=address)
    if ranks.together():
        ranks.end()
    frames = plan.write_folder({"title": module.__doc__.split("\n")[0], "settings": set_ or []})
    if json_:
        for row in result_rows(frames):
            print(json.dumps(row))
        return
    page = make_report(plan.folder)
    print_results(plan.folder)
    out.print(f"report: {page}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/reversals-quick or results/reversals-quick.")],
    to: Annotated[Path | None, typer.Option("--out", help="Where to write the page; by default into RUN.")] = None,
) -> None:
    """Write the report page of a finished run anew, from its tables."""
    page = make_report(run, to)
    print_results(run)
    out.print(f"report: {page}")


@app.command()
def claims(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these, in full: C04 C19.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder with the runs whose records decide; by default the committed results/.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run the studies behind these claims again at their quick scale, then decide from that.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds for --quick; a verdict needs 3, each study has its own default.")] = None,
    folder: Annotated[str, typer.Option("--out", help="The store for --quick.")] = "runs",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object per claim.")] = False,
) -> None:
    """The ledger: every claim with its verdict, decided from records by the rule written beforehand."""
    from tolman.report.terminal import ledger
    from tolman.studies._ledger import LEDGER
    from tolman.studies._settle import committed_results, known, settle

    wanted = known(ids or [])
    if quick:
        if not wanted:
            raise UserError("name the claims to run again, such as: tolman claims C04 --quick")
        run_again(wanted, seeds, folder)
        verdicts = settle(Path("runs" if "://" in folder else folder), wanted, scale="quick")
    else:
        verdicts = settle(results or committed_results(), wanted or list(LEDGER))
    if json_:
        for verdict in verdicts:
            print(json.dumps(verdict.to_dict()))
        return
    out.print(ledger([verdict.to_dict() for verdict in verdicts], full=bool(wanted)), width=min(out.width, 120))
    if not wanted:
        counts = Counter(verdict.verdict.partition(":")[0] for verdict in verdicts)
        out.print(f"{len(verdicts)} claims: {', '.join(f'{n} {verdict}' for verdict, n in counts.most_common())}. In full: tolman claims C04")


def run_again(ids: list[str], seeds: int | None, folder: str) -> None:
    """Run the studies that decide these claims at their quick scale; says which, and about how long it takes, before it starts."""
    from tolman.report.terminal import span
    from tolman.run.estimate import expected_each, peak_flops
    from tolman.run.execute import Stopped
    from tolman.run.plan import Plan
    from tolman.studies._settle import enough_of, studies_of

    peak, plans, times = peak_flops(), {study: make_plan(study, "quick", seeds, [], folder) for study in studies_of(ids)}, {}
    for study, (plan, _) in plans.items():
        times[study] = [guess.seconds for guess in expected_each(plan.unfinished(), peak)]
    chosen = enough_of(ids, {study: sum(math.inf if seconds is None else seconds for seconds in mine) for study, mine in times.items()})
    if left := [study for study in plans if study not in chosen]:
        err.print(f"{', '.join(ids)}: as many benchmarks as the rule asks for, the quickest; {', '.join(left)}: `tolman run`, and they count too")
    plans = {study: plans[study] for study in chosen}
    for study, (plan, _) in plans.items():
        todo, seeds_run = plan.unfinished(), len({c.seed for c in plan.cells})
        known = [seconds for seconds in times[study] if seconds is not None]
        time_ = f"about {span(sum(known))}" if len(known) == len(todo) else "nobody can say how long"
        err.print(
            f"{', '.join(ids)}: study {plan.study}, quick scale, {seeds_run} seed{'s' * (seeds_run > 1)}: {len(todo)} of {len(plan.groups())} trainings to run, {time_}"
        )
    cells = {cell.fingerprint(): cell for plan, _ in plans.values() for cell in plan.cells}
    together = Plan(" and ".join(plans), "quick", tuple(cells.values()), plans[chosen[0]][0].store)
    run_plan(together, Stopped, workers=min(os.cpu_count() or 1, max(1, len(together.unfinished()))))
    for plan, module in plans.values():
        plan.write_folder({"title": module.__doc__.split("\n")[0], "settings": []})


@app.command()
def audit(
    docs: Annotated[Path, typer.Argument(help="A folder of documents (txt, md, html, pdf, docx, jsonl), or one file.")],
    model: Annotated[
        str,
        typer.Option(help="One of `tolman list` (hf comes with Tolman), or a folder: an artifact of a store, or what transformers reads."),
    ] = "hf",
    questions: Annotated[Path | None, typer.Option(help="Your own questions as JSON lines, instead of those built by rules.")] = None,
    scoring: Annotated[str, typer.Option(help="How an answer is judged: exact (it is written) or choice (among candidates).")] = "exact",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PART.FIELD=VALUE", help="Change a field, such as dataset.asked=50; repeatable.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="The store: records, report.")] = Path("runs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what was read, and what would be asked.")] = False,
) -> None:
    """What a model knows of your documents, knows but cannot use, and does not know: fact by fact."""
    from tolman.app.audit import Audit, expected, facts_tables, kinds_table, prepare
    from tolman.app.ingest import coverage, describe
    from tolman.report.terminal import span
    from tolman.run.execute import Stopped

    plan = prepare(docs, model, questions=questions, scoring=scoring, settings=dict(parse_setting(s) for s in set_ or []), store=folder)
    dataset: Any = plan.cells[0].dataset
    corpus = dataset.build(0)
    found = coverage(dataset, corpus)
    if not json_:
        for part in describe(found, docs):
            out.print(part, soft_wrap=True)
    if dry_run:
        guess = expected(plan, corpus)
        if json_:
            return print(json.dumps({"coverage": found, "expected": guess}))
        return out.print(
            f"would ask {guess['prompts']} prompts of {guess['questions']} questions, about {guess['tokens']} tokens to read; time: {span(guess['seconds'])}"
        )
    run_plan(plan, Stopped)
    result = Audit(plan.frames(), corpus)
    about = {"title": f"Audit of {docs}", "headline": result.headline(), "settings": set_ or []}
    plan.write_folder(about)
    if json_:
        return print(json.dumps(result.to_dict() | {"coverage": found}))
    for part in (kinds_table(list(result.kinds())), *facts_tables(list(result.facts())), result.headline()):
        out.print(part, soft_wrap=True)
    out.print(f"report: {make_report(plan.folder)}", soft_wrap=True)


@app.command()
def compare(  # noqa: PLR0913
    docs: Annotated[Path, typer.Argument(help="A folder of documents (txt, md, html, pdf, docx, jsonl), or one file.")],
    model: Annotated[
        str,
        typer.Option(help="One of `tolman list` (hf comes with Tolman), or a folder: an artifact of a store, or what transformers reads."),
    ] = "hf",
    questions: Annotated[Path | None, typer.Option(help="Your own questions as JSON lines, instead of those built by rules.")] = None,
    scoring: Annotated[str, typer.Option(help="How an answer is judged: exact (it is written) or choice (among candidates).")] = "exact",
    per_kind: Annotated[
        str | None,
        typer.Option("--questions-per-kind", metavar="N|all", help="So many test questions of each kind: 12 of those built by rules, all of your own."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PART.FIELD=VALUE", help="Change a field, such as train_time.steps=50; repeatable.")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="The store: trained models, records, report.")] = Path("runs"),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which methods would be run, and about how long it takes.")] = False,
) -> None:
    """Which way of giving your documents to a model answers which questions, at what price."""
    from tolman.app._expected import expected, said
    from tolman.app.compare import Verdicts, costs_table, prepare
    from tolman.report.terminal import span
    from tolman.run.execute import Stopped

    settings = asked_per_kind(per_kind) | dict(parse_setting(s) for s in set_ or [])
    found = prepare(docs, model, questions=questions, scoring=scoring, settings=settings, store=folder)
    for name, why in found.left_out.items():
        err.print(f"left out: {name}: {why}", soft_wrap=True)
    if dry_run:
        guess = expected(found.plan, found.corpus, found.parameters)
        if json_:
            return print(json.dumps(guess | {"methods": [f"{c.training}, {c.asking}" for c in found.plan.cells], "left_out": found.left_out}))
        out.print(f"would compare {'; '.join(f'{c.training}, {c.asking}' for c in found.plan.cells)}", soft_wrap=True)
        return out.print(f"{found.sample()} {said(guess, span(guess['seconds']))}", soft_wrap=True)
    workers = min(os.cpu_count() or 1, max(1, len(found.plan.unfinished())))  # two processes of one core each do more than one of two
    run_plan(found.plan, Stopped, workers=workers)
    result = Verdicts(found.plan.frames())
    about = {"title": f"Comparison on {docs}", "headline": f"{result.recommendation()} {found.sample()}", "settings": set_ or []}
    found.plan.write_folder(about | {"sample": found.sample(), "left_out": found.left_out})
    if json_:
        return print(json.dumps(result.to_dict() | {"left_out": found.left_out, "sample": found.sample()}))
    page = make_report(found.plan.folder)
    print_results(found.plan.folder)
    out.print(costs_table(result.methods))
    out.print(f"report: {page}", soft_wrap=True)


@app.command()
def serve(  # noqa: PLR0913
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="What `tolman teach` wrote.")] = None,
    model: Annotated[str | None, typer.Option(help="Instead of DIR, a model by itself: one of `tolman list`, or a folder.")] = None,
    host: Annotated[str, typer.Option(help="Where to listen; anything but this machine itself needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Which port; 0 takes a free one.")] = 8000,
    token: Annotated[str | None, typer.Option(envvar="TOLMAN_TOKEN", help="What requests must carry as their API key.", show_envvar=True)] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, whatever a request asks for.")] = 512,
    timeout_s: Annotated[float, typer.Option(min=1, help="Longest wait for a turn, and longest writing of an answer, in seconds.")] = 120.0,
) -> None:
    """An OpenAI-compatible endpoint and a chat page that shows the passages an answer rests on. Ctrl-C ends it."""
    if not (find_spec("fastapi") and find_spec("uvicorn")):
        raise UserError("serving needs fastapi and uvicorn: pip install 'tolman[serve]'")
    from tolman.app.serve import Limits, address_of, prepare

    service, listening = prepare(folder, model, host=host, port=port, token=token, limits=Limits(max_tokens=max_tokens, timeout_s=timeout_s))
    address = address_of(listening)
    out.print(f"{service.name}: chat page {address}, endpoint {address}/v1. Ctrl-C ends it.", soft_wrap=True)
    service.run(listening)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `tolman teach` wrote.")],
    to: Annotated[str, typer.Option(help="hf (a model directory), lm-eval or inspect (the built questions as tasks).")],
    to_folder: Annotated[Path | None, typer.Option("--out", help="The directory to write, which must not be there yet; by default DIR-TO.")] = None,
) -> None:
    """What was taught, for the tools of others: Hugging Face, lm-evaluation-harness, inspect_ai."""
    from tolman.app.export import export as write

    named = folder if folder.name else folder.resolve()
    out.print(write(folder, to, to_folder or named.with_name(f"{named.name}-{to}")), soft_wrap=True, markup=False)


for verb in (questions, teach, ask, add, forget):
    app.command()(verb)


def make_plan(study: str, scale: str, seeds: int | None, settings: list[str], folder: str) -> tuple[Any, Any]:
    """The plan of a study with the overrides applied, and the study's module."""
    from tolman.core.discovery import module
    from tolman.run.cell import override
    from tolman.run.plan import Plan
    from tolman.run.store import Store

    found = module("studies", study)
    if scale not in found.scales:
        raise UserError(f"{study} has no scale {scale!r}; {suggest(scale, found.scales)}")
    cells = override(found.cells(scale, range(seeds or found.scales[scale])), dict(parse_setting(s) for s in settings))
    return Plan(study, scale, tuple(cells), Store(folder)), found


def print_dry_run(plan: Any, workers: int, json_: bool) -> None:
    from tolman.report.terminal import listing, span
    from tolman.run.estimate import expected_each, peak_flops

    rows, total, memory = [], 0.0, 0.0
    unfinished = {g[0].train_fingerprint() for g in plan.unfinished()}
    for group, guess in zip(plan.groups(), expected_each(plan.groups(), peak_flops()), strict=True):
        todo = group[0].train_fingerprint() in unfinished
        total += (guess.seconds or 0.0) if todo else 0.0
        memory = max(memory, guess.memory_bytes or 0.0)
        rows.append({
            "training": group[0].training, "seed": group[0].seed, "asking": [c.asking for c in group], "finished": not todo,
            "seconds": guess.seconds, "memory_bytes": guess.memory_bytes, "train_fingerprint": group[0].train_fingerprint(),
        })  # fmt: skip
    if json_:
        for row in rows:
            print(json.dumps(row))
        return
    lines = [
        (f"{r['training']}, seed {r['seed']}", f"{'finished' if r['finished'] else 'about ' + span(r['seconds'])}; asked: {'; '.join(r['asking'])}")
        for r in rows
    ]
    out.print(listing(f"{plan.name}: {len(plan.cells)} cells, {len(rows)} trainings", lines))
    out.print(f"about {span(total)} in all, {memory * workers / 2**30:.1f} GiB of memory with {workers} worker{'s' * (workers > 1)} "
              "(a guess from this machine's speed at matrix products, right within a factor of about two)")  # fmt: skip


def make_report(folder: Path, to: Path | None = None) -> Path:
    from tolman.core.discovery import module
    from tolman.report.page import write_report
    from tolman.run.frames import Frames
    from tolman.run.plan import read_plan

    plan, frames = read_plan(folder), Frames.read(folder)
    headline = plan["headline"] if "headline" in plan else module("studies", plan["study"]).headline(frames)
    return write_report(to or folder, frames, headline=headline, plan=plan)


def print_results(folder: Path) -> None:
    from tolman.core.discovery import module
    from tolman.report.summary import estimates
    from tolman.report.terminal import results
    from tolman.run.frames import Frames
    from tolman.run.plan import read_plan

    plan, frames = read_plan(folder), Frames.read(folder)
    seeds = plan["seeds"]
    title = f"{plan['study']}, {plan['scale']}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    out.print(results(estimates(frames).to_dicts(), title, width=out.width))
    out.print(plan["headline"] if "headline" in plan else module("studies", plan["study"]).headline(frames), soft_wrap=False)


def main() -> None:
    """The command `tolman`. What the user can mend is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/] {error}", soft_wrap=True)
        sys.exit(2)
