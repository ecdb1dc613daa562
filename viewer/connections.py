"""Limits of the viewer's server: how many connections it keeps, and how long one may stay idle."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 64
"""Connections at a time; a browser opens six. One more closes the connection that has been idle longest."""

PATIENCE = 10.0
"""Seconds that a connection may stay idle before its first request and between requests."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with bounded idle connections; uvicorn's keep-alive timeout only starts after a first response."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        self.patience = self.loop.call_later(PATIENCE, self.close_if_idle)
        idle = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self and one.is_idle]
        if len(self.connections) > MOST and idle:
            min(idle, key=lambda one: one.since).close_if_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self.patience.cancel()
        self.since = self.loop.time()
        self.patience = self.loop.call_later(PATIENCE, self.close_if_idle)
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """No request is waiting for its response."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def close_if_idle(self) -> None:
        """Closes the connection unless it serves a request; the browser opens another one when needed."""
        if self.is_idle:
            self.connections.discard(self)
            self.transport.close()
