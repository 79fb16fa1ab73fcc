"""What is written into a taught directory: from a cell that was run, its weights and its documents, to the files."""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tolman.app import _directory
from tolman.core.component import Component
from tolman.core.data import Corpus
from tolman.datasets.folder import Folder
from tolman.memory._episodes import Episode
from tolman.memory.episodic import Episodic
from tolman.models.saved import Saved
from tolman.run.cell import Cell
from tolman.run.environment import environment
from tolman.run.store import saying, write_atomically
from tolman.test_time.retrieval import Retrieval


@dataclass(frozen=True)
class Lesson:
    """What a directory is to hold."""

    cell: Cell
    """The cell whose method it is: base model, train-time and test-time method, and the folder with the documents."""
    weights: Path
    """A folder with what the trained model's `save` wrote."""
    corpus: Corpus
    """The built questions."""
    recommendation: str = ""
    """Why this method, or that it was named."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, as scores.json holds it."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """More for taught.json: costs, retention, history."""

    @property
    def dataset(self) -> Folder:
        assert isinstance(self.cell.dataset, Folder), "only folders of documents are taught"
        return self.cell.dataset

    def about(self, weights: str, files: Mapping[str, str], documents: Mapping[str, str]) -> dict[str, Any]:
        """taught.json, but for its stamp."""
        cell, model = self.cell, base(self.cell.model)
        parts = {"model": model, "train_time": cell.train_time, "test_time": cell.test_time, "scoring": cell.scoring}
        dataset = {**self.dataset.config(), "path": _directory.DOCUMENTS, "questions": _directory.QUESTIONS if self.dataset.questions else None}
        return {
            **{name: part.config() for name, part in parts.items()}, "dataset": dataset, "seed": cell.seed, "training": cell.training, "asking": cell.asking,
            "method": f"{cell.training}, {cell.asking}", "trains": trains(cell), "weights": weights, "files": dict(files), "documents": dict(documents),
            "forgotten": {}, "recommendation": self.recommendation, "environment": environment(), **self.notes,
        }  # fmt: skip

    def write(self, out: Path) -> None:
        """Make the directory `out`, which must not be there: it appears whole or not at all."""
        with appearing(out) as folder:
            documents = copy_documents(self.dataset, folder / _directory.DOCUMENTS)
            _, passages = self.dataset.read()
            memory_of(self.cell.test_time).open(folder / _directory.MEMORY).add(episodes(passages))
            weights = copy_weights(self.weights, folder)
            _directory.write_questions(folder, self.corpus)
            _directory.write_scores(folder, self.scores)
            _directory.write(folder, self.about(weights, _directory.hashes(folder, weights), documents))


def base(model: Component) -> Component:
    """The component that reads the weights: of an artifact, the one that it was trained with. A folder that it names is named from the root on."""
    if isinstance(model, Saved):
        return base(model.model)
    named = {field: value for field in ("path", "adapter") if isinstance(value := getattr(model, field, None), str)}
    return model.replace_all({field: str(path.absolute()) for field, value in named.items() if (path := Path(value).expanduser()).is_dir()})


def trains(cell: Cell) -> bool:
    """Whether the cell's method changes weights."""
    return bool(getattr(cell.train_time, "trains", True))


def memory_of(test_time: Component) -> Episodic:
    """The memory that a test-time method asks; the usual one where it asks none (whatever the method, what was taught is kept)."""
    inner: Any = test_time
    while hasattr(inner, "context"):
        inner = inner.context
    return inner.retriever if isinstance(inner, Retrieval) and isinstance(inner.retriever, Episodic) else Episodic()


def episodes(passages: Sequence[Any]) -> list[Episode]:
    """Passages of a folder as the memory keeps them."""
    return [Episode(p.id, p.file, p.section, p.text, p.begin, p.end) for p in passages]


def copy_documents(dataset: Folder, to: Path) -> dict[str, str]:
    """Copy every file that has text; name -> SHA-256."""
    paths, (reading, _) = dataset.files(), dataset.read()
    to.mkdir(parents=True, exist_ok=True)
    for source in reading.sources:
        copy_document(paths[source.file], to, source.file)
    return {source.file: _directory.sha256(to / source.file) for source in reading.sources}


def copy_document(path: Path, to: Path, name: str) -> None:
    """Copy one file under its name within `to`, whole or not at all."""
    with saying("copy", path):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to / name, path.read_bytes())


def copy_weights(artifact: Path, folder: Path) -> str:
    """Copy what a model's `save` wrote into a folder of its own name in `folder`, and say which: adapter or weights, with a number if there is one already."""
    name = _directory.ADAPTER if (artifact / "adapter_config.json").is_file() else _directory.WEIGHTS
    number = 1
    while (folder / (inside := name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    with saying("write", folder / inside):
        shutil.copytree(artifact, folder / inside, ignore=shutil.ignore_patterns("artifact.json", "*.jsonl", "README.md"))
    return inside


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A scratch folder beside `out`, which becomes `out` when the block ends without an error."""
    scratch = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    try:
        with saying("write", out):
            out.parent.mkdir(parents=True, exist_ok=True)
            scratch.mkdir()
        yield scratch
        with saying("write", out):
            if out.is_dir():
                out.rmdir()  # an empty one may stand there
            scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
