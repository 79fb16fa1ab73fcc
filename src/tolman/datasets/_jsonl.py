"""Published training data: JSON lines of {"prompt", "completion"}, read with complaints that name the file and the line."""

import json
from pathlib import Path
from typing import NamedTuple

from tolman.core.errors import UserError


class Row(NamedTuple):
    """A row of a file: a text in two parts. `line` counts from 1."""

    prompt: str
    completion: str
    file: Path
    line: int

    @property
    def text(self) -> str:
        """Both parts as one text, with one space between them."""
        return f"{self.prompt.strip()} {self.completion.strip()}"

    def complaint(self, message: str) -> UserError:
        """A UserError that names this row."""
        return UserError(f"{self.file}, line {self.line}: {message}")


def read_rows(file: Path, rows: int | None = None) -> list[Row]:
    """The rows of `file`, which must be `rows` in number (None: any). Raises UserError for a file that is missing, truncated or of another shape."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}, line {file.read_bytes()[: error.start].count(10) + 1}: this is no UTF-8 text") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}); it must be a file of JSON lines with 'prompt' and 'completion'") from error
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    found = [_row(line, file, number) for number, line in enumerate(lines, start=1)]
    if not found:
        raise UserError(f"{file} is empty; it must hold JSON lines with 'prompt' and 'completion'")
    if rows is not None and len(found) != rows:
        raise UserError(f"{file} ends at line {len(found)}, but the published file has {rows} lines")
    return found


def _row(line: str, file: Path, number: int) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}, line {number}: this is no JSON ({getattr(error, 'msg', error)}); is the file truncated?") from error
    found = [value.get(key) for key in ("prompt", "completion")] if isinstance(value, dict) else []
    parts = [part for part in found if isinstance(part, str) and part.strip()]
    if len(parts) < 2:
        held = f"an object with {', '.join(map(repr, value)) or 'nothing'}" if isinstance(value, dict) else f"a {type(value).__name__}"
        raise UserError(f"{file}, line {number}: this is {held}, not an object with the texts 'prompt' and 'completion'")
    if any("\ud800" <= c <= "\udfff" for part in parts for c in part):
        raise UserError(f"{file}, line {number}: this holds half of a UTF-16 pair, which is no character")
    return Row(value["prompt"], value["completion"], file, number)
