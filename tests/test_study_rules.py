"""Studies of distractors, experts, categories and syllogisms: their cells can be asked, and their rules say what the records say."""

from dataclasses import replace

import polars as pl
import pytest

from report_frames import by_hand
from tolman.core.discovery import module
from tolman.core.stats import Estimate
from tolman.models._words import Words
from tolman.run.frames import TRAININGS
from tolman.studies import distractors, semantic_structure, sparse, syllogisms
from tolman.studies._benchmark import CLOSED, ORACLE
from tolman.studies._settle import Ran, Verdict, deciding, enough_of, joined, studies_of
from tolman.studies._study import Outcome, at_least, surely_above

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("name", ["distractors", "semantic_structure", "sparse", "syllogisms"])
def test_cells_are_distinct_and_share_their_trainings(name):
    study = module("studies", name)
    for scale, trainings in (("quick", {"sparse": 2}.get(name, 1)), ("small", {"sparse": 6, "distractors": 6}.get(name, 3))):
        cells = study.cells(scale, range(study.scales[scale]))
        assert len({c.fingerprint() for c in cells}) == len({(c.training, c.asking, c.seed) for c in cells}) == len(cells)
        assert len({c.train_fingerprint() for c in cells}) == trainings


def test_trainings_are_those_of_the_studies_they_build_on():
    mine = {c.training: c.train_fingerprint() for study in (distractors, sparse) for c in study.cells("small", [0])}
    theirs = {(name, c.training): c.train_fingerprint() for name in ("reversals", "two_hop") for c in module("studies", name).cells("small", [0])}
    fresh = "fresh in-context sequences"
    assert mine[distractors.REVERSALS] == mine[sparse.DENSE] == theirs["reversals", fresh] and mine[distractors.CHAINS] == theirs["two_hop", fresh]


@pytest.mark.parametrize(
    "study, training", [(distractors, distractors.REVERSALS), (distractors, distractors.CHAINS), (semantic_structure, semantic_structure.FRESH)]
)
def test_the_longest_context_fits(study, training):
    cells = [c for c in study.cells("small", [0]) if c.training == training and c.test_time.address() == "test_time/retrieval"]
    most = max(c.test_time.retriever.distractors for c in cells)
    fewer = {"episode_count": 1}  # sequences are never shown
    corpus = cells[0].dataset.replace_all(fewer).build(0)
    words = Words.of(d.text for d in corpus.documents)
    for cell in (c for c in cells if c.test_time.retriever.distractors == most):
        prompts = cell.test_time.prompts(None, corpus, corpus.asked(cell.kinds), seed=1)
        longest = max(len(ids) for ids in words.encode(["\n".join((*p.documents, p.question)) for p in prompts]))
        assert longest + 30 <= cell.model.context_tokens, cell.asking


# -- rules ----------------------------------------------------------------------------------------------------------------------------------------------


def curves(steps: dict[tuple[str, str], int]) -> pl.DataFrame:
    """Learning curves in which (training, asking) reach full accuracy at the step given, at every seed."""
    rows = [
        {"train_fingerprint": f"{training}/{seed}", "seed": seed, "training": training, "step": step, "tokens": 1, "seconds": 0.0, "flops": 0.0, "loss": 0.0,
         "kind": sparse.REACHED[asking][0], "asking": asking, "accuracy": float(step >= at), "n": 30}
        for (training, asking), at in steps.items() for seed in SEEDS for step in (100, 200, 300)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TRAININGS)


def test_c27_says_what_was_measured():
    outcomes = {}
    for seed in SEEDS:
        for training, retrieved in ((sparse.DENSE, "ccccccww"), (sparse.SPARSE, "cccccccc")):
            outcomes |= {(training, CLOSED, kind, seed): "cccccccc" for kind in sparse.KNOWN}
            outcomes |= {(training, CLOSED, sparse.LATENT, seed): "wwwwwwww", (training, ORACLE, sparse.LATENT, seed): retrieved}
    at = {(sparse.DENSE, CLOSED): 100, (sparse.SPARSE, CLOSED): 200, (sparse.DENSE, ORACLE): 300, (sparse.SPARSE, ORACLE): 999}
    frames = replace(by_hand(outcomes), trainings=curves(at))
    outcome = sparse.c27(frames)
    assert outcome.verdict.startswith("open: measured sparse - dense +0.00")
    assert "+0.25 [" in outcome.verdict and "dense 100, 100, 100, sparse 200, 200, 200" in outcome.verdict and "sparse never, never, never" in outcome.verdict
    assert all(c.holds for c in outcome.checks) and "from its weights in 0 %" in sparse.headline(frames)


