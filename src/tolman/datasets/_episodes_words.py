"""The words of `episodes`: names, relations and wordings, each parted into those of practice and those of tests. No other benchmark uses any of them (a test).

A wording ends where its answer follows. {a} and {b} are the two ends of a fact; a relation's own words stand in the other braces.
"""

from functools import cache
from itertools import product
from typing import Literal, NamedTuple

from tolman.datasets._asking import Draws

Split = Literal["practice", "test"]


class Wordings(NamedTuple):
    """How a relation from a to b is told and asked: towards b or towards a, and the phrases that stand for one end where the other is known."""

    to_b: tuple[str, ...]
    to_a: tuple[str, ...]
    ask_b: tuple[str, ...]
    ask_a: tuple[str, ...]
    the_b: str = ""
    the_a: str = ""

    def of(self, words: dict[str, str]) -> "Wordings":
        """With a relation's own words in place."""

        def put(text: str) -> str:
            for name, word in words.items():
                text = text.replace("{" + name + "}", word)
            return text

        return Wordings(*(put(part) if isinstance(part, str) else tuple(map(put, part)) for part in self))  # type: ignore[arg-type]


# -- relations -----------------------------------------------------------------------------------------------------------------------------------------

VERBS: dict[Split, str] = {
    "practice": """mentor mentors mentored mentor, tutor tutors tutored tutor, admire admires admired admirer, employ employs employed employer,
        imitate imitates imitated imitator, defend defends defended defender, rescue rescues rescued rescuer, interview interviews interviewed interviewer,
        supervise supervises supervised supervisor, coach coaches coached coach, accompany accompanies accompanied companion, sponsor sponsors sponsored sponsor,
        challenge challenges challenged challenger, finance finances financed financier, invite invites invited host, nurse nurses nursed nurse,
        photograph photographs photographed photographer, follow follows followed follower, advise advises advised adviser, outshine outshines outshined rival,
        rival rivals rivaled opponent, chauffeur chauffeurs chauffeured driver, translate translates translated translator, inspire inspires inspired muse""",
    "test": """assist assists assisted assistant, escort escorts escorted escort, betray betrays betrayed betrayer, represent represents represented agent,
        shelter shelters sheltered protector, chaperone chaperones chaperoned chaperone, pester pesters pestered pest, audit audits audited auditor,
        tailor tailors tailored tailor, blackmail blackmails blackmailed blackmailer""",
}  # fmt: skip
"""Between people, a to b: infinitive, present, participle, and what a is to b."""

VERB_WORDINGS: dict[Split, Wordings] = {
    "practice": Wordings(
        ("{a} {v3}", "The one {pp} by {a} is", "{a} is the {agent} of", "The person that {a} {v3} is"),
        ("{b} is {pp} by", "The one who {v3} {b} is", "The {agent} of {b} is", "The person that {v3} {b} is"),
        ("Whom does {a} {v}?", "Who is {pp} by {a}?"), ("Who {v3} {b}?", "By whom is {b} {pp}?"),
        "the one {pp} by {a}", "the one who {v3} {b}",
    ),
    "test": Wordings(
        ("{a} has {pp}", "{a} acts as {agent} to", "Whoever {a} {v3}, it must be"),
        ("{b} has been {pp} by", "Acting as {agent} to {b} is", "Whoever {v3} {b}, it must be"),
        ("To whom does {a} act as {agent}?", "Whom has {a} {pp}?"), ("Who acts as {agent} to {b}?", "Who has {pp} {b}?"),
        "the person whom {a} has {pp}", "the person who has {pp} {b}",
    ),
}  # fmt: skip

NOUNS: dict[Split, str] = {
    "practice": """emblem patron password instrument mascot remedy landlord accountant roommate caterer pseudonym hobby favorite specialty vehicle dentist
        headquarters wardrobe melody medal cousin nemesis""",
    "test": "antidote steward deputy talisman dialect godparent signature confidant",
}
"""What b is to a."""

