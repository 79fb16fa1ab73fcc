"""The chat page: one file, no network beside this server, its one script and one style allowed by their hashes."""

import base64
import hashlib
import re
from html import escape
from importlib.resources import files

POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(name: str) -> tuple[str, str]:
    """The page for the model called `name`, and the Content-Security-Policy under which it works."""
    style, script = _asset("chat.css"), _asset("chat.js")
    values = {"name": escape(name), "style": style, "script": script}
    # one pass, so that what a value holds is never taken for a name
    html = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _asset("chat.html"))
    return html, POLICY.format(script=_hash(script), style=_hash(style))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (files("tolman.app") / name).read_text("utf-8")
