"""The contract of datasets: deterministic to the byte, consistent, free of leaks, with a chance level that a guesser confirms."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Kind, Question
from tolman.core.discovery import components
from tolman.core.leaks import find_leaks
from tolman.core.world import Task
from tolman.scoring.exact import normalise
from tolman.testing._controls import applicable, check_chance, check_controls

_WORD = re.compile(r"\w+")


def check_dataset(dataset: Component, seed: int = 0) -> None:
    """Everything that a dataset promises, on the corpus that it builds for `seed`. Build it small: each question is judged many times."""
    me = dataset.address()
    corpus: Corpus = dataset.build(seed)  # type: ignore[attr-defined]
    check_corpus(me, corpus)
    assert dataset.build(seed).digest() == corpus.digest(), f"{me} is not deterministic: two builds with seed {seed} differ"  # type: ignore[attr-defined]
    assert dataset.build(seed + 1).digest() != corpus.digest(), f"{me} ignores its seed: seeds {seed} and {seed + 1} build the same corpus"  # type: ignore[attr-defined]
    check_subprocess(me, dataset, seed, corpus.digest())


def check_corpus(me: str, corpus: Corpus) -> None:
    """Everything that can be seen in one corpus; `me` names it in the messages."""
    check_ids(me, corpus)
    check_kinds(me, corpus)
    for question in corpus.questions:
        check_question(me, question, corpus.kinds[question.kind])
    check_targets(me, corpus.documents)
    check_split(me, corpus.questions)
    check_leaks(me, corpus)
    check_distractors(me, corpus)
    check_words(me, corpus)
    scorings = [cls() for cls in components("scoring").values() if not any(f.is_required() for f in cls.model_fields.values())]
    assert any(applicable(scoring, corpus.questions) for scoring in scorings), f"{me}: no scoring can judge any of its questions"
    for scoring in scorings:
        check_controls(me, scoring, corpus)
        check_chance(me, scoring, corpus)


def check_ids(me: str, corpus: Corpus) -> None:
    """Ids are unique, no text is empty, and what supports a question is there to be shown."""
    assert corpus.documents and corpus.asked(), f"{me} has no documents, or no test questions"
    for what, ids in (("documents", [d.id for d in corpus.documents]), ("questions", [q.id for q in corpus.questions])):
        twice = [id for id, n in Counter(ids).items() if n > 1]
        assert not twice, f"{me}: two {what} have the id {twice[0]!r}"
    empty = [d.id for d in corpus.documents if not d.text.strip()]
    assert not empty, f"{me}: document {empty[0]!r} is empty"
    roles = {d.role for d in corpus.documents} - {"experience", "exercise"}
    assert not roles, f"{me}: a document has the unknown role {sorted(roles)[0]!r}"
    for question in corpus.questions:
        for id in question.support:
            assert id in corpus.by_id, f"{me}: question {question.id!r} is supported by document {id!r}, which does not exist"
            assert corpus.by_id[id].role == "experience", f"{me}: question {question.id!r} is supported by {id!r}, which is no experience and may not be shown"


def check_kinds(me: str, corpus: Corpus) -> None:
    """Every question's kind is described, every kind is asked, and each latent one stands beside proof that its facts were learned."""
    asked = {q.kind for q in corpus.asked()}
    unknown = {q.kind for q in corpus.questions} - set(corpus.kinds)
    assert not unknown, f"{me}: questions are of kind {sorted(unknown)[0]!r}, which is not among its kinds"
    for name, kind in corpus.kinds.items():
        assert name in asked, f"{me}: no test question is of kind {name!r}"
        assert kind.description, f"{me}: kind {name!r} has no description"
        assert 0 <= kind.chance < 1, f"{me}: kind {name!r} states the chance level {kind.chance}"
        assert kind.beside is not None or not kind.latent, f"{me}: the latent kind {name!r} names no kind beside it that proves that its facts were learned"
        if kind.beside is not None:
            assert kind.beside in corpus.kinds, f"{me}: kind {name!r} stands beside {kind.beside!r}, which is not among its kinds"
            assert not corpus.kinds[kind.beside].latent, f"{me}: kind {name!r} stands beside {kind.beside!r}, which is latent itself and proves nothing"
            alone = {q.cluster for q in corpus.asked([name]) if not isinstance(q, Task)} - {q.cluster for q in corpus.asked([kind.beside])}
            assert not alone, f"{me}: kind {name!r} asks about {sorted(alone)[0]!r}, but kind {kind.beside!r} beside it does not"
        twice = [c for c, n in Counter(map(normalise, kind.candidates)).items() if n > 1]
        assert not twice, f"{me}: the candidates of kind {name!r} hold {twice[0]!r} twice"


def check_question(me: str, question: Question, kind: Kind) -> None:
    """Its answers can be given, and exactly one of its choices is right."""
    me = f"{me}: question {question.id!r}"
    assert question.prompt.strip() and question.cluster, f"{me} has no prompt or no cluster"
    assert question.answers, f"{me} has no answer"
    right = [normalise(a) for a in question.answers]
    assert all(right), f"{me} accepts an empty answer"
    assert all("\n" not in a for a in question.answers), f"{me} has an answer of several lines"
    if question.answer_words is not None:
        long = [a for a, n in zip(question.answers, right, strict=True) if len(n.split()) > question.answer_words]
        assert not long, f"{me} cuts answers to {question.answer_words} words, which its answer {(long or [''])[0]!r} exceeds"
    if question.choices:
        given = [normalise(c) for c in question.choices]
        twice = [c for c, n in Counter(given).items() if n > 1]
        assert not twice, f"{me} has the choice {twice[0]!r} twice"
        found = [c for c in given if c in right]
        assert found, f"{me} has no right answer among its choices {question.choices}"
        assert len(found) == 1, f"{me} has more than one right answer among its choices: {found}"
        assert right[0] in given, f"{me} has another answer among its choices than its first, {question.answers[0]!r}"
        assert len(given) > 1, f"{me} has one choice only"
    if kind.candidates and not isinstance(question, Task):  # the candidates of a task are its actions
        pool = {normalise(c) for c in kind.candidates}
        assert right[0] in pool, f"{me} has the answer {question.answers[0]!r}, which is not among the candidates of its kind"


