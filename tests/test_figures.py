"""The numbers behind the figures, against hand calculations, and what the drawings must show. Their looks were judged by eye."""

import json
import math
import re

import polars as pl
import pytest
import vl_convert

from report_frames import CHOICE, CLOSED, CONTEXT, FRESH, NONE, ORACLE, build, by_hand, contrasts, distractors, doses, for_figure, retaining, written
from tolman.core.discovery import module, names
from tolman.core.stats import estimate
from tolman.report import _theme, checks
from tolman.report.figures import accuracy_against_cost, accuracy_by_kind, break_even, dose, learning_curves, retention
from tolman.report.figures import distractors as of_distractors
from tolman.report.page import write_report
from tolman.run.frames import Frames


@pytest.fixture(scope="module")
def frames():
    return build()


def one(rows: pl.DataFrame, **where) -> dict:
    """The one row in which every column has the value given."""
    return rows.row(by_predicate=pl.all_horizontal([pl.col(k) == v for k, v in where.items()]), named=True)


def svg_of(chart) -> str:
    return vl_convert.vegalite_to_svg(json.dumps(_theme.specification(chart)))


# -- accuracy by kind ---------------------------------------------------------------------------------------------------------------------------------------


def test_accuracy_by_kind_counts_and_clusters():
    outcomes = {("t", "closed book", "latent_x", 0): "cwww", ("t", "closed book", "latent_x", 1): "ccww", ("t", "closed book", "plain", 0): "cc"}
    row = one(accuracy_by_kind.rows(by_hand(outcomes)), kind="latent_x")
    assert row["mean"] == pytest.approx(3 / 8)
    assert (row["n"], row["clusters"], row["seeds"]) == (8, 4, 2)
    assert row["chance"] == pytest.approx(0.15)  # the mean of .1 and .2
    by_definition = estimate([1, 0, 0, 0, 1, 1, 0, 0], clusters=[0, 0, 1, 1] * 2, seeds=[0] * 4 + [1] * 4)
    assert (row["low"], row["high"]) == (by_definition.low, by_definition.high)
    assert row["low"] < row["mean"] < row["high"]


def test_kinds_stand_in_groups_and_read_as_words():
    outcomes = {("t", "closed book", kind, 0): "cc" for kind in ("control_a", "latent_reversal", "plain", "heldout_forward")}
    rows = accuracy_by_kind.rows(by_hand(outcomes))
    assert rows["kind"].to_list() == ["plain", "heldout_forward", "latent_reversal", "control_a"]
    assert rows["group"].to_list() == ["trained", "trained", "latent", "control"]
    assert rows["label"].to_list() == ["plain", "held-out forward", "latent reversal", "control a"]


@pytest.mark.parametrize("askings", [(CLOSED,), (CLOSED, CHOICE, CONTEXT, *(f"retrieval, oracle + {k}" for k in (15, 3, 7, 0, 1)))])
def test_every_kind_and_way_of_asking_is_named_and_drawn(askings):
    rows = accuracy_by_kind.rows(build(seeds=1, trainings=(FRESH,), askings=askings))
    svg = svg_of(accuracy_by_kind.draw(rows))
    for text in (*rows["label"].unique(), *askings, FRESH, "chance", "LATENT", "TRAINED FORM", "CONTROL"):
        assert f">{text}<" in svg, f"{text!r} is not to be read in the figure"
    assert svg.count('aria-roledescription="point"') == len(rows)


def test_no_two_estimates_share_a_place(frames):
    placed, ticks, height = accuracy_by_kind._layout(accuracy_by_kind.rows(frames))
    for _, panel in placed.group_by("training"):
        heights = panel["at"].sort()
        assert heights.diff().drop_nulls().min() >= 0.999
    assert max(ticks) < height and placed["below"].max() < height
    latent = placed.filter(pl.col("group") == "latent")
    others = placed.filter(pl.col("group") != "latent")
    low, high = latent["band_from"].min(), latent["band_to"].max()
    assert latent["at"].is_between(low, high).all() and not others["at"].is_between(low, high).any()


