"""One model, one thread, one answer at a time: requests wait their turn in order, are refused when too many wait, and are cut when they take too long."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tolman.app._chat import Answerer, Refusal, Reply

BEGUN = object()


@dataclass(frozen=True)
class Asked:
    """What one request asks of the model."""

    messages: Sequence[dict[str, str]]
    max_tokens: int
    temperature: float = 0.0
    stop: Sequence[str] = ()


@dataclass(frozen=True)
class Written:
    """A Reply as it is sent: its text up to where it was cut, and why it ended."""

    text: str
    sources: Sequence[Any]
    trace: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


class Desk:
    """Where requests reach the model. `waiting` more than the one that is being answered are let in; each waits for its turn, and then writes, for `timeout_s` at most."""

    def __init__(self, answerer: Answerer, *, waiting: int, timeout_s: float) -> None:
        self.answerer, self.waiting, self.timeout_s = answerer, waiting, timeout_s
        self.inside = 0
        """Requests that wait or are being answered."""
        self.closed = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")  # torch is quickest from one thread, and so is the reader of a trace

    def close(self) -> None:
        """Answer nothing more; what is being written ends with its next piece."""
        self.closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def write(self, asked: Asked) -> AsyncIterator[str | Reply]:
        """Pieces of the answer, and at last the Reply. Closing this iterator ends the writing.

        Raises Refusal (503) if too many wait, if its turn does not come in time or if the desk closes, and whatever the model raises.
        """
        if self.inside > self.waiting:
            raise Refusal(503, "busy", f"{self.inside} requests are being answered or wait, which is as many as are let in: try again", retry_s=1)
        loop, news, left = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event()

        def tell(about: Callable[..., object], *values: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                loop.call_soon_threadsafe(about, *values)

        try:
            job = self._thread.submit(self._write, asked, lambda item: tell(news.put_nowait, item), left)
        except RuntimeError:  # it was shut down
            raise _closing() from None
        self.inside += 1
        job.add_done_callback(lambda _: tell(self._leave))
        job.add_done_callback(lambda job: tell(news.put_nowait, _closing()) if job.cancelled() else None)
        try:
            try:
                item = await asyncio.wait_for(news.get(), self.timeout_s)
            except TimeoutError:
                raise Refusal(503, "busy", f"other requests took all of the {self.timeout_s:g} s that this one may wait: try again", retry_s=5) from None
            while item is BEGUN or isinstance(item, str):
                if item is not BEGUN:
                    yield item
                item = await news.get()
            if isinstance(item, BaseException):
                raise item
            yield item
        finally:
            left.set()
            job.cancel()

    def _leave(self) -> None:
        self.inside -= 1

    def _write(self, asked: Asked, tell: Callable[[Any], None], left: threading.Event) -> None:
        """In the model's thread: tell of every piece, and at last of the Reply or of what went wrong."""
        tell(BEGUN)
        try:
            tell(self._written(asked, tell, left))
        except BaseException as error:  # whoever asked is told, and the desk goes on with the next
            tell(error)

    def _written(self, asked: Asked, tell: Callable[[Any], None], left: threading.Event) -> Written:
        deadline, stops, shown, reply = time.monotonic() + self.timeout_s, Stops(asked.stop), "", None

        def enough() -> bool:
            return stops.found or left.is_set() or self.closed.is_set() or time.monotonic() > deadline

        for item in self.answerer.stream(asked.messages, max_tokens=asked.max_tokens, temperature=asked.temperature, enough=enough):
            if not isinstance(item, str):
                reply = item
            elif piece := stops.read(item):
                shown += piece
                tell(piece)
        assert reply is not None, "a stream ends with its Reply"
        if self.closed.is_set():
            raise _closing()
        if rest := stops.rest():
            shown += rest
            tell(rest)
        why = "stop" if stops.found else reply.finish_reason
        return Written(shown, reply.sources, reply.trace, reply.prompt_tokens, reply.completion_tokens, why)


def _closing() -> Refusal:
    return Refusal(503, "stopping", "the server is being stopped", retry_s=5)


class Stops:
    """Finds the first of `texts` in a text that comes in pieces, which may break anywhere."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self.found = tuple(texts), False
        self._held = ""

    def read(self, piece: str) -> str:
        """What may be shown now: all up to a stop, and less the end that could still become one. Nothing after a stop."""
        if self.found:
            return ""
        text, self._held = self._held + piece, ""
        at = min((place for stop in self.texts if (place := text.find(stop)) >= 0), default=None)
        if at is not None:
            self.found = True
            return text[:at]
        hold = max((n for stop in self.texts for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n])), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def rest(self) -> str:
        """What was held back, once nothing more comes; nothing after a stop."""
        return self._held
