"""How much of the critics' and the refiner's prompts a real vLLM has in its prefix cache, against what it could have.

    python bench/prefix_cache.py                              a tiny model, served here (vLLM's CPU build will do)
    python bench/prefix_cache.py --base-url URL --model NAME  a vLLM of your own, with --enable-prompt-tokens-details
    python bench/prefix_cache.py --engines 4 --answer 4000    the same behind one port with --data-parallel-size 4

The graph runs twice on the same queries and answers: as muser asks, what critics and refiner share first; then with the
facet first, as prompts are usually written. The ceiling is what a cache that forgets nothing would have had of the
first run: for each request the longest beginning that it has in common with an earlier one, in whole blocks, by the
server's own tokens. Replies are cut short; they do not matter here. What the order of the prompt can bring depends on
how long the answers are against the critics' instructions, so several lengths are measured.

With several engines behind the port, each with a cache of its own, the second run has the same prompts but leaves it to
vLLM which engine answers. The ceiling is still that of a single cache.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from muser.core.documents import read_document
from muser.core.recipe import Recipe, ServeSettings
from muser.core.types import Ask, Critique, Message, Request, Response, SampleInput
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.server.commands import Weights
from muser.endpoints.server.launch import serve_model
from muser.graph.inputs import read_queries
from muser.graph.run import run_recipe
from muser.prompts import templates
from muser.store.file.database import Store
from muser.store.records.ledger import Call, calls_of

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "recipes" / "questions.jsonl"
CRITICS = ("decision", "communication", "safety")
ROLES = (*(f"critics.{name}" for name in CRITICS), "refiner")
OF_CEILING, RATIO = 0.95, 1.8  # what is asked of muser
MODEL = {"model": "unused"}
PLAIN = {"name": "cache", "models": {"main": MODEL}, "critics": {name: {"prompt": f"{name}.md"} for name in CRITICS}}


@dataclass(frozen=True)
class Server:
    """A vLLM to measure; `block` is its cache's, in tokens."""

    base_url: str
    model: str
    block: int
    engines: int = 1


@dataclass(frozen=True)
class Count:
    """Prompt tokens, and those of them that were cached."""

    tokens: int = 0
    cached: int = 0

    @property
    def share(self) -> float:
        return self.cached / max(self.tokens, 1)


@cache
def prompts() -> templates.PromptSet:
    """Those that ship."""
    return templates.load_prompts(Recipe.model_validate(PLAIN))


async def _in_words(name: str, query: str, answer: str, ask: Ask) -> Critique:
    """The critic's own prompt, answered in a word: a grammar would make a small model write 2,000 characters."""
    reply = await ask(Request(messages=prompts().critic_messages(name, query=query, answer=answer)))
    return Critique(verdict="revise", rationale=reply.text or "We should ask.")


