"""Fixtures that every folder's tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from anyio.from_thread import start_blocking_portal

from muser.endpoints.simulated.server import simulated_endpoint


@pytest.fixture
def simulate() -> Iterator[Callable[..., str]]:
    """Starts a simulated endpoint in a thread of its own: options → base_url."""
    with start_blocking_portal() as portal, ExitStack() as running:
        yield lambda **options: running.enter_context(portal.wrap_async_context_manager(simulated_endpoint(**options)))


@pytest.fixture
def simulated(simulate: Callable[..., str]) -> str:
    """The base_url of a simulated endpoint without faults."""
    return simulate()
