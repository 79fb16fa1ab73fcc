"""Random words to be copied: what they look like, that they go on where they stopped, and that a model learns to look back from them alone."""

import numpy as np
import pytest

from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.datasets.reversals import Reversals
from tolman.models.tiny import Tiny
from tolman.testing.train_time import MemoryCheckpoints, Silent
from tolman.train_time._copying import LONGEST, Copying, words_of
from tolman.train_time.pretrain import Pretrain

BREAK = 3


def test_the_second_part_has_the_records_of_the_first_and_predicts_all_but_their_beginnings() -> None:
    stream = Copying(range(10, 200), BREAK, seed=0)
    shapes, reordered = set(), 0
    for example in stream.take(20_000):
        assert len(example) <= LONGEST
        lines = [[]]
        for token, weight in zip(example.token.tolist(), example.weight.tolist(), strict=True):
            if token == BREAK:
                assert weight == 0
                lines.append([])
            else:
                lines[-1].append((token, weight))
        half = len(lines) // 2
        words = [[w for w, _ in line] for line in lines]
        assert sorted(words[:half]) == sorted(words[half:]) and len({w for line in words[:half] for w in line}) == sum(map(len, words[:half]))
        assert all(w == 0 for line in lines[:half] for _, w in line)
        assert all([w for _, w in line] == [0.0] + [1.0] * (len(line) - 1) for line in lines[half:])
        shapes.add((half, len(words[0])))
        reordered += words[:half] != words[half:]
    assert {n for n, _ in shapes} == set(range(2, 7)) and {n for _, n in shapes} == set(range(2, 6)) and reordered > 100


def test_it_goes_on_where_its_state_says() -> None:
    one, other = Copying(range(10, 60), BREAK, seed=5), Copying(range(10, 60), BREAK, seed=5)
    list(one.take(500))
    other.state = dict(one.state)
    for a, b in zip(one.take(500), other.take(500), strict=True):
        assert np.array_equal(a.token, b.token)
    assert not np.array_equal(next(one.take(1)).token, next(Copying(range(10, 60), BREAK, seed=6).take(1)).token)


def test_a_small_vocabulary_still_makes_sequences_of_distinct_words() -> None:
    for example in Copying(range(10, 15), BREAK, seed=0).take(300):
        first = example.token[: len(example) // 2]
        assert len(set(first[first != BREAK].tolist())) == (first != BREAK).sum()
    batch = pack(list(Copying(range(10, 15), BREAK, seed=0).take(300)), LONGEST)
    assert words_of([list(Copying(range(10, 15), BREAK, seed=0).take(300))], [BREAK, None]) == list(range(10, 15)) and batch.weight.sum() > 0


def test_a_model_that_sees_both_ways_has_nothing_to_copy() -> None:
    corpus = Reversals(**Reversals.example).build(0)
    model = Tiny(layers=1, width=32, heads=1, kv_heads=1, hidden=32, attention="bidirectional").create(corpus, seed=0)
    with pytest.raises(UserError, match="copying_share=0"):
        Pretrain(objective="masked", copying_share=0.2, steps=1).train(model, corpus, seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
