"""One function for each format: a file as blocks, which are headings and paragraphs. Libraries are imported by the format that needs them."""

import codecs
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tolman.core.errors import UserError

MOST_UNPACKED_BYTES = 256 * 2**20
"""A docx is a zip file; one that holds more than this unpacked is left out."""
MOST_PAGES = 5000


class Block(NamedTuple):
    """A heading or a paragraph. Line breaks in it are spaces. A heading that is not `written` (a page's number) names a section, but is no part of the text."""

    text: str
    heading: bool = False
    written: bool = True


class Unreadable(Exception):
    """Why a file cannot be read, as the rest of a sentence that begins with its name."""


Notes = list[str]
"""What is worth knowing of a file that was read, each the rest of a sentence that begins with its name."""


def blocks(path: Path) -> tuple[list[Block], Notes]:
    """The blocks of the file at `path`. Raises Unreadable for a damaged file, UserError where a library is missing."""
    notes: Notes = []
    try:
        found = list(ENDINGS[path.suffix.lower()](path, notes))
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from error
    except ModuleNotFoundError as error:
        raise UserError(f"reading {path.suffix} needs the package {error.name}: pip install 'tolman[docs]'") from error
    return found, notes


def plain(path: Path, notes: Notes) -> Iterator[Block]:
    """Paragraphs end with an empty line; a file without empty lines has one in each line."""
    text = decoded(path, notes)
    yield from map(Block, re.split(r"\n\s*\n", text) if re.search(r"\n\s*\n", text.strip()) else text.split("\n"))


def markdown(path: Path, notes: Notes) -> Iterator[Block]:
    """CommonMark with tables, without its marks; HTML blocks and tags in it are left out."""
    from markdown_it import MarkdownIt

    heading = False
    for token in MarkdownIt("commonmark").enable("table").parse(_front_matter(decoded(path, notes))):
        if token.type in ("heading_open", "heading_close"):
            heading = token.type == "heading_open"
        elif token.type == "inline":
            yield Block("".join(_inline(token.children or [])), heading)
        elif token.type in ("fence", "code_block"):
            yield from map(Block, token.content.split("\n"))


def _front_matter(text: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.S)


def _inline(tokens: list[Any]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.type == "image":
            yield token.content  # its alternative text


def html(path: Path, notes: Notes) -> Iterator[Block]:
    """What a reader sees: no scripts, styles, navigation, or hidden elements."""
    from bs4 import BeautifulSoup
    from bs4.element import NavigableString, PreformattedString

    try:
        soup = BeautifulSoup(decoded(path, notes) + "\n", "html.parser")  # a text of one line could be a file name, it would warn
    except Exception as error:  # the parser's own assertions on broken markup
        raise Unreadable(f"is no HTML that can be parsed ({error})") from error
    for tag in soup.find_all(["script", "style", "template", "noscript", "nav", "head", "svg", "form", "iframe"]):
        tag.decompose()
    for tag in soup.find_all(lambda t: t.has_attr("hidden") or t.get("aria-hidden") == "true" or "display:none" in str(t.get("style", "")).replace(" ", "")):
        tag.decompose()
    inline = {"a", "abbr", "b", "bdi", "cite", "code", "em", "i", "mark", "q", "small", "span", "strong", "sub", "sup", "time", "u", "var"}
    pieces: list[str] = []
    pending: list[Any] = [soup]
    while pending:  # depth first without recursion: markup may be nested more deeply than Python's stack
        node = pending.pop()
        if isinstance(node, Block):
            yield Block("".join(pieces), node.heading)
            pieces = []
        elif isinstance(node, PreformattedString):
            continue  # comments, declarations
        elif isinstance(node, NavigableString):
            pieces.append(str(node))
        elif node.name in inline:
            pending.extend(reversed(node.contents))
        else:
            end = Block("", heading=bool(re.fullmatch("h[1-6]", node.name)))
            pending.extend([end, *reversed(node.contents), Block("")])
    yield Block("".join(pieces))


def pdf(path: Path, notes: Notes) -> Iterator[Block]:
    """A section for each page. Words that a line break divides are joined."""
    from pypdf import PdfReader

    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("is locked with a password")
        pages = len(reader.pages)
        texts = [reader.pages[i].extract_text() or "" for i in range(min(pages, MOST_PAGES))]
    except Unreadable:
        raise
    except Exception as error:  # pypdf raises many kinds on damaged files
        raise Unreadable(f"is no PDF that can be read ({type(error).__name__}: {error})") from error
    empty = [i + 1 for i, text in enumerate(texts) if not text.strip()]
    if len(empty) == len(texts):
        raise Unreadable(f"has {pages} page{'s' * (pages != 1)} without text; if it was scanned, run text recognition (OCR) on it first")
    if empty:
        notes.append(f"has no text on page {', '.join(map(str, empty))}")
    if pages > MOST_PAGES:
        notes.append(f"has {pages} pages, of which the first {MOST_PAGES} were read")
    for i, text in enumerate(texts):
        yield Block(f"page {i + 1}", heading=True, written=False)
        text = re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", text)
        for paragraph in re.split(r"\n\s*\n", text):
            yield from map(Block, _paragraphs(paragraph))


def _paragraphs(text: str) -> Iterator[str]:
    """Lines joined, but a line that is much shorter than the longest and ends a sentence ends a paragraph too."""
    lines = text.split("\n")
    full = 0.7 * max(map(len, lines))
    taken: list[str] = []
    for line in lines:
        taken.append(line)
        if len(line.rstrip()) < full and (line.rstrip()[-1:] in ".!?:" or len(taken) == 1):
            yield " ".join(taken)
            taken = []
    yield " ".join(taken)


def docx(path: Path, notes: Notes) -> Iterator[Block]:
    """Paragraphs and tables in order; paragraphs in a heading or title style are headings."""
    import docx as library
    from docx.table import Table

    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(part.file_size for part in archive.infolist())) > MOST_UNPACKED_BYTES:
                raise Unreadable(f"unpacks to {size / 2**20:.0f} MiB, more than the {MOST_UNPACKED_BYTES // 2**20} allowed")
        found = list(library.Document(str(path)).iter_inner_content())
        for item in found:
            if isinstance(item, Table):
                for row in item.rows:
                    yield Block(" | ".join(dict.fromkeys(cell.text for cell in row.cells)))
            else:
                style = (item.style.name or "") if item.style is not None else ""
                yield Block(item.text, heading=style.startswith(("Heading", "Title")))
    except Unreadable:
        raise
    except Exception as error:  # zipfile, lxml and python-docx each raise their own on damaged files
        raise Unreadable(f"is no Word document that can be read ({type(error).__name__}: {error})") from error


