"""What a model knows of a folder of documents, knows but cannot use, and does not know: fact by fact.

Every fact is asked as the documents state it, in other words, the other way round and chained with another; from the weights alone and with its own passages in
context. A question is *latent* when its facts are recalled as they are stated, yet it is answered only with the passages in context. An audit is a plan of two
cells, so it resumes, and its records are those of the studies.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tolman.app._expected import TOKENS_A_WORD
from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.discovery import component, from_config, names
from tolman.core.errors import UserError, suggest
from tolman.core.stats import UNKNOWN, estimate
from tolman.datasets.folder import Folder
from tolman.memory.oracle import Oracle
from tolman.report.summary import accuracy
from tolman.report.terminal import percent
from tolman.run.cell import Cell, override
from tolman.run.estimate import SHARE_OF_PEAK, parameters, peak_flops
from tolman.run.frames import Frames
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.untrained import Untrained

CLOSED, OPEN = "closed book", "in context"
SETTLED = ("recall", "unanswerable")
"""Kinds that cannot be latent: the stated form itself, and whether there is one."""


class Standing(StrEnum):
    """Where a fact stands with a model. `stuck`: recalled as stated, but another form fails in context too, so the form is what the model cannot do."""

    USABLE = "usable"
    LATENT = "latent"
    STUCK = "stuck"
    RECALLED = "recalled"
    UNKNOWN = "unknown"


MEANINGS = {
    Standing.USABLE: "recalled as stated, and answered in every other form that was asked",
    Standing.LATENT: "recalled as stated; another form fails from the weights and succeeds in context",
    Standing.STUCK: "recalled as stated; another form fails, in context too",
    Standing.RECALLED: "recalled as stated; no other form was asked",
    Standing.UNKNOWN: "not recalled as stated",
}


def model_at(place: str, settings: Mapping[str, Any] | None = None) -> Component:
    """The model called `place` among the components, or the one in the folder `place`: an artifact of ours, or anything that transformers reads.

    `settings` are fields to change. Raises UserError saying what there is.
    """
    folder, known = Path(place), names("models")
    if place in known:
        return component(f"models/{place}")(**(settings or {}))
    if not folder.is_dir():
        raise UserError(f"there is no model and no folder {place!r}; {suggest(place, known)}")
    if (folder / "artifact.json").is_file():
        return _saved(folder).replace_all(settings or {})
    for file, field in (("adapter_config.json", "adapter"), ("config.json", "path")):
        if (folder / file).is_file() and "hf" in known:
            return component("models/hf")(**{field: place}, **(settings or {}))
    raise UserError(f"{place} holds no model: there is neither artifact.json (of a Tolman store) nor config.json (of transformers)")


def _saved(folder: Path) -> Component:
    """The model of an artifact, read by the component that trained it."""
    try:
        identity = json.loads((folder / "artifact.json").read_bytes())["identity"]["model"]
        return component("models/saved")(folder=folder, model=from_config(_without_revisions(identity)))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder / 'artifact.json'} is damaged: {error}") from error


def _without_revisions(identity: Any) -> Any:
    if isinstance(identity, dict):
        return {key: _without_revisions(value) for key, value in identity.items() if not (key == "revision" and "is" in identity)}
    return identity


def prepare(docs: Path, model: str, *, questions: Path | None, scoring: str, settings: Mapping[str, Any], store: Path) -> Plan:
    """The two cells of an audit: all kinds, from the weights and with the passages in context. No fact is set aside for practice.

    `settings` are PART.FIELD -> value, as for a study. Raises UserError for what there is not.
    """
    of_model = {path.partition(".")[2]: value for path, value in settings.items() if path.startswith("model.")}
    parts: dict[str, Any] = {
        "dataset": Folder(path=docs, questions=questions, practice_share=0.0), "model": model_at(model, of_model), "train_time": Untrained(),
        "scoring": component(f"scoring/{scoring}")(), "seed": 0, "training": Path(model).name,
    }  # fmt: skip
    ways = ((CLOSED, ClosedBook()), (OPEN, Retrieval(retriever=Oracle(distractors=0))))
    cells = [Cell(**parts, test_time=test_time, asking=asking) for asking, test_time in ways]
    cells = override(cells, {path: value for path, value in settings.items() if not path.startswith("model.")})
    return Plan("audit", cells[0].condition(), tuple(cells), Store(store))


def expected(plan: Plan, corpus: Corpus) -> dict[str, Any]:
    """What an audit will ask, and about how much will be read: tokens taken as 1.3 a word, seconds from this machine's speed (None: the model does not say)."""
    prompts = [p for cell in plan.cells for p in cell.test_time.prompts(None, corpus, corpus.asked(), seed=0)]  # type: ignore[attr-defined]
    tokens = round(TOKENS_A_WORD * sum(len(text.split()) for p in prompts for text in (*p.documents, p.question)))
    weights = parameters(plan.cells[0].model)
    seconds = 2 * weights * tokens / (peak_flops() * SHARE_OF_PEAK) if weights else None
    return {"questions": len(corpus.asked()), "prompts": len(prompts), "tokens": tokens, "seconds": seconds, "finished": not plan.unfinished()}


