"""Studies of pretrained models: their cells can be asked, their rules say what the records say, and usable information is what its definition says."""

import json
import math

import numpy as np
import polars as pl
import pytest

from report_frames import by_hand
from tolman.core.discovery import module
from tolman.core.seeds import rng
from tolman.datasets.nonsense_reversals import EVERYDAY, NonsenseReversals
from tolman.run.frames import Frames
from tolman.studies import _usable, celebrities, nonsense_reversals, pretrained_syllogisms
from tolman.studies._benchmark import CLOSED
from tolman.studies._pretrained import AUGMENTED, CONTEXT, MODELS_AT, TUNED, UNTRAINED, kept, label

NAMES = ("nonsense_reversals", "celebrities", "pretrained_syllogisms", "pretrained_semantics")
WROTE = {"tested": 20, "tested_derived": 2}
"""Of what a model wrote for one training."""
SEEDS = (0, 1, 2)
MANY = 60
"""Questions of a kind at a seed."""


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_distinct_and_ask_what_there_is(name):
    study = module("studies", name)
    for scale, seeds in study.scales.items():
        cells = study.cells(scale, range(seeds))
        assert len({c.fingerprint() for c in cells}) == len({(c.training, c.asking, c.seed) for c in cells}) == len(cells)
        assert {c.training.split(", ")[0] for c in cells} == set(MODELS_AT[scale])
        for dataset in {c.dataset.fingerprint(): c.dataset for c in cells}.values():
            for corpus in map(dataset.build, range(3)):  # type: ignore[arg-type]
                assert all(set(c.kinds or ()) <= set(corpus.kinds) for c in cells if c.dataset == dataset)
                assert all(len(q.choices) > 1 for q in corpus.asked())


def test_the_same_facts_about_everyday_nouns():
    nonsense, everyday = (NonsenseReversals(facts=20, dimensions=10, nouns=nouns).build(1) for nouns in ("nonsense", "everyday"))
    assert len(set(EVERYDAY)) == len(EVERYDAY) >= 150
    assert [q.id for q in nonsense.questions] == [q.id for q in everyday.questions]
    for a, b in zip(nonsense.questions, everyday.questions, strict=True):
        assert a.choices[0].split()[:-1] == b.choices[0].split()[:-1] and a.choices[0].split()[-1] not in EVERYDAY and b.choices[0].split()[-1] in EVERYDAY
    assert NonsenseReversals().fingerprint() == NonsenseReversals(nouns="nonsense").fingerprint() != NonsenseReversals(nouns="everyday").fingerprint()


# -- usable information -----------------------------------------------------------------------------------------------------------------------------------


def scored(probabilities: list[float], choices: int = 4, seed: int = 0) -> pl.DataFrame:
    """Items of one cluster each, whose right answer has the probability given and whose wrong ones share the rest."""
    rows = []
    for i, p in enumerate(probabilities):
        scores = [math.log(p)] + [math.log((1 - p) / (choices - 1))] * (choices - 1)
        names = [f"c{j}" for j in range(choices)]
        rows.append({"seed": seed, "question": f"{i}", "cluster": f"{i}", "choices": names, "expected": ["c0"], "scores_nats": scores})
    return pl.DataFrame(rows)


def test_a_model_that_knows_gives_all_the_bits_and_one_that_guesses_none():
    assert _usable.usable(scored([1 - 1e-9] * 20)).mean == pytest.approx(2.0, abs=1e-3)
    assert _usable.usable(scored([0.25] * 20)).mean == pytest.approx(0.0, abs=1e-6)
    assert _usable.usable(scored([1 - 1e-9] * 20, choices=2)).mean == pytest.approx(1.0, abs=1e-3)


def test_bits_are_those_of_the_definition_at_the_best_temperature():
    """Right in three of four two-way questions and as sure of itself each time: the best that the family can do is to say 75 %."""
    items = scored([0.999, 0.999, 0.999, 0.001] * 30, choices=2)
    expected = 1 + 0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)
    assert _usable.usable(items).mean == pytest.approx(expected, abs=0.03)
    for sharpness in (0.0, 0.1, 0.5, 1.0):
        p = 0.999**sharpness / (0.999**sharpness + 0.001**sharpness)
        found = np.mean([_usable._bits(np.log([q, 1 - q]), np.array([True, False]), sharpness) for q in (0.999, 0.999, 0.999, 0.001)])
        assert found == pytest.approx(1 + 0.75 * math.log2(p) + 0.25 * math.log2(1 - p), abs=1e-9)


