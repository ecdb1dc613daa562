"""A model that answers with payloads: what a page must show as text and never act on."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice, product

from aiohttp import web

CANARY = "canary.invalid"
PAYLOADS = {
    "script": f"<script>alert('script')</script><script src=//{CANARY}/s.js></script>",
    "handler": "<img src=x onerror=alert('handler')><svg/onload=alert('svg')><details open ontoggle=alert('toggle')>",
    "attribute": "\" autofocus onfocus=alert('attribute') x=\"' onmouseover='alert(1)",
    "link": f"[md](javascript:alert('md')) <a href=javascript:alert('a')>a</a> ![i](http://{CANARY}/md.png)",
    "remote": f"<img src=http://{CANARY}/i.png><iframe src=http://{CANARY}/f></iframe><style>@import"
    f" url(http://{CANARY}/c.css);*{{display:none!important}}</style>",
    "document": f"<meta http-equiv=refresh content='0;url=http://{CANARY}/'><base href=http://{CANARY}/>",
    "closing": "</textarea></title></style></template></noscript></pre></script>--><!-- ]]>",
    "template": "{{ 191*7 }} {% for x in ().__class__.__mro__ %} ${191*7} #{191*7} <%= 191*7 %>",
    "clobbering": "<form name=body id=store><input name=attributes><a id=config name=muser>",
    "terminal": f"\x1b[31mred\x1b[0m\x1b]8;;http://{CANARY}\x07link\x1b]8;;\x07\x1b[2J\x08\x9b1m",
    "bidi": "\u202egnp.exe\u202c \u2066isolated\u2069 \u200f\u061c",
    "broken": "\x00 \ud83d \udc00 \ufeff \ufffe \u2028 \u2029",
    "json": "\\u003cscript\\u003ealert('json')\\u003c/script\\u003e </ScRiPt ><!--<script>",
    "stacked": "Z" + "\u0301" * 40,
}
EVERYTHING = "\n".join(f"{name}: {payload}" for name, payload in PAYLOADS.items())
# No two words are the same: a text that repeats itself would be a loop, which is no usable reply.
HUGE = "A" * 100_000 + "\n" + " ".join(map("".join, islice(product("abcdefghij", repeat=9), 22_000)))
"""A line of 100,000 characters without a place to break it, and 22,000 words."""

# A query file with a lone surrogate is refused; from a model it comes in all the same.
BROUGHT = EVERYTHING.encode(errors="replace").decode()
QUESTIONS = (BROUGHT, f"HUGE {HUGE}", f"REFUSE {BROUGHT}", f"EMPTY {BROUGHT}")


async def answer(request: web.Request) -> web.Response:
    """Every reply and every error is a payload."""
    body = await request.json()
    said = "\n".join(message["content"] for message in body["messages"])
    if "REFUSE" in said:
        return web.json_response({"error": {"message": EVERYTHING, "type": EVERYTHING}}, status=400)
    text, reasoning = (HUGE if "HUGE" in said else EVERYTHING), EVERYTHING
    if "response_format" in body:
        text = json.dumps({"rationale": EVERYTHING, "verdict": "revise"})
    elif "EMPTY" in said:
        text = ""
    message = {"role": "assistant", "content": text, "reasoning": reasoning}
    usage = {"prompt_tokens": 900, "completion_tokens": 300, "total_tokens": 1200}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    served = PAYLOADS["handler"]
    # json.dumps spells the surrogates as escapes: the one way in which they come through HTTP.
    reply = {"id": "x", "object": "chat.completion", "created": 0, "model": served, "choices": [choice], "usage": usage}
    return web.Response(text=json.dumps(reply), content_type="application/json")


async def models(_: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "hostile"}]})


@asynccontextmanager
async def hostile_endpoint() -> AsyncIterator[str]:
    """The base_url of an endpoint whose every word is a payload."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
