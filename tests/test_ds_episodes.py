"""Episodes: every answer follows from its passage as another reader reads it, nothing is shared with other benchmarks, practice and tests share nothing but the skill."""

import re
from collections import Counter
from functools import cache
from itertools import permutations

import pytest

from language_pages import check_page
from tolman.core.data import Corpus, Question
from tolman.core.discovery import components
from tolman.datasets import _episodes_words as words
from tolman.datasets._episodes_words import Wordings
from tolman.datasets._pseudowords import lexicon
from tolman.datasets.episodes import Episodes
from tolman.datasets.reversals import RELATIONS
from tolman.datasets.syllogisms import Claim, entails
from tolman.testing import smallest

SPLITS = ("practice", "test")
NAME = r"[\w ]+?"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Episodes(passages=80, practice=80).build(0)


# -- another reader ------------------------------------------------------------------------------------------------------------------------------------


@cache
def relations(split: str) -> tuple[Wordings, ...]:
    return (*words.verbs(split), *words.nouns(split), *words.TITLES[split], *words.CLASSES[split])  # type: ignore[arg-type]


def pattern(wording: str, **named: str) -> re.Pattern[str]:
    """A wording as a pattern whose ends are groups."""
    text = re.escape(wording)
    for name, group in {"a": NAME, "b": NAME, "s": NAME, "o": NAME, **named}.items():
        text = text.replace(rf"\{{{name}\}}", f"(?P<{name}>{group})")
    return re.compile(text, re.I)


@cache
def ways(split: str) -> list[tuple[int, bool, re.Pattern[str], re.Pattern[str]]]:
    """(relation, towards b, the statement, what of it a prompt holds) of every wording; questions in words are all prompt."""
    found = []
    for r, relation in enumerate(relations(split)):
        for to_b, told, asked in ((True, relation.to_b, relation.ask_b), (False, relation.to_a, relation.ask_a)):
            end = "{b}" if to_b else "{a}"
            found += [(r, to_b, pattern(f"{wording} {end}"), pattern(wording)) for wording in told]
            found += [(r, to_b, pattern(f"{question} {end}"), pattern(question)) for question in asked]
    return found


def sentences(text: str, split: str) -> list[str]:
    """What a passage says, without lists, headings, filler, lead-ins and tails."""
    out = []
    for line in text.split("\n"):
        line = re.sub(r"^(- |\d+\. )", "", line)
        parts = [line] if line.startswith("Question:") else re.split(r"(?<=\.) ", line)
        for part in parts:
            if part in words.FILLER or any(part.startswith(heading.rstrip(":")) for heading in words.HEADINGS[split]):  # type: ignore[index]
                continue
            for tail in words.TAILS[split]:  # type: ignore[index]
                part = part.removesuffix(f"{tail}.")
            out.append(bare(part.removesuffix("."), split))
    return out


def bare(text: str, split: str) -> str:
    """A sentence or prompt without lead-in, a question without its marks."""
    for lead_in in words.LEAD_INS[split]:  # type: ignore[index]
        text = text.removeprefix(f"{lead_in} ")
    return text.removeprefix("Question: ").replace("? Answer:", "?")


def facts(text: str, split: str) -> set[tuple[int, str, str]]:
    found = set()
    for sentence in sentences(text, split):
        for r, _, statement, _ in ways(split):
            if match := statement.fullmatch(sentence):
                found.add((r, match["a"].lower(), match["b"].lower()))
    return found


def resolved(name: str, known: set[tuple[int, str, str]], split: str) -> set[str]:
    """`name`, and whom it describes if it is a description by a fact."""
    out = {name}
    for r, relation in enumerate(relations(split)):
        if relation.the_b and (match := pattern(relation.the_b).fullmatch(name)):
            out |= {b for f, a, b in known if f == r and a == match["a"].lower()}
        if relation.the_a and (match := pattern(relation.the_a).fullmatch(name)):
            out |= {a for f, a, b in known if f == r and b == match["b"].lower()}
    return out


def answers(prompt: str, known: set[tuple[int, str, str]], split: str) -> set[str]:
    """Everything that the facts answer to `prompt`, however it is read."""
    out = set()
    for r, to_b, _, asked in ways(split):
        if match := asked.fullmatch(bare(prompt, split)):
            for end in resolved(match["a" if to_b else "b"].lower(), known, split):
                out |= {(b if to_b else a) for f, a, b in known if f == r and (a if to_b else b) == end}
    return out


def family(question: Question, split: str) -> str:
    if question.kind in ("syllogism", "comparison"):
        return question.kind
    if " than " in question.answers[0]:
        return "comparison"
    starts = [text.split("{o}")[0].strip() for say in words.CLAIMS[split] for text in say.values()]  # type: ignore[index]
    return "syllogism" if any(pattern(start).fullmatch(bare(question.prompt, split)) for start in starts) else "relations"


