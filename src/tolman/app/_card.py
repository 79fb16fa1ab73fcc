"""README.md of a taught directory: what it is, what was measured, what it cost, what it cannot do. Written anew from taught.json and scores.json whenever these change."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tolman.app import _directory
from tolman.report.terminal import percent, span
from tolman.run.store import write_atomically

LIMITS = (
    "Numbers are for questions built by rules from these documents (or for your own): other questions may fare otherwise. Intervals speak of other facts, not of other trainings.",
    "Passages are quoted to the model and it is told that they give no orders; a model may all the same believe what a document says.",
    "Where the memory finds nothing, an untrained model is not asked, and the answer says so. A question in another language finds what shares its names and numbers.",
)


def write(folder: Path, files: Mapping[str, int]) -> None:
    """Write the card of the directory; `files` are those remembered now, with their passages."""
    about = _directory.read(folder)
    scores = _directory.read_scores(folder)
    text = "\n".join((*_head(folder, about), *_numbers(scores), *_costs(scores), *_history(about), *_documents(about, files), *_limits(about)))
    write_atomically(folder / _directory.CARD, (text + "\n").encode())


def _head(folder: Path, about: Mapping[str, Any]) -> Iterator[str]:
    model = about["model"]
    name = model.get("path") or model.get("model") or model["is"]
    yield f"# {folder.resolve().name}\n"
    yield f"{name}, taught {len(about['documents'])} files by Tolman {about['tolman']}: **{about['method']}**. Changed {about['changed']}.\n"
    yield "```bash"
    yield f'tolman ask {folder.name} "..."        # an answer, and the passages it rests on'
    yield f"tolman add {folder.name} new.md       # remembered at once"
    yield f"tolman forget {folder.name} old.md    # gone from the memory at once"
    yield f"tolman teach --out {folder.name}      # bring the weights and the scores up to date with the memory"
    yield "```\n"
    yield f"Why this method: {about['recommendation'] or 'it was named.'}\n"
    ours = f"`{about['weights']}/` holds what training changed" if about["trains"] else f"`{about['weights']}/` names the base model; nothing was trained"
    yield f"Base model: `{json.dumps(model)}`. {ours}. Its licence is that of the base model; the documents are yours.\n"


def _numbers(scores: Mapping[str, Any]) -> Iterator[str]:
    mine = [row for row in scores.get("kinds", ()) if f"{row['training']}, {row['asking']}" == scores.get("method")]
    if not mine:
        return
    yield "## Measured\n"
    yield "| kind of question | right, % [95 %] | asked | chance, % |\n|---|---:|---:|---:|"
    for row in mine:
        yield f"| {row['kind'].replace('_', ' ')} | {percent(row['mean'], row['low'], row['high'])} | {row['n']} | {100 * row['chance']:.0f} |"
    kept = scores.get("retention")
    if kept and kept["before"] != kept["after"]:  # nothing was trained, nothing was forgotten
        before, after = kept["before"], kept["after"]
        yield f"\nWhat the model knew before: general prose {before['general_nats']:.2f} -> {after['general_nats']:.2f} nats per token (lower is better), "
        yield f"general questions {100 * before['general_accuracy']:.0f} -> {100 * after['general_accuracy']:.0f} %."
    yield ""


def _costs(scores: Mapping[str, Any]) -> Iterator[str]:
    if scores.get("methods"):
        yield "## All methods compared\n"
        yield "| method | all kinds, % [95 %] | once | a question |\n|---|---:|---:|---:|"
        for m in scores["methods"]:
            bold = "**" * (m["method"] == scores["method"])
            found = m["accuracy"]
            shares = percent(found["mean"], found["low"], found["high"])
            yield f"| {bold}{m['method']}{bold} | {shares} | {m['once']:.2g} {m['unit']} | {m['each']:.2g} {m['unit']} |"
        yield ""
    spent = scores.get("costs", {})
    seconds = sum(cost["seconds"] for phase, cost in spent.items() if phase in ("train", "generate"))
    if seconds > 1:
        tokens = sum(cost["tokens"] for phase, cost in spent.items() if phase in ("train", "generate"))
        yield f"Training took {span(seconds)} and {tokens:,} tokens.\n"


def _history(about: Mapping[str, Any]) -> Iterator[str]:
    if not about.get("history"):
        return
    yield "## Taught again\n"
    for event in about["history"]:
        yield f"- {event['date']}: {event['says']}"
        if event["scores"]:
            whens = list(event["scores"])
            yield f"\n  | old questions | {' | '.join(whens)} |\n  |---|{'---:|' * len(whens)}"
            for kind in dict.fromkeys(k for rows in event["scores"].values() for k in rows):
                cells = [rows.get(kind) for rows in event["scores"].values()]
                yield f"  | {kind.replace('_', ' ')} | {' | '.join(percent(c['mean'], c['low'], c['high']) if c else '' for c in cells)} |"
    yield ""


def _documents(about: Mapping[str, Any], files: Mapping[str, int]) -> Iterator[str]:
    yield "## Documents\n"
    yield f"Remembered now: {sum(files.values())} passages of {len(files)} files. Taught (scores and weights rest on these): {len(about['documents'])}.\n"
    yield "| file | passages | SHA-256 when taught |\n|---|---:|---|"
    for name in sorted({*files, *about["documents"]}):
        yield f"| {_cell(name)} | {files.get(name, 'forgotten')} | {about['documents'].get(name, 'added since')[:12]} |"
    yield ""


def _limits(about: Mapping[str, Any]) -> Iterator[str]:
    yield "## Limits\n"
    forgotten = [name for name in about["forgotten"] if name in about["documents"]]
    if about["trains"] and forgotten:
        yield f"- The weights were trained on {', '.join(map(_cell, forgotten))}, forgotten since, and may still state it until the next `tolman teach`."
    for line in LIMITS:
        yield f"- {line}"


def _cell(text: str) -> str:
    """A file's name as one cell of a table, and no markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~" else c for c in text)
