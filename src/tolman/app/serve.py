"""`tolman serve`: what was taught, behind an OpenAI-compatible endpoint and a chat page.

Who may ask is settled in `_gate`, what may be asked in `_chat`, whose turn it is in `_desk`. No document and no answer reaches the page as HTML: the page sets
them as text, and its policy allows its own script alone.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from tolman.app import _page
from tolman.app._chat import Answer, Answerer, ChatRequest, Refusal, event, read_request
from tolman.app._desk import Asked, Desk
from tolman.app._gate import Gate, is_loopback, refused
from tolman.core.errors import UserError

TOKEN_VARIABLE = "TOLMAN_TOKEN"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much one request, and all of them together, may take."""

    max_tokens: int = 512
    """Longest answer; who asks for more gets this much."""
    default_tokens: int = 256
    """Longest answer where the request does not say."""
    timeout_s: float = 120.0
    """Longest wait for a turn, and longest writing: what is written by then is the answer, with finish_reason `length`."""
    waiting: int = 8
    """Requests that may wait for the one that is being answered."""
    body_bytes: int = 1_000_000
    """Largest request."""
    body_s: float = 20.0
    """Longest time that a request may take to arrive."""


class Service:
    """An application (`app`, ASGI) that answers for one model called `name`.

    `host` is where it will listen: on loopback, requests that name another host are refused. Raises UserError for another host without a token.
    """

    def __init__(self, answerer: Answerer, *, name: str, host: str = "127.0.0.1", token: str | None = None, limits: Limits | None = None) -> None:
        check_token(host, token)
        self.name, self.limits = name, limits or Limits()
        self.desk = Desk(answerer, waiting=self.limits.waiting, timeout_s=self.limits.timeout_s)
        page, policy = _page.page(name)
        routes = FastAPI(title="Tolman", docs_url=None, redoc_url=None, openapi_url=None)  # their pages load scripts from elsewhere
        routes.add_api_route("/", lambda: HTMLResponse(page), include_in_schema=False)
        routes.add_api_route("/health", self.health)
        routes.add_api_route("/v1/models", self.models)
        routes.add_api_route("/v1/models/{model:path}", self.model)
        routes.add_api_route("/v1/chat/completions", self.chat, methods=["POST"], response_model=None)
        routes.add_exception_handler(Refusal, lambda _, error: refused(error))  # type: ignore[arg-type]
        routes.add_exception_handler(HTTPException, lambda _, error: refused(_unknown(error)))  # type: ignore[arg-type]
        routes.add_exception_handler(Exception, lambda _, error: refused(as_refusal(error)))
        self.app: ASGIApp = Gate(routes, token=token, local=is_loopback(host), policy=policy)
        config = uvicorn.Config(self.app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5, ws="none")
        self.server = _Server(config, self.desk)

    async def health(self) -> dict[str, Any]:
        """Whether it is there, and how busy."""
        return {"status": "ok", "requests": self.desk.inside}

    async def models(self) -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [await self.model(self.name)]}

    async def model(self, model: str) -> dict[str, Any]:
        """What there is to say of it."""
        if model != self.name:
            raise Refusal(404, "model_not_found", f"there is no model {model[:100]!r} here; there is {self.name!r}")
        return {"id": self.name, "object": "model", "created": 0, "owned_by": "tolman"}

    async def chat(self, request: Request) -> JSONResponse | StreamingResponse:
        """An answer to the last message: as JSON, or with `stream` as server-sent events."""
        wanted = read_request(await self._body(request))
        await self.model(wanted.model or self.name)
        tokens = min(wanted.limit or self.limits.default_tokens, self.limits.max_tokens)
        pieces = self.desk.write(Asked(wanted.turns(), tokens, wanted.temperature, wanted.stop))
        if wanted.stream:
            try:
                first = await anext(pieces)  # so that what is refused before anything is written has a status of its own
            except Exception as error:
                raise as_refusal(error) from error
            return StreamingResponse(self._events(wanted, first, pieces), media_type="text/event-stream")
        try:
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                async for piece in pieces:
                    if not isinstance(piece, str):
                        return JSONResponse(Answer(self.name).whole(piece))
                    if await request.is_disconnected():
                        raise Refusal(400, "gone", "whoever asked has left")
        except Exception as error:
            raise as_refusal(error) from error
        raise AssertionError("a desk ends with the Reply")

    async def _events(self, wanted: ChatRequest, first: Any, pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
        answer = Answer(self.name)
        yield event(answer.chunk({"role": "assistant", "content": ""}))
        try:
            async with contextlib.aclosing(pieces):  # type: ignore[type-var]
                piece = first
                while isinstance(piece, str):
                    yield event(answer.chunk({"content": piece}))
                    piece = await anext(pieces)
                for chunk in answer.last(piece, with_usage=wanted.stream_options.include_usage):
                    yield event(chunk)
            yield event("[DONE]")
        except Exception as error:  # the status is sent already, so the error is an event
            yield event(as_refusal(error).body())

    async def _body(self, request: Request) -> bytes:
        """The request's body. Raises Refusal for one that is too large (413) or too slow (408)."""
        too_large = Refusal(413, "too_large", f"a request may have {self.limits.body_bytes:,} bytes at most")
        try:
            if int(request.headers.get("content-length", 0)) > self.limits.body_bytes:
                raise too_large
        except ValueError:
            raise Refusal(400, "invalid_request", "Content-Length is no number") from None
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for part in request.stream():
                    body += part
                    if len(body) > self.limits.body_bytes:
                        raise too_large
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the request did not arrive within {self.limits.body_s:g} s") from None
        return bytes(body)

    def run(self, listening: socket.socket) -> None:
        """Answer until Ctrl-C (or SIGTERM)."""
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once all is closed
            self.server.run([listening])

    def stop(self) -> None:
        """End `run`, from any thread, as Ctrl-C does."""
        self.server.should_exit = True


class _Server(uvicorn.Server):
    """Closes the desk first when it is stopped, so that nobody waits for long answers to end."""

    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self.desk = desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.desk.close()
        await super().shutdown(sockets)


def as_refusal(error: Exception) -> Refusal:
    """What the asker is told of `error`; what is our fault goes to the log in full and to them in one sentence."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UserError):
        return Refusal(400, "invalid_request", str(error))
    log.error("an answer failed", exc_info=error)
    return Refusal(500, "failed", "the model could not answer this because of a fault here; the server's log has the details")


def _unknown(error: HTTPException) -> Refusal:
    """Refusal for a path or method that there is not."""
    if error.status_code == 404:
        return Refusal(404, "not_found", "there is /, /health, /v1/models and /v1/chat/completions")
    return Refusal(error.status_code, "invalid_request", str(error.detail))


def check_token(host: str, token: str | None) -> None:
    """Raises UserError for a host that others can reach without a token, and for a token that headers cannot carry."""
    if token is None:
        if not is_loopback(host):
            raise UserError(f"{host} can be reached from other machines: give a token with --token or {TOKEN_VARIABLE}, or listen on 127.0.0.1")
    elif not (token.isascii() and token.isprintable() and token == token.strip() and len(token) >= 8):
        raise UserError("a token has at least 8 printable ASCII characters and no space around them")


def listen(host: str, port: int) -> socket.socket:
    """A socket on `host`:`port` (0: any free port). Raises UserError where it cannot be had."""
    if not 0 <= port <= 65535:
        raise UserError(f"there is no port {port}: give one from 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()  # who asks before the model is loaded waits for it
    except OSError as error:
        raise UserError(f"cannot listen on {host}, port {port}: {error.strerror}; choose another with --host or --port") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL at which `listening` answers."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def prepare(folder: Path | None, model: str | None, *, host: str, port: int, token: str | None, limits: Limits) -> tuple[Service, socket.socket]:
    """The service for a taught directory, or for a model by itself, and the socket on which it will answer.

    What can be refused at once is refused before a model is loaded. Raises UserError.
    """
    from tolman.app._answering import who  # torch and transformers

    if (folder is None) == (model is None):
        raise UserError("name what is to answer: a directory that `tolman teach` wrote, or a model with --model (not both)")
    check_token(host, token)
    listening = listen(host, port)
    answerer, name = who(folder, model)
    return Service(answerer, name=name, host=host, token=token, limits=limits), listening
