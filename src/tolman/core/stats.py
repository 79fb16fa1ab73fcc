"""Means with intervals. A bare float is never a result.

Questions are not independent: several ask about one fact (the cluster), and all facts of a seed share one world and one trained model. The standard error is therefore
computed twice, clustered on facts within seeds and clustered on seeds, each with its own t quantile; the wider interval is given.
For quantities in a known range the interval is that of Korn and Graubard (1998, as used by the US NCHS): Clopper-Pearson at the effective sample size, so that
20 of 20 right does not read as certainty. Otherwise it is mean +- t x standard error.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

Labels = Sequence[Hashable] | np.ndarray
"""What tells clusters, or seeds, apart. For a million values an array of whole numbers: anything else is numbered by a step of Python for each."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its `level` interval, from `n` values in `clusters` clusters of `seeds` seeds. Unknown is nan."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int
    seeds: int
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def say(found: Estimate) -> str:
    """A share with its interval, for a sentence: `97 % [91, 99]`."""
    return f"{100 * found.mean:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"


UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0, 0, 0)


def estimate(
    values: Sequence[float] | np.ndarray,
    *,
    clusters: Labels,
    seeds: Labels,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
) -> Estimate:
    """Mean of `values`, with an interval clustered on `clusters` (names are taken within a seed) and on `seeds`.

    `bounds` is the range that a value can have, None if there is none. With one seed the interval speaks of facts only, not of other worlds or trainings.
    """
    x = np.asarray(values, float)
    if not len(x):
        return UNKNOWN
    fact, seed = _codes(clusters), _codes(seeds)
    assert len(fact) == len(seed) == len(x), "each value has a cluster and a seed"
    groupings = [_renumbered(seed * (fact.max() + 1) + fact), seed]
    n_facts, n_seeds = (int(g.max()) + 1 for g in groupings)
    if np.isnan(x).any():
        return Estimate(math.nan, math.nan, math.nan, len(x), n_facts, n_seeds, level)
    mean = float(x.mean())
    intervals = [_interval(x, codes, bounds, level, n_facts) for codes in groupings if codes.max() > 0]
    if not intervals:
        intervals = [bounds or (-math.inf, math.inf)]  # one cluster says nothing about others
    return Estimate(mean, min(low for low, _ in intervals), max(high for _, high in intervals), len(x), n_facts, n_seeds, level)


def paired(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    clusters: Labels,
    seeds: Labels,
    level: float = 0.95,
) -> Estimate:
    """Mean of first - second, question by question; both in [0, 1]."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    return estimate(difference, clusters=clusters, seeds=seeds, bounds=(-1.0, 1.0), level=level)


def cluster_standard_error(x: np.ndarray, codes: np.ndarray) -> float:
    """Standard error of the mean of `x` when whole clusters were sampled (the sandwich estimator with its G / (G - 1) correction)."""
    groups = int(codes.max()) + 1
    assert groups > 1, "one cluster has no standard error"
    sums = np.bincount(codes, x - x.mean(), groups)
    return float(math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / len(x))


def _interval(x: np.ndarray, codes: np.ndarray, bounds: tuple[float, float] | None, level: float, alike: int) -> tuple[float, float]:
    from scipy.special import betaincinv, stdtrit  # the quantiles of beta and t, as scipy.stats has them, which takes a second to import

    groups = int(codes.max()) + 1
    mean, error = float(x.mean()), cluster_standard_error(x, codes)
    t = float(stdtrit(groups - 1, 0.5 + level / 2))
    if bounds is None:
        return mean - t * error, mean + t * error
    low, high = bounds
    p = (mean - low) / (high - low)
    if not -1e-12 <= p <= 1 + 1e-12:
        raise AssertionError(f"the mean {mean} lies outside the bounds {bounds}")
    p = min(1.0, max(0.0, p))
    if x.min() == x.max():
        # had a share q of all facts another value, none of it would be seen with probability (1 - q)^facts; at the bounds this is Clopper-Pearson
        unseen = 1 - ((1 - level) / 2) ** (1 / alike)
        return mean - (mean - low) * unseen, mean + (high - mean) * unseen
    scaled = error / (high - low)
    # effective sample size, adjusted for the degrees of freedom; never above n (a lucky negative correlation is not evidence)
    n = len(x)
    if scaled > 0 and 0 < p < 1:
        effective = p * (1 - p) / scaled**2 * (float(stdtrit(n - 1, 0.5 + level / 2)) / t) ** 2 if n > 1 else 1.0
    else:
        effective = float(alike)  # all clusters agree: as many observations as there are facts
    # values other than the bounds themselves vary less than a coin does, so this may exceed n
    effective = min(effective, n) if ((x == low) | (x == high)).all() else effective
    alpha, hits = 1 - level, p * effective
    lower = 0.0 if p == 0 else float(betaincinv(hits, effective - hits + 1, alpha / 2))
    upper = 1.0 if p == 1 else float(betaincinv(hits + 1, effective - hits, 1 - alpha / 2))
    return low + (high - low) * lower, low + (high - low) * upper


def _codes(labels: Labels) -> np.ndarray:
    """A number for each label, from 0 on as they first come."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        return _renumbered(labels)
    index: dict[Hashable, int] = {}
    return np.asarray([index.setdefault(label, len(index)) for label in labels])


def _renumbered(numbers: np.ndarray) -> np.ndarray:
    """The same for whole numbers, without a step of Python for each."""
    n = len(numbers)
    numbers = numbers.astype(np.int64) - int(numbers.min())
    if numbers.max() > 8 * n:
        numbers = np.unique(numbers, return_inverse=True)[1]
    first = np.zeros(int(numbers.max()) + 1, np.int64)
    first[numbers[::-1]] = np.arange(n - 1, -1, -1)  # of several to one place the last one stays: where the number first comes
    at = first[numbers]
    return (np.cumsum(at == np.arange(n)) - 1)[at]
