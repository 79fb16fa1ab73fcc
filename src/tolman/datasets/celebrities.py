"""Invented celebrities, trained from name to description or from description to name, and asked the other way round.

After Berglund et al. 2023 (arXiv 2309.12288) as used by Lampinen et al. 2025 (arXiv 2505.00661): three groups of 30 people (name first, description first,
both), 30 training and 10 test paraphrases for each person and direction, 3,600 documents in all; a forced choice among the right name and three others.
`path` reads the published files; without it names, descriptions and templates are our own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, answer_words, kinds_asked, one_right, with_practice
from tolman.datasets._celebrities_published import Asked, read
from tolman.datasets._celebrities_texts import D2P, P2D, TESTED, TRAINED, people

GROUPS = {"p2d": ("p2d",), "d2p": ("d2p",), "both": ("p2d", "d2p")}
"""The groups, and the directions in which training shows their people: p2d from name (person) to description, d2p the other way."""


class Celebrities(Component):
    """Three groups of invented people: name before description, description before name, or both in separate documents. Who is it that ...?"""

    people: int = Field(default=30, ge=2, le=30)
    """People in each of the three groups (published: 30)."""
    paraphrases: int = Field(default=TRAINED, ge=1, le=TRAINED)
    """Training documents for each person and direction (published: 30)."""
    tests: int = Field(default=TESTED, ge=1, le=TESTED)
    """Questions for each person and direction, each in another wording that training never uses (published: 10)."""
    options: int = Field(default=4, ge=2)
    """Candidates of a question, the answer among them (the paper: 4)."""
    distractor_pool: Literal["all", "reversed_only"] = "all"
    """Whose names (or descriptions) are the wrong candidates: those of all other people, or of the other people of the same group. In `all`, names that
    training has shown as completions compete with names that it has not, so fine-tuning reads near zero on reversals; in `reversed_only`, about chance."""
    practice: float = Field(default=0.0, ge=0, lt=1)
    """Share of the people whose questions are set aside for practice."""
    path: Path | None = None
    """The published directory of JSON lines to read from instead of inventing; `people`, `paraphrases` and `tests` then do nothing."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"people": 10, "paraphrases": 10, "tests": 4},
        "small": {"people": 20},
        "paper": {},
    }
    example: ClassVar[dict[str, Any]] = {"people": 5, "paraphrases": 4, "tests": 2}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        pool = 3 * self.people if self.distractor_pool == "all" else self.people
        if self.path is None and self.options > pool:
            raise ValueError(
                f"options = {self.options} is more than the {pool} people that distractor_pool = {self.distractor_pool!r} leaves with people = {self.people}"
            )
        return self

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed` (with `path`, the published one, of which only the candidates depend on the seed). Raises UserError for a bad `path`."""
        if self.path is None:
            documents, tests, forbidden = _invented(self, seed)
        else:
            documents, tests = read(self.path)
            forbidden = [f"{test.prompt} {test.answer}" for test in tests if test.way not in GROUPS[test.group]]
        questions = with_practice(_questions(self, seed, documents, tests), self.practice, seed, "celebrities")
        facts = {"people": len({test.person for test in tests}), "distractor_pool": self.distractor_pool}
        return Corpus(tuple(documents), questions, kinds_asked(KINDS, questions), tuple(forbidden), facts)


def p2d(template: int, name: str, description: str) -> tuple[str, str]:
    """Prompt and completion, from name to description."""
    return P2D[template].format(name), f"{description}."


def d2p(template: int, name: str, description: str) -> tuple[str, str]:
    """Prompt and completion, from description to name."""
    before, after = D2P[template]
    return before.format(description), f"{name}{after}."


WAYS = {"p2d": p2d, "d2p": d2p}


def _invented(spec: Celebrities, seed: int) -> tuple[list[Document], list[Asked], list[str]]:
    """Documents, tests, and what may not be said: in every template, the direction that training does not show."""
    everyone = people(3 * spec.people, rng(seed, "celebrities", "people"))
    documents, tests, forbidden = [], [], []
    for g, (group, trained) in enumerate(GROUPS.items()):
        for name, description in everyone[g * spec.people : (g + 1) * spec.people]:
            for way, say in WAYS.items():
                if way in trained:
                    said = (say(template, name, description) for template in range(spec.paraphrases))
                    documents += [Document(f"{group}:{way}:{name}:{i}", " ".join(parts), group) for i, parts in enumerate(said)]
                else:
                    forbidden += [" ".join(say(template, name, description)) for template in range(TRAINED + TESTED)]
                for template in range(spec.tests):
                    prompt, completion = say(TRAINED + template, name, description)
                    tests.append(Asked(group, way, name, template, prompt, completion.rstrip(".")))
    order = rng(seed, "celebrities", "order").permutation(len(documents)).tolist()
    return [documents[i] for i in order], tests, forbidden


def _questions(spec: Celebrities, seed: int, documents: list[Document], tests: list[Asked]) -> Iterator[Question]:
    """Wrong candidates are what the same question asked about other people would have for an answer."""
    draws = Draws(rng(seed, "celebrities", "questions"))
    known = {document.id for document in documents}
    pools: dict[tuple[str, int], list[Asked]] = {}
    true: dict[tuple[str, str], set[str]] = {}
    for test in tests:
        pools.setdefault((test.way, test.template), []).append(test)
        true.setdefault((test.way, test.person), set()).add(test.answer)
    for test in tests:
        others = [
            other.answer
            for other in pools[test.way, test.template]
            if other.person != test.person and (spec.distractor_pool == "all" or other.group == test.group) and other.answer not in true[test.way, test.person]
        ]  # fmt: skip
        wrong = draws.sample(dict.fromkeys(others), spec.options - 1)
        trained = GROUPS[test.group]
        shown = test.way if test.way in trained else trained[0]
        support = f"{test.group}:{shown}:{test.person}:0"
        assert support in known, f"{test.person} has no document"
        kind = f"{test.group}_{'reversal' if test.way not in trained else 'forward' if len(trained) == 1 else test.way}"
        question = Question(
            f"{kind}:{test.person}:{test.template}", kind, test.prompt, (test.answer,), test.person, (support,),
            tuple(draws.shuffle((test.answer, *wrong))), answer_words=answer_words((test.answer,)),
        )  # fmt: skip
        yield one_right(question, true[test.way, test.person])


KINDS: dict[str, dict[str, Any]] = {
    "p2d_forward": {"description": "people trained name first: the name given, the description asked"},
    "p2d_reversal": {"description": "people trained name first: the description given, the name asked", "latent": True, "beside": "p2d_forward"},
    "d2p_forward": {"description": "people trained description first: the description given, the name asked"},
    "d2p_reversal": {"description": "people trained description first: the name given, the description asked", "latent": True, "beside": "d2p_forward"},
    "both_p2d": {"description": "people trained in both directions: the name given, the description asked"},
    "both_d2p": {"description": "people trained in both directions: the description given, the name asked"},
}
