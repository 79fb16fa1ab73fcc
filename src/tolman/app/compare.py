"""Which way of giving a folder of documents to a model answers which questions, at what price: methods x kinds x cost, break-even, a recommendation.

Methods are found, not listed: every memory that can be built from its defaults retrieves, every training that fits the model trains. What cannot be used here is
named with the reason. The cells are ordinary ones, so a comparison resumes and shares its trainings with audits and studies.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from tolman.app.audit import model_at
from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.core.discovery import component, names
from tolman.core.errors import UserError
from tolman.core.stats import Estimate, say
from tolman.datasets.folder import Folder
from tolman.models._pretrained import EMBEDDED
from tolman.report.summary import accuracy, conditions, difference, estimates
from tolman.report.terminal import percent
from tolman.run.cell import Cell, has_field, override
from tolman.run.frames import Frames
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.in_context import InContext
from tolman.test_time.quoted import Quoted
from tolman.test_time.retrieval import Retrieval
from tolman.test_time.thinking import Thinking
from tolman.train_time.untrained import Untrained

CEILING = "retrieval, oracle"
"""Nobody has an oracle: shown as what a perfect memory would reach, never recommended."""
CLOSED, KEPT = "closed book", "retrieval, episodic"
"""From the weights alone; and the memory that a taught directory keeps."""
READER = "reader"
"""The adapter that comes with Tolman for its embedded model, trained on other documents to use what stands in context: it costs nothing once, and is no training on these."""
ASKED: dict[str, tuple[str, ...]] = {"fine-tuned": (CLOSED,), "augmented": (CLOSED, KEPT), READER: (KEPT,)}
"""How a trained model is asked, where not in every way: what it was trained for, and both roads at once. The memories are told apart with the untuned model."""
PER_KIND = 12
"""Test questions of each kind, of those built by rules."""
TIMES_READ, MOST_TOKENS, STEP_TOKENS, LR = 5, 400_000, 256, 1e-3
"""A fine-tuning reads every document so often (but at most so many tokens), so many tokens a step, at this rate: that of the studies of pretrained models."""
WRITTEN_TOKENS, WRITTEN_ABOUT = 60, 24
"""Longest text that augmentation writes about a passage, as in these studies, and about how many passages, chosen at random, it writes."""
THINK, THOUGHT_TOKENS = 'Somebody has to answer or to complete this: "{question}" What do you know about it, in one line?', 32
"""A question, so that a model that chats is asked it in a turn of its own."""
STAGES = ("first", "then")
"""The fields of a method that hold trainings."""
FOUND = 3
"""Passages that a memory is asked for, where the model's context holds them."""
TOKENS_A_WORD = 1.5
"""For deciding what fits; English takes 1.2 to 1.4 tokens a word."""
NEAR = 0.05
"""So much less accuracy than the best may be given away for a cheaper question, where the data cannot tell the two apart anyway."""
ROOM_TOKENS = 96
"""Kept free for the question, the template and the answer."""

NEEDED = ("network", "examples", "loss", "matrices", "save")
"""What a model must have to be trained on documents (that it can be trained by what it writes, as `TrainableModel` can, is not asked)."""
QUOTING_TOKENS = 96
"""What quoting takes beside: the instruction, and a fence for each passage."""


@dataclass(frozen=True)
class Comparison:
    """The cells to run, and why other methods are not among them."""

    plan: Plan
    corpus: Corpus
    left_out: dict[str, str]
    parameters: int | None = None
    """Weights of the model, where it has any here."""

    def sample(self) -> str:
        """How many of the questions are asked."""
        asked, all_ = len(self.corpus.asked()), self.corpus.facts["questions"]
        return f"Asked: {asked} of {all_} test questions{'' if asked == all_ else ', a sample of each kind (--questions-per-kind all asks all)'}."


