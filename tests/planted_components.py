"""Scorings, models, methods and retrievers with a fault planted in them; and for each the message that must name it."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from tolman.core.component import Operational
from tolman.core.data import Answer, Corpus, Document, Prompt, Question, Verdict
from tolman.memory.oracle import Oracle
from tolman.models.bigram import Bigram, BigramModel
from tolman.scoring.choice import Choice
from tolman.scoring.exact import Exact, normalise
from tolman.test_time.closed_book import ClosedBook
from tolman.train_time.pretrain import Pretrain


class Lenient(Exact):
    """Reads whole answers, so that each fault has its say."""

    def judge(self, model: Any, prompts: Any, questions: Any) -> list[Answer]:
        written = [row[0].text for row in model.generate(prompts, max_tokens=self.max_tokens)]
        return [Answer(text, self.verdict(text, q)) for text, q in zip(written, questions, strict=True)]

    def verdict(self, text: str, question: Question) -> Verdict:
        if not normalise(text):
            return Verdict.UNPARSED
        return Verdict.CORRECT if self.right(text, question.answers[0]) else Verdict.WRONG

    def right(self, text: str, answer: str) -> bool:
        return normalise(text) == normalise(answer)


class AcceptsSubstring(Lenient):
    """The answer may stand anywhere in the text."""

    def right(self, text: str, answer: str) -> bool:
        return answer in text


class AcceptsAnyCaseAnywhere(Lenient):
    """The same with case folded: dump-everything scores."""

    def right(self, text: str, answer: str) -> bool:
        return answer.lower() in text.lower()


class AcceptsEmpty(Lenient):
    """Saying nothing is right."""

    def verdict(self, text: str, question: Question) -> Verdict:
        return Verdict.CORRECT if not text.strip() or self.right(text, question.answers[0]) else Verdict.WRONG


class AcceptsBeginning(Lenient):
    """The answer, and whatever follows."""

    def right(self, text: str, answer: str) -> bool:
        return normalise(text).startswith(normalise(answer))


class AcceptsPart(Lenient):
    """A part of the answer will do."""

    def right(self, text: str, answer: str) -> bool:
        return normalise(text) in normalise(answer)


class AcceptsAnagram(Lenient):
    """The order of the words does not count, nor what is said beside them."""

    def right(self, text: str, answer: str) -> bool:
        return set(normalise(answer).split()) <= set(normalise(text).split())


class MindsCase(Lenient):
    """Accepts nothing that it has folded, for it does not fold the answer."""

    def right(self, text: str, answer: str) -> bool:
        return text.casefold() == answer


class CallsSilenceWrong(Lenient):
    """No answer is a wrong answer."""

    def verdict(self, text: str, question: Question) -> Verdict:
        return Verdict.CORRECT if self.right(text, question.answers[0]) else Verdict.WRONG


class GivesBooleans(Lenient):
    """True and False for verdicts."""

    def verdict(self, text: str, question: Question) -> Any:
        return "correct" if self.right(text, question.answers[0]) else "unparsed"


class ReadsAsPattern(Lenient):
    """Takes what was written for a regular expression."""

    def right(self, text: str, answer: str) -> bool:
        return re.fullmatch(text, answer) is not None


class Shuffles(Lenient):
    """Gives the verdicts in another order."""

    def judge(self, model: Any, prompts: Any, questions: Any) -> list[Answer]:
        return super().judge(model, prompts, questions)[::-1]


class OverstatesChance(Lenient):
    """A flattering baseline."""

    def chance(self, question: Question, kind_chance: float) -> float:
        return kind_chance * 2


class PrefersFirst(Choice):
    """A tie goes to the first choice, so that silence is an answer."""

    def pick(self, question: Question, nats: Any) -> Answer:
        first = question.choices[int(np.argmax(nats))]
        return Answer(first, Verdict.CORRECT if first in question.answers else Verdict.WRONG, tuple(nats))


class PrefersAnswer(Choice):
    """A tie goes to the right choice: dump-everything scores."""

    def pick(self, question: Question, nats: Any) -> Answer:
        best = [c for c, n in zip(question.choices, nats, strict=True) if n == max(nats)]
        return Answer(best[0], Verdict.CORRECT if set(best) & set(question.answers) else Verdict.WRONG, tuple(nats))


FAULTY_SCORINGS = {
    AcceptsSubstring: "'dump' is right|accepts",
    AcceptsAnyCaseAnywhere: "'dump' is right|accepts",
    AcceptsEmpty: "'mute' is right in 1.000",
    AcceptsBeginning: "accepts",
    AcceptsPart: "accepts|states chance",
    AcceptsAnagram: "'dump' is right|accepts",
    MindsCase: "is not accepted",
    CallsSilenceWrong: "'wrong' when nothing was said",
    GivesBooleans: "not an Answer with a Verdict",
    ReadsAsPattern: "fails on the text|accepts",
    Shuffles: "is judged otherwise than alone",
    OverstatesChance: "states chance",
    PrefersFirst: "'wrong' when nothing was said|'correct' when nothing was said|'mute' is right",
    PrefersAnswer: "is right in 1.000",
}


class FaultyBigram(Bigram):
    """A bigram model with one fault."""

    fault: str = ""
    """Which."""

    def create(self, corpus: Corpus, *, seed: int) -> Any:
        return FaultyLive(super().create(corpus, seed=seed), "" if self.fault == "storage" else self.fault)

    def load(self, folder: Any) -> Any:
        return FaultyLive(super().load(folder), self.fault)


class FaultyLive:
    """Passes everything to a bigram model but what the fault changes."""

    def __init__(self, inner: BigramModel, fault: str) -> None:
        self.inner, self.fault, self.meter, self.context_tokens = inner, fault, inner.meter, inner.context_tokens
        self.calls = 0

    def render(self, prompt: Prompt) -> str:
        return self.inner.render(replace(prompt, documents=prompt.documents[::-1]) if self.fault == "render" else prompt)

    def score(self, prompts: Any, continuations: Any) -> list[list[float]]:
        if self.fault == "silent meter":
            self.inner.meter = type(self.meter)()
        if self.fault == "cuts":
            prompts = [Prompt(p.question[-200:]) for p in prompts]
        scores = self.inner.score(prompts, continuations)
        if self.fault == "mean":
            return [[n / len(c.split()) for n, c in zip(row, texts, strict=True)] for row, texts in zip(scores, continuations, strict=True)]
        shift = {"positive": 50.0, "batch": -0.01 * len(prompts), "storage": -0.5, "improper": 0.0}.get(self.fault, 0.0)
        return [[max(-0.01, n) if self.fault == "improper" else n + shift for n in row] for row in scores]

    def generate(self, prompts: Any, *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> Any:
        self.calls += 1
        seed = {"stale seed": 0, "unseeded": self.calls}.get(self.fault, seed)
        if self.fault == "batch draws":
            seed += len(prompts)
        if self.fault == "too long":
            max_tokens += 1
        rows = self.inner.generate(prompts, max_tokens=max_tokens, samples=samples, temperature=temperature, seed=seed)
        if self.fault == "wrong nats":
            rows = [[replace(g, nats=g.nats - 1) for g in row] for row in rows]
        return rows

    def save(self, folder: Any) -> None:
        self.inner.save(folder)


FAULTY_MODELS = {
    "render": "not in this order",
    "positive": "above 0",
    "batch": "depend on what else is in the batch",
    "improper": "above 1",
    "mean": "likelier than its beginning|add up to",
    "too long": "exceeds max_tokens",
    "wrong nats": "but score gives",
    "stale seed": "with two seeds are the same",
    "unseeded": "samples with one seed differ",
    "batch draws": "samples depend on what else is in the batch",
    "cuts": "accepts a prompt and answer longer",
    "silent meter": "books 0 tokens",
    "storage": "saved and loaded scores differently",
}


class Faulty(Pretrain):
    """Pretraining with one fault."""

    fault: str = ""
    """Which."""
    workers: int = Operational(1, ge=1)
    """Pretends to say how fast to run."""

    example: ClassVar[dict[str, Any]] = {"steps": 15, "batch_tokens": 128}

    def train(self, model: Any, corpus: Corpus, *, seed: int, checkpoints: Any, watch: Any) -> None:
        if self.fault == "idle":
            return
        if self.fault == "cheat":
            corpus = replace(corpus, documents=(*corpus.documents, *(Document(q.id, f"{q.prompt} {q.answers[0]}") for q in corpus.questions)))
        if self.fault == "seed":
            seed = 0
        if self.fault == "no warning" and not corpus.documents:
            return
        outer = self
        if self.fault == "operational":
            outer = self.replace("lr", self.lr * self.workers).replace("fault", "")
        if self.fault == "forgets":
            checkpoints = SimpleNamespace(load=lambda: None, due=lambda: False, save=None)
        if self.fault in ("optimizers", "streams"):
            checkpoints = Forgetful(checkpoints, self.fault)
        if self.fault == "counts":
            watch = SimpleNamespace(step=lambda step, steps, inner=watch, **values: inner.step(step - 1, steps, **values))
        if self.fault == "no learning":
            outer = self.replace("lr", 1e-9).replace("matrix_lr", 1e-9).replace("fault", "")
        Pretrain.train(outer, model, corpus, seed=seed, checkpoints=checkpoints, watch=watch)


class Forgetful:
    """Loses a part of the state."""

    def __init__(self, inner: Any, part: str) -> None:
        self.inner, self.part, self.first = inner, part, None

    def load(self) -> Any:
        state = self.inner.load()
        if state is None:
            return None
        if self.part == "streams":
            return {**state, "streams": {role: {"epoch": 0, "position": 0} for role in state["streams"]}}
        return {**state, "optimizers": [{**o, "state": {}} for o in state["optimizers"]]}

    def due(self) -> bool:
        return self.inner.due()

    def save(self, state: Any) -> None:
        self.inner.save(state)


FAULTY_METHODS = {
    "idle": "changes no weight",
    "cheat": "trains on the test",
    "seed": "ignores its seed",
    "operational": "is operational, yet 2 changes",
    "forgets": "never saved a checkpoint",
    "optimizers": "with other weights than uninterrupted",
    "streams": "with other weights than uninterrupted",
    "counts": "does not number its steps",
    "no learning": "the loss does not fall",
    "no warning": "trains on an empty corpus",
}


class SaysNot(Pretrain):
    """Says that it does not train."""

    trains: ClassVar[bool] = False


class FaultyShowing(ClosedBook):
    """Shows what it should not, or not what it should."""

    fault: str = ""
    """Which."""
    retriever: Any = Oracle(distractors=0)
    """Pretends to use the oracle."""

    def prompts(self, model: Any, corpus: Corpus, questions: Any, *, seed: int) -> list[Prompt]:
        found = [Prompt(q.prompt, tuple(corpus.by_id[s].text for s in q.support)) for q in questions]
        match self.fault:
            case "exercise":
                return [replace(p, documents=(corpus.by_id["exercise:0"].text,)) for p in found]
            case "leak":
                return [replace(p, documents=(*p.documents, corpus.forbidden[0])) for p in found]
            case "reworded":
                return [replace(p, question=p.question + " what?") for p in found]
            case "blind":
                return [replace(p, documents=()) for p in found]
            case "answers":
                return [replace(p, trace=f"I think of {q.answers[0]}") for p, q in zip(found, questions, strict=True)]
            case "fewer":
                return found[:-1]
            case "batch":
                return [replace(p, trace=f"question {i}") for i, p in enumerate(found)]
            case "unseeded":
                return [replace(p, trace=str(np.random.default_rng().random())) for p in found]
        return found


FAULTY_SHOWINGS = {
    "exercise": "is shown an exercise",
    "leak": "is shown what is under test",
    "reworded": "not as it stands",
    "blind": "but it is not shown",
    "answers": "depend on the answers",
    "fewer": "prompts for",
    "batch": "depend on the order",
    "unseeded": "is not deterministic",
}


class FaultyRetriever(Oracle):
    """An oracle with one fault."""

    fault: str = ""
    """Which."""

    def retrieve(self, corpus: Corpus, questions: Any, *, seed: int) -> list[list[Document]]:
        found = super().retrieve(corpus, questions, seed=seed + len(questions) * (self.fault == "batch"))
        match self.fault:
            case "twice":
                return [[*d, *d] for d in found]
            case "exercise":
                return [[*d, corpus.by_id["exercise:1"]] for d in found]
            case "invented":
                return [[*d, Document("lives:nobody", "Ada lives nowhere")] for d in found]
        return found


FAULTY_RETRIEVERS = {"twice": "found twice", "exercise": "is an exercise", "invented": "is not in the corpus", "batch": "what else is asked"}
