"""The models without a network: the bigram against counts, closed forms and finite differences; the script against its table."""

import math

import numpy as np
import pytest

from tolman.core.data import Document, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import Batch, Example, pack
from tolman.core.seeds import rng
from tolman.models.bigram import Bigram, BigramModel
from tolman.models.scripted import Scripted
from tolman.testing._world import world


def bigram(*texts: str, **fields) -> BigramModel:
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    return Bigram(**fields).create(world().__class__(documents, (), {}), seed=0)


# -- bigram -------------------------------------------------------------------------------------------------------------------------------------------


def test_scores_are_smoothed_shares_of_counts():
    model = bigram("a b a c", "a b", smoothing=0.5)
    words = len(model.words)  # <|document|> <|unknown|> line break a b c
    assert words == 6
    ((after_a, chain, begin),) = model.score([Prompt("c a")], [["b", "b a", "c"]])
    assert after_a == pytest.approx(math.log((2 + 0.5) / (3 + 0.5 * words)))
    assert chain == pytest.approx(after_a + math.log((1 + 0.5) / (2 + 0.5 * words)))
    assert begin == pytest.approx(math.log((1 + 0.5) / (3 + 0.5 * words)))
    assert np.exp(model.logits).sum(1)[model.index["a"]] == pytest.approx(3 + 0.5 * words)


def test_only_targets_are_counted():
    model = bigram("x", smoothing=1.0)
    (example,) = model.examples([Document("d", "x x x", targets=((2, 3),))])
    assert example.weight.tolist() == [0, 0, 1, 0]


def test_uncounted_is_uniform():
    model = bigram("a b a c", counted=False)
    assert model.score([Prompt("a")], [["b", "c"]])[0] == pytest.approx([-math.log(len(model.words))] * 2)
    assert not model.logits.any()


def test_greedy_follows_the_counts_to_the_end():
    model = bigram("a b c")
    ((written,),) = model.generate([Prompt("a")], max_tokens=9)
    assert (written.text, written.tokens, written.finished) == ("b c", 3, True)
    ((cut,),) = model.generate([Prompt("a")], max_tokens=1)
    assert (cut.text, cut.tokens, cut.finished) == ("b", 1, False)


def _random(seed: int) -> tuple[BigramModel, Batch]:
    """A model with random logits, and a batch of two rows with padding, two segments and advantages for weights."""
    model = bigram("a b c d e")
    draw = rng(seed, "test_models")
    model.logits = draw.normal(size=model.logits.shape)
    examples = [Example(draw.integers(0, len(model.words), n), np.r_[0.0, draw.normal(size=n - 1)].astype(np.float32)) for n in (5, 3, 6, 4)]
    return model, pack(examples, 9)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(seed):
    model, batch = _random(seed)
    gradient, step = model.gradient(batch), 1e-5
    assert np.abs(gradient).max() > 0.01
    for at in np.ndindex(model.logits.shape):
        kept = model.logits[at]
        model.logits[at] = kept + step
        above = model.loss(batch)
        model.logits[at] = kept - step
        below = model.loss(batch)
        model.logits[at] = kept
        assert gradient[at] == pytest.approx((above - below) / (2 * step), abs=1e-8)


def test_the_loss_is_that_of_the_scores():
    model, _ = _random(0)
    examples = model.examples([Document("1", "a b c"), Document("2", "d e", targets=((2, 3),))])
    ((first,),) = model.score([Prompt("")], [["a b c <|document|>"]])
    ((second,),) = model.score([Prompt("d")], [["e"]])
    assert model.loss(pack(examples, 20)) == pytest.approx(-(first + second) / 5)


def test_counting_is_where_the_gradient_ends():
    """Counts are the best fit: with almost no smoothing the gradient is 0 there and the loss lower than beside it."""
    model = bigram("a b a c a b d", "b b a", smoothing=1e-9)
    batch = pack(model.examples([Document("1", "a b a c a b d"), Document("2", "b b a")]), 16)
    seen = model.logits > -10
    assert np.abs(model.gradient(batch)).max() < 1e-6
    best = model.loss(batch)
    model.logits = model.logits + np.where(seen, rng(0, "test_models").normal(size=model.logits.shape), 0.0)
    assert model.loss(batch) > best


def test_samples_follow_the_tempered_distribution():
    model, _ = _random(4)
    (drawn,) = model.generate([Prompt("a")], max_tokens=1, samples=6000, temperature=2.0, seed=1)
    share = np.exp(model.logits[model.index["a"]] / 2)
    share /= share.sum()
    for word in "bcd":
        p = share[model.index[word]]
        assert abs(np.mean([g.text == word for g in drawn]) - p) < 4.5 * math.sqrt(p * (1 - p) / 6000)


def test_a_damaged_table_is_named(tmp_path):
    model = bigram("a b")
    model.save(tmp_path)
    np.savez(tmp_path / "bigram.npz", words=np.asarray(model.words), logits=model.logits[:-1])
    with pytest.raises(UserError, match=r"bigram\.npz is damaged"):
        Bigram().load(tmp_path)
    (tmp_path / "bigram.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"bigram\.npz cannot be read"):
        Bigram().load(tmp_path)


# -- scripted -------------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def script():
    spec = Scripted(answers={"Ada lives in": "North Bray .", "Ada lives in North": "Ulm"}, default="who knows", nats={"odds": {"heads": -0.5}}, other_nats=-7.0)
    return spec.create(world(), seed=0)


def test_a_script_is_followed(script):
    asked = [Prompt("Ada lives in"), Prompt("Ada lives in North"), Prompt("Bo")]
    texts = [(g.text, g.tokens, g.nats, g.finished) for (g,) in script.generate(asked, max_tokens=2)]
    assert texts == [("North Bray", 2, 0.0, False), ("Ulm", 1, 0.0, True), ("who knows", 2, 0.0, True)]
    assert script.generate(asked[:1], max_tokens=9, samples=2, temperature=3.0, seed=4)[0][1].text == "North Bray ."


def test_departures_from_the_script_are_unlikely_by_the_word(script):
    prompts = [Prompt("Ada lives in"), Prompt("Ada lives in North Bray"), Prompt("odds")]
    scores = script.score(prompts, [["North Bray", "North Ulm now", "Ulm"], [".", "Bray"], ["heads", "who", "tails"]])
    assert scores == [[0.0, -14.0, -7.0], [-7.0, -7.0], [-0.5, 0.0, -7.0]]


def test_documents_are_part_of_what_a_script_reads(script):
    prompt = Prompt("Bo", ("Ada lives in Ulm.",), "Hm.")
    assert script.render(prompt) == "Ada lives in Ulm.\nHm.\nBo"
    assert script.generate([Prompt("lives in", ("Ada",))], max_tokens=1)[0][0].text == "who"


def test_another_script_is_not_loaded(script, tmp_path):
    script.save(tmp_path)
    with pytest.raises(UserError, match="another script"):
        Scripted().load(tmp_path)
    with pytest.raises(UserError, match="no weights to train"):
        script.examples([])