# -- learning curves ----------------------------------------------------------------------------------------------------------------------------------------


def test_learning_curves_average_over_seeds(frames):
    rows = learning_curves.rows(frames)
    here = {"training": FRESH, "asking": ORACLE, "kind": "heldout_reversal", "step": 400}
    single = rows.filter(*(pl.col(k) == v for k, v in here.items()), pl.col("seed").is_not_null())
    mean = rows.filter(*(pl.col(k) == v for k, v in here.items()), pl.col("seed").is_null()).row(0, named=True)
    given = frames.trainings.filter(*(pl.col(k) == v for k, v in here.items()))
    assert sorted(single["accuracy"]) == sorted(given["accuracy"]) and len(single) == 3
    assert mean["accuracy"] == pytest.approx(sum(given["accuracy"]) / 3)
    assert (mean["seeds"], mean["n"]) == (3, 48)
    assert mean["tokens"] == 800_000 and mean["seconds"] == pytest.approx(18.0)
    assert mean["chance"] == pytest.approx(1 / 24) and mean["group"] == "latent"


def test_chance_is_the_mean_over_cells():
    asked = {("t", asking, "latent_x", seed): "cw" for asking, seeds in (("closed book", 3), ("in context", 1)) for seed in range(seeds)}
    found = by_hand(asked | {("t", "closed book", "plain", 0): "c"})
    frames = Frames(pl.concat([found.cells, found.cells.head(1)]), found.items, found.trainings)  # two that say the same are two
    chances = {}
    for cell in frames.cells.iter_rows(named=True):
        for kind, info in json.loads(cell["kinds"]).items():
            chances.setdefault((cell["training"], cell["asking"], kind), []).append(info["chance"])
    rows = learning_curves._chance(frames)
    assert {row[:3]: row[-1] for row in rows.iter_rows()} == pytest.approx({key: sum(mine) / len(mine) for key, mine in chances.items()})
    assert one(rows, asking="closed book", kind="latent_x")["chance"] == pytest.approx((0.1 + 0.1 + 0.2 + 0.3) / 4)
    assert one(rows, asking="closed book", kind="plain") | {"label": "plain", "group": "trained"} == one(rows, asking="closed book", kind="plain")


def test_recall_stands_above_latent_kinds_and_every_panel_is_named(frames):
    rows = learning_curves.rows(frames)
    assert rows["kind"].unique(maintain_order=True).to_list() == ["heldout_forward", "heldout_reversal"]
    svg = svg_of(learning_curves.draw(rows))
    for text in (FRESH, NONE, CLOSED, ORACLE, "held-out forward", "held-out reversal (latent)", "training step"):
        assert f">{text}<" in svg
    assert svg.count(f">{FRESH}<") == 1, "the trainings are named once, above the first row of panels"


def test_a_training_without_curves_has_no_rows():
    assert learning_curves.rows(by_hand({("t", "closed book", "plain", 0): "cc"})).is_empty()


# -- break-even ---------------------------------------------------------------------------------------------------------------------------------------------


def test_writing_pays_off_after_its_extra_cost_over_what_each_question_saves():
    rows = break_even.rows(written())
    assert rows.select("unit", "training", "asking").rows() == [
        (unit, *way) for unit in ("FLOPs", "tokens") for way in (("documents only", "retrieval, oracle + 2"), ("augmented", "closed book"))
    ]
    augmented, retrieval = one(rows, unit="FLOPs", training="augmented"), one(rows, unit="FLOPs", training="documents only")
    assert (augmented["once"], augmented["each"]) == (7e12, 2e6) and (retrieval["once"], retrieval["each"]) == (4e12, 1e7)
    assert augmented["break_even"] == pytest.approx(3e12 / 8e6) and math.isnan(retrieval["break_even"])
    assert one(rows, unit="tokens", training="augmented")["break_even"] == pytest.approx(800_000 / 24)
    assert (augmented["mean"], augmented["n"], augmented["seeds"]) == (1.0, 8, 2) and retrieval["mean"] == 0.75


