"""Who answers in the tests of the server: scripted, but a real stream with real waiting; and the server itself on a free port of this machine."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tolman.app.serve import Limits, Service, address_of, listen

HOSTILE = (
    "<script>document.documentElement.dataset.hacked = 'script'</script><img src=x onerror=\"document.documentElement.dataset.hacked = 'img'\"> & \"so on\""
)


@dataclass(frozen=True)
class Source:
    document: str
    file: str
    section: str
    text: str
    score: float


@dataclass(frozen=True)
class Reply:
    text: str
    sources: tuple[Source, ...]
    trace: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


SOURCES = (
    Source("letters.md:3", "letters.md", "1911 > Spring", "Ada Venn taught Bo Lind from 1911 on, in the house at North Bray.", 7.5),
    Source("notes.txt:1", "notes.txt", "", f"A page that wants to be more: {HOSTILE}", 3.25),
)


class Scripted:
    """Says `said` (or, if None, the last message again), a word at a time, `pause_s` before each. One token is one word."""

    def __init__(
        self, said: str | None = None, *, pause_s: float = 0.0, error: Exception | None = None, sources: tuple[Source, ...] = SOURCES, trace: str = ""
    ) -> None:
        self.said, self.pause_s, self.error, self.sources, self.trace = said, pause_s, error, sources, trace
        self.asked: list[list[Mapping[str, str]]] = []
        self.temperatures: list[float] = []
        self.written = 0
        """Words written, over all requests."""
        self.busy = self.most_busy = 0
        self.threads: set[int] = set()
        self.turn = threading.Event()
        """Words are written while this is set; the first `free_words` of an answer always are."""
        self.turn.set()
        self.free_words = 0

    def stream(
        self, messages: Sequence[Mapping[str, str]], *, max_tokens: int, temperature: float = 0.0, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[str | Reply]:
        self.asked.append(list(messages))
        self.temperatures.append(temperature)
        self.threads.add(threading.get_ident())
        text, done, finish = self.said if self.said is not None else messages[-1]["content"], 0, "stop"
        pieces = [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))]
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            for piece in pieces:
                if done == max_tokens or enough():
                    finish = "length"
                    break
                if self.error:
                    raise self.error
                if done >= self.free_words:
                    self.turn.wait(60)
                time.sleep(self.pause_s)
                done += 1
                self.written += 1
                yield piece
        finally:
            self.busy -= 1
        prompt = sum(len(m["content"].split()) for m in messages)
        yield Reply("".join(pieces[:done]), self.sources, self.trace, prompt, done, finish)


@contextmanager
def serving(answerer: object, *, token: str | None = None, limits: Limits | None = None, name: str = "my-model") -> Iterator[tuple[str, Service]]:
    """(address, service) of a server on a free port; it is stopped as Ctrl-C stops it."""
    listening = listen("127.0.0.1", 0)
    address = address_of(listening)
    service = Service(answerer, name=name, token=token, limits=limits)  # type: ignore[arg-type]
    thread = threading.Thread(target=service.run, args=(listening,), daemon=True)
    thread.start()
    try:
        yield address, service
    finally:
        service.stop()
        thread.join(60)
        assert not thread.is_alive(), "the server does not end"
