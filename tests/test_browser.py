"""The report's page in a real browser: it draws, filters, sorts, and shows hostile text as text."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
from html import unescape
from urllib.parse import urlencode

import pytest

from report_frames import CHOICE, CLOSED, FRESH, HOSTILE, NONE, ORACLE, TRACES, build, thoughtful, travelled
from tolman.report.page import write_report

CHROME = os.environ.get("CHROME") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--virtual-time-budget=10000", "--dump-dom",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROME is None, reason="no Chromium found on PATH or in CHROME: the page is not opened")


@pytest.fixture(scope="module")
def frames():
    return build(seeds=2, askings=(CLOSED, CHOICE, ORACLE), hostile=True)


@pytest.fixture(scope="module")
def path(frames, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), frames, headline="x")


def dom(path, tmp_path, address="", *flags):
    """The document after its scripts have run."""
    command = [CHROME, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, f"file://{path}{address}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "</html>" in done.stdout, f"the browser gave no document: {done.stderr[-800:]}"
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


def with_script(path, script, *, allowed):
    """A copy of the page with one more script at its end, which its policy allows or does not."""
    before, _, after = path.read_text().rpartition("</body>")
    page = f"{before}<script>{script}</script></body>{after}"
    if allowed:
        page = page.replace("script-src ", f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}' ", 1)
    copy = path.with_name("driven.html" if allowed else "planted.html")
    copy.write_text(page)
    return copy


def items(document):
    """The explorer's entries, as text."""
    block = re.search(r'<ol id="items">(.*?)</ol>', document, re.DOTALL)[1]
    return [unescape(re.sub(r"<[^>]+>", "|", entry)) for entry in re.findall(r"<li><details.*?(?=<li><details|$)", block, re.DOTALL)]


def test_figures_are_drawn_without_errors_and_filters_work(path, frames, tmp_path):
    asked = frames.items.filter(kind="heldout_reversal", verdict="wrong", asking=ORACLE)
    document = dom(path, tmp_path, "#" + urlencode({"kind": "heldout_reversal", "verdict": "wrong", "asking": ORACLE, "open": 1}))
    assert 'data-ready="true"' in document and 'data-errors="0"' in document
    charts = re.findall(r'<div class="chart[^>]*data-figure="(\w+)".*?</figure>', document, re.DOTALL)
    assert charts == ["accuracy_by_kind", "learning_curves", "accuracy_against_cost"]
    for name, points in (("accuracy_by_kind", 2 * (8 + 8 + 4)), ("learning_curves", 0), ("accuracy_against_cost", 2 * 2 * 3)):
        drawn = re.search(rf'data-figure="{name}".*?</figure>', document, re.DOTALL)[0]
        assert "<svg" in drawn and drawn.count('aria-roledescription="point"') == points, name
    assert re.search(r'data-figure="learning_curves".*?</figure>', document, re.DOTALL)[0].count('aria-roledescription="line mark"') > 10
    found = items(document)
    assert f">{len(asked)} items<" in document and len(found) == min(20, len(asked)) > 2
    assert all("held-out reversal" in text and ORACLE in text and "wrong" in text for text in found)
    assert "What the model read (marked:" in found[0] and 'class="supporting"' in document
    assert "What the model read" not in found[1], "only the first was to be open"
    assert "The same question, asked otherwise" in found[0]


def test_hostile_text_stays_text(path, tmp_path):
    document = dom(path, tmp_path, "#" + urlencode({"q": "onerror", "training": FRESH, "open": 1}))
    assert 'data-ready="true"' in document and 'data-errors="0"' in document
    assert "data-hacked" not in document.split("<body")[0] and "<img" not in document
    found = items(document)
    assert len(found) == 20 and any(HOSTILE in text for text in found)


def test_the_policy_stops_a_script_that_found_its_way_in(path, tmp_path):
    planted = with_script(path, "document.documentElement.dataset.hacked = '1'", allowed=False)
    head = dom(planted, tmp_path).split("<body")[0]
    assert 'data-ready="true"' in head and "data-hacked" not in head
    assert 'data-errors="0"' not in head, "the page says that something was blocked"


def test_sorting_typing_paging_dark_and_narrow(path, frames, tmp_path):
    script = """{
    const heads = [...document.querySelectorAll("thead button")];
    const column = heads.findIndex((b) => b.textContent === "Accuracy");
    heads[column].click();
    heads[column].click();
    const form = document.getElementById("filters");
    form.elements.verdict.value = "correct";
    form.elements.training.value = TRAINING;
    form.dispatchEvent(new Event("input", { bubbles: true }));
    setTimeout(() => { document.getElementById("next").click(); document.documentElement.dataset.address = location.hash; }, 600);
    }""".replace("TRAINING", repr(NONE))
    narrow = ("--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    document = dom(with_script(path, script, allowed=True), tmp_path, "", *narrow)
    assert 'data-errors="0"' in document and 'data-ready="true"' in document
    body = re.search(r"<tbody>(.*?)</tbody>", document, re.DOTALL)[1]
    accuracy = [float(re.findall(r'data-sort="([^"]*)"', row)[3]) for row in body.split("</tr>")[:-1]]
    assert accuracy == sorted(accuracy, reverse=True) and accuracy[0] > accuracy[-1]
    assert 'aria-sort="descending"' in document
    correct = frames.items.filter(verdict="correct", training=NONE)
    assert f">{len(correct)} items<" in document and f"page 2 of {-(-len(correct) // 20)}" in document
    assert "page=2" in re.search(r'data-address="([^"]*)"', document)[1]
    widths = [float(w) for w in re.findall(r'<svg[^>]*class="marks"[^>]*width="([\d.]+)"', document)]
    assert len(widths) == 3 and max(widths) < 500, "the figures fit a narrow page, whatever fonts there are"
    assert "#ecebe6" in document, "the figures have the ink of the dark theme"


def test_what_was_thought_is_shown_and_found(tmp_path):
    page = write_report(tmp_path / "report", thoughtful(), headline="x")
    found = items(dom(page, tmp_path, "#" + urlencode({"q": "makes something up", "open": 1})))
    assert len(found) == 1 and "made up||bo feeds ada" in found[0], "what a trace does can be searched for"
    opened = with_script(page, 'for (const fold of document.querySelectorAll("#items details")) fold.open = true;', allowed=True)
    document = dom(opened, tmp_path)
    assert 'data-errors="0"' in document
    *thought, plain = items(document)
    for text, (trace, (told, does)) in zip(thought, TRACES.items(), strict=True):
        assert f"What it thought: {does}" in text
        for statement, known in zip(trace.split(" . "), told, strict=True):
            needed = statement in ("ada feeds bo", "bo feeds cy")
            assert f"{'needed' if needed else 'told' if known else 'made up'}||{statement}" in text
        assert ("missing||ada feeds bo" in text) == ("ada feeds bo" not in trace.split(" . "))
    assert "What the model read" in plain and "What it thought" not in plain


@pytest.mark.parametrize("window", [500, 1300])
def test_the_roads_are_named_at_any_width(window, tmp_path):
    """Where panels stand in several rows, each row names the roads."""
    page = write_report(tmp_path / "report", travelled(), headline="x")
    document = dom(page, tmp_path, "", f"--window-size={window},900")
    assert 'data-errors="0"' in document and 'data-ready="true"' in document
    drawn = re.search(r'data-figure="roads".*?</figure>', document, re.DOTALL)[0]
    assert drawn.count(">retrieval, BM25<") == (1 if window == 1300 else 3)
    assert float(re.search(r'<svg[^>]*class="marks"[^>]*width="([\d.]+)"', drawn)[1]) < window
