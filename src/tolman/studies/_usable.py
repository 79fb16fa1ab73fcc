"""Usable information (Xu et al. 2020, arXiv 2002.10689): how many bits about the right answer a model can get out of what it has.

Information cannot grow by computing, but what a bounded family of predictors V can use of it may. I_V = H_V(Y) - H_V(Y | X): without the question every candidate is as
likely; with it, the family predicts softmax(log-likelihoods / T), where the temperature T, its one parameter, is fitted on other facts than those it is judged by.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar

from tolman.core.seeds import derive
from tolman.core.stats import Estimate, estimate

FOLDS = 10
"""Few would not do: where the few mistakes are all in one fold, what is fitted on the others knows none, and pays for each as if it were sure."""


def usable_bits(items: pl.DataFrame) -> np.ndarray:
    """Bits about the right answer for each of `items`, which were asked by choice: pointwise V-information (Ethayarajh et al. 2022, arXiv 2110.08420).

    Facts (clusters within seeds) are parted in FOLDS; each fold's temperature is fitted on the others. Negative where the model misleads.
    """
    scores = [np.asarray(s) for s in items["scores_nats"].to_list()]
    right = [np.isin(c, e) for c, e in zip(items["choices"].to_list(), items["expected"].to_list(), strict=True)]
    assert all(len(s) == len(r) and r.any() for s, r in zip(scores, right, strict=True)), "usable information needs questions that were scored by choice"
    fold = np.asarray([derive(seed, "usable", cluster) % FOLDS for seed, cluster in items.select("seed", "cluster").iter_rows()])
    bits = np.full(len(scores), np.nan)
    for f in range(FOLDS):
        inside, outside = (np.flatnonzero((fold == f) == mine) for mine in (True, False))
        if len(outside) and len(inside):
            sharpness = _fitted([scores[i] for i in outside], [right[i] for i in outside])
            bits[inside] = [_bits(scores[i], right[i], sharpness) for i in inside]
    return bits


def usable(items: pl.DataFrame) -> Estimate:
    """Mean usable bits per question, clustered on facts and seeds."""
    return estimate(usable_bits(items).tolist(), clusters=items["cluster"].to_list(), seeds=items["seed"].to_list(), bounds=None)


def gained(after: pl.DataFrame, before: pl.DataFrame) -> Estimate:
    """Mean over the questions that both were asked of the usable bits after minus before."""
    tables = [t.select("seed", "question", "cluster").with_columns(bits=pl.Series(usable_bits(t), dtype=pl.Float64)) for t in (after, before)]
    both = tables[0].join(tables[1], on=["seed", "question"], suffix="_before", maintain_order="left")
    assert len(both) == len(after) == len(before), "the two sides were not asked the same"
    return estimate((both["bits"] - both["bits_before"]).to_list(), clusters=both["cluster"].to_list(), seeds=both["seed"].to_list(), bounds=None)


def _bits(scores: np.ndarray, right: np.ndarray, sharpness: float) -> float:
    """log2 of the right answers' probability under softmax(sharpness x scores), over what it is by chance."""
    at = sharpness * (scores - scores.max())
    logprob = np.logaddexp.reduce(at[right]) - np.logaddexp.reduce(at)
    return (float(logprob) - math.log(right.mean())) / math.log(2)


def _fitted(scores: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> float:
    """The inverse temperature in [0, 10] with the most bits: 0 says that all candidates are alike, which no other fit of the family is worse than."""
    found = minimize_scalar(lambda s: -sum(_bits(a, b, s) for a, b in zip(scores, right, strict=True)), bounds=(0.0, 10.0), method="bounded")
    return float(found.x)
