"""The contract of models: scores are log-probabilities, generation agrees with them, and nothing depends on what else is asked at the same time."""

import math
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tolman.core.component import Component
from tolman.core.data import Corpus, Prompt
from tolman.core.errors import UserError
from tolman.core.protocols import LiveModel
from tolman.testing._world import world
from tolman.testing.component import alternatives

TOLERANCE = 1e-4
"""Relative, on nats: what matrix products in another order may change in float32."""


def check_model(component: Component) -> None:
    """Everything that a model promises, on a small world. The model is not trained: the promises hold for any weights."""
    me = component.address()
    corpus = world()
    model = component.create(corpus, seed=0)  # type: ignore[attr-defined]
    assert isinstance(model, LiveModel), f"{me}: create gives no LiveModel (it needs meter, context_tokens, render, score, generate)"
    check_render(me, model)
    check_scores(me, model, corpus)
    check_chain_rule(me, model)
    check_greedy(me, model, corpus)
    check_sampling(me, model, corpus)
    check_limits(me, model)
    check_meter(me, model)
    again = component.create(corpus, seed=0)  # type: ignore[attr-defined]
    assert _scores(again, corpus) == _scores(model, corpus), f"{me} is not deterministic: two models created with one seed score differently"
    check_storage(me, component, model, corpus)
    for field, value in alternatives(component):
        other = component.replace(field, value).create(corpus, seed=0)  # type: ignore[attr-defined]
        assert close(_scores(other, corpus), _scores(model, corpus)), f"{me}.{field} is operational, yet {value!r} changes the scores"


def close(first: Any, second: Any) -> bool:
    """Equal nested lists of nats, within TOLERANCE."""
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(close(a, b) for a, b in zip(first, second, strict=True))
    return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def check_render(me: str, model: LiveModel) -> None:
    """Documents in their order, then the trace, then the question, all unaltered."""
    parts = ("Bo lives in Bray.", "Ada lives in Ulm.", "Let me think.", "Jan lives in")
    text = model.render(Prompt(parts[3], parts[:2], parts[2]))
    at = [text.find(part) for part in parts]
    assert min(at) >= 0, f"{me}: what the model reads lacks {parts[at.index(-1)]!r}: {text!r}"
    assert at == sorted(at), f"{me}: documents, trace and question are not in this order: {text!r}"


def check_scores(me: str, model: LiveModel, corpus: Corpus) -> None:
    """Log-probabilities, each prompt for itself, exclusive continuations not above probability 1 together."""
    prompts, choices = _asked(corpus)
    scores = model.score(prompts, choices)
    assert [len(s) for s in scores] == [len(c) for c in choices], f"{me}: score does not give one number for each continuation"
    worst = max(n for row in scores for n in row)
    assert worst <= 1e-6, f"{me}: a log-probability is {worst}, above 0"
    assert not any(math.isnan(n) for row in scores for n in row), f"{me}: a log-probability is nan"
    assert model.score([], []) == [] and model.score(prompts[:1], [[]]) == [[]], f"{me}: asked about nothing, score does not answer with nothing"
    alone = [model.score([p], [c])[0] for p, c in zip(prompts, choices, strict=True)]
    assert close(alone, scores), f"{me}: scores depend on what else is in the batch"
    backward = model.score(prompts[::-1], [c[::-1] for c in choices[::-1]])
    assert close([row[::-1] for row in backward[::-1]], scores), f"{me}: scores depend on the order of prompts or continuations"
    (row,) = model.score(prompts[:1], [("Ada", "Bo", "Dov", "Finn", "Hana", "Iris", "Jan", "Ulm", "Vik", "Zell")])
    total = sum(math.exp(n) for n in row)
    assert total <= 1 + TOLERANCE, f"{me}: different words have together the probability {total:.4f}, above 1"