def check_targets(me: str, documents: Iterable[Document]) -> None:
    """Target spans lie inside the text, in order, and begin and end with a word."""
    for document in documents:
        after = 0
        for begin, end in document.targets or ():
            here = f"{me}: the target ({begin}, {end}) of document {document.id!r}"
            assert after <= begin < end <= len(document.text), f"{here} lies outside its text of {len(document.text)} characters, or overlaps another"
            text = document.text[begin:end]
            assert text == text.strip(), f"{here} begins or ends with a space: {text!r}"
            assert not (begin and document.text[begin - 1 : begin + 1].isalnum()), f"{here} begins within a word: {document.text[:end]!r}"
            after = end


def check_split(me: str, questions: Iterable[Question]) -> None:
    """Practice and test share no cluster."""
    clusters: dict[str, set[str]] = {"practice": set(), "test": set()}
    for question in questions:
        assert question.split in clusters, f"{me}: question {question.id!r} is in the unknown split {question.split!r}"
        clusters[question.split].add(question.cluster)
    shared = sorted(clusters["practice"] & clusters["test"])
    assert not shared, f"{me}: practice and test share the cluster {shared[0]!r}"


def check_leaks(me: str, corpus: Corpus) -> None:
    """No document states what is under test: neither the wordings that the dataset forbids nor a latent question followed by its answer."""
    latent = [q for q in corpus.asked() if corpus.kinds[q.kind].latent]
    assert corpus.forbidden or not latent, f"{me} has latent kinds but forbids no statement, so leaks cannot be found"
    plain = [f"{q.prompt} {answer}" for q in latent for answer in q.answers if "\n" not in q.prompt]
    leaks = find_leaks(corpus.documents, dict.fromkeys((*corpus.forbidden, *plain)))
    assert not leaks, f"{me}: {leaks[0]} ({len(leaks)} such)"


def check_distractors(me: str, corpus: Corpus) -> None:
    """Wrong choices are made of words that the documents use, or right in another question of the kind (a plain yes), so that none gives itself away by being
    unheard of (none may be true of nothing else)."""
    words = {c: _WORD.findall(c.lower()) for q in corpus.questions for c in q.choices}
    seen = {word for document in corpus.documents for word in _WORD.findall(document.text.lower())}
    elsewhere = {(q.kind, normalise(a)) for q in corpus.questions for a in q.answers}
    for question in corpus.questions:
        for choice in question.choices:
            there = (question.kind, normalise(choice)) in elsewhere or seen.issuperset(words[choice])
            assert there, f"{me}: the wrong choice {choice!r} of question {question.id!r} is true of nothing else: it occurs in no document"


def check_words(me: str, corpus: Corpus) -> None:
    """The words of `models/tiny` can write every text: nothing is lost in tokenising, and answers come out as they are judged."""
    from tolman.models._words import UNKNOWN, Words

    answers = [a for q in corpus.questions for a in (*q.answers, *q.choices)]
    texts = list(dict.fromkeys((*(d.text for d in corpus.documents), *(q.prompt for q in corpus.questions), *answers)))
    words = Words.of(texts)
    for text, ids in zip(texts, words.encode(texts), strict=True):
        written = words.decode(ids[1:].tolist())
        assert UNKNOWN not in written and "".join(written.split()) == "".join(text.split()), f"{me}: tiny cannot write {text!r}: it comes out as {written!r}"
    answers = list(dict.fromkeys(answers))
    encoded = dict(zip(answers, words.encode(answers), strict=True))
    for answer, ids in encoded.items():
        written = words.decode(ids[1:].tolist())
        assert normalise(written) == normalise(answer), f"{me}: tiny writes the answer {answer!r} as {written!r}, which is judged to be another"
    for question in corpus.questions:
        if question.answer_words is not None:
            most = max(len(encoded[a]) - 1 for a in question.answers)
            assert most <= question.answer_words, (
                f"{me}: question {question.id!r} allows {question.answer_words} words, but tiny needs {most} tokens for {question.answers}"
            )


def check_subprocess(me: str, dataset: Component, seed: int, digest: str) -> None:
    """Another process, with another order of sets and another hash of strings, builds the same corpus."""
    first = _digest_elsewhere(me, dataset, seed, hash_seed="1")
    if first == digest:
        return
    if first == _digest_elsewhere(me, dataset, seed, hash_seed="2"):
        raise AssertionError(f"{me} builds another corpus in a new process: it depends on what ran before, or its source was changed meanwhile")
    raise AssertionError(f"{me} is not deterministic: with another PYTHONHASHSEED it builds another corpus (does it iterate over a set?)")


def _digest_elsewhere(me: str, dataset: Component, seed: int, hash_seed: str) -> str:
    """Digest of the corpus as a new process builds it."""
    program = (
        "import json, sys\n"
        "from tolman.core.discovery import from_config\n"
        "config, seed = json.loads(sys.stdin.read())\n"
        "sys.stdout.write(from_config(config).build(seed).digest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    job = json.dumps([dataset.config(), seed])
    done = subprocess.run([sys.executable, "-c", program], input=job, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, f"{me} does not build in another process: {done.stderr.strip()[-500:]}"
    return done.stdout
