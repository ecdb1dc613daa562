"""Requires a key for every page of a vLLM that muser starts; passed to vLLM as --middleware.

vLLM's own key protects /v1 and little else: without a key, /invocations generates text, /adapters loads weights from
any path, and /tokenize and /metrics respond. Only /health stays open, which reveals nothing.
"""

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class KeyAuth:
    """ASGI middleware that passes only requests with the key from VLLM_API_KEY."""

    def __init__(self, app: App) -> None:
        self._app, self._expected = app, f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Responds 401 to HTTP requests without the key, and closes WebSocket connections without it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == "/health" or self._has_key(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _has_key(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(b"authorization", b"")
        # In constant time, so that response times do not reveal the key.
        return hmac.compare_digest(given, self._expected)
