"""A real taught directory, and a plain model, behind the server: what `Taught` answers is what the client gets; what is in its documents stays text in the page."""

import os
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from answerers import serving
from chromium import CHROME, browser
from taught_directories import HOSTILE, RECALLED, teach
from tolman.app._answering import Alone
from tolman.app.serve import Limits, prepare
from tolman.app.taught import Taught
from tolman.core.errors import UserError

QUESTIONS = ("Where was Edda Vanloo born?", "Which roof has the observatory?", "Ilse Korvin was born in")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return teach(tmp_path_factory.mktemp("taught"), test_time=RECALLED)


@pytest.fixture(scope="module")
def served(directory):
    with serving(Taught.open(directory, dtype="float32")) as (address, _):
        yield openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_client_gets_what_taught_answers(directory, served, temperature):
    ours = Taught.open(directory, dtype="float32")

    def ask(question: str):
        return served.chat.completions.create(model="my-model", messages=[{"role": "user", "content": question}], max_tokens=12, temperature=temperature)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(ask, QUESTIONS * 2))
    for question, got in zip(QUESTIONS * 2, found, strict=True):
        reply = ours.reply([{"role": "user", "content": question}], max_tokens=12, temperature=temperature)
        assert (got.choices[0].message.content, got.choices[0].finish_reason) == (reply.text, reply.finish_reason)
        assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens)
        assert [(s["document"], s["text"]) for s in got.sources] == [(s.document, s.text) for s in reply.sources] and got.sources
    assert found[0].sources[-1]["file"] == "vanloo.md" and len({f.choices[0].message.content for f in found}) > 1


def test_a_stream_ends_at_a_stop_and_has_its_sources(served):
    messages = [{"role": "user", "content": QUESTIONS[0]}]
    whole = served.chat.completions.create(model="my-model", messages=messages, max_tokens=12).choices[0].message.content
    stop = whole.split()[3]
    chunks = list(
        served.chat.completions.create(model="my-model", messages=messages, max_tokens=12, stop=stop, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole[: whole.index(stop)]
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-2].sources[-1]["file"] == "vanloo.md"
    assert 0 < chunks[-1].usage.completion_tokens < 12


def test_what_does_not_fit_is_the_askers_to_mend(served):
    with pytest.raises(openai.BadRequestError, match="do not fit into the model's 512 tokens"):
        served.chat.completions.create(model="my-model", messages=[{"role": "user", "content": "Ada " * 600}])


def test_a_plain_model_answers_too_and_is_cut_where_it_is_enough(directory):
    alone = Alone(str(directory.parent / "base"), dtype="float32")
    (*pieces, reply), count = alone.stream([{"role": "user", "content": "Edda Vanloo was born in"}], max_tokens=9), []
    assert "".join(pieces) == reply.text and reply.sources == () and reply.completion_tokens == 9 and reply.finish_reason == "length"
    assert alone.name == "base"
    *_, cut = alone.stream([{"role": "user", "content": "Edda Vanloo was born in"}], max_tokens=9, enough=lambda: count.append(1) or len(count) == 3)
    assert cut.completion_tokens == 3 and cut.finish_reason == "length" and reply.text.startswith(cut.text) and cut.text


def test_what_is_refused_before_a_model_is_loaded(directory):
    given = {"host": "127.0.0.1", "port": 0, "token": None, "limits": Limits()}
    for folder, model in ((None, None), (directory, "hf")):
        with pytest.raises(UserError, match="name what is to answer"):
            prepare(folder, model, **given)
    with pytest.raises(UserError, match="was not taught"):
        prepare(directory.parent, None, **given)
    with pytest.raises(UserError, match="there is no model and no folder"):
        prepare(None, "models/hff", **given)


def test_the_verb_says_in_one_sentence_what_it_refuses(directory):
    env = {k: v for k, v in os.environ.items() if k != "TOLMAN_TOKEN"} | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", "from tolman.cli import main; main()", "serve", str(directory), "--host", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: 0.0.0.0 can be reached from other machines: give a token") and done.stderr.count("\n") == 1


@pytest.mark.browser
@pytest.mark.skipif(CHROME is None, reason="no Chromium found on PATH or in CHROME: the page is not opened")
def test_a_hostile_document_is_shown_as_text(directory, tmp_path):
    with serving(Taught.open(directory, dtype="float32")) as (address, _), browser(tmp_path / "profile") as page:
        page.open(f"{address}/")
        page.wait("document.activeElement.id === 'question'")
        page.type("Which page about the observatory clock wants to be more than a text?")
        page.press("Enter")
        page.wait("document.querySelector('.said .rests') !== null")
        shown = page.evaluate(
            "[...document.querySelectorAll('details')].map(e => [e.querySelector('.file').textContent, e.querySelector('blockquote').textContent])"
        )
        assert shown[0][0] == "page.txt" and HOSTILE in shown[0][1], "the best passage stands first"
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert page.evaluate("document.documentElement.dataset.hacked") is None and page.errors == []


@pytest.mark.slow
def test_the_commands_of_the_page_work(directory):
    """Those of docs/serve.md as they stand there, but on free ports."""
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text()
    commands = [
        shlex.split(line, comments=True) for block in re.findall(r"```bash\n(.*?)```", page, re.S) for line in block.splitlines() if line.startswith("tolman ")
    ]
    first, alone, export = commands[:3]
    assert first == ["tolman", "serve", "my-model"] and alone[1] == "serve" and export[1] == "export"
    (python,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "8000/v1" in code]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    main = [sys.executable, "-c", "from tolman.cli import main; main()"]
    for command, code in ((first, python), (alone, None)):
        process = subprocess.Popen([*main, *command[1:], "--port", "0"], stdout=subprocess.PIPE, text=True, env=env, cwd=directory.parent)
        try:
            assert process.stdout is not None
            address = re.search(r"endpoint (\S+)/v1", process.stdout.readline())
            assert address is not None
            if code is not None:
                done = subprocess.run(
                    [sys.executable, "-c", code.replace("http://127.0.0.1:8000", address[1])], capture_output=True, text=True, env=env, timeout=200
                )
                assert done.returncode == 0 and "vanloo.md" in done.stdout, done.stderr
            assert [m.id for m in openai.OpenAI(base_url=f"{address[1]}/v1", api_key="none").models.list()] == [command[-1]]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    done = subprocess.run([*main, *export[1:]], capture_output=True, text=True, env=env, cwd=directory.parent, timeout=200)
    assert done.returncode == 0 and (directory.parent / "my-model-hf" / "config.json").is_file(), done.stderr
