"""The sample of a folder's questions that a comparison asks."""

from collections import Counter
from pathlib import Path

from tolman.datasets.folder import Folder

DOCS = Path(__file__).parents[1] / "examples" / "docs"


def test_a_sample_is_about_the_same_facts_in_every_kind_and_half_of_the_yes_and_no_are_yes():
    every, some = Folder(path=DOCS).build(0), Folder(path=DOCS, per_kind=8).build(0)
    assert some.documents == every.documents and set(some.questions) <= set(every.questions)
    assert [q for q in some.questions if q.split == "practice"] == [q for q in every.questions if q.split == "practice"]
    asked = some.asked()
    assert Counter(q.kind for q in asked) == dict.fromkeys(every.kinds, 8) and some.facts["questions"] == len(every.asked())
    recalled = {q.cluster for q in asked if q.kind == "recall"}
    assert len(recalled) == 8 and all(q.cluster in recalled for q in asked if some.kinds[q.kind].latent)
    assert {name for name, kind in some.kinds.items() if kind.latent} == {"rephrase", "reversal", "two_hop"}
    assert Counter(q.answers for q in asked if q.kind == "unanswerable") == {("yes",): 4, ("no",): 4}
    ids = {q.id for q in some.questions}
    assert all(id in ids and ids.issuperset(beside) for id, beside in some.facts["beside"].items())  # type: ignore[attr-defined]
    assert Folder(path=DOCS, per_kind=8).build(1).asked() != asked and Folder(path=DOCS, per_kind=8).build(0) == some
    assert "per_kind" not in Folder().identity() and Folder(per_kind=8).identity() != Folder().identity()
