"""Codebooks: what is latent is never encoded, what is asked follows from its support, impossible sizes are refused."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_pages import asked_lines, bare, check_page
from tolman.core.data import Corpus, Document
from tolman.core.errors import UserError
from tolman.core.leaks import find_leaks
from tolman.datasets.codebooks import Codebooks

TINY = Codebooks(**Codebooks.example)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Codebooks(episode_count=3000).build(0)


def codes(lines: list[list[str]], cue: str = "symbol_first") -> dict[tuple[str, str], set[str]]:
    """What definitions among `lines` say, by (book, symbol)."""
    table: dict[tuple[str, str], set[str]] = {}
    for words in lines:
        if len(words) == 4 and words[2] == "means":
            book, symbol = (words[1], words[0]) if cue == "symbol_first" else (words[0], words[1])
            table.setdefault((book, symbol), set()).add(words[3])
    return table


def follows(lines: list[list[str]], prompt: str, cue: str = "symbol_first") -> set[str]:
    """Every answer to `prompt` that the definitions among `lines` allow."""
    table, words = codes(lines, cue), prompt.split()
    if words[-1] == "means":
        return table.get((words[1], words[0]) if cue == "symbol_first" else (words[0], words[1]), set())
    at = words.index("as")
    symbols = words[2:at][len(words) - at - 1 :]
    answers = {""}
    for symbol in symbols:
        answers = {f"{answer} {code}".strip() for answer in answers for code in table.get((words[0], symbol), set())}
    return answers


def test_every_answer_follows_from_the_supporting_documents_and_nothing_else_does(corpus):
    for question in corpus.questions:
        lines = [words for id in question.support for words in bare(corpus.by_id[id].text)]
        if question.kind == "latent_next":
            question_words = question.prompt.split()
            at = question_words.index("as")
            last = f"{question_words[0]} encodes {question_words[at - 1]} as"
            assert follows(lines, last) == set(question.answers), question.id
        elif question.support:
            assert follows(lines, question.prompt) == set(question.answers), question.id


def test_latent_symbols_are_defined_but_never_encoded_under_their_book(corpus):
    every = codes([words for d in corpus.experiences for words in bare(d.text)])
    assert len(every) == 4 * 24 and all(len(found) == 1 for found in every.values())
    encoded = Counter()
    written: dict[str, set[str]] = {}
    for document in corpus.experiences:
        for words in bare(document.text):
            if words[1] == "encodes":
                at = words.index("as")
                for symbol, code in zip(words[2:at], words[at + 1 :], strict=True):
                    encoded[words[0], symbol] += 1
                    assert every[words[0], symbol] == {code}
                    written.setdefault(words[0], set()).add(code)
    latent = set(every) - set(encoded)
    assert Counter(book for book, _ in latent) == dict.fromkeys({book for book, _ in every}, 6)
    assert {q.prompt.removesuffix(" means") for q in corpus.asked(["latent_definition"])} == {f"{symbol} {book}" for book, symbol in latent}
    assert {symbol for _, symbol in encoded} == {symbol for _, symbol in every}, "each symbol is encoded under some book"
    assert all(every[pair] <= written[pair[0]] for pair in latent), "the code of a latent symbol is written for another symbol"


def test_sequences_in_question_are_new_and_hold_one_latent_symbol_or_none(corpus):
    told = {" ".join(words) for d in corpus.documents for words in bare(d.text)}
    latent = {tuple(q.prompt.split()[:2]) for q in corpus.asked(["latent_definition"])}
    for kind, how_many in (("known_encode", 0), ("latent_encode", 1), ("wrong_book", 0)):
        for question in corpus.asked([kind]):
            book, _, *symbols = question.prompt.removesuffix(" as").split()
            assert len(symbols) == 3 == question.answer_words
            assert sum((symbol, book) in latent for symbol in symbols) == how_many
            assert f"{question.prompt} {question.answers[0]}" not in told


@pytest.mark.parametrize("episodes", ["fresh", "trained"])
@pytest.mark.parametrize("cue", ["symbol_first", "book_first"])
def test_in_context_sequences_say_what_they_ask_for(episodes, cue):
    built = TINY.replace("episodes", episodes).replace("cue", cue).replace("episode_count", 600).build(3)
    truth = codes([words for d in built.experiences for words in bare(d.text)], cue)
    exercises = [d for d in built.documents if d.role == "exercise"]
    assert len(exercises) == 600
    agree = 0
    for document in exercises:
        asked = list(asked_lines(document))
        assert asked
        for before, prompt, target in asked:
            assert follows(before, prompt, cue) == {target}, document.text
        shown = codes(bare(document.text), cue)
        agree += sum(shown[pair] == truth[pair] for pair in shown) / len(shown)
    assert (agree == 600) if episodes == "trained" else (agree < 200)


def test_fresh_codes_never_tell_the_true_code_of_a_latent_symbol():
    built = TINY.replace("episode_count", 2000).build(1)
    latent = {(q.prompt.split()[1], q.prompt.split()[0]): q.answers[0] for q in built.asked(["latent_definition"])}
    shown = [codes(bare(d.text)) for d in built.documents if d.role == "exercise"]
    hits = [(pair, found) for table in shown for pair, found in table.items() if pair in latent]
    assert len(hits) > 100 and all(latent[pair] not in found for pair, found in hits)


def test_no_episodes():
    assert all(d.role == "experience" for d in TINY.replace("episodes", "none").build(0).documents)


def test_a_planted_leak_is_found(corpus):
    assert not find_leaks(corpus.documents, corpus.forbidden)
    question = corpus.asked(["latent_encode"])[0]
    assert find_leaks([Document("planted", f"f01 {question.prompt} {question.answers[0]} f02")], corpus.forbidden)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"latent": 13}, "latent = 13"),
        ({"codes": 19}, "codes = 19"),
        ({"options": 13}, "options = 13"),
        ({"encodings": 17}, "encodings = 17"),
        ({"asked": 73}, "asked = 73"),
        ({"books": 2, "symbols": 6, "codes": 2, "latent": 3, "longest": 2, "options": 2, "asked": 6}, "asked = 6"),
        ({"episodes": "some"}, "episodes = 'some'"),
        ({"symbols": 10**9}, "symbols = 1000000000"),
    ],
)
def test_impossible_sizes_are_refused_before_any_work(fields, named):
    with pytest.raises(UserError, match="datasets/codebooks") as error:
        Codebooks(**fields)
    assert named.replace(" = ", "") in str(error.value).replace(" = ", "")


@given(
    st.fixed_dictionaries(
        {
            "books": st.integers(2, 4), "symbols": st.integers(4, 14), "codes": st.integers(2, 12), "latent": st.integers(1, 7), "longest": st.integers(2, 4),
            "max_filler": st.integers(0, 2), "copies": st.integers(1, 2), "encodings": st.integers(1, 30), "episode_count": st.integers(1, 20),
            "episode_definitions": st.integers(1, 4), "asked": st.integers(1, 12), "options": st.integers(2, 6),
            "episodes": st.sampled_from(["none", "trained", "fresh"]),
        }
    )
)  # fmt: skip
def test_any_sizes_build_or_are_refused(fields):
    try:
        spec = Codebooks(**fields)
    except UserError:
        return
    built = spec.build(0)
    assert not find_leaks(built.documents, built.forbidden)
    assert len(built.asked(["known_encode"])) == spec.asked
    for question in built.questions:
        assert question.answers[0] in question.choices and len(set(question.choices)) == spec.options


def test_page():
    check_page(Codebooks)
