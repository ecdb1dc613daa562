"""Access control: every request needs the token, a known Host and no foreign Origin.

A browser that opens the address with its token gets a cookie for it, as Jupyter does. The Host check stops DNS
rebinding; the Origin check and a second token stop forms on other sites (CSRF).
"""

import hmac
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer, browsers send the origin "null" with our own forms (Fetch standard, "append a request Origin").
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ASK = "This page needs a token: open the address that `muser view` printed."
SAFE = {"GET", "HEAD"}


class AccessMiddleware:
    """Rejects requests without the token; `hosts` are the host:port names that the server answers to."""

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str]) -> None:
        self.app, self.token, self.hosts = app, token, frozenset(hosts)
        # Cookies are not separated by port (RFC 6265, section 8.5), so each server's cookie has a name of its own.
        self.cookie = "muser-" + hmac.new(token.encode(), b"name", "sha256").hexdigest()[:12]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, is_change = Headers(scope=scope), scope["method"] not in SAFE
        if headers.get("host", "").lower() not in self.hosts:
            return PlainTextResponse("Unknown host name for this server.", 421)
        origin = headers.get("origin")
        if (origin is not None or is_change) and origin not in {f"http://{host}" for host in self.hosts}:
            return PlainTextResponse("Cross-site request refused.", 403)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and not is_change:
            return self._let_in(scope, given, [(name, value) for name, value in query if name != "token"])
        if not _equal(_cookies(headers).get(self.cookie, ""), self.token):
            return PlainTextResponse(ASK, 403)
        return None

    def _let_in(self, scope: Scope, given: str, rest: list[tuple[str, str]]) -> Response:
        if not _equal(given, self.token):
            return PlainTextResponse(ASK, 403)
        # One leading slash only: "//host" would redirect to another host.
        path = "/" + quote(scope["path"].lstrip("/\\"))
        response = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
        # "strict" would withhold it from this redirect when the browser came from a file. "lax" also sends it with
        # links on other sites, but those only read: a change needs our Origin and the form's token.
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="lax", path="/")
        return response


def form_token(token: str) -> str:
    """The token of a form, derived from the server's token, which no page contains."""
    return hmac.new(token.encode(), b"form", "sha256").hexdigest()


def is_form_token(given: str, token: str) -> bool:
    """Whether a form came from one of our pages."""
    return _equal(given, form_token(token))


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}
