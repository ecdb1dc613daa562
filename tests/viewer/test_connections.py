"""The viewer's server on a real socket: connections that bring no request cannot keep others out."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn

from muser.store.file.database import Store
from muser.viewer import connections
from muser.viewer.app import build_app
from muser.viewer.connections import MOST, BoundedProtocol

TOKEN = "a-token-for-tests"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with Store.open(tmp_path / "muser.db") as store, socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        app = build_app(store, token=TOKEN, hosts={f"127.0.0.1:{port}"})
        server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield port
        server.should_exit = True
        thread.join()


def connect(port: int, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))


def is_let_in(one: socket.socket, port: int) -> bool:
    one.sendall(f"GET /?token={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return one.recv(12) == b"HTTP/1.1 303"


def is_closed(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True  # what it had begun to send was never read


def test_300_idle_connections_keep_nobody_out_and_most_of_them_are_closed(port: int) -> None:
    with ExitStack() as stack:
        idle = [connect(port, stack) for _ in range(300)]
        for one in idle[::2]:
            one.sendall(b"GET / HT")
        assert is_let_in(connect(port, stack), port)
        assert all(is_closed(one) for one in idle[: 300 - MOST]), "the oldest"


def test_a_connection_that_brings_no_request_is_closed_after_a_while(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.1)
    with ExitStack() as stack:
        silent, slow, used = (connect(port, stack) for _ in range(3))
        slow.sendall(b"GET / HT")
        assert is_let_in(used, port)
        assert is_closed(silent)
        assert is_closed(slow)
        while used.recv(4096):
            pass
