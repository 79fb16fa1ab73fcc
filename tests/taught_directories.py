"""Small taught directories, made in a second: a few documents, questions about them, a model of random weights (or a given one) with or without an adapter."""

from pathlib import Path
from typing import Any

from tolman.app._lesson import Lesson
from tolman.core.data import Corpus
from tolman.datasets.folder import Folder
from tolman.memory.episodic import Episodic
from tolman.models.hf import Hf
from tolman.run.cell import Cell
from tolman.scoring.exact import Exact
from tolman.test_time.closed_book import ClosedBook
from tolman.test_time.quoted import Quoted
from tolman.test_time.retrieval import Retrieval
from tolman.train_time.finetune import Finetune
from tolman.train_time.untrained import Untrained

PEOPLE = (("Edda Vanloo", "Tarnholt", "1871"), ("Lucan Merrow", "Oskholm", "1866"), ("Ruth Calloway", "Marrin", "1880"), ("Ilse Korvin", "Port Amary", "1859"))
HOSTILE = "<script>document.documentElement.dataset.hacked = 'script'</script><img src=x onerror=\"document.documentElement.dataset.hacked = 'img'\">"
CLOSED, RECALLED = ClosedBook(), Quoted(context=Retrieval(retriever=Episodic(k=2)))


def documents(folder: Path) -> Path:
    """A folder of documents about four people."""
    folder.mkdir(parents=True)
    for name, town, year in PEOPLE:
        text = f"# {name}\n\n{name} was born in {town} in the year {year}.\n\n## Later\n\nFrom there {name} went to the observatory, which has a copper roof.\n"
        (folder / f"{name.split()[1].lower()}.md").write_text(text)
    (folder / "page.txt").write_text(f"A page about the observatory clock, which wants to be more than a text: {HOSTILE}\n")
    return folder


def questions() -> list[dict[str, Any]]:
    """Two kinds: statements to complete, and questions in words."""
    towns, rows = [town for _, town, _ in PEOPLE], []
    for name, town, year in PEOPLE:
        file, fact = f"{name.split()[1].lower()}.md", {"support": [f"{name.split()[1].lower()}.md"], "split": "test"}
        rows.append({"prompt": f"{name} was born in", "answers": [town], "kind": "recall", "fact": f"{file} town", "choices": towns, **fact})
        rows.append({"prompt": f"In which year was {name} born?", "answers": [year], "kind": "rephrase", "fact": f"{file} year", **fact})
        rows.append(
            {"prompt": f"Where was {name} born?", "answers": [town, f"in {town}"], "kind": "rephrase", "fact": f"{file} town", "choices": towns, **fact}
        )
    return rows


def teach(folder: Path, *, test_time: Any = CLOSED, model: Hf | None = None, adapter: bool = False) -> Path:
    """A taught directory `folder`/my-model."""
    import json

    docs, asked = documents(folder / "docs"), folder / "questions.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in questions()))
    dataset = Folder(path=docs, questions=asked)
    corpus, weights = dataset.build(0), folder / "trained"
    if model is None:
        Hf(path="random", dtype="float32").create(corpus, seed=0).save(folder / "base")
        model = Hf(path=str(folder / "base"), dtype="float32")
    live = model.create(Corpus((), (), {}), seed=0)
    if adapter:
        from peft import LoraConfig, get_peft_model

        live.network = get_peft_model(live.network, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    live.save(weights)
    method = Finetune() if adapter else Untrained()
    cell = Cell(dataset=dataset, model=model, train_time=method, test_time=test_time, scoring=Exact(), seed=0, training="made up", asking=test_time.address())
    Lesson(cell, weights, corpus).write(folder / "my-model")
    return folder / "my-model"