NOUN_WORDINGS: dict[Split, Wordings] = {
    "practice": Wordings(
        ("The {n} of {a} is", "{a} has as {n}", "As {n}, {a} chose"), ("{b} is the {n} of", "The one with {b} as {n} is", "{b} serves as {n} for"),
        ("What is the {n} of {a}?", "What did {a} choose as {n}?"), ("Whose {n} is {b}?", "For whom does {b} serve as {n}?"),
        "the {n} of {a}", "the one with {b} as {n}",
    ),
    "test": Wordings(
        ("For {a} the {n} would be", "{a} picked, for {n},"), ("{b} became {n} to", "The {n} {b} belongs to"),
        ("Which {n} did {a} pick?",), ("Who picked {b} for {n}?",), "the {n} picked by {a}", "the owner who picked {b} for {n}",
    ),
}  # fmt: skip

TITLES: dict[Split, tuple[Wordings, ...]] = {
    "practice": (
        Wordings(("In short, {a} is", "{a} makes a living as", "We greet {a} as"), ("Making a living as {b} is", "Ask for {b} and you will find", "In short, {b} is"),
                 ("How does {a} make a living?",), ("Who makes a living as {b}?",), "", "the one who is {b}"),
        Wordings(("By {a} we mean", "{a} denotes"), ("What we mean by the word for {b} is", "{b} is denoted by"), ("What does {a} denote?",), ("What denotes {b}?",)),
        Wordings(("{a} signs letters with", "The passport describes {a} as"), ("Letters from {b} are written by", "The passport of {b} was issued to"),
                 ("With what does {a} sign letters?",), ("Who signs letters with {b}?",)),
        Wordings(("Shake hands with {a},", "If {a} is here, so is", "The visitor {a} introduced himself as"),
                 ("Shake hands with {b}, in other words", "Elected as {b},", "A letter meant for {b} went to"),
                 ("As what was {a} introduced?",), ("Who is meant by {b}?",), "", "the one introduced as {b}"),
        Wordings(("A plaque commemorates {a},", "Nobody confuses {a} with anyone else: this is"), ("Nobody but {b} may call himself", "A plaque for {b} names"),
                 ("Who was {a}?",), ("Whom does the plaque for {b} name?",)),
    ),
    "test": (
        Wordings(("The payroll lists {a} as", "{a} took up the post of"), ("The post of {b} was taken up by", "Listed on the payroll as {b}, we find"),
                 ("As what does the payroll list {a}?",), ("Who took up the post of {b}?",), "", "the holder of the post of {b}"),
    ),
}  # fmt: skip
"""Between a name and a description."""

CLASSES: dict[Split, tuple[Wordings, ...]] = {
    "practice": (
        Wordings(("{a} form a branch of the", "We class {a} under", "Every one of the {a} is among the"),
                 ("A branch of the {b} is formed by", "Under {b} we class", "Listed among the {b} one sees"),
                 ("Of what do {a} form a branch?", "Under what do we class {a}?"), ("What forms a branch of {b}?", "What do we class under {b}?")),
        Wordings(("{a} never go without", "Each of the {a} carries"), ("Going without {b} never happens to", "Each carrier of {b} is one of the"),
                 ("What do {a} carry?",), ("What carries {b}?", "Which of them never go without {b}?")),
        Wordings(("Nothing pleases {a} more than to", "{a} spend the night trying to"), ("Trying to {b} at night is the habit of", "To {b} pleases the"),
                 ("What pleases {a} most?",), ("Whom does it please to {b}?",)),
        Wordings(("Seen from afar, {a} appear", "By nature {a} stay"), ("Staying {b} is in the nature of", "Appearing {b} from afar, one spots"),
                 ("How do {a} appear from afar?",), ("Which of them stay {b}?",)),
        Wordings(("{a} depend upon", "{a} migrate towards"), ("{b} are what is needed by", "Towards {b} migrate"), ("On what do {a} depend?",), ("What depends on {b}?",)),
    ),
    "test": (
        Wordings(("{a} rank as a subgroup of", "Biologists file {a} with the"), ("Filed by biologists with the {b}:", "A subgroup of {b} bears the label"),
                 ("With what do biologists file {a}?",), ("Which subgroup do {b} have?",)),
        Wordings(("In their nests {a} store", "{a} hoard"), ("Hoarders of {b} are the", "{b} are stored in the nests of"), ("What do {a} hoard?",), ("What hoards {b}?",)),
        Wordings(("{a} outnumber", "{a} evolved from"), ("{b} are outnumbered by", "{b} evolved into"), ("What do {a} outnumber?",), ("What outnumbers {b}?",)),
    ),
}  # fmt: skip
"""Between nonsense nouns, both ends in the plural."""

