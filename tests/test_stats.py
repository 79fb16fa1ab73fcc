"""Estimates against closed forms, other formulations of the same interval, a bootstrap, and simulations in which the truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tolman.core.seeds import rng
from tolman.core.stats import Estimate, cluster_standard_error, estimate, paired


def alone(values, **options) -> Estimate:
    """Every value its own cluster, one seed."""
    return estimate(values, clusters=range(len(values)), seeds=[0] * len(values), **options)


# -- closed forms ---------------------------------------------------------------------------------------------------------------------------------------


def test_standard_error_of_independent_values_is_the_textbook_one():
    x = rng(0, "test_stats", "plain").normal(size=50)
    assert cluster_standard_error(x, np.arange(50)) == pytest.approx(x.std(ddof=1) / math.sqrt(50))


def test_standard_error_of_equal_clusters_is_that_of_their_means():
    x = rng(0, "test_stats", "equal").normal(size=(12, 5))
    expected = x.mean(1).std(ddof=1) / math.sqrt(12)
    assert cluster_standard_error(x.ravel(), np.repeat(np.arange(12), 5)) == pytest.approx(expected)


def test_standard_error_is_that_of_a_regression_on_a_constant_with_clustered_errors():
    draw = rng(0, "test_stats", "unequal")
    codes = np.concatenate([np.full(n, i) for i, n in enumerate(draw.integers(1, 9, 15))])
    x = draw.normal(size=len(codes)) + draw.normal(size=15)[codes]
    design = np.ones((len(x), 1))
    bread = np.linalg.inv(design.T @ design)
    residual = x - x.mean()
    meat = sum(np.outer(s, s) for g in range(15) for s in [design[codes == g].T @ residual[codes == g]])
    assert cluster_standard_error(x, codes) == pytest.approx(math.sqrt((bread @ meat @ bread)[0, 0] * 15 / 14))


def test_standard_error_agrees_with_a_cluster_bootstrap():
    draw = rng(0, "test_stats", "bootstrap")
    values = (draw.random((60, 4)) < draw.beta(2, 2, (60, 1))).astype(float)
    drawn = values.mean(1)[draw.integers(0, 60, (4000, 60))].mean(1)
    assert cluster_standard_error(values.ravel(), np.repeat(np.arange(60), 4)) == pytest.approx(drawn.std(), rel=0.06)


def test_unbounded_interval_is_students():
    x = rng(0, "test_stats", "student").normal(3, 2, size=20)
    found = alone(x, bounds=None)
    low, high = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((x.mean(), low, high))


@pytest.mark.parametrize("right", [1, 7, 50, 93, 99])
def test_interval_of_independent_answers_is_korn_and_graubards(right):
    """Written with the F distribution, as Korn and Graubard (1998) do, at n - 1: what the clustered variance makes of independent answers."""
    n, p = 99, right / 100
    x = p * n
    v1, v2, v3, v4 = 2 * x, 2 * (n - x + 1), 2 * (x + 1), 2 * (n - x)
    lower = v1 * stats.f.ppf(0.025, v1, v2) / (v2 + v1 * stats.f.ppf(0.025, v1, v2))
    upper = v3 * stats.f.ppf(0.975, v3, v4) / (v4 + v3 * stats.f.ppf(0.975, v3, v4))
    found = alone([1.0] * right + [0.0] * (100 - right))
    assert (found.low, found.high) == pytest.approx((lower, upper))
    exact = stats.binomtest(right, 100).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.005)


@pytest.mark.parametrize("n", [1, 2, 20, 300])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_clopper_pearson(n, value):
    found = alone([value] * n) if n > 1 else estimate([value] * 2, clusters=["a", "b"], seeds=[0, 0])
    n = max(2, n)
    exact = stats.binomtest(int(value * n), n).proportion_ci(0.95, method="exact")
    assert (found.mean, found.low, found.high) == pytest.approx((value, exact.low, exact.high))


def test_all_right_counts_facts_not_questions():
    found = estimate([1.0] * 60, clusters=[i % 20 for i in range(60)], seeds=[0] * 60)
    assert found.low == pytest.approx(stats.binomtest(20, 20).proportion_ci(0.95, method="exact").low)
    assert (found.n, found.clusters, found.seeds) == (60, 20, 1)


# -- seeds and clusters ---------------------------------------------------------------------------------------------------------------------------------


def test_cluster_names_are_taken_within_a_seed():
    found = estimate([1, 0, 1, 1], clusters=["a", "b", "a", "b"], seeds=[0, 0, 1, 1])
    assert (found.clusters, found.seeds) == (4, 2)


def test_disagreeing_seeds_widen_the_interval():
    clusters, seeds = [i % 30 for i in range(90)], [i // 30 for i in range(90)]
    agree = estimate([float(i % 2) for i in range(90)], clusters=clusters, seeds=seeds)
    disagree = estimate([float(s == 1) * 0.9 + 0.05 > 0.5 for s in seeds], clusters=clusters, seeds=seeds)
    assert disagree.high - disagree.low > 2 * (agree.high - agree.low)
    assert disagree.low < 0.02 and disagree.high > 0.9  # three seeds: 0, 1, 0


def test_repeating_each_question_adds_no_certainty():
    values = [float(i % 3 == 0) for i in range(40)]
    once = alone(values)
    often = estimate(values * 5, clusters=list(range(40)) * 5, seeds=[0] * 200)
    assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=0.01)
    assert often.n == 200 and often.clusters == 40


# -- the edges ------------------------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_unknown():
    found = estimate([], clusters=[], seeds=[])
    assert math.isnan(found.mean) and math.isnan(found.low) and (found.n, found.clusters, found.seeds) == (0, 0, 0)


def test_one_nan_makes_all_unknown():
    found = estimate([1.0, math.nan, 0.0], clusters=["a", "b", "c"], seeds=[0, 0, 1])
    assert all(map(math.isnan, (found.mean, found.low, found.high))) and (found.n, found.clusters, found.seeds) == (3, 3, 2)


def test_one_cluster_says_nothing_about_others():
    found = estimate([1.0, 1.0, 0.0], clusters=["a"] * 3, seeds=[0] * 3)
    assert (found.low, found.high) == (0.0, 1.0) and found.mean == pytest.approx(2 / 3)
    assert estimate([2.0, 5.0], clusters=["a"] * 2, seeds=[0] * 2, bounds=None).low == -math.inf


def test_one_cluster_in_each_of_two_seeds_is_two_clusters():
    found = estimate([1.0, 0.0], clusters=["a", "a"], seeds=[0, 1])
    assert found.clusters == 2 and found.low < 0.02 and found.high > 0.98


def test_values_outside_their_bounds_are_our_mistake():
    with pytest.raises(AssertionError, match="outside the bounds"):
        alone([2.0, 3.0, 2.0])


def test_as_text_and_as_numbers():
    found = alone([1.0] * 20)
    assert str(found) == "1.000 [0.832, 1.000]" and found.to_dict()["clusters"] == 20


# -- paired differences -----------------------------------------------------------------------------------------------------------------------------------


def test_paired_equals_the_interval_of_the_differences_and_turns_its_sign():
    draw = rng(0, "test_stats", "paired")
    first, second = (draw.random(80) < 0.8).astype(float), (draw.random(80) < 0.5).astype(float)
    labels = {"clusters": [i % 40 for i in range(80)], "seeds": [i // 40 for i in range(80)]}
    found, back = paired(first, second, **labels), paired(second, first, **labels)
    assert found.mean == pytest.approx((first - second).mean())
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert -1 <= found.low < found.mean < found.high <= 1


def test_pairing_removes_what_the_two_sides_share():
    draw = rng(0, "test_stats", "shared")
    hard = draw.random(100) < 0.5
    second = (~hard).astype(float)
    first = np.where(draw.random(100) < 0.1, 1.0, second)
    together = paired(first, second, clusters=range(100), seeds=[0] * 100)
    apart = alone(first), alone(second)
    assert together.high - together.low < 0.7 * ((apart[0].high - apart[0].low) + (apart[1].high - apart[1].low))


def test_sides_that_never_differ_differ_little():
    """No difference in 40 facts: a share above 8.8 % of facts that differ would have shown (0.025 ** (1 / 40) = 0.912)."""
    found = paired([1.0] * 40, [1.0] * 40, clusters=range(40), seeds=[0] * 40)
    assert (found.mean, found.low, found.high) == pytest.approx((0.0, -(1 - 0.025 ** (1 / 40)), 1 - 0.025 ** (1 / 40)))


def test_sides_that_always_differ_are_clopper_pearson():
    found = paired([1.0] * 30, [0.0] * 30, clusters=range(30), seeds=[0] * 30)
    assert found.high == 1.0 and (found.low + 1) / 2 == pytest.approx(stats.binomtest(30, 30).proportion_ci(0.95, method="exact").low)


# -- coverage -------------------------------------------------------------------------------------------------------------------------------------------


def _covered(simulate, truth: float, runs: int) -> tuple[float, float]:
    """Shares of runs in which our interval, and one that takes all answers as independent, hold the truth."""
    ours = naive = 0
    for run in range(runs):
        values, clusters, seeds = simulate(rng(run, "test_stats", "coverage"))
        found = estimate(values, clusters=clusters, seeds=seeds)
        ours += found.low <= truth <= found.high
        exact = stats.binomtest(int(values.sum()), len(values)).proportion_ci(0.95, method="exact")
        naive += exact.low <= truth <= exact.high
    return ours / runs, naive / runs


@pytest.mark.parametrize("truth", [0.5, 0.9])
def test_intervals_cover_when_questions_share_facts(truth):
    def simulate(draw):
        learned = draw.beta(8 * truth / 4, 8 * (1 - truth) / 4, 40)
        return (draw.random((40, 5)) < learned[:, None]).astype(float).ravel(), np.repeat(np.arange(40), 5).tolist(), [0] * 200

    ours, naive = _covered(simulate, truth, 300)
    assert ours >= 0.93, ours
    assert naive <= 0.9, naive  # else this simulation could not tell


@pytest.mark.parametrize("truth", [0.5, 0.9])
def test_intervals_cover_when_facts_share_seeds(truth):
    def simulate(draw):
        world = draw.beta(10 * truth, 10 * (1 - truth), 5)
        return (draw.random((5, 40)) < world[:, None]).astype(float).ravel(), list(range(40)) * 5, np.repeat(np.arange(5), 40).tolist()

    ours, naive = _covered(simulate, truth, 300)
    assert ours >= 0.9, ours  # five draws of a skewed quantity are few: a little below .95
    assert naive <= 0.8, naive


# -- properties -----------------------------------------------------------------------------------------------------------------------------------------

ANSWERS = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=40)


@given(ANSWERS)
def test_the_interval_holds_the_mean_and_stays_in_bounds(rows):
    values, clusters, seeds = zip(*rows, strict=True)
    found = estimate(values, clusters=clusters, seeds=seeds)
    assert 0 <= found.low <= found.mean + 1e-12 and found.mean - 1e-12 <= found.high <= 1
    assert found.mean == pytest.approx(np.mean(values))
    assert estimate(values, clusters=clusters, seeds=seeds, level=0.99).low <= found.low + 1e-12


@given(ANSWERS, st.randoms(use_true_random=False))
def test_order_and_names_do_not_matter(rows, random):
    shuffled = [(v, f"fact {c}", f"seed {s}") for v, c, s in random.sample(rows, len(rows))]
    one, two = (estimate(v, clusters=c, seeds=s) for v, c, s in (zip(*rows, strict=True), zip(*shuffled, strict=True)))
    assert (one.mean, one.low, one.high) == pytest.approx((two.mean, two.low, two.high))
    assert (one.clusters, one.seeds) == (two.clusters, two.seeds)


@given(ANSWERS, st.sampled_from([1, -3, 10**12]))
def test_whole_numbers_in_an_array_tell_apart_what_names_do(rows, step):
    values, clusters, seeds = zip(*rows, strict=True)
    by_name = estimate(values, clusters=[f"fact {c}" for c in clusters], seeds=[f"seed {s}" for s in seeds])
    by_number = estimate(np.array(values), clusters=step * np.array(clusters), seeds=step * np.array(seeds))
    assert by_name == by_number, "to the last digit"
    assert (by_name.clusters, by_name.seeds) == (len(set(zip(clusters, seeds, strict=True))), len(set(seeds)))


@given(ANSWERS)
def test_right_and_wrong_mirror_each_other(rows):
    values, clusters, seeds = zip(*rows, strict=True)
    found = estimate(values, clusters=clusters, seeds=seeds)
    other = estimate([1 - v for v in values], clusters=clusters, seeds=seeds)
    assert (1 - other.high, 1 - other.low) == pytest.approx((found.low, found.high))
