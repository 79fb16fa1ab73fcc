"""A run's tables as a study would leave them, built in milliseconds: real questions of the reversal world, answers drawn with a given accuracy."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import polars as pl

from tolman.core.data import Corpus, Question
from tolman.core.discovery import module
from tolman.core.seeds import rng
from tolman.datasets.reversals import Reversals
from tolman.memory.oracle import Oracle
from tolman.run.cell import Cell
from tolman.run.frames import Frames
from tolman.studies._settle import together

FRESH, NONE = "fresh in-context sequences", "no in-context sequences"
CLOSED, CHOICE, CONTEXT, ORACLE = "closed book", "closed book, choice of 10", "in context, 8 documents", "retrieval, oracle + 3"
HOSTILE = "</script><img src=x onerror=\"document.documentElement.dataset.hacked='1'\"><script>document.documentElement.dataset.hacked='1'</script>"
ACCURACY: dict[str, dict[str, float]] = {
    CLOSED: {"heldout_reversal": 0.01, "cue_middle": 0.02, "cue_end": 0.02, "wrong_frame": 0.0},
    CHOICE: {"heldout_reversal": 0.2, "cue_middle": 0.3, "cue_end": 0.15, "wrong_frame": 0.1},
    CONTEXT: {"heldout_reversal": 0.97},
    ORACLE: {"heldout_reversal": 0.93},
}
"""Way of asking -> kind -> how often an answer is right (all others nearly always)."""
ENVIRONMENT = {
    "python": "3.11.9",
    "system": "Linux x86_64",
    "processor": "An Example CPU",
    "cores": 2,
    "memory_gib": 8.0,
    "versions": {"tolman": "0.1.0"},
    "revision": "0123456789ab",
}


def build(
    *, seeds: int = 3, trainings: tuple[str, ...] = (FRESH, NONE), askings: tuple[str, ...] = tuple(ACCURACY), few: bool = False, hostile: bool = False
) -> Frames:
    """`few` asks two kinds only; `hostile` puts markup into answers, questions and contexts."""
    records, curves = [], []
    for seed in range(seeds):
        corpus = Reversals(entities=24, relations=3, held_out=16, asked=12, episodes="none", copies=2).build(seed)
        for training in trainings:
            curves.append(_curve(training, seed, askings))
            records += [_record(corpus, training, asking, seed, few, hostile) for asking in askings]
    return Frames.of("reversals", "quick", records, curves)


def studied(name: str, scale: str, right: Callable[[Cell, str], float], *, seeds: int = 3) -> Frames:
    """Frames of a study of reversals with its real cells; `right` gives the chance that a cell's question of a kind is answered right. Nothing is built or trained."""
    records = []
    for cell in module("studies", name).cells(scale, range(seeds)):
        config = cell.config()
        world, items = config["dataset"], []
        facts = world["entities"] * world["relations"]
        for kind in cell.kinds or ("trained_forward", "trained_reversed", "heldout_forward", "heldout_reversal"):
            draw = rng(cell.seed, cell.training, cell.asking, kind)
            asked = min(30, world["held_out"] if kind.startswith("heldout") else facts - world["held_out"])
            for i in range(asked):
                correct = bool(draw.random() < right(cell, kind))
                fact = f"{i}-{i % world['relations']}"
                items.append({
                    "question": f"{kind}:{fact}", "kind": kind, "cluster": fact, "question_text": kind, "prompt": kind, "answer": "c" if correct else "w", "expected": ["c"],
                    "choices": [], "verdict": "correct" if correct else "wrong", "correct": correct, "scores_nats": [], "support_shown": False,
                })  # fmt: skip
        chance = 1 / world["entities"]
        kinds = {
            k: {"description": k, "latent": k == "heldout_reversal", "control": k == "wrong_frame", "beside": None, "chance": chance}
            for k in dict.fromkeys(item["kind"] for item in items)
        }
        header = _header(cell.training, cell.asking, cell.seed, "closed_book", len(items)) | {"cell": config, "kinds": kinds}
        header |= {"parameters": 470_000 + 128 * world["entities"]}
        header |= {"fingerprint": cell.fingerprint(), "train_fingerprint": cell.train_fingerprint(), "condition": cell.condition()}
        records.append((header, items))
    return Frames.of(name, scale, records, [])


@cache
def doses(threshold: float = 1.0) -> Frames:
    """Study `dose` at scale `small`, as if held-out facts reversed from a share of `threshold` on: beyond it (almost) always, below it never."""

    def right(cell: Cell, kind: str) -> float:
        if kind != "heldout_reversal":
            return 0.998
        return 0.9 if float(cell.training.rpartition(", ")[2].split()[0]) >= 100 * threshold else 0.003

    return studied("dose", "small", right)


