"""Context distillation: the loss is plain KL on full logits, its gradient that of finite differences, and the student comes to answer as the teacher does."""

import numpy as np
import pytest
import torch

from tolman.augment.rules import Rules
from tolman.core.component import Component
from tolman.core.data import Prompt
from tolman.core.errors import UserError
from tolman.models.hf import Hf
from tolman.models.tiny import Tiny
from tolman.testing import MemoryCheckpoints, Silent, check_train_time
from tolman.testing._world import world
from tolman.testing.train_time import Interrupted, same, weights
from tolman.train_time._self_study import answers, divergence, from_dict, lessons
from tolman.train_time.distil import Distil
from tolman.train_time.pretrain import Pretrain

LLAMA = Hf(path="random", dtype="float32")
TINY = Tiny(layers=1, width=32, heads=2, kv_heads=1, head_width=16, hidden=64, context_tokens=64)
SHORT: dict[str, object] = {"steps": 16, "batch_tokens": 96, "max_tokens": 3, "documents": 2, "lr": 0.02}
LORA = Distil(rank=4, **SHORT)
FULL = Distil(weights="full", **SHORT)


def distilled(method: Distil, model: Component = TINY, **given):
    live, watch = model.create(world(), seed=0), given.pop("watch", Silent())
    method.train(live, world(), seed=0, checkpoints=given.pop("checkpoints", MemoryCheckpoints()), watch=watch)
    return live, watch


def plain_logits(model, token: np.ndarray) -> torch.Tensor:
    """Logits after each token but the last, by a forward pass over this text alone."""
    if isinstance(model.spec, Hf):
        return model.network(torch.from_numpy(token)[None]).logits[0, :-1]
    place = torch.arange(len(token))[None]
    return model.network.logits(model.network(torch.from_numpy(token)[None], place))[0, :-1]


def studied(model, **how):
    return Distil(documents=2, max_tokens=3, **how).studied(model, world(), seed=0)


@pytest.mark.parametrize("spec", [LLAMA, TINY], ids=["hf", "tiny"])
def test_the_loss_is_the_divergence_on_full_logits_and_so_is_its_gradient(spec):
    model = spec.create(world(), seed=0)
    model.trained_dtype = torch.float32
    batch = lessons(model, world(), studied(model)[0])[:12]
    with torch.no_grad():
        wanted = answers(model, [lesson.taught for lesson in batch])
    ours = divergence(wanted, answers(model, batch))
    total, tokens = torch.zeros(()), 0
    for lesson in batch:
        n = int((lesson.weight != 0).sum())
        assert lesson.taught is not None and lesson.taught.token[-n:].tolist() == lesson.token[-n:].tolist() and len(lesson.taught) > len(lesson)
        p = plain_logits(model, lesson.taught.token)[-n:].softmax(-1).detach()
        q = plain_logits(model, lesson.token)[-n:].softmax(-1)
        total, tokens = total + (p * (p.log() - q.log())).sum(), tokens + n
    assert float(ours.detach()) == pytest.approx(float((total / tokens).detach()), rel=1e-4) and float(ours.detach()) > 1e-4
    weighed = [p for p in model.network.parameters() if p.requires_grad]
    for mine, plain in zip(torch.autograd.grad(ours, weighed), torch.autograd.grad(total / tokens, weighed), strict=True):
        torch.testing.assert_close(mine, plain, atol=2e-5, rtol=1e-3)


