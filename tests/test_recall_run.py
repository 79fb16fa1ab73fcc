"""Learned recall as cells: what builds on a training begins where it ended, traces are in the record, and old tables still load."""

from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file

from tolman.datasets.recall import Recall
from tolman.models.tiny import Tiny
from tolman.run.cell import Cell
from tolman.run.execute import execute
from tolman.run.frames import ABSENT, ITEMS, Frames
from tolman.run.plan import Plan
from tolman.run.store import Store
from tolman.scoring.exact import Exact
from tolman.scoring.vote import Vote
from tolman.studies._traces import with_traces
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.thinking import Thinking
from tolman.train_time.pretrain import Pretrain
from tolman.train_time.recall_rl import RecallRL

WORLD, MODEL, KNOWS = Recall(**Recall.example), Tiny(layers=1, width=16, heads=1, kv_heads=1, hidden=16), Pretrain(steps=6, batch_tokens=256)


def cell(**fields) -> Cell:
    return Cell(**({"dataset": WORLD, "model": MODEL, "train_time": KNOWS, "scoring": Exact(), "test_time": ClosedBook(), "seed": 0} | fields))


def ran(folder: Path, *cells: Cell) -> tuple[Plan, list[dict]]:
    events: list[dict] = []
    plan = Plan("demo", "quick", cells, Store(folder))
    plan.run(events.append)
    return plan, events


def trained(plan: Plan, cell: Cell) -> tuple[dict[str, torch.Tensor], dict]:
    found = plan.store.read_artifact(cell.train_fingerprint())
    assert found is not None
    return {name: t.clone() for name, t in load_file(found[0] / "model.safetensors").items()}, found[1]["costs"]["train"]


def test_a_training_that_builds_on_another_begins_where_that_ended(tmp_path):
    """With the knowledge's artifact in the store or without: the same weights to the bit, and the same price."""
    first, then = cell(), cell(train_time=RecallRL(first=KNOWS, thinking=None, scoring=Exact(), steps=3, questions=4, samples=4))
    (alone, events), (after, later) = ran(tmp_path / "alone", then), ran(tmp_path / "after", first)
    assert [e["step"] for e in events if e["event"] == "step"][-1] == 9
    execute(after.store, [then], later.append)
    assert not {e["step"] for e in later if e["event"] == "step" and e["training"] == then.train_fingerprint()} & set(range(1, 7)), "trained twice"
    (expected, price), (found, paid) = trained(alone, then), trained(after, then)
    assert all(torch.equal(expected[name], tensor) for name, tensor in found.items()) and found.keys() == expected.keys()
    assert (price["tokens"], price["flops"]) == (paid["tokens"], paid["flops"])


def test_what_is_left_is_compared_with_what_was_known_before_the_first_training(tmp_path, monkeypatch):
    looked = iter(range(9))
    monkeypatch.setattr("tolman.run.execute.retention", lambda model: {"general_nats": float(next(looked)), "general_accuracy": 0.5})
    first, then = cell(), cell(train_time=RecallRL(first=KNOWS, thinking=None, scoring=Exact(), steps=3, questions=4, samples=4))
    plan, _ = ran(tmp_path, first, then)
    nats = {
        part: [plan.store.read_artifact(c.train_fingerprint())[1]["retention"][part]["general_nats"] for c in (first, then)] for part in ("before", "after")
    }
    assert nats == {"before": [0.0, 0.0], "after": [1.0, 2.0]}


def test_traces_and_votes_are_in_the_record(tmp_path):
    thinking = Thinking(budget_tokens=6, samples=3, temperature=1.0)
    plan, _ = ran(tmp_path, cell(test_time=thinking, scoring=Vote(scoring=Exact()), kinds=("two_hop",)))
    corpus = WORLD.build(0)
    told = {d.text for d in corpus.experiences}
    items = {item["question"]: item for item in plan.frames().items.to_dicts()}
    assert any(item["trace"] for item in items.values())
    for question in corpus.asked(["two_hop"]):
        item = items[question.id]
        assert len(item["samples"]) == 3 and len(item["trace_told"]) == len([s for s in item["trace"].split(".") if s.strip()])
        assert item["needed"] == ([corpus.by_id[s].text for s in question.support] if item["trace"] else [])
        assert not any(item["trace_told"]) or told & set(item["trace"].split(" . "))


def test_tables_from_before_there_were_traces_still_load(tmp_path):
    plan, _ = ran(tmp_path / "runs", cell())
    plan.frames().write(tmp_path / "old")
    path = tmp_path / "old" / "items.parquet"
    pl.read_parquet(path).drop([c for c in ABSENT if c in ITEMS]).write_parquet(path)
    assert Frames.read(tmp_path / "old").items.equals(plan.frames().items)


def test_what_traces_do():
    rows = [
        ("a r b . b s c", [True, True], ["a r b", "b s c"], "a r s", (True, False, False)),
        ("a r b . b s d", [True, False], ["a r b", "b s c"], "a r s", (False, True, False)),
        ("x r y . z r y . a r b", [True, True, True], ["a r b"], "b inv", (True, False, True)),
        ("x r y . z r y", [True, True], ["a r b"], "b inv", (False, False, False)),
        ("a r b", [True], ["a r b"], "b inv", (True, False, False)),
        ("", [], [], "b inv", None),
    ]
    names = ("trace", "trace_told", "needed", "question_text")
    found = with_traces(pl.DataFrame([dict(zip(names, row, strict=False)) for row in rows]))
    assert found.select("states_needed", "confabulates", "searches").rows() == [row[-1] for row in rows if row[-1]]
    assert found["length"].to_list() == [7, 7, 11, 7, 3]