@pytest.mark.parametrize(
    "ways, expected", [((7, 2, 4, 10), 0.375), ((4, 2, 4, 10), 0.0), ((3, 2, 4, 2), 0.0), ((7, 2, 4, 2), math.inf), ((7, 3, 4, 2), math.inf)]
)
def test_a_way_pays_off_at_once_later_or_never(ways, expected):
    assert break_even.crossing(*ways) == expected


def test_break_even_is_marked_and_a_study_without_written_data_has_none():
    svg = svg_of(break_even.draw(break_even.rows(written())))
    for text in ("375,000", "33,333", "augmented, closed book", "documents only, retrieval, oracle + 2", "questions asked", "FLOPs in all", "tokens in all"):
        assert f">{text}<" in svg, text
    assert break_even.rows(build()).is_empty()


# -- accuracy against cost ----------------------------------------------------------------------------------------------------------------------------------


def test_costs_are_per_question_and_once():
    outcomes = {("t", "closed book", "latent_a", 0): "cwww", ("t", "closed book", "plain", 0): "cccc", ("t", "closed book", "latent_a", 1): "cc"}
    rows = accuracy_against_cost.rows(by_hand(outcomes))
    ask, train = (one(rows, panel=panel) for panel in accuracy_against_cost.PANELS)
    assert ask["cost"] == pytest.approx(4e6) and train["cost"] == pytest.approx(4e12) and ask["unit"] == "FLOPs"
    assert ask["mean"] == pytest.approx(3 / 6) and ask["n"] == 6 and ask["kinds"] == "latent a"


def test_only_latent_kinds_that_all_were_asked_are_compared():
    outcomes = {
        ("t", "closed book", "latent_a", 0): "wwww", ("t", "closed book", "latent_b", 0): "cccc", ("t", "retrieval", "latent_a", 0): "ccww",
        ("t", "other", "plain", 0): "cc",
    }  # fmt: skip
    rows = accuracy_against_cost.rows(by_hand(outcomes)).filter(pl.col("panel") == accuracy_against_cost.PANELS[0])
    assert dict(rows.select("asking", "mean").iter_rows()) == {"closed book": 0.0, "retrieval": 0.5}
    assert set(rows["kinds"]) == {"latent a"}


def test_conditions_with_no_latent_kind_in_common_keep_their_own():
    outcomes = {("t", "closed book", "latent_a", 0): "wwww", ("t", "retrieval", "latent_b", 0): "ccww"}
    rows = accuracy_against_cost.rows(by_hand(outcomes)).filter(pl.col("panel") == accuracy_against_cost.PANELS[0])
    assert dict(rows.select("kinds", "mean").iter_rows()) == {"latent a": 0.0, "latent b": 0.5}


def costing(train_flops: float, ask_flops: float) -> dict:
    return {
        "generate": {"tokens": 0, "flops": 0.0, "seconds": 0.0}, "train": {"tokens": 100, "flops": train_flops, "seconds": 1.0},
        "ask": {"tokens": 10, "flops": ask_flops, "seconds": 1.0},
    }  # fmt: skip


def test_what_cost_nothing_stands_at_zero_and_unknown_flops_give_way_to_tokens():
    outcomes = {("t", "closed book", "latent_a", 0): "cw"}
    free = accuracy_against_cost.rows(by_hand(outcomes, costs=costing(0.0, 8.0)))
    assert one(free, panel=accuracy_against_cost.PANELS[1])["cost"] == 0.0
    svg = svg_of(accuracy_against_cost.draw(free))
    assert ">0<" in svg and svg.count('aria-roledescription="point"') == 2
    unknown = accuracy_against_cost.rows(by_hand(outcomes, costs=costing(math.nan, 8.0)))
    assert set(unknown["unit"]) == {"tokens"} and unknown["cost"].to_list() == [5.0, 100.0]