@dataclass(frozen=True)
class Audit:
    """What an audit found: its tables, and the corpus it asked about."""

    frames: Frames
    corpus: Corpus

    @cached_property
    def right(self) -> dict[tuple[str, str], bool]:
        """(question, asking) -> whether it was answered correctly."""
        return {(q, a): c for q, a, c in self.frames.items.select("question", "asking", "correct").iter_rows()}

    @cached_property
    def standing(self) -> dict[str, Standing]:
        """Question -> where it stands, for every question but those of SETTLED kinds that has a recall question beside it."""
        beside: Mapping[str, Sequence[str]] = self.corpus.facts["beside"]  # type: ignore[assignment]
        found = {}
        for q in self.corpus.asked():
            if q.kind in SETTLED or not beside.get(q.id):
                continue
            if not all(self.right[r, CLOSED] for r in beside[q.id]):
                found[q.id] = Standing.UNKNOWN
            elif self.right[q.id, CLOSED]:
                found[q.id] = Standing.USABLE
            else:
                found[q.id] = Standing.LATENT if self.right[q.id, OPEN] else Standing.STUCK
        return found

    def facts(self) -> Iterator[dict[str, Any]]:
        """One row for each fact that is asked as it is stated: its statement and place, where it stands, and how each form was answered.

        A fact is latent if one of its forms is; else stuck if one is; else usable. A chain counts for the fact that it ends with.
        """
        beside: Mapping[str, Sequence[str]] = self.corpus.facts["beside"]  # type: ignore[assignment]
        forms: dict[str, list[str]] = {}
        for q in self.corpus.asked():
            for r in beside.get(q.id, ())[:1] if q.id in self.standing else ():
                forms.setdefault(r, []).append(q.id)
        places: Mapping[str, Sequence[Any]] = self.corpus.facts["places"]  # type: ignore[assignment]
        kind_of = {q.id: q.kind for q in self.corpus.questions}
        answers = {(q, a): text for q, a, text in self.frames.items.select("question", "asking", "answer").iter_rows()}
        for q in self.corpus.asked(["recall"]):
            mine = {f: self.standing[f] for f in forms.get(q.id, [])}
            known = self.right[q.id, CLOSED]
            worst = next((s for s in (Standing.LATENT, Standing.STUCK, Standing.USABLE) if s in mine.values()), Standing.RECALLED)
            asked = {
                id: {"kind": kind_of[id], "closed_book": self.right[id, CLOSED], "in_context": self.right[id, OPEN], "answer": answers[id, CLOSED]}
                for id in (q.id, *mine)
            }
            yield {
                "fact": q.cluster, "statement": f"{q.prompt} {q.answers[0]}", "standing": str(worst if known else Standing.UNKNOWN),
                "place": places.get(q.id), "passages": list(q.support), "forms": asked,
            }  # fmt: skip

    def kinds(self) -> Iterator[dict[str, Any]]:
        """One row for each kind: accuracy from the weights and in context, chance, and the share of latent questions beside what a guesser would make look so."""
        chances = json.loads(self.frames.cells.row(0, named=True)["kinds"])
        for kind, info in chances.items():
            mine = self.frames.items.filter(pl.col("kind") == kind)
            closed, open_ = (accuracy(mine.filter(pl.col("asking") == asking)) for asking in (CLOSED, OPEN))
            asked = [q for q in self.corpus.asked([kind]) if q.id in self.standing]
            flags = [float(self.standing[q.id] == Standing.LATENT) for q in asked]
            latent = estimate(flags, clusters=[q.cluster for q in asked], seeds=[0] * len(asked)) if asked else UNKNOWN
            recall = chances.get("recall", info)["chance"]
            luck = recall * info["chance"] * (1 - info["chance"])
            yield {
                "kind": kind, "description": info["description"], "n": closed.n, "facts": closed.clusters, "chance": info["chance"],
                "closed_book": closed.to_dict(), "in_context": open_.to_dict(), "latent": latent.to_dict() if asked else None, "latent_by_luck": luck if asked else None,
            }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values (unknown is null)."""
        cell = json.loads(self.frames.cells.row(0, named=True)["config"])
        facts = list(self.facts())
        counts = {str(s): sum(f["standing"] == s for f in facts) for s in Standing}
        found = {"model": cell["model"], "scoring": cell["scoring"], "standing": counts, "kinds": list(self.kinds()), "facts": facts}
        return json.loads(json.dumps(found), parse_constant=lambda _: None)

    def headline(self) -> str:
        """The finding in one sentence."""
        found = list(self.facts())
        n = {s: sum(f["standing"] == s for f in found) for s in Standing}
        known = len(found) - n[Standing.UNKNOWN]
        return (
            f"Of {len(found)} facts asked as the documents state them, {known} are recalled from the weights; of these {n[Standing.LATENT]} are latent "
            f"(another form fails from the weights and succeeds in context), {n[Standing.STUCK]} fail in another form even in context, {n[Standing.USABLE]} are usable in "
            "every form asked."
        )


def kinds_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy by kind for the terminal."""
    caption = "per cent correct [95 % interval clustered on facts]; latent: share of the questions, and what guessing alone would make look latent"
    table = Table(title="by kind of question", caption=caption, title_justify="left", caption_justify="left")
    for name in ("kind", "asked", "chance", CLOSED, OPEN, "latent", "by luck"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for row in rows:
        shares = [percent(*(row[name][part] for part in ("mean", "low", "high"))) if row[name] else "" for name in ("closed_book", "in_context", "latent")]
        luck = "" if row["latent_by_luck"] is None else f"{100 * row['latent_by_luck']:.1f}"
        table.add_row(row["kind"].replace("_", " "), str(row["n"]), f"{100 * row['chance']:.0f}", *shares, luck)
    return table


def facts_tables(rows: Sequence[Mapping[str, Any]], most: int = 8) -> Iterator[RenderableType]:
    """Some facts of each standing for the terminal; the report page and --json have all."""
    for standing, meaning in MEANINGS.items():
        mine = [row for row in rows if row["standing"] == standing]
        if mine:
            yield Text(f"\n{standing}: {len(mine)} ({meaning})", style="bold")
            for row in mine[:most]:
                failed = sorted({f["kind"] for f in row["forms"].values() if not f["closed_book"] and f["kind"] != "recall"})
                notes = [f"{row['place'][0]}, characters {row['place'][1]} to {row['place'][2]}"] if row["place"] else row["passages"][:1]
                notes += [f"fails: {', '.join(failed)}"] if failed else []
                yield Text(f"  {row['statement']}  ({'; '.join(notes)})")
            if len(mine) > most:
                yield Text(f"  ... and {len(mine) - most} more", style="dim")