def check_chain_rule(me: str, model: LiveModel) -> None:
    """log p(a b c) = log p(a) + log p(b | a) + log p(c | a b). Where the template does not end with the question, only: a longer text is no likelier."""
    words = ["North", "Bray", "with", "Bo"]
    asked = Prompt("Ada lives in", ("Bo lives in Vik.",))
    for question in (asked, Prompt("Ada lives in")):
        prefixes = [" ".join(words[: i + 1]) for i in range(len(words))]
        (scores,) = model.score([question], [prefixes])
        assert all(b <= a + TOLERANCE * abs(a) + TOLERANCE for a, b in pairwise(scores)), (
            f"{me}: a longer continuation is likelier than its beginning: {scores}"
        )
        if not model.render(question).endswith(question.question):
            continue
        said = [" ".join((question.question, *words[:i])) for i in range(len(words))]
        parts = [row[0] for row in model.score([Prompt(s, question.documents) for s in said], [[w] for w in words])]
        sums = [sum(parts[: i + 1]) for i in range(len(words))]
        assert close(sums, scores), f"{me}: the score of {prefixes[-1]!r} is {scores[-1]:.5f}, but its words' scores add up to {sums[-1]:.5f} nats"


def check_greedy(me: str, model: LiveModel, corpus: Corpus) -> None:
    """Greedy texts repeat, do not depend on the batch, stop at the limit, and have the log-probability that `score` gives them."""
    prompts, _ = _asked(corpus)
    texts = model.generate(prompts, max_tokens=3)
    assert len(texts) == len(prompts) and all(len(t) == 1 for t in texts), f"{me}: generate does not give one text for each prompt"
    _same(me, texts, model.generate(prompts, max_tokens=3), "greedy generation is not deterministic")
    _same(me, texts, [model.generate([p], max_tokens=3)[0] for p in prompts], "greedy generation depends on what else is in the batch")
    _same(me, texts, model.generate(prompts[::-1], max_tokens=3)[::-1], "greedy generation depends on the order of the prompts")
    assert all(g.tokens <= 3 for (g,) in texts), f"{me}: generate exceeds max_tokens"
    assert all("\n" not in g.text for (g,) in texts), f"{me}: generate goes on after a line break"
    first = model.generate(prompts, max_tokens=1)
    assert all(g.tokens <= 1 for (g,) in first), f"{me}: generate exceeds max_tokens"
    assert all(b.text.startswith(a.text) for (a,), (b,) in zip(first, texts, strict=True)), f"{me}: a greedy text cut earlier is no beginning of the longer one"
    for prompt, (written,) in zip(prompts * 2, [*first, *texts], strict=True):
        if not written.text:
            continue
        ((nats,),) = model.score([prompt], [[written.text]])
        # a text that ended by itself also has the probability of ending there
        fits = written.nats <= nats + TOLERANCE * abs(nats) + TOLERANCE if written.finished else close(written.nats, nats)
        assert fits, f"{me}: the greedy text {written.text!r} says it has {written.nats:.5f} nats, but score gives {nats:.5f}"


def check_sampling(me: str, model: LiveModel, corpus: Corpus) -> None:
    """Draws depend on the seed (and the prompt) alone; another seed gives others, unless the model is certain."""
    prompts, _ = _asked(corpus)
    settings = {"max_tokens": 4, "samples": 3, "temperature": 1.0}
    drawn = model.generate(prompts, seed=1, **settings)
    assert all(len(d) == 3 for d in drawn), f"{me}: generate does not give as many samples as asked for"
    _same(me, drawn, model.generate(prompts, seed=1, **settings), "samples with one seed differ")
    some = list(range(len(prompts)))[::-2]
    _same(me, [drawn[i] for i in some], model.generate([prompts[i] for i in some], seed=1, **settings), "samples depend on what else is in the batch")
    if any(math.exp(g.nats) < 0.9 for row in drawn for g in row):
        other = model.generate(prompts, seed=2, **settings)
        assert _texts(other) != _texts(drawn), f"{me}: samples with two seeds are the same"
        assert any(len(set(row)) > 1 for row in _texts(drawn)), f"{me}: the samples of every prompt are all the same"