def test_points_of_equal_cost_stand_side_by_side_near_their_place(frames):
    rows = accuracy_against_cost.rows(frames).filter(pl.col("panel") == accuracy_against_cost.PANELS[1])
    assert rows["cost"].n_unique() == 1
    placed, scale, _ = accuracy_against_cost._placed(rows)
    assert placed["shown"].n_unique() == len(rows)
    low, high = scale.to_dict()["domain"]
    pixel = math.log(high / low) / accuracy_against_cost.WIDTH_PX
    off = [abs(math.log(shown / rows["cost"][0])) / pixel for shown in placed["shown"]]
    assert max(off) <= accuracy_against_cost.SPREAD_PX / 2 + 1e-6


# -- what all figures share ---------------------------------------------------------------------------------------------------------------------------------


def test_a_way_of_asking_looks_the_same_in_every_figure(frames):
    drawn = [_theme.askings(_theme.methods_of(accuracy_by_kind.rows(frames))), _theme.askings(_theme.methods_of(accuracy_against_cost.rows(frames)))]
    assert drawn[0] == drawn[1]


def test_methods_have_their_hue_variants_their_order_and_all_differ():
    labels = {f"retrieval, oracle + {k}": "test_time/retrieval" for k in (15, 3, 0, 7)} | {
        "closed book": "test_time/closed_book",
        "x": "test_time/x",
        "y": "test_time/y",
    }
    look = _theme.askings(labels)
    assert list(look)[:4] == [f"retrieval, oracle + {k}" for k in (0, 3, 7, 15)]
    assert look["closed book"][0] == "#D55E00"
    assert _theme.askings({"one retriever": "test_time/retrieval"})["one retriever"][0] == "#0072B2"
    assert len({colour for colour, _, _ in look.values()}) == len(labels) == len({shape for _, shape, _ in look.values()})


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(w * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4) for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [_theme.LIGHT, _theme.DARK])
def test_text_is_legible(colours):
    assert contrast(colours["ink"], colours["paper"]) > 7
    assert contrast(colours["soft"], colours["paper"]) > 4.5


@pytest.mark.parametrize("name", list(names("report/figures")))
def test_figures_leave_altair_as_it_was_and_carry_our_theme(name):
    import altair as alt

    before = alt.theme.active, alt.data_transformers.active
    figure = module("report/figures", name)
    spec = _theme.specification(figure.draw(figure.rows(for_figure(name))))
    assert (alt.theme.active, alt.data_transformers.active) == before
    assert spec["config"] == _theme.config()
    assert spec["title"]["text"] == figure.__doc__.split("\n")[0].rstrip(".")


def test_seeds_are_said():
    def subtitle(seeds: int) -> str:
        chart = accuracy_by_kind.draw(accuracy_by_kind.rows(build(seeds=seeds, trainings=(FRESH,), askings=(CLOSED,), few=True)))
        return " ".join(_theme.specification(chart)["title"]["subtitle"])

    assert "with one seed they speak of facts only" in subtitle(1)
    assert "clustered on facts and on 2 seeds" in subtitle(2)


# -- dose -----------------------------------------------------------------------------------------------------------------------------------------------------


def test_dose_counts_the_share_of_all_facts_and_stays_away_from_other_studies():
    rows = dose.rows(doses())
    assert set(rows["part"]) == {"share"}
    ninety = one(rows.filter(pl.col("relation").is_null()), setting="1,000 facts", share=0.9, kind="heldout_reversal")
    asked = doses().items.filter(training="1,000 facts, 90 % reversed", kind="heldout_reversal")
    assert (ninety["n"], ninety["seeds"], ninety["mean"]) == (len(asked), 3, pytest.approx(asked["correct"].mean()))
    assert (
        ninety["sizes"] == "1,000 facts, 0.5 M parameters"
        and ninety["training"] == "300 steps, weight decay 0.01"
        and ninety["chance"] == pytest.approx(1 / 200)
    )
    single = rows.filter(pl.col("relation").is_not_null(), setting="1,000 facts", share=0.9)
    assert set(single["kind"]) == {"heldout_reversal"} and single["relation"].to_list() == [0, 1, 2, 3, 4] and single["n"].sum() == ninety["n"]
    assert rows["share"].unique().sort().to_list() == pytest.approx([0, 0.5, 0.9, 0.99, 0.999])
    assert "trained_reversed" not in rows.filter(pl.col("share") == 0)["kind"].to_list()
    assert dose.rows(build(seeds=1)).is_empty() and dose.rows(contrasts()).is_empty()


