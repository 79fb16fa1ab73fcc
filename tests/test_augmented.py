"""Augmented training: what is written is filtered, counted and learned; its teacher is trained once for all that share it; interruptions change nothing."""

import json
import math
import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from tolman.augment.global_ import Global
from tolman.augment.local import Local
from tolman.augment.rules import Rules
from tolman.core.component import Component
from tolman.core.data import Document, Prompt
from tolman.core.errors import UserError
from tolman.core.generated import Origin, blind
from tolman.datasets.reversals import RELATIONS, Reversals
from tolman.models.hf import Hf
from tolman.models.scripted import Scripted
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.checkpoint import FileCheckpoints
from tolman.run.execute import Stopped, execute
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.testing import MemoryCheckpoints, Silent
from tolman.testing._world import world
from tolman.testing.train_time import Interrupted, same, weights
from tolman.train_time import augmented
from tolman.train_time._writing import Overheard, distinct, likelihood, repeated
from tolman.train_time.augmented import Augmented
from tolman.train_time.finetune import Finetune
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.untrained import Untrained

SMALL = Tiny(layers=1, width=16, heads=1, kv_heads=1, head_width=16, hidden=16, context_tokens=64)
FEW = Pretrain(steps=6, batch_tokens=128)
WORLD = Reversals(**Reversals.example)
INVERSES = dict(RELATIONS)
REVERSE = Rules(inverses=INVERSES)


class Talker(Component):
    """Writes the texts it was given about every source."""

    texts: tuple[str, ...] = ()
    """What to write."""
    asks: bool = False
    """Whether it asks the model first, showing it the last of `texts`."""

    def write(self, model: Any, corpus: Any, sources: Any, *, seed: int) -> list[Document]:
        if self.asks:
            model.generate([Prompt(self.texts[-1])], max_tokens=3)
        return [Document(f"{d.id}:{i}", text, str(Origin("talker", "say", (d.id,), seed))) for d in sources for i, text in enumerate(self.texts)]


def train(method: Augmented, corpus: Any = None, checkpoints: Any = None, watch: Any = None) -> tuple[Any, Silent]:
    corpus = corpus or WORLD.build(0)
    model, watch = SMALL.create(corpus, seed=0), watch or Silent()
    method.train(model, corpus, seed=0, checkpoints=checkpoints or MemoryCheckpoints(), watch=watch)
    return model, watch


# -- filters ------------------------------------------------------------------------------------------------------------------------------------------------


def test_generated_documents_make_up_their_share():
    documents = [Document(str(i), "x") for i in range(10)]
    for beside, share in ((100, 0.5), (100, 0.1), (7, 0.9), (3, 0.01)):
        n = len(repeated(documents, beside, share))
        assert n / (n + beside) >= share and (n == 10 or (n - 10) / (n - 10 + beside) < share)
        assert n % 10 == 0


def test_likelihood_is_that_of_the_last_target_after_its_sources():
    corpus = blind(world())
    d = Document("g", "Orla is home to Bo Ada", str(Origin("x", "reverse", ("lives:Bo", "lives:Ada"), 0)), ((0, 4), (16, 22)))
    whole = replace(d, targets=None)
    before = "\n".join(corpus.by_id[id].text for id in ("lives:Bo", "lives:Ada"))
    nats = {f"{before}\nOrla is home to": {"Bo Ada": -2.0}, f"{before}\nOrla": {"is home to Bo Ada": -10.0}}
    model = Scripted(nats=nats).create(world(), seed=0)
    assert likelihood(model, corpus, [d, whole]) == pytest.approx([math.exp(-1), math.exp(-2)])


def test_what_the_model_finds_unlikely_after_the_sources_is_dropped_and_duplicates_too():
    corpus = replace(world(), documents=world().documents[:1])
    source = corpus.documents[0].text
    nats = {f"{source}\nAda": {"likes Bo": -0.1, "fears Bo": -9.0}}
    model = Scripted(nats=nats).create(corpus, seed=0)
    talker = Talker(texts=("Ada likes Bo", "Ada fears Bo", "Ada likes Bo"))
    for fields, kept, numbers in (
        ({"least_likelihood": 0.5}, ["Ada likes Bo"], (3, 1, 1)),
        ({}, ["Ada likes Bo", "Ada fears Bo"], (3, 1, 0)),
        ({"duplicates": "keep"}, ["Ada likes Bo", "Ada fears Bo", "Ada likes Bo"], (3, 0, 0)),
    ):
        method = Augmented(first=FEW, augment=talker, then=FEW, **fields)
        documents, about = method.written(None, model, corpus, seed=0, checkpoints=MemoryCheckpoints())
        assert [d.text for d in documents] == kept
        assert (about["written"], about["duplicates"], about["contradicting"]) == numbers
    with pytest.raises(UserError, match=r"all 3 documents that it wrote were dropped as contradicting their sources, such as .*Ada"):
        Augmented(first=FEW, augment=talker, then=FEW, least_likelihood=0.99).written(None, model, corpus, seed=0, checkpoints=MemoryCheckpoints())
    assert [d.id for d in distinct([Document("a", "x"), Document("b", "y"), Document("c", "x")])] == ["a", "b"]


