"""What every request passes before anything else sees it: who may ask, from where; and the headers that every answer carries."""

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tolman.app._chat import Refusal

OPEN = ("/", "/health")
"""Paths that need no token: the page (which holds nothing of the documents) and the sign of life."""
HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class Gate:
    """Lets a request through to `app` if it carries the token (where there is one), and if no web page of another site sent it.

    `local`: the server listens on loopback only. Then a Host that is no loopback name is a foreign name that was made to point here (DNS rebinding), by which a page
    elsewhere could read the answers.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, local: bool, policy: str) -> None:
        self.app, self.token, self.local = app, token, local
        self.headers = HEADERS | {"Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            self.judge(scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            return await refused(refusal)(scope, receive, with_headers)
        await self.app(scope, receive, with_headers)

    def judge(self, path: str, headers: Mapping[str, str]) -> None:
        """Raises Refusal (401, 403) for a request that may not pass."""
        host = headers.get("host", "")
        if self.local and not is_loopback(_name(host)):
            raise Refusal(403, "foreign_host", f"this server answers to localhost only, not to {host[:100]!r}")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refusal(403, "foreign_origin", f"pages of {origin[:100]!r} may not ask here")
        if self.token is not None and path not in OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # bytes: compare_digest takes no other characters than ASCII in strings; headers are latin-1
            right = hmac.compare_digest(given.strip().encode("latin-1"), self.token.encode())
            if scheme.lower() != "bearer" or not right:
                raise Refusal(401, "invalid_token", "this server asks for its token, as the header `Authorization: Bearer TOKEN` (clients call it the API key)")


def refused(refusal: Refusal) -> Any:
    """The response that says so."""
    return JSONResponse(refusal.body(), refusal.status, refusal.headers())


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine only."""
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