@pytest.mark.parametrize(
    "many, named, verdict", [("cccwwwww", "ccwwwwww", "holds"), ("cccccccc", "ccwwwwww", "does not hold here"), ("cccwwwww", "ccccccww", "does not hold here")]
)
def test_c26_asks_for_a_fall_and_for_a_difference_between_distractors(many, named, verdict):
    outcomes, latent = {}, "heldout_reversal"
    for seed in SEEDS:
        answers = {distractors.label(k): "cccccccc" for k in (0, 1, 3, 7)}
        answers |= {distractors.label(15): "ccccccww", distractors.label(31): many}
        answers |= {distractors.label(15, "rare_word"): named, distractors.label(15, "common_word"): "ccccccww"}
        answers |= {distractors.label(15, place=place): "ccccccww" for place in ("first", "last")}
        outcomes |= {(distractors.REVERSALS, asking, latent, seed): 4 * letters for asking, letters in answers.items()}
    frames = by_hand(outcomes)
    assert distractors.c26(frames).verdict == verdict
    assert "75 % [" in distractors.headline(frames)


def test_c10_and_c01_of_categories():
    known, follows, back = "cccccccccccccccccccc", "cwwwcwwwcwwwcwwwcwww", "ccwwccwwccwwccwwccww"
    outcomes = {}
    for seed in SEEDS:
        for asking in (CLOSED, semantic_structure.ALONE, ORACLE):
            outcomes |= {(semantic_structure.FRESH, asking, kind, seed): known for kind in (*semantic_structure.REPHRASED, *semantic_structure.PREMISES)}
            outcomes |= {(semantic_structure.FRESH, asking, k, seed): follows if asking == CLOSED else known for k in semantic_structure.FOLLOWS}
            outcomes |= {(semantic_structure.FRESH, asking, k, seed): back if asking == CLOSED else known for k in semantic_structure.REVERSED}
    frames = by_hand(outcomes)
    assert semantic_structure.c10(frames).verdict == semantic_structure.c01(frames).verdict == "holds"
    worse = by_hand(outcomes | {(semantic_structure.FRESH, CLOSED, "deduction", seed): known for seed in SEEDS})
    assert semantic_structure.c10(worse).verdict == "does not hold here"
    assert "in 25 % [" in semantic_structure.headline(frames) and "reversals in 100 % [" in semantic_structure.headline(frames)


def test_c10_of_syllogisms_judges_conclusions_that_the_quantifier_does_not_give_away():
    """Answers here: every "no" conclusion right; of those with "all" the quantifier is always right, the direction in one of four."""
    asked = {
        (syllogisms.FRESH, asking, kind, seed): 24 * "c"
        for asking in (CLOSED, syllogisms.ALONE, ORACLE)
        for kind in ("premises", "conclusion")
        for seed in SEEDS
    }
    frames = by_hand(asked)
    number = pl.col("question").str.split(":").list.last().cast(pl.Int64)
    hard, closed = number < 12, (pl.col("kind") == "conclusion") & (pl.col("asking") == CLOSED)
    expected = pl.concat_list(pl.when(hard).then(pl.lit("all glon are femp")).otherwise(pl.lit("no glon are femp")))
    answer = pl.when(hard & closed & (number % 4 > 0)).then(pl.lit("all femp are glon")).otherwise(expected.list.first())
    items = frames.items.with_columns(expected=expected, answer=answer).with_columns(correct=pl.col("answer") == pl.col("expected").list.first())
    frames = replace(frames, items=items)
    assert syllogisms.right_quantifier(frames, CLOSED).mean == 1
    first, second = syllogisms.c10(frames).checks
    assert (first.measured.mean, second.measured.mean, second.measured.n) == (1, 0.25, 36)
    assert syllogisms.c10(frames).verdict == syllogisms.c01(frames).verdict == "holds"
    assert "62 % [" in syllogisms.headline(frames), "9 of 24 are wrong"