@pytest.mark.parametrize(
    "augment, message",
    [
        (Rules(inverses={"eats": "eaten_by"}), r"augment/rules wrote nothing of use: it found nothing to write about in 20 documents \(do its lexicon's words"),
        (Local(inverses={"lives in": "is home to"}), r"augment/local wrote nothing of use: asked 10 times, the model came back with '', '', ''"),
    ],
)
def test_nothing_of_use_is_an_error_that_says_what_came_back(augment, message):
    model = Scripted().create(world(), seed=0)
    with pytest.raises(UserError, match=message):
        Augmented(first=FEW, augment=augment, then=FEW).written(None, model, world(), seed=0, checkpoints=MemoryCheckpoints())


# -- what is known of it ------------------------------------------------------------------------------------------------------------------------------------


def test_prompts_that_state_what_is_under_test_are_counted():
    corpus = world()
    phrase = corpus.forbidden[0]
    method = Augmented(first=FEW, augment=Talker(texts=("Ada likes Bo", f"note: {phrase.upper()}!"), asks=True), then=FEW)
    _, about = method.written(None, Scripted().create(corpus, seed=0), corpus, seed=0, checkpoints=MemoryCheckpoints())
    assert (about["prompts"], about["leaks_in_prompts"]) == (1, 1)
    clean = Augmented(first=FEW, augment=Local(inverses={"lives in": "is home to"}), then=FEW, least_likelihood=1e-9)
    _, about = clean.written(None, Scripted(default="Iris").create(corpus, seed=0), corpus, seed=0, checkpoints=MemoryCheckpoints())
    assert (about["prompts"], about["leaks_in_prompts"]) == (20, 0)  # ten beginnings, and ten statements held against their sources
    assert Overheard(Scripted().create(corpus, seed=0), ()).context_tokens == 512


def test_the_record_holds_the_account_of_what_was_written():
    corpus = WORLD.build(0)
    _, watch = train(Augmented(first=Untrained(), augment=REVERSE, then=FEW), corpus)
    kept = watch.kept["generated"]["kept"]
    assert kept["documents"] == kept["true"] == len({d.text for d in REVERSE.write(None, blind(corpus), blind(corpus).documents, seed=0)})
    assert kept["tested_derived"] == kept["tested"] == 8 and watch.kept["generated"]["leaks_in_prompts"] == 0


def test_the_second_training_reads_documents_and_generated_ones_in_their_share(monkeypatch):
    corpus, seen = WORLD.build(0), []
    inner = Pretrain.train
    monkeypatch.setattr(Pretrain, "train", lambda self, model, corpus, **how: seen.append(corpus) or inner(self, model, corpus, **how))
    train(Augmented(first=FEW, augment=REVERSE, then=FEW, share=0.5, sources=10), corpus)
    first, second = seen
    assert first is corpus and second.documents[: len(corpus.documents)] == corpus.documents
    more = second.documents[len(corpus.documents) :]
    assert 5 <= len(set(more)) == len({d.text for d in more}) <= 10
    assert 0.5 <= len(more) / (len(more) + len(corpus.experiences)) < 0.53
    assert {Origin.of(d).sources[0] for d in more} <= {d.id for d in corpus.experiences}


# -- in the runner ------------------------------------------------------------------------------------------------------------------------------------------


def cell(method: Component) -> Cell:
    return Cell(
        dataset=WORLD, model=SMALL, train_time=method, test_time=ClosedBook(), scoring=Exact(), seed=0, asking="closed book", curve=("heldout_reversal",)
    )


METHODS = (FEW, Augmented(first=FEW, augment=REVERSE, then=FEW), Augmented(first=FEW, augment=Global(inverses=INVERSES, window=2, related=1), then=FEW))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Plan, list[str]]:
    plan, events = Plan("augmentation", "quick", tuple(map(cell, METHODS)), Store(tmp_path_factory.mktemp("store"))), []
    plan.run(lambda e: events.append(e["training"]) if e["event"] == "trained" else None)
    return plan, events


def test_methods_that_begin_alike_share_their_first_training(finished):
    plan, events = finished
    assert events == [c.train_fingerprint() for c in plan.cells]
    again = Plan("augmentation", "quick", plan.cells[1:2], Store(plan.store.folder.parent / "other"))
    again.run(lambda e: events.append(e["training"]) if e["event"] == "trained" else None)
    assert events[3:] == events[:2], "without the teacher's artifact it is trained, and kept"


def test_an_augmented_model_is_the_same_with_a_shared_teacher_or_its_own(finished):
    plan, _ = finished
    for c in plan.cells[1:]:
        folder, _ = plan.store.read_artifact(c.train_fingerprint())
        model, _ = train(c.train_time)
        assert same(weights(model), weights(c.model.load(folder)))


