"""The verbs of taught directories: teach, ask, add, forget. What they do is done in `app`, which is imported inside the verb."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tolman.cli_parts import err, out, parse_setting, run_plan
from tolman.core.errors import UserError


def teach(
    docs: Annotated[Path | None, typer.Argument(help="A folder of documents, or one file. Not needed where --out is taught already: it keeps its own.")] = None,
    out_: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to make, or to bring up to date.")] = Path("taught"),
    model: Annotated[str | None, typer.Option(help="As for compare; by default hf, the model that comes with Tolman.")] = None,
    method: Annotated[
        str | None, typer.Option(help="A method's name, such as 'untuned, retrieval, episodic'; by default what the comparison recommends.")
    ] = None,
    questions: Annotated[Path | None, typer.Option(help="Your own questions as JSON lines, instead of those built by rules.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PART.FIELD=VALUE", help="Change a field, such as train_time.steps=50; repeatable.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, about how long it takes and how many tokens.")] = False,
) -> None:
    """Give your documents to a model in the way that does best: a directory that answers, remembers and forgets. Trainings and records are kept in runs/."""
    from tolman.app import _again, _directory
    from tolman.app import teach as teaching
    from tolman.app._expected import said
    from tolman.report.terminal import span
    from tolman.run.execute import Stopped

    settings, store = dict(parse_setting(s) for s in set_ or []), Path("runs")
    if again := _directory.is_taught(out_):
        given = {"model": model, "method": method, "questions": questions}
        work: Any = _again.prepare(out_, docs=docs, given=given, settings=settings, store=store)
        if not any(work.changes.values()) and not settings:
            return (
                typer.echo(json.dumps({"out": str(out_), "changes": work.changes}))
                if json_
                else out.print(f"{out_}: nothing was added or forgotten: nothing to do")
            )
    elif docs is None:
        raise UserError(f"{out_} was not taught yet: name the documents, tolman teach DOCS --out {out_}")
    else:
        work = teaching.prepare(
            docs, out=out_, model=model or "hf", method=method or teaching.RECOMMENDED, questions=questions, scoring="exact", settings=settings, store=store
        )
    if dry_run:
        guess = work.expected()
        if json_:
            return typer.echo(json.dumps(guess))
        return out.print(f"{guess['says']}\n{said(guess, span(guess['seconds']))}", soft_wrap=True, markup=False)
    scores = work.run(lambda plan: run_plan(plan, Stopped))
    if json_:
        return typer.echo(json.dumps({"out": str(out_), "again": again} | scores))
    out.print(f"{out_}: {scores['method']}\n{(out_ / _directory.CARD).read_text(encoding='utf-8')}", soft_wrap=True, markup=False)


def ask(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `tolman teach` wrote.")],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 writes the likeliest answer.")] = 0.0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")] = False,
) -> None:
    """An answer, and the passages or the trace that it rests on."""
    from tolman.app.taught import Taught, spoken

    reply = Taught.open(directory).reply([{"role": "user", "content": question}], max_tokens=max_tokens, temperature=temperature)
    if json_:
        return typer.echo(json.dumps(reply.to_dict(), allow_nan=False))
    for part in spoken(reply):
        out.print(part, soft_wrap=True)


def add(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `tolman teach` wrote.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Documents, or folders of them.")],
) -> None:
    """Remember more documents, from now on."""
    from tolman.app.remember import add as remember

    done = remember(directory, files)
    for problem in done.problems:
        err.print(problem, soft_wrap=True, markup=False)
    for name, passages in done.passages.items():
        out.print(f"{'replaced' if name in done.replaced else 'added'} {name}: {passages} passage{'s' * (passages != 1)}", soft_wrap=True, markup=False)
    if done.questions_dropped:
        out.print(f"{done.questions_dropped} questions rested on what was replaced, and were dropped")
    out.print(f"remembered at once; to learn it, measure it or ask about it in questions: tolman teach --out {directory}", soft_wrap=True, markup=False)


def forget(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that `tolman teach` wrote.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Names of remembered documents.")],
) -> None:
    """Remember these documents no more, from now on."""
    from tolman.app.remember import forget as remember_not

    done = remember_not(directory, files)
    out.print(
        f"forgot {', '.join(done.files)}: {done.passages} passage{'s' * (done.passages != 1)}, {done.questions_dropped} questions", soft_wrap=True, markup=False
    )
    if done.in_weights:
        out.print(done.weights(directory), soft_wrap=True, markup=False)


def questions(
    docs: Annotated[Path, typer.Argument(help="A folder of documents, or one file.")],
    file: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file of JSON lines to write; an existing one is never overwritten.")],
    model: Annotated[str, typer.Option(help="What writes them: a model of `tolman list`, or a folder.")] = "hf",
    tries: Annotated[int, typer.Option(min=1, help="So many tries at a question for each passage; what cannot be checked is not kept.")] = 4,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PART.FIELD=VALUE", help="Change a field, such as model.url=...; repeatable.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else, on standard output.")] = False,
) -> None:
    """Have a model write questions about your documents, to read, mend and give to audit, compare or teach with --questions."""
    from tolman.app.audit import model_at
    from tolman.app.questions import write
    from tolman.datasets.folder import Folder

    settings = dict(parse_setting(s) for s in set_ or [])
    fields = {part: {k.partition(".")[2]: v for k, v in settings.items() if k.startswith(f"{part}.")} for part in ("model", "dataset")}
    folder, chosen = Folder(path=docs, **fields["dataset"]), model_at(model, fields["model"])
    if file.exists():
        raise UserError(f"{file} exists and is not overwritten; name another file with --out")
    written = write(folder, chosen.create(Folder().build(0), seed=0), tries=tries)  # type: ignore[attr-defined]
    written.save(file)
    if json_:
        return typer.echo(json.dumps({"out": str(file), "questions": len(written.lines), "passages": written.passages, "passages_asked": written.asked_about,
                                      "left_out": dict(written.left_out)}))  # fmt: skip
    out.print(f"{file}: {len(written.lines)} questions about {written.asked_about} of {written.passages} passages", soft_wrap=True, markup=False)
    for why, n in written.left_out.items():
        out.print(f"not kept: {n} ({why})", markup=False)
    out.print(f"read and mend them, then: tolman compare {docs} --questions {file}", soft_wrap=True, markup=False)
