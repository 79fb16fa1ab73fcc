"""Datasets with a fault planted in them. Another process imports this file to build them there, so it imports little."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tolman.core.component import Component
from tolman.core.data import Corpus, Document
from tolman.datasets.reversals import Reversals


class Planted(Component):
    """The reversal world with one fault in it."""

    fault: str = ""
    """Which."""

    def build(self, seed: int) -> Corpus:
        corpus = Reversals(**Reversals.example).build(0 if self.fault == "seed" else seed)
        return FAULTS[self.fault][0](corpus) if self.fault else corpus


def _documents(corpus: Corpus, *more: Document) -> Corpus:
    return replace(corpus, documents=(*corpus.documents, *more))


def _first(corpus: Corpus, of: str, **changes: Any) -> Corpus:
    """The first question of kind `of` changed."""
    at = next(i for i, q in enumerate(corpus.questions) if q.kind == of)
    questions = list(corpus.questions)
    questions[at] = replace(questions[at], **{k: v(questions[at]) if callable(v) else v for k, v in changes.items()})
    return replace(corpus, questions=tuple(questions))


def _kind(corpus: Corpus, name: str, **changes: Any) -> Corpus:
    return replace(corpus, kinds={**corpus.kinds, name: replace(corpus.kinds[name], **changes)})


def _last_word_span(document: Document, end: int) -> Document:
    return replace(document, targets=((0, len(document.text) + end),))


def _answer_always(corpus: Corpus) -> Corpus:
    """Every question of a kind has one and the same answer, which stands first among the candidates."""
    (name,) = {c for c in corpus.kinds["trained_forward"].candidates[:1]}
    fixed = tuple(
        replace(q, answers=(name,), choices=(name, *(c for c in q.choices if c != name and c not in q.answers))) if q.kind == "trained_forward" else q
        for q in corpus.questions
    )
    return replace(corpus, questions=fixed)


def _in_hash_order(corpus: Corpus) -> Corpus:
    return replace(corpus, documents=tuple({d.id: d for d in corpus.documents}[id] for id in set(corpus.by_id)))


def _with_process_noise(corpus: Corpus) -> Corpus:
    return _documents(corpus, Document(f"noise:{np.random.default_rng().integers(1 << 60)}", "f01 f02"))


def _renamed(corpus: Corpus) -> Corpus:
    """One entity's name has a hyphen."""
    corpus = _first(corpus, REVERSED, answers=("Mid-Wich",), choices=())
    return _kind(corpus, REVERSED, candidates=("Mid-Wich", *corpus.kinds[REVERSED].candidates[1:]))


def _with_a_memory(corpus: Corpus) -> Corpus:
    return _documents(corpus, Document("memory", "f01" if "pytest" in sys.modules else "f02"))


REVERSED = "heldout_reversal"
FAULTS: dict[str, tuple[Callable[[Corpus], Corpus], str]] = {
    "leak": (lambda c: _documents(c, Document("extra", f"f01 {c.forbidden[0].upper()} , f02")), "states what is under test"),
    "leak nobody forbade": (lambda c: replace(_documents(c, Document("extra", c.forbidden[0])), forbidden=("zzz",)), "states what is under test"),
    "nothing forbidden": (lambda c: replace(c, forbidden=()), "forbids no statement"),
    "duplicate choice": (lambda c: _first(c, REVERSED, choices=lambda q: (*q.choices, f" {q.choices[0].upper()}")), "has the choice .* twice"),
    "duplicate answer": (
        lambda c: _first(c, REVERSED, answers=lambda q: (*q.answers, next(x for x in q.choices if x not in q.answers))), "more than one right answer",
    ),
    "answer missing": (lambda c: _first(c, REVERSED, choices=lambda q: tuple(x for x in q.choices if x not in q.answers)), "no right answer among its choices"),
    "empty answer": (lambda c: _first(c, REVERSED, answers=("...",), choices=()), "empty answer"),
    "no answer": (lambda c: _first(c, REVERSED, answers=()), "has no answer"),
    "unknown choice": (lambda c: _first(c, REVERSED, choices=lambda q: (*q.choices, "Nobody")), "true of nothing else"),
    "long answer": (lambda c: _first(c, REVERSED, answers=lambda q: (f"{q.answers[0]} again",), choices=()), "which its answer .* exceeds"),
    "strange answer": (lambda c: _first(c, REVERSED, answers=("Nobody",), choices=()), "not among the candidates"),
    "hyphen": (lambda c: _documents(_renamed(c), Document("extra", "Mid-Wich contains")), "judged to be another"),
    "chance too low": (lambda c: _kind(c, "trained_forward", chance=0.01), "states chance 0.0100 .* a guesser is right"),
    "chance too high": (lambda c: _kind(c, "trained_forward", chance=0.3), "states chance 0.3000 .* a guesser is right"),
    "one answer always": (_answer_always, "the control answerer 'swapped' is right in 1.000"),
    "dangling support": (lambda c: _first(c, REVERSED, support=("nowhere",)), "which does not exist"),
    "support by exercise": (lambda c: _first(c, REVERSED, support=("episode:0",)), "is no experience"),
    "shared cluster": (lambda c: _first(c, "trained_forward", split="practice"), "practice and test share the cluster"),
    "unknown split": (lambda c: _first(c, "trained_forward", split="train"), "unknown split 'train'"),
    "document twice": (lambda c: _documents(c, c.documents[0]), "two documents have the id"),
    "question twice": (lambda c: replace(c, questions=(*c.questions, c.questions[0])), "two questions have the id"),
    "empty document": (lambda c: _documents(c, Document("extra", " ")), "is empty"),
    "unknown kind": (lambda c: _first(c, REVERSED, kind="mystery"), "'mystery', which is not among its kinds"),
    "unasked kind": (lambda c: replace(c, questions=tuple(q for q in c.questions if q.kind != "cue_middle")), "no test question is of kind 'cue_middle'"),
    "nothing beside": (lambda c: _kind(c, REVERSED, beside=None), "names no kind beside it"),
    "wrong beside": (lambda c: _kind(c, REVERSED, beside="heldout_forwards"), "stands beside 'heldout_forwards', which is not"),
    "latent beside": (lambda c: _kind(c, REVERSED, beside="cue_middle"), "which is latent itself"),
    "other facts beside": (lambda c: _kind(c, REVERSED, beside="trained_forward"), "but kind 'trained_forward' beside it does not"),
    "target outside": (lambda c: replace(c, documents=(_last_word_span(c.documents[0], 1), *c.documents[1:])), "outside its text"),
    "target in a word": (lambda c: replace(c, documents=(replace(c.documents[0], targets=((1, 3),)), *c.documents[1:])), "begins within a word"),
    "seed": (lambda c: c, "ignores its seed"),
    "random": (_with_process_noise, "two builds with seed 0 differ"),
    "process state": (_with_a_memory, "builds another corpus in a new process"),
    "hash order": (_in_hash_order, "with another PYTHONHASHSEED"),
}  # fmt: skip
"""Name -> what it does to the corpus, and the message that must name it."""
