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


UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0, 0, 0)


def estimate(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable],
    seeds: Sequence[Hashable],
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
) -> Estimate:
    """Mean of `values`, with an interval clustered on `clusters` (names are taken within a seed) and on `seeds`.

    `bounds` is the range that a value can have, None if there is none. With one seed the interval speaks of facts only, not of other worlds or trainings.
    """
    x = np.asarray(values, float)
    if not len(x):
        return UNKNOWN
    if np.isnan(x).any():
        return Estimate(math.nan, math.nan, math.nan, len(x), len(set(zip(seeds, clusters, strict=True))), len(set(seeds)), level)
    fact = list(zip(seeds, clusters, strict=True))
    groupings = [_codes(fact), _codes(seeds)]
    n_facts, n_seeds = (int(g.max()) + 1 for g in groupings)
    mean = float(x.mean())
    intervals = [_interval(x, codes, bounds, level, n_facts) for codes in groupings if codes.max() > 0]
    if not intervals:
        intervals = [bounds or (-math.inf, math.inf)]  # one cluster says nothing about others
    return Estimate(mean, min(low for low, _ in intervals), max(high for _, high in intervals), len(x), n_facts, n_seeds, level)


def paired(
    first: Sequence[float],
    second: Sequence[float],
    *,
    clusters: Sequence[Hashable],
    seeds: Sequence[Hashable],
    level: float = 0.95,
) -> Estimate:
    """Mean of first - second, question by question; both in [0, 1]."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    return estimate(difference.tolist(), clusters=clusters, seeds=seeds, bounds=(-1.0, 1.0), level=level)


def cluster_standard_error(x: np.ndarray, codes: np.ndarray) -> float:
    """Standard error of the mean of `x` when whole clusters were sampled (the sandwich estimator with its G / (G - 1) correction)."""
    groups = int(codes.max()) + 1
    assert groups > 1, "one cluster has no standard error"
    sums = np.bincount(codes, x - x.mean(), groups)
    return float(math.sqrt(groups / (groups - 1) * float((sums**2).sum())) / len(x))


def _interval(x: np.ndarray, codes: np.ndarray, bounds: tuple[float, float] | None, level: float, alike: int) -> tuple[float, float]:
    from scipy import stats  # slow to import

    groups = int(codes.max()) + 1
    mean, error = float(x.mean()), cluster_standard_error(x, codes)
    t = float(stats.t.ppf(0.5 + level / 2, groups - 1))
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
        effective = p * (1 - p) / scaled**2 * (float(stats.t.ppf(0.5 + level / 2, n - 1)) / t) ** 2 if n > 1 else 1.0
    else:
        effective = float(alike)  # all clusters agree: as many observations as there are facts
    # values other than the bounds themselves vary less than a coin does, so this may exceed n
    effective = min(effective, n) if set(np.unique(x)) <= {low, high} else effective
    alpha, hits = 1 - level, p * effective
    lower = 0.0 if p == 0 else float(stats.beta.ppf(alpha / 2, hits, effective - hits + 1))
    upper = 1.0 if p == 1 else float(stats.beta.ppf(1 - alpha / 2, hits + 1, effective - hits))
    return low + (high - low) * lower, low + (high - low) * upper


def _codes(labels: Sequence[Hashable]) -> np.ndarray:
    index: dict[Hashable, int] = {}
    return np.asarray([index.setdefault(label, len(index)) for label in labels])
