"""Components, studies and figures are found by file name in their folder, and from other packages by entry point. Nothing registers itself."""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tolman.core.errors import UserError, suggest

if TYPE_CHECKING:  # pydantic takes a tenth of a second to import, and `tolman list` needs none of it
    from tolman.core.component import Component

FOLDERS = ("datasets", "models", "train_time", "test_time", "augment", "memory", "scoring")


def names(folder: str) -> dict[str, str]:
    """Name -> module path of everything in `tolman/<folder>` and under the entry point group `tolman.<folder>`, without importing any of it."""
    here = Path(__file__).parents[1] / folder
    prefix = "tolman." + folder.replace("/", ".")
    found = {path.stem: f"{prefix}.{path.stem}" for path in sorted(here.glob("*.py")) if not path.stem.startswith("_")}
    for point in entry_points(group=prefix):
        found.setdefault(point.name, point.module)
    return found


def summary(module: str) -> str:
    """First line of a module's docstring, read from its source without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    return (ast.get_docstring(ast.parse(Path(spec.origin).read_text())) or "").split("\n")[0]


def module(folder: str, name: str) -> Any:
    """The module `name` of `folder`. Raises UserError with the nearest name if there is none."""
    known = names(folder)
    if name not in known:
        raise UserError(f"there is no {name!r} in {folder}; {suggest(name, known)}")
    return importlib.import_module(known[name])


def component(address: str) -> "type[Component]":
    """The component class at `folder/name`. Raises UserError with the nearest name if there is none."""
    from tolman.core.component import Component

    if ":" in address:
        module_name, _, qualname = address.partition(":")
        try:
            own = getattr(importlib.import_module(module_name), qualname)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"there is no component at {address!r}: {error}") from error
        if not (isinstance(own, type) and issubclass(own, Component)):  # whoever calls it would otherwise call whatever a file names
            raise UserError(f"{address!r} is no component")
        return own
    folder, _, name = address.partition("/")
    if folder not in FOLDERS:
        raise UserError(f"there is no kind of component {folder!r}; {suggest(folder, FOLDERS)}")
    found = module(folder, name)
    public = [
        value
        for value in vars(found).values()
        if isinstance(value, type) and issubclass(value, Component) and value.__module__ == found.__name__ and not value.__name__.startswith("_")
    ]
    assert len(public) == 1, f"{found.__name__} must define exactly one public component, not {[c.__name__ for c in public]}"
    return public[0]


def components(folder: str) -> "dict[str, type[Component]]":
    """Every component class of `folder`, by name. Imports them."""
    return {name: component(f"{folder}/{name}") for name in names(folder)}


def from_config(config: Mapping[str, Any]) -> "Component":
    """The component that `Component.config()` described."""
    if not isinstance(config.get("is"), str):
        raise UserError("a component's configuration needs 'is': its address, such as 'datasets/reversals'")
    return component(config["is"])(**{k: v for k, v in config.items() if k != "is"})
