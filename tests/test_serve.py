"""The server, asked by the real `openai` client over a real socket: answers, streams, limits, refusals, and many at once."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from answerers import SOURCES, Scripted, serving
from tolman.app._chat import Refusal, read_request
from tolman.app._desk import Stops
from tolman.app._gate import is_loopback
from tolman.app.serve import Limits, Service, check_token, listen
from tolman.core.errors import UserError

ASK = [{"role": "user", "content": "Who taught Bo Lind?"}]
SAID = "It was Ada Venn who taught him."


HTTP = httpx.Client(timeout=60)
"""One for all: making one reads all certificates anew."""


def client(address: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=60, http_client=HTTP)


@pytest.fixture(scope="module")
def served():
    answerer = Scripted(SAID, trace="Ada Venn taught Bo Lind.")
    with serving(answerer) as (address, service):
        yield address, service, answerer


# -- answers --------------------------------------------------------------------------------------------------------------------------------------------


def test_an_answer_has_text_usage_sources_and_trace(served):
    address, _, answerer = served
    (model,) = client(address).models.list().data
    assert model.id == client(address).models.retrieve("my-model").id == "my-model"
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Who"}, {"type": "text", "text": "taught Bo?"}]},
    ]
    found = client(address).chat.completions.create(model="my-model", messages=turns, temperature=0.5, top_p=0.9, seed=3, extra_body={"no_such_field": [1]})
    assert found.choices[0].message.content == SAID and found.choices[0].finish_reason == "stop"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (5, 7, 12)
    assert [s["text"] for s in found.sources] == [s.text for s in SOURCES] and found.sources[0]["section"] == "1911 > Spring"
    assert found.trace == "Ada Venn taught Bo Lind."
    assert answerer.asked[-1] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who\ntaught Bo?"}]
    assert answerer.temperatures[-1] == 0.5


def test_a_stream_is_the_same_answer_in_pieces(served):
    chunks = list(client(served[0]).chat.completions.create(model="my-model", messages=ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
    assert len({c.id for c in chunks}) == 1 and chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * 8 + ["stop"]
    assert [s["file"] for s in chunks[-2].sources] == ["letters.md", "notes.txt"] and not any(hasattr(c, "sources") for c in chunks[:-2])
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 7
    assert all(c.usage is None for c in client(served[0]).chat.completions.create(model="my-model", messages=ASK, stream=True)), "it was not asked for"


def test_pieces_come_while_the_rest_is_yet_to_be_written():
    answerer = Scripted(SAID)
    answerer.free_words = 2
    answerer.turn.clear()
    with serving(answerer) as (address, _):
        stream = iter(client(address).chat.completions.create(model="my-model", messages=ASK, stream=True))
        assert [next(stream).choices[0].delta.content for _ in range(3)] == ["", "It", " was"] and answerer.written == 2
        answerer.turn.set()
        assert "".join(c.choices[0].delta.content or "" for c in stream) == SAID.removeprefix("It was")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "asked, text, why, tokens",
    [
        ({"max_tokens": 3}, "It was Ada", "length", 3),
        ({"max_completion_tokens": 2, "max_tokens": 5}, "It was", "length", 2),
        ({"max_tokens": 10_000}, SAID, "stop", 7),
        ({"stop": "Venn"}, "It was Ada ", "stop", 4),
        ({"stop": ["him.", "n w"]}, "It was Ada Ven", "stop", 5),
        ({"stop": ["Ada Bo"]}, SAID, "stop", 7),
        ({"stop": ["It"]}, "", "stop", 1),
    ],
)
def test_limits_and_stops(served, stream, asked, text, why, tokens):
    found = client(served[0]).chat.completions.create(model="my-model", messages=ASK, stream=stream, extra_body=asked)
    if stream:
        chunks = list(found)
        assert ("".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason) == (text, why)
        assert chunks[-1].sources, "an answer that is cut has its sources too"
    else:
        assert (found.choices[0].message.content, found.choices[0].finish_reason, found.usage.completion_tokens) == (text, why, tokens)
        assert found.sources


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_stops_are_found_wherever_the_pieces_break(text, stops, sizes):
    reader, shown, at = Stops(stops), "", 0
    while at < len(text) and not reader.found:
        size = sizes.pop()
        shown, at = shown + reader.read(text[at : at + size]), at + size
    shown += "" if reader.found else reader.rest()
    read = text[:at]
    ends = [place for stop in stops if (place := read.find(stop)) >= 0]
    assert reader.found == bool(ends) == any(stop in text for stop in stops)
    assert shown == (text[: min(ends)] if ends else text)


# -- many at once ---------------------------------------------------------------------------------------------------------------------------------------


def test_many_at_once_are_answered_one_after_the_other_each_with_its_own():
    answerer = Scripted(pause_s=0.002)
    with serving(answerer, limits=Limits(waiting=32)) as (address, service), ThreadPoolExecutor(16) as pool:
        ours = client(address)

        def ask(i: int) -> str | None:
            found = ours.chat.completions.create(model="my-model", messages=[{"role": "user", "content": f"say {i} and {i * i}"}], stream=bool(i % 2))
            return "".join(c.choices[0].delta.content or "" for c in found) if i % 2 else found.choices[0].message.content

        assert list(pool.map(ask, range(32))) == [f"say {i} and {i * i}" for i in range(32)]
        assert answerer.most_busy == 1 and len(answerer.threads) == 1
        assert service.desk.inside == 0


def test_beyond_the_bound_it_is_503_with_retry_after_and_the_client_tries_again():
    answerer = Scripted(SAID)
    answerer.turn.clear()
    with serving(answerer, limits=Limits(waiting=1)) as (address, service), ThreadPoolExecutor(3) as pool:
        inside = [pool.submit(client(address).chat.completions.create, model="my-model", messages=ASK) for _ in range(2)]
        wait_until(lambda: service.desk.inside == 2)
        with pytest.raises(openai.InternalServerError, match="2 requests") as refused:
            client(address).chat.completions.create(model="my-model", messages=ASK, stream=True)
        assert refused.value.status_code == 503 and refused.value.code == "busy" and refused.value.response.headers["retry-after"] == "1"
        again = pool.submit(client(address).with_options(max_retries=3).chat.completions.create, model="my-model", messages=ASK)
        answerer.turn.set()
        assert [f.result().choices[0].message.content for f in (*inside, again)] == [SAID] * 3


def test_time_limits():
    """What is written in time is the answer; whose turn does not come in time is told so."""
    answerer = Scripted("word " * 200, pause_s=0.05)
    with serving(answerer, limits=Limits(timeout_s=1.5)) as (address, _), ThreadPoolExecutor(2) as pool:
        first = pool.submit(client(address).chat.completions.create, model="my-model", messages=ASK, max_tokens=200)
        wait_until(lambda: answerer.written > 0)
        found = first.result()
        assert found.choices[0].finish_reason == "length" and 0 < found.usage.completion_tokens < 200
        assert found.choices[0].message.content.split() == ["word"] * found.usage.completion_tokens and found.sources
        answerer.turn.clear()
        stuck = pool.submit(client(address).chat.completions.create, model="my-model", messages=ASK)
        wait_until(lambda: answerer.busy == 1)
        with pytest.raises(openai.InternalServerError, match=r"1\.5 s"):
            client(address).chat.completions.create(model="my-model", messages=ASK)
        answerer.turn.set()
        assert stuck.result().choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_leaves_is_not_written_for(stream):
    answerer = Scripted("word " * 400, pause_s=0.02)
    with serving(answerer) as (address, service):
        body = json.dumps({"messages": ASK, "max_tokens": 400, "stream": stream}).encode()
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as asker:
            asker.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: answerer.written > 3)
        wait_until(lambda: service.desk.inside == 0)
        assert 3 < answerer.written < 400


# -- refusals -------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"messages": []}, "messages: "),
        ({"messages": None}, "messages is missing"),
        ({"messages": "Who?"}, "messages: input should be a valid list"),
        ({"messages": [{"content": "Who?"}]}, "messages.0.role is missing"),
        ({"messages": [{"role": "user", "content": "  "}]}, "the last one must be the user's"),
        ({"messages": [*ASK, {"role": "assistant", "content": "Ada"}]}, "the last one must be the user's"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: input should be 'system'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "only parts of type text"),
        ({"messages": [{"role": "user", "content": "\ud800?"}]}, "lone surrogate"),
        ({"messages": [{"role": "user", "content": 7}]}, "content: input should be a valid string"),
        ({"temperature": 2.1}, "temperature: input should be less than or equal to 2"),
        ({"temperature": "1"}, "temperature: input should be a valid number"),
        ({"temperature": float("nan")}, "temperature: input should be a finite number"),
        ({"max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        ({"max_tokens": 2.5}, "max_tokens: input should be a valid integer"),
        ({"stop": ""}, "stop: an empty text stops nothing"),
        ({"stop": ["a"] * 5}, "stop: list should have at most 4 items"),
        ({"stream": "yes"}, "stream: input should be a valid boolean"),
        ({"n": 2}, "n: one answer is given"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_one_sentence(fields, says):
    with pytest.raises(Refusal) as refused:
        read_request(json.dumps({"messages": ASK} | fields).encode())
    assert refused.value.status == 400 and says in refused.value.message and "\n" not in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"messages":' + b"[" * 100_000, b'{"max_tokens": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_no_object_is_refused_and_the_server_lives(served, body):
    refused = HTTP.post(f"{served[0]}/v1/chat/completions", content=body)
    assert refused.status_code == 400 and set(refused.json()["error"]) == {"message", "type", "code"}
    assert HTTP.get(f"{served[0]}/health").json() == {"status": "ok", "requests": 0}


def test_nulls_mean_defaults():
    names = ("model", "stream", "stream_options", "temperature", "max_tokens", "max_completion_tokens", "stop", "n")
    wanted = read_request(json.dumps({"messages": [{"role": "assistant", "content": None}, *ASK]} | dict.fromkeys(names)).encode())
    assert (wanted.temperature, wanted.limit, wanted.stop, wanted.stream, wanted.messages[0].content) == (0.0, None, [], False, "")


def test_errors_have_openais_shape_and_status(served):
    address, ours = served[0], client(served[0])
    with pytest.raises(openai.BadRequestError, match="temperature") as error:
        ours.chat.completions.create(model="my-model", messages=ASK, temperature=7)
    assert error.value.code == "invalid_request" and error.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError, match="there is 'my-model'"):
        ours.chat.completions.create(model="gpt-5", messages=ASK)
    for method, path, status in (("GET", "/v1/no/such", 404), ("GET", "/v1/chat/completions", 405), ("DELETE", "/v1/models", 405), ("GET", "/docs", 404)):
        refused = HTTP.request(method, address + path)
        assert refused.status_code == status and refused.json()["error"]["message"], path


def test_what_the_model_raises_is_told_as_far_as_it_concerns_the_asker(caplog):
    for stream in (False, True):
        with serving(Scripted(error=UserError("a prompt of 9000 tokens does not fit"))) as (address, service):
            with pytest.raises(openai.BadRequestError, match="does not fit"):
                client(address).chat.completions.create(model="my-model", messages=ASK, stream=stream)
            service.desk.answerer.error = RuntimeError("secret path /home/ada")
            with pytest.raises(openai.InternalServerError) as failed:
                client(address).chat.completions.create(model="my-model", messages=ASK, stream=stream)
            assert failed.value.code == "failed" and "secret" not in str(failed.value.body)
            service.desk.answerer.error = None
            assert client(address).chat.completions.create(model="my-model", messages=ASK).choices[0].message.content == ASK[0]["content"]
    assert "secret path" in caplog.text, "the log has it"


def test_an_error_within_a_stream_reaches_the_client():
    class Breaks(Scripted):
        def stream(self, messages, **options):
            yield "It "
            raise RuntimeError("broken")

    with serving(Breaks()) as (address, _), pytest.raises(openai.APIError, match="because of a fault here"):
        list(client(address).chat.completions.create(model="my-model", messages=ASK, stream=True))


def test_large_and_slow_requests_are_refused():
    with serving(Scripted(), limits=Limits(body_bytes=1000, body_s=0.3)) as (address, _):
        url, large = f"{address}/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": "x" * 2000}]}).encode()
        for content in (large, iter([large[:500], large[500:]])):  # with and without Content-Length
            refused = HTTP.post(url, content=content)
            assert refused.status_code == 413 and "1,000 bytes" in refused.json()["error"]["message"]
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as slow:
            slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
            assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]


# -- who may ask ----------------------------------------------------------------------------------------------------------------------------------------


def test_the_token_is_asked_for():
    with serving(Scripted(SAID), token="correct-horse") as (address, _):
        assert client(address, "correct-horse").chat.completions.create(model="my-model", messages=ASK).choices[0].message.content == SAID
        for key in ("correct-horsf", "correct", "correct-horse-", "\xe9\xe8"):
            refused = HTTP.get(f"{address}/v1/models", headers={"Authorization": b"Bearer " + key.encode("latin-1")})
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        with pytest.raises(openai.AuthenticationError, match="asks for its token"):
            client(address, "wrong-token").chat.completions.create(model="my-model", messages=ASK)
        for path in ("/v1/models", "/v1/no/such", "/v1/models/my-model"):
            assert HTTP.get(address + path).status_code == 401, "without a token nothing can be found out"
        assert HTTP.get(f"{address}/v1/models", headers={"Authorization": "Basic correct-horse"}).status_code == 401
        assert HTTP.get(f"{address}/health").status_code == 200 and b"my-model" in HTTP.get(address).content


def test_pages_of_other_sites_may_not_ask(served):
    port = served[0].rpartition(":")[2]
    for host in (f"evil.example:{port}", "evil.example", "127.0.0.1.evil.example", "localhost.evil", ""):
        refused = HTTP.get(f"{served[0]}/v1/models", headers={"Host": host})
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "foreign_host", host
    for origin in ("https://evil.example", "http://localhost:1", "null"):
        refused = HTTP.post(f"{served[0]}/v1/chat/completions", json={"messages": ASK}, headers={"Origin": origin})
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "foreign_origin", origin
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]", "LOCALHOST"):
        assert HTTP.get(f"{served[0]}/v1/models", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200, host


@pytest.mark.parametrize("host, local", [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)])
def test_only_loopback_needs_no_token(host, local):
    assert is_loopback(host) == local
    if not local:
        with pytest.raises(UserError, match="give a token with --token or TOLMAN_TOKEN"):
            Service(Scripted(), name="m", host=host)  # type: ignore[arg-type]
    check_token(host, "long-enough")
    for bad in ("", "short", "with\nbreak!", "schön-genug", " padded-token"):
        with pytest.raises(UserError, match="a token has at least 8"):
            check_token(host, bad)


def test_every_answer_carries_the_headers(served):
    for path in ("/", "/health", "/v1/models", "/nowhere"):
        headers = HTTP.get(served[0] + path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY" and "server" not in headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src 'self'" in policy


def test_a_port_that_is_taken_is_one_sentence():
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match=rf"port {taken.getsockname()[1]}.*choose another"):
        listen("127.0.0.1", taken.getsockname()[1])
    for host, port, says in (("no.such.host.invalid", 80, "cannot listen on"), ("127.0.0.1", 70_000, "there is no port 70000")):
        with pytest.raises(UserError, match=says):
            listen(host, port)


# -- ending ---------------------------------------------------------------------------------------------------------------------------------------------


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


def test_when_it_is_stopped_whoever_waits_or_reads_is_told():
    answerer = Scripted("word " * 5000, pause_s=0.01)
    with serving(answerer) as (address, service):
        chunks: list[object] = []

        def read() -> None:
            with pytest.raises(openai.APIError, match="being stopped"):
                chunks.extend(client(address).chat.completions.create(model="my-model", messages=ASK, stream=True, max_tokens=500))

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: answerer.written > 3)
    reader.join(60)
    assert not reader.is_alive() and answerer.written < 450


SCRIPT = """
import sys
from answerers import Scripted
from tolman.app.serve import Service, address_of, listen
listening = listen("127.0.0.1", 0)
sys.stdout.write(address_of(listening) + "\\n"); sys.stdout.flush()
Service(Scripted("word " * 5000, pause_s=0.01), name="m").run(listening)
sys.stdout.write("ended\\n")
"""


@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_ends_it(busy):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        address = process.stdout.readline().strip()
        stream = client(address).chat.completions.create(model="m", messages=ASK, stream=True, max_tokens=500) if busy else HTTP.get(f"{address}/health")
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
        assert stream is not None and "ended" in said and "Traceback" not in errors, errors
    finally:
        process.kill()  # does nothing to one that has ended
