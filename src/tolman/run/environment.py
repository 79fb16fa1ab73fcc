"""What a record ran on: machine, versions, git revision."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("tolman", "torch", "transformers", "tokenizers", "numpy", "scipy", "polars", "pydantic")


@cache
def environment() -> dict[str, Any]:
    """Python, platform, processor, cores, memory, package versions, and the git revision of the source where it is a checkout."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "revision": git_revision(),
    }


def git_revision() -> str | None:
    """Commit of the checkout that this package runs from, `+changes` appended where files differ from it; None outside a checkout."""
    here = Path(__file__).parents[3]
    if not (here / ".git").exists():
        return None

    def git(*command: str) -> str:
        return subprocess.run(["git", "-C", str(here), *command], capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):  # no git, or a repository without commits
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None
