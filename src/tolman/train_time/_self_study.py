"""What `distil` and `cartridge` learn from: prompts that the model answers with documents before it, to be answered without; each lesson can be read in the record.

Shapes: N tokens of answers, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tolman.core.component import Component, Nested
from tolman.core.data import Corpus, Document, Prompt
from tolman.core.errors import UserError
from tolman.core.generated import Origin, account, blind
from tolman.core.packing import Example
from tolman.core.seeds import derive, rng
from tolman.train_time._texts import pack_evenly
from tolman.train_time._writing import Overheard

ROW_TOKENS = 128
"""Rows of a batch are about this long, or as long as its longest example."""
QUESTION_TOKENS = 40


class Study(NamedTuple):
    """A prompt, the ids of the documents that the teacher reads before it, and what the teacher answered, as text and as tokens."""

    prompt: str
    documents: tuple[str, ...]
    answer: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lesson(Example):
    """What the student reads, with weight 1 on the answer; `taught` is what the teacher reads, with the same answer."""

    taught: Example | None = None


class SelfStudy(Component):
    """The fields of what is studied: which prompts, how many documents before them, how the teacher answers."""

    prompts: Literal["continuations", "questions", "practice", "written"] = "continuations"
    """On what: beginnings of the documents, to be continued; questions about them that the model writes itself (after the examples in prompts/question.txt); the
    corpus's practice questions; or the beginnings of what `augment` writes, such as reversals."""
    augment: Nested | None = None
    """Who proposes what to answer, for `written`, such as `augment/local`. It is shown documents only."""
    documents: int | None = Field(default=4, ge=1)
    """How many documents the teacher reads before a prompt: those that it is about, and random others. None: all."""
    each: int = Field(default=2, ge=1)
    """Prompts about each document, where the model makes them, and answers to each other prompt."""
    temperature: float = Field(default=1.0, ge=0)
    """Of the teacher's answers (and of its questions)."""
    max_tokens: int = Field(default=24, ge=1)
    """Most tokens of an answer."""

    def studied(self, model: Any, corpus: Corpus, *, seed: int) -> tuple[list[Study], dict[str, Any]]:
        """The lessons, and what is known of them. Raises UserError where there is nothing to learn."""
        shown, teacher = blind(corpus), Overheard(model, corpus.forbidden)
        asked = [(text, self.window(shown, about, text, n, seed)) for n, (text, about) in enumerate(self.asked(teacher, corpus, shown, seed))]
        if not asked:
            came = f"; asked {teacher.prompts} times, the model came back with {', '.join(map(repr, teacher.texts))}" if teacher.prompts else ""
            raise UserError(f"{self.address()} has nothing to study: prompts = {self.prompts} gives no prompt from {len(shown.documents)} documents{came}")
        prompts = [Prompt(text, tuple(shown.by_id[id].text for id in ids)) for text, ids in asked]
        samples = 1 if self.prompts in ("continuations", "questions") else self.each
        how = {"samples": samples, "temperature": self.temperature, "seed": derive(seed, "self-study", "answers")}
        written = teacher.generate(prompts, max_tokens=self.max_tokens, **how)
        studies = [Study(text, ids, g.text, g.ids) for (text, ids), row in zip(asked, written, strict=True) for g in row if g.ids]
        said = [Document(f"study:{i}", f"{s.prompt} {s.answer}") for i, s in enumerate(studies)]
        about = {
            "prompts": self.prompts, "lessons": len(studies), "answer_tokens": sum(len(s.ids) for s in studies), "leaks_in_prompts": teacher.leaks,
            "answers": account(said, corpus),
        }  # fmt: skip
        return studies, about

    def asked(self, model: Any, corpus: Corpus, shown: Corpus, seed: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each prompt, and the ids of the documents that it is about."""
        how = {"temperature": self.temperature, "seed": derive(seed, "self-study", "questions")}
        if self.prompts == "practice":
            yield from ((q.prompt, q.support) for q in corpus.asked(split="practice"))
        elif self.prompts == "continuations":
            for d in shown.documents:
                words = d.text.split(" ")
                cuts = rng(seed, "self-study", "cuts", d.id).permutation(max(0, len(words) - 1))[: self.each]
                yield from ((" ".join(words[: 1 + cut]), (d.id,)) for cut in cuts.tolist())
        elif self.prompts == "questions":
            ask = files("tolman.train_time").joinpath("prompts", "question.txt").read_text(encoding="utf-8").rstrip()
            about = [Prompt(ask.replace("{document}", d.text.replace("\n", " "))) for d in shown.documents]
            for d, row in zip(shown.documents, model.generate(about, max_tokens=QUESTION_TOKENS, samples=self.each, **how), strict=True):
                yield from ((text, (d.id,)) for text in dict.fromkeys(g.text.strip() for g in row) if text.endswith("?"))
        else:
            if self.augment is None:
                raise UserError(f"{self.address()}: prompts = written needs someone who writes them: set train_time.augment, such as augment/local")
            for d in self.augment.write(model, shown, shown.documents, seed=how["seed"]):  # type: ignore[attr-defined]
                begin = d.text[: d.targets[-1][0]] if d.targets else d.text.split(" ")[0]
                if begin.strip():
                    yield begin.strip(), Origin.of(d).sources

    def window(self, shown: Corpus, about: Sequence[str], text: str, n: int, seed: int) -> tuple[str, ...]:
        """The ids of the documents to read before prompt number `n`, `about` among them, in random order."""
        pool = [d.id for d in shown.documents]
        if self.documents is None or self.documents >= len(pool):
            return tuple(pool)
        draw = rng(seed, "self-study", "window", n, text)
        others = [id for id in (pool[i] for i in draw.permutation(len(pool)).tolist()) if id not in about]
        chosen = [*about, *others[: max(0, self.documents - len(about))]]
        return tuple(chosen[i] for i in draw.permutation(len(chosen)).tolist())


def lessons(model: Any, corpus: Corpus, studies: Sequence[Study]) -> list[Lesson]:
    """What student and teacher read of `studies`."""
    out = []
    for s in studies:
        alone = model.continued(Prompt(s.prompt), s.ids)
        taught = model.continued(Prompt(s.prompt, tuple(corpus.by_id[id].text for id in s.documents)), s.ids)
        out.append(Lesson(alone.token, alone.weight, taught=taught))
    return out


def answers(model: Any, examples: Sequence[Example]) -> Tensor:
    """Logits (N, V) of the weighted tokens, example by example, though they are packed in another order: their weights say whose they are."""
    numbered = [replace(e, weight=np.where(e.weight != 0, np.float32(i + 1), np.float32(0))) for i, e in enumerate(examples)]
    batch = pack_evenly(numbered, ROW_TOKENS)
    ahead = batch.weight[:, int(model.causal) :]
    return model.logits(batch)[np.argsort(ahead[ahead != 0], kind="stable")]


def divergence(wanted_NV: Tensor, given_NV: Tensor) -> Tensor:
    """Mean over tokens of KL(wanted || given) in nats, from logits."""
    return F.kl_div(given_NV.log_softmax(-1), wanted_NV.log_softmax(-1), reduction="batchmean", log_target=True)


def to_dict(study: Study) -> dict[str, Any]:
    return study._asdict()


def from_dict(data: Mapping[str, Any]) -> Study:
    return Study(data["prompt"], tuple(data["documents"]), data["answer"], tuple(data["ids"]))
