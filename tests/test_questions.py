"""Questions that a model writes: what is kept can be checked without it, and can be asked."""

import pytest

from tolman.app.questions import fault, instruction, pair, write
from tolman.core.errors import UserError
from tolman.datasets.folder import Folder
from tolman.models.scripted import Scripted

PASSAGE = "The Long Prism was designed by Ilse Korvin in 1902. It weighs 3.5 tons."


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("Who designed the Long Prism?", "Ilse Korvin", ""),
        ("How heavy is the Long Prism?", "3.5 tons", ""),
        ("Who designed the Long Prism?", "Karl Orven", "does not stand in the passage"),
        ("Who designed the Long Prism?", "Ilse Kor", "does not stand in the passage"),
        ("What did Ilse Korvin design?", "Ilse Korvin", "holds its answer"),
        ("Who was it?", "Ilse Korvin", "names nothing of the passage"),
        ("Who designed the Long Prism?", "...", "no word"),
        ("What is told?", PASSAGE, "more than 12"),
        ("When was the Long Prism designed?", "1902", ""),
        ("When was the Long Prism designed?", "Ilse Korvin", "tells no time"),
        ("How heavy is the Long Prism?", "Ilse Korvin", "holds no number"),
        ("How was the Long Prism designed?", "Ilse Korvin", ""),
        ("Was the Long Prism designed in 1902?", "Ilse Korvin", "yes or no"),
        ("Who has designed the Long Prism in 1903?", "Ilse Korvin", "nearly the same"),
    ],
)
def test_what_is_kept(question, answer, why):
    before = [{"prompt": "Who designed the Long Prism in 1903?"}] if "1903" in question else []
    found = fault(question, answer, PASSAGE, before)
    assert why in found and bool(why) == bool(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" Who designed  it?\nAnswer: Ilse Korvin.\n\nText: more\nQuestion: What?\nAnswer: no", ("Who designed it?", "Ilse Korvin")),
        ("Question: When? Answer: 1902", ("When?", "1902")),
        ("Who designed it? Ilse Korvin", None),
        ("It was designed by Ilse Korvin.\nAnswer: yes", None),
        ("When?\nAnswer:\n", None),
    ],
)
def test_a_pair_is_read_as_models_write_it(text, found):
    assert pair(text) == found


SCALE = "The scale of the Old Mint was cast by Ana Dorrit in Pellworth. {passage} stays as it stands."


def test_a_file_of_questions_is_written_and_asked(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in (("a.txt", PASSAGE), ("b.txt", SCALE), ("c.txt", "Nobody knows who built the tower of Orrin.")):
        (docs / name).write_text(text)
    folder = Folder(path=docs)
    told = [instruction(p.text) for p in folder.read()[1]]
    assert PASSAGE in told[0] and "{passage}" not in told[0] and told[1].count("{passage}") == 1
    answers = (
        "Who designed the Long Prism? Answer: Ilse Korvin.",
        "Where did Ana Dorrit cast the scale of the Old Mint? Answer: Pellworth",
        "Who built the tower? Answer: Karl",
    )
    model = Scripted(answers=dict(zip(told, answers, strict=True))).create(Folder().build(0), seed=0)
    written = write(folder, model, tries=1)
    assert [line["answer"] for line in written.lines] == ["Ilse Korvin", "Pellworth"] and (written.passages, written.asked_about) == (3, 2)
    assert written.left_out == {"answer that does not stand in the passage": 1}
    written.save(tmp_path / "own.jsonl")
    asked = Folder(path=docs, questions=tmp_path / "own.jsonl", practice_share=0).build(0).asked()
    assert [(q.prompt, q.answers) for q in asked] == [(line["prompt"], (line["answer"],)) for line in written.lines]
    assert [q.support for q in asked] == [tuple(line["support"]) for line in written.lines] and len({q.cluster for q in asked}) == 2
    with pytest.raises(UserError, match="exists and is not overwritten"):
        written.save(tmp_path / "own.jsonl")


def test_nothing_of_use_is_an_error_that_says_what_came_back(tmp_path):
    (tmp_path / "prism.txt").write_text(PASSAGE)
    model = Scripted(default="The prism is nice.").create(Folder().build(0), seed=0)
    with pytest.raises(UserError, match=r"no question with 'Answer:' after it \(1\); its first text was 'The prism is nice\.'"):
        write(Folder(path=tmp_path), model, tries=1)
