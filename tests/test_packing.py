"""Packing keeps every example, whole and apart; a stream gives each example once a pass and goes on where it stood."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolman.core.packing import Example, Stream, pack

LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=40)


def made(lengths: list[int]) -> list[Example]:
    """Examples whose tokens are all different, and none 0."""
    ends = np.cumsum([0, *lengths])
    return [Example(np.arange(a, b) + 1, np.arange(a, b, dtype=np.float32) / 7) for a, b in pairwise(ends)]


@given(LENGTHS, st.integers(20, 64))
def test_packing_loses_nothing_and_mixes_nothing(lengths, row_tokens):
    examples = made(lengths)
    batch = pack(examples, row_tokens)
    assert batch.token.shape == batch.segment.shape == batch.weight.shape and batch.token.shape[1] == row_tokens
    assert batch.tokens == sum(lengths) == int((batch.token > 0).sum())
    found = []
    for token, segment, weight in zip(batch.token, batch.segment, batch.weight, strict=True):
        used = int((segment > 0).sum())
        assert (segment[:used] > 0).all() and not segment[used:].any() and not weight[used:].any(), "padding stands at the end only and counts nothing"
        assert set(np.diff(segment[:used])) <= {0, 1} and segment[0] == 1, "segments are numbered from 1"
        found += [Example(token[segment == s], weight[segment == s]) for s in range(1, segment.max() + 1)]
    assert len(found) == len(examples)
    found.sort(key=lambda e: int(e.token[0]))
    for mine, its in zip(examples, found, strict=True):
        assert (mine.token == its.token).all() and (mine.weight == its.weight).all()


@given(LENGTHS, st.integers(20, 64))
def test_rows_are_begun_only_where_no_earlier_one_has_room(lengths, row_tokens):
    segment = pack(made(lengths), row_tokens).segment
    first, used = (segment == 1).sum(1).tolist(), (segment > 0).sum(1).tolist()
    assert all(used[i] + first[j] > row_tokens for j in range(len(segment)) for i in range(j))


@given(LENGTHS, st.integers(20, 64))
def test_packing_is_deterministic(lengths, row_tokens):
    one, two = (pack(made(lengths), row_tokens) for _ in range(2))
    assert (one.token == two.token).all() and (one.segment == two.segment).all()


def test_what_does_not_fit_is_our_mistake():
    with pytest.raises(AssertionError, match="an example of 9 tokens does not fit in a row of 8"):
        pack(made([9]), 8)


@given(LENGTHS, st.integers(1, 60), st.integers(0, 3))
def test_every_pass_gives_each_example_once_in_a_new_order(lengths, tokens, seed):
    examples = made(lengths)
    stream, taken = Stream(examples, seed, "pool"), []
    while stream.epoch < 2:
        chunk = list(stream.take(tokens))
        size = sum(map(len, chunk))
        assert size >= tokens > size - len(chunk[-1]), "no more than needed"
        taken += [int(e.token[0]) for e in chunk]
    n = len(examples)
    assert sorted(taken[:n]) == sorted(taken[n : 2 * n]) == [int(e.token[0]) for e in examples]
    if n > 8:
        assert taken[:n] != taken[n : 2 * n]


@given(LENGTHS, st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 7))
def test_a_stream_set_to_a_state_goes_on_with_the_same_examples(lengths, asked, at):
    examples, at = made(lengths), at % len(asked)

    def firsts(stream: Stream, parts: list[int]) -> list[int]:
        return [int(e.token[0]) for tokens in parts for e in stream.take(tokens)]

    stream = Stream(examples, 5, "pool")
    firsts(stream, asked[:at])
    state = dict(stream.state)
    expected = firsts(stream, asked[at:])
    again = Stream(examples, 5, "pool")
    again.state = state
    assert firsts(again, asked[at:]) == expected and again.state == stream.state


def test_streams_with_other_seeds_or_names_have_other_orders():
    examples = made([1] * 30)
    orders = {tuple(int(e.token[0]) for e in Stream(examples, seed, name).take(30)) for seed in (0, 1) for name in ("a", "b")}
    assert len(orders) == 4


def test_an_empty_pool_is_our_mistake():
    with pytest.raises(AssertionError, match="the pool 'x' has no examples"):
        Stream([], 0, "x")