POLES: dict[Split, str] = {
    "practice": """sweeter sourer, cleaner dirtier, closer farther, happier sadder, fuller emptier, braver shyer, sharper blunter, drier wetter, busier idler, tidier messier,
        calmer wilder, bigger smaller, higher lower, earlier later, nobler baser, fresher staler, more generous/less generous, more honest/less honest,
        more elegant/less elegant, more stable/less stable, more fertile/less fertile, more popular/less popular, more ambitious/less ambitious""",
    "test": "kinder crueler, plainer fancier, sturdier frailer, loftier humbler, more talkative/less talkative, more durable/less durable, more punctual/less punctual",
}  # fmt: skip
"""Comparisons and their opposites."""

COMPARED: dict[Split, tuple[str, ...]] = {
    "practice": ("{a} is said to be", "{a} looks", "Next to each other, {a} seems", "{a} turned out"),
    "test": ("{a} proved to be", "On closer inspection {a} was found"),
}
"""What stands before `sweeter than {b}`."""

CLAIMS: dict[Split, tuple[dict[str, str], ...]] = {
    "practice": (
        {"all": "every {s} is a {o}", "some": "some {s} is a {o}", "no": "no {s} is a {o}"},
        {"all": "each {s} must be a {o}", "some": "one {s} or another is a {o}", "no": "never is a {s} a {o}"},
        {"all": "the {s} are without exception {o}", "some": "the {s} are in part {o}", "no": "the {s} are in no case {o}"},
    ),
    "test": (
        {"all": "any {s} counts as a {o}", "some": "at least one {s} counts as a {o}", "no": "not one {s} counts as a {o}"},
        {"all": "being a {s} means being a {o}", "some": "being a {s} allows being a {o}", "no": "being a {s} excludes being a {o}"},
    ),
}
CONCLUDING: dict[Split, tuple[str, ...]] = {
    "practice": ("What follows for {0} and {1}:", "We may conclude of {0} and {1} that", "So, for {0} and {1},"),
    "test": ("Hence it is certain of {0} and {1} that", "Putting {0} and {1} together,"),
}
LEAD_INS: dict[Split, tuple[str, ...]] = {
    "practice": (
        "Reportedly,",
        "Mark this:",
        "As the records show,",
        "Please memorize:",
        "Rumor says that",
        "According to my notes,",
        "To be clear,",
        "Let me add that",
    ),
    "test": ("By all accounts", "The register says:", "For the record,", "It was confirmed that"),
}
HEADINGS: dict[Split, tuple[str, ...]] = {"practice": ("What we have so far:", "Entries", "Summary of the files:", "Minutes"), "test": ("Ledger", "Findings:")}
TAILS: dict[Split, tuple[str, ...]] = {
    "practice": (", as everyone knows", " since last year", ", or so we hear"),
    "test": (" to this day", ", without any doubt"),
}
FILLER = (
    "It rained for most of that week.", "Nobody asked any further questions.", "The rest of the page is blank.", "Later the lamps were put out.",
    "Tea was served at four.", "The minutes end here.", "All of this was checked twice.", "Some of the ink has faded.",
)  # fmt: skip


@cache
def verbs(split: Split) -> tuple[Wordings, ...]:
    rows = (row.split() for row in VERBS[split].split(","))
    return tuple(VERB_WORDINGS[split].of(dict(zip(("v", "v3", "pp", "agent"), row, strict=True))) for row in rows)


@cache
def nouns(split: Split) -> tuple[Wordings, ...]:
    return tuple(NOUN_WORDINGS[split].of({"n": word}) for word in NOUNS[split].split())


@cache
def poles(split: Split) -> tuple[tuple[str, str], ...]:
    pairs = (row.strip().split("/" if "/" in row else None) for row in POLES[split].split(","))
    return tuple((first, second) for first, second in pairs)


# -- names ---------------------------------------------------------------------------------------------------------------------------------------------

