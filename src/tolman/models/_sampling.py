"""Continuing many texts at once: what is drawn for a text depends on its own key alone, and finished texts leave the batch.

Shapes: N texts, A of them that go on, V vocabulary, L tokens at most.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LEAVE = 1 / 5
"""Finished texts leave the batch once they are more than this share of it: each leaving copies the cache of the others."""


class Draws:
    """Uniform numbers in [0, 1), one for each text and step, from 64-bit keys: SplitMix64 (Steele et al. 2014) as a counter, so that there is no state to keep.

    One generator object for each text, as PyTorch would have it, takes longer than the network (LOG.md).
    """

    def __init__(self, keys: Sequence[int]) -> None:
        self.key_N = np.asarray(keys, np.uint64)

    def table(self, steps: int) -> np.ndarray:
        """The numbers (steps, N) of the first `steps` steps."""
        with np.errstate(over="ignore"):
            z = self.key_N + np.arange(1, steps + 1, dtype=np.uint64)[:, None] * _GOLDEN
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


class Decoding(Protocol):
    """A network that has read something for each row. `seen` is how many positions the last step looked at, masked ones included."""

    seen: int

    def step(self, token_N: Tensor) -> Tensor:
        """Logits (N, V) after one more token of each row."""
        ...

    def keep(self, row_A: Tensor) -> None:
        """Go on with these rows only."""
        ...


class Written(NamedTuple):
    """What was written after each text: tokens (N, L), how many count, their log-probability in nats at temperature 1, and whether the last is a stop; and of
    each forward pass, how many rows it had and how many positions each looked at."""

    token_NL: np.ndarray
    length_N: np.ndarray
    nats_N: np.ndarray
    ended_N: np.ndarray
    passes: list[tuple[int, int]]


def go_on(last_NV: Tensor, decoder: Decoding, *, max_tokens: int, stops: Sequence[int], temperature: float, draws: Draws | None) -> Written:
    """Continue each text, whose next token has the logits `last_NV`, until it writes one of `stops` or has `max_tokens` tokens.

    Temperature 0 takes the likeliest token and needs no `draws`.
    """
    N, V = last_NV.shape
    token_NL, nats_NL = np.zeros((N, max_tokens), np.int64), np.zeros((N, max_tokens))
    stop_V: np.ndarray = np.isin(np.arange(V), stops)
    uniform_LA = None if draws is None else torch.from_numpy(draws.table(max_tokens)).to(last_NV.device)
    row_A, going_A, passes = np.arange(N), np.ones(N, bool), []
    for step in range(max_tokens):
        logprob_AV = last_NV.log_softmax(-1)
        token_A = logprob_AV.argmax(-1) if uniform_LA is None else drawn(logprob_AV, temperature, uniform_LA[step])
        token_NL[row_A, step] = written_A = token_A.numpy(force=True)
        nats_NL[row_A, step] = logprob_AV.gather(1, token_A[:, None]).squeeze(1).numpy(force=True)
        going_A &= ~stop_V[written_A]
        going = np.count_nonzero(going_A)
        if step == max_tokens - 1 or not going:
            break
        if len(row_A) - going > LEAVE * len(row_A):
            stay_A = torch.from_numpy(np.flatnonzero(going_A)).to(token_A.device)
            row_A, going_A, token_A = row_A[going_A], going_A[going_A], token_A[stay_A]
            uniform_LA = None if uniform_LA is None else uniform_LA[:, stay_A]
            decoder.keep(stay_A)
        last_NV = decoder.step(token_A)
        passes.append((len(row_A), decoder.seen))
    stop_NL = stop_V[token_NL]
    ended_N = np.asarray(stop_NL.any(1))
    length_N = np.where(ended_N, stop_NL.argmax(1) + 1, max_tokens)
    nats_N = np.where(np.arange(max_tokens) < length_N[:, None], nats_NL, 0.0).sum(1)
    return Written(token_NL, length_N, nats_N, ended_N, passes)


def drawn(logprob_AV: Tensor, temperature: float, uniform_A: Tensor) -> Tensor:
    """One token (A,) of each distribution at `temperature`, by inverting its cumulative sum (in float64, so that rare tokens keep their share)."""
    scaled_AV = logprob_AV if temperature == 1 else logprob_AV.double() / temperature
    share_AV = scaled_AV.softmax(-1, dtype=torch.float64).cumsum(-1)
    return torch.searchsorted(share_AV, uniform_A[:, None] * share_AV[:, -1:], right=True).squeeze(1).clamp_max(logprob_AV.shape[1] - 1)
