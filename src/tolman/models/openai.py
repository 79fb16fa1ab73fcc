"""Any OpenAI-compatible endpoint: a hosted model, or one served nearby by vLLM, llama.cpp, Ollama and the like.

It writes through /chat/completions. Likelihoods of given texts need /completions with `echo` and `logprobs`, which few endpoints have; there the text is read as it stands,
without a chat template. A question is one user message: what `render` gives, less the instruction, which is the system's message.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tolman.core.component import Component, Operational
from tolman.core.cost import Cost, Meter
from tolman.core.data import Chat, Corpus, Document, Generation, Prompt, Verdict
from tolman.core.errors import UserError
from tolman.core.seeds import derive
from tolman.models._endpoint import REFUSED, Endpoint, Json


class OpenAI(Component):
    """A model behind an OpenAI-compatible endpoint. Its key comes from the environment and is written nowhere."""

    model: str
    """The model's name, as the endpoint knows it."""
    base_url: str = "https://api.openai.com/v1"
    """Address of the endpoint, up to and with its version, such as http://127.0.0.1:8000/v1."""
    instruction: str = "Complete the last line. Write only the missing word or words, nothing else."
    """The system's message, before everything else; empty for none."""
    context_tokens: int = Field(default=8192, ge=1)
    """Longest input and answer together. A text of more words than this is not sent; what is too long all the same, the endpoint refuses."""
    stop: tuple[str, ...] = ("\n",)
    """Texts at which the answer ends."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the largest number of tokens to write."""
    logprobs: bool = False
    """Whether to ask for log-probabilities of what is written; where not, a generation's nats are nan."""
    extra: dict[str, Any] = Field(default={})
    """More parameters for every request, such as {"reasoning_effort": "low"}. They are written into records: never a key."""
    prices: dict[str, tuple[float, float]] = Field(default={})
    """Model name -> dollars per million tokens read, and written. What a model costs that is not listed is unknown (nan)."""
    key_variable: str = Operational("OPENAI_API_KEY")
    """Environment variable that holds the key; empty for an endpoint that needs none."""
    concurrency: int = Operational(8, ge=1, le=1000)
    """Most requests under way at a time."""
    retries: int = Operational(6, ge=0, le=100)
    """How often a request is tried again when the endpoint is busy, fails, breaks off, is silent or talks nonsense."""
    timeout_s: float = Operational(120.0, gt=0)
    """Longest silence before a request counts as failed."""
    cache: str = Operational("~/.cache/tolman/answers")
    """Folder in which every answer is kept, by all that it depends on; empty for none."""

    example: ClassVar[dict[str, Any]] = {"model": "example", "base_url": "http://127.0.0.1:8000/v1", "key_variable": "", "logprobs": True}

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("write it with http:// or https://")
        if "@" in parts.netloc or parts.query:
            raise ValueError("write it without user, password or parameters: records show it, and a key belongs into the environment")
        return value.rstrip("/")

    def create(self, corpus: Corpus, *, seed: int) -> "OpenAIModel":
        """The model. Nothing is sent yet."""
        return OpenAIModel(self)

    def load(self, folder: Path) -> "OpenAIModel":
        """The model that `OpenAIModel.save` named. Raises UserError where the file is missing or names another."""
        path = folder / "endpoint.json"
        try:
            saved = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if saved != self.identity():
            raise UserError(f"{path} names another endpoint or model than this component")
        return OpenAIModel(self)


