"""endpoints/server/auth.py: nothing of a server's is open without its key, but for its health."""

from typing import Any

import pytest

from muser.endpoints.server.auth import KeyAuth

KEY = b"Bearer sesame"


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> KeyAuth:
    """Before an application that answers 200 to everything."""
    monkeypatch.setenv("VLLM_API_KEY", "sesame")

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})

    return KeyAuth(answer)


async def asked(auth: KeyAuth, path: str, *headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    """The first thing that is answered."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of the request is read")

    await auth({"type": kind, "path": path, "headers": list(headers)}, receive, send)
    first: dict[str, Any] = sent[0]
    return first


@pytest.mark.parametrize("path", ["/v1/models", "/v1/load_lora_adapter", "/invocations", "/adapters", "/metrics", "/"])
async def test_every_page_asks_for_the_key(auth: KeyAuth, path: str) -> None:
    assert (await asked(auth, path))["status"] == 401
    assert (await asked(auth, path, (b"authorization", b"Bearer other")))["status"] == 401
    assert (await asked(auth, path, (b"authorization", KEY)))["status"] == 200


async def test_health_is_open_and_a_websocket_is_not(auth: KeyAuth) -> None:
    assert (await asked(auth, "/health"))["status"] == 200
    assert (await asked(auth, "/v1/realtime", kind="websocket"))["type"] == "websocket.close"