@cache
def contrasts() -> Frames:
    """Studies `objectives` (scale `small`) and `reversals` (`quick`): masked objectives, names reversed after a mark, and facts in context give reversals."""
    works = ("masked, bidirectional", "next token + masked copy", "reversed, names kept, marked", "reversed, names kept")
    objectives = studied("objectives", "small", lambda cell, kind: 0.97 if kind != "heldout_reversal" or cell.training in works else 0.01)
    reversals = studied("reversals", "quick", lambda cell, kind: 0.97 if kind != "heldout_reversal" or "closed" not in cell.asking else 0.0)
    return together([objectives, reversals])


def distractors() -> Frames:
    """Frames of a study that asks with several numbers and kinds of distractors, at two seeds."""
    records = []
    for seed in range(2):
        corpus = Reversals(entities=24, relations=3, held_out=16, asked=12, episodes="none", copies=2).build(seed)
        for k in (0, 3, 15):
            for like in ("any", "rare_word"):
                header, items = _record(corpus, f"reversals, {FRESH}", f"retrieval, oracle + {k}, {like}", seed, False, False)
                header["cell"]["test_time"]["retriever"] = {"is": "memory/oracle", "distractors": k, "like": like}
                header["cell"]["dataset"] |= {"episode_facts": 6}
                records.append((header, items))
    return Frames.of("distractors", "quick", records, [])


def for_figure(name: str) -> Frames:
    """Frames that the figure has something to draw from."""
    special = {"dose": lambda: together([doses(), contrasts()]), "distractors": distractors, "break_even": written, "retention": retaining, "roads": travelled}
    return special.get(name, build)()


def written() -> Frames:
    """Frames of a study in which a model wrote training data: 3e12 FLOPs more once than the teacher took, and 8e6 FLOPs (24 tokens) less at each question."""
    cost = {"generate": {"tokens": 100_000, "flops": 1.0e12, "seconds": 5.0}, "train": {"tokens": 2_100_000, "flops": 6.0e12, "seconds": 45.0}}
    parts = [
        by_hand({("documents only", asking, "latent_x", seed): letters for seed in (0, 1)}, method=method, asked=asked)
        for asking, method, letters, asked in (
            ("closed book", "closed_book", "wwww", {"tokens": 4 * 2, "flops": 4 * 2.0e6, "seconds": 0.01}),
            ("retrieval, oracle + 2", "retrieval", "cccw", {"tokens": 4 * 26, "flops": 4 * 1.0e7, "seconds": 0.02}),
        )
    ]
    asked = {"tokens": 4 * 2, "flops": 4 * 2.0e6, "seconds": 0.01}
    parts += [by_hand({("augmented", "closed book", "latent_x", seed): "cccc" for seed in (0, 1)}, method="closed_book", asked=asked, costs=cost)]
    return Frames(*(pl.concat([getattr(part, table) for part in parts]) for table in ("cells", "items", "trainings")))


def travelled() -> Frames:
    """Frames of a study of all roads over two sets: plain, written about the first, and practised to think; costs that can be reckoned by hand."""
    parts = []
    for training, asking, method, (mine, theirs), train, ask, generate in (
        ("documents only", "closed book", "closed_book", ("wwww", "wwww"), 4.0e12, 2.0e6, 0.0),
        ("documents only", "retrieval, oracle + 3", "retrieval", ("cccw", "cccw"), 4.0e12, 1.0e7, 0.0),
        ("documents only", "retrieval, BM25", "retrieval", ("cwww", "cwww"), 4.0e12, 8.0e6, 0.0),
        ("A augmented", "closed book", "closed_book", ("cccc", "wwww"), 5.0e12, 2.0e6, 1.0e12),
        ("A augmented", "retrieval, oracle + 3", "retrieval", ("cccc", "cccw"), 5.0e12, 1.0e7, 1.0e12),
        ("learned recall of A", "thinking", "thinking", ("cccw", "ccww"), 7.0e12, 1.2e7, 0.0),
    ):
        costs = {"train": {"tokens": 9, "flops": train, "seconds": 1.0}, "generate": {"tokens": generate, "flops": generate, "seconds": 0.0}}
        asked = {"tokens": 9, "flops": 16 * ask, "seconds": 0.1}
        kinds = {"plain": "cccc", "other_plain": "cccc", "latent_x": mine, "other_latent_x": theirs}
        parts.append(by_hand({(training, asking, kind, 0): letters for kind, letters in kinds.items()}, method=method, asked=asked, costs=costs))
    return Frames(*(pl.concat([getattr(part, table) for part in parts]) for table in ("cells", "items", "trainings")))