class OpenAIModel:
    """A live `OpenAI`. An answer from the cache is booked like one just given: what a method costs does not depend on what was asked before."""

    chats = True

    def __init__(self, spec: OpenAI) -> None:
        self.spec = spec
        self.meter = Meter()
        self.context_tokens = spec.context_tokens
        cache = Path(spec.cache).expanduser() if spec.cache else None
        self.endpoint = Endpoint(spec.base_url, spec.key_variable, spec.concurrency, spec.retries, spec.timeout_s, cache)

    def render(self, prompt: Prompt) -> str:
        """The instruction and an empty line; then documents, trace and question (of a chat, what was said), one a line."""
        return (f"{self.spec.instruction}\n\n" if self.spec.instruction else "") + _lines(prompt)

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """Raises UserError when the endpoint fails for good; what it had answered is kept. `refused` and `failed` answers are verdicts of their own."""
        bodies = []
        for prompt in prompts:
            self._check_length(self.render(prompt), max_tokens)
            bodies += [self._chat(prompt, max_tokens, temperature, derive(seed, "openai", _lines(prompt), i) >> 32) for i in range(samples)]
        written = [self._generation(answer) for answer in self.endpoint.ask("/chat/completions", bodies)]
        return [written[i * samples : (i + 1) * samples] for i in range(len(prompts))]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability in nats of each continuation; nan where the endpoint failed on it. Raises UserError where it cannot score given texts."""
        texts = [self.render(prompt) for prompt in prompts]
        for text, tails in zip(texts, continuations, strict=True):
            self._check_length(text, max((len(tail.split()) for tail in tails), default=0))
        whole = [f"{text} {tail}" for text, tails in zip(texts, continuations, strict=True) for tail in tails]
        # as lm-evaluation-harness asks: one more token is written, for some endpoints refuse to write none
        shared = {"model": self.spec.model, "max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1, **self.spec.extra}
        answers = iter(self.endpoint.ask("/completions", [shared | {"prompt": text} for text in whole], lacking=self._lacking()))
        return [[self._nats(next(answers), text, tail) for tail in tails] for text, tails in zip(texts, continuations, strict=True)]

    def save(self, folder: Path) -> None:
        """Write which model this is as JSON: it has no weights here."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "endpoint.json").write_text(json.dumps(self.spec.identity(), indent=1) + "\n")

    def examples(self, documents: Sequence[Document]) -> list[object]:
        """Nothing: an endpoint's weights are out of reach."""
        raise UserError("models/openai has no weights to train: use train_time/untrained with it")

    # -- requests and answers --------------------------------------------------------------------------------------------------

    def _chat(self, prompt: Prompt, max_tokens: int, temperature: float, seed: int) -> Json:
        messages = [{"role": "system", "content": self.spec.instruction}] if self.spec.instruction else []
        messages += [{"role": "user", "content": _lines(prompt)}]
        if free := isinstance(prompt, Chat) and not prompt.begun:
            messages = [{"role": role, "content": text} for role, text in prompt.turns]  # type: ignore[attr-defined]
        body: Json = {
            "model": self.spec.model, "messages": messages, self.spec.limit: max_tokens, "temperature": temperature,
        }  # fmt: skip
        body |= {"stop": list(self.spec.stop)} if self.spec.stop and not free else {}
        body |= {"seed": seed} if temperature else {}
        body |= {"logprobs": True} if self.spec.logprobs else {}
        return body | self.spec.extra

    def _generation(self, answer: Json) -> Generation:
        """What an answer of /chat/completions says: its text, or why there is none."""
        if REFUSED in answer:
            self.meter.add(Cost(flops=math.nan, dollars=math.nan))
            return Generation(answer[REFUSED], 0, math.nan, True, Verdict.REFUSED)
        choice = _choice(answer)
        message = choice.get("message") or {}
        text, why = message.get("content"), choice.get("finish_reason")
        refused = bool(message.get("refusal")) or why == "content_filter"
        if not refused and not isinstance(text, str):
            self.meter.add(Cost(flops=math.nan, dollars=math.nan))
            return Generation(json.dumps(answer.get("error", answer))[:300], 0, math.nan, False, Verdict.FAILED)
        tokens = self._book(answer)
        if refused or text is None:
            return Generation(message.get("refusal") or text or "", tokens, math.nan, True, Verdict.REFUSED)
        listed = (choice.get("logprobs") or {}).get("content")
        nats = math.fsum(token["logprob"] for token in listed) if listed is not None else math.nan
        return Generation(text.strip(" "), tokens, nats, why == "stop")

    def _nats(self, answer: Json, text: str, tail: str) -> float:
        """Sum over the echoed tokens that begin after `text` and before the end of the whole. Raises UserError where they were not given."""
        choice = _choice(answer)
        if not choice:
            self.meter.add(Cost(flops=math.nan, dollars=math.nan))
            return math.nan
        self._book(answer)
        given = choice.get("logprobs") or {}
        begins, nats = given.get("text_offset") or [], given.get("token_logprobs") or []
        if not str(choice.get("text", "")).startswith(f"{text} {tail}") or len(begins) != len(nats) or not begins or begins[0] != 0:
            raise UserError(self._lacking())
        if len(text) not in begins:
            raise UserError(f"a token of {self.spec.model} reaches over the end of a prompt, so that {tail!r} has no score of its own: use scoring/exact")
        mine = [n for at, n in zip(begins, nats, strict=True) if len(text) <= at < len(text) + 1 + len(tail)]
        return math.fsum(mine) if None not in mine else math.nan

    def _lacking(self) -> str:
        return (
            f"{self.spec.base_url} does not give the log-probabilities of a given text (/completions with echo and logprobs), "
            "so it cannot choose by likelihood: use scoring/exact"
        )

    def _book(self, answer: Json) -> int:
        """Book the tokens that the endpoint counted, and their price; FLOPs are unknown. How many it wrote. Raises UserError where it did not count."""
        usage = answer.get("usage") or {}
        read, wrote = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
        if read is None:
            raise UserError(f"{self.spec.base_url} does not say how many tokens it read (usage), so that what it costs would be unknown")
        per_read, per_written = self.spec.prices.get(self.spec.model, (math.nan, math.nan))
        self.meter.add(Cost(tokens=read + wrote, flops=math.nan, dollars=(read * per_read + wrote * per_written) / 1e6))
        return wrote

    def _check_length(self, text: str, room: int) -> None:
        """A token is hardly ever more than a word, so what has too many words need not be sent to be refused."""
        if (words := len(text.split())) + room > self.context_tokens:
            raise UserError(
                f"a prompt of {words} words and an answer of up to {room} tokens do not fit into the model's context_tokens = {self.context_tokens}; "
                "put fewer documents in context or raise model.context_tokens"
            )


def _lines(prompt: Prompt) -> str:
    if isinstance(prompt, Chat):
        return "\n".join((*(text for _, text in prompt.turns), *([prompt.begun] if prompt.begun else [])))
    return "\n".join((*prompt.documents, *([prompt.trace] if prompt.trace else []), prompt.question))


def _choice(answer: Json) -> Json:
    """The first choice, or nothing where there is none."""
    choices = answer.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
