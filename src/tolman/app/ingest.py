"""What a folder of documents holds, for people: the files that were read, those that were not and why, how much of them can be asked about."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tolman.core.data import Corpus
from tolman.datasets.folder import Folder


def coverage(folder: Folder, corpus: Corpus) -> dict[str, Any]:
    """Files with their words, passages and questions; problems; totals; why facts were not asked. All of it JSON."""
    reading, passages = folder.read()
    file_of = {p.id: p.file for p in passages}
    files = [
        {
            "file": source.file, "words": source.words, "sections": len(source.sections), "passages": sum(p.file == source.file for p in passages),
            "questions": sum(any(file_of[id] == source.file for id in q.support) for q in corpus.questions),
        }
        for source in reading.sources
    ]  # fmt: skip
    problems = [{"file": p.file, "says": p.says, "left_out": p.left_out} for p in reading.problems]
    totals = {name: corpus.facts[name] for name in ("files", "files_asked", "passages", "passages_asked", "sentences", "words", "clusters")}
    return {"files": files, "problems": problems, "totals": totals, "not_asked": corpus.facts["left_out"]}


def describe(found: Mapping[str, Any], path: Path) -> Iterator[RenderableType]:
    """`coverage` for the terminal."""
    table = Table(title=f"{path}: {found['totals']['files']} files, {found['totals']['words']} words", title_justify="left")
    for name in ("file", "words", "passages", "questions"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for row in found["files"]:
        table.add_row(*(Text(str(row[name])) for name in ("file", "words", "passages", "questions")))
    yield table
    for problem in found["problems"]:
        yield Text(f"{'left out: ' if problem['left_out'] else 'note: '}{problem['file']} {problem['says']}", style="yellow")
    totals = found["totals"]
    yield Text(
        f"asked about {totals['clusters']} facts in {totals['passages_asked']} of {totals['passages']} passages, {totals['files_asked']} of {totals['files']} files"
    )
    for why, n in found["not_asked"].items():
        yield Text(f"not asked: {n} ({why})", style="dim")
