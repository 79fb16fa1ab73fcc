"""The world of `semantic_structure`: categories in a hierarchy, their own and inherited properties, relations between them, and everything that follows."""

from collections.abc import Iterable
from typing import NamedTuple

from tolman.core.seeds import rng
from tolman.datasets._asking import Draws
from tolman.datasets._pseudowords import pseudowords

PROPERTIES = ("ability", "part", "quality")
ROOTS = 2
_SHARED = 1 / 3
"""Share of properties that a category has in common with a category elsewhere. Our choice."""


class Fact(NamedTuple):
    """`subject` is a kind of `object` (form category), can, has or is it (ability, part, quality), or does `verb` to it (relation)."""

    form: str
    subject: str
    object: str
    verb: str = ""

    @property
    def predicate(self) -> tuple[str, str]:
        return self.form, self.verb


class Levels(NamedTuple):
    """How many categories each level of the hierarchy has, roots first. Every category above the last level has at least two children."""

    roots: int
    first: int
    second: int
    third: int

    @classmethod
    def of(cls, categories: int) -> "Levels":
        first = max(2 * ROOTS, round(0.08 * categories))
        second = max(2 * first, round(0.245 * categories))
        return cls(ROOTS, first, second, categories - ROOTS - first - second)


class World:
    """One sampled world. `own` holds what is stated of a category itself, `true` everything that follows; a property or relation is passed down, never up."""

    def __init__(self, categories: int, verbs: int, held_out: int, seed: int) -> None:
        draw = rng(seed, "semantic_structure", "world")
        draws = Draws(draw)
        words = pseudowords(categories + verbs + 6 * categories, draw)
        self.categories, self.verbs, spare = words[:categories], words[categories : categories + verbs], words[categories + verbs :]
        self.parent: dict[str, str | None] = {}
        self.children: dict[str, list[str]] = {c: [] for c in self.categories}
        leaves = self._grow(draws)
        self.held = self._hold_out(leaves, held_out, draws)
        self.own: dict[str, list[Fact]] = {c: [Fact("category", c, p)] if (p := self.parent[c]) else [] for c in self.categories}
        self.words: dict[str, list[str]] = {form: [] for form in PROPERTIES}
        self._endow(draws, spare)
        self._relate(draws)
        self.true = closure(fact for facts in self.own.values() for fact in facts)
        self.objects: dict[tuple[str, str, str], list[str]] = {}
        self.subjects: dict[tuple[str, str, str], list[str]] = {}
        self.ends: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
        for fact in sorted(self.true):
            self.objects.setdefault((*fact.predicate, fact.subject), []).append(fact.object)
            self.subjects.setdefault((*fact.predicate, fact.object), []).append(fact.subject)
            ends = self.ends.setdefault(fact.predicate, (set(), set()))
            ends[0].add(fact.subject)
            ends[1].add(fact.object)

    def _grow(self, draws: Draws) -> list[str]:
        """Link every category to one of the level above, each of which gets two before any gets more. Returns the leaves."""
        at, above = 0, [""]
        for size in Levels.of(len(self.categories)):
            level = self.categories[at : at + size]
            given = [p for p in draws.shuffle(above) for _ in range(2)] if at else [""] * size
            for place, category in enumerate(level):
                parent = given[place] if place < len(given) else draws.pick(above)
                self.parent[category] = parent or None
                if parent:
                    self.children[parent].append(category)
            at, above = at + size, level
        return above

    def _hold_out(self, leaves: list[str], count: int, draws: Draws) -> list[str]:
        """`count` leaves, no two of which are siblings."""
        by_parent: dict[str | None, str] = {}
        for leaf in draws.shuffle(leaves):
            by_parent.setdefault(self.parent[leaf], leaf)
        assert count <= len(by_parent), f"{count} categories to hold out, but only {len(by_parent)} families"
        return list(by_parent.values())[:count]

    def _endow(self, draws: Draws, spare: list[str]) -> None:
        """1 to 6 properties of its own for each category but the held-out ones; now and then one that an unrelated category has, too."""
        owners: dict[str, list[str]] = {}
        form_of: dict[str, str] = {}
        for category in self.categories:
            if category in self.held:
                continue
            family = {category, *self.ancestors(category), *self.descendants(category)}
            for _ in range(1 + draws.below(6)):
                word = draws.pick(list(owners)) if owners and draws.uniform() < _SHARED else ""
                if not word or family & set(owners[word]):
                    word = spare.pop()
                    form_of[word] = draws.pick(PROPERTIES)
                    self.words[form_of[word]].append(word)
                owners.setdefault(word, []).append(category)
                self.own[category].append(Fact(form_of[word], category, word))

    def _relate(self, draws: Draws) -> None:
        """For three categories in five one relation to a category outside its family, which no relative has to anything."""
        taken: dict[str, set[str]] = {verb: set() for verb in self.verbs}
        open_to = [c for c in self.categories if c not in self.held]
        for category in draws.sample(open_to, round(0.6 * len(open_to))):
            family = {category, *self.ancestors(category), *self.descendants(category)}
            free = [verb for verb in self.verbs if not family & taken[verb]]
            others = [c for c in open_to if c not in family]
            if free:
                verb = draws.pick(free)
                taken[verb].add(category)
                self.own[category].append(Fact("relation", category, draws.pick(others), verb))

    def ancestors(self, category: str) -> list[str]:
        """From the parent up."""
        up = []
        above = self.parent[category]
        while above:
            up.append(above)
            above = self.parent[above]
        return up

    def descendants(self, category: str) -> list[str]:
        """Everything below, nearest first."""
        below = list(self.children[category])
        for child in below:
            below += self.children[child]
        return below

    def proof(self, fact: Fact) -> list[Fact]:
        """The stated facts from which `fact` follows: the steps up to the category that owns it, and what is stated there. A stated fact is its own proof."""
        steps: list[Fact] = []
        category = fact.subject
        while (stated := fact._replace(subject=category)) not in self.own[category]:
            above = self.parent[category]
            assert above, f"{fact} does not follow from what is stated"
            steps.append(Fact("category", category, above))
            category = above
        return [*steps, stated]

    def fillers(self, fact: Fact, *, reverse: bool) -> list[str]:
        """Everything that is true in the place of the object of `fact` (its subject, if `reverse`)."""
        return self.subjects[*fact.predicate, fact.object] if reverse else self.objects[*fact.predicate, fact.subject]

    def wrong(self, fact: Fact, pool: Iterable[str], *, reverse: bool) -> list[str]:
        """Those of `pool` that, put for the object of `fact` (its subject, if `reverse`), are false, but true of something else. What is true of a relative
        and could mislead is left out: what holds of some birds is no clear falsehood about birds."""
        known = self.ends[fact.predicate][0 if reverse else 1]
        near = set(self.fillers(fact, reverse=reverse))
        if fact.form != "category" and reverse:
            near.update(*(self.ancestors(c) for c in list(near)))
        elif fact.form != "category":
            near.update(*(self.objects.get((*fact.predicate, c), ()) for c in self.descendants(fact.subject)))
        return [word for word in pool if word in known and word not in near and word not in (fact.subject, fact.object)]


def closure(stated: Iterable[Fact]) -> set[Fact]:
    """All that follows from the facts `stated`: what is true of a category is true of every category that is a kind of it. Linear in the facts met on the way
    up from each category."""
    own: dict[str, list[Fact]] = {}
    for fact in stated:
        own.setdefault(fact.subject, []).append(fact)
    true: set[Fact] = set()
    for category in own:
        sources = {category: None}
        for source in (queue := [category]):
            for fact in own.get(source, ()):
                true.add(fact._replace(subject=category))
                if fact.form == "category" and fact.object not in sources:
                    sources[fact.object] = None
                    queue.append(fact.object)
    return true


def verbs_for(categories: int) -> int:
    """How many verbs relate the categories: few, so that each relates a dozen pairs. Our choice."""
    return max(2, round(categories / 22))
