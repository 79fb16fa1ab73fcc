"""A bigram model in NumPy, exact and explicit: each word depends on the one before it, through one table of logits.

It is small enough to write down its gradient in closed form, which is what other losses are checked against.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from tolman.core.component import Component
from tolman.core.cost import Cost, Meter
from tolman.core.data import Corpus, Document, Generation, Prompt
from tolman.core.errors import UserError
from tolman.core.packing import Batch, Example
from tolman.core.seeds import rng

END, UNKNOWN = "<|document|>", "<|unknown|>"
_WORD = re.compile(r"<\|\w+\|>|\w+(?:'\w+)*|\n|[^\w\s]")


class Bigram(Component):
    """Counts of word pairs with additive smoothing (Lidstone)."""

    smoothing: float = Field(default=0.1, gt=0)
    """Added to the count of every pair."""
    counted: bool = True
    """Whether a new model has counted the corpus's documents; if not, all words are equally likely after any word."""
    context_tokens: int = Field(default=512, ge=1)
    """Longest input and answer together, in words."""

    def create(self, corpus: Corpus, *, seed: int) -> "BigramModel":
        """A model with the words of `corpus` (its questions' too), which has counted its documents' targets if `counted`."""
        texts = [d.text for d in corpus.documents]
        asked = [t for q in corpus.questions for t in (q.prompt, *q.answers, *q.choices)]
        pool = [c for kind in corpus.kinds.values() for c in kind.candidates]
        words = dict.fromkeys((END, UNKNOWN, "\n", *(word for text in (*texts, *asked, *pool) for word in _WORD.findall(text))))
        model = BigramModel(self, list(words), np.zeros((len(words), len(words))))
        if self.counted:
            model.count(model.examples(corpus.documents))
        return model

    def load(self, folder: Path) -> "BigramModel":
        """The model that `BigramModel.save` wrote. Raises UserError where the file is missing or damaged."""
        path = folder / "bigram.npz"
        try:
            with np.load(path, allow_pickle=False) as saved:
                words, logits = [str(w) for w in saved["words"]], np.asarray(saved["logits"])
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if logits.shape != (len(words), len(words)):
            raise UserError(f"{path} is damaged: {len(words)} words and logits of shape {logits.shape}")
        return BigramModel(self, words, logits)


