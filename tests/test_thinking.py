"""Thinking and voting: where the trace goes, what a cut one is worth, how samples are put to the vote, and how samples are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tolman.core.data import Answer, Generation, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.core.packing import pack
from tolman.models import tiny
from tolman.models._decode import CHUNK, Decoder
from tolman.models._draw import pick
from tolman.models._sampling import Draws, drawn
from tolman.models.scripted import Scripted
from tolman.models.tiny import Tiny
from tolman.scoring.choice import Choice
from tolman.scoring.exact import Exact
from tolman.scoring.vote import Vote, elected
from tolman.test_time.retrieval import Retrieval
from tolman.test_time.thinking import Thinking
from tolman.testing._world import world

CORPUS = world()
ASKED = CORPUS.asked(["recall"])[:3]
ADA = ASKED[0]
SMALL = Tiny(layers=2, width=32, heads=4, kv_heads=2, head_width=8, hidden=48, context_tokens=64)


def said(words: dict[str, str]) -> Scripted:
    return Scripted(answers=words)


def test_the_trace_is_written_after_the_request_and_stands_before_the_question():
    request = f"{ADA.prompt} think"
    model = said({request: "Ada lives in Ulm", f"{request} Ada lives in Ulm\n{ADA.prompt}": "Ulm"}).create(CORPUS, seed=0)
    (prompt,) = Thinking(budget_tokens=8).prompts(model, CORPUS, [ADA], seed=0)
    assert (prompt.question, prompt.trace, prompt.request, prompt.cut) == (ADA.prompt, "Ada lives in Ulm", request, False)
    (answer,) = Exact().judge(model, [prompt], [replace(ADA, answers=("Ulm",))])
    assert (answer.text, answer.verdict) == ("Ulm", "correct")


def test_a_trace_beyond_the_budget_is_cut_and_no_answer():
    model = said({f"{ADA.prompt} think": "a b c d"}).create(CORPUS, seed=0)
    for budget, cut in ((3, True), (4, False)):
        (prompt,) = Thinking(budget_tokens=budget).prompts(model, CORPUS, [ADA], seed=0)
        assert prompt.cut == cut and prompt.trace == " ".join("abcd"[:budget])
        for scoring in (Exact(), Choice()):
            (answer,) = scoring.judge(model, [prompt], [ADA])
            assert (answer.verdict == "truncated") == cut


def test_thinking_over_retrieved_documents_shows_them_for_both():
    over = Retrieval(retriever={"is": "memory/oracle", "distractors": 1})
    model = Scripted(default="so").create(CORPUS, seed=0)
    shown = over.prompts(model, CORPUS, ASKED, seed=4)
    thought = Thinking(context=over).prompts(model, CORPUS, ASKED, seed=4)
    assert [p.documents for p in thought] == [p.documents for p in shown] and all(p.trace == "so" for p in thought)
    assert model.render(thought[0]) == "\n".join((*shown[0].documents, f"{ADA.prompt} think so", ADA.prompt))


def test_several_samples_are_kept_and_one_is_no_sample():
    model = SMALL.create(CORPUS, seed=0)
    prompts = Thinking(budget_tokens=4, samples=5, temperature=1.0).prompts(model, CORPUS, ASKED, seed=1)
    assert all(len(p.samples) == 5 and p.samples[0] == replace(p, samples=()) for p in prompts)
    assert len({s.trace for p in prompts for s in p.samples}) > 5
    assert all(not p.samples for p in Thinking(budget_tokens=4).prompts(model, CORPUS, ASKED, seed=1))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"ask": "think"}, "must hold {question} once"),
        ({"ask": "{question} {answer}"}, "no other field"),
        ({"samples": 4}, "all the same at temperature 0: set a temperature"),
        ({"budget_tokens": 0}, "budget_tokens = 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Thinking(**fields)


# -- the vote -------------------------------------------------------------------------------------------------------------------------------------------


def answers(*texts: str) -> list[Answer]:
    verdicts = {"": Verdict.UNPARSED, "...": Verdict.TRUNCATED, "Ulm": Verdict.CORRECT}
    return [Answer(t, verdicts.get(t, Verdict.WRONG)) for t in texts]


@pytest.mark.parametrize(
    "texts, winner, verdict",
    [
        (("Vik", "Ulm", "ulm"), "Ulm", "correct"),
        (("Vik", "Ulm", "Ulm", "Vik"), "Vik", "wrong"),
        (("", "", "", "Ulm"), "Ulm", "correct"),
        (("...", ""), "...", "truncated"),
        (("Vik and more", "Vik", "Ulm"), "Vik and more", "wrong"),
    ],
)
def test_the_most_frequent_answer_that_can_be_read_wins_and_a_tie_goes_to_the_first(texts, winner, verdict):
    found = elected(answers(*texts), replace(ADA, answer_words=1))
    assert (found.text, found.verdict) == (winner, verdict) and len(found.samples) == len(texts)


def test_votes_are_counted_question_by_question():
    asked = [Question(f"q{i}", "k", f"say {i}", ("x",), "c", answer_words=1) for i in range(2)]
    script = {f"r t{i}{j}\nsay {i}": word for i, j, word in ((0, 0, "y"), (0, 1, "x"), (0, 2, "x"), (1, 0, "y"))}
    model = said(script).create(CORPUS, seed=0)
    several = tuple(Prompt("say 0", trace=f"t0{j}", request="r") for j in range(3))
    found = Vote(scoring=Exact()).judge(model, [replace(several[0], samples=several), Prompt("say 1", trace="t10", request="r")], asked)
    assert [a.verdict for a in found] == ["correct", "wrong"] and [[*a.samples] for a in found] == [["wrong", "correct", "correct"], []]
    assert Vote(scoring=Exact()).chance(asked[0], 0.25) == 0.25


# -- draws ----------------------------------------------------------------------------------------------------------------------------------------------


def test_draws_are_uniform_and_independent_of_one_another():
    table = Draws(range(2000)).table(50)
    assert table.min() >= 0 and table.max() < 1
    counts = np.histogram(table, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 43.8, "chi-square with 19 degrees of freedom, p = .001"
    for other in (table[1:], table[:, 1:]):
        assert abs(np.corrcoef(table[: len(other), : other.shape[1]].ravel(), other.ravel())[0, 1]) < 0.015
    assert (Draws([7, 3]).table(5)[:, 1] == Draws([3]).table(9)[:5, 0]).all()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature):
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, -30.0])
    n = 20_000
    found = drawn(logits.log_softmax(-1).expand(n, 5), temperature, torch.from_numpy(Draws(range(n)).table(1)[0]))
    share = (logits / temperature).softmax(-1)
    assert torch.bincount(found, minlength=5) / n == pytest.approx(share.numpy(), abs=0.015) and not (found == 4).any()


def test_tokens_of_pretrained_models_are_gumbels_maximum():
    logit_NV, seeds = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)), (1, 2, 3)
    for temperature in (1.0, 0.7):
        uniform_NV = torch.stack([torch.rand(1000, generator=torch.Generator().manual_seed(s)) for s in seeds])
        expected = (logit_NV / temperature - (-uniform_NV.clamp_min(1e-20).log()).log()).argmax(-1)
        assert torch.equal(pick(logit_NV, temperature, [torch.Generator().manual_seed(s) for s in seeds]), expected)
    assert torch.equal(pick(logit_NV, 0.0, []), logit_NV.argmax(-1))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_decoder_is_the_general_forward_pass(monkeypatch, kv_heads):
    model = Tiny(layers=2, width=32, heads=4, kv_heads=kv_heads, head_width=8, hidden=48).create(CORPUS, seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.network.parameters():  # gains that are not 1, and larger weights, so that mistakes show
            p.copy_(p * 4 if p.ndim == 2 else 0.5 + torch.rand(p.shape, generator=draw))
    prompts = [Prompt(q.prompt, (ADA.prompt,) * (i % 2)) for i, q in enumerate(ASKED)]
    settings = {"max_tokens": 40, "samples": 6, "temperature": 1.0, "seed": 2}
    quick = model.generate(prompts, **settings)
    monkeypatch.setattr(tiny.Decoder, "suits", staticmethod(lambda network: False))
    plain = model.generate(prompts, **settings)
    assert [[g.ids for g in row] for row in quick] == [[g.ids for g in row] for row in plain]
    assert [g.nats for row in quick for g in row] == pytest.approx([g.nats for row in plain for g in row], abs=1e-4)
    lengths = {g.tokens for row in quick for g in row}
    assert len(lengths) > 3 and max(lengths) > 2 * CHUNK and Decoder is tiny.Decoder, "texts end at different times, some after the cache has grown twice"


def test_log_probabilities_of_what_was_written_are_those_it_was_drawn_with():
    model = SMALL.create(CORPUS, seed=0)
    prompts = [Prompt(q.prompt) for q in ASKED]
    written = model.generate(prompts, max_tokens=6, samples=4, temperature=1.0, seed=0)
    rows: list[tuple[Prompt, Generation]] = [(p, g) for p, row in zip(prompts, written, strict=True) for g in row]
    batch = pack([model.continued(p, g.ids) for p, g in rows], 24)
    nats = model.logprobs(batch)
    assert nats.sum() == pytest.approx(sum(g.nats for _, g in rows), rel=1e-5)
    assert (nats != 0).sum() == sum(g.tokens for _, g in rows) == (batch.weight != 0).sum()


def test_a_text_is_spelled_as_it_is_written():
    model = SMALL.create(CORPUS, seed=0)
    ids = model.spelled("Ada lives in North Bray.")
    assert model.words.decode(ids[:-1]) == "Ada lives in North Bray ." and ids[-1] == model.words.line_break