def test_a_chance_that_differs_by_seed_is_averaged_over_cells():
    """Cells of one condition are looked at once, but what they say of chance is each its own."""
    frames, chances = doses(), {0: 0.1, 1: 0.2, 2: 0.6}
    kinds = pl.Series([json.dumps({k: v | {"chance": chances[s]} for k, v in json.loads(t).items()}) for s, t in frames.cells.select("seed", "kinds").rows()])
    rows = dose.rows(Frames(frames.cells.with_columns(kinds=kinds), frames.items, frames.trainings))
    assert rows.drop("chance").equals(dose.rows(frames).drop("chance")) and rows["chance"].to_list() == pytest.approx([0.3] * len(rows))


def test_dose_says_whether_there_is_a_threshold_from_the_numbers():
    flat, rising = dose.said(dose.rows(doses())), dose.said(dose.rows(doses(0.99)))
    assert flat.startswith("No threshold up to 99.9 %: in no setting and at no share do more than ") and "at 99.9 %: " in flat
    assert rising.startswith("Held-out facts first reverse with 99 % of the facts stated both ways (")
    assert dose.percent(0.9999) == "99.99 %" and dose.percent(5 / 6) == "83.3 %"


def test_dose_shows_beside_it_what_does_bring_reversals():
    rows = dose.rows(for_figure("dose"))
    objectives, context = (rows.filter(part=part, kind="heldout_reversal") for part in ("objective", "context"))
    assert len(objectives) == 8 and one(objectives, setting="masked, bidirectional")["mean"] > 0.9 > 0.1 > one(objectives, setting="next token")["mean"]
    assert context["setting"].to_list() == ["closed book", "in context, 8 documents", "retrieval, oracle + 3"]
    svg = svg_of(dose.draw(rows))
    for text in ("stated forward only, asked reversed", "10,000 facts", "model 4 times as large", "99.9", "Another objective over the same facts", "next token + masked copy",
                 "The fact put in context", "retrieval, oracle + 3"):  # fmt: skip
        assert f">{text}<" in svg, text
    pooled = rows.filter(pl.col("relation").is_null())
    assert svg.count('aria-roledescription="point"') == len(rows) + 3, "a mark for every row, and three beside the names of the lines"
    assert len(pooled) < len(rows)


# -- checks of a claim --------------------------------------------------------------------------------------------------------------------------------------


def check(what: str, must: str, threshold: float, mean: float, holds: bool) -> dict:
    return {"what": what, "must": must, "threshold": threshold, "holds": holds, "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": 9, "seeds": 3}


def test_checks_are_shaded_where_the_rule_asks_them_to_be():
    given = [check("a", ">= 0.9", 0.9, 0.85, False), check("b", "<= 0.05", 0.05, 0.0, True), check("c", "> 0.5 (whole interval)", 0.5, 1.15, True)]
    rows = checks.rows([*given, check("d", ">= 1", 1.0, math.nan, False)])
    assert rows.select("what", "from", "to").rows() == [("a", 0.9, 1.3), ("b", -0.1, 0.05), ("c", 0.5, 1.3)]
    svg = svg_of(checks.draw(rows, "C99: does not hold here"))
    for text in ("a: &gt;= 0.9", "c: surely &gt; 0.5", "0.850 [0.750, 0.950]", "C99: does not hold here"):
        assert f">{text}<" in svg, text
    assert svg.count('aria-roledescription="point"') == 3
    assert checks.rows([]).is_empty()


