"""A second teaching that is killed by the system in the middle of its training, and taken up again."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from test_taught import TEXTS
from test_teach import ASK, SETTINGS, again, go, teaching, weights, write_bell
from tolman.app import _directory, remember
from tolman.app.taught import Taught

TEACHING = """
import sys
from pathlib import Path
from test_teach import again
again(Path(sys.argv[1]), **{"train_time.steps": 100}).run(lambda plan: plan.run(lambda event: print(event, flush=True)))
"""


@pytest.mark.slow
def test_a_second_teaching_that_is_killed_in_its_training_goes_on_from_its_checkpoint(tmp_path):
    docs = tmp_path / "docs"
    for name, text in TEXTS.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text)
    teaching(docs, "fine-tuned, closed book", SETTINGS).run(go)
    out = docs.parent / "taught"
    remember.add(out, [write_bell(docs)])
    taught_first = weights(out)
    whole = tmp_path / "whole"
    shutil.copytree(out, whole / "taught")
    shutil.copytree(docs.parent / "runs", whole / "runs")
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path))}
    process = subprocess.Popen([sys.executable, "-c", TEACHING, str(out)], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        if (step := re.search(r"'step': (\d+)", line)) and (last := int(step[1])) >= 12:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.read()
    assert process.wait() == -signal.SIGKILL and last < 100
    assert weights(out) == taught_first and any(again(out).changes.values()), "the directory is as it was"
    assert list((docs.parent / "runs" / "checkpoints").rglob("state.safetensors"))
    Taught.open(out).reply(ASK, max_tokens=2)

    def steps(folder: Path) -> list[int]:
        events: list[dict[str, Any]] = []
        again(folder, None, **{"train_time.steps": 100}).run(lambda plan: plan.run(events.append))
        return [event["step"] for event in events if "step" in event]

    assert min(steps(whole / "taught")) == 1 < min(steps(out)), "what was killed goes on from its checkpoint; the other begins at the beginning"
    assert weights(out) == weights(whole / "taught") != taught_first, "to the bit as if it had not been killed"
    assert not any(again(out).changes.values()) and len(_directory.read(out)["history"]) == 1
