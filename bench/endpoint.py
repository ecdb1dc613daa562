"""A bare, fast OpenAI-compatible endpoint in a process of its own: what is measured against it is the client.

Not the simulated endpoint: it has no script, no faults and no roles. Every reply is 1,200 characters; a reply to a
schema is a critique. `fast_endpoint(latency)` starts one and yields its base_url. With `distinct` every reply is a new
text of 1,300 to 2,000 characters, so that the six calls of a sample say 10 KB that nobody said before. With a
`certificate` (`make_certificate`) it speaks TLS.
"""

import asyncio
import json
import multiprocessing
import random
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web

ANSWER = ("Rest, drink water, and tell us since when it hurts and what you take. " * 18)[:1200]
CRITIQUE = json.dumps({"rationale": ("We should ask since when it hurts. " * 30)[:1000], "verdict": "revise"})


def _body(text: str) -> bytes:
    message = {"role": "assistant", "content": text, "reasoning": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 700, "completion_tokens": 250, "total_tokens": 950}
    whole = {"id": "x", "object": "chat.completion", "created": 0, "model": "fast", "choices": [choice], "usage": usage}
    return json.dumps(whole).encode()


WORDS = [
    f"{a}{b}" for a in ("fe", "pa", "do", "re", "li", "co", "tri") for b in ("ver", "in", "se", "st", "quid", "al")
]


def _distinct(is_critique: bool) -> bytes:
    text = " ".join(random.choices(WORDS, k=random.randint(230, 350)))
    return _body(json.dumps({"rationale": text, "verdict": "revise"}) if is_critique else text)


def make_certificate(folder: Path) -> Path:
    """A file with a self-signed certificate of 127.0.0.1 and its key, by openssl."""
    key, file = folder / "key.pem", folder / "certificate.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", str(file)]
    subprocess.run(["openssl", "req", "-x509", *new_key, *named], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def _serve(latency: float, distinct: bool, certificate: Path | None, ready: Connection) -> None:
    answer, critique = _body(ANSWER), _body(CRITIQUE)

    async def complete(request: web.Request) -> web.Response:
        is_critique = b'"response_format"' in await request.read()
        if latency:
            await asyncio.sleep(latency)
        body = _distinct(is_critique) if distinct else critique if is_critique else answer
        return web.Response(body=body, content_type="application/json")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fast", "object": "model"}]})

    async def main() -> None:
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        secure = None
        if certificate:
            secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            secure.load_cert_chain(certificate)
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096, ssl_context=secure).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def fast_endpoint(latency: float = 0.0, *, distinct: bool = False, certificate: Path | None = None) -> Iterator[str]:
    """The base_url of an endpoint that takes `latency` seconds a call."""
    here, there = multiprocessing.Pipe()
    given = (latency, distinct, certificate, there)
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=given, daemon=True)
    server.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{here.recv()}/v1"
    finally:
        server.kill()
        server.join()


# Spawned children import this file by its name.
sys.path.insert(0, str(Path(__file__).parent))
