"""The tables behind a report against hand calculations, what its page holds, and what it must not."""

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
import weakref

import polars as pl
import pytest

from report_frames import CHOICE, CLOSED, CONTEXT, ENVIRONMENT, FRESH, HOSTILE, NONE, ORACLE, TRACES, build, by_hand, thoughtful
from tolman.core.errors import UserError
from tolman.core.stats import estimate
from tolman.report import _items, _table
from tolman.report import page as page_module
from tolman.report.page import write_report
from tolman.report.summary import conditions, difference, estimates, naturally, words
from tolman.run.frames import Frames


@pytest.fixture(scope="module")
def frames():
    return build()


@pytest.fixture(scope="module")
def report(frames, tmp_path_factory):
    """A report's folder."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "plan.json").write_text(json.dumps({"title": "Can it <reverse> & recall?", "settings": ["train_time.steps=7"]}))
    write_report(folder, frames, headline="It reverses 2 % & recalls <all>.", notes=["A {{note}} with </script>."])
    return folder


@pytest.fixture(scope="module")
def page(report):
    return (report / "report.html").read_text()


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# -- tables -------------------------------------------------------------------------------------------------------------------------------------------------


def test_estimates_by_hand():
    frames = by_hand({("t", "closed book", "latent_x", 0): "cwwu", ("t", "closed book", "latent_x", 1): "ccww", ("t", "closed book", "plain", 0): "ccc"})
    table = estimates(frames)
    assert table["kind"].to_list() == ["plain", "latent_x"], "trained forms come first"
    row = table.row(1, named=True)
    assert row["mean"] == pytest.approx(3 / 8) and (row["n"], row["clusters"], row["seeds"]) == (8, 4, 2)
    assert (row["share_correct"], row["share_wrong"], row["share_unparsed"], row["share_refused"]) == pytest.approx((3 / 8, 4 / 8, 1 / 8, 0.0))
    assert row["chance"] == pytest.approx(0.15)
    assert row["ask_tokens"] == pytest.approx(2.0) and row["ask_flops"] == pytest.approx(4e6) and row["ask_s"] == pytest.approx(0.002)
    assert row["train_s"] == pytest.approx(30.5), "the mean over seeds"
    assert table.row(0, named=True)["seeds"] == 1, "seeds of the kind, not of the condition"
    expected = estimate([1, 0, 0, 0, 1, 1, 0, 0], clusters=[0, 0, 1, 1] * 2, seeds=[0] * 4 + [1] * 4)
    assert (row["low"], row["high"]) == (expected.low, expected.high)


def test_estimates_are_those_of_the_items_one_by_one(frames):
    """Independently: Python lists of names, each condition and kind filtered from all items."""
    hidden = frames.items.with_columns(support_shown=pl.when(pl.int_range(pl.len()) % 3 > 0).then(pl.int_range(pl.len()) % 2 == 0))
    for row in estimates(Frames(frames.cells, hidden, frames.trainings)).iter_rows(named=True):
        mine = hidden.filter(condition=row["condition"], kind=row["kind"])
        for column, names in (("correct", ("mean", "low", "high")), ("support_shown", ("recall", "recall_low", "recall_high"))):
            known = [item for item in mine.iter_rows(named=True) if item[column] is not None]
            labels = {"clusters": [item["cluster"] for item in known], "seeds": [item["seed"] for item in known]}
            expected = estimate([float(item[column]) for item in known], **labels)
            assert tuple(row[name] for name in names) == (expected.mean, expected.low, expected.high), (row["condition"], row["kind"], column)


def test_what_figures_share_is_made_once_and_goes_with_its_frames():
    frames, other = build(seeds=1, few=True), build(seeds=2, few=True)
    assert estimates(frames) is estimates(frames) and conditions(frames) is conditions(frames)
    assert estimates(other)["seeds"].max() == 2 and estimates(frames)["seeds"].max() == 1
    gone = weakref.ref(frames)
    del frames
    assert gone() is None, "a table keeps no frames alive"


def test_differences_are_paired_on_the_same_questions():
    frames = by_hand({
        ("t", "closed book", "a", 0): "cwww", ("t", "retrieval", "a", 0): "cccw",
        ("t", "closed book", "b", 0): "ww", ("t", "retrieval", "b", 0): "c.",
        ("t", "closed book", "only_here", 0): "cccccc",
    })  # fmt: skip
    both = difference(frames, "t/retrieval", "t/closed book")
    assert both.mean == pytest.approx((0 + 1 + 1 + 0 + 1) / 5) and both.n == 5
    assert difference(frames, "t/closed book", "t/retrieval").mean == pytest.approx(-both.mean)
    assert difference(frames, "t/retrieval", "t/closed book", kinds=["a"]).mean == pytest.approx(0.5)
    nothing = difference(frames, "t/retrieval", "t/closed book", kinds=["only_here"])
    assert nothing.n == 0 and math.isnan(nothing.mean)


def test_conditions_that_would_read_the_same_are_told_apart():
    frames = build(seeds=1, trainings=(FRESH,), askings=(CLOSED, CHOICE), few=True)
    same = pl.col("asking").replace({CHOICE: CLOSED})
    again = type(frames)(frames.cells.with_columns(same), frames.items.with_columns(same), frames.trainings)
    assert estimates(again)["asking"].unique(maintain_order=True).to_list() == ["closed book (exact)", "closed book (choice)"]
    alike = again.cells.with_columns(pl.lit("scoring/exact").alias("scoring"), pl.col("condition").str.reverse())
    assert conditions(type(frames)(alike, again.items, again.trainings))["asking"].to_list() == ["closed book (koob des)", "closed book (01 fo ec)"]


def test_words_and_natural_order():
    assert words("heldout_reversal") == "held-out reversal"
    assert sorted(["k + 15", "k + 7", "k"], key=naturally) == ["k", "k + 7", "k + 15"]


def test_verdicts_have_columns_only_where_they_occur():
    plain = _table.table(estimates(by_hand({("t", "closed book", "a", 0): "cwcw"})))
    assert "Unparsed" not in plain and ">Wrong<" not in plain
    some = _table.table(estimates(by_hand({("t", "closed book", "a", 0): "cwcu"})))
    assert ">Unparsed<" in some and ">Wrong<" in some and "Refused" not in some and ">25.0 %<" in some


@pytest.mark.parametrize(("number", "said"), [(4.1e12, "4.1 T"), (0.0, "0 "), (999.0, "999 "), (1000.0, "1 k"), (math.nan, "unknown "), (3e21, "3e+03 E")])
def test_quantities(number, said):
    assert _table.quantity(number) == said


def test_leaks_and_mixed_revisions_are_warned_of():
    frames = by_hand({("t", "closed book", "a", 0): "cw"}, leaks=["one", "two"])
    assert "up to 2 test statements" in _table.warnings(frames)[0]
    other = by_hand({("t", "retrieval", "a", 0): "cw"}, environment=ENVIRONMENT | {"revision": "another"})
    clean = by_hand({("t", "closed book", "a", 0): "cw"})
    mixed = type(frames)(pl.concat([clean.cells, other.cells]), clean.items, clean.trainings)
    assert any("more than one revision" in warning for warning in _table.warnings(mixed)) and _table.warnings(clean) == []


# -- single questions ---------------------------------------------------------------------------------------------------------------------------------------


def test_samples_are_even_and_keep_every_condition_of_a_question(frames):
    chosen = _items.sample(frames.items, 0.25)
    per_cell = (
        frames.items.group_by("seed", "kind", "condition")
        .len()
        .join(chosen.group_by("seed", "kind", "condition").len(), on=["seed", "kind", "condition"], how="left")
    )
    assert (per_cell["len_right"] == per_cell["len"] // 4).all()
    conditions_of = pl.struct("training", "asking").n_unique()
    before, after = (t.group_by("seed", "question").agg(conditions_of.alias("n")) for t in (frames.items, chosen))
    assert after.join(before, on=["seed", "question", "n"], how="anti").is_empty(), "a chosen question lost a condition"
    assert _items.sample(frames.items, 1.0).equals(frames.items)


def test_the_explorer_keeps_its_bounds_and_says_how_many_there_are(frames):
    small = _items.explorer(frames, items=200, size=60_000)
    assert small["total"] == len(frames.items) and 0 < small["shown"] <= 200
    assert len(json.dumps(small)) <= 60_000
    assert {len(values) for values in small["items"].values()} == {small["shown"]}
    whole = _items.explorer(frames)
    assert whole["shown"] == whole["total"]
    i = whole["items"]["condition"].index(next(k for k, (_, asking) in enumerate(whole["conditions"]) if asking == CHOICE))
    row = frames.items.filter(pl.col("asking") == CHOICE).row(0, named=True)
    text, kind, expected, choices = whole["questions"][whole["items"]["question"][i]]
    assert (text, whole["kinds"][kind]["name"], expected, choices) == (row["question_text"], row["kind"], row["expected"], row["choices"])
    assert whole["items"]["nats"][i] == pytest.approx(row["scores_nats"], abs=0.006)


def test_a_question_that_thousands_were_asked_fills_no_page(frames):
    one = frames.items.filter(pl.col("question") == frames.items["question"][0])
    many = pl.concat([one] * 300)
    shown = _items.explorer(Frames(frames.cells, many, frames.trainings), items=500, size=20_000)
    assert 0 < shown["shown"] < 500 and shown["total"] == len(many) and len(json.dumps(shown)) <= 20_000
    thinned = _items.thin(many, 90)
    assert 85 <= len(thinned) <= 95 and set(thinned["condition"]) == set(one["condition"])


def test_the_supporting_line_is_found():
    row = {"question_text": "Wox inside", "expected": ["Big Bag"], "support_shown": True}
    lines = ["f1 Big Bag contains Wox f2", "Wox feeds Zip", "Big Bag feeds Zip", "A bag with Wox in it"]
    assert _items.supporting(lines, row) == [0]
    assert _items.supporting(lines, row | {"support_shown": False}) == []
    assert _items.supporting(lines, row | {"support": ["Wox feeds Zip\nBig Bag feeds Zip"]}) == [1, 2]


def test_long_contexts_are_abridged_around_what_supports():
    lines = [f"line {i} " + "x" * 100 for i in range(200)]
    shown, marked = _items.abridge(lines, [100])
    assert [shown[i] for i in marked] == [lines[100]]
    assert shown[:4] == lines[:4] and shown[-4:] == lines[-4:] and lines[99] in shown and lines[101] in shown
    assert sum(part if isinstance(part, int) else 1 for part in shown) == 200
    assert _items.abridge(lines[:3], [1]) == (lines[:3], [1])
    assert len(_items.abridge(["y" * 9000], [])[0][0]) < 1100


# -- the page -----------------------------------------------------------------------------------------------------------------------------------------------


def test_files_stand_beside_the_page(report, frames):
    names = {p.name for p in (report / "figures").iterdir()}
    expected = {f"{figure}.{kind}" for figure in ("accuracy_by_kind", "learning_curves", "accuracy_against_cost") for kind in ("svg", "png", "csv")}
    assert names == expected | {"results.csv"}
    assert pl.read_csv(report / "figures" / "results.csv").shape == estimates(frames).shape
    assert (report / "figures" / "accuracy_by_kind.png").read_bytes()[:4] == b"\x89PNG"
    assert (report / "report.html").stat().st_size < 3_000_000


def test_the_page_says_what_was_run(page):
    for text in (
        "Can it &lt;reverse&gt; &amp; recall?", "It reverses 2 % &amp; recalls &lt;all&gt;.", "A {{note}} with &lt;/script&gt;.",
        "Changed for this run: train_time.steps=7.",
        "An Example CPU, 2 cores, 8 GiB", "0123456789ab", "3 (0, 1, 2)", "2026-01-02", "&quot;steps&quot;: 700",
    ):  # fmt: skip
        assert text in page.replace("\u00a0%", " %"), text
    for training in (FRESH, NONE):
        for asking in (CLOSED, CHOICE, CONTEXT, ORACLE):
            assert f"{training} <span>/ {asking} / " in page, "the configuration of every condition"
    assert "One seed" not in page


def test_one_seed_is_plainly_marked(tmp_path):
    write_report(tmp_path, build(seeds=1, trainings=(FRESH,), askings=(CLOSED,), few=True), headline="x")
    text = (tmp_path / "report.html").read_text()
    assert "One seed: intervals speak of facts only" in text
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL), "every placeholder is filled"


def test_the_policy_allows_the_pages_own_scripts_and_nothing_else(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy and "connect-src 'none'" in policy and "unsafe-eval" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts}
    allowed = re.search(r"script-src ([^;]*);", policy)[1].split()
    assert len(scripts) == 2 and set(allowed) == hashes
    markup = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search(r'(?:src|href|action)="(?!#|figures/)', markup), "the page points to something outside its folder"
    assert not re.search(r"url\(|@import", re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1])


def test_hostile_text_cannot_end_the_data(tmp_path):
    frames = build(seeds=1, trainings=(FRESH,), askings=(CLOSED, ORACLE), few=True, hostile=True)
    odd = HOSTILE + "<!--\u2028\u2029{{data}}"
    items = frames.items.with_columns(answer=pl.lit(odd))
    write_report(tmp_path, type(frames)(frames.cells, items, frames.trainings), headline="x")
    text = (tmp_path / "report.html").read_text()
    block = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert block.isascii() and "<" not in block and ">" not in block
    assert set(json.loads(block)["explorer"]["items"]["answer"]) == {odd}
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "onerror" not in markup


def test_unknown_numbers_become_null_and_are_called_unknown(tmp_path):
    nan = {phase: {"tokens": 5, "flops": math.nan, "seconds": 1.0} for phase in ("generate", "train", "ask")}
    write_report(tmp_path, by_hand({("t", "closed book", "latent_a", 0): "cw"}, costs=nan), headline="x")
    text = (tmp_path / "report.html").read_text()
    assert ">unknown<" in text and "nan %" not in text
    assert list(data_of(text)["figures"]) == ["accuracy_by_kind", "accuracy_against_cost", "break_even"], "no learning curve without a curve"


def test_bad_folders_are_one_sentence(tmp_path, frames):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the report to .*file"):
        write_report(tmp_path / "file", frames, headline="x")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(UserError, match=r"plan\.json is damaged"):
        write_report(tmp_path, frames, headline="x")
    with pytest.raises(UserError, match="no cell is finished"):
        write_report(tmp_path, type(frames)(frames.cells.clear(), frames.items.clear(), frames.trainings.clear()), headline="x")


def test_the_library_of_another_process_is_our_own(monkeypatch):
    theirs = page_module._library().result()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert page_module._bundled() == theirs and "vegaEmbed" in theirs


def test_reports_need_no_torch():
    code = "import sys, tolman.report.page; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_explorer_says_what_a_trace_does():
    found = _items.explorer(thoughtful())
    thoughts = dict(zip((i for i in found["items"]["answer"]), found["items"]["thought"], strict=True))
    assert [t["does"] for t in found["items"]["thought"] if t] == [does.split("; ") for _, does in TRACES.values()] and thoughts["w"] is None
    assert found["items"]["thought"][2]["lines"] == [["ada feeds cy", 0, 0], ["bo feeds ada", 0, 0]]
    assert found["items"]["thought"][1]["missing"] == ["ada feeds bo"]
