"""Dense retrieval: documents whose embedding points the same way as the question's.

By default static embeddings, the mean of a text's token vectors: those of WordLlama (256 dimensions, from Llama's token embeddings, MIT licence), whose package ships them, so
that nothing is downloaded. Word order is lost: "A feeds B" and "B feeds A" are one point.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.memory._ranking import kept, ranked, shown

Library = Literal["wordllama", "model2vec", "sentence_transformers"]
Embed = Callable[[Sequence[str]], np.ndarray]


class Dense(Component):
    """The `k` documents of highest cosine similarity with the question, the best last."""

    k: int = Field(default=4, ge=1)
    """How many documents to find."""
    library: Library = "wordllama"
    """What computes the embeddings: `wordllama` (its package holds the vectors), or `model2vec` or `sentence_transformers` with a `model`."""
    model: str = ""
    """Folder or hub id of the model, for `model2vec` and `sentence_transformers`."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.library == "wordllama") != (not self.model):
            raise ValueError(
                f"library = {self.library} needs a model: a folder or a hub id"
                if not self.model
                else "wordllama ships its one model: leave model empty, or set library"
            )
        return self

    def retrieve(self, corpus: Corpus, questions: Sequence[Question], *, seed: int) -> list[list[Document]]:
        """Documents are embedded once for a corpus. Ties go to the earlier document; nothing is drawn. Raises UserError where the library or model is missing."""
        embed = embedder(self.library, self.model)
        documents, unit_ND = kept(corpus, f"dense {self.library} {self.model}", lambda documents: (documents, unit(embed([d.text for d in documents]))))
        # one product for each question: a product for all would round by how many are asked
        return [shown(documents, ranked(unit_ND @ unit(embed([question.prompt]))[0]), self.k) for question in questions]


def unit(embedding_ND: np.ndarray) -> np.ndarray:
    """Rows of length 1; an empty text stays at 0, which is similar to nothing."""
    length_N1 = np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    return embedding_ND / np.where(length_N1 > 0, length_N1, 1)


@cache
def embedder(library: Library, model: str) -> Embed:
    """What turns texts into rows of float64. Raises UserError saying what to install or which model is not there."""
    if importlib.util.find_spec(library) is None:
        raise UserError(f"memory/dense with library = {library} needs the package {library.replace('_', '-')}: pip install {library.replace('_', '-')}")
    if library == "wordllama":
        return _wordllama()
    try:
        if library == "model2vec":
            from model2vec import StaticModel

            encode: Any = StaticModel.from_pretrained(model, force_download=False).encode
        else:
            from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

            encode = SentenceTransformer(model, trust_remote_code=False).encode
    except Exception as error:  # both libraries, and the hub behind them, raise many unrelated errors
        raise UserError(f"memory/dense cannot load model = {model!r} with {library}: {error}; give a local folder, or a hub id that is reachable") from error
    return lambda texts: np.asarray(encode(list(texts)), np.float64).reshape(len(texts), -1)


def _wordllama() -> Embed:
    """Mean token vectors. The package's files are read without importing it: its import would set up logging for the whole process."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = importlib.util.find_spec("wordllama")
    assert spec is not None and spec.submodule_search_locations, "wordllama was found just before"
    folder = Path(spec.submodule_search_locations[0])
    try:
        vector_VD = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].astype(np.float32)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    except Exception as error:  # tokenizers and safetensors raise bare errors
        raise UserError(
            f"the installed wordllama does not hold its vectors: {error}; install wordllama 0.4, or set memory.dense's library and model"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def embed(texts: Sequence[str]) -> np.ndarray:
        rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        return np.stack([vector_VD[row].mean(0, dtype=np.float64) if row else np.zeros(vector_VD.shape[1]) for row in rows])

    return embed