def test_a_model_that_misleads_has_nothing_usable_and_what_it_is_judged_by_was_not_fitted():
    assert -0.05 < _usable.usable(scored([0.05] * 40)).mean <= 1e-6
    items = scored([0.9, 0.6, 0.3, 0.1, 0.8] * 4)
    swapped = _usable.usable_bits(items[::-1])[::-1]
    np.testing.assert_allclose(_usable.usable_bits(items), swapped, rtol=1e-4, atol=1e-6)
    gain = _usable.gained(scored([0.9] * 20), scored([0.4] * 20))
    assert gain.mean == pytest.approx(_usable.usable(scored([0.9] * 20)).mean - _usable.usable(scored([0.4] * 20)).mean) and gain.low > 0


def test_a_few_mistakes_cost_what_they_tell_whichever_facts_they_are_about():
    """With two folds all three mistakes are in one of them in one world of four, which came out at minus three bits."""
    best = max(np.mean([_usable._bits(np.log([q, 1 - q]), np.array([True, False]), s) for q in [0.02] * 3 + [0.98] * 37]) for s in np.linspace(0, 2, 81))
    for seed in range(8):
        assert best - 0.2 < _usable.usable(scored([0.02] * 3 + [0.98] * 37, choices=2, seed=seed)).mean < best + 0.01


def test_several_right_answers_count_together():
    items = scored([0.4] * 10).with_columns(expected=pl.lit(["c0", "c1"]))
    right = 0.4 + 0.2
    assert _usable._bits(np.log([0.4, 0.2, 0.2, 0.2]), np.array([True, True, False, False]), 1.0) == pytest.approx(math.log2(right / 0.5))
    assert _usable.usable(items).mean > 0


# -- rules ------------------------------------------------------------------------------------------------------------------------------------------------


def answers(share: float, *names: object) -> str:
    """Drawn, so that seeds differ: equal ones would have no spread, and the interval would be that of the facts as coins."""
    return "".join("c" if x < share else "w" for x in rng(0, *names).random(MANY))


def frames(shares: dict[tuple[str, str], dict[str, float]], header: dict[tuple[str, str], dict] | None = None) -> Frames:
    """Records of a study in which (training, asking) have the accuracy by kind, and the header, given, at three seeds."""
    parts = []
    for (training, asking), kinds in shares.items():
        outcomes = {
            (label("base", training), asking, kind, seed): answers(share, training, asking, kind, seed) for kind, share in kinds.items() for seed in SEEDS
        }
        parts.append(by_hand(outcomes, method="closed_book" if asking == CLOSED else "in_context", **(header or {}).get((training, asking), {})))
    return Frames(*(pl.concat([getattr(part, table) for part in parts]) for table in ("cells", "items", "trainings")))


def reversals(tuned_reversed: float = 0.5, context: float = 1.0, other: dict[tuple[str, str], dict[str, float]] | None = None) -> Frames:
    return frames({
        (UNTRAINED, CLOSED): {"forward": 0.5, "reversal": 0.5}, (UNTRAINED, CONTEXT): {"forward": 1.0, "reversal": context},
        (TUNED, CLOSED): {"forward": 1.0, "reversal": tuned_reversed},
    } | (other or {}))  # fmt: skip


def test_the_reversal_curse_is_four_comparisons():
    outcome = nonsense_reversals.c02(reversals())
    assert outcome.verdict == "holds" and len(outcome.checks) == 4
    assert [c.holds for c in nonsense_reversals.c02(reversals(tuned_reversed=1.0)).checks] == [True, True, False, False]
    assert [c.holds for c in nonsense_reversals.c02(reversals(context=0.5)).checks] == [True, True, True, False]


def test_what_holds_back_is_judged_by_what_is_left():
    def kept_at(nats: float) -> dict:
        return {"retention": {"before": {"general_nats": 4.0, "general_accuracy": 0.9}, "after": {"general_nats": nats, "general_accuracy": 0.8}}}

    shares = {(TUNED, CLOSED): {"forward": 1.0, "reversal": 0.5}}
    shares |= {(nonsense_reversals.held_back(name), CLOSED): {"forward": 1.0, "reversal": 0.5} for name in nonsense_reversals.HELD}
    header = {(TUNED, CLOSED): kept_at(4.8)} | {key: kept_at(4.2) for key in shares if key != (TUNED, CLOSED)}
    held = frames(shares, header)
    assert kept(held, label("base", TUNED)).mean == pytest.approx(0.8)
    assert kept(held, label("base", TUNED), "general_accuracy").mean == pytest.approx(0.1)
    outcome = nonsense_reversals.c30(held)
    assert outcome.verdict == "holds" and len(outcome.checks) == 1 + 2 * 3
    worse = held.cells.with_columns(general_nats=pl.when(pl.col("training").str.contains("replay")).then(4.7).otherwise("general_nats"))
    assert [c.holds for c in nonsense_reversals.c30(Frames(worse, held.items, held.trainings)).checks] == [True, False, True, True, True, True, True]


