"""A minimal OpenAI-compatible endpoint in a process of its own, so that its CPU time is not counted as the client's.

Unlike the simulated endpoint it has no script, faults or roles. A reply is 1,200 characters, a critique if the request
has a schema, or a grade if it comes from a judge. With `distinct`, every reply but a grade is a new text of 1,300 to
2,000 characters: about 10 KB per sample, none of which the store can share. With a `certificate` (`make_certificate`)
it serves HTTPS.
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

WORDS = [
    f"{a}{b}" for a in ("fe", "pa", "do", "re", "li", "co", "tri") for b in ("ver", "in", "se", "st", "quid", "al")
]


def _text(rng: random.Random, words: int) -> str:
    # Random words, because muser refuses a reply that repeats its own passages.
    return " ".join(rng.choices(WORDS, k=words))


def _critique(rationale: str) -> str:
    return json.dumps({"rationale": rationale, "verdict": "revise"})


ANSWER = _text(random.Random(1), 300)[:1200]
CRITIQUE = _critique(_text(random.Random(2), 250)[:1000])
GRADE = json.dumps({"explanation": _text(random.Random(3), 40), "criteria_met": True})


def _body(text: str) -> bytes:
    message = {"role": "assistant", "content": text, "reasoning": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 700, "completion_tokens": 250, "total_tokens": 950}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "fast", "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def _distinct(is_critique: bool) -> bytes:
    rng = random.Random()
    text = _text(rng, rng.randint(230, 350))
    return _body(_critique(text) if is_critique else text)


def make_certificate(folder: Path) -> Path:
    """Makes a self-signed certificate for 127.0.0.1 with openssl; returns the file with it and its key."""
    key, file = folder / "key.pem", folder / "certificate.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    # Clients check the address against subjectAltName only; the common name is ignored (RFC 9110, section 4.3.4).
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", str(file)]
    subprocess.run(["openssl", "req", "-x509", *new_key, *named], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


def _serve(latency: float, distinct: bool, certificate: Path | None, ready: Connection) -> None:
    answer, critique, grade = _body(ANSWER), _body(CRITIQUE), _body(GRADE)

    async def complete(request: web.Request) -> web.Response:
        # Cheaper than parsing the JSON: the endpoint shares the cores with the client and must not slow it down.
        asked = await request.read()
        is_critique = b'"response_format"' in asked
        if latency:
            await asyncio.sleep(latency)
        if b"criteria_met" in asked:
            body = grade
        else:
            body = _distinct(is_critique) if distinct else critique if is_critique else answer
        return web.Response(body=body, content_type="application/json")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "fast", "object": "model"}]})

    async def main() -> None:
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.post("/v1/chat/completions", complete), web.get("/v1/models", models)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        tls = None
        if certificate:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(certificate)
        # A run opens all its connections at once. Linux drops what exceeds the backlog (128 by default in aiohttp),
        # and the client would wait a second before its next SYN.
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096, ssl_context=tls).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def fast_endpoint(latency: float = 0.0, *, distinct: bool = False, certificate: Path | None = None) -> Iterator[str]:
    """Starts an endpoint that replies after `latency` seconds; yields its base_url."""
    here, there = multiprocessing.Pipe()
    arguments = (latency, distinct, certificate, there)
    # Not forked: a fork would copy the caller's memory and its SQLite connections into the endpoint.
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
    server.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{here.recv()}/v1"
    finally:
        server.kill()
        server.join()


# A spawned child unpickles `_serve` by the name of this module, which it must be able to import.
sys.path.insert(0, str(Path(__file__).parent))
