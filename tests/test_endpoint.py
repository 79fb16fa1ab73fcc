"""models/openai against a real server on loopback: what it sends, what it makes of answers and of faults, what it keeps, what it never writes."""

import json
import math
import threading
import time
from pathlib import Path

import pytest

import endpoint_server
from endpoint_server import Handler, Server
from tolman.core.component import digest
from tolman.core.cost import Cost
from tolman.core.data import Prompt, Verdict
from tolman.core.errors import UserError
from tolman.memory.bm25 import Bm25
from tolman.models.openai import OpenAI, OpenAIModel
from tolman.run.cell import Cell
from tolman.run.plan import Plan, result_rows
from tolman.run.store import Store
from tolman.scoring.choice import Choice
from tolman.scoring.exact import Exact, grade
from tolman.test_time.retrieval import Retrieval
from tolman.testing._world import world
from tolman.train_time.untrained import Untrained

CORPUS = world()
PROMPTS = [Prompt(q.prompt, (CORPUS.experiences[0].text,)) for q in CORPUS.asked()[:6]]
KEY = "sk-very-secret-1234567890"


def live(server: Server, **fields) -> OpenAIModel:
    return OpenAI(**({"model": "example", "base_url": server.url, "key_variable": "", "cache": "", "retries": 2, "timeout_s": 20.0} | fields)).create(
        CORPUS, seed=0
    )


def texts(rows) -> list[list[str]]:
    return [[g.text for g in row] for row in rows]


