"""The tour: its cells, what it says of records made by hand, and the figure of all roads."""

import json
import math
import re

import polars as pl
import pytest
import vl_convert

from report_frames import build, by_hand, travelled, written
from tolman.core.data import Document
from tolman.core.errors import UserError
from tolman.core.generated import Origin, from_dict
from tolman.report import _theme
from tolman.report.figures import break_even, roads
from tolman.report.summary import open_book
from tolman.run.cell import override
from tolman.run.frames import Frames
from tolman.run.plan import Plan
from tolman.run.ranks import beginnings
from tolman.run.store import Store
from tolman.studies import tour
from tolman.train_time.augmented import Augmented

KINDS = ("one_hop", "reversal", "two_hop", "other_one_hop", "other_reversal", "other_two_hop")
SMALL = {
    "dataset.entities": 10, "dataset.relations": 2, "dataset.episode_count": 120, "dataset.asked": 4, "dataset.options": 4, "model.layers": 1, "model.width": 16,
    "model.hidden": 16, "train_time.steps": 4, "train_time.first.steps": 4, "train_time.first.batch_tokens": 256, "train_time.batch_tokens": 256,
    "train_time.then.steps": 4, "train_time.augment.traces": 2, "train_time.bootstrap_traces": 0, "train_time.questions": 4, "train_time.samples": 2,
}  # fmt: skip


# -- the study ----------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", tour.scales)
def test_all_roads_begin_with_one_training(scale):
    cells = tour.cells(scale, (0, 1))
    assert len({c.fingerprint() for c in cells}) == len({(c.training, c.asking, c.seed) for c in cells}) == len(cells) == 24
    for seed in (0, 1):
        (plain,) = {c.train_fingerprint() for c in cells if c.training == tour.PLAIN and c.seed == seed}
        begun = [beginnings(c)[0].train_fingerprint() for c in cells if c.training != tour.PLAIN and c.seed == seed]
        assert set(begun) == {plain} and len(begun) == 6


def test_every_road_can_be_gone_and_is_drawn(tmp_path):
    """The study at a size that takes seconds: every cell has a record, only A is written about, and the report's figure has every road."""
    plan = Plan("tour", "quick", tuple(override(tour.cells("quick", (0,)), SMALL)), Store(tmp_path))
    plan.run(lambda event: None)
    frames = plan.frames()
    assert set(frames.items["kind"]) == set(KINDS) and frames.cells["train_fingerprint"].n_unique() == 3
    (kept,) = [json.loads(n)["generated"]["kept"] for n in frames.cells.unique("train_fingerprint")["notes"] if "generated" in n]
    assert kept["documents"] == kept["true"] + kept["false"] > 0, "what it wrote is judged"
    (written,) = (tmp_path / "artifacts").glob("*/generated.jsonl")
    made = [Origin.of(from_dict(json.loads(line))) for line in written.read_text().splitlines()]
    assert {source[:7] for origin in made for source in origin.sources} == {"fact:0:"}
    rows = roads.rows(frames)
    assert len(rows) == 12 * 6 and svg_of(roads.draw(rows)).count('aria-roledescription="point"') == 72
    assert "closed book" in tour.headline(frames)


def test_only_documents_with_the_ids_asked_for_are_written_about():
    (method, *_) = (c.train_time for c in tour.cells("quick", (0,)) if c.training == tour.AUGMENTED)
    documents = [Document(f"fact:{i % 2}:{i}", "Ada feeds Bo") for i in range(6)]
    assert isinstance(method, Augmented) and [d.id for d in method.chosen(documents, 0)] == ["fact:0:0", "fact:0:2", "fact:0:4"]
    assert len(method.replace("sources", 2).chosen(documents, 0)) == 2 and len(method.replace("about", "").chosen(documents, 0)) == 6
    with pytest.raises(UserError, match="no document has an id that begins with about = 'fact:9:'"):
        method.replace("about", "fact:9:").chosen(documents, 0)