FIRST_NAMES = """
Adele Ahmed Aiko Alan Amelia Andre Anita Antonio Barbara Boris Brenda Carlos Carmen Cheng Chloe Daniel Deepak Diana Elena Emily Fatima Felix Frank Gina Hannah
Hassan Helena Igor Irene Jamal James Julia Karim Kevin Laura Leila Lucas Maria Martin Mei Miguel Nadia Naomi Oliver Omar Paula Peter Priya Rachel Raj Rosa Sam Sofia
Stella Tariq Theo Tomas Vera Victor Yasmin Yuki Zoe
"""
SURNAMES = (
    "Ash Brook Carl Dun Ever Fair Grim Hart Kings Lock Mill North Pres Red Sher Strat Wake West",
    "ard den er field ford ham ley man ridge son wood worth",
)
ADJECTIVES = "Amber Bitter Clever Dusty Eager Frozen Grand Humming Jolly Lonely Mighty Narrow Outer Purple Rusty Sleepy Twisted Upper Vivid Woolly"
OBJECTS = "Kettle Barrel Candle Dolphin Engine Falcon Goblet Helmet Igloo Jacket Kitten Ladle Magnet Needle Oven Pillow Quarry Rocket Saddle Teapot"
CALLINGS = """baker barber blacksmith bookseller butcher carpenter clerk cobbler farmer fisherman florist grocer guard judge lawyer librarian locksmith mason nurse
optician pharmacist plumber porter sculptor surgeon teacher undertaker veterinarian waiter zookeeper"""
MANNERS = "angry bald cautious deaf elderly clumsy grumpy honest impatient jealous meek lazy modest nervous polite retired shy tall unlucky wealthy"
HABITS = (
    "who keeps {0}", "who collects {0}", "who is afraid of {0}", "who dreams of {0}", "who never talks about {0}", "who sells {0}", "with a love of {0}", "in charge of {0}",
)  # fmt: skip
OWNED = (
    "owls maps bicycles walnuts kites trumpets cactuses stamps puppets goldfish marbles umbrellas lemons hammers drums ribbons buttons turtles violins pumpkins"
)


@cache
def pool(style: str, split: Split) -> tuple[str, ...]:
    """Every name of a style that the split may use: every third part of a name belongs to the tests."""
    surnames = [a + b for a, b in product(*(part.split() for part in SURNAMES))]
    parts = {
        "first": [FIRST_NAMES.split()],
        "full": [FIRST_NAMES.split(), surnames],
        "titled": [ADJECTIVES.split(), OBJECTS.split()],
        "invented": [[word.capitalize() for word in _closed()[::3]]],
        "noun": [_closed()[1::3]],
        "short": [_short()],
    }[style]
    mine = [[word for i, word in enumerate(words) if (i % 3 == 0) == (split == "test")] for words in parts]
    return tuple(" ".join(row) for row in product(*mine))


def descriptions(split: Split, draws: Draws, count: int) -> list[str]:
    """`count` different descriptions of people."""
    callings, manners, habits, owned = (
        [w for i, w in enumerate(of) if (i % 3 == 0) == (split == "test")] for of in (CALLINGS.split(), MANNERS.split(), HABITS, OWNED.split())
    )
    said = []
    for calling, thing in zip(draws.sample_few(callings, count), draws.sample(owned * 2, count), strict=True):
        manner = f"{draws.pick(manners)} " if draws.uniform() < 0.7 else ""
        said.append(f"the {manner}{calling}" + (f" {draws.pick(habits).format(thing)}" if draws.uniform() < 0.7 else ""))
    return said


@cache
def _closed() -> list[str]:
    """Two closed syllables: no other dataset has words of two vowels that end in such a consonant."""
    made = _syllables("b d f g k l m n p r t v z", "aeiou", "l m n r s", "b d g k m p t v", "aeio", "k n t x")
    return [word for word in made if word not in ("garden", "golden")]


@cache
def _short() -> list[str]:
    """One syllable that begins with three consonants."""
    return _syllables("shr spl spr scr str thr", "aeiou", "b ck ff lf lm lp mp nk nt rb rk rm rv sk sp t zz")


def _syllables(*parts: str) -> list[str]:
    return sorted("".join(row) for row in product(*(part.split() if " " in part else part for part in parts)))
