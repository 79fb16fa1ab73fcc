"""Continuing many texts at once: what is drawn for a text depends on its own key alone, and finished texts leave the batch.

Shapes: N texts, A of them that go on, V vocabulary, L tokens at most.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LEAVE = 1 / 3
"""Finished texts leave the batch once they are more than this share of it: each leaving copies the cache of the others."""


class Draws:
    """Uniform numbers in [0, 1), one for each text and step, from 64-bit keys: SplitMix64 (Steele et al. 2014) as a counter, so that there is no state to keep.

    One generator object for each text, as PyTorch would have it, takes longer than the network (LOG.md).
    """

    def __init__(self, keys: Sequence[int]) -> None:
        self.key_N = np.asarray(keys, np.uint64)

    def at(self, step: int, rows: np.ndarray) -> np.ndarray:
        """The numbers (A,) of step `step` for the texts `rows`."""
        with np.errstate(over="ignore"):
            z = self.key_N[rows] + np.uint64(step + 1) * _GOLDEN
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


class Decoding(Protocol):
    """A network that has read something for each row."""

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        ...

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        ...


class Written(NamedTuple):
    """What was written after each text: tokens (N, L), how many count, their log-probability in nats at temperature 1, and whether the last is a stop."""

    token_NL: np.ndarray
    length_N: np.ndarray
    nats_N: np.ndarray
    ended_N: np.ndarray


def go_on(
    last_NV: Tensor, decoder: Decoding, *, max_tokens: int, stops: Tensor, temperature: float, draws: Draws | None, book: Callable[[int, int], None]
) -> Written:
    """Continue each text, whose next token has the logits `last_NV`, until it writes one of `stops` or has `max_tokens` tokens.

    Temperature 0 takes the likeliest token and needs no `draws`. `book(rows, step)` is told of each forward pass.
    """
    N = len(last_NV)
    token_NL, length_N = np.zeros((N, max_tokens), np.int64), np.full(N, max_tokens)
    nats_N, ended_N = np.zeros(N), np.zeros(N, bool)
    row_A = np.arange(N)
    for step in range(max_tokens):
        logprob_AV = last_NV.log_softmax(-1)
        token_A = logprob_AV.argmax(-1) if draws is None else drawn(logprob_AV, temperature, draws.at(step, row_A))
        going_A = ~ended_N[row_A]
        going = row_A[going_A]
        token_NL[going, step] = token_A.numpy(force=True)[going_A]
        nats_N[going] += logprob_AV.gather(1, token_A[:, None]).squeeze(1).numpy(force=True)[going_A]
        stopped = row_A[torch.isin(token_A, stops).numpy(force=True) & going_A]
        ended_N[stopped], length_N[stopped] = True, step + 1
        finished_A = ended_N[row_A]
        if step == max_tokens - 1 or finished_A.all():
            break
        if finished_A.mean() > LEAVE:
            stay = torch.from_numpy(np.flatnonzero(~finished_A)).to(token_A.device)
            row_A, token_A = row_A[~finished_A], token_A[stay]
            decoder.keep(stay)
        last_NV = decoder.step(token_A)
        book(len(row_A), step)
    return Written(token_NL, length_N, nats_N, ended_N)


def drawn(logprob_AV: Tensor, temperature: float, uniform_A: np.ndarray) -> Tensor:
    """One token (A,) of each distribution at `temperature`, by inverting its cumulative sum (in float64, so that rare tokens keep their share)."""
    share_AV = (logprob_AV.double() / temperature).softmax(-1).cumsum(-1)
    at_A1 = torch.from_numpy(uniform_A).to(logprob_AV.device)[:, None] * share_AV[:, -1:]
    return torch.searchsorted(share_AV, at_A1, right=True).squeeze(1).clamp_max(logprob_AV.shape[1] - 1)
