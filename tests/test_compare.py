"""The comparison: which methods it finds and leaves out, and what it recommends on records whose truth is known."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from endpoint_server import Server
from tolman.app import compare
from tolman.app.compare import CEILING, Comparison, Verdicts, askings, costs_table, prepare, trainings
from tolman.cli import app
from tolman.cli_parts import asked_per_kind
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.datasets.folder import SAMPLE, Folder
from tolman.models.bigram import Bigram
from tolman.models.hf import Hf
from tolman.models.scripted import Scripted
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.quoted import Quoted
from tolman.train_time.untrained import Untrained

FOLDER = Folder(practice_share=0)
CORPUS = FOLDER.build(0)
ANSWERABLE = [q for q in CORPUS.asked() if q.kind != "unanswerable"]


def verdicts(store: Path, **right: float) -> Verdicts:
    """Methods named in `right` that answer this share of all answerable questions: every one of them among the first."""
    cells = []
    for name, share in right.items():
        answers = {q.prompt: q.answers[0] for q in ANSWERABLE[: round(share * len(ANSWERABLE))]}
        parts: dict[str, Any] = {"dataset": FOLDER, "train_time": Untrained(), "test_time": ClosedBook(), "scoring": Exact(), "seed": 0}
        cells.append(Cell(**parts, model=Scripted(answers=answers, default=name), training=name, asking=CEILING if name == "oracle" else "closed book"))
    plan = Plan("compare", "test", tuple(cells), Store(store))
    plan.run(lambda event: None)
    return Verdicts(plan.frames())


def priced(found: Verdicts, **prices: tuple[float, float]) -> Verdicts:
    """The same with what each method costs once and a question."""
    cells = found.frames.cells
    once = [float(prices[name][0]) for name in cells["training"]]
    each = [float(prices[name][1] * n) for name, n in zip(cells["training"], cells["n_questions"], strict=True)]
    return Verdicts(Frames(cells.with_columns(pl.Series("train_flops", once), pl.Series("ask_flops", each)), found.frames.items, found.frames.trainings))


def test_a_clear_winner_is_recommended_with_its_numbers(tmp_path):
    found = priced(verdicts(tmp_path, plain=0.1, good=0.9, oracle=1.0), plain=(0, 10), good=(5e6, 20), oracle=(0, 1))
    assert found.best["method"] == "good, closed book" and [m["method"] for m in found.level] == ["good, closed book"]
    said, n = found.recommendation(), len(ANSWERABLE)
    parts = (
        "Best of 2 methods is good, closed book: 90 % [",
        "The next, plain, closed book, has 10 %",
        f"(difference +{100 * (round(0.9 * n) - round(0.1 * n)) / n:.0f} points [",
        "5e+06 FLOPs once and 20 FLOPs a question",
    )
    for part in (*parts, "With a perfect memory (an oracle): 100 %", "trained once"):
        assert part in said, (part, said)
    assert list(found.break_evens()) == [] and costs_table(found.methods).row_count == 3
    json.dumps(found.to_dict(), allow_nan=False)


def test_where_the_data_cannot_tell_it_says_so_and_names_the_break_even(tmp_path):
    """Cheap to begin and dear to ask, or the reverse: (1000 - 0) / (30 - 5) = 40 questions."""
    found = priced(verdicts(tmp_path, reading=0.80, trained=0.82, poor=0.2), reading=(0, 30), trained=(1000, 5), poor=(0, 1))
    assert {m["training"] for m in found.level} == {"reading", "trained"}
    assert list(found.break_evens()) == [{"method": "trained, closed book", "cheaper_than": "reading, closed book", "from_questions": 40}]
    said = found.recommendation()
    for part in (
        "The data cannot tell it from reading, closed book 80 %",
        "Of those within 5 points of it, trained, closed book costs least a question (5 FLOPs)",
        "From 40 questions on, trained, closed book",
    ):
        assert part in said, (part, said)


def test_a_cheaper_question_is_not_worth_more_than_a_few_answers(tmp_path, monkeypatch):
    """Though the data cannot tell the two apart."""
    monkeypatch.setattr(compare, "NEAR", 0.01)
    found = priced(verdicts(tmp_path, cheap=0.80, good=0.82), cheap=(0, 1), good=(0, 30))
    assert len(found.level) == 2 and found.recommended == found.best and found.best["training"] == "good"
    assert "None of these is within 1 points of it: it is recommended." in found.recommendation()


def test_what_guessing_could_do_recommends_nothing(tmp_path):
    assert "these data recommend nothing" in verdicts(tmp_path, one=0.0, two=0.01).recommendation()


def test_costs_are_in_seconds_where_a_model_counts_no_operations(tmp_path):
    found = verdicts(tmp_path, one=0.5, two=0.9)
    assert {m["unit"] for m in found.methods} == {"s"} and all(m["each"] > 0 for m in found.methods)


def test_unanswerable_questions_do_not_count(tmp_path):
    found = verdicts(tmp_path, every=1.0)
    assert found.best["accuracy"].mean == 1.0 and found.best["accuracy"].n == len(ANSWERABLE) < len(CORPUS.asked())


def test_methods_are_found_and_what_cannot_be_used_is_named():
    left: dict[str, str] = {}
    live = Tiny(layers=1, width=16, heads=1, kv_heads=1, hidden=16).create(CORPUS, seed=0)
    assert [label for label, *_ in trainings(Tiny(), live, left, corpus=CORPUS)] == ["untuned", "trained"] and "no instruction to write" in left["augmented"]
    left = {}
    assert [label for label, *_ in trainings(Bigram(), Bigram().create(CORPUS, seed=0), left, corpus=CORPUS)] == ["untuned"]
    assert "no weights that can be trained" in left["training"]
    for model, adapters in ((Hf(), [None, "reader"]), (Hf(adapter="reader"), ["reader"]), (Hf(path="random"), [None])):
        found = list(trainings(model, Bigram().create(CORPUS, seed=0), {}, corpus=CORPUS))
        assert [m.adapter for _, m, _ in found] == adapters and all(how == Untrained() for *_, how in found)  # type: ignore[attr-defined]
    left = {}
    found = dict(askings(CORPUS, 4096, left))
    quoted = dict(askings(CORPUS, 4096, {}, chats=True))
    assert quoted["closed book"] == found["closed book"] and quoted["everything in context"] == Quoted(context=found["everything in context"])
    assert {"closed book", "everything in context", CEILING} <= set(found) and not {"everything in context", CEILING} & set(left)
    assert found[CEILING].retriever.distractors == 1  # type: ignore[attr-defined]
    left = {}
    assert "everything in context" not in dict(askings(CORPUS, 512, left)) and "do not fit into the 512" in left["everything in context"]
    left = {}
    assert list(dict(askings(CORPUS, 128, left))) == ["closed book"] and "passage_words lower" in left["retrieval"]


def test_models_that_chat_and_write_are_asked_to_think_and_it_is_said_of_the_others_why_not():
    left: dict[str, str] = {}
    assert dict(askings(CORPUS, 4096, left, chats=True))["thinking"].ask.endswith("?") and "thinking" not in left  # type: ignore[attr-defined]
    for how, why in (({"chats": False}, "follows no instruction"), ({"chats": True, "writes": False}, "nothing is written")):
        left = {}
        assert "thinking" not in dict(askings(CORPUS, 4096, left, **how)) and why in left["thinking"]


def test_a_pretrained_model_is_fine_tuned_on_what_the_folder_holds_and_asked_from_the_weights(tmp_path):
    """Each of the trainings reads every document some five times; the memories are told apart with the untuned model, one of them is tried beside the augmented weights."""
    given = {"model.path": "random", "model.dtype": "float32"}
    plan = prepare(SAMPLE, "hf", questions=None, scoring="exact", settings=given, store=tmp_path).plan
    asked: dict[str, list[str]] = {}
    for cell in plan.cells:
        asked.setdefault(cell.training, []).append(cell.asking)
    assert asked["fine-tuned"] == ["closed book"] and asked["augmented"] == ["closed book", "retrieval, episodic"]
    assert {"closed book", "retrieval, bm25", "retrieval, dense", "retrieval, hybrid", "retrieval, episodic", CEILING} <= set(asked["untuned"])
    (train,) = [c.train_time for c in plan.cells if c.training == "fine-tuned"]
    words = sum(len(d.text.split()) for d in CORPUS.documents)
    assert 5 <= train.steps * train.batch_tokens / (1.5 * words) < 5 + 256 / words  # type: ignore[attr-defined]
    given |= {"train_time.steps": 7}
    again = prepare(SAMPLE, "hf", questions=None, scoring="exact", settings=given, store=tmp_path).plan
    by_training = {c.training: SimpleNamespace(**dict(c.train_time)) for c in again.cells}
    assert by_training["fine-tuned"].steps == 7 and by_training["augmented"].then.steps == 7, "a setting reaches all trainings"


def test_some_questions_of_each_kind_are_asked_unless_all_are_wanted_or_they_are_the_users_own(tmp_path):
    def made(**more: Any) -> Comparison:
        settings = {"dataset.practice_share": 0} | more.pop("settings", {})
        return prepare(SAMPLE, "bigram", **({"questions": None, "scoring": "exact", "settings": settings, "store": tmp_path} | more))

    some, every, few = made(), made(settings={"dataset.per_kind": None}), made(settings={"dataset.per_kind": 3})
    assert len(every.corpus.asked()) == len(CORPUS.asked()) and every.sample() == f"Asked: {len(CORPUS.asked())} of {len(CORPUS.asked())} test questions."
    for found, most in ((some, compare.PER_KIND), (few, 3)):
        counts = Counter(q.kind for q in found.corpus.asked())
        assert (
            set(counts) == set(CORPUS.kinds)
            and max(counts.values()) == most
            and f"Asked: {sum(counts.values())} of {len(CORPUS.asked())} test questions, a sample" in found.sample()
        )
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"prompt": f"Who is number {n}?", "answer": str(n)}) + "\n" for n in range(20)))
    assert len(made(questions=own).corpus.asked()) == 20
    assert asked_per_kind(None) == {} and asked_per_kind("all") == {"dataset.per_kind": None} and asked_per_kind("5") == {"dataset.per_kind": 5}
    for bad in ("0", "-1", "some", "1.5"):
        with pytest.raises(UserError, match="a number from 1 on, or all"):
            asked_per_kind(bad)


def test_one_small_document_has_nothing_to_retrieve_but_itself():
    corpus = Corpus((Document("a", "one two"),), (), {})
    found = dict(askings(corpus, 512, {}))
    assert found[CEILING].retriever.distractors == 0  # type: ignore[attr-defined]


def test_settings_reach_folder_model_and_methods(tmp_path):
    settings = {"model.layers": 1, "dataset.passage_words": 30, "dataset.asked": 9, "train_time.steps": 7, "scoring.max_tokens": 4}
    found = prepare(SAMPLE, "tiny", questions=None, scoring="exact", settings=settings, store=tmp_path)
    assert isinstance(found, Comparison) and len(found.plan.groups()) >= 2
    cells = {(c.training, c.asking): c for c in found.plan.cells}
    trained = SimpleNamespace(**dict(cells["trained", "closed book"]))
    assert trained.train_time.steps == 7 and trained.model.layers == 1 and trained.dataset.passage_words == 30 and trained.scoring.max_tokens == 4
    assert ("untuned", CEILING) in cells and len([q for q in found.corpus.questions if q.kind == "recall"]) == 9


def test_the_command_says_what_it_would_do_does_it_and_says_how_many_questions_it_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ["compare", str(SAMPLE), "--model", "scripted", "--set", "model.context_tokens=2000", "--out", str(tmp_path), "--questions-per-kind", "2"]

    def tolman(*more: str) -> str:
        done = CliRunner().invoke(app, [*words, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    said = tolman("--dry-run")
    assert "would compare untuned, closed book; untuned, everything in context; untuned, retrieval, bm25" in said and "a sample of each kind" in said
    assert not list(tmp_path.rglob("*.jsonl")), "a dry run asks nothing"
    found = json.loads(tolman("--json"))
    assert {m["asking"] for m in found["methods"]} >= {"closed book", "retrieval, episodic", CEILING} and "training" in found["left_out"]
    assert found["sample"].startswith("Asked: ") and "these data recommend nothing" in found["recommendation"]
    (plan,) = tmp_path.rglob("plan.json")
    assert found["sample"] in json.loads(plan.read_text())["headline"] and json.loads(tolman("--dry-run", "--json"))["cells"] == 0, "nothing is left to do"


def test_an_endpoint_without_log_probabilities_is_compared_by_what_it_writes_and_refused_where_candidates_are_compared(tmp_path):
    with Server(logprobs=False, echo=False) as server:
        settings = {"model.model": "example", "model.base_url": server.url, "model.key_variable": "", "model.cache": "", "dataset.per_kind": 1}
        settings |= {"dataset.practice_share": 0, "model.context_tokens": 300}
        shared: dict[str, Any] = {"questions": None, "settings": settings, "store": tmp_path}
        written = prepare(SAMPLE, "openai", scoring="exact", **shared)
        assert "no weights that can be trained" in written.left_out["training"] and {c.training for c in written.plan.cells} == {"untuned"}
        plan = Plan("compare", "test", written.plan.cells[:1], written.plan.store)
        plan.run(lambda event: None)
        found = Verdicts(plan.frames())
        assert found.recommended is None and found.methods[0]["unit"] == "s" and len(server.seen) >= len(written.corpus.asked()) > 0
        chosen = prepare(SAMPLE, "openai", scoring="choice", **shared)
        assert chosen.left_out["thinking"].startswith("candidates are compared")
        with pytest.raises(UserError, match="does not give the log-probabilities of a given text .* use scoring/exact"):
            Plan("compare", "test", chosen.plan.cells[:1], chosen.plan.store).run(lambda event: None)