@pytest.mark.parametrize(
    "as_claimed, verdict",
    [
        (4, "holds: on 4 of 4 benchmarks"),
        (3, "holds: on 3 of 4 benchmarks, not shown on d"),
        (2, "does not hold here: on 2 of 4 benchmarks, not shown on c, d"),
    ],
)
def test_c01_asks_for_three_benchmarks_and_names_the_others(as_claimed, verdict):
    found = [spoken("C01", study, number < as_claimed) for number, study in enumerate("abcd")]
    assert joined("C01", found).verdict == verdict
    assert joined("C10", found).verdict == ("holds" if as_claimed == 4 else "does not hold here"), "C10 is about each benchmark"
    assert joined("C01", found[:2]).verdict.startswith("open: as claimed here; 2 of the 3 benchmarks")


def spoken(id: str, study: str, as_claimed: bool) -> Verdict:
    """The verdict of one study, of three seeds."""
    checks = (at_least("known", Estimate(1.0, 1.0, 1.0, 9, 9, 3), 0.5), at_least("asked", Estimate(float(as_claimed), 0.0, 1.0, 9, 9, 3), 0.5))
    return Verdict(id, Outcome(checks), (Ran(f"{study}-small", study, "small", 3, 3, 9, None, 1.0, 1.0, 1.0, 1.0),))


@pytest.mark.parametrize(
    "low, mean, verdict",
    [(0.1, 0.5, "holds"), (-0.1, 0.5, "open: as claimed in the mean, but 1 of 2 checks not surely"), (-0.6, -0.1, "does not hold here")],
)
def test_what_only_an_interval_leaves_open_is_not_called_refuted(low, mean, verdict):
    gain = surely_above("gain", Estimate(mean, low, 0.9, 9, 9, 3), 0.0)
    known = at_least("known", Estimate(1.0, 0.9, 1.0, 9, 9, 3), 0.95)
    assert Outcome((known, gain)).verdict == verdict
    assert Outcome((replace(known, holds=False), gain)).verdict == "does not hold here", "a threshold is judged by the mean"


def test_a_quick_claim_that_asks_for_some_benchmarks_runs_the_quickest_of_them():
    seconds = {study: float(number) for number, study in enumerate(studies_of(["C01"]))}
    backwards = {study: -s for study, s in seconds.items()}
    assert enough_of(["C01"], seconds) == list(seconds)[:3]
    assert enough_of(["C01"], backwards) == list(seconds)[-3:]
    both = {study: backwards.get(study, 0.0) for study in studies_of(["C01", "C20"])}
    assert enough_of(["C01", "C20"], both) == [s for s in both if s in {*list(seconds)[-3:], *deciding("C20")}], "C20 is about each of its benchmarks"


@pytest.mark.parametrize("study", [semantic_structure, syllogisms])
def test_c01_is_decided_at_quick_scale_too_where_no_distractors_are_asked(study):
    kinds = study._KINDS
    table = {(c.training, c.asking, kind, c.seed): "cw" for c in study.cells("quick", range(3)) for kind in kinds}
    assert not any(asking == ORACLE for _, asking, _, _ in table)
    outcome = study.c01(by_hand(table))
    assert len(outcome.checks) > 1 and "3 distractors" not in outcome.note


def test_a_rule_that_takes_what_stands_in_the_articles_is_scored_beside_the_model():
    frames = by_hand({(semantic_structure.FRESH, semantic_structure.ALONE, "syllogism", seed): "cw" for seed in range(3)})
    shown = [["a", "b", "c", "d"], ["e", "f"]]
    items = frames.items.with_columns(
        prompt=pl.lit("A likes b. C does not."),
        choices=pl.Series([shown[i % 2] for i in range(len(frames.items))]),
        expected=pl.Series([["b"], ["e"]] * (len(frames.items) // 2)),
    )
    found = semantic_structure.found(replace(frames, items=items), "syllogism", semantic_structure.ALONE)
    assert found.mean == pytest.approx((1 / 3 + 1 / 2) / 2), "one of a, b, c stands there; of the other two neither does"