def check_limits(me: str, model: LiveModel) -> None:
    """What does not fit into the context is refused with a sentence, not cut silently."""
    long = Prompt("Ada " * (model.context_tokens + 1))
    for what, ask in (
        ("score", lambda: model.score([long], [["Ulm"]])),
        ("generate", lambda: model.generate([long], max_tokens=1)),
        ("score", lambda: model.score([Prompt("Ada")], [["Ulm " * model.context_tokens]])),
        ("generate", lambda: model.generate([Prompt("Ada")], max_tokens=model.context_tokens)),
    ):
        try:
            ask()
        except UserError:
            continue
        raise AssertionError(f"{me}: {what} accepts a prompt and answer longer than context_tokens = {model.context_tokens}")


def check_meter(me: str, model: LiveModel) -> None:
    """All that is computed is booked, in the phase under way."""
    prompt = Prompt("Ada lives in", ("Ada lives in Ulm.",))
    for what, ask in (("score", lambda: model.score([prompt], [["Ulm"]])), ("generate", lambda: model.generate([prompt], max_tokens=2))):
        before, elsewhere = model.meter.get("probe"), model.meter.get("train").tokens
        with model.meter.phase("probe"):
            ask()
        after = model.meter.get("probe")
        assert after.tokens >= before.tokens + 7, f"{me}: {what} books {after.tokens - before.tokens} tokens for a prompt of 7 or more"
        assert not after.flops < before.flops, f"{me}: {what} books negative FLOPs"
        assert after.seconds > before.seconds, f"{me}: the meter books no time"
        assert model.meter.get("train").tokens == elsewhere, f"{me}: {what} is booked under another phase than the one under way"


def check_storage(me: str, component: Component, model: Any, corpus: Corpus) -> None:
    """What `save` writes, `load` reads as the same model; a folder without one is refused with a sentence."""
    if not hasattr(model, "save"):
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        model.save(folder)
        loaded = component.load(folder)  # type: ignore[attr-defined]
        assert _scores(loaded, corpus) == _scores(model, corpus), f"{me}: a model saved and loaded scores differently"
        prompts, _ = _asked(corpus)
        _same(me, model.generate(prompts, max_tokens=3), loaded.generate(prompts, max_tokens=3), "a model saved and loaded writes differently")
        try:
            component.load(Path(scratch) / "nothing")  # type: ignore[attr-defined]
        except UserError:
            return
        raise AssertionError(f"{me}: load accepts a folder that does not exist")


def _asked(corpus: Corpus) -> tuple[list[Prompt], list[tuple[str, ...]]]:
    """Prompts of unequal lengths, and continuations of unequal numbers and lengths."""
    texts = [d.text for d in corpus.experiences]
    questions = corpus.asked()[:9]
    return [Prompt(q.prompt, tuple(texts[: i % 4])) for i, q in enumerate(questions)], [q.choices[: 2 + i % 3] for i, q in enumerate(questions)]


def _scores(model: LiveModel, corpus: Corpus) -> list[list[float]]:
    return model.score(*_asked(corpus))


def _texts(rows: Sequence[Sequence[Any]]) -> list[tuple[str, ...]]:
    return [tuple(g.text for g in row) for row in rows]


def _same(me: str, first: Sequence[Sequence[Any]], second: Sequence[Sequence[Any]], fault: str) -> None:
    assert _texts(first) == _texts(second), f"{me}: {fault}: {_texts(first)} and {_texts(second)}"
    for row, other in zip(first, second, strict=True):
        for a, b in zip(row, other, strict=True):
            assert a.tokens == b.tokens and a.finished == b.finished and close(a.nats, b.nats), f"{me}: {fault}: {a} and {b}"
