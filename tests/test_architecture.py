"""The rules of the design that a machine can check: who may import whom, what core may not do, how long things may be, what nobody may do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "tolman"
RANK = {
    "__init__": 8, "cli": 7, "cli_documents": 6, "cli_parts": 5,
    "app": 4, "studies": 3, "report": 3, "testing": 3, "run": 2, "datasets": 1, "models": 1, "train_time": 1, "test_time": 1,
    "augment": 1, "memory": 1, "scoring": 1, "core": 0,
}  # fmt: skip
"""A file or folder of the package may import what has a lower rank, and its own folder. `tolman/__init__.py` only hands out names."""

CORE_MAY_IMPORT = {"numpy", "scipy", "pydantic"}
CORE_MAY_NOT_USE = {"os", "io", "shutil", "subprocess", "socket", "tempfile", "urllib", "http", "sqlite3", "threading", "multiprocessing"}
TOUCHES_FILES = {
    "read_text", "read_bytes", "write_text", "write_bytes", "open", "mkdir", "unlink", "rename", "touch", "rmdir", "glob", "rglob", "iterdir", "exists",
    "is_file", "tofile", "fromfile", "savez", "loadtxt",
}  # fmt: skip
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
DRAWS = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "bernoulli", "multinomial", "normal", "poisson"}
DRAWS_IN_PLACE = {"normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_", "geometric_", "log_normal_", "trunc_normal_"}
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 60, 8

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("core/discovery.py", "files"): "finds components by listing folders and reads a module's docstring without importing it",
    ("core/seeds.py", "random"): "the one place that makes generators",
    ("cli.py:run", "parameters"): "each option of the command line is a parameter",
    ("cli.py:compare", "parameters"): "each option of the command line is a parameter",
}
"""(file, rule) -> why it need not keep the rule."""


def imports(tree: ast.AST, module: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported anywhere, in functions too; relative ones made absolute; constant arguments of import_module included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(("tolman", *module)[: -node.level]) if node.level else ""
            name = ".".join(part for part in (base, node.module) if part)
            # `from tolman import core` and `from tolman.core import data` name modules too
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("importlib.import_module", "import_module", "__import__"):
            yield from ((node.lineno, a.value) for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def typing_only(tree: ast.AST) -> set[int]:
    """The lines inside `if TYPE_CHECKING:`."""
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and isinstance(n.test, ast.Name) and n.test.id == "TYPE_CHECKING")
    return {line for block in blocks for inner in block.body for line in range(inner.lineno, (inner.end_lineno or inner.lineno) + 1)}


def _called(node: ast.Call) -> str:
    """`torch.load` for a call of it; "" where what is called is no dotted name, `.load` where it is an attribute of some other expression."""
    parts, at = [], node.func
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return ".".join([at.id, *parts[::-1]]) if isinstance(at, ast.Name) else f".{parts[0]}" if parts else ""


def rank_violations(file: str, tree: ast.AST) -> Iterator[str]:
    """Imports that do not go downward."""
    module = tuple(file.removesuffix(".py").split("/"))
    home = module[0]
    for line, name in imports(tree, module):
        parts = name.split(".")
        if parts[0] != "tolman":
            continue
        other = parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"
        if other != home and RANK[other] >= RANK[home]:
            yield f"{file}:{line}: {home} (rank {RANK[home]}) imports {name} (rank {RANK[other]})"


def core_violations(file: str, tree: ast.AST) -> Iterator[str]:
    """Core imports NumPy, SciPy and pydantic only, and touches no file, process or network."""
    import sys

    skip = typing_only(tree)
    for line, name in imports(tree, tuple(file.removesuffix(".py").split("/"))):
        top = name.split(".")[0]
        if top != "tolman" and line not in skip and (top in CORE_MAY_NOT_USE or (top not in CORE_MAY_IMPORT and top not in sys.stdlib_module_names)):
            yield f"{file}:{line}: core imports {top}"
    if (file, "files") in EXCEPTIONS:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node).split(".")[-1] in TOUCHES_FILES:
            yield f"{file}:{node.lineno}: core touches files: {_called(node)}"


def conduct_violations(file: str, tree: ast.AST) -> Iterator[str]:
    """print, pickle, eval, code from elsewhere, global random generators."""
    for line, name in imports(tree, tuple(file.removesuffix(".py").split("/"))):
        if name.split(".")[0] in UNSAFE_MODULES:
            yield f"{file}:{line}: imports {name}, which runs code that it reads"
        if name.split(".")[0] in ("random", "secrets"):
            yield f"{file}:{line}: imports {name}: use tolman.core.seeds.rng"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, given = _called(node), {k.arg: k.value for k in node.keywords}
        last = called.split(".")[-1]
        if called in ("print", "pprint", "breakpoint", "input") and file != "cli.py":
            yield f"{file}:{node.lineno}: calls {called} outside cli.py"
        if called in ("eval", "exec", "compile") or called in ("torch.load", "torch.save", "torch.hub.load"):
            yield f"{file}:{node.lineno}: calls {called}"
        for keyword in ("trust_remote_code", "allow_pickle"):
            if keyword in given and not (isinstance(given[keyword], ast.Constant) and given[keyword].value is False):  # type: ignore[attr-defined]
                yield f"{file}:{node.lineno}: sets {keyword}"
        if (file, "random") not in EXCEPTIONS:
            unseeded = called.startswith("torch.") and last in DRAWS and "generator" not in given
            in_place = last in DRAWS_IN_PLACE and "generator" not in given
            of_numpy = called.startswith(("np.random.", "numpy.random."))
            seeding = called in ("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.random.manual_seed")
            if unseeded or in_place or of_numpy or seeding or called.startswith(("nn.init.", "torch.nn.init.")):
                yield f"{file}:{node.lineno}: {called} uses or makes a random generator that is not tolman.core.seeds.rng's, or a global one"


def size_violations(file: str, source: str, tree: ast.AST) -> Iterator[str]:
    """Files, functions and lists of parameters that are too long."""
    if (lines := source.count("\n") + (not source.endswith("\n"))) > MOST_LINES and (file, "lines") not in EXCEPTIONS:
        yield f"{file}: {lines} lines, more than {MOST_LINES}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        long = (node.end_lineno or node.lineno) - node.lineno + 1
        if long > MOST_FUNCTION_LINES and (f"{file}:{node.name}", "function") not in EXCEPTIONS:
            yield f"{file}:{node.lineno}: {node.name} has {long} lines, more than {MOST_FUNCTION_LINES}"
        a = node.args
        names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs) if p.arg not in ("self", "cls")]
        if len(names) > MOST_PARAMETERS and (f"{file}:{node.name}", "parameters") not in EXCEPTIONS:
            yield f"{file}:{node.lineno}: {node.name} has {len(names)} parameters, more than {MOST_PARAMETERS}"


def violations(file: str, source: str) -> list[str]:
    """Everything that `source`, which is src/tolman/<file>, does against the rules."""
    tree = ast.parse(source)
    found = [*rank_violations(file, tree), *conduct_violations(file, tree), *size_violations(file, source, tree)]
    return found + (list(core_violations(file, tree)) if file.startswith("core/") else [])


# -- the package ----------------------------------------------------------------------------------------------------------------------------------------

FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
OTHERS = sorted(path.relative_to(ROOT).as_posix() for folder in ("tests", "benchmarks", "examples", "docs") for path in (ROOT / folder).rglob("*.py"))


def test_every_folder_has_a_rank():
    assert {name.split("/")[0].removesuffix(".py") for name in FILES} <= set(RANK)
    assert len(FILES) > 30


@pytest.mark.parametrize("file", FILES)
def test_package(file):
    found = violations(file, (PACKAGE / file).read_text())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", OTHERS)
def test_sizes_outside_the_package(file):
    source = (ROOT / file).read_text()
    found = list(size_violations(file, source, ast.parse(source)))
    assert not found, "\n".join(found)


def test_every_exception_is_needed():
    """An exception that nothing needs any more is a hole."""
    for (name, rule), reason in list(EXCEPTIONS.items()):
        file = name.split(":")[0]
        assert len(reason) > 20, f"{name} is excepted from {rule!r} without a reason"
        source, kept = (PACKAGE / file).read_text(), EXCEPTIONS.pop((name, rule))
        try:
            assert violations(file, source), f"{name} keeps the rule {rule!r}: no exception is needed"
        finally:
            EXCEPTIONS[name, rule] = kept


# -- planted violations are found ---------------------------------------------------------------------------------------------------------------------

LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 60
PLANTED = {
    "upward": ("run/store.py", "from tolman.report.tables import accuracy", "imports tolman.report"),
    "upward, the folder itself": ("run/store.py", "from tolman import report", "imports tolman.report"),
    "sideways": ("datasets/x.py", "import tolman.scoring.exact", "datasets (rank 1) imports tolman.scoring"),
    "sideways, in a function": ("models/x.py", "def f():\n    from tolman.memory.oracle import Oracle", "models (rank 1) imports tolman.memory"),
    "sideways, for types only": (
        "models/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tolman.datasets import reversals",
        "imports tolman.datasets",
    ),
    "sideways, by name": ("models/x.py", "import importlib\nimportlib.import_module('tolman.run.store')", "imports tolman.run.store"),
    "sideways, relative": ("models/x.py", "from ..scoring import exact", "imports tolman.scoring.exact"),
    "sideways at rank 3": ("studies/x.py", "from tolman.report import tables", "studies (rank 3) imports tolman.report"),
    "core upward": ("core/x.py", "def f():\n    import tolman.models.tiny", "core (rank 0) imports tolman.models"),
    "the facade": ("run/x.py", "from tolman import Cell", "run (rank 2) imports tolman.Cell"),
    "torch in core": ("core/x.py", "def f():\n    import torch.nn", "core imports torch"),
    "transformers in core": ("core/x.py", "from transformers import AutoModel", "core imports transformers"),
    "os in core": ("core/x.py", "import os.path", "core imports os"),
    "open in core": ("core/x.py", "open('x')", "core touches files: open"),
    "Path.write_text in core": ("core/x.py", "from pathlib import Path\nPath('x').write_text('y')", "core touches files: .write_text"),
    "print": ("run/x.py", "print('hello')", "calls print"),
    "pickle": ("run/x.py", "import pickle", "imports pickle"),
    "pickle, from": ("run/x.py", "from pickle import loads", "imports pickle"),
    "torch.load": ("run/x.py", "import torch\ntorch.load('x')", "calls torch.load"),
    "eval": ("run/x.py", "eval('1')", "calls eval"),
    "exec": ("run/x.py", "exec('1')", "calls exec"),
    "remote code": ("models/x.py", "load('x', trust_remote_code=True)", "sets trust_remote_code"),
    "remote code, by variable": ("models/x.py", "load('x', trust_remote_code=yes)", "sets trust_remote_code"),
    "NumPy with pickle": ("models/x.py", "np.load('x', allow_pickle=True)", "sets allow_pickle"),
    "random": ("datasets/x.py", "import random", "imports random"),
    "np.random": ("datasets/x.py", "np.random.shuffle(x)", "np.random.shuffle uses"),
    "np.random.default_rng": ("datasets/x.py", "np.random.default_rng()", "np.random.default_rng uses"),
    "torch.manual_seed": ("models/x.py", "torch.manual_seed(0)", "torch.manual_seed uses"),
    "torch.rand": ("models/x.py", "torch.rand(3)", "torch.rand uses"),
    "normal_": ("models/x.py", "weight.data.normal_(0, 1)", "weight.data.normal_ uses"),
    "nn.init": ("models/x.py", "nn.init.xavier_uniform_(w)", "nn.init.xavier_uniform_ uses"),
    "long file": ("run/x.py", "x = 1\n" * 401, "401 lines"),
    "long function": ("run/x.py", LONG_FUNCTION, "f has 61 lines"),
    "long method": ("run/x.py", "class A:\n" + "".join(f"    {line}\n" for line in LONG_FUNCTION.splitlines()), "f has 61 lines"),
    "many parameters": ("run/x.py", "def f(a, b, c, d, /, e, f, g, *, h, i): ...", "f has 9 parameters"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name):
    file, source, message = PLANTED[name]
    found = violations(file, source)
    assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize(
    "file, source",
    [
        ("cli.py", "from tolman.run.store import Store\nprint('hello')"),
        ("run/x.py", "from tolman.core.data import Corpus\nfrom tolman.run.store import Store\nfrom . import store"),
        ("core/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("models/x.py", "model.eval()\ntorch.rand(3, generator=g)\nx.normal_(0, 1, generator=g)\ng.manual_seed(1)"),
        ("models/x.py", "load('x', trust_remote_code=False)"),
        ("datasets/x.py", "def f(draw: np.random.Generator): ..."),
        ("run/x.py", "def f(self, a, b, c, d, e, f, g, h): ..."),
        ("run/x.py", LONG_FUNCTION.removesuffix("    x = 1\n")),
    ],
)
def test_what_the_rules_allow_is_not_found(file, source):
    assert violations(file, source) == []
