"""A folder of your own documents, and questions about what they state: as stated, in other words, the other way round, in two steps, and whether at all.

Built by rules, without any teacher; the documents themselves state the facts, so what counts as a leak is said in docs/datasets/folder.md. Questions of your own can
be given instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tolman.core.component import Added, Component
from tolman.core.data import Corpus, Document, Kind, Question
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets._asking import kinds_asked, with_practice
from tolman.datasets._folder_ask import Asked, Asker, Limits
from tolman.datasets._folder_facts import facts
from tolman.datasets._folder_names import Names
from tolman.datasets._folder_own import read_questions
from tolman.datasets._folder_passages import Passage, is_english, passages
from tolman.datasets._folder_read import Reading, digest, files, read
from tolman.datasets._folder_sample import sampled

SAMPLE = Path(__file__).parent / "_folder_sample"


class Folder(Component):
    """The texts of a folder, cut into passages, and questions about them."""

    path: Path | None = None
    """The folder (txt, md, html, pdf, docx, jsonl), or one file; None is a small one that comes with Tolman. Results depend on what is in it, not on where it is."""
    questions: Path | None = None
    """Your own questions, JSON lines (fields: docs/datasets/folder.md), to ask instead of those built by rules."""
    passage_words: int = Field(default=120, ge=20)
    """Longest passage, in words; a passage is whole sentences of one section, and one document of the corpus."""
    options: int = Field(default=4, ge=2)
    """Most candidates of a question, the answer among them (fewer where the documents have not enough of the same sort)."""
    asked: int = Field(default=300, ge=1)
    """At most so many facts are asked about, chosen at random."""
    practice_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of the facts whose questions are set aside for practice; no fact is asked in both."""
    per_kind: int | None = Added(None, ge=1)
    """At most so many test questions of each kind, chosen at random but about the same facts; None: all."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {"quick": {"asked": 300}}

    @property
    def place(self) -> Path:
        """Where the documents are."""
        return self.path or SAMPLE

    def build(self, seed: int) -> Corpus:
        """The corpus; practice, candidates and chains depend on `seed`. Raises UserError where there is nothing to read or nothing to ask."""
        reading, found = self.read()
        documents = tuple(Document(p.id, p.text, p.place) for p in found)
        asked = self._own(found, documents, seed) if self.questions else self._built(found, documents, seed)
        if not any(q.split == "test" for q in asked.questions):
            raise UserError(self._nothing(found, asked))
        built = len([q for q in asked.questions if q.split == "test"])
        if self.per_kind:
            asked.questions = sampled(asked.questions, self.per_kind, seed)
        kinds = kinds_asked({name: _about(name) for name in dict.fromkeys(q.kind for q in asked.questions if q.split == "test")}, asked.questions)
        questions = tuple(q for q in asked.questions if q.kind in kinds)
        return Corpus(documents, questions, _standing(kinds, questions), tuple(asked.forbidden), self._facts(reading, found, asked) | {"questions": built})

    def read(self) -> tuple[Reading, list[Passage]]:
        """The folder as it was read, and its passages. Raises UserError naming what was found where no text was."""
        reading = read(self.place, without=self._own_files())
        if not reading.sources:
            why = "; ".join(map(str, reading.problems[:5])) or "it is empty"
            raise UserError(f"{self.place} has no text to read: {why}{' ...' * (len(reading.problems) > 5)}")
        return reading, [p for source in reading.sources for p in passages(source, self.passage_words)]

    def files(self) -> dict[str, Path]:
        """Name -> path of every file that `read` looks into."""
        return dict(files(self.place, without=self._own_files()))

    def identity(self) -> dict[str, Any]:
        """The bytes of the files stand for their places."""
        own = digest(self.questions) if self.questions else None
        return super().identity() | {"path": digest(self.place, without=self._own_files()), "questions": own}

    def _own_files(self) -> tuple[Path, ...]:
        return (self.questions,) if self.questions else ()

    def _built(self, found: Sequence[Passage], documents: Sequence[Document], seed: int) -> Asked:
        by_file: dict[str, list[Passage]] = {}
        for passage in found:
            by_file.setdefault(passage.file, []).append(passage)
        english = {file for file, inside in by_file.items() if is_english(p.text for p in inside)}
        sentences = [s for p in found if p.file in english for s in p.sentences]
        names = Names([s.text for s in sentences if s.text[-1] in ".!?\"'”’)"])
        limits = Limits(self.options, self.asked, self.practice_share)
        asked = Asker(facts(sentences, names), sentences, names, documents, limits=limits, seed=seed).all()
        if other := sorted(set(by_file) - english):
            asked.left_out[f"files that do not look English, for which there are no rules: {', '.join(other)}"] += len(other)
        return asked

    def _own(self, found: Sequence[Passage], documents: Sequence[Document], seed: int) -> Asked:
        """The user's questions. Those of a latent kind that a document states word for word are left out, and counted."""
        assert self.questions is not None
        passages_of: dict[str, list[str]] = {}
        for passage in found:
            passages_of.setdefault(passage.file, []).append(passage.id)
        questions = read_questions(self.questions, passages_of)
        drawn = iter(with_practice([replace(q, split="test") for q in questions if not q.split], self.practice_share, seed, "folder"))
        questions = [q if q.split else next(drawn) for q in questions]
        asked = Asked(questions)
        stated = {f"{q.prompt} {a}": q.id for q in questions if _about(q.kind).get("latent") for a in q.answers}
        leaked = {leak.phrase for leak in find_leaks(documents, stated)}
        gone = {stated[phrase] for phrase in leaked}
        asked.left_out["stated in the words of the question"] = len(gone)
        asked.questions = [q for q in questions if q.id not in gone]
        asked.forbidden = [phrase for phrase in stated if phrase not in leaked]
        recall: dict[str, list[str]] = {}
        for q in asked.questions:
            if q.kind == "recall":
                recall.setdefault(q.cluster, []).append(q.id)
        asked.beside = {q.id: tuple(recall.get(q.cluster, ())) for q in asked.questions}
        return asked

    def _facts(self, reading: Reading, found: Sequence[Passage], asked: Asked) -> dict[str, Any]:
        """What is known about the corpus: how much of the documents is asked about, what was left out and why, what each question stands beside."""
        file_of = {p.id: p.file for p in found}
        used, ids = {id for q in asked.questions for id in q.support}, {q.id for q in asked.questions}
        return {
            "files": len(reading.sources), "files_asked": len({file_of[id] for id in used}), "passages": len(found), "passages_asked": len(used),
            "sentences": sum(len(p.sentences) for p in found), "words": sum(s.words for s in reading.sources),
            "clusters": len({q.cluster for q in asked.questions}), "left_out": {why: n for why, n in asked.left_out.items() if n},
            "problems": [str(p) for p in reading.problems],
            "beside": {id: beside for id, beside in asked.beside.items() if id in ids and ids.issuperset(beside)}, "places": asked.places,
        }  # fmt: skip

    def _nothing(self, found: Sequence[Passage], asked: Asked) -> str:
        reasons = "; ".join(f"{why} ({n})" for why, n in asked.left_out.items() if n) or "no sentence begins with a name and a verb"
        return (
            f"{self.place} gives no question: {sum(len(p.sentences) for p in found)} sentences were read, but {reasons}; "
            "write questions of your own into a file, or have a model do so (tolman questions), and name it with --questions, or dataset.questions in a study "
            "(docs/datasets/folder.md)"
        )


