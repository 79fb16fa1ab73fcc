"""The contracts of test-time methods and of retrievers.

The question comes last and unaltered, nothing that may not be seen is shown, and each question stands for itself.
"""

from collections.abc import Sequence
from dataclasses import replace

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Prompt, Question
from tolman.core.leaks import find_leaks
from tolman.core.protocols import LiveModel
from tolman.models.bigram import Bigram
from tolman.testing._world import world

ORACLE = "memory/oracle"


def check_test_time(method: Component, model: LiveModel | None = None, corpus: Corpus | None = None) -> None:
    """Everything that a test-time method promises, with `model` (None: a bigram model) on `corpus` (None: a small world)."""
    me, corpus = method.address(), corpus or world()
    model = model or Bigram().create(corpus, seed=0)
    questions, digest = corpus.asked(), corpus.digest()

    def prompts(asked: Sequence[Question], seed: int = 0, shown: Corpus = corpus) -> list[Prompt]:
        return method.prompts(model, shown, asked, seed=seed)  # type: ignore[attr-defined]

    found = prompts(questions)
    assert len(found) == len(questions), f"{me} gives {len(found)} prompts for {len(questions)} questions"
    assert prompts([]) == [], f"{me} gives prompts where nothing is asked"
    for question, prompt in zip(questions, found, strict=True):
        check_prompt(f"{me}: question {question.id!r}", model, corpus, question, prompt)
    assert prompts(questions) == found, f"{me} is not deterministic: one seed gives different prompts"
    assert prompts(questions[::-1]) == found[::-1], f"{me}: prompts depend on the order of the questions"
    assert prompts(questions[3:5]) == found[3:5], f"{me}: prompts depend on what else is asked"
    veiled = replace(corpus, questions=tuple(replace(q, answers=("Ada",), choices=()) for q in corpus.questions))
    assert prompts(veiled.asked(), shown=veiled) == found, f"{me}: prompts depend on the answers or choices of the questions"
    assert corpus.digest() == digest, f"{me} changes the corpus"
    retriever = getattr(method, "retriever", None)
    if isinstance(retriever, Component) and retriever.address() == ORACLE:
        for question, prompt in zip(questions, found, strict=True):
            missing = [id for id in question.support if not any(corpus.by_id[id].text in text for text in prompt.documents)]
            assert not missing, f"{me}: the oracle found document {missing[0]!r} for question {question.id!r}, but it is not shown"


def check_prompt(me: str, model: LiveModel, corpus: Corpus, question: Question, prompt: Prompt) -> None:
    """One prompt: the question as it is, and before it nothing that is an exercise or under test."""
    assert isinstance(prompt, Prompt) and prompt.question == question.prompt, f"{me} is asked as {getattr(prompt, 'question', prompt)!r}, not as it stands"
    text = model.render(prompt)
    last = text.rfind(question.prompt)
    assert last >= max((text.rfind(d) for d in prompt.documents), default=-1), f"{me}: the question does not come last: {text!r}"
    assert all(isinstance(d, str) and d.strip() for d in prompt.documents), f"{me} is shown an empty document"
    exercises = {d.text for d in corpus.documents if d.role != "experience"}
    assert not exercises & set(prompt.documents), f"{me} is shown an exercise: {sorted(exercises & set(prompt.documents))[0]!r}"
    leaks = find_leaks((Document("shown", d) for d in (*prompt.documents, prompt.trace)), corpus.forbidden)
    assert not leaks, f"{me} is shown what is under test: {leaks[0].phrase!r}"


def check_retriever(retriever: Component, corpus: Corpus | None = None) -> None:
    """Everything that a retriever promises, on `corpus` (None: a small world): experiences of the corpus, none twice, the same whatever else is asked."""
    me, corpus = retriever.address(), corpus or world()
    questions = corpus.asked()

    def retrieve(asked: Sequence[Question], seed: int = 0) -> list[list[Document]]:
        return retriever.retrieve(corpus, asked, seed=seed)  # type: ignore[attr-defined]

    found = retrieve(questions)
    assert len(found) == len(questions), f"{me} answers {len(found)} of {len(questions)} questions"
    for question, documents in zip(questions, found, strict=True):
        ids = [d.id for d in documents]
        assert len(ids) == len(set(ids)), f"{me}: a document is found twice for question {question.id!r}"
        strange = [d.id for d in documents if corpus.by_id.get(d.id) != d]
        assert not strange, f"{me}: document {strange and strange[0]!r}, found for question {question.id!r}, is not in the corpus"
        exercises = [d.id for d in documents if d.role != "experience"]
        assert not exercises, f"{me}: document {exercises and exercises[0]!r}, found for question {question.id!r}, is an exercise"
    assert retrieve(questions) == found, f"{me} is not deterministic: one seed finds different documents"
    assert retrieve(questions[::-1]) == found[::-1], f"{me}: what is found depends on the order of the questions"
    assert retrieve(questions[2:4]) == found[2:4], f"{me}: what is found depends on what else is asked"
