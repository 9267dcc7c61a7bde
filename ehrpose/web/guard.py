"""What every request passes before the application: host, sender, token; and the headers of every answer.

Cross-site requests: https://www.w3.org/TR/fetch-metadata/ and the Origin header, RFC 6454. Tokens: RFC 6750.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ehrpose.web.limits import Limits

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
# Allows every host name that is an address: pages of other sites can only send names that they own (DNS rebinding).
ANY_ADDRESS = "addresses"
# The page needs its own files, images that it creates itself, and the camera.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """ASGI middleware.

    Args:
        app: The application.
        hosts: Host names that are answered; ``ANY_ADDRESS`` stands for all addresses.
        token: What a request must have in its header ``Authorization: Bearer``, except for the page and its files.
        limits: ``linger_s`` and ``pause_s`` are used.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str | None, limits: Limits):
        self.app, self.limits = app, limits
        self.hosts = {host.lower().strip("[]") for host in hosts}
        self.token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(scope, receive)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not body.has_ended:
                    headers["Connection"] = "close"
            elif not message.get("more_body", False) and not body.has_ended:
                # Closed with bytes unread, the connection would be reset, and the sender might never see the answer.
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    await body.drain(self.limits)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        app = self._refusal(scope) or self.app
        await app(scope, body.receive, sending)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_allowed(host_name(host)):
            return _error(
                400, "this server does not answer to that host name; its owner can allow it with `allow_host`"
            )
        if scope["method"] not in _READING and not _is_same_site(headers, host):
            return _error(403, "refused: the request was sent by a page of another site")
        if self.token is not None and not _is_open(scope["path"]):
            kind, _, given = headers.get("authorization", "").partition(" ")
            matches = hmac.compare_digest(given.strip().encode("latin-1"), self.token)
            if kind.lower() != "bearer" or not matches:
                message = "this server needs a token: send it in the header Authorization: Bearer"
                return _error(401, message, {"WWW-Authenticate": "Bearer"})
        return None

    def _is_allowed(self, name: str) -> bool:
        return name in self.hosts or (ANY_ADDRESS in self.hosts and _is_address(name))


class _Body:
    """The messages of a request's body, and whether its end was among them."""

    def __init__(self, scope: Scope, receive: Receive):
        headers = Headers(scope=scope)
        self._receive = receive
        self.has_ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.has_ended = True
        return message

    async def drain(self, limits: Limits) -> None:
        """Read and drop what still comes, for ``linger_s`` at most, and while it comes without long pauses."""
        with anyio.move_on_after(limits.linger_s):
            while not self.has_ended:
                with anyio.fail_after(limits.pause_s):
                    await self.receive()


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without port and brackets, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_site(headers: Headers, host: str) -> bool:
    """Whether a request comes from the page itself, or from a program that is not a browser."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    # The scheme is not compared: behind a proxy that encrypts, this server does not know it.
    return origin is None or urlsplit(origin).netloc.lower() == host.strip().lower()


def _is_open(path: str) -> bool:
    """Whether a path needs no token: the page, which asks for it, its files, and the state."""
    return path in ("/", "/api/health") or path.startswith("/static/")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": message}, status, headers)
