"""What a dataset is made of: documents to learn from, questions to ask, and what is known about both."""

import gc
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Document:
    """One text to learn from.

    `targets` are the character spans (start, end) that the rest of the text lets one predict; training takes its loss there only.
    None means everywhere. `role` says what the document is: an `experience` states something about the world and may be put in
    context or retrieved; an `exercise` (an in-context sequence, filler) only trains a skill. `copy_of` is the id of the first document
    that states the same, where this is another copy of it (in other filler); it says nothing new, so it is no part of a corpus's digest.
    """

    id: str
    text: str
    provenance: str = "world"
    targets: tuple[tuple[int, int], ...] | None = None
    role: str = "experience"
    copy_of: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with its answers.

    `kind` is the generalisation tested. `choices` (the answers among them) make a likelihood choice possible. `support` holds the ids of documents that
    together suffice to answer. `cluster` is the unit that was sampled independently (say, a fact): intervals are clustered on it. RL and few-shot
    methods use `split="practice"`, measurement uses `"test"`; they share no cluster. `answer_words` cuts a generated answer before it is compared.
    """

    id: str
    kind: str
    prompt: str
    answers: tuple[str, ...]
    cluster: str
    support: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    split: str = "test"
    answer_words: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of question tests.

    `latent`: the tested form was never a training target. `beside` names the kind that asks for the same facts in the trained form: shown beside
    every latent score as proof that they were learned. `control` marks kinds that should fail. `candidates` is the pool of plausible answers
    from which a guesser draws; `chance` is what that guesser scores with open answers (an upper bound where several answers are right).
    """

    description: str
    latent: bool = False
    control: bool = False
    beside: str | None = None
    candidates: tuple[str, ...] = ()
    chance: float = 0.0


@dataclass(frozen=True)
class Corpus:
    """A built dataset. `forbidden` holds word sequences (test statements in every wording that the generator knows) that no training text may contain.

    `truth` judges a line of text in a generated world: True or False for a statement about it, None for what is none. It is there to measure
    what augmentation writes; no method may ask it.
    """

    documents: tuple[Document, ...]
    questions: tuple[Question, ...]
    kinds: Mapping[str, Kind]
    forbidden: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    truth: Callable[[str], bool | None] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def by_id(self) -> dict[str, Document]:
        return {d.id: d for d in self.documents}

    @cached_property
    def wordings(self) -> dict[str, frozenset[str]]:
        """Document id -> every text that states what it states: its own, and its copies'."""
        texts: dict[str, set[str]] = {}
        for d in self.documents:
            texts.setdefault(d.copy_of or d.id, set()).add(d.text)
        return {d.id: frozenset(texts[d.copy_of or d.id]) for d in self.documents}

    def supported(self, question: "Question", texts: Iterable[str]) -> bool:
        """Whether every supporting document of the question, or a copy of it, is among `texts`."""
        shown = set(texts)
        return all(not shown.isdisjoint(self.wordings[id]) for id in question.support)

    @property
    def experiences(self) -> tuple[Document, ...]:
        """The documents that may be put in context or retrieved."""
        return tuple(d for d in self.documents if d.role == "experience")

    def asked(self, kinds: Iterable[str] | None = None, split: str = "test") -> tuple[Question, ...]:
        """The questions of `kinds` (None: all) in `split`, in corpus order."""
        wanted = None if kinds is None else set(kinds)
        return tuple(q for q in self.questions if q.split == split and (wanted is None or q.kind in wanted))

    def digest(self) -> str:
        """Hash of every byte of the corpus: equal corpora have equal digests on every machine."""
        hasher = hashlib.blake2b(digest_size=16)
        for item in (*self.documents, *self.questions):
            hasher.update(repr(item).encode())
        hasher.update(json.dumps({k: asdict(v) for k, v in self.kinds.items()}, sort_keys=True).encode())
        hasher.update(repr(self.forbidden).encode())
        return hasher.hexdigest()


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps Python from looking for garbage while a corpus is built: its documents stay, and they would be gone through over and over for nothing."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects and not gc.get_freeze_count():
            gc.freeze()  # both together make what is new old, without going through it
            gc.unfreeze()
        if collects:
            gc.enable()


class Verdict(StrEnum):
    """How an answer came out. Only `correct` counts as right, and none of the others is passed off as merely `wrong`."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: documents put before it (oldest first), the question, and what the model wrote before it answers (its `trace`).

    `request`: how it was asked for the trace, which stands before it. `cut`: the budget of tokens ended the trace, so there is no answer. `samples`: the prompt with
    each of the traces that were sampled for it, itself the first, where there are several to vote upon.
    """

    question: str
    documents: tuple[str, ...] = ()
    trace: str = ""
    request: str = ""
    cut: bool = False
    samples: tuple["Prompt", ...] = ()

    @property
    def thought(self) -> tuple[str, ...]:
        """The request and the trace as one line, or no line where there is no trace."""
        return (f"{self.request} {self.trace}".strip(),) if self.trace else ()


@dataclass(frozen=True, slots=True)
class Chat(Prompt):
    """A prompt to a model that chats: everything that was said, the documents quoted in it, up to the user's last turn. `question` is what is asked there.

    `turns` are (role, text), the role being system, user or assistant; `begun` is how the model's own turn begins, where it is to complete a statement.
    """

    turns: tuple[tuple[str, str], ...] = ()
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a model wrote: its text, how many tokens, the sum of their log-probabilities in nats, and whether it ended by itself (not by the limit).

    `verdict` is `refused` or `failed` where the model gave no answer that could be judged; scorings pass it on.
    `ids` are these tokens, the one that ended it included, from models that can be trained on what they wrote.
    """

    text: str
    tokens: int
    nats: float
    finished: bool
    verdict: Verdict | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A judged answer. `scores_nats` holds the log-likelihood of each of the question's choices where the scoring computed them, `samples` the verdicts of
    the answers that were voted upon."""

    text: str
    verdict: Verdict
    scores_nats: tuple[float, ...] = ()
    samples: tuple[Verdict, ...] = ()
