"""The documentation is executed: commands, code blocks, generated tables, the whole files that CONTRIBUTING shows."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tolman.cli import main
from tolman.core.data import Prompt
from tolman.testing import check_dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ENV = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1", "COLUMNS": "160"}
COMMANDS = [
    shlex.split(line, comments=True)
    for page in (README, *((ROOT / name).read_text() for name in ("docs/concepts.md", "docs/cluster.md", "CONTRIBUTING.md")))
    for block in re.findall(r"```bash\n(.*?)```", page, re.S)
    for line in block.splitlines()
    if line.startswith("tolman ")
    and line.split()[1] not in ("questions", "teach", "ask", "serve")  # these follow one another: tests/test_teach.py runs those of docs/teach.md
]


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=ENV, cwd=cwd, timeout=280)


def test_generated_parts_are_those_of_the_committed_records() -> None:
    done = python("docs/generate.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<!-- end -->" in README and len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_of_the_readme_works(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`run` is only planned (--dry-run): running it is what `make quickstart` and the records are for."""
    for folder in ("results", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    dry = ["--dry-run"] if command[1] == "run" and "--dry-run" not in command else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [*command, *dry])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code and said.out.strip(), said.err


def test_the_readmes_python_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    ((code, shown),) = re.findall(r"```python\n(.*?)```\n<!-- output -->\n```text\n(.*?)```", README, re.S)
    assert len(code.strip().splitlines()) <= 10
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kinds = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    stated = {line.split()[0]: line.split()[1] for line in shown.splitlines()}
    assert kinds.keys() == stated.keys()
    for kind, value in kinds.items():  # another processor rounds otherwise
        assert abs(float(value) - float(stated[kind])) <= 0.1, (kind, value, stated[kind])


def shown_file(marker: str, tmp_path: Path) -> ModuleType:
    code = re.search(rf"<!-- example: {marker} -->\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert code is not None
    path = tmp_path / Path(marker).name
    path.write_text(code[1])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # pydantic looks the module up
    spec.loader.exec_module(module)
    return module


def test_the_dataset_that_contributing_shows_passes_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # the contract builds it in another process too
    module = shown_file("datasets/capitals.py", tmp_path)
    check_dataset(module.Capitals())


def test_the_method_that_contributing_shows_works(tmp_path: Path) -> None:
    method = shown_file("test_time/last_documents.py", tmp_path).LastDocuments(documents=2)
    corpus = shown_file("datasets/capitals.py", tmp_path).Capitals().build(0)
    (prompt,) = method.prompts(None, corpus, corpus.questions[:1], seed=0)
    assert prompt == Prompt(corpus.questions[0].prompt, tuple(d.text for d in corpus.documents[-2:]))