def _about(kind: str) -> dict[str, Any]:
    return KINDS.get(kind, {"description": "questions given by the user"})


def _standing(kinds: Mapping[str, Kind], questions: Sequence[Question]) -> dict[str, Kind]:
    """`kinds`, latent only where the same facts are also asked as they are stated (a user's questions may lack that)."""
    clusters: dict[str, set[str]] = {}
    for q in questions:
        if q.split == "test":
            clusters.setdefault(q.kind, set()).add(q.cluster)
    proven = {name for name, kind in kinds.items() if kind.beside is None or clusters[name] <= clusters.get(kind.beside, set())}
    return {name: kind if name in proven else replace(kind, latent=False, beside=None) for name, kind in kinds.items()}


KINDS: dict[str, dict[str, Any]] = {
    "recall": {"description": "a sentence of the documents up to a name, date or number: how does it go on?"},
    "rephrase": {"description": "the same fact asked for in other words", "latent": True, "beside": "recall"},
    "reversal": {"description": "what the sentence says of its subject is given, the subject asked for", "latent": True, "beside": "recall"},
    "two_hop": {"description": "what one passage says of somebody whom another passage describes", "latent": True, "beside": "recall"},
    "unanswerable": {"description": "do the documents say it at all? they do for one half, for the other they do not", "beside": "recall"},
}
