"""The OpenAI chat protocol as it is spoken here: what a request may say, what answers, pieces of answers and errors look like, who can answer.

What we add to the protocol stands in fields of their own, which clients pass on or leave alone: `sources`, the passages that an answer rests on, and `trace`, what
the model recalled before it answered.
"""

import json
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

Json = dict[str, Any]
TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 503: "overloaded_error"}
"""Status -> type of an error; otherwise invalid_request_error below 500 and server_error from there on."""


class Refusal(Exception):
    """An answer that is an error: HTTP status, a code for programs, one sentence for people, seconds after which to try again (None: do not)."""

    def __init__(self, status: int, code: str, message: str, *, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_s = status, code, message, retry_s

    def body(self) -> Json:
        """The error as OpenAI's clients read it."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        retry = {} if self.retry_s is None else {"Retry-After": str(self.retry_s)}
        return retry | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


# -- who answers ----------------------------------------------------------------------------------------------------------------------------------------


class Source(Protocol):
    """A passage that an answer rests on: the document's id, its file and section, the passage itself, how well it fits."""

    @property
    def document(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def section(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...


class Reply(Protocol):
    """A finished answer. `finish_reason`: stop (it ended by itself), length (a limit ended it) or content_filter."""

    @property
    def text(self) -> str: ...
    @property
    def sources(self) -> Sequence[Source]: ...
    @property
    def trace(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def finish_reason(self) -> str: ...


class Answerer(Protocol):
    """Who answers: what was taught (`app/taught`), or a model by itself."""

    def stream(
        self, messages: Sequence[Mapping[str, str]], *, max_tokens: int, temperature: float = 0.0, enough: Callable[[], bool] = lambda: False
    ) -> Iterator[Any]:
        """Pieces of text, which joined are the Reply's, and at last the Reply. UserError for what the asker can mend.

        `enough` is asked after each token: once it is true the writing ends, and the Reply is of what is written so far, with finish_reason length.
        """
        ...


# -- what is asked --------------------------------------------------------------------------------------------------------------------------------------


def _default_for_null(value: Any) -> Any:
    """`null` means the same as leaving the field out."""
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner is not None}
    return value


class Message(BaseModel):
    """One turn. A list of parts is taken for its texts, one a line."""

    model_config = ConfigDict(strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, content: Any) -> Any:
        if content is None:
            return ""
        if not isinstance(content, list):
            return content
        texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("only parts of type text can be read here")
        return "\n".join(texts)  # type: ignore[arg-type]

    @field_validator("content")
    @classmethod
    def _encodable(cls, content: str) -> str:
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise ValueError("holds half a character (a lone surrogate)") from error
        return content


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The fields of a request that have an effect; all others are let pass without one."""

    model_config = ConfigDict(strict=True)
    model: str | None = None
    messages: list[Annotated[Message, BeforeValidator(_default_for_null)]] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float = Field(default=0.0, ge=0, le=2, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: list[str] = Field(default=[], max_length=4)
    n: int = 1

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_more(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: list[str]) -> list[str]:
        if not all(stop):
            raise ValueError("an empty text stops nothing")
        return stop

    @field_validator("n")
    @classmethod
    def _one(cls, n: int) -> int:
        if n != 1:
            raise ValueError("one answer is given to each request: ask again for another")
        return n

    @field_validator("messages")
    @classmethod
    def _users_turn(cls, messages: list[Message]) -> list[Message]:
        if messages[-1].role != "user" or not messages[-1].content.strip():
            raise ValueError("the last one must be the user's, and say something")
        return messages

    @property
    def limit(self) -> int | None:
        """Most tokens to write, by either name."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    def turns(self) -> list[dict[str, str]]:
        """The messages as plain values; `developer` is what `system` is called now."""
        return [{"role": "system" if m.role == "developer" else m.role, "content": m.content} for m in self.messages]


def read_request(body: bytes) -> ChatRequest:
    """The request in `body`. Raises Refusal (400) with one sentence for what is wrong with it."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalid_json", f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(given, dict):
        raise Refusal(400, "invalid_request", 'the body must be a JSON object, such as {"messages": [{"role": "user", "content": "Who?"}]}')
    try:
        return ChatRequest.model_validate(_default_for_null(given))
    except ValidationError as error:
        raise Refusal(400, "invalid_request", _sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{field} is missing" if first["type"] == "missing" else f"{field}: {message[0].lower()}{message[1:]}"


# -- what is answered -----------------------------------------------------------------------------------------------------------------------------------


class Answer:
    """The one answer to a request, whole or in pieces, which share its id, time and model's name."""

    def __init__(self, model: str) -> None:
        self.head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, reply: Reply) -> Json:
        """A chat completion."""
        message = {"role": "assistant", "content": reply.text}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
        return self.head | {"object": "chat.completion", "choices": [choice], "usage": usage(reply)} | rests_on(reply)

    def chunk(self, delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
        """A piece of a chat completion."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return self.head | {"object": "chat.completion.chunk", "choices": [choice], **more}

    def last(self, reply: Reply, *, with_usage: bool) -> Iterator[Json]:
        """What follows the text: why it ended and what it rests on; then, if asked for, what it used."""
        yield self.chunk({}, reply.finish_reason, **rests_on(reply))
        if with_usage:
            yield self.head | {"object": "chat.completion.chunk", "choices": [], "usage": usage(reply)}


def usage(reply: Reply) -> Json:
    """The tokens read and written."""
    return {
        "prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens, "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }  # fmt: skip


def rests_on(reply: Reply) -> Json:
    """The passages and the trace of an answer."""
    sources = [
        {"document": s.document, "file": s.file, "section": s.section, "text": s.text, "score": s.score if math.isfinite(s.score) else None}
        for s in reply.sources
    ]  # fmt: skip
    return {"sources": sources, "trace": reply.trace}


def event(data: Json | str) -> bytes:
    """One server-sent event. JSON has no line breaks, so whatever a text holds stays within it."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