def test_a_check_in_words_among_shares_is_drawn_in_a_unit_of_its_own() -> None:
    words = check("words of a trace", "> 0 (whole interval)", 0.0, 29.0, True) | {"low": 11.0, "high": 47.0}
    share = check("traces that search", ">= 0.5", 0.5, 0.2, False)
    alone, mixed = checks.rows([words]), checks.rows([words, share])
    assert alone["unit"].to_list() == [1] and mixed["unit"].to_list() == [100, 1] and mixed["mean"].to_list() == [29, 0.2], "the table has what was measured"
    assert checks.ends([share]) == (0, 1) and mixed["to"].to_list() == [100, 1]
    svg = svg_of(checks.draw(mixed, "C99"))
    assert "(drawn in units of 100)" in svg and "29.000 [11.000, 47.000]" in svg


def test_an_interval_without_ends_goes_as_far_as_the_axis():
    """What one seed measured once has no interval."""
    rows = checks.rows([check("a", "<= 1.4", 1.4, 2.8, False) | {"low": -math.inf, "high": math.inf}])
    assert rows.select("low", "high", "from", "to").rows() == [(-math.inf, math.inf, 0.0, 1.4)]
    svg = svg_of(checks.draw(rows, "C99"))
    assert ">2.800 [-inf, inf]<" in svg and "NaN" not in svg and "Infinity" not in svg


def test_svg_files_are_lean_and_draw_the_same(frames):
    spec = _theme.specification(accuracy_by_kind.draw(accuracy_by_kind.rows(frames)))
    lean, whole = _theme.svg(spec), vl_convert.vegalite_to_svg(json.dumps(spec))
    assert len(lean) < 0.8 * len(whole) and "aria-label" not in lean and "<path" in lean
    assert vl_convert.svg_to_png(lean, scale=0.5)[:4] == b"\x89PNG"
    texts = [re.findall(r"<text[^>]*>(.*?)</text>", drawn) for drawn in (lean, whole)]
    assert texts[0] == texts[1]


# -- distractors ----------------------------------------------------------------------------------------------------------------------------------------------


def test_distractors_has_a_point_for_each_number_and_kind_on_latent_kinds_only():
    rows = of_distractors.rows(distractors())
    assert len(rows) == 3 * 2 and rows["kind"].unique().to_list() == ["heldout_reversal"] and rows["seen"].unique().to_list() == [5]
    row = one(rows, distractors=15, what="with the rarest word of the question (a name)")
    mine = distractors().items.filter(pl.col("asking") == "retrieval, oracle + 15, rare_word", pl.col("kind") == "heldout_reversal")
    assert row["mean"] == pytest.approx(mine["correct"].mean()) and (row["n"], row["seeds"]) == (len(mine), 2)
    assert of_distractors.rows(build(seeds=1)).is_empty(), "one number of distractors is no curve"
    assert "distractors in context" in svg_of(of_distractors.draw(rows))


# -- retention --------------------------------------------------------------------------------------------------------------------------------------------


def test_retention_stands_beside_the_gain():
    rows = retention.rows(retaining())
    assert len(rows) == 3 * 2 * 2
    tuned = one(rows, panel="prose", training="fine-tuned", group="trained form")
    assert (tuned["before"], tuned["after"], tuned["mean"], tuned["n"]) == (4.1, 4.7, 1.0, 8) and tuned["lost"] == pytest.approx(0.6)
    assert tuned["asking"] == "closed book"
    assert one(rows, panel="questions", training="fine-tuned", group="latent")["lost"] == pytest.approx(0.1)
    assert one(rows, panel="questions", training="untrained", group="latent")["mean"] == 0.25
    svg = svg_of(retention.draw(rows))
    for text in ("untrained", "fine-tuned", "fine-tuned, KL to the base", "latent", "trained form", "general prose, nats per token lost"):
        assert f">{text}<" in svg, f"{text!r} is not to be read in the figure"
    assert retention.rows(build(seeds=1)).is_empty(), "nothing where it was not measured"


def test_the_table_says_what_training_left(tmp_path):
    text = write_report(tmp_path, retaining(), headline="x").read_text()
    for shown in ("General prose", "General questions", "4.70 (+0.60)", "80 (-10)", "4.10 (+0.00)"):
        assert shown in text, f"{shown!r} is not in the table"
    assert "General prose" not in write_report(tmp_path / "other", written(), headline="x").read_text()
