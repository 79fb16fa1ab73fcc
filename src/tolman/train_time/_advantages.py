"""What a sampled text is worth, and how that becomes weights of a next-token step. Pure functions of arrays.

Shapes: Q questions, G samples of each, and any shape `...` of tokens.
"""

from collections.abc import Callable

import numpy as np

SOFTENING = 1e-4
"""Added to a group's standard deviation, as in TRL's GRPO."""


def group(reward_QG: np.ndarray) -> np.ndarray:
    """Rewards relative to their group, in its standard deviations (GRPO, Shao et al. 2024, arXiv 2402.03300)."""
    return centred(reward_QG) / (reward_QG.std(axis=1, ddof=1, keepdims=True) + SOFTENING)


def centred(reward_QG: np.ndarray) -> np.ndarray:
    """Rewards less their group's mean (Liu et al. 2025, arXiv 2503.20783)."""
    return reward_QG - reward_QG.mean(axis=1, keepdims=True)


def leave_one_out(reward_QG: np.ndarray) -> np.ndarray:
    """Rewards less the mean of the others in their group: REINFORCE with an unbiased baseline (Ahmadian et al. 2024, arXiv 2402.14740)."""
    n = reward_QG.shape[1]
    return (reward_QG - reward_QG.mean(axis=1, keepdims=True)) * n / (n - 1)


ADVANTAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"group": group, "centred": centred, "leave_one_out": leave_one_out}


def kl_nats(now: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Estimate of KL(now || start) from the log-probabilities of tokens that `now` sampled: unbiased and never negative (Schulman 2020, the estimator k3)."""
    return np.exp(start - now) - (start - now) - 1


def policy_weights(advantage: np.ndarray, now: np.ndarray, start: np.ndarray, *, kl: float) -> np.ndarray:
    """Weights (...) with which a weighted next-token loss has the gradient of -advantage x ratio + kl x `kl_nats`, the policy being the one that sampled.

    d/d(now) of the two terms is -advantage and kl x (1 - exp(start - now)); that of weight x loss is -weight. Averaged over what `now` samples, the second is the
    gradient of KL(start || now), not of KL(now || start), which the value estimates: a bandit ends where that says (a test), in TRL as here.
    """
    return advantage + kl * np.expm1(start - now)
