"""A real HTTP server on loopback that speaks the OpenAI protocol for a bigram model, and misbehaves when told to."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from tolman.core.component import Component
from tolman.core.data import Prompt
from tolman.models.bigram import _WORD, Bigram
from tolman.testing._world import world

Reply = Callable[["Handler"], None]
CONTEXT = 20_000


class Server:
    """`faults` are replies used up, one a request, before the model answers; `always` is one for every request whose body it accepts."""

    def __init__(self, *faults: Reply, logprobs: bool = True, echo: bool = True) -> None:
        self.faults, self.logprobs, self.echo = list(faults), logprobs, echo
        self.always: Callable[[dict[str, Any]], Reply | None] = lambda body: None
        self.seen: list[dict[str, Any]] = []
        self.at: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()
        self.model = Bigram(context_tokens=CONTEXT).create(world(), seed=0)

    def __enter__(self) -> "Server":
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.owner = self  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Server

    def do_POST(self) -> None:
        self.owner = self.server.owner  # type: ignore[attr-defined]
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.owner.lock:
            self.owner.seen.append(self.body)
            self.owner.at.append(time.monotonic())
            self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.owner.busy += 1
            self.owner.most_busy = max(self.owner.most_busy, self.owner.busy)
            reply = self.owner.faults.pop(0) if self.owner.faults else self.owner.always(self.body)
        try:
            reply(self) if reply else self.serve()
        finally:
            with self.owner.lock:
                self.owner.busy -= 1

    def serve(self) -> None:
        chat = self.path == "/v1/chat/completions"
        text = "\n".join(m["content"] for m in self.body["messages"]) if chat else self.body["prompt"]
        if len(_WORD.findall(text)) + self.body["max_tokens"] >= CONTEXT:
            return self.error(400, "the maximum context length is exceeded", "context_length_exceeded")
        with self.owner.lock:
            self.say(self.chat(text) if chat else self.complete(text))

    def chat(self, text: str) -> dict[str, Any]:
        """Greedy or drawn words of the bigram model, with their log-probabilities (that of ending is not among them)."""
        model, options = self.owner.model, self.body
        (written,) = model.generate([Prompt(text)], max_tokens=options["max_tokens"], temperature=options["temperature"], seed=options.get("seed", 0))[0]
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": written.text}, "finish_reason": "stop" if written.finished else "length"}
        if options.get("logprobs") and self.owner.logprobs:
            choice["logprobs"] = {"content": [{"token": w, "logprob": n} for w, n in self.words(text + " " + written.text)[len(_WORD.findall(text)) :]]}
        return {"choices": [choice], "usage": {"prompt_tokens": len(_WORD.findall(text)), "completion_tokens": len(written.text.split())}}

    def complete(self, text: str) -> dict[str, Any]:
        """The text again, each token beginning where the one before ended, and one more word."""
        ends = [0, *(m.end() for m in _WORD.finditer(text))]
        nats = [n for _, n in self.words(text)]
        logprobs = {"text_offset": [*ends[:-1], len(text)], "token_logprobs": [None, *nats[1:], -1.0]}
        choice = {"text": (text if self.owner.echo else "") + " more", "logprobs": logprobs if self.owner.logprobs else None, "finish_reason": "length"}
        return {"choices": [choice], "usage": {"prompt_tokens": len(nats), "completion_tokens": 1}}

    def words(self, text: str) -> list[tuple[str, float]]:
        """Each word of `text` and its log-probability after the one before."""
        model, ids = self.owner.model, self.owner.model.encode(text)
        return [
            (w, float(model.logits[a][b] - np.logaddexp.reduce(model.logits[a])))
            for w, a, b in zip(_WORD.findall(text), [0, *ids[:-1]], ids, strict=True)
        ]  # fmt: skip

    def say(self, answer: Any, status: int = 200, **headers: object) -> None:
        self.raw(json.dumps(answer).encode(), status, **headers)

    def raw(self, data: bytes, status: int = 200, content_type: str = "application/json", **headers: object) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def error(self, status: int, message: str = "something broke", code: str | None = None, **headers: object) -> None:
        self.say({"error": {"message": message, "code": code, "type": "error"}}, status, **headers)

    def cut(self) -> None:
        """Promise more than is sent, then hang up."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [{"mess')
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def served(component: Component, folder: Path) -> Iterator[Component]:
    """`component` as it is; an endpoint's with a server to talk to, and a cache of its own."""
    if component.address() != "models/openai":
        yield component
        return
    with Server() as server:
        yield component.replace_all({"base_url": server.url, "cache": str(folder / "answers")})