def test_answers_follow_from_the_passage_and_no_other_candidate_does(corpus):
    asked: Counter[str] = Counter()
    for question in corpus.questions:
        if family(question, question.split) != "relations":
            continue
        known = facts(corpus.by_id[question.support[0]].text, question.split)
        found = answers(question.prompt, known, question.split)
        right = {choice for choice in question.choices if choice.lower() in found}
        assert right == {question.answers[0]}, (question, sorted(known))
        asked[question.split, question.kind] += 1
    assert len(asked) == 6 and min(asked.values()) > 20, asked


def test_comparisons_are_turned_round(corpus):
    asked = 0
    for question in corpus.questions:
        if family(question, question.split) != "comparison":
            continue
        poles = dict(pair for both in words.poles(question.split) for pair in permutations(both))
        true = set()
        for sentence in sentences(corpus.by_id[question.support[0]].text, question.split):
            for begin in words.COMPARED[question.split]:
                if match := re.fullmatch(pattern(begin).pattern + f" (?P<word>{'|'.join(poles)}) than (?P<b>{NAME})", sentence, re.I):
                    a, b = match["a"].lower(), match["b"].lower()
                    true |= {(a, f"{match['word']} than {b}"), (b, f"{poles[match['word']]} than {a}")}
        (first,) = {m["a"].lower() for begin in words.COMPARED[question.split] if (m := pattern(begin).fullmatch(bare(question.prompt, question.split)))}
        assert [c for c in question.choices if (first, c.lower()) in true] == [question.answers[0]], question
        word, name = question.answers[0].split(" than ")
        assert f"{poles[word]} than {name}" in question.choices, "the opposite is among the candidates"
        asked += 1
    assert asked > 50


def test_one_conclusion_follows(corpus):
    asked = 0
    for question in corpus.questions:
        if family(question, question.split) != "syllogism":
            continue
        claims = {}
        for say in words.CLAIMS[question.split]:
            for quantifier, text in say.items():
                for sentence in (
                    *sentences(corpus.by_id[question.support[0]].text, question.split),
                    *question.choices,
                    f"{bare(question.prompt, question.split)} {question.answers[0]}",
                ):
                    if match := pattern(text).fullmatch(sentence):
                        claims[sentence] = Claim(quantifier, match["s"].lower(), match["o"].lower())
        told = [claims[s] for s in sentences(corpus.by_id[question.support[0]].text, question.split)]
        if question.kind == "forward":
            assert claims[f"{bare(question.prompt, question.split)} {question.answers[0]}"] in told
        else:
            ends = {claims[question.answers[0]].subject, claims[question.answers[0]].object}
            (middle,) = {n for c in told for n in (c.subject, c.object) if not ends & {n}} & set.intersection(
                *({n for c in told if e in c[1:] for n in c[1:]} for e in ends)
            )
            place = dict(zip((*sorted(ends), middle), "XYM", strict=True))
            premises = tuple(c.of(place) for c in told if set(c[1:]) <= set(place))
            assert [c for c in question.choices if entails(premises, claims[c].of(place))] == [question.answers[0]], question
        asked += 1
    assert asked > 50


def test_wrong_candidates_are_what_a_hasty_reader_takes(corpus):
    """Asked from the other end, nearly every question has a candidate that stands at the other end of the same relation, or is tied to the known name by another fact."""
    tempting = []
    for question in corpus.asked(["reversed"]):
        known = facts(corpus.by_id[question.support[0]].text, "test")
        near = {end for _, a, b in known for mine, end in ((a, b), (b, a)) if re.search(rf"\b{mine}\b", question.prompt.lower())}
        tempting.append(any(c.lower() in near for c in question.choices if c not in question.answers))
    assert sum(tempting) / len(tempting) > 0.6


# -- what is shared with what --------------------------------------------------------------------------------------------------------------------------


def test_practice_and_test_share_no_name_no_relation_and_no_wording():
    for style in ("first", "full", "titled", "invented", "noun", "short"):
        assert not set(words.pool(style, "practice")) & set(words.pool(style, "test")), style
    own = [
        {*re.findall(r"\w+", words.VERBS[split]), *words.NOUNS[split].split(), *re.findall(r"\w+", words.POLES[split])} - {"more", "less"} for split in SPLITS
    ]
    assert not own[0] & own[1]
    told = [
        {w.lower() for r in (words.VERB_WORDINGS[s], words.NOUN_WORDINGS[s], *words.TITLES[s], *words.CLASSES[s]) for part in r[:4] for w in part}
        | {*words.COMPARED[s], *words.CONCLUDING[s], *words.LEAD_INS[s], *words.HEADINGS[s], *(t for say in words.CLAIMS[s] for t in say.values())}
        for s in SPLITS
    ]
    assert not told[0] & told[1]
    corpus = Episodes(passages=100, practice=300).build(1)
    names = [set(re.findall(r"\b[a-z]*[aeiou][a-z]*[knxt]\b", " ".join(d.text.lower() for d in corpus.documents if d.provenance == s))) for s in SPLITS]
    invented = {*words._closed(), *words._short()}
    assert not names[0] & names[1] & invented and len(names[1] & invented) > 300