class BigramModel:
    """A live `Bigram`. `logits[a, b]`, float64, is the logit of word b after word a; probabilities are its softmax over b."""

    word_level = True

    def __init__(self, spec: Bigram, words: list[str], logits: np.ndarray) -> None:
        self.spec, self.words, self.logits = spec, words, logits
        self.index = {word: i for i, word in enumerate(words)}
        self.meter = Meter()
        self.context_tokens = spec.context_tokens

    # -- training --------------------------------------------------------------------------------------------------------------

    def examples(self, documents: Sequence[Document]) -> list[Example]:
        """Token ids beginning with `<|document|>`, and weight 1 on each word that begins inside a target.

        A document that is a target as a whole also ends with `<|document|>`.
        """
        out = []
        for document in documents:
            found = list(_WORD.finditer(document.text))
            token = [self.index[END], *(self.index.get(m.group(), self.index[UNKNOWN]) for m in found)]
            weight = [0.0, *(float(document.targets is None or any(a <= m.start() < b for a, b in document.targets)) for m in found)]
            if document.targets is None:
                token, weight = [*token, self.index[END]], [*weight, 1.0]
            out.append(Example(np.asarray(token, np.int64), np.asarray(weight, np.float32)))
        return out

    def count(self, examples: Sequence[Example]) -> None:
        """Set the logits to log(weighted count of each pair + smoothing): the closed form of training on `examples`."""
        counts = np.full(self.logits.shape, self.spec.smoothing)
        for example in examples:
            np.add.at(counts, (example.token[:-1], example.token[1:]), example.weight[1:])
        self.logits = np.log(counts)

    def loss(self, batch: Batch) -> float:
        """Sum over the batch of weight x next-token loss in nats, divided by the number of weighted tokens."""
        previous, token, weight = _pairs(batch)
        return float(-(weight * _log_softmax(self.logits)[previous, token]).sum() / len(token))

    def gradient(self, batch: Batch) -> np.ndarray:
        """Derivative (V, V) of `loss` with respect to the logits: weight x (probability - 1 where the word is the next one), summed by previous word."""
        previous, token, weight = _pairs(batch)
        gradient = np.zeros_like(self.logits)
        np.add.at(gradient, previous, weight[:, None] * np.exp(_log_softmax(self.logits))[previous])
        np.add.at(gradient, (previous, token), -weight)
        return gradient / len(token)

    # -- asking ----------------------------------------------------------------------------------------------------------------

    def render(self, prompt: Prompt) -> str:
        """Documents, trace and question, one a line."""
        return "\n".join((*prompt.documents, *prompt.thought, prompt.question))

    def encode(self, text: str) -> list[int]:
        """Ids of the words of `text`; words never seen are `<|unknown|>`."""
        return [self.index.get(word, self.index[UNKNOWN]) for word in _WORD.findall(text)]

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-probability in nats of each continuation: the sum over its pairs of neighbours, the prompt's last word being the first one's."""
        logprob = _log_softmax(self.logits)
        out = []
        for prompt, texts in zip(prompts, continuations, strict=True):
            tails = [self.encode(text) for text in texts]
            assert all(tails), "a continuation has no tokens"
            last = self._read(prompt, room=max(map(len, tails), default=0))
            self._book(sum(map(len, tails)))
            out.append([float(logprob[[last, *tail[:-1]], tail].sum()) for tail in tails])
        return out

    def generate(self, prompts: Sequence[Prompt], *, max_tokens: int, samples: int = 1, temperature: float = 0.0, seed: int = 0) -> list[list[Generation]]:
        """Texts up to a line break, the document's end or `max_tokens` words. A draw depends on the seed, the prompt and the sample's number only."""
        out = []
        for prompt in prompts:
            last = self._read(prompt, room=max_tokens)
            read = self.render(prompt)
            out.append([self._write(last, max_tokens, temperature, rng(seed, "bigram", read, i)) for i in range(samples)])
        return out

    def _write(self, last: int, max_tokens: int, temperature: float, draw: np.random.Generator) -> Generation:
        stops = {self.index[END], self.index["\n"]}
        written: list[int] = []
        nats, ended = 0.0, False
        while not ended and len(written) < max_tokens:
            logit = self.logits[last]
            token = int(logit.argmax()) if not temperature else int((logit / temperature + draw.gumbel(size=len(logit))).argmax())
            nats += float(_log_softmax(logit)[token])
            self._book(1)
            ended = token in stops
            if not ended:
                written.append(token)
            last = token
        return Generation(" ".join(self.words[i] for i in written), len(written) + ended, nats, ended)

    def _read(self, prompt: Prompt, room: int) -> int:
        """The last word of the prompt. Raises UserError where prompt and answer do not fit."""
        ids = [self.index[END], *self.encode(self.render(prompt))]
        if len(ids) + room > self.context_tokens:
            raise UserError(
                f"a prompt of {len(ids)} tokens and an answer of up to {room} do not fit into the model's context_tokens = {self.context_tokens}; "
                "put fewer documents in context or raise model.context_tokens"
            )
        self._book(len(ids))
        return ids[-1]

    def _book(self, tokens: int) -> None:
        """A softmax over one row of the table: an exponential, a sum and a quotient for each word."""
        self.meter.add(Cost(tokens=tokens, flops=3.0 * tokens * len(self.words)))

    def save(self, folder: Path) -> None:
        """Write words and logits as bigram.npz."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "bigram.npz", words=np.asarray(self.words), logits=self.logits)


def _pairs(batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Previous word, word and weight of each weighted position. An example's first token has no previous word: its weight does not count."""
    inside = (batch.segment[:, 1:] == batch.segment[:, :-1]) & (batch.weight[:, 1:] != 0)
    return batch.token[:, :-1][inside], batch.token[:, 1:][inside], batch.weight[:, 1:][inside].astype(np.float64)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max(-1, keepdims=True)
    return top - np.log(np.exp(top).sum(-1, keepdims=True))