def test_the_gradient_of_the_divergence_is_that_of_finite_differences():
    draw = torch.Generator().manual_seed(0)
    wanted, given = (torch.randn(5, 7, generator=draw, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x: divergence(wanted, x), (given.requires_grad_(),))
    assert float(divergence(wanted, wanted)) == pytest.approx(0, abs=1e-12)


def test_adapters_keep_the_contract_of_methods():
    check_train_time(LORA.replace("steps", 12), LLAMA)


@pytest.mark.parametrize("method, spec", [(FULL.replace("lr", 0.01), LLAMA), (LORA.replace("rank", 8), LLAMA)], ids=["full", "lora"])
def test_the_student_answers_without_documents_as_the_teacher_does_with_them(method, spec):
    """All documents before each practice question: what the teacher then says is one distribution, which the student can take on wholly."""
    method = method.replace_all({"prompts": "practice", "each": 4, "documents": None, "steps": 60})
    teacher = spec.create(world(), seed=0)
    studies, _ = method.studied(teacher, world(), seed=0)
    read = lessons(teacher, world(), studies)
    student, watch = distilled(method, spec)
    with torch.no_grad():
        wanted = answers(teacher, [lesson.taught for lesson in read])
        apart, left = float(divergence(wanted, answers(teacher, read))), float(divergence(wanted, answers(student, read)))
    assert apart > 0.5 and left < 0.1 * apart
    assert watch.kept["distilled"]["prompts"] == "practice" and watch.kept["distilled"]["lessons"] == len(studies) == 32


def test_an_interruption_changes_nothing_whether_the_first_stage_was_its_own_or_another_training():
    first = Pretrain(steps=8, batch_tokens=128)
    method = FULL.replace("first", first)
    whole, _ = distilled(method)
    model = TINY.create(world(), seed=0)
    first.train(model, world(), seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())
    trained = weights(model)
    checkpoints = MemoryCheckpoints(every=4)
    with pytest.raises(Interrupted):
        method.go_on(model, world(), seed=0, checkpoints=checkpoints, watch=Silent(until=18))
    again = TINY.create(world(), seed=0)
    again.network.load_state_dict(trained)
    watch = Silent()
    method.go_on(again, world(), seed=0, checkpoints=checkpoints, watch=watch)
    assert watch.steps[0] == 17 and same(weights(whole), weights(again)) and not same(weights(whole), trained)


# -- what is studied ------------------------------------------------------------------------------------------------------------------------------------


def test_continuations_begin_as_documents_do_and_the_window_holds_their_source():
    model = TINY.create(world(), seed=0)
    studies, about = studied(model, each=3)
    texts = {d.id: d.text for d in world().experiences}
    assert about["lessons"] == len(studies) == 3 * 20
    for s in studies:
        assert len(s.documents) == 2 and any(texts[id].startswith(s.prompt + " ") for id in s.documents)
        assert (
            len(s.ids) <= 3 and model.words.decode([i for i in s.ids if i not in (model.words.document, model.words.line_break, model.words.pad)]) == s.answer
        )
    everything, _ = Distil(documents=None, max_tokens=1, each=1).studied(Tiny(layers=1, context_tokens=512).create(world(), seed=0), world(), seed=0)
    assert {s.documents for s in everything} == {tuple(texts)}


def test_practice_questions_are_studied_and_test_questions_never():
    studies, _ = studied(TINY.create(world(), seed=0), prompts="practice", each=1)
    assert [s.prompt for s in studies] == [q.prompt for q in world().asked(split="practice")]
    assert all(set(q.support) <= set(s.documents) for q, s in zip(world().asked(split="practice"), studies, strict=True))


def test_what_an_augmenter_begins_is_studied_after_its_sources():
    rules = Rules(inverses={"lives in": "is home to"})
    studies, about = studied(TINY.create(world(), seed=0), prompts="written", augment=rules, each=1)
    lives = {d.text.removesuffix(".").split(" lives in ")[1]: d.id for d in world().experiences if " lives in " in d.text}
    assert {s.prompt for s in studies} == {f"{town} is home to" for town in lives}
    assert all(lives[s.prompt.removesuffix(" is home to")] in s.documents for s in studies)
    assert about["answers"]["documents"] == 10 and about["leaks_in_prompts"] == 0
    with pytest.raises(UserError, match="set train_time.augment"):
        studied(TINY.create(world(), seed=0), prompts="written")


def test_a_model_that_writes_no_question_is_quoted():
    with pytest.raises(UserError, match="nothing to study: prompts = questions gives no prompt from 20 documents; asked 20 times, the model came back with '"):
        studied(LLAMA.create(world(), seed=0), prompts="questions", each=1)


def test_studies_are_what_the_record_keeps():
    checkpoints = MemoryCheckpoints(every=4)
    distilled(FULL, checkpoints=checkpoints)
    state = checkpoints.load()
    assert state is not None and state["phase"] == "distil"
    assert [from_dict(s) for s in state["state"]["studies"]] == FULL.studied(TINY.create(world(), seed=0), world(), seed=0)[0]


def test_a_teacher_with_an_adapter_is_refused():
    live, _ = distilled(LORA, LLAMA)
    with pytest.raises(UserError, match="without an adapter"):
        LORA.train(live, world(), seed=0, checkpoints=MemoryCheckpoints(), watch=Silent())


def test_teaching_is_booked(tmp_path):
    live, _ = distilled(FULL)
    assert live.meter.get("generate").tokens > 0 and live.meter.get("train").flops > 0
    prompt = Prompt("Ada lives in")
    assert live.score([prompt], [["Ulm"]]) != TINY.create(world(), seed=0).score([prompt], [["Ulm"]])


# -- the embedded model ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_embedded_model_asks_itself_questions_and_learns_its_answers():
    corpus, spec = world(), Hf(dtype="bfloat16")
    method = Distil(prompts="questions", documents=1, each=1, temperature=0.0, max_tokens=16, steps=20, batch_tokens=128, lr=1e-3)
    teacher = spec.create(corpus, seed=0)
    studies, _ = method.studied(teacher, corpus, seed=0)
    assert len(studies) >= 10 and all(s.prompt.endswith("?") for s in studies)
    student, _ = distilled(method, spec)
    read = lessons(teacher, corpus, studies)
    with torch.no_grad():
        wanted = answers(teacher, [lesson.taught for lesson in read])
        apart, left = float(divergence(wanted, answers(teacher, read))), float(divergence(wanted, answers(student, read)))
    assert len({s.prompt for s in studies}) >= 0.8 * len(studies), "different questions about different documents"
    assert left < 0.5 * apart
