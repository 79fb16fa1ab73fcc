"""How answers are judged: a table of cases, and properties that hold for any text. (That controls cannot score is the contract.)"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tolman.core.data import Generation, Prompt, Question, Verdict
from tolman.core.errors import UserError
from tolman.models.scripted import Scripted
from tolman.scoring.choice import Choice
from tolman.scoring.exact import Exact, grade, normalise
from tolman.testing._controls import Answerer
from tolman.testing._world import world

ONE = Question("q", "recall", "Ada lives in", ("Ulm",), "Ada", choices=("Bray", "Ulm", "Vik"), answer_words=1)
OPEN = Question("q", "recall", "Ada lives in", ("North Bray", "Bray North"), "Ada")
TWO = Question("q", "recall", "Ada lives in", ("North Bray",), "Ada", answer_words=2)


# -- exact ------------------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question, text, finished, verdict",
    [
        (ONE, "Ulm", False, "correct"),
        (ONE, " ulm, of course", False, "correct"),
        (ONE, "\n\n ULM", True, "correct"),
        (ONE, "Ulmer", False, "wrong"),
        (ONE, "Bray\nUlm", True, "wrong"),
        (ONE, "Bray Ulm", False, "wrong"),
        (ONE, "", True, "unparsed"),
        (ONE, "... !", False, "unparsed"),
        (OPEN, "North Bray.", True, "correct"),
        (OPEN, "bray  NORTH", False, "correct"),
        (OPEN, "Bray", True, "wrong"),
        (OPEN, "North", False, "truncated"),
        (OPEN, "North Bray or Ulm", False, "truncated"),
        (OPEN, "North Bray or Ulm", True, "wrong"),
        (TWO, "North", False, "truncated"),
        (TWO, "North", True, "wrong"),
        (TWO, "North Ulm", False, "wrong"),
        (TWO, "North Bray of", False, "correct"),
    ],
)
def test_verdicts(question, text, finished, verdict):
    assert grade(Generation(text, 2, -1.0, finished), question).verdict == verdict


@pytest.mark.parametrize(
    "text, expected",
    [
        ("  Ada\tLovelace\n", "ada lovelace"),
        ("Ada's well-known U.S. book!", "ada's well-known u.s book"),
        ("ＡＤＡ ﬁnds Straße", "ada finds strasse"),
        ("E\u0301te\u0301 été", "été été"),
        ("«Ulm»…", "ulm"),
        ("?!", ""),
        ("3.14 1,000", "3.14 1 000"),
    ],
)
def test_normalising(text, expected):
    assert normalise(text) == expected


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_more(text):
    once = normalise(text)
    assert normalise(once) == once == once.strip() and "  " not in once


@given(st.text(alphabet="abz éÉ-'.,7 ", max_size=30), st.sampled_from(["", " ", "\t", ".", "!", " ,"]))
def test_case_spacing_and_punctuation_around_do_not_matter(text, mark):
    assert normalise(mark + text.upper() + mark) == normalise(text) == normalise(text.replace(" ", "  "))


@given(st.text(max_size=200), st.booleans(), st.sampled_from([ONE, OPEN, TWO]))
def test_any_text_has_a_verdict_and_is_kept(text, finished, question):
    answer = grade(Generation(text, 1, 0.0, finished), question)
    assert isinstance(answer.verdict, Verdict) and answer.text == text
    if answer.verdict == Verdict.CORRECT:
        assert any(normalise(a).split()[0] in normalise(text) for a in question.answers)
    if not normalise(text.strip().split("\n")[0]):
        assert answer.verdict == Verdict.UNPARSED


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_makes_any_scoring_fail(text, other):
    for scoring in (Exact(), Choice(), Choice(normalise="characters")):
        answers = scoring.judge(Answerer(text), [Prompt(ONE.prompt, (other,))] * 2, [ONE, ONE])
        assert len(answers) == 2 and answers[0] == answers[1]


def test_no_more_is_generated_than_needed():
    class Asked(Answerer):
        word_level = True

        def generate(self, prompts, *, max_tokens, **options):
            limits.append((len(prompts), max_tokens))
            return super().generate(prompts, max_tokens=max_tokens, **options)

    limits: list[tuple[int, int]] = []
    asked = [Prompt(q.prompt) for q in (ONE, OPEN, TWO, ONE)]
    Exact(max_tokens=5).judge(Asked("Ulm"), asked, [ONE, OPEN, TWO, ONE])
    assert sorted(limits) == [(1, 2), (1, 5), (2, 1)]
    limits.clear()
    Asked.word_level = False  # an answer of one word may take several tokens
    Exact(max_tokens=5).judge(Asked("Ulm"), asked, [ONE, OPEN, TWO, ONE])
    assert limits == [(4, 5)]


def test_answers_come_in_the_order_of_the_questions():
    model = Scripted(answers={q.prompt: q.answers[0] for q in world().asked()}).create(world(), seed=0)
    questions = world().asked()[::-1]
    assert {a.verdict for a in Exact().judge(model, [Prompt(q.prompt) for q in questions], questions)} == {"correct"}


# -- choice ---------------------------------------------------------------------------------------------------------------------------------------------


def chosen(*nats: float, **fields):
    return Choice(**fields).pick(ONE, nats)


def test_the_likeliest_choice_is_the_answer():
    answer = chosen(-3.0, -1.0, -2.0)
    assert (answer.text, answer.verdict, answer.scores_nats) == ("Ulm", "correct", (-3.0, -1.0, -2.0))
    assert (chosen(-1.0, -3.0, -2.0).text, chosen(-1.0, -3.0, -2.0).verdict) == ("Bray", "wrong")


@pytest.mark.parametrize(
    "nats, verdict",
    [
        ((-1.0, -1.0, -2.0), "unparsed"),
        ((-math.inf,) * 3, "unparsed"),
        ((math.nan, -1.0, -2.0), "failed"),
        ((-3.0, -1.0, math.nan), "failed"),
        ((-math.inf, -700.0, -math.inf), "correct"),
    ],
)
def test_ties_and_numbers_that_are_none_are_no_choice(nats, verdict):
    assert chosen(*nats).verdict == verdict


def test_length_can_be_taken_into_account():
    nats = (-3.0, -2.5, -9.0)  # 4, 3 and 3 characters
    assert chosen(*nats).text == "Ulm" and chosen(*nats, normalise="characters").text == "Bray"


def test_chance_is_the_share_of_right_choices():
    assert Choice().chance(ONE, 0.9) == pytest.approx(1 / 3)
    assert Exact().chance(ONE, 0.125) == 0.125


def test_questions_without_choices_are_refused():
    with pytest.raises(UserError, match="question 'q' has no choices: score it with scoring/exact"):
        Choice().judge(Answerer("Ulm"), [Prompt("x")], [OPEN])