def until(happened, limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not happened() and time.monotonic() < end:
        time.sleep(0.005)


# -- what is sent ---------------------------------------------------------------------------------------------------------------------------------------


def test_the_client_library_is_the_real_one():
    with Server() as server:
        assert type(live(server).endpoint.client).__module__.split(".")[0] == "openai"
        assert OpenAI.__module__ == "tolman.models.openai"


def test_what_is_sent_is_what_render_shows():
    with Server() as server:
        model = live(server, extra={"top_k": 1}, limit="max_completion_tokens", stop=("\n", "."))
        prompt = Prompt("Ada lives in", ("Bo lives in Bray.", "Ada lives in Ulm."), "Let me see.")
        server.always = lambda body: lambda h: h.say({"choices": [{"message": {"content": " Ulm"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}})
        ((written,),) = model.generate([prompt], max_tokens=5)
        (body,) = server.seen
        assert "\n\n".join(m["content"] for m in body["messages"]) == model.render(prompt)
        assert [m["role"] for m in body["messages"]] == ["system", "user"] and body["messages"][1]["content"].splitlines()[-1] == "Ada lives in"
        assert {k: body[k] for k in ("model", "max_completion_tokens", "temperature", "stop", "top_k")} == {
            "model": "example", "max_completion_tokens": 5, "temperature": 0.0, "stop": ["\n", "."], "top_k": 1,
        }  # fmt: skip
        assert "seed" not in body and "logprobs" not in body and "max_tokens" not in body
        assert written.text == "Ulm" and written.finished and math.isnan(written.nats)


def test_samples_have_seeds_of_their_own_and_greedy_answers_have_none():
    with Server() as server:
        model = live(server)
        model.generate(PROMPTS[:1], max_tokens=2, samples=3, temperature=1.0, seed=5)
        seeds = [body["seed"] for body in server.seen]
        assert len(set(seeds)) == 3 and all(0 <= s < 2**31 for s in seeds)
        model.generate(PROMPTS[:1], max_tokens=2, samples=3)
        assert len(server.seen) == 4 and "seed" not in server.seen[-1]  # equal requests are sent once


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_than_allowed_are_under_way(concurrency):
    with Server() as server:
        plain = texts(live(server).generate(PROMPTS, max_tokens=2))
        server.most_busy = 0
        server.always = lambda body: lambda h: (until(lambda: server.most_busy >= concurrency), h.serve())
        assert texts(live(server, concurrency=concurrency).generate(PROMPTS, max_tokens=2)) == plain
        assert server.most_busy == concurrency


# -- likelihoods -----------------------------------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_model_behind():
    with Server() as server:
        tails = [["Ulm", "North Bray", "Chloé"], ["Veld"], []]
        mine, its = live(server).score(PROMPTS[:3], tails), server.model.score(PROMPTS[:3], tails)
        assert [len(row) for row in mine] == [3, 1, 0] and all(
            a == pytest.approx(b) for row, other in zip(mine, its, strict=True) for a, b in zip(row, other, strict=True)
        )
        ((written,),) = live(server, logprobs=True).generate(PROMPTS[:1], max_tokens=3)
        assert written.nats == pytest.approx(server.model.score(PROMPTS[:1], [[written.text]])[0][0])


@pytest.mark.parametrize(
    "reply", [lambda h: h.error(404, "no such path"), lambda h: h.error(400, "echo is not supported"), None], ids=["no path", "no echo", "no logprobs"]
)
def test_an_endpoint_that_cannot_score_is_said(reply):
    with Server(logprobs=reply is not None) as server:
        server.always = lambda body: reply
        with pytest.raises(UserError, match=r"does not give the log-probabilities of a given text .* use scoring/exact"):
            live(server).score(PROMPTS[:1], [["Ulm"]])
    with Server(echo=False) as server, pytest.raises(UserError, match="does not give the log-probabilities"):
        live(server).score(PROMPTS[:1], [["Ulm"]])


def test_a_token_over_the_border_is_said():
    def straddle(h: Handler) -> None:
        answer = h.complete(h.body["prompt"])
        answer["choices"][0]["logprobs"]["text_offset"] = [max(0, at - 1) for at in answer["choices"][0]["logprobs"]["text_offset"]]
        h.say(answer)

    with Server() as server:
        server.always = lambda body: straddle
        with pytest.raises(UserError, match="reaches over the end of a prompt"):
            live(server).score(PROMPTS[:1], [["Ulm"]])


# -- faults ----------------------------------------------------------------------------------------------------------------------------------------------

PASSING = {
    "429 with Retry-After": lambda h: h.error(429, "slow down", Retry_After="0.3"),
    "500": lambda h: h.error(500, Retry_After="0.05"),
    "cut half-way": lambda h: h.cut(),
    "no JSON": lambda h: h.raw(b'{"choices": [{"mess'),
    "a page": lambda h: h.raw(b"<html>busy</html>", content_type="text/html"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_changes_nothing(fault):
    with Server() as server:
        plain = texts(live(server).generate(PROMPTS[:2], max_tokens=2))
    with Server(PASSING[fault]) as server:
        assert texts(live(server, concurrency=1).generate(PROMPTS[:2], max_tokens=2)) == plain
        assert len(server.seen) == 3 and server.seen[0] == server.seen[1] != server.seen[2]
        waited = server.at[1] - server.at[0]
        assert waited >= {"429 with Retry-After": 0.3, "500": 0.05}.get(fault, 0.37), "it did not wait before it asked again"


def test_a_silent_endpoint_is_asked_again():
    with Server(lambda h: (time.sleep(1.5), h.serve())) as server:
        assert live(server, timeout_s=0.7).generate(PROMPTS[:1], max_tokens=2)[0][0].text
        assert len(server.seen) == 2


LASTING = {
    "429": (lambda h: h.error(429, "slow down", Retry_After="0.01"), r"still asked to wait in 3 tries .*slow down.* lower model\.concurrency", 3),
    "500": (lambda h: h.error(500, "out of order", Retry_After="0.01"), r"fails with status 500, in 3 tries .*out of order", 3),
    "no JSON": (lambda h: h.raw(b"{oops"), r"does not answer in JSON in 3 tries, but with '\{oops'", 3),
    "a page": (lambda h: h.raw(b"<html>", content_type="text/html"), r"does not answer in JSON in 3 tries, but with '<html>'", 3),
    "cut": (lambda h: h.cut(), r"cannot be reached or breaks the connection, in 3 tries", 3),
    "401": (lambda h: h.error(401, f"wrong key {KEY}"), r"refuses the key in the environment variable \(none", 1),
    "404": (lambda h: h.error(404, "no model example"), r"does not know the model or the path .*no model example", 1),
    "400": (lambda h: h.error(400, "max_tokens is not supported"), r"refuses the request with status 400 .*max_tokens is not supported", 1),
    "too long": (lambda h: h.error(400, "too many tokens", "context_length_exceeded"), "does not fit into the endpoint's context", 1),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_one_sentence(fault):
    reply, sentence, tries = LASTING[fault]
    with Server() as server:
        server.always = lambda body: reply
        with pytest.raises(UserError, match=sentence):
            live(server).generate(PROMPTS[:1], max_tokens=2)
        assert len(server.seen) == tries


def test_lasting_silence_and_an_address_without_a_server_are_said():
    with Server() as server:
        server.always = lambda body: lambda h: time.sleep(0.6)
        with pytest.raises(UserError, match=r"did not answer within 0\.2 s in one try: raise model\.timeout_s"):
            live(server, timeout_s=0.2, retries=0).generate(PROMPTS[:1], max_tokens=2)
    with pytest.raises(UserError, match=r"cannot be reached .* check model\.base_url"):
        live(server, retries=0).generate(PROMPTS[:1], max_tokens=2)


def test_answers_before_a_failure_are_kept_and_the_next_run_goes_on(tmp_path):
    with Server() as server:
        plain = texts(live(server).generate(PROMPTS, max_tokens=2))
    broken = PROMPTS[3].question
    with Server() as server:
        server.always = lambda body: (lambda h: h.error(500, Retry_After="0.01")) if body["messages"][-1]["content"].endswith(broken) else None
        fields = {"cache": str(tmp_path), "concurrency": 1}
        with pytest.raises(UserError, match=r"fails with status 500.*; [34] of 6 answers came before and are kept: the same command goes on") as caught:
            live(server, **fields).generate(PROMPTS, max_tokens=2)
        kept = len(list(tmp_path.rglob("*.json")))  # 3, and the next one where it had begun when the failure was seen
        assert f"; {kept} of 6 answers" in str(caught.value)
        asked = len(server.seen)
        server.always = lambda body: None
        assert texts(live(server, **fields).generate(PROMPTS, max_tokens=2)) == plain
        assert len(server.seen) == asked + 6 - kept
        with pytest.raises(UserError, match=r"1 of 2 answers came before, and are lost because model\.cache names no folder"):
            server.always = lambda body: (lambda h: h.error(500, Retry_After="0.01")) if body["messages"][-1]["content"].endswith(broken) else None
            live(server, concurrency=1).generate(PROMPTS[2:4], max_tokens=2)


def test_requests_under_way_when_another_fails_are_kept(tmp_path):
    arrived, failed = threading.Event(), threading.Event()

    def refuse(h: Handler) -> None:
        arrived.wait(20)
        h.error(403)
        failed.set()

    def slow(h: Handler) -> None:
        arrived.set()
        failed.wait(20)
        time.sleep(0.2)
        h.serve()

    with Server() as server:
        server.always = lambda body: refuse if body["messages"][-1]["content"].endswith(PROMPTS[0].question) else slow
        with pytest.raises(UserError, match="1 of 2 answers came before and are kept"):
            live(server, cache=str(tmp_path), concurrency=2).generate(PROMPTS[:2], max_tokens=2)
    assert len(list(tmp_path.rglob("*.json"))) == 1


# -- refusals and failures are verdicts -----------------------------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
VERDICTS = {
    "refusal": (lambda h: h.say({"choices": [{"message": {"content": None, "refusal": "I will not"}}], "usage": USAGE}), Verdict.REFUSED, "I will not"),
    "filtered": (lambda h: h.say({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}], "usage": USAGE}), Verdict.REFUSED, ""),
    "filtered, 400": (lambda h: h.error(400, "filtered out", "content_filter"), Verdict.REFUSED, "filtered out"),
    "no choices": (lambda h: h.say({"error": {"message": "upstream is down"}}), Verdict.FAILED, "upstream is down"),
    "no content": (lambda h: h.say({"choices": [{"message": {"content": None}, "finish_reason": "error"}]}), Verdict.FAILED, "error"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_a_refusal_or_failure_is_a_verdict(case):
    reply, verdict, said = VERDICTS[case]
    with Server() as server:
        server.always = lambda body: reply if body.get("messages", [{}])[-1].get("content", "").endswith(PROMPTS[0].question) else None
        (refused,), (fine,) = live(server).generate([PROMPTS[0], PROMPTS[4]], max_tokens=3)
        assert refused.verdict == verdict and said in refused.text and fine.verdict is None and fine.text
        questions = CORPUS.asked()
        assert grade(refused, questions[0]).verdict == verdict and grade(fine, questions[4]).verdict != verdict


def test_a_failed_score_is_a_failed_choice():
    with Server(lambda h: h.say({"error": {"message": "upstream is down"}})) as server:
        question = CORPUS.asked()[0]
        (answer,) = Choice().judge(live(server, concurrency=1), [Prompt(question.prompt)], [question])
        assert answer.verdict == Verdict.FAILED


# -- the cache --------------------------------------------------------------------------------------------------------------------------------------------


def test_an_answer_from_the_cache_is_the_same_and_costs_the_same(tmp_path):
    with Server() as server:
        prices = {"example": (2.0, 10.0)}
        fresh, first, again = (live(server, cache=cache, prices=prices, logprobs=True) for cache in ("", str(tmp_path), str(tmp_path)))
        rows = [
            (m.generate(PROMPTS, max_tokens=3), m.score(PROMPTS[:2], [["Ulm", "Vik"], ["Ulm"]]), m.meter.get("train").dollars) for m in (fresh, first, again)
        ]
        assert rows[0] == rows[1] == rows[2]
        assert len(server.seen) == 2 * (6 + 3)
        read, wrote = (sum(live_usage[part] for live_usage in usages(tmp_path)) for part in ("prompt_tokens", "completion_tokens"))
        assert rows[0][2] == pytest.approx((2.0 * read + 10.0 * wrote) / 1e6) and wrote > 0
        assert first.meter.get("train").tokens == read + wrote


def usages(folder: Path) -> list[dict[str, int]]:
    return [json.loads(file.read_text())["answer"]["usage"] for file in folder.rglob("*.json")]


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"instruction": "Go on."}, {"stop": ()}, {"logprobs": True}, {"extra": {"top_p": 0.5}}, {"limit": "max_completion_tokens"}],
    ids=lambda change: next(iter(change)),
)
def test_all_that_an_answer_depends_on_is_in_its_key(change, tmp_path):
    with Server() as server:
        server.always = lambda body: lambda h: h.say({"choices": [{"message": {"content": "x"}}], "usage": USAGE})
        live(server, cache=str(tmp_path)).generate(PROMPTS[:1], max_tokens=2)
        live(server, cache=str(tmp_path), **change).generate(PROMPTS[:1], max_tokens=2)
        assert len(server.seen) == 2
        live(server, cache=str(tmp_path), prices={"example": (1.0, 1.0)}, concurrency=1).generate(PROMPTS[:1], max_tokens=2)
        assert len(server.seen) == 2
        for ask in ({"max_tokens": 3}, {"max_tokens": 2, "temperature": 1.0}, {"max_tokens": 2, "temperature": 1.0, "seed": 1}):
            before = len(server.seen)
            live(server, cache=str(tmp_path)).generate(PROMPTS[:1], **ask)
            assert len(server.seen) == before + 1, ask


def test_another_endpoint_has_other_answers(tmp_path):
    with Server() as one, Server() as two:
        for server in (one, two):
            live(server, cache=str(tmp_path)).generate(PROMPTS[:1], max_tokens=2)
        assert (len(one.seen), len(two.seen)) == (1, 1)


def test_a_damaged_answer_is_named_and_no_scraps_are_left(tmp_path):
    with Server() as server:
        live(server, cache=str(tmp_path)).generate(PROMPTS, max_tokens=2)
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert len(files) == 6 and all(file.suffix == ".json" and not file.name.startswith(".") for file in files)
        files[0].write_text(files[0].read_text()[:-9])
        with pytest.raises(UserError, match=rf"{files[0].name} holds no answer .* delete it"):
            live(server, cache=str(tmp_path)).generate(PROMPTS, max_tokens=2)
        kept = json.loads(files[1].read_text())
        files[1].write_text(json.dumps(kept | {"path": "/elsewhere"}))  # as if two requests had one key
        files[0].unlink()
        live(server, cache=str(tmp_path)).generate(PROMPTS, max_tokens=2)
        assert len(server.seen) == 8 and digest({k: kept[k] for k in ("base_url", "path", "body")}) == files[1].stem
    (tmp_path / "file").write_text("")
    with Server() as server, pytest.raises(UserError, match="cannot keep answers in"):
        live(server, cache=str(tmp_path / "file")).generate(PROMPTS[:1], max_tokens=2)


# -- cost, keys, configuration ---------------------------------------------------------------------------------------------------------------------------


def test_an_unknown_price_is_nan_and_a_missing_count_is_said():
    with Server() as server:
        model = live(server, prices={"another": (1.0, 1.0)})
        with model.meter.phase("ask"):
            model.generate(PROMPTS[:1], max_tokens=2)
        spent = model.meter.get("ask")
        assert math.isnan(spent.dollars) and math.isnan(spent.flops) and spent.tokens > 10 and model.meter.get("train") == Cost()
        server.always = lambda body: lambda h: h.say({"choices": [{"message": {"content": "x"}}]})
        with pytest.raises(UserError, match="does not say how many tokens"):
            model.generate(PROMPTS[:1], max_tokens=2)


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLMAN_TEST_KEY", KEY)
    with Server() as server:
        spec = OpenAI(model="example", base_url=server.url, key_variable="TOLMAN_TEST_KEY", cache=str(tmp_path / "answers"), retries=0)
        shared = {"dataset": Small(), "model": spec, "train_time": Untrained(), "test_time": Retrieval(retriever=Bm25(k=2)), "seed": 0, "training": "none"}
        cells = (Cell(**shared, scoring=Exact(), asking="exact"), Cell(**shared, scoring=Choice(), asking="choice"))
        plan = Plan("keys", "quick", cells, Store(tmp_path / "store"))
        plan.run(lambda event: None)
        rows = list(result_rows(plan.write_folder({})))
        assert {h["authorization"] for h in server.headers} == {f"Bearer {KEY}"}
        server.always = lambda body: lambda h: h.error(400, f"bad request by {h.headers['Authorization']}")
        with pytest.raises(UserError) as caught:
            spec.create(CORPUS, seed=0).generate([Prompt("something new")], max_tokens=1)
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) > 10 and not [file for file in written if KEY.encode() in file.read_bytes()]
    assert KEY not in str(caught.value) and "***" in str(caught.value)
    assert {row["kind"] for row in rows} == set(CORPUS.kinds) and all(row["ask_tokens"] > 0 and math.isnan(row["ask_flops"]) for row in rows)
    assert all((row["recall"] is None) == (row["kind"] == "nowhere") for row in rows)
    monkeypatch.delenv("TOLMAN_TEST_KEY")
    with Server() as server, pytest.raises(UserError, match="the environment variable TOLMAN_TEST_KEY holds no key"):
        live(server, key_variable="TOLMAN_TEST_KEY").generate(PROMPTS[:1], max_tokens=1)
    again = spec.create(CORPUS, seed=0)  # what is kept needs neither key nor endpoint
    assert again.generate([Retrieval(retriever=Bm25(k=2)).prompts(again, CORPUS, CORPUS.asked()[:1], seed=0)[0]], max_tokens=8)


class Small(endpoint_server.Component):
    """The small world of the contracts."""

    def build(self, seed: int):
        return CORPUS


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"base_url": "127.0.0.1:8000"}, "write it with http"),
        ({"base_url": "https://me:word@host/v1"}, "without user, password"),
        ({"base_url": "https://host/v1?key=1"}, "without user, password"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"api_key": KEY}, "no field 'api_key'"),
    ],
)
def test_a_bad_configuration_is_said(fields, message):
    with pytest.raises(UserError, match=message):
        OpenAI(model="m", **fields)


def test_a_saved_model_names_its_endpoint(tmp_path):
    spec = OpenAI(model="m", base_url="http://127.0.0.1:1/v1/")
    spec.create(CORPUS, seed=0).save(tmp_path)
    assert spec.replace("concurrency", 2).load(tmp_path).endpoint.base_url == "http://127.0.0.1:1/v1"
    with pytest.raises(UserError, match="names another"):
        spec.replace("model", "n").load(tmp_path)
    with pytest.raises(UserError, match="no weights to train"):
        spec.create(CORPUS, seed=0).examples([])