TRACES = {
    "ada feeds bo . bo feeds cy": ([True, True], "states all that is needed"),
    "bo feeds cy": ([True], "states some of what is needed"),
    "ada feeds cy . bo feeds ada": ([False, False], "does not state what is needed; searches: guesses and checks; makes something up"),
}
"""A trace about "ada feeds feeds", which needs that ada feeds bo and bo feeds cy -> which of its statements documents make, and what the page is to say of it."""


def thoughtful() -> Frames:
    """Frames of three thoughts about one question (TRACES), and of an answer at once."""
    frames = by_hand({("t", "thinking", "latent_x", 0): "cww", ("t", "closed book", "latent_x", 0): "w"})
    told = [told for told, _ in TRACES.values()]
    return Frames(
        frames.cells,
        frames.items.with_columns(
            question_text=pl.lit("ada feeds feeds"),
            trace=pl.Series([*TRACES, ""]),
            trace_told=pl.Series([*told, []]),
            needed=pl.Series([["ada feeds bo", "bo feeds cy"]] * 3 + [[]], dtype=pl.List(pl.String)),
        ),
        frames.trainings,
    )


def retaining() -> Frames:
    """Frames of a study of a pretrained model: fine-tuning gains the trained form and loses .6 nats and a tenth of the general questions, with a regulariser .1 and none."""
    parts = []
    for training, (trained, latent), nats, share in (
        ("untrained", ("wwcw", "wwcw"), 4.1, 0.9), ("fine-tuned", ("cccc", "wwcw"), 4.7, 0.8), ("fine-tuned, KL to the base", ("ccwc", "wwww"), 4.2, 0.9),
    ):  # fmt: skip
        kept = {"before": {"general_nats": 4.1, "general_accuracy": 0.9}, "after": {"general_nats": nats, "general_accuracy": share}}
        outcomes = {
            (training, asking, kind, seed): letters
            for asking in ("closed book", "retrieval")
            for kind, letters in (("plain", trained), ("latent_x", latent))
            for seed in (0, 1)
        }
        parts.append(by_hand(outcomes, retention=kept))
    return Frames(*(pl.concat([getattr(part, table) for part in parts]) for table in ("cells", "items", "trainings")))