def test_use_of_context_is_compared_with_what_is_known_without():
    real = nonsense_reversals.UNTRAINED + nonsense_reversals.REAL
    more = {(real, CLOSED): {"forward": 0.5, "reversal": 0.5}, (real, CONTEXT): {"forward": 1.0, "reversal": 1.0}}
    assert not nonsense_reversals.c28(reversals(context=1.0, other=more)).checks[0].holds
    assert nonsense_reversals.c28(reversals(context=0.1, other=more)).checks[0].holds


def test_the_order_of_syllogisms():
    def made(tuned: float, context: float, augmented: float) -> Frames:
        found = frames({
            (UNTRAINED, CONTEXT): {"premises": 1.0, "conclusion": context}, (TUNED, CLOSED): {"premises": 1.0, "conclusion": tuned},
            (AUGMENTED, CLOSED): {"premises": 1.0, "conclusion": augmented},
        }, {(AUGMENTED, CLOSED): {"notes": {"generated": {"kept": WROTE}}}})  # fmt: skip
        return Frames(found.cells, found.items.with_columns(choices=pl.lit(["a", "b", "c", "d"])), found.trainings)

    assert pretrained_syllogisms.c03(made(0.5, 0.8, 0.9)).verdict == "holds"
    assert pretrained_syllogisms.c03(made(0.5, 0.8, 0.9)).note.endswith("Statements under test that it wrote itself: base 6 of 60.")
    assert [c.holds for c in pretrained_syllogisms.c03(made(0.3, 0.3, 0.2)).checks] == [True, False, False, False]


def test_prompts_are_compared_on_what_they_were_made_for():
    def made(local: float, plain: float, narrow: float, learned: float = 1.0) -> Frames:
        return frames({
            (TUNED, CLOSED): dict.fromkeys(celebrities.FORWARD, learned),
            (AUGMENTED, CLOSED): {"p2d_reversal": local, "d2p_reversal": local}, (celebrities.PLAIN, CLOSED): {"p2d_reversal": plain, "d2p_reversal": plain},
            (celebrities.NARROW, CLOSED): {"p2d_reversal": 1.0, "d2p_reversal": narrow}, (celebrities.GLOBAL, CLOSED): {"p2d_reversal": 0.5, "d2p_reversal": 0.5},
        })  # fmt: skip

    assert celebrities.c32(made(0.9, 0.3, 0.3)).verdict == "holds"
    assert [c.holds for c in celebrities.c32(made(0.3, 0.3, 0.9)).checks] == [False, False, True]
    assert "facts as trained are right in 23 % [" in celebrities.c32(made(0.9, 0.3, 0.3, learned=0.25)).verdict


def test_usable_bits_before_and_after_augmentation():
    header = {(AUGMENTED, CLOSED): {"notes": {"generated": {"leaks_in_prompts": 0, "kept": WROTE}}}}
    shares = {(UNTRAINED, CONTEXT): {"reversal": 1.0}, (TUNED, CLOSED): {"reversal": 0.5}, (AUGMENTED, CLOSED): {"reversal": 1.0}}
    found = frames(shares, header)
    assert json.loads(found.cells.filter(training=label("base", AUGMENTED))["notes"][0])["generated"]["leaks_in_prompts"] == 0
    sure = pl.when(pl.col("correct")).then(pl.lit([-0.1, -3.0])).otherwise(pl.lit([-3.0, -0.1]))
    items = found.items.with_columns(choices=pl.lit(["c", "w"]), scores_nats=sure)
    outcome = nonsense_reversals.c17(Frames(found.cells, items, found.trainings))
    assert outcome.verdict == "holds" and outcome.checks[0].measured.mean == pytest.approx(1.0, abs=0.1)
    assert outcome.note.endswith("(1 bit is all there is), 6 of 60 reversals under test written.")
