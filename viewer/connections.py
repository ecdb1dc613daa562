"""How many connections the viewer's server keeps, and for how long one may stay silent."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 64
"""Connections at a time: a browser opens six. One more closes the oldest that has no request."""

PATIENCE = 10.0
"""Seconds in which a connection has to bring its first request, and each next one."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 in which idle connections cannot use up the server; uvicorn alone waits for a first request forever."""

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
        """Has no request whose response is still to be given."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def close_if_idle(self) -> None:
        """The browser opens another one when it needs it."""
        if self.is_idle:
            self.connections.discard(self)
            self.transport.close()
