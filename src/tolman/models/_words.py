"""The word-level tokenizer of `tiny`: every word, number and punctuation mark of a corpus is one token, and so is a line break."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

from tolman.core.errors import UserError

PAD, DOCUMENT, UNKNOWN = "<|pad|>", "<|document|>", "<|unknown|>"
_SPECIAL = (PAD, DOCUMENT, UNKNOWN)
_PATTERN = r"<\|\w+\|>|\w+(?:'\w+)*|\n|[^\w\s]"


class Words:
    """Text to token ids and back. `<|document|>` begins every document."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.size = tokenizer.get_vocab_size()
        self.pad, self.document, self.unknown = (tokenizer.token_to_id(t) for t in _SPECIAL)

    @classmethod
    def of(cls, texts: Iterable[str], extra: Sequence[str] = ()) -> "Words":
        """The vocabulary of `texts` and `extra`, in order of first appearance; always with the line break."""
        split = _splitter()
        seen = dict.fromkeys((*_SPECIAL, "\n", *extra))
        for text in texts:
            seen.update(dict.fromkeys(word for word, _ in split.pre_tokenize_str(text)))
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(seen)}, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = split
        tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex(r"^(?=.)"), " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{DOCUMENT} $A", special_tokens=[(DOCUMENT, 1)])
        return cls(tokenizer)

    @classmethod
    def read(cls, path: Path) -> "Words":
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{path} is no tokenizer file: {error}") from error

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, beginning with `<|document|>`."""
        return [np.asarray(e.ids, np.int64) for e in self.tokenizer.encode_batch_fast(list(texts))]

    def encode_with_targets(self, texts: Sequence[str], targets: Sequence[tuple[tuple[int, int], ...] | None]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids, and weight 1.0 on each token that begins inside a target span (all but the first where there are no spans)."""
        out = []
        for encoding, spans in zip(self.tokenizer.encode_batch(list(texts)), targets, strict=True):
            token = np.asarray(encoding.ids, np.int64)
            weight = np.ones(len(token), np.float32)
            weight[0] = 0.0
            if spans is not None:
                start = np.asarray([s for s, _ in encoding.offsets[1:]])
                weight[1:] = np.any([(start >= a) & (start < b) for a, b in spans], axis=0) if spans else 0.0
            out.append((token, weight))
        return out

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)


def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(_PATTERN), behavior="removed", invert=True)