def by_hand(
    outcomes: Mapping[tuple[str, str, str, int], str],
    *,
    method: str = "",
    asked: Mapping[str, Any] | None = None,
    costs: Mapping[str, Any] | None = None,
    **header: Any,
) -> Frames:
    """Frames with exactly these outcomes: (training, asking, kind, seed) -> a letter a question, `c` correct, `w` wrong, `u` unparsed, `.` not asked.

    Question i is about fact i // 2. Of the kinds, those named `latent...` are latent, those named `control...` are controls. `header` replaces parts of
    the record, `asked` and `costs` its costs.
    """
    records: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for (training, asking, kind, seed), letters in outcomes.items():
        items = records.setdefault((training, asking, seed), [])
        for i, letter in enumerate(letters):
            if letter != ".":
                verdict = {"c": "correct", "w": "wrong", "u": "unparsed"}[letter]
                items.append({
                    "question": f"{kind}:{i}", "kind": kind, "cluster": str(i // 2), "question_text": f"{kind} {i}", "prompt": f"{kind} {i}", "answer": letter,
                    "expected": ["c"], "choices": [], "verdict": verdict, "correct": letter == "c", "scores_nats": [], "support_shown": False,
                })  # fmt: skip
    made = []
    for (training, asking, seed), items in records.items():
        kinds = {
            k: {
                "description": k,
                "latent": k.removeprefix("other_").startswith("latent"),
                "control": k.startswith("control"),
                "beside": None,
                "chance": 0.1 * (1 + seed),
            }
            for k in dict.fromkeys(item["kind"] for item in items)
        }
        base = _header(training, asking, seed, method or ("retrieval" if asking.startswith("retrieval") else "closed_book"), len(items))
        base["costs"] |= (costs or {}) | ({"ask": asked} if asked else {})
        made.append((base | {"kinds": kinds} | header, items))
    return Frames.of("by_hand", "quick", made, [])


def _record(corpus: Corpus, training: str, asking: str, seed: int, few: bool, hostile: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    choice, open_book = asking == CHOICE, asking in (CONTEXT, ORACLE) or asking.startswith("retrieval")
    kinds = ["heldout_forward", "heldout_reversal"] if few else list(corpus.kinds)[: 4 if open_book else None]
    questions = corpus.asked(kinds)
    items = list(_items(corpus, questions, training, asking, seed, hostile))
    test_time = "closed_book" if not open_book else "in_context" if asking == CONTEXT else "retrieval"
    tokens = {"closed_book": 2, "in_context": 62, "retrieval": 34}[test_time]
    header = _header(training, asking, seed, test_time, len(items), tokens) | {
        "kinds": {k: _kind(corpus.kinds[k], 0.1 if choice else corpus.kinds[k].chance) for k in kinds}
    }
    header["cell"] |= {"scoring": {"is": "scoring/choice" if choice else "scoring/exact"}}
    return header, items


def _header(training: str, asking: str, seed: int, test_time: str, questions: int, tokens: int = 2) -> dict[str, Any]:
    condition = f"{training}/{asking}"
    return {
        "cell": {
            "dataset": {"is": "datasets/reversals", "entities": 24}, "model": {"is": "models/tiny"}, "train_time": {"is": "train_time/pretrain", "steps": 700},
            "test_time": {"is": f"test_time/{test_time}"}, "scoring": {"is": "scoring/exact"}, "seed": seed, "training": training, "asking": asking,
        },
        "fingerprint": f"{condition}/{seed}", "train_fingerprint": f"{training}/{seed}", "condition": condition, "kinds": {},
        "costs": {
            "generate": {"tokens": 0, "flops": 0.0, "seconds": 0.0}, "train": {"tokens": 1_400_000, "flops": 4.0e12, "seconds": 30.0 + seed},
            "ask": {"tokens": tokens * questions, "flops": 2.0e6 * tokens * questions, "seconds": 0.002 * questions},
        },
        "questions": questions, "parameters": 480_000, "leaks": [], "environment": ENVIRONMENT, "created": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip


def _kind(kind: Any, chance: float) -> dict[str, Any]:
    return {"description": kind.description, "latent": kind.latent, "control": kind.control, "beside": kind.beside, "chance": chance}


def _items(corpus: Corpus, questions: tuple[Question, ...], training: str, asking: str, seed: int, hostile: bool) -> Iterator[dict[str, Any]]:
    found = Oracle(distractors=3).retrieve(corpus, questions, seed=seed) if asking.startswith(("retrieval", "in context")) else [[] for _ in questions]
    for i, (question, documents) in enumerate(zip(questions, found, strict=True)):
        draw = rng(seed, training, asking, question.id)
        skill: Mapping[str, float] = ACCURACY.get(asking, ACCURACY[ORACLE])
        likely = skill.get(question.kind, 0.995) * (0.35 if training == NONE and documents else 1)
        right = bool(draw.random() < likely)
        wrong = [c for c in question.choices if c not in question.answers]
        answer = question.answers[0] if right else str(draw.choice(wrong))
        verdict = "correct" if right else "unparsed" if draw.random() < 0.05 else "wrong"
        answer = "" if verdict == "unparsed" else answer
        text = question.prompt
        if hostile and i % 3 == 0:
            answer, text, verdict, right = HOSTILE, f"{text} {HOSTILE}", "wrong", False
        scores = [float(s) - 6 + 5 * (c == answer) for c, s in zip(question.choices, draw.uniform(-2, 2, 99), strict=False)] if asking == CHOICE else []
        yield {
            "question": question.id, "kind": question.kind, "cluster": question.cluster, "question_text": text,
            "prompt": "\n".join((*(d.text for d in documents), *([HOSTILE] if hostile else []), text)), "answer": answer, "expected": list(question.answers),
            "choices": list(question.choices), "verdict": verdict, "correct": right, "scores_nats": scores,
            "support_shown": {d.id for d in documents} >= set(question.support) if question.support and documents else None,
        }  # fmt: skip


def _curve(training: str, seed: int, askings: tuple[str, ...]) -> dict[str, Any]:
    """Recall rises early; reversal stays down closed book, and rises late with retrieval where training had in-context sequences."""
    draw = rng(seed, "curve", training)
    points = []
    for step in range(50, 701, 50):
        base = {"step": step, "tokens": 2000 * step, "flops": 6e9 * step, "seconds": 0.045 * step, "loss": 5.0 * 0.995**step}
        up, late = min(1.0, step / 300), max(0.0, min(1.0, (step - 250) / 300)) * (0.95 if training == FRESH else 0.3)
        asked = [("heldout_forward", CLOSED, up), ("heldout_reversal", CLOSED, 0.01), ("heldout_reversal", ORACLE, late)]
        points += [
            base | {"kind": kind, "asking": asking, "accuracy": float(draw.binomial(16, share) / 16), "n": 16}
            for kind, asking, share in asked
            if asking in askings
        ]
    return {"train_fingerprint": f"{training}/{seed}", "seed": seed, "training": training, "curve": points}
