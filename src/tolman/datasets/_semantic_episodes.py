"""In-context sequences of `semantic_structure`: a few sentences about a small world of fresh pairings, then questions about it in the forms of the tests.

They use the words of the corpus, so that a model trained from scratch can learn to read its context with them, but say nothing that is true in the corpus.
"""

from collections.abc import Iterator
from itertools import pairwise

from tolman.core.data import Document
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws
from tolman.datasets._semantic_wordings import Said, Voice
from tolman.datasets._semantic_world import PROPERTIES, Fact, World

MAX_CHAINS, MAX_LENGTH, MAX_QUESTIONS = 3, 3, 4


def episodes(world: World, count: int, seed: int) -> Iterator[Document]:
    """`count` sequences; the last words of the questions are their targets."""
    draws = Draws(rng(seed, "semantic_structure", "episodes"))
    voice = Voice()
    for number in range(count):
        told: list[Fact] = []
        asked: list[Said] = []
        chains = 1 + draws.below(MAX_CHAINS)
        while not told:
            names = draws.sample_few(world.categories, MAX_CHAINS * (MAX_LENGTH + 1))
            for _ in range(chains):
                chain, follows = _chain(world, names, draws)
                told += chain
                asked += follows
        lines = _paragraphs([voice.statement(Said(fact), draws) for fact in draws.shuffle(told)], draws)
        text, targets = "\n".join(lines), []
        for said in draws.sample(asked, 1 + draws.below(MAX_QUESTIONS)):
            options = voice.wordings(said)
            text += "\n" + voice.prompt(said, draws.below(len(options))) + " "
            targets.append((len(text), len(text) + len(said.asked)))
            text += said.asked + "."
        yield Document(f"episode:{number}", text, "episode:fresh", tuple(targets), role="exercise")


def _chain(world: World, names: list[str], draws: Draws) -> tuple[list[Fact], list[Said]]:
    """Facts about 1 to 3 categories, each a kind of the next, with one property or relation each, of different forms; and what can be asked about them with one
    right answer: the facts themselves, what the first category inherits, and the reversals. Takes its categories from `names`. Nothing, where by chance
    one of these is true in the corpus."""
    size = 1 + draws.below(MAX_LENGTH)
    forms = draws.sample((*PROPERTIES, "relation"), size)
    chain = [names.pop() for _ in range(size)]
    told = [Fact("category", low, high) for low, high in pairwise(chain)]
    asked = [Said(fact) for fact in told[-1:]] + [Said(fact, reverse=True) for fact in told[:1]]
    for level, (category, form) in enumerate(zip(chain, forms, strict=True)):
        if form == "relation":
            fact = Fact(form, category, names.pop(), draws.pick(world.verbs))
        else:
            fact = Fact(form, category, draws.pick(world.words[form]))
        told.append(fact)
        asked += [Said(fact._replace(subject=chain[0])), *([Said(fact, reverse=True)] if level == 0 else [])]
    if any(fact in world.true for fact in (*told, *(said.fact for said in asked))):
        return [], []
    return told, asked


def _paragraphs(sentences: list[str], draws: Draws) -> list[str]:
    """The sentences in order, cut at random into paragraphs of one to five."""
    lines, at = [], 0
    while at < len(sentences):
        size = 1 + draws.below(5)
        lines.append(" ".join(sentences[at : at + size]))
        at += size
    return lines