def test_the_headline_says_what_was_found():
    outcomes = {
        (t, a, kind, seed): "wwww"
        for t in (tour.PLAIN, tour.AUGMENTED, tour.RECALL)
        for a in (tour.CLOSED, tour.ORACLE, tour.OVER, tour.THINKING)
        for kind in KINDS
        for seed in (0, 1)
    }
    outcomes |= {(tour.AUGMENTED, tour.CLOSED, "reversal", seed): "cccc" for seed in (0, 1)}
    outcomes |= {(tour.RECALL, tour.THINKING, "other_two_hop", seed): "cccw" for seed in (0, 1)}
    said = tour.headline(by_hand(outcomes))
    assert re.search(
        r"wrote of A itself, closed book, 100 % \[\d+, 100\] of its reversals and 0 % \[0, \d+\] of its chains, but 0 % \[0, \d+\] of those of a set B", said
    )
    assert re.search(
        r"gives 0 % \[0, \d+\] of A's chains \(before practice 0 % .*\) and 75 % \[\d+, \d+\] of B's, .*, and 0 % \[0, \d+\] of the reversals\.$", said
    )


# -- the figure ---------------------------------------------------------------------------------------------------------------------------------------------


def svg_of(chart) -> str:
    return vl_convert.vegalite_to_svg(json.dumps(_theme.specification(chart)))


def test_a_road_without_documents_pays_off_against_the_cheapest_with_documents():
    """Thinking costs more at each question than BM25 and never does; augmentation has paid 2e12 FLOPs back at 6e6 a question."""
    rows = roads.rows(travelled())
    pays = dict(rows.select(pl.format("{}, {}", "training", "asking"), "pays_off").unique().iter_rows())
    assert pays["A augmented, closed book"] == pytest.approx(2e12 / 6e6) and pays["learned recall of A, thinking"] == math.inf
    assert all(math.isnan(n) for road, n in pays.items() if road not in ("A augmented, closed book", "learned recall of A, thinking"))
    assert set(rows.filter(pl.col("training") == "A augmented")["once"]) == {6e12} and set(rows["each"]) == {2e6, 1e7, 8e6, 1.2e7}
    learned = rows.filter(pl.col("asking") == "thinking", pl.col("kind") == "latent x")
    assert learned.select("set", "mean").rows() == [(roads.SETS[0], 0.75), (roads.SETS[1], 0.5)]


def test_every_road_is_named_and_drawn_once_for_each_kind_and_set():
    rows = roads.rows(travelled())
    svg = svg_of(roads.draw(rows))
    named = (
        "documents only",
        "A augmented",
        "learned recall of A",
        "thinking",
        "retrieval, BM25",
        "plain",
        "latent x",
        "4 T",
        "6 T",
        "2 M",
        "333 k asked",
        "never",
    )
    for text in named:
        assert f">{text}<" in svg, f"{text!r} is not to be read in the figure"
    assert svg.count('aria-roledescription="point"') == len(rows) == 24
    placed, axis, height = roads._layout(rows)
    assert placed["line"].n_unique() == 6 and placed["at"].n_unique() == 12 and max(placed["at"].to_list()) < height and len(axis["values"]) == 9


def test_a_study_of_fewer_roads_has_no_such_figure():
    assert roads.rows(build()).is_empty() and roads.rows(written()).is_empty()
    frames = travelled()
    one_set = frames.items.filter(~pl.col("kind").str.starts_with(roads.OTHER))
    assert roads.rows(Frames(frames.cells, one_set, frames.trainings)).is_empty(), "with one set its words about two would be false"


def test_what_thinks_without_documents_is_no_retrieval():
    """Neither in the comparison of costs, nor among the ways that put documents before a question."""
    frames = travelled()
    assert open_book(frames) == {f"{t}/{a}" for t, a, m in frames.cells.select("training", "asking", "test_time").iter_rows() if m == "test_time/retrieval"}
    rows = break_even.rows(frames).filter(pl.col("unit") == "FLOPs")
    assert "thinking" not in set(rows["asking"])
    assert rows.filter(pl.col("asking") == "closed book")["break_even"].to_list() == [pytest.approx(2e12 / 6e6)]
