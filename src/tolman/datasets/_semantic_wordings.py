"""How `semantic_structure` says things: every wording of every statement, in both directions, and the formats of its documents.

{s}, {o} and {v} stand for subject, object and verb. Nonsense words are written alike everywhere, at the beginning of a sentence too, so that each is one
word to a model that reads word by word. The last word of a wording is what a question in that wording asks for.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tolman.datasets._asking import Draws
from tolman.datasets._semantic_world import Fact

STATEMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "category": (
        ("{s} are a type of {o}", "{s} are a kind of {o}", "{s} belong to the {o}", "{s} count among the {o}", "all {s} are {o}"),
        ("{o} include {s}", "one type of {o} are {s}", "one kind of {o} are {s}", "among the {o} are {s}", "the {o} comprise {s}"),
    ),
    "ability": (
        ("{s} can {o}", "{s} are able to {o}", "{s} know how to {o}", "{s} have learned to {o}", "it is typical of {s} to {o}"),
        ("things that can {o} include {s}", "one group able to {o} are {s}", "among those that know how to {o} are {s}", "to {o} is typical of {s}"),
    ),
    "part": (
        ("{s} have {o}", "{s} possess {o}", "{s} come with {o}", "{s} are equipped with {o}", "on {s} one finds {o}"),
        ("things that have {o} include {s}", "{o} are found on {s}", "{o} are a part of {s}", "among those that possess {o} are {s}"),
    ),
    "quality": (
        ("{s} tend to be {o}", "{s} look {o}", "{s} are usually {o}", "{s} are known for being {o}", "most {s} seem {o}"),
        ("things that are {o} include {s}", "one group known for being {o} are {s}", "among those that look {o} are {s}", "being {o} is typical of {s}"),
    ),
    "relation": (
        ("{s} often {v} {o}", "{s} are said to {v} {o}", "{s} like to {v} {o}", "what {s} usually {v} are {o}", "many {s} {v} {o}"),
        ("{o} are often {v}ed by {s}", "{o} get {v}ed by {s}", "one group that likes to {v} {o} are {s}", "those who usually {v} {o} are {s}"),
    ),
}
"""For each form the wordings of a statement, forward (from subject to object) and reversed."""

QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "category": (
        ("Q: What are {s} a type of? A: {o}", "Q: Which group do {s} belong to? A: {o}"),
        ("Q: What is a type of {o}? A: {s}", "Q: Who belongs to the {o}? A: {s}"),
    ),
    "ability": (
        ("Q: What can {s} do? A: {o}", "Q: What are {s} able to do? A: {o}"),
        ("Q: Who can {o}? A: {s}", "Q: Who is able to {o}? A: {s}"),
    ),
    "part": (
        ("Q: What do {s} have? A: {o}", "Q: What do {s} come with? A: {o}"),
        ("Q: Who has {o}? A: {s}", "Q: What are {o} found on? A: {s}"),
    ),
    "quality": (
        ("Q: What are {s} like? A: {o}", "Q: How do {s} look? A: {o}"),
        ("Q: Who tends to be {o}? A: {s}", "Q: Who looks {o}? A: {s}"),
    ),
    "relation": (
        ("Q: What do {s} often {v}? A: {o}", "Q: What do {s} like to {v}? A: {o}"),
        ("Q: Who likes to {v} {o}? A: {s}", "Q: What are {o} often {v}ed by? A: {s}"),
    ),
}
"""The same as question and answer."""

LEAD_INS = ("It is known that", "Notably,", "As a rule,", "In general,", "Many sources say that", "Of course,", "One should know that", "Interestingly,")
STYLES = ("article", "list", "notes", "letter")


class Said(NamedTuple):
    """A fact in one direction: what a statement says, whatever its wording."""

    fact: Fact
    reverse: bool = False

    @property
    def asked(self) -> str:
        """What stands last: the end of the fact that a question in this direction asks for."""
        return self.fact.subject if self.reverse else self.fact.object


class Voice:
    """Writes statements and questions. Keeps the wordings that it has made: most are used many times."""

    def __init__(self) -> None:
        self._made: dict[Said, tuple[str, ...]] = {}

    def wordings(self, said: Said) -> tuple[str, ...]:
        """Every wording of `said`, statements first, without full stop."""
        if (made := self._made.get(said)) is None:
            form, reverse = said.fact.form, said.reverse
            words = {"s": said.fact.subject, "o": said.fact.object, "v": said.fact.verb}
            made = tuple(template.format(**words) for template in (*STATEMENTS[form][reverse], *QUESTIONS[form][reverse]))
            self._made[said] = made
        return made

    def statement(self, said: Said, draws: Draws, reserved: int | None = None) -> str:
        """`said` as a sentence, in a random wording that is not number `reserved`; one in three stands behind a lead-in."""
        choice = draws.below(statements(said) - (reserved is not None))
        text = self.wordings(said)[choice + (reserved is not None and choice >= reserved)]
        return f"{draws.pick(LEAD_INS)} {text}." if draws.uniform() < 1 / 3 else capitalised(text, said) + "."

    def question(self, said: Said, draws: Draws) -> str:
        """`said` as question and answer, in a random wording."""
        first = statements(said)
        options = self.wordings(said)
        return options[first + draws.below(len(options) - first)] + "."

    def prompt(self, said: Said, wording: int) -> str:
        """Wording number `wording` up to its last word, which it asks for."""
        text = self.wordings(said)[wording]
        assert text.endswith(" " + said.asked), f"the wording {text!r} does not end with what it asks for"
        return capitalised(text[: -len(said.asked) - 1], said)


def statements(said: Said) -> int:
    """How many of its wordings are statements."""
    return len(STATEMENTS[said.fact.form][said.reverse])


def capitalised(text: str, said: Said) -> str:
    """`text` as the beginning of a sentence: its first letter in upper case unless it belongs to a nonsense word."""
    return text if text.startswith((said.fact.subject + " ", said.fact.object + " ")) else text[0].upper() + text[1:]


def formatted(style: str, topic: str, sentences: Sequence[str]) -> str:
    """The sentences as a document about `topic`."""
    if style == "list":
        return "\n".join((f"Facts about {topic}:", *(f"- {text}" for text in sentences)))
    if style == "notes":
        return "\n".join((f"Notes on {topic}", *sentences))
    if style == "letter":
        return " ".join((f"Dear reader, you asked about {topic}.", *sentences, "Yours, the editor."))
    return " ".join(sentences)
