"""A taught directory, opened: it answers, with the passages or the trace that the answer rests on.

What a method of the studies puts before a question is put before the user's here: nothing, all passages, or what the persistent memory finds; before a model that
chats as a quotation that gives no orders (`test_time/quoted`). The memory is read anew at every question, so what another process adds or forgets counts at once.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import RenderableType
from rich.text import Text

from tolman.app import _directory
from tolman.core.component import Component
from tolman.core.data import Chat, Generation, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.memory.episodic import Episodic
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.in_context import InContext
from tolman.test_time.quoted import Quoted, chat
from tolman.test_time.retrieval import Retrieval
from tolman.test_time.thinking import Thinking

NOTHING = "I found nothing about this in the documents."
ROLES = ("system", "user", "assistant")
_THINK, _THOUGHT = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Source:
    """A passage that was put before the question. `score` is the memory's (nan where everything was shown)."""

    document: str
    """Id of the passage, FILE:NUMBER."""
    file: str
    section: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and what it rests on. `finish_reason` is stop, length (max_tokens came first) or content_filter (an endpoint refused)."""

    text: str
    sources: tuple[Source, ...]
    trace: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values (a score that is unknown is null)."""
        found = asdict(self)
        return found | {"sources": [s | {"score": None if s["score"] != s["score"] else s["score"]} for s in found["sources"]]}