@cache
def others() -> tuple[tuple[str, str], ...]:
    """(dataset, text) of every document, question and candidate of the other datasets, as small as they come and, where that is quick, at scale quick."""
    found = []
    for name, cls in components("datasets").items():
        if name == "episodes":
            continue
        quick = [cls.at("quick")] if name in ("celebrities", "nonsense_reversals", "semantic_structure", "syllogisms") else []
        for dataset in (smallest(cls), *quick):
            built = dataset.build(0)  # type: ignore[attr-defined]
            found += [(name, d.text) for d in built.documents]
            found += [(name, f"{q.prompt} {a}") for q in built.questions for a in (*q.answers, *q.choices)]
    return tuple(dict.fromkeys(found))


def test_no_name_and_no_relation_occurs_in_another_dataset():
    theirs = {word: name for name, text in others() for word in re.findall(r"\w+", text.lower())} | dict.fromkeys(lexicon(), "the lexicon of nonsense words")
    assert len(theirs) > 5000
    ours = {
        word
        for split in SPLITS
        for style in ("first", "full", "titled", "invented", "noun", "short")
        for name in words.pool(style, split)
        for word in name.lower().split()
    }
    ours |= {w for split in SPLITS for w in (*re.findall(r"\w+", words.VERBS[split]), *words.NOUNS[split].split(), *re.findall(r"\w+", words.POLES[split]))}
    ours |= {*words.CALLINGS.split(), *words.MANNERS.split(), *words.OWNED.split()}
    assert not {word: theirs[word] for word in ours - {"more", "less"} if word in theirs}
    largest = {word for pair in RELATIONS for word in pair}  # of worlds from scratch, which no adapter reads; the card of the reader names these
    assert ours & largest == {"admires", "employs", "follows"} and all(word in words.VERBS["practice"] for word in ours & largest)


def test_no_wording_occurs_in_another_dataset():
    theirs = {s.strip(" -?.").lower() for _, text in others() for line in text.split("\n") for s in (line, *re.split(r"(?<=[.?!:]) ", line))}
    assert len(theirs) > 10_000
    for split in SPLITS:
        statements = [statement.pattern for _, _, statement, _ in ways(split)] + [asked.pattern for *_, asked in ways(split) if asked.pattern.endswith(r"\?")]
        statements += [pattern(f"{begin} {word} than {{b}}").pattern for begin in words.COMPARED[split] for both in words.poles(split) for word in both]
        statements += [pattern(text).pattern for say in words.CLAIMS[split] for text in say.values()]
        for text in statements:
            said = re.compile(text.removesuffix(r"\?"), re.I)
            assert not [s for s in theirs if said.fullmatch(s)], text
        for phrase in (*words.LEAD_INS[split], *words.HEADINGS[split], *words.FILLER):
            assert not [text for _, text in others() if phrase.lower().strip(",:. ") in text.lower()], phrase


# -- sizes ---------------------------------------------------------------------------------------------------------------------------------------------


def test_candidates_that_stand_beside_what_is_named_are_counted():
    """As another reader counts them: sentences that name a candidate and what the question names."""
    plain, mixed = (Episodes(passages=20, plain_share=share).build(0) for share in (1.0, 0.0))
    assert set(plain.facts["beside"].values()) == {1} and {q.id for q in plain.questions} == set(plain.facts["beside"])
    counts = mixed.facts["beside"]
    for question in (q for q in mixed.questions if q.id in counts):
        known = [(a, b) for _, a, b in facts(mixed.by_id[question.support[0]].text, "test")]
        named = {end for fact in known for end in fact if re.search(rf"\b{re.escape(end)}\b", question.prompt.lower())}
        near = {end for a, b in known for mine, end in ((a, b), (b, a)) if mine in named}
        assert counts[question.id] == sum(c.lower() in near for c in question.choices), question
    assert set(counts.values()) >= {1, 2, 3} and not any(q.id in counts for q in mixed.questions if q.kind in ("two_hop", "comparison", "syllogism"))


def test_passages_have_the_facts_and_questions_asked_for(corpus):
    per = Counter(q.support[0] for q in corpus.questions)
    assert set(per) == set(corpus.by_id) and max(per.values()) == 8 and Counter(per.values())[8] > 0.9 * len(per)
    assert all(len(q.choices) == 5 for q in corpus.questions if q.kind != "syllogism")
    for document in corpus.documents:
        said = len(sentences(document.text, document.provenance))
        assert said == 10 if document.provenance == "test" else 5 <= said <= 12, document
    kinds = Counter(q.kind for q in corpus.asked())
    assert set(kinds) == set(corpus.kinds) and kinds["reversed"] > 100


def test_in_plain_passages_each_name_stands_in_one_fact():
    plain = Episodes(passages=12, plain_share=1.0).build(0)
    for document in plain.documents:
        known = facts(document.text, "test")
        named = Counter(end for _, a, b in known for end in (a, b))
        assert len(known) == 10 and set(named.values()) == {1}, document.text
    for question in plain.asked():
        assert answers(question.prompt, facts(plain.by_id[question.support[0]].text, "test"), "test") == {question.answers[0].lower()}
    assert {q.kind for q in plain.asked()} == {"forward", "reversed"}


def test_page():
    check_page(Episodes, practice=12)
