"""Put the adapter that a run of the study `reader` trained into the package: weights, configuration, record and card.

    tolman run reader --scale small --seeds 1     # trains it, and asks base and what is shipped now
    python docs/ship_reader.py runs               # ships it, and writes its hash into models/_pretrained.py
    tolman run reader                             # asks base and what is shipped now, at three seeds
    python docs/ship_reader.py runs               # again, for the card's table

The card says what the records in the store say.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from tolman.models import _pretrained
from tolman.run.store import Store
from tolman.studies import reader

HOME = Path(_pretrained.__file__).parent
FOLDER = HOME / "reader"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
CARD = """---
base_model: {hub}
library_name: peft
license: apache-2.0
---

# Reader: SmolLM2-135M-Instruct, trained to use its context

A LoRA adapter (rank {rank}, {size:.1f} MB, bfloat16) for [SmolLM2-135M-Instruct](https://huggingface.co/{hub}), which as it is can hardly use facts that stand in its context
from their other end. It comes with Tolman: `--set model.adapter=reader`, or `Hf(adapter="reader")`; in other programs, `PeftModel.from_pretrained(model, folder)`.

**Trained on** practice questions about made-up passages (`datasets/episodes`; a pool of {practice:,} passages and {questions:,} questions;
in {plain:.0%} of the passages each name stands in one fact), each asked as `test_time/in_context` asks it,
with the loss on the answers: {steps} steps, {tokens:,} tokens, {seconds:.0f} seconds on a share of one processor core.
No name or wording of these occurs in any other dataset of the
package, and no relation in the tests below. (Three of its verbs, admires, employs and follows, are also relations of the largest worlds of `reversals`, which models
from scratch learn; the forms of its syllogisms are those of the dataset `syllogisms`.)
Made by `tolman run reader --scale small --seeds 1`; `record.json` is the record of the training.

**Measured** in context, per cent correct [95 % interval], candidates by likelihood; {seeds}:

{table}

In plain episodes each name stands in one fact, so whoever finds the name has found the answer, whichever way round it is asked. What more the reader can do shows where
other candidates stand beside the name too. Both kinds of episodes, by how many do:

{beside}

These are worlds of three seeds and one training of the adapter, on the generator by which its training was chosen.

**Retention**, before and after: {nats[0]:.3f} and {nats[1]:.3f} nats per token of public-domain prose, {right[0]:.3f} and {right[1]:.3f} of 40 general questions.

**Not for** anything but reading: it is a small model, narrowly trained to answer with words from the context, and will do so where the context has no answer.
"""


def main(store: Store) -> None:
    """Ship the training in `store`."""
    (cell,) = (c for c in reader.cells("small", [0]) if c.training == reader.ANEW)
    found = store.read_artifact(cell.train_fingerprint())
    assert found is not None, f"{store.address} has no training of the reader: tolman run reader --scale small --seeds 1"
    artifact, about = found
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(artifact / "adapter_model.safetensors", FOLDER / "adapter_model.safetensors")
    config = json.loads((artifact / "adapter_config.json").read_text()) | {"base_model_name_or_path": HUB}
    (FOLDER / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    kept = {name: about[name] for name in ("identity", "costs", "parameters", "retention", "notes", "created")}
    (FOLDER / "record.json").write_text(json.dumps(kept, indent=1) + "\n")
    source = HOME / "_pretrained.py"
    hashed = f'"reader": "{_pretrained.sha256(FOLDER / "adapter_model.safetensors")}"'
    source.write_text(re.sub(r'"reader": "[^"]*"', hashed, source.read_text(encoding="utf-8")), encoding="utf-8")
    (FOLDER / "README.md").write_text(card(store, about), encoding="utf-8")
    print(f"shipped: {FOLDER.name}, {hashed}")


def card(store: Store, about: dict[str, Any]) -> str:
    """The card, from the record of the training and those of the study."""
    method, dataset = about["identity"]["train_time"], reader.Episodes(practice=reader.PRACTICE, plain_share=reader.PLAIN)
    train, before, after = about["costs"]["train"], about["retention"]["before"], about["retention"]["after"]
    table, seeds = measured(store)
    return CARD.format(
        beside=beside(store),
        hub=HUB, rank=method["rank"], size=(FOLDER / "adapter_model.safetensors").stat().st_size / 1e6, practice=reader.PRACTICE, plain=reader.PLAIN,
        questions=len(dataset.build(0).asked(split="practice")), steps=method["steps"], tokens=train["tokens"], seconds=train["seconds"], table=table, seeds=seeds,
        nats=(before["general_nats"], after["general_nats"]), right=(before["general_accuracy"], after["general_accuracy"]),
    )  # fmt: skip


def measured(store: Store) -> tuple[str, str]:
    """A table of base and reader by benchmark and kind, and the seeds whose worlds were asked."""
    from tolman.core.stats import estimate

    items: dict[tuple[str, str, str], list[tuple[float, str, int]]] = {}
    for cell in reader.cells("quick", range(reader.scales["quick"])):
        if (record := store.read_record(cell.fingerprint())) is not None:
            for item in record[1]:
                items.setdefault((cell.asking.split(",")[0], item["kind"], cell.training), []).append((float(item["correct"]), item["cluster"], cell.seed))

    def shown(key: tuple[str, str, str]) -> str:
        if not (rows := items.get(key)):
            return ""
        value = estimate([r[0] for r in rows], clusters=[r[1] for r in rows], seeds=[r[2] for r in rows])
        return f"{100 * value.mean:.0f} [{100 * value.low:.0f}, {100 * value.high:.0f}]"

    rows = [
        f"| {name} | {kind} | {shown((name, kind, reader.BASE))} | {shown((name, kind, reader.READER))} |" for name, kind in dict.fromkeys(k[:2] for k in items)
    ]
    seeds = sorted({row[2] for rows in items.values() for row in rows})
    return "\n".join(
        ["| benchmark | kind | base | reader |", "|---|---|---:|---:|", *rows]
    ), f"worlds of seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def beside(store: Store) -> str:
    """A table of how often facts are found, by how many candidates stand in a fact with what the question names: by a rule that takes one of these, and by the models."""
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for cell in reader.cells("quick", range(reader.scales["quick"])):
        if not isinstance(cell.dataset, reader.Episodes) or (record := store.read_record(cell.fingerprint())) is None:
            continue
        counts: dict[str, int] = cell.dataset.build(cell.seed).facts["beside"]  # type: ignore[assignment]
        for item in record[1]:
            if (count := counts.get(item["question"])) is not None:
                found.setdefault((item["kind"], min(count, 3), cell.training), []).append((float(item["correct"]), 1 / count))
    rows = []
    for kind, count in dict.fromkeys(key[:2] for key in sorted(found)):
        base, read = (found[kind, count, training] for training in (reader.BASE, reader.READER))
        shares = [f"{100 * sum(values) / len(read):.0f}" for values in ([rule for _, rule in read], [c for c, _ in base], [c for c, _ in read])]
        rows.append(f"| {kind} | {count}{' or more' * (count == 3)} | {len(read)} | {' | '.join(shares)} |")
    return "\n".join(["| kind | candidates beside the name | n | one of these | base | reader |", "|---|---|---:|---:|---:|---:|", *rows])


if __name__ == "__main__":
    main(Store(sys.argv[1] if len(sys.argv) > 1 else "runs"))
