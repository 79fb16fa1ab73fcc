"""Token sequences that share beginnings, read as one row in which each token stands once: a forest of branches behind a common prefix.

Every token sees its own ancestors and nothing else (a mask), at the position that its depth says, so the results are those of each sequence read for itself;
there is no padding, and the cache of a context is never copied for the questions about it. The same idea: tree attention (Miao et al. 2023, SpecInfer, arXiv 2305.09781).

Shapes: T tokens read now, S tokens seen, W tokens whose logits are wanted, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

READ_TOKENS = 512
"""Tokens in one forward pass: enough for the matrix products to be efficient, few enough that the products between branches blind to one another cost little."""


class Forest:
    """Token sequences as a trie. `parent[n]` is the node before node n, -1 for what follows the common prefix."""

    def __init__(self) -> None:
        self.token: list[int] = []
        self.parent: list[int] = []
        self._child: dict[tuple[int, int], int] = {}

    def add(self, tokens: Sequence[int]) -> list[int]:
        """The nodes of `tokens`; those not there yet are made."""
        nodes, at = [], -1
        for token in tokens:
            found = self._child.get((at, token))
            if found is None:
                found = self._child[at, token] = len(self.token)
                self.token.append(token)
                self.parent.append(at)
            at = found
            nodes.append(at)
        return nodes


class Reader:
    """Reads a prefix, then forests behind it, with one cache. `book(T, S, W)` is told of every forward pass. What `cache` holds already stands before all that is read."""

    def __init__(self, network: Any, book: Callable[[int, int, int], None], cache: Any = None) -> None:
        from transformers import DynamicCache

        self.network, self.book = network, book
        self.cache = DynamicCache() if cache is None else cache
        self.given = self.prefix = self.cache.get_seq_length()
        self.depth: list[int] = []
        self.seen = np.zeros((0, 0), bool)

    def extend_prefix(self, tokens: Sequence[int]) -> None:
        """Read `tokens` behind the prefix, as what all further sequences go on with. Nothing may stand behind the prefix yet."""
        assert not self.depth, "forget what stands behind the prefix first"
        for at in range(0, len(tokens), READ_TOKENS):
            part = tokens[at : at + READ_TOKENS]
            mask = np.ones((len(part), self.prefix + len(part)), bool)
            mask[:, self.prefix :] = np.tril(mask[:, self.prefix :])
            self._forward(part, range(self.prefix, self.prefix + len(part)), mask, [])
            self.prefix += len(part)

    def make_room(self, tokens: int) -> None:
        """Allow `tokens` tokens behind the prefix."""
        self.seen = np.zeros((tokens, tokens), bool)

    def read(self, tokens: Sequence[int], parents: Sequence[int], wanted: Sequence[int]) -> Tensor:
        """Read `tokens`, which follow the tokens numbered `parents` (numbered in the order of reading; parents come first, -1 is the prefix).

        Logits (W, V), float32, after those of `tokens` that `wanted` names (by place in `tokens`, ascending).
        """
        first, logits = len(self.depth), []
        for n, parent in enumerate(parents, start=first):
            if parent >= 0:
                self.seen[n] = self.seen[parent]
            self.seen[n, n] = True
            self.depth.append(self.depth[parent] + 1 if parent >= 0 else self.prefix)
        for at in range(first, first + len(tokens), READ_TOKENS):
            end = min(at + READ_TOKENS, first + len(tokens))
            mask = np.ones((end - at, self.prefix + end), bool)
            mask[:, self.prefix :] = self.seen[at:end, :end]
            asked = [w + first - at for w in wanted if at <= w + first < end]
            logits.append(self._forward(tokens[at - first : end - first], self.depth[at:end], mask, asked))
        return torch.cat(logits)

    def forget(self, prefix: int) -> None:
        """Go back to the first `prefix` tokens of the prefix."""
        prefix += self.given
        self.cache.crop(prefix - self.prefix - len(self.depth))
        self.prefix, self.depth = prefix, []

    def _forward(self, tokens: Sequence[int], positions: Sequence[int], mask_TS: np.ndarray, asked: Sequence[int]) -> Tensor:
        device = self.network.device
        output = self.network(
            input_ids=torch.tensor([tokens], device=device), position_ids=torch.tensor([list(positions)], device=device),
            attention_mask=as_bias(torch.from_numpy(mask_TS), self.network.dtype).to(device)[None, None], past_key_values=self.cache, use_cache=True,
            logits_to_keep=torch.tensor(list(asked), dtype=torch.long, device=device),
        )  # fmt: skip
        self.book(len(tokens), mask_TS.shape[1], len(asked))
        return output.logits[0].float()


def as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `mask` is True, the lowest finite number elsewhere (never -inf: padding that sees nothing would become nan)."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """How many tokens all of `sequences` begin with."""
    low, high = min(sequences), max(sequences)  # what the first and the last in order share, all share
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))


def groups(sequences: Sequence[list[int]], room: Sequence[int], most: int) -> Iterator[list[int]]:
    """Indices of `sequences` that are worth reading as one forest: neighbours in order (they share the most), up to `most` tokens that are not shared,
    `room` tokens for what follows each included. A longer one stands alone."""
    group: list[int] = []
    size = 0
    before: list[int] = []
    for i in sorted(range(len(sequences)), key=lambda i: sequences[i]):
        own = len(sequences[i]) - common_prefix([before, sequences[i]]) + room[i] if group else room[i]
        if group and size + own > most:
            yield group
            group, size, own = [], 0, room[i]
        group.append(i)
        size, before = size + own, sequences[i]
    if group:
        yield group
