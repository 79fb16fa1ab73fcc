"""Write the generated parts of README.md and docs/ anew: tables and figures from committed records, a page for each claim that
records decide, output of code blocks, samples.

`python docs/generate.py` writes; `python docs/generate.py --check` says what differs and exits with 1 (a test runs it without the code blocks).
Generated parts stand between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import claim_pages

ROOT = Path(__file__).parents[1]
PART = re.compile(r"(<!-- generated: ([\w-]+)(?: ([\w./-]+))? -->\n)(.*?)(<!-- end -->)", re.S)


def results(run: str) -> str:
    """Accuracy by condition and kind, as a Markdown table."""
    from tolman.report.summary import estimates
    from tolman.run.frames import Frames

    rows = estimates(Frames.read(ROOT / "results" / run)).to_dicts()
    kinds = [k for k in dict.fromkeys(r["kind"] for r in rows) if not k.startswith(("cue_", "wrong_"))]
    lines = ["| training | asked | " + " | ".join(k.replace("_", " ") for k in kinds) + " |", "|---|---|" + "---:|" * len(kinds)]
    for training, asking in dict.fromkeys((r["training"], r["asking"]) for r in rows):
        mine = {r["kind"]: r for r in rows if (r["training"], r["asking"]) == (training, asking)}
        cells = [f"{100 * m['mean']:.0f} [{100 * m['low']:.0f}, {100 * m['high']:.0f}]" if (m := mine.get(k)) else "" for k in kinds]
        lines.append(f"| {training} | {asking} | " + " | ".join(cells) + " |")
    seeds = rows[0]["seeds"]
    lines.append(f"\nPer cent correct [95 % interval clustered on facts and seeds], {seeds} seeds; records: `results/{run}`.")
    return "\n".join(lines) + "\n"


def headline(run: str) -> str:
    from tolman.core.discovery import module
    from tolman.run.frames import Frames
    from tolman.run.plan import read_plan

    folder = ROOT / "results" / run
    return module("studies", read_plan(folder)["study"]).headline(Frames.read(folder)) + "\n"


def claims(_: str) -> str:
    """Verdicts of the claims that records decide, as a Markdown table."""
    from tolman.studies._ledger import LEDGER
    from tolman.studies._settle import settle

    verdicts = [v for v in settle(ROOT / "results", list(LEDGER)) if v.outcome]
    lines = ["| id | claim | verdict | from |", "|---|---|---|---|"]
    lines += [f"| {v.id} | {LEDGER[v.id].says} | {v.verdict} | `{v.run}` |" for v in verdicts]
    return "\n".join(lines) + f"\n\n{len(LEDGER) - len(verdicts)} more are not run yet: `tolman claims` prints the whole ledger.\n"


def ledger(_: str) -> str:
    """The whole ledger as a Markdown table."""
    return claim_pages.index(ROOT / "results")


def comparison(run: str) -> str:
    """What `tolman compare` found on a folder of documents: a Markdown table of methods, and the recommendation."""
    from tolman.app.compare import CEILING, Verdicts, cost, kept
    from tolman.report.summary import estimates
    from tolman.report.terminal import percent, span
    from tolman.run.frames import Frames
    from tolman.run.plan import read_plan

    frames, plan = Frames.read(ROOT / "results" / run), read_plan(ROOT / "results" / run)
    found, rows = Verdicts(frames), estimates(frames).to_dicts()
    kinds = list(dict.fromkeys(r["kind"] for r in rows))
    lines = ["| method | " + " | ".join(k.replace("_", " ") for k in kinds) + " | what the documents answer | once | a question | general |"]
    lines.append("|---|" + "---:|" * (len(kinds) + 4))
    for m in found.methods:
        mine = {r["kind"]: f"{100 * r['mean']:.0f}" for r in rows if (r["training"], r["asking"]) == (m["training"], m["asking"])}
        name = m["method"] + " (ceiling)" * (m["asking"] == CEILING)
        all_ = percent(m["accuracy"].mean, m["accuracy"].low, m["accuracy"].high)
        lines.append(f"| {name} | " + " | ".join(mine[k] for k in kinds) + f" | {all_} | {cost(m, 'once')} | {cost(m, 'each')} | {kept(m)} |")
    lines.append(f"\nPer cent correct [95 % interval clustered on facts]; general: general questions right, before and after training. {plan['sample']}")
    cells = frames.cells
    seconds = cells["ask_s"].sum() + cells.unique("train_fingerprint").select("train_s", "generate_s").sum().sum_horizontal().item()
    lines.append(f"Training, writing and asking took {span(seconds)}, added up over processes that ran side by side; records: `results/{run}`.")
    lines.append(f"The recommendation:\n\n> {found.recommendation()}")
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[str], str]] = {"results": results, "headline": headline, "comparison": comparison, "claims": claims, "ledger": ledger}


def rewritten(text: str) -> str:
    """`text` with every generated part made anew."""
    return PART.sub(lambda m: m[1] + PARTS[m[2]](m[3] or "") + m[5], text)


def run_code(text: str) -> str:
    """`text` with the output block after each `<!-- output -->`-marked Python block made anew by running the code."""

    def run(match: re.Match[str]) -> str:
        done = subprocess.run([sys.executable, "-c", match[1]], capture_output=True, text=True, cwd=ROOT, check=True)
        return f"```python\n{match[1]}```\n<!-- output -->\n```text\n{done.stdout}```\n"

    return re.sub(r"```python\n((?:(?!```).)*?)```\n<!-- output -->\n```text\n.*?```\n", run, text, flags=re.S)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = []
    stale += claim_pages.write_claims(ROOT / "results", check=check)
    for page in pages():
        text = page.read_text()
        new = rewritten(text) if check else run_code(rewritten(text))
        if new != text:
            stale.append(page)
            if not check:
                page.write_text(new)
    for page in stale:
        print(f"{'differs from its records' if check else 'written'}: {page.relative_to(ROOT)}")
    sys.exit(bool(stale) and check)


if __name__ == "__main__":
    main()
