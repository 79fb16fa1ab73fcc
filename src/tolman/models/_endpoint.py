"""Requests to an OpenAI-compatible endpoint: several at a time, retried with patience, each answer kept on disk as soon as it is there."""

import json
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tolman.core.component import digest
from tolman.core.errors import UserError
from tolman.core.seeds import rng

if TYPE_CHECKING:
    import openai  # the client library, not the module beside this one

Json = dict[str, Any]
REFUSED = "refused"
"""The one key of an answer that stands for a request which the endpoint's content filter turned down; its value is what it said."""
_CUT = 300
"""Characters of an endpoint's own words that a sentence of ours quotes."""


class Malformed(Exception):
    """What came back is no JSON object. Its message is the beginning of it."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint and how to ask it. Answers are kept in the folder `cache` (None: nowhere), one file each, written in one step."""

    base_url: str
    key_variable: str
    concurrency: int
    retries: int
    timeout_s: float
    cache: Path | None

    @cached_property
    def client(self) -> "openai.OpenAI":
        """Made at the first request, so that what is in the cache needs neither key nor network. Raises UserError where the library or the key is missing.

        The library retries by itself, at most `retries` times: on 408, 409, 429, 5xx, a broken connection and a timeout, after the time that Retry-After
        asks for (up to two minutes), else after .5 s, 1 s, 2 s, ... 8 s, less up to a quarter at random.
        """
        if find_spec("openai") is None:
            raise UserError("models/openai needs the package openai: pip install openai")
        import openai

        key = os.environ.get(self.key_variable, "") if self.key_variable else "none"
        if not key:
            raise UserError(
                f"the environment variable {self.key_variable} holds no key for {self.base_url}: set it, or set model.key_variable= for an endpoint without keys"
            )
        return openai.OpenAI(api_key=key, base_url=self.base_url, timeout=self.timeout_s, max_retries=self.retries)

    def ask(self, path: str, bodies: Sequence[Json], *, lacking: str = "") -> list[Json]:
        """The answer to each body, as JSON. Equal bodies are sent once, those in the cache not at all.

        Raises UserError when the endpoint fails for good, after the requests under way have ended: their answers are kept too. `lacking` is the sentence
        for an endpoint that does not know such requests.
        """
        keys = [digest(self._request(path, body)) for body in bodies]
        wanted = dict(zip(keys, bodies, strict=True))
        answers = {key: found for key, body in wanted.items() if (found := self._read(key, path, body)) is not None}
        missing = {key: body for key, body in wanted.items() if key not in answers}
        if missing:
            client = self.client  # a missing key is said before any thread begins
            with ThreadPoolExecutor(self.concurrency) as pool:
                under_way = {pool.submit(self._answer, client, key, path, body): key for key, body in missing.items()}
                try:
                    for future in as_completed(under_way):
                        answers[under_way[future]] = future.result()
                except BaseException as error:
                    pool.shutdown(cancel_futures=True)  # those under way end, and are kept
                    if not isinstance(error, Exception):
                        raise
                    raise UserError(self._sentence(error, path, lacking) + self._kept(under_way)) from error
        return [answers[key] for key in keys]

    def _answer(self, client: "openai.OpenAI", key: str, path: str, body: Json) -> Json:
        """Send one request, keep its answer. An answer without choices is an error of the endpoint's: it is passed on, not kept."""
        import openai

        try:
            answer = self._post(client, key, path, body)
        except openai.BadRequestError as error:
            if not (error.code or "").startswith("content_"):  # such as content_filter, content_policy_violation
                raise
            answer = {REFUSED: _said(error)[:_CUT]}
        if self.cache is not None and ("choices" in answer or REFUSED in answer):
            self._write(self.cache, key, self._request(path, body) | {"answer": answer})
        return answer

    def _post(self, client: "openai.OpenAI", key: str, path: str, body: Json) -> Json:
        """The library parses what comes back but does not retry where it is no JSON; that is done here, with the same patience."""
        said = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(0.5 * 2 ** (attempt - 1), 8.0) * (1 - 0.25 * rng(attempt, "jitter", key).random()))
            try:
                answer = client.post(path, body=body, cast_to=object)
            except json.JSONDecodeError as error:
                said = error.doc
                continue
            if isinstance(answer, dict):
                return answer
            said = str(answer)
        raise Malformed(said[:_CUT])

    # -- the cache -------------------------------------------------------------------------------------------------------------

    def _request(self, path: str, body: Json) -> Json:
        """Everything that an answer depends on. The key is not part of it."""
        return {"base_url": self.base_url, "path": path, "body": body}

    def _read(self, key: str, path: str, body: Json) -> Json | None:
        if self.cache is None:
            return None
        file = _file(self.cache, key)
        try:
            kept = json.loads(file.read_bytes())
            return kept["answer"] if {name: kept[name] for name in ("base_url", "path", "body")} == self._request(path, body) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} holds no answer of an endpoint ({error!r}); delete it, and it will be asked for again") from error

    def _write(self, cache: Path, key: str, kept: Json) -> None:
        file = _file(cache, key)
        scratch = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(scratch, "w") as handle:
                json.dump(kept, handle, ensure_ascii=False, indent=1)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(scratch, file)
        except OSError as error:
            with suppress(OSError):
                scratch.unlink()
            raise UserError(f"cannot keep answers in {cache}: {error.strerror}; set model.cache to a folder that can be written") from error

    # -- what went wrong -------------------------------------------------------------------------------------------------------

    def _sentence(self, error: Exception, path: str, lacking: str) -> str:
        """What failed, and what would mend it. An endpoint's own words are quoted without the key."""
        import openai

        if isinstance(error, UserError):
            return str(error)
        tried = f"in {self.retries + 1} tries" if self.retries else "in one try"
        if isinstance(error, Malformed):
            return f"{self.base_url} does not answer in JSON {tried}, but with {self._quote(str(error))}: is it an OpenAI-compatible endpoint?"
        if isinstance(error, openai.APITimeoutError):
            return f"{self.base_url} did not answer within {self.timeout_s:g} s {tried}: raise model.timeout_s or lower model.concurrency"
        if isinstance(error, openai.APIConnectionError):
            return f"{self.base_url} cannot be reached or breaks the connection, {tried}: check model.base_url and that it is running"
        if not isinstance(error, openai.APIStatusError):
            raise error
        said = self._quote(_said(error))
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{self.base_url} refuses the key in the environment variable {self.key_variable or '(none: see model.key_variable)'}"
        if isinstance(error, openai.RateLimitError):
            return f"{self.base_url} still asked to wait {tried} ({said}): lower model.concurrency, raise model.retries, or come back later"
        if error.code == "context_length_exceeded" or "context length" in error.message:
            return f"a prompt does not fit into the endpoint's context ({said}): put fewer documents in context"
        if lacking and error.status_code in (400, 404, 405, 422, 501):
            return f"{lacking} ({said})"
        if error.status_code == 404:
            return f"{self.base_url} does not know the model or the path {path} ({said})"
        if error.status_code < 500:
            return f"{self.base_url} refuses the request with status {error.status_code} ({said})"
        return f"{self.base_url} fails with status {error.status_code}, {tried} ({said})"

    def _quote(self, text: str) -> str:
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        return repr((text.replace(key, "***") if key else text)[:_CUT])

    def _kept(self, under_way: dict[Future[Json], str]) -> str:
        done = sum(future.done() and not future.cancelled() and future.exception() is None for future in under_way)
        if self.cache is None:
            return f"; {done} of {len(under_way)} answers came before, and are lost because model.cache names no folder" if done else ""
        return f"; {done} of {len(under_way)} answers came before and are kept: the same command goes on from there"


def _said(error: "openai.APIStatusError") -> str:
    """The endpoint's own words where it sent any, else the library's."""
    return str(error.body["message"]) if isinstance(error.body, dict) and error.body.get("message") else error.message


def _file(cache: Path, key: str) -> Path:
    return cache / key[:2] / f"{key}.json"