def test_costs_are_those_of_teacher_writing_and_training(finished):
    plan, _ = finished
    teacher, ruled, written = plan.frames().cells.iter_rows(named=True)
    assert teacher["generate_tokens"] == 0 and ruled["generate_tokens"] == 0 < written["generate_tokens"]
    for row in (ruled, written):
        assert 1.8 * teacher["train_tokens"] < row["train_tokens"] < 2.2 * teacher["train_tokens"]
        assert row["train_flops"] > 1.8 * teacher["train_flops"]
    assert written["generate_flops"] > 0 and written["generate_s"] > 0


def test_record_artifact_and_tables_hold_what_was_written(finished):
    plan, _ = finished
    frames = plan.frames()
    notes = [json.loads(text) for text in frames.cells["notes"]]
    assert notes[0] == {} and notes[1]["generated"]["kept"]["false"] == 0
    folder, about = plan.store.read_artifact(plan.cells[1].train_fingerprint())
    lines = [json.loads(line) for line in (folder / "generated.jsonl").read_text().splitlines()]
    assert len(lines) == notes[1]["generated"]["kept"]["documents"] and all(line["true"] for line in lines)
    assert "generated.jsonl" in about["files"] and about["notes"] == notes[1]
    steps = frames.trainings.filter(training=plan.cells[1].training)["step"].unique().sort().to_list()
    assert max(steps) == 12 and min(steps) == 1, "the curve is that of both trainings"


def test_an_interrupted_run_goes_on_with_its_costs(tmp_path, finished, monkeypatch):
    monkeypatch.setattr("tolman.run.execute.REPORT_EVERY_S", 0.0)
    whole, _ = finished
    store, c = Store(tmp_path), whole.cells[1]
    for after in (2, 8, 10):
        stop = threading.Event()
        with pytest.raises(Stopped):
            execute(store, [c], lambda e, n=after, s=stop: s.set() if e["event"] == "step" and e["step"] >= n else None, stop)
    execute(store, [c], lambda e: None)
    (header, items), (expected, same_items) = store.read_record(c.fingerprint()), whole.store.read_record(c.fingerprint())
    assert items == same_items
    assert header["notes"] == expected["notes"] and header["costs"]["train"]["tokens"] == expected["costs"]["train"]["tokens"]
    assert header["costs"]["train"]["flops"] == pytest.approx(expected["costs"]["train"]["flops"])


def test_writing_goes_on_where_it_was_interrupted(monkeypatch):
    monkeypatch.setattr(augmented, "CHUNK", 16)
    method = Augmented(first=FEW, augment=Local(inverses=INVERSES, samples=2, temperature=1.0), then=FEW, duplicates="keep")
    whole, uninterrupted = train(method)

    class DiesWriting(MemoryCheckpoints):
        dies = True

        def save(self, state):
            super().save(state)
            if state["stage"] == "write" and state["sources"] >= 48 and self.dies:
                self.dies = False
                raise Interrupted

    checkpoints = DiesWriting(every=1)
    with pytest.raises(Interrupted):
        train(method, checkpoints=checkpoints)
    written = []
    inner = Local.write
    monkeypatch.setattr(Local, "write", lambda self, model, corpus, sources, **how: written.append(len(sources)) or inner(self, model, corpus, sources, **how))
    resumed, watch = train(method, checkpoints=checkpoints)
    assert sum(written) == len(WORLD.build(0).experiences) - 48
    assert watch.steps[0] == 7, "the teacher is not trained again"
    assert watch.kept == uninterrupted.kept and same(weights(whole), weights(resumed))


def test_a_stop_between_teacher_and_writing_loses_nothing():
    method = Augmented(first=FEW, augment=REVERSE, then=FEW)
    whole, _ = train(method)
    checkpoints = MemoryCheckpoints(every=1)
    with pytest.raises(Interrupted):
        train(method, checkpoints=checkpoints, watch=Silent(until=6))
    resumed, watch = train(method, checkpoints=checkpoints)
    assert watch.steps[0] == 6 and torch.equal(whole.network.model.norm.weight, resumed.network.model.norm.weight)


def test_configuration_says_what_the_training_reads():
    method = Augmented(first=FEW, augment=REVERSE, then=Pretrain(steps=10, batch_tokens=64))
    assert method.steps == 16 and method.train_tokens() == 6 * 128 + 640
    assert Augmented(first=Untrained(), augment=REVERSE, then=FEW).steps == 6


def test_a_pretrained_teacher_can_be_interrupted_while_it_writes(tmp_path):
    """Its weights are tied, which a checkpoint's file refuses to hold twice; and untrained they need not be held at all."""
    corpus = world()
    method = Augmented(first=Untrained(), augment=Rules(inverses={"lives in": "is home to"}), then=Finetune(weights="full", steps=4, batch_tokens=64))
    for key, first in (("untrained", Untrained()), ("trained", Finetune(weights="full", steps=2, batch_tokens=64))):
        checkpoints = FileCheckpoints(Store(tmp_path), key, share=1e9)  # due at every chance
        model = Hf(path="random", dtype="float32").create(corpus, seed=0)
        method.replace("first", first).train(model, corpus, seed=0, checkpoints=checkpoints, watch=Silent())
        state = checkpoints.load()
        assert state is not None and state["stage"] == "then" and state["inner"]["step"] == 4