async def decision(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("decision", query, answer, ask)


async def communication(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("communication", query, answer, ask)


async def safety(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("safety", query, answer, ask)


def facet_first(shared: tuple[Message, ...], tail: str) -> tuple[Message, ...]:
    """What `with_tail` does, the other way round."""
    *before, last = shared
    return (*before, Message(role=last.role, content=f"{tail}\n\n{last.content}"))


def inputs(count: int, length: int) -> list[SampleInput]:
    """Queries with answers of so many characters, so that only critics and refiner are left to call."""
    queries = list(read_queries(QUESTIONS))
    known = read_document(ROOT / "endpoints" / "simulated" / "simulated.yaml").data["conditions"]
    sentences = [entry[part] for entry in known for part in ("fact", "advice", "clinical")]
    made = []
    for number in range(count):
        random, text = Random(number), ""
        while len(text) < length:
            text = f"{text} {random.choice(sentences)}".strip()
        query = queries[number % len(queries)].query
        made.append(SampleInput(key=f"q{number + 1:06d}", query=query, response=Response(answer=text)))
    return made


async def run(
    server: Server, name: str, samples: int, length: int, in_flight: int, *, engines: int
) -> tuple[list[Call], Count]:
    """The calls of one run in the order in which they came back, and what the server counted meanwhile."""
    # A random model seldom ends by itself; these let it, once it has said something. No run finds another's prefixes.
    salt = f"{name}-{time.time()}"
    more = {"stop": ["e", "a", "t", " "], "min_tokens": 4, "cache_salt": salt}
    role = {"model": "main", "reasoning": "off"}
    served = {"model": server.model, "base_url": server.base_url, "data_parallel": engines}
    recipe = Recipe.model_validate(
        PLAIN
        | {
            "models": {"main": served | {"extra_body": more}},
            "roles": {"critic": role, "refiner": role},
            "critics": {each: {"function": f"{__name__}:{each}"} for each in CRITICS},
            "concurrency": in_flight,
            "folder": ROOT,
        }
    )
    before = await counted(recipe)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "cache.db") as store:
        summary = await run_recipe(recipe, store, inputs=inputs(samples, length), roles=ROLES)
        calls = [call for n in range(samples) for call in calls_of(store, f"{summary.run_id}/q{n + 1:06d}")]
    after = await counted(recipe)
    # A repair asks with the same beginning once more, which would flatter the share.
    first = sorted((call for call in calls if call.attempt == 1), key=lambda call: call.id or 0)
    return first, Count(after.tokens - before.tokens, after.cached - before.cached)


async def counted(recipe: Recipe) -> Count:
    """The server's own counters."""
    async with open_endpoints(recipe.models) as endpoints:
        loads = (await endpoints["main"].loads()).values()
    return Count(round(sum(load.prefix_queries for load in loads)), round(sum(load.prefix_hits for load in loads)))


async def ceiling(server: Server, calls: Iterable[Call]) -> Count:
    """What a cache of whole blocks that forgets nothing would have had, request by request."""
    known: set[tuple[int, ...]] = set()
    tokens = cached = 0
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        for call in calls:
            body = {
                "model": server.model,
                "messages": [message.model_dump() for message in call.messages],
                "chat_template_kwargs": {"enable_thinking": False},
            }
            answer = await client.post(f"{server.base_url.removesuffix('/v1')}/tokenize", json=body)
            ids = tuple(answer.raise_for_status().json()["tokens"])
            assert len(ids) == call.reply.usage.tokens_in, "these are not the tokens that the server counted"
            heads = [ids[:end] for end in range(server.block, len(ids) + 1, server.block)]
            # The last token is always computed: it is what the reply begins from.
            had = [head for head in heads if head in known and len(head) < len(ids)]
            tokens, cached = tokens + len(ids), cached + max(map(len, had), default=0)
            known.update(heads)
    return Count(tokens, cached)


def by_usage(calls: Iterable[Call], role: str = "") -> Count:
    """What the replies told."""
    usages = [call.reply.usage for call in calls if role in ("", call.role)]
    return Count(sum(usage.tokens_in for usage in usages), sum(usage.tokens_cached for usage in usages))


async def measure(server: Server, samples: int, length: int, in_flight: int) -> dict[str, Any]:
    """Both runs, the ceiling, and how they compare."""
    size = (samples, length, in_flight)
    shared, shared_metrics = await run(server, "shared", *size, engines=server.engines)
    best = await ceiling(server, shared)
    if server.engines > 1:
        against = "any engine"
        other, other_metrics = await run(server, "any", *size, engines=1)
    else:
        against, original = "facet first", templates.with_tail
        templates.with_tail = facet_first
        try:
            other, other_metrics = await run(server, "facet", *size, engines=1)
        finally:
            templates.with_tail = original
    ours, theirs = by_usage(shared), by_usage(other)
    return {
        "samples": samples,
        "answer": length,
        "block": server.block,
        "engines": server.engines,
        "against": against,
        "roles": {role: [vars(by_usage(calls, role)) for calls in (shared, other)] for role in ROLES},
        "ours": {"usage": vars(ours), "metrics": vars(shared_metrics), "ceiling": vars(best)},
        "other": {"usage": vars(theirs), "metrics": vars(other_metrics)},
        "of_ceiling": ours.cached / max(best.cached, 1),
        "ratio": ours.share / max(theirs.share, 1e-9),
    }


def is_enough(found: dict[str, Any]) -> bool:
    """Whether it is what is asked of muser."""
    return bool(found["of_ceiling"] >= OF_CEILING and (found["engines"] > 1 or found["ratio"] >= RATIO))


def print_table(found: dict[str, Any]) -> None:
    def cell(count: dict[str, int]) -> str:
        return f"{count['cached']:>8,} of {count['tokens']:>8,}  {100 * Count(**count).share:5.1f} %"

    where = f"{found['engines']} engines" if found["engines"] > 1 else "one engine"
    print(f"{found['samples']} samples, answers of {found['answer']:,} characters, {where}, ", end="")
    print(f"blocks of {found['block']} tokens\nprompt tokens cached:\n")
    print(f"{'':24}{'as muser asks':>28}{found['against']:>32}")
    for role, (shared, other) in found["roles"].items():
        print(f"{role:24}{cell(shared)}    {cell(other)}")
    shared, other = found["ours"], found["other"]
    print(f"{'all, by usage':24}{cell(shared['usage'])}    {cell(other['usage'])}")
    print(f"{'all, by /metrics':24}{cell(shared['metrics'])}    {cell(other['metrics'])}")
    print(f"{'ceiling':24}{cell(shared['ceiling'])}")
    print(f"\nof the ceiling: {100 * found['of_ceiling']:.1f} % (asked: {100 * OF_CEILING:.0f} %)")
    asked = f" (asked: {RATIO} x)" if found["engines"] == 1 else ""
    print(f"against {found['against']}: {found['ratio']:.2f} x{asked}\n")


async def main(arguments: argparse.Namespace) -> int:
    async with AsyncExitStack() as stack:
        base_url, model = arguments.base_url, arguments.model
        if not base_url:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            base_url, model = (await stack.enter_async_context(tiny_server(folder, arguments.engines))).url, "tiny"
        block = arguments.block or await block_of(base_url)
        server = Server(base_url, model, block, arguments.engines)
        many, flight = arguments.samples, arguments.in_flight
        found = [await measure(server, many, length, flight) for length in arguments.answer]
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for each in found:
            print_table(each)
    return 0 if all(each["of_ceiling"] >= OF_CEILING for each in found) and is_enough(found[-1]) else 1


def tiny_server(folder: Path, engines: int) -> Any:
    """A tiny untrained model whose tokens are about as long as a real one's."""
    from muser.trainer.tiny import build_tiny_model

    files = [*ROOT.glob("prompts/*.md"), QUESTIONS, ROOT / "endpoints" / "simulated" / "simulated.yaml"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    path = build_tiny_model(folder / "tiny", texts=texts, vocabulary=6000, positions=8192)
    weights = Weights("tiny", str(path))
    settings = ServeSettings(max_model_len=8192)
    if engines > 1:
        # They share the cores, which the CPU build would else divide among them, one at least to each.
        options = {"data-parallel-size": engines, "gpu-memory-utilization": 0.3 / engines}
        settings = settings.model_copy(update={"options": options, "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}})
    return serve_model(weights, settings, log=folder / "tiny.log", engine="vllm")


async def block_of(base_url: str) -> int:
    """The cache's block size in tokens, as the server tells it."""
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        page = (await client.get(f"{base_url.removesuffix('/v1')}/metrics")).text
    found = re.search(r'vllm:cache_config_info\{[^}]*block_size="(\d+)"', page)
    if not found:
        raise SystemExit("the server does not tell its cache's block size; give --block")
    return int(found[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", help="a vLLM that runs; by default one is started")
    parser.add_argument("--model", default="tiny", help="the name that it serves")
    parser.add_argument("--engines", type=int, default=1, help="--data-parallel-size of the server")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--answer", type=int, nargs="+", default=[1200, 4000], help="characters; the last is judged")
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--block", type=int, help="tokens a block; by default as the server tells")
    parser.add_argument("--json", action="store_true")
    sys.exit(asyncio.run(main(parser.parse_args())))