class Taught:
    """A taught directory. Several threads may ask at once: the model answers one after the other."""

    def __init__(self, folder: Path, about: Mapping[str, Any], model: Any, test_time: Component) -> None:
        self.folder, self.about, self.model, self.test_time = folder, about, model, test_time
        self.name = folder.resolve().name
        self.chats: bool = getattr(model, "chats", False)
        """Whether the model reads turns; one that does not goes on with the user's last text, after plain passages."""
        self.thinking = test_time if isinstance(test_time, Thinking) else None
        inner = test_time.context if isinstance(test_time, Thinking | Quoted) else test_time
        self.way = inner or ClosedBook()
        """The test-time method without its quotation or thinking: closed_book, in_context or retrieval."""
        self.retriever = self.way.retriever if isinstance(self.way, Retrieval) and isinstance(self.way.retriever, Episodic) else Episodic()
        self.memory = self.retriever.open(folder / _directory.MEMORY)
        self._turn = threading.Lock()

    @classmethod
    def open(cls, folder: Path | str, **operational: Any) -> Self:
        """The directory at `folder`; `operational` are fields of the model that say where to run (device="cuda").

        Raises UserError for what is no taught directory, is damaged, or was made by another format version.
        """
        folder = Path(folder)
        about = _directory.read(folder)
        _directory.check(folder, about)
        parts = _directory.components(about)
        live = parts["model"].replace_all(operational).load(folder / about["weights"])  # type: ignore[attr-defined]
        return cls(folder, about, live, parts["test_time"])

    # -- answering -------------------------------------------------------------------------------------------------------------

    def reply(self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> Reply:
        """The answer to `messages`, [{"role": "user", "content": "..."}] and the like, the last one the user's. Raises UserError for what cannot be answered."""
        *_, whole = self.stream(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)
        assert isinstance(whole, Reply), "a stream ends with its reply"
        return whole

    def stream(
        self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0, seed: int = 0, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[str | Reply]:
        """The answer piece by piece as it is written, and at last the whole `Reply`. What is thought is in the reply only.

        `enough` is asked after each token: once it is true the writing ends, and the Reply is of what is written so far, with finish_reason length.
        """
        turns = read_turns(messages)
        with self._turn:
            prompt, sources = self._asked(turns, max_tokens)
            if not sources and isinstance(self.way, Retrieval) and self.about["train_time"]["is"] == "train_time/untrained":
                yield NOTHING
                yield Reply(NOTHING, (), "", 0, 0, "stop")
                return
            with self.model.meter.phase("ask"):
                before, said, written = self.model.meter.get("ask").tokens, "", Generation("", 0, 0.0, True)
                if self.thinking and not prompt.trace:
                    prompt = self._thought(prompt, temperature, seed)
                for written in self._write(prompt, max_tokens, temperature, seed):
                    trace, text = thought(written.text, begun=self.model.render(prompt).rstrip().endswith(_THINK))
                    text = text.removesuffix("\ufffd") if not written.finished else text  # half a character
                    if len(text) > len(said) and text.startswith(said):
                        yield text[len(said) :]
                        said = text
                    if enough():
                        break
                read = self._size(prompt) or self.model.meter.get("ask").tokens - before - written.tokens
        if written.verdict == Verdict.FAILED:
            raise UserError(f"the model gave no answer: {written.text}")
        trace, text = thought(written.text, begun=self.model.render(prompt).rstrip().endswith(_THINK))
        if text != said and text.startswith(said):
            yield text[len(said) :]
        reason = "content_filter" if written.verdict == Verdict.REFUSED else "stop" if written.finished else "length"
        yield Reply(text, sources, prompt.trace or trace, read, written.tokens, reason)

    def prompts(self, questions: Sequence[Question]) -> list[Prompt]:
        """What the model is shown for built questions, as when their scores were measured: a statement to complete begins the model's turn."""
        out = []
        for q in questions:
            texts = [s.text for s in self._found(q.prompt)]
            complete = not q.prompt.rstrip().endswith("?")
            out.append(chat(q.prompt, texts, complete=complete) if self.chats and isinstance(self.test_time, Quoted) else Prompt(q.prompt, tuple(texts)))
        return [self._thought(p, 0.0, 0) for p in out] if self.thinking else out

    def _found(self, question: str, before: str = "") -> tuple[Source, ...]:
        """The passages for a question, the best last. Where it finds nothing by itself (a second question about the same thing), what was asked `before` helps."""
        if isinstance(self.way, InContext):
            return tuple(Source(e.id, e.file, e.section, e.text, float("nan")) for e in self.memory.all())
        if not isinstance(self.way, Retrieval):
            return ()
        found = self.retriever.search(self.memory, question)
        if not found and before:
            found = self.retriever.search(self.memory, f"{before} {question}")
        return tuple(Source(f.episode.id, f.episode.file, f.episode.section, f.episode.text, f.score) for f in reversed(found))

    def _asked(self, turns: Sequence[tuple[str, str]], max_tokens: int) -> tuple[Prompt, tuple[Source, ...]]:
        """The prompt for a conversation, and the passages in it. Where all does not fit, the worst passages go first, then the oldest turns."""
        *said, (_, question) = turns
        before = next((text for role, text in reversed(said) if role == "user"), "")
        sources = self._found(question, before)
        while True:
            prompt = self._prompt(question, [s.text for s in sources], said)
            if (self._size(prompt) or len(self.model.render(prompt).split())) + max_tokens <= self.model.context_tokens:
                return prompt, sources
            if len(sources) > 1 or (sources and not said):
                sources = sources[1:]
            elif said:
                said = said[1:] if said[0][0] != "system" or len(said) == 1 else [said[0], *said[2:]]
            else:
                raise UserError(
                    f"the question and an answer of up to {max_tokens} tokens do not fit into the model's {self.model.context_tokens} tokens: ask a shorter one"
                )

    def _prompt(self, question: str, passages: Sequence[str], said: Sequence[tuple[str, str]]) -> Prompt:
        return chat(question, passages, before=said) if self.chats else Prompt(question, tuple(passages))

    def _thought(self, prompt: Prompt, temperature: float, seed: int) -> Prompt:
        """The prompt with a trace that the model has written for it."""
        assert self.thinking is not None
        (traces,) = self.thinking.traces(self.model, [prompt], samples=1, temperature=temperature, seed=seed)
        return self.thinking.after(prompt, traces)[0]

    def _write(self, prompt: Prompt, max_tokens: int, temperature: float, seed: int) -> Iterator[Generation]:
        """What the model writes, again and again as it grows; all at once where it cannot do that."""
        if prompt.cut:
            yield Generation("", 0, 0.0, False)
        elif hasattr(self.model, "stream"):
            yield from self.model.stream(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed, one_line=not isinstance(prompt, Chat))
        else:
            yield self.model.generate([prompt], max_tokens=max_tokens, temperature=temperature, seed=seed)[0][0]

    def _size(self, prompt: Prompt) -> int:
        """Tokens of the prompt; of a model whose tokens are words, its words; 0 for an endpoint, which tells only afterwards."""
        text = self.model.render(prompt)
        return len(self.model.encode([text])[0]) if hasattr(self.model, "tokenizer") else len(text.split()) if hasattr(self.model, "word_level") else 0


def spoken(reply: Reply) -> Iterator[RenderableType]:
    """A reply for the terminal: the answer, the trace, the passages with their places. None of it is taken for markup."""
    yield Text(reply.text + (" ..." if reply.finish_reason == "length" else ""), style="bold")
    if reply.trace:
        yield Text(f"\nthought: {reply.trace}")
    for number, source in enumerate(reversed(reply.sources), start=1):  # the best first, for people
        place = f"{source.file}{f', {source.section}' if source.section else ''}"
        yield Text(f"\n[{number}] {place}", style="cyan")
        yield Text("\n".join(f"    {line}" for line in source.text.splitlines()), style="dim")
    if not reply.sources and reply.text != NOTHING:
        yield Text("\nno passage was shown: the answer is from the weights", style="dim")


def read_turns(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(role, text) of each message, neighbours of one role joined. Raises UserError for what is no conversation that ends with the user."""
    turns: list[tuple[str, str]] = []
    for number, message in enumerate(messages, start=1):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, Mapping) else (None, None)
        role = "system" if role == "developer" else role
        if role not in ROLES:
            raise UserError(f"message {number} has the role {role!r}; there is: {', '.join(ROLES)}")
        if isinstance(content, list):
            parts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content]
            content = None if None in parts else "\n".join(map(str, parts))
        if not isinstance(content, str):
            raise UserError(f"message {number} has no text: 'content' must be a string, or a list of parts of the type text")
        content = content.encode("utf-8", "replace").decode("utf-8")
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]}\n\n{content}")
        else:
            turns.append((role, content))
    if not turns or turns[-1][0] != "user" or not turns[-1][1].strip():
        raise UserError("the last message must be the user's, with some text")
    return turns


def thought(text: str, *, begun: bool = False) -> tuple[str, str]:
    """The trace that a reasoning model wrote between <think> and </think>, and its answer. `begun`: the prompt ends with <think> already."""
    open_, rest = (True, text) if begun else (text.lstrip().startswith(_THINK), text.lstrip().removeprefix(_THINK))
    if not open_:
        return "", text
    trace, ended, answer = rest.partition(_THOUGHT)
    return trace.strip(), answer.lstrip() if ended else ""
