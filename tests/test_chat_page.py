"""The chat page in a real browser, driven by the keyboard: it streams, shows what an answer rests on, and shows hostile text as text."""

from itertools import count

import httpx
import pytest

from answerers import HOSTILE, SOURCES, Scripted, serving
from chromium import CHROME, browser

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROME is None, reason="no Chromium found on PATH or in CHROME: the page is not opened")]
ASKED = "Who taught <b>Bo</b> Lind?"
_number = count()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(opened):
    opened.errors.clear()
    opened.look()
    return opened


def ask(page, text=ASKED):
    page.wait("document.activeElement.id === 'question'")
    page.type(text)
    page.press("Enter")


def said(page):
    """The texts of all answers."""
    return page.evaluate("[...document.querySelectorAll('.said > .text')].map(e => e.textContent)")


FINISHED = "document.querySelectorAll('.said .note').length === {}"


def test_hostile_text_in_answers_and_documents_stays_text(page):
    with serving(Scripted(HOSTILE, trace=HOSTILE), name="<i>model</i>") as (address, _):
        page.open(f"{address}/")
        ask(page, f"{ASKED} {HOSTILE}")
        page.wait(FINISHED.format(1))
        assert page.evaluate("document.querySelector('h1').textContent") == page.evaluate("document.title") == "<i>model</i>"
        assert said(page) == [HOSTILE] and page.evaluate("document.querySelector('.asked').textContent") == f"{ASKED} {HOSTILE}"
        assert page.evaluate("[...document.querySelectorAll('blockquote')].map(e => e.textContent)") == [HOSTILE, *(s.text for s in SOURCES)]
        assert page.evaluate("document.querySelectorAll('main img, main script, main b, main i').length") == 1, "the <b> of the page's own greeting"
        assert page.evaluate("document.documentElement.dataset.hacked") is None and page.errors == []
        # and were it ever set as HTML, the policy would stop it
        page.evaluate(f"document.querySelector('main').insertAdjacentHTML('beforeend', {HOSTILE!r})")
        page.wait("document.querySelector('main > img').complete")
        assert page.evaluate("document.documentElement.dataset.hacked") is None
        assert any("Content Security Policy" in error for error in page.errors)


def test_it_streams_and_the_sources_open_by_keyboard(page):
    answerer = Scripted("Ada Venn did.\n\nShe lived in Ulm.", trace="Ada Venn taught Bo Lind.")
    answerer.free_words = 2
    answerer.turn.clear()
    with serving(answerer) as (address, _):
        page.open(f"{address}/")
        ask(page)
        page.wait("document.querySelector('.said .text').textContent === 'Ada Venn'")
        assert page.evaluate("document.querySelector('.said').getAttribute('aria-busy')") == "true"
        assert page.evaluate("document.querySelector('details')") is None and page.evaluate("document.getElementById('stop').hidden") is False
        answerer.turn.set()
        page.wait(FINISHED.format(1))
        assert said(page) == [answerer.said] and page.evaluate("document.activeElement.id") == "question"
        rows = page.evaluate("[...document.querySelectorAll('summary')].map(e => [...e.children].map(c => c.textContent).join('|'))")
        assert rows == ["What it recalled first|", "1|letters.md|1911 > Spring", "2|notes.txt|"]
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
        for _ in range(2):  # back from the question: the last source, the one before it
            page.press("Tab", 8)
        page.press("Enter")
        shown = page.evaluate("[...document.querySelectorAll('details[open] blockquote')].map(e => [e.textContent, e.getBoundingClientRect().height > 10])")
        assert shown == [[SOURCES[0].text, True]]
        page.evaluate("document.getElementById('question').focus()")
        ask(page, "And where?")
        page.wait(FINISHED.format(2))
        assert [m["content"] for m in answerer.asked[-1]] == [ASKED, answerer.said, "And where?"], "it is told what was said before"
        assert page.errors == []


def test_escape_stops_arrow_recalls_and_a_new_conversation_is_empty(page):
    answerer = Scripted("word " * 300)
    answerer.free_words = 3
    answerer.turn.clear()
    with serving(answerer) as (address, service):
        page.open(f"{address}/")
        page.press("Enter")
        assert not answerer.asked, "nothing is sent where nothing is asked"
        ask(page)
        page.wait("document.querySelector('.said .text').textContent === 'word word word'")
        page.press("Escape")
        page.wait(FINISHED.format(1))
        assert "stopped" in page.evaluate("document.querySelector('.said .note').textContent")
        answerer.turn.set()
        page.press("ArrowUp")
        assert page.evaluate("document.getElementById('question').value") == ASKED
        page.press("n", 1)
        page.wait("document.querySelectorAll('#turns > li').length === 0 && !document.getElementById('empty').hidden")
        assert service.desk.inside <= 1 and page.errors == []


def test_it_asks_for_the_token_and_says_what_is_refused(page):
    with serving(Scripted("Ada."), token="correct-horse") as (address, service):
        page.open(f"{address}/")
        ask(page)
        for token, then in (("wrong-token", "!document.getElementById('notice').hidden"), ("correct-horse", FINISHED.format(1))):
            page.wait("document.activeElement.id === 'token'")
            page.type(token)
            page.press("Enter")
            page.wait(then)
        assert said(page) == ["Ada."] and page.evaluate("document.querySelectorAll('.asked').length") == 1
        service.desk.waiting = -1
        ask(page, "Again?")
        page.wait("document.getElementById('notice').textContent.includes('try again')")
        assert page.evaluate("document.getElementById('question').value") == "Again?", "the question is not lost"
        assert not [e for e in page.errors if "401" not in e and "503" not in e]


def test_dark_narrow_and_alone(page):
    """It follows the system's theme, fits a narrow window, and loads nothing but itself."""
    with serving(Scripted("a" * 300, sources=SOURCES * 4)) as (address, _):
        colours = []
        for dark in (False, True):
            page.look(width=360, height=640, dark=dark)
            page.open(f"{address}/?{next(_number)}")
            ask(page)
            page.wait(FINISHED.format(1))
            colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        assert colours == ["rgb(252, 251, 248)", "rgb(22, 22, 21)"]
        loaded = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
        assert loaded == [f"{address}/v1/chat/completions"] and page.errors == []
        assert "http" not in httpx.get(address).text.replace("http://www.w3.org/2000/svg", "")
