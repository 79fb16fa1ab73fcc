"""Articles about a hierarchy of nonsense categories: are reversals, syllogisms and all that follows for a held-out category learned with them?

After the semantic structure benchmark of Lampinen et al. 2025 (arXiv 2505.00661): 110 categories with 1 to 6 properties of their own beside inherited ones,
and relations, all words nonsense of 4 to 5 letters; 2,200 documents of 4 to 20 sentences, some of them questions and answers. How many questions and
candidates the paper has is not public, nor what shares of reversals and deductions its articles state: these and all texts are our choice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, cycle
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tolman.core.component import Component
from tolman.core.data import Corpus, Document, Question
from tolman.core.errors import UserError
from tolman.core.seeds import rng
from tolman.datasets._asking import Draws, kinds_asked, one_right, with_practice
from tolman.datasets._pseudowords import lexicon
from tolman.datasets._semantic_episodes import episodes
from tolman.datasets._semantic_wordings import STYLES, Said, Voice, formatted, statements
from tolman.datasets._semantic_world import PROPERTIES, Fact, Levels, World, verbs_for

MIN_SENTENCES, MAX_SENTENCES = 4, 20


class SemanticStructure(Component):
    """Nonsense categories in a hierarchy, described in short articles; tests ask for rephrasings, reversals, syllogisms, deductions and a held-out category."""

    categories: int = Field(default=110, ge=30, le=600)
    """Number of categories (the paper: 110), on four levels."""
    held_out: int = Field(default=10, ge=1)
    """Number of categories of which training states nothing but their parent."""
    documents: int = Field(default=2200, ge=1)
    """Number of documents (the paper: 2,200) of 4 to 20 sentences."""
    qa_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the documents that are questions and answers."""
    reversed_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the facts not asked about reversed that are also stated reversed, so that there is something to learn reversing from."""
    derived_share: float = Field(default=0.3, ge=0, le=1)
    """Share of the inherited facts not under test that are also stated."""
    asked: int = Field(default=30, ge=1)
    """Facts of each form asked about reversed, syllogisms and deductions asked about. Each reversed fact, each syllogism and each deduction is one cluster."""
    holdout_asked: int = Field(default=6, ge=1)
    """Up to this many questions about each held-out category."""
    options: int = Field(default=4, ge=2)
    """Candidates of a question, the answer among them. The others are true of something else."""
    distractors: Literal["near", "any"] = "near"
    """Which of the possible wrong candidates are taken: where there are enough, ones that share at least as many documents with what the question names as the
    answer does, so that word statistics do not give it away; or any."""
    episodes: Literal["none", "fresh"] = "none"
    """In-context sequences, small fresh worlds and questions about them, for models trained from scratch: none (the paper), or fresh pairings of the words."""
    episode_count: int = Field(default=20_000, ge=1)
    """Number of in-context sequences."""
    practice: float = Field(default=0.0, ge=0, lt=1)
    """Share of the clusters whose questions are set aside for practice."""

    scales: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"categories": 50, "documents": 700, "held_out": 6, "asked": 12},
        "small": {"categories": 80, "documents": 1400, "held_out": 8, "asked": 20},
        "paper": {},
    }
    example: ClassVar[dict[str, Any]] = {
        "categories": 40, "documents": 240, "held_out": 3, "asked": 5, "options": 3, "episodes": "fresh", "episode_count": 60,
    }  # fmt: skip

    @model_validator(mode="after")
    def _possible(self) -> Self:
        families = Levels.of(self.categories).second
        if self.held_out > families:
            raise ValueError(f"held_out = {self.held_out} is more than the {families} families of leaves that categories = {self.categories} make")
        if 7 * self.categories + verbs_for(self.categories) > len(lexicon()):
            raise ValueError(f"categories = {self.categories} needs up to {7 * self.categories} nonsense words, but only {len(lexicon())} exist")
        return self

    def build(self, seed: int) -> Corpus:
        """The corpus of world `seed`. Raises UserError, naming the field, for more questions than the world has facts or fewer documents than facts need."""
        world = World(self.categories, verbs_for(self.categories), self.held_out, seed)
        plan = Plan(self, world, seed)
        documents, stated, company = _articles(self, plan, seed)
        questions = with_practice(_questions(plan, stated, company, seed), self.practice, seed, "semantic_structure")
        if self.episodes == "fresh":
            documents += episodes(world, self.episode_count, seed)
        voice = Voice()
        forbidden = [text for said in plan.untold for text in voice.wordings(said)]
        rephrased = [voice.wordings(Said(fact))[plan.reserved[fact]] for _, _, fact in plan.beside()]
        counts = {"facts": sum(map(len, world.own.values())), "true": len(world.true), "stated": len(stated), "verbs": len(world.verbs)}
        return Corpus(tuple(documents), questions, kinds_asked(KINDS, questions), tuple(dict.fromkeys((*forbidden, *rephrased))), counts)


class Plan:
    """What is asked, what training may say, and in which wording it may not say it.

    `asked` holds the items of each latent kind: (cluster, what is asked). `untold` is everything that no document may say; `topics` holds for each
    category what documents about it say. Every stated fact keeps back one wording, number `reserved`, in which it is asked as a rephrasing.
    """

    def __init__(self, spec: SemanticStructure, world: World, seed: int) -> None:
        self.spec, self.world = spec, world
        draws = Draws(rng(seed, "semantic_structure", "plan"))
        self.open_to = [c for c in world.categories if c not in world.held]
        self.reserved = {fact: draws.below(statements(Said(fact))) for c in world.categories for fact in world.own[c]}
        inherited = sorted(fact for fact in world.true if fact.subject not in world.held and fact not in self.reserved)
        self.asked: dict[str, list[tuple[str, Said]]] = {}
        for kind, pool in self._pools(inherited).items():
            fit = [said for said in pool if self._fit(kind, said)]
            if spec.asked > len(fit):
                raise UserError(
                    f"semantic_structure.asked = {spec.asked} is more than the {len(fit)} facts for {kind} that categories = {spec.categories} "
                    f"gave, each with options = {spec.options} candidates"
                )
            self.asked[kind] = [(_name(said.fact), said) for said in draws.sample(fit, spec.asked)]
        fit = [(c, [said for said in self._about_held_out(c) if self._fit("holdout", said)]) for c in world.held]
        self.asked["holdout"] = [(c, said) for c, saids in fit for said in draws.sample(saids, spec.holdout_asked)]
        self.untold = dict.fromkeys(said for items in self.asked.values() for _, said in items)
        self.untold |= dict.fromkeys(Said(said.fact, reverse=True) for kind in ("syllogism", "deduction") for _, said in self.asked[kind])
        self.untold |= dict.fromkeys(said for c in world.held for said in self._about_held_out(c))
        self.topics: dict[str, list[Said]] = {c: [] for c in world.categories}
        self._tell([*self.reserved, *(fact for fact in inherited if draws.uniform() < spec.derived_share)], spec.reversed_share, draws)

    def _pools(self, inherited: list[Fact]) -> dict[str, list[Said]]:
        """What could be asked of each latent kind, but for held-out categories."""
        stated = [fact for fact in self.reserved if fact.subject not in self.world.held]
        steps = {fact: len(self.world.proof(fact)) for fact in inherited if fact.form != "category"}
        return {
            "reversal_category": [Said(f, reverse=True) for f in stated if f.form == "category"],
            "reversal_property": [Said(f, reverse=True) for f in stated if f.form in PROPERTIES],
            "reversal_relation": [Said(f, reverse=True) for f in stated if f.form == "relation"],
            "syllogism": [Said(f) for f, n in steps.items() if n == 2],
            "deduction": [Said(f) for f, n in steps.items() if n > 2],
        }

    def _fit(self, kind: str, item: Said) -> bool:
        """Whether there are wrong candidates enough to ask for `item` and for the facts that it follows from."""
        return all(len(self.wrong(said)) >= self.spec.options - 1 for said in (item, *(Said(fact) for fact in self.premises(kind, item))))

    def wrong(self, said: Said) -> list[str]:
        """The wrong candidates for what `said` asks for. Where that is a held-out category, other held-out ones are among them: such words are rare."""
        fact, reverse = said
        pool = self.open_to if reverse or fact.form in ("category", "relation") else self.world.words[fact.form]
        rare = [c for c in self.world.held if said.asked in self.world.held and c not in self.world.fillers(fact, reverse=reverse)]
        return rare + self.world.wrong(fact, pool, reverse=reverse)

    def _about_held_out(self, category: str) -> list[Said]:
        """Everything that follows for the held-out `category` from its parent, which is all that is stated of it."""
        facts = sorted(fact for fact in self.world.true if fact.subject == category)
        return [*(Said(fact) for fact in facts if fact not in self.reserved), *(Said(fact, reverse=True) for fact in facts)]

    def _tell(self, facts: list[Fact], reversed_share: float, draws: Draws) -> None:
        """Put `facts`, and a share of their reversals, among what documents about their categories say, in random order."""
        for fact in facts:
            back = Said(fact, reverse=True)
            if Said(fact) not in self.untold:
                self.topics[fact.subject].append(Said(fact))
            if back not in self.untold and draws.uniform() < reversed_share:
                self.topics[fact.subject if fact.form in PROPERTIES else fact.object].append(back)
        self.topics = {c: draws.shuffle(saids) for c, saids in self.topics.items()}

    def premises(self, kind: str, item: Said) -> list[Fact]:
        """The stated facts from which an item of `kind` follows; for held-out categories all of these but the parent are about others and asked elsewhere."""
        proof = self.world.proof(item.fact)
        return proof[:1] if kind == "holdout" else proof

    def beside(self) -> dict[tuple[str, str, Fact], None]:
        """(kind, cluster, stated fact) of every question that proves that what stands behind a latent question was learned."""
        return dict.fromkeys(
            (KINDS[kind]["beside"], cluster, fact)
            for kind, items in self.asked.items()
            for cluster, said in items
            for fact in self.premises(kind, said)
        )  # fmt: skip


def _name(fact: Fact) -> str:
    return ":".join(part for part in (fact.form, fact.subject, fact.verb, fact.object) if part)


class Company:
    """Which words share how many documents."""

    def __init__(self) -> None:
        self._words: list[set[str]] = []
        self._places: dict[str, list[int]] = {}
        self._counts: dict[str, Counter[str]] = {}

    def add(self, said: Iterable[Said]) -> None:
        """Take note of a document that says `said`."""
        words = {word for fact, _ in said for word in (fact.subject, fact.object)}
        for word in words:
            self._places.setdefault(word, []).append(len(self._words))
        self._words.append(words)

    def of(self, word: str) -> Counter[str]:
        """How many documents each other word shares with `word`."""
        if word not in self._counts:
            self._counts[word] = Counter(chain.from_iterable(self._words[place] for place in self._places.get(word, ())))
        return self._counts[word]


def _articles(spec: SemanticStructure, plan: Plan, seed: int) -> tuple[list[Document], dict[Said, str], Company]:
    """The documents, each about one category and its neighbours; where each thing said is said first; and which words stand together. Every category is the
    topic equally often, and what there is to say about it goes round, so that nothing is left out while there are documents enough."""
    draws = Draws(rng(seed, "semantic_structure", "articles"))
    voice, world = Voice(), plan.world
    turns = {c: cycle(saids) for c, saids in plan.topics.items() if saids}
    near = {c: [n for n in (world.parent[c], *world.children[c], *world.children.get(world.parent[c] or "", ())) if n in turns and n != c] for c in turns}
    documents, stated, company = [], {}, Company()
    topics: list[str] = []
    for number in range(spec.documents):
        topics = topics or draws.shuffle(turns)
        topic, qa = topics.pop(), draws.uniform() < spec.qa_share
        style = "qa" if qa else draws.pick(STYLES)
        frame = {"letter": 2, "list": 1, "notes": 1}.get(style, 0)
        length = MIN_SENTENCES + draws.below(MAX_SENTENCES + 1 - MIN_SENTENCES)
        facts = (length + 1) // 2 if qa else length - frame
        chosen: dict[Said, None] = {}
        for attempt in range(4 * facts):
            about = topic if draws.uniform() < 0.6 or not near[topic] else draws.pick(near[topic])
            if attempt >= 3 * facts:
                about = draws.pick(world.categories)
            chosen[next(turns[about])] = None
            if len(chosen) == facts:
                break
        id = f"{style}:{number}"
        company.add(chosen)
        for said in chosen:
            stated.setdefault(said, id)
        if qa:
            text = "\n".join(voice.question(said, draws) for said in chosen)
        else:
            text = formatted(style, topic, [voice.statement(said, draws, None if said.reverse else plan.reserved.get(said.fact)) for said in chosen])
        documents.append(Document(id, text, style))
    missing = next((fact for fact in plan.reserved if Said(fact) not in stated), None)
    if missing is not None:
        raise UserError(
            f"semantic_structure.documents = {spec.documents} is too few to state all {len(plan.reserved)} facts "
            f"about categories = {spec.categories}; try {max(4 * spec.categories, 2 * spec.documents)}"
        )
    return documents, stated, company


def _questions(plan: Plan, stated: dict[Said, str], company: Company, seed: int) -> Iterator[Question]:
    draws = Draws(rng(seed, "semantic_structure", "questions"))
    asker = Asker(plan, stated, company, draws)
    for kind, cluster, fact in plan.beside():
        yield asker.question(f"{kind}:{cluster}:{_name(fact)}", kind, cluster, Said(fact), plan.reserved[fact])
    for kind, items in plan.asked.items():
        for cluster, said in items:
            way = "reversed" if said.reverse else "forward"
            yield asker.question(f"{kind}:{cluster}:{way}:{_name(said.fact)}", kind, cluster, said, draws.below(len(asker.voice.wordings(said))))


class Asker:
    """Makes questions of what is said."""

    def __init__(self, plan: Plan, stated: dict[Said, str], company: Company, draws: Draws) -> None:
        self.plan, self.stated, self.company, self.draws = plan, stated, company, draws
        self.voice = Voice()

    def question(self, id: str, kind: str, cluster: str, said: Said, wording: int) -> Question:
        """`said` in `wording` with its last word asked for. Of latent kinds only what no document says is right; of the others all that is true."""
        fact, reverse = said
        true = self.plan.world.fillers(fact, reverse=reverse)
        latent = KINDS[kind].get("latent", False)
        others = [word for word in true if word != said.asked and not (latent and Said(_with(fact, word, reverse), reverse) in self.stated)]
        choices = tuple(self.draws.shuffle((said.asked, *self.wrong(said))))
        support = tuple(dict.fromkeys(self.stated[Said(premise)] for premise in self.plan.world.proof(fact)))
        prompt = self.voice.prompt(said, wording)
        return one_right(Question(id, kind, prompt, (said.asked, *others), cluster, support, choices, answer_words=1), true)

    def wrong(self, said: Said) -> list[str]:
        """The wrong candidates for `said`: of those that are as near as the answer any, then the nearest."""
        wanted = self.plan.spec.options - 1
        pool = self.draws.shuffle(self.plan.wrong(said))
        if self.plan.spec.distractors == "any":
            return pool[:wanted]
        together = self.company.of(said.fact.object if said.reverse else said.fact.subject)
        pool.sort(key=lambda word: -min(together[word], together[said.asked]))
        return pool[:wanted]


def _with(fact: Fact, word: str, reverse: bool) -> Fact:
    return fact._replace(subject=word) if reverse else fact._replace(object=word)


KINDS: dict[str, dict[str, Any]] = {
    "rephrase_category": {"description": "a stated kind-of fact, forward, in a wording that it was never stated in"},
    "rephrase_property": {"description": "a stated property, forward, in a wording that it was never stated in"},
    "rephrase_relation": {"description": "a stated relation, forward, in a wording that it was never stated in"},
    "syllogism_premises": {"description": "the two stated facts behind a syllogism, as rephrasings"},
    "deduction_premises": {"description": "the three or more stated facts behind a deduction, as rephrasings"},
    "holdout_parent": {"description": "the parent of a held-out category, all that is stated of it, as a rephrasing"},
    "reversal_category": {"description": "X are a type of Y: what do Y include?", "latent": True, "beside": "rephrase_category"},
    "reversal_property": {"description": "X can, have or are Y: who can, has or is Y?", "latent": True, "beside": "rephrase_property"},
    "reversal_relation": {"description": "X do something to Y: who does it to Y?", "latent": True, "beside": "rephrase_relation"},
    "syllogism": {"description": "X are a type of Y, and Y have a property or relation: X have it", "latent": True, "beside": "syllogism_premises"},
    "deduction": {"description": "the same over two or more steps up the hierarchy", "latent": True, "beside": "deduction_premises"},
    "holdout": {"description": "whatever follows for a category of which only the parent is stated", "latent": True, "beside": "holdout_parent"},
}