def prepare(docs: Path, model: str, *, questions: Path | None, scoring: str, settings: Mapping[str, Any], store: Path) -> Comparison:
    """Every method that can be used on `docs` with `model`. `settings` are PART.FIELD -> value, as for a study (train_time.steps=50 for all trainings).

    Of the questions built by rules a sample is asked, unless dataset.per_kind says otherwise (None: all); people's own are all asked.
    """
    chosen = model_at(model, {path.partition(".")[2]: value for path, value in settings.items() if path.startswith("model.")})
    folder = Folder(path=docs, questions=questions, per_kind=None if questions else PER_KIND)
    folder = folder.replace_all({path.partition(".")[2]: value for path, value in settings.items() if path.startswith("dataset.")})
    corpus = folder.build(0)
    live = chosen.create(corpus, seed=0)  # type: ignore[attr-defined]
    left_out: dict[str, str] = {}
    how = component(f"scoring/{scoring}")()
    ways = list(askings(corpus, live.context_tokens, left_out, chats=getattr(live, "chats", False), writes=scoring == "exact"))
    cells = [
        Cell(dataset=folder, model=reads, train_time=train_time, test_time=test_time, scoring=how, seed=0, training=training, asking=asking)
        for training, reads, train_time in trainings(chosen, live, left_out, corpus=corpus)
        for asking, test_time in ways
        if asking in ASKED.get(training, (asking,))
    ]
    cells = override(cells, to_stages(cells, {path: value for path, value in settings.items() if not path.startswith(("model.", "dataset."))}))
    parameters = sum(p.numel() for p in live.network.parameters()) if hasattr(live, "network") else None
    return Comparison(Plan("compare", cells[0].condition(), tuple(cells), Store(store)), corpus, left_out, parameters)