def jsonl(path: Path, notes: Notes) -> Iterator[Block]:
    """A section for each line: an object with `text`, with `messages` (each `role` and `content`), or with `prompt` and `completion`."""
    bad = []
    for number, line in enumerate(decoded(path, notes).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            texts = _record(json.loads(line))
        except (ValueError, RecursionError) as error:
            bad.append(f"line {number} ({getattr(error, 'msg', None) or error})")
            continue
        yield Block(f"line {number}", heading=True, written=False)
        for text in texts:
            yield from map(Block, text.split("\n"))
    if bad:
        notes.append(f"has {len(bad)} line{'s' * (len(bad) > 1)} that hold no document: {', '.join(bad)}")


def _record(value: Any) -> list[str]:
    """The texts of a line. Raises ValueError for one of another shape."""
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__}, not an object")
    if isinstance(value.get("text"), str):
        return [value["text"]]
    if isinstance(messages := value.get("messages"), list) and messages:
        if all(isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in messages):
            return [f"{m['role']}: {m['content']}" for m in messages]
        raise ValueError("a message without the texts 'role' and 'content'")
    if isinstance(value.get("prompt"), str) and isinstance(value.get("completion"), str):
        return [f"{value['prompt'].strip()} {value['completion'].strip()}"]
    raise ValueError("none of 'text', 'messages', 'prompt' and 'completion'")


def decoded(path: Path, notes: Notes) -> str:
    """The file's text: UTF-8, or UTF-16 with its mark, or what charset-normalizer takes it for. Raises Unreadable for binary data."""
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data:
        raise Unreadable("is binary, not text")
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best() if encoding != "utf-16" else None
        if best is None:
            raise Unreadable(f"is no text in any encoding known (as UTF-8 it fails at byte {error.start})") from error
        notes.append(f"is not UTF-8; it was read as {best.encoding}, so check its accents")
        text = str(best)
    return text.replace("\r\n", "\n").replace("\r", "\n")


ENDINGS: dict[str, Callable[[Path, Notes], Iterator[Block]]] = {
    ".txt": plain, ".text": plain, ".md": markdown, ".markdown": markdown, ".html": html, ".htm": html, ".pdf": pdf, ".docx": docx, ".jsonl": jsonl,
}  # fmt: skip
"""The endings that are read, and how."""
