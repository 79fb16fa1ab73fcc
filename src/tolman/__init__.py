"""Tolman measures what a language model has learned but cannot use, and makes it usable.

    from tolman import Cell, measure, component

`import tolman` loads neither torch nor transformers; names are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tolman.core.component import Component as Component
    from tolman.core.data import Corpus as Corpus
    from tolman.core.data import Document as Document
    from tolman.core.data import Question as Question
    from tolman.core.discovery import component as component
    from tolman.core.errors import UserError as UserError
    from tolman.core.stats import Estimate as Estimate
    from tolman.run.cell import Cell as Cell
    from tolman.run.plan import measure as measure

_HOME = {
    "Component": "tolman.core.component", "Corpus": "tolman.core.data", "Document": "tolman.core.data", "Question": "tolman.core.data",
    "component": "tolman.core.discovery", "UserError": "tolman.core.errors", "Estimate": "tolman.core.stats", "Cell": "tolman.run.cell",
    "measure": "tolman.run.plan",
}  # fmt: skip
__all__ = ["Cell", "Component", "Corpus", "Document", "Estimate", "Question", "UserError", "component", "measure"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tolman")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tolman' has no attribute {name!r}")