def to_stages(cells: Sequence[Cell], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings`, those of a training also for the trainings that a method consists of (`augmented` has two)."""
    out = dict(settings)
    for path, value in settings.items():
        part, _, field = path.partition(".")
        inner = {f"train_time.{stage}.{field}" for stage in STAGES} if part == "train_time" else set()
        out |= {p: value for p in sorted(inner) if any(has_field(cell.train_time, p.partition(".")[2]) for cell in cells)}
    return out


def trainings(model: Component, live: Any, left_out: dict[str, str], *, corpus: Corpus) -> Iterator[tuple[str, Component, Component]]:
    """(label, model, method) of what can be done to the weights: nothing; nothing, with the adapter that comes with them; fine-tuning (training from scratch for
    `tiny`); the same on augmented documents."""
    yield "untuned", model, Untrained()
    if getattr(model, "path", "") == EMBEDDED and getattr(model, "adapter", "") is None:
        yield READER, model.replace("adapter", READER), Untrained()
    known = names("train_time")
    name = "pretrain" if model.address() == "models/tiny" else "finetune"
    if not all(hasattr(live, part) for part in NEEDED):
        left_out["training"] = f"{model.address()} has no weights that can be trained here"
        return
    if name not in known:
        left_out["fine-tuned"] = f"there is no train_time/{name}"
        return
    if name == "pretrain":
        yield "trained", model, component("train_time/pretrain")()
        left_out["augmented"] = "a model trained from scratch follows no instruction to write about documents"
        return
    words = sum(len(d.text.split()) for d in corpus.documents)
    steps = math.ceil(min(TIMES_READ * TOKENS_A_WORD * words, MOST_TOKENS) / STEP_TOKENS)
    train = component("train_time/finetune")(steps=steps, batch_tokens=STEP_TOKENS, lr=LR)
    yield "fine-tuned", model, train
    if "augmented" in known and "local" in names("augment"):
        writes = component("augment/local")(how="instruct", max_tokens=WRITTEN_TOKENS)
        yield "augmented", model, component("train_time/augmented")(first=Untrained(), augment=writes, then=train, sources=WRITTEN_ABOUT)
    else:
        left_out["augmented"] = "there is no train_time/augmented with augment/local"


def askings(corpus: Corpus, context_tokens: int, left_out: dict[str, str], *, chats: bool = False, writes: bool = True) -> Iterator[tuple[str, Component]]:
    """(label, method) of what can be put before a question: nothing, what the model writes first, everything if it fits, what each memory finds. A model that `chats`
    is shown documents as it would be when people ask it: quoted. `writes`: its answers are written, not chosen among candidates."""
    yield CLOSED, ClosedBook()
    if chats and writes:
        yield "thinking", Thinking(ask=THINK, budget_tokens=THOUGHT_TOKENS)
    else:
        left_out["thinking"] = (
            "the model follows no instruction to think first" if writes else "candidates are compared by their likelihood, nothing is written"
        )
    for label, test_time in _showings(corpus, context_tokens - QUOTING_TOKENS * chats, left_out):
        yield label, Quoted(context=test_time) if chats else test_time


def _showings(corpus: Corpus, context_tokens: int, left_out: dict[str, str]) -> Iterator[tuple[str, Component]]:
    """Those that put documents before a question."""
    sizes = sorted((math.ceil(TOKENS_A_WORD * len(d.text.split())) for d in corpus.experiences), reverse=True)
    room = context_tokens - ROOM_TOKENS
    if sum(sizes) <= room:
        yield "everything in context", InContext(documents=None)
    else:
        left_out["everything in context"] = f"about {sum(sizes)} tokens of documents do not fit into the {context_tokens} of the model's context"
    fits = sum(1 for i in range(len(sizes)) if sum(sizes[: i + 1]) <= room)
    needed = max((len(q.support) for q in corpus.asked()), default=1)
    if fits < needed:
        left_out["retrieval"] = f"the longest passages do not fit into the {context_tokens} tokens of the model's context; set dataset.passage_words lower"
        return
    for name in names("memory"):
        label, cls = f"retrieval, {name}", component(f"memory/{name}")
        fields = {"distractors": min(FOUND, fits) - needed} if "distractors" in cls.model_fields else {"k": min(FOUND, fits)} if "k" in cls.model_fields else {}
        try:
            yield label, Retrieval(retriever=cls(**fields))
        except UserError as error:
            left_out[label] = str(error)


@dataclass(frozen=True)
class Verdicts:
    """What a comparison found. Accuracies are over all that the documents answer (not `unanswerable`, where a plain yes scores half) unless a kind is named; costs
    are in FLOPs where these are counted, else in seconds."""

    frames: Frames

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds that count."""
        every = self.frames.items["kind"].unique(maintain_order=True).to_list()
        return [kind for kind in every if kind != "unanswerable"] or every

    @cached_property
    def methods(self) -> list[dict[str, Any]]:
        """One row for each method: accuracy over all kinds, what its training cost and what a question costs."""
        found, items = conditions(self.frames).to_dicts(), self.frames.items.filter(pl.col("kind").is_in(self.kinds))
        unit = "flops" if all(row["ask_flops"] > 0 for row in found) else "s"
        return [
            {
                "condition": row["condition"], "method": f"{row['training']}, {row['asking']}", "training": row["training"], "asking": row["asking"],
                "accuracy": accuracy(items.filter(pl.col("condition") == row["condition"])),
                "once": row[f"train_{unit}"] + row[f"generate_{unit}"], "each": row[f"ask_{unit}"], "unit": {"flops": "FLOPs", "s": "s"}[unit],
                "general": row["general_accuracy"], "general_before": row["general_accuracy_before"],
            }
            for row in found
        ]  # fmt: skip

    @property
    def eligible(self) -> list[dict[str, Any]]:
        """The methods that anybody can use."""
        return [m for m in self.methods if m["asking"] != CEILING]

    def gap(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Estimate:
        """Accuracy of `first` minus that of `second`, question by question."""
        return difference(self.frames, first["condition"], second["condition"], self.kinds)

    @cached_property
    def best(self) -> dict[str, Any]:
        """The method of highest accuracy; the cheaper one of a question, where two have the same."""
        return max(self.eligible, key=lambda m: (m["accuracy"].mean, -m["each"]))

    @cached_property
    def level(self) -> list[dict[str, Any]]:
        """The methods that the data cannot tell from the best (the interval of the paired difference holds zero), the best first."""
        return [self.best, *(m for m in self.eligible if m is not self.best and self.gap(self.best, m).low <= 0)]

    @cached_property
    def recommended(self) -> dict[str, Any] | None:
        """Of the methods that the data cannot tell from the best and that are NEAR it, the one that costs least a question; None where the best may be guessing."""
        return min(self.near, key=lambda m: (m["each"], m["once"])) if self.best["accuracy"].low > self._chance() else None

    @property
    def near(self) -> list[dict[str, Any]]:
        """Those of `level` that answered nearly as much: with few questions even a method that answered a third of what the best did is level."""
        return [m for m in self.level if m["accuracy"].mean >= self.best["accuracy"].mean - NEAR]

    def break_evens(self) -> Iterator[dict[str, Any]]:
        """For each pair of methods on the best level, one of which costs less once and the other less a question: from how many questions on the latter is cheaper."""
        for i, a in enumerate(self.level):
            for b in self.level[i + 1 :]:
                low, high = sorted((a, b), key=lambda m: m["once"])
                if high["once"] > low["once"] and low["each"] > high["each"]:
                    questions = math.ceil((high["once"] - low["once"]) / (low["each"] - high["each"]))
                    yield {"method": high["method"], "cheaper_than": low["method"], "from_questions": questions}

    def recommendation(self) -> str:
        """One paragraph that quotes its numbers, and says when the data cannot tell."""
        best, level = self.best, self.level
        guess = self._chance()
        said = f"Best of {len(self.eligible)} methods is {best['method']}: {say(best['accuracy'])} of {best['accuracy'].n} questions right (those that the documents answer)."
        if self.recommended is None:
            return f"{said} That is not surely above the {100 * guess:.0f} % that guessing gives: these data recommend nothing. Ask more questions, or try a larger model."
        if len(level) > 1:
            rivals = "; ".join(f"{m['method']} {say(m['accuracy'])} (difference {_points(self.gap(best, m))})" for m in level[1:])
            said += f" The data cannot tell it from {rivals}."
            points = f"within {100 * NEAR:.0f} points of it"
            if len(self.near) > 1:
                said += f" Of those {points}, {self.recommended['method']} costs least a question ({cost(self.recommended, 'each')})."
            else:
                said += f" None of these is {points}: it is recommended."
        else:
            second = max((m for m in self.eligible if m is not best), key=lambda m: m["accuracy"].mean, default=None)
            said += f" The next, {second['method']}, has {say(second['accuracy'])} (difference {_points(self.gap(best, second))})." if second else ""
            said += f" It costs {cost(best, 'once')} once and {cost(best, 'each')} a question."
        if (chosen := self.recommended)["once"] and chosen["general"] is not None:
            said += f" {chosen['method'].capitalize()} left {kept(chosen)} of general questions right (before and after training)."
        for row in self.break_evens():  # all of them are in `to_dict`
            if row["method"] != chosen["method"] or best is not chosen and row["cheaper_than"] != best["method"]:
                continue
            said += f" From {row['from_questions']:,} questions on, {row['method']} is cheaper than {row['cheaper_than']}."
        ceiling = max((m for m in self.methods if m["asking"] == CEILING), key=lambda m: m["accuracy"].mean, default=None)
        said += f" With a perfect memory (an oracle): {say(ceiling['accuracy'])}." if ceiling else ""
        return said + (" Each method was trained once: intervals speak of other facts, not of other trainings." if any(m["once"] for m in self.methods) else "")

    def _chance(self) -> float:
        """What guessing scores over all questions: the mean of the kinds' chances, weighted by their questions."""
        kinds = json.loads(self.frames.cells.row(0, named=True)["kinds"])
        asked = self.frames.items.filter(pl.col("kind").is_in(self.kinds))["kind"]
        return sum(kinds[kind]["chance"] for kind in asked) / len(asked)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values (unknown is null)."""
        rows = [{**m, "accuracy": m["accuracy"].to_dict()} for m in self.methods]
        kept = ("training", "asking", "kind", "mean", "low", "high", "n", "chance")
        kinds = [{name: row[name] for name in kept} for row in estimates(self.frames).to_dicts()]
        found = {
            "methods": rows,
            "kinds": kinds,
            "level": [m["method"] for m in self.level],
            "break_even": list(self.break_evens()),
            "recommendation": self.recommendation(),
        }
        return json.loads(json.dumps(found), parse_constant=lambda _: None)


def costs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Methods with what they cost, for the terminal."""
    table = Table(title="what it costs", title_justify="left")
    for name in ("method", "all kinds", "once", "a question", "general"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in rows:
        shown = percent(row["accuracy"].mean, row["accuracy"].low, row["accuracy"].high)
        table.add_row(row["method"] + " (ceiling)" * (row["asking"] == CEILING), shown, cost(row, "once"), cost(row, "each"), kept(row))
    return table


def _points(found: Estimate) -> str:
    return f"{100 * found.mean:+.0f} points [{100 * found.low:+.0f}, {100 * found.high:+.0f}]"


def kept(method: Mapping[str, Any]) -> str:
    """General questions right: before training and after it; the one number where nothing was trained, nothing where it is not known."""
    before, after = method["general_before"], method["general"]
    if after is None:
        return ""
    return f"{100 * after:.0f} %" if not method["once"] else f"{100 * before:.0f} -> {100 * after:.0f} %"


def cost(method: Mapping[str, Any], name: str) -> str:
    return f"{method[name]:.2g} {method['unit']}"
