"""What a component or study is, for `tolman show`: fields with their documentation, scales, samples."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tolman.core.component import Component
from tolman.core.discovery import component, module

SAMPLES = 3


def describe_component(address: str, seed: int) -> Iterator[RenderableType]:
    """Title, fields, scales and, for a dataset, samples of its quick world."""
    cls = component(address)
    yield Text(f"{address}: {(cls.__doc__ or '').splitlines()[0]}", style="bold")
    table = Table("field", "default", "what it is", box=None, padding=(0, 2, 0, 0))
    for name, info in cls.model_fields.items():
        default = "required" if info.is_required() else str(info.default)
        note = " (only says where or how fast to run)" if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("operational") else ""
        table.add_row(name, default, (info.description or "") + note)
    if cls.model_fields:
        yield table
    for scale, fields in cls.scales.items():
        yield Text(f"scale {scale}: {', '.join(f'{k}={v}' for k, v in fields.items()) or 'the defaults'}")
    if address.startswith("datasets/"):
        yield from _samples(cls, seed)
    yield Text()


def _samples(cls: type[Component], seed: int) -> Iterator[RenderableType]:
    dataset: Any = cls.at("quick") if "quick" in cls.scales else cls()
    corpus = dataset.build(seed)
    roles: dict[str, list[Any]] = {}
    for document in corpus.documents:
        roles.setdefault(document.role, []).append(document)
    for role, documents in roles.items():
        yield Text(f"\n{len(documents)} documents of role {role!r}, such as", style="bold")
        for document in documents[:: max(1, len(documents) // SAMPLES)][:SAMPLES]:
            yield Text(f"  {document.id}\n" + "\n".join(f"    {line}" for line in document.text.splitlines()))
    table = Table("kind", "asks", "n", "chance", "question -> answer", title="questions", title_justify="left")
    for kind, info in corpus.kinds.items():
        questions = [q for q in corpus.questions if q.kind == kind]
        if questions:
            flags = " (latent)" * info.latent + " (control)" * info.control
            table.add_row(
                kind + flags, info.description, str(len(questions)), f"{info.chance:.3f}", f"{questions[0].prompt} -> {' | '.join(questions[0].answers)}"
            )
    yield table


def describe_study(name: str) -> Iterator[RenderableType]:
    """Title, what it asks, and its conditions at each scale."""
    found = module("studies", name)
    title, *paragraphs = found.__doc__.strip().split("\n\n")
    yield Text(f"studies/{name}: {' '.join(title.split())}\n", style="bold")
    for paragraph in paragraphs:
        yield Text(" ".join(paragraph.split()) + "\n")
    for scale, seeds in found.scales.items():
        cells = found.cells(scale, [0])
        yield Text(f"\nscale {scale}: {seeds} seed{'s' * (seeds > 1)} unless told otherwise, each with {len(cells)} cells")
        table = Table("training", "asking", "kinds", box=None, padding=(0, 2, 0, 0))
        for cell in cells:
            table.add_row(cell.training, cell.asking, ", ".join(cell.kinds) if cell.kinds else "all")
        yield table
    yield Text(f"\nclaims it decides: {', '.join(found.claims) or 'none'}\n")
