"""The prefix cache of a real vLLM: what share of the critics' and the refiner's prompts it has, and could have.

    python bench/prefix_cache.py                              a tiny model, served here (vLLM's CPU build is enough)
    python bench/prefix_cache.py --base-url URL --model NAME  your own vLLM, with --enable-prompt-tokens-details
    python bench/prefix_cache.py --engines 4 --answer 4000    the same with --data-parallel-size 4

The graph runs twice on the same queries and answers: with muser's prompts, whose shared part comes first, and with the
facet first, as prompts are usually written. The ceiling is what an unlimited cache would have had in the first run: for
each request the longest prefix in common with an earlier request, in whole blocks of the server's own tokens. Replies
are cut short, because only prompts matter here. The gain depends on the ratio of the answer's length to that of the
critics' instructions, so several lengths are measured.

With several engines, each has its own cache. The second run then has the same prompts, but lets vLLM choose the engine.
The ceiling is still that of a single cache.
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
OF_CEILING, RATIO = 0.95, 1.8
"""Targets: share of the ceiling, and cached share relative to the facet-first order."""
MODEL = {"model": "unused"}
PLAIN = {"name": "cache", "models": {"main": MODEL}, "critics": {name: {"prompt": f"{name}.md"} for name in CRITICS}}


@dataclass(frozen=True)
class Server:
    """A vLLM to measure; `block` is the block size of its cache in tokens."""

    base_url: str
    model: str
    block: int
    engines: int = 1


@dataclass(frozen=True)
class Count:
    """Prompt tokens, and how many of them were cached."""

    tokens: int = 0
    cached: int = 0

    @property
    def share(self) -> float:
        return self.cached / max(self.tokens, 1)


@cache
def prompts() -> templates.PromptSet:
    """The prompts that ship with muser."""
    return templates.load_prompts(Recipe.model_validate(PLAIN))


async def _in_words(name: str, query: str, answer: str, ask: Ask) -> Critique:
    """The critic's own prompt without its schema: under a grammar, a small model would write 2,000 characters."""
    reply = await ask(Request(messages=prompts().critic_messages(name, query=query, answer=answer)))
    return Critique(verdict="revise", rationale=reply.text or "We should ask.")


async def decision(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("decision", query, answer, ask)


async def communication(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("communication", query, answer, ask)


async def safety(query: str, answer: str, ask: Ask) -> Critique:
    return await _in_words("safety", query, answer, ask)


def facet_first(shared: tuple[Message, ...], tail: str) -> tuple[Message, ...]:
    """`with_tail` in the opposite order."""
    *before, last = shared
    return (*before, Message(role=last.role, content=f"{tail}\n\n{last.content}"))


def inputs(count: int, length: int) -> list[SampleInput]:
    """Queries with answers of `length` characters, so that only critics and refiner are called."""
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
    """The calls of one run in the order of their replies, and the server's own counts meanwhile."""
    # An untrained model seldom emits its end token, so common letters stop it. The salt hides prefixes of earlier runs.
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
    # First attempts only: a repair repeats the whole prompt, which would raise the cached share.
    first = sorted((call for call in calls if call.attempt == 1), key=lambda call: call.id or 0)
    return first, Count(after.tokens - before.tokens, after.cached - before.cached)


async def counted(recipe: Recipe) -> Count:
    """The server's own counters, from its /metrics."""
    async with open_endpoints(recipe.models) as endpoints:
        loads = (await endpoints["main"].loads()).values()
    return Count(round(sum(load.prefix_queries for load in loads)), round(sum(load.prefix_hits for load in loads)))


async def ceiling(server: Server, calls: Iterable[Call]) -> Count:
    """The hits of an unlimited cache of whole blocks, request by request."""
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
            assert len(ids) == call.reply.usage.tokens_in, "/tokenize and the server's usage disagree"
            heads = [ids[:end] for end in range(server.block, len(ids) + 1, server.block)]
            # vLLM computes at least the last token, whose logits give the first token of the reply.
            had = [head for head in heads if head in known and len(head) < len(ids)]
            tokens, cached = tokens + len(ids), cached + max(map(len, had), default=0)
            known.update(heads)
    return Count(tokens, cached)


def by_usage(calls: Iterable[Call], role: str = "") -> Count:
    """The counts that the replies reported."""
    usages = [call.reply.usage for call in calls if role in ("", call.role)]
    return Count(sum(usage.tokens_in for usage in usages), sum(usage.tokens_cached for usage in usages))


async def measure(server: Server, samples: int, length: int, in_flight: int) -> dict[str, Any]:
    """Both runs, the ceiling, and the two ratios."""
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
    """Whether both targets are met."""
    return bool(found["of_ceiling"] >= OF_CEILING and (found["engines"] > 1 or found["ratio"] >= RATIO))


def print_table(found: dict[str, Any]) -> None:
    def cell(count: dict[str, int]) -> str:
        return f"{count['cached']:>8,} of {count['tokens']:>8,}  {100 * Count(**count).share:5.1f} %"

    where = f"{found['engines']} engines" if found["engines"] > 1 else "one engine"
    print(f"{found['samples']} samples, answers of {found['answer']:,} characters, {where}, ", end="")
    print(f"blocks of {found['block']} tokens\nprompt tokens cached:\n")
    print(f"{'':24}{'shared part first':>28}{found['against']:>32}")
    for role, (shared, other) in found["roles"].items():
        print(f"{role:24}{cell(shared)}    {cell(other)}")
    shared, other = found["ours"], found["other"]
    print(f"{'all, by usage':24}{cell(shared['usage'])}    {cell(other['usage'])}")
    print(f"{'all, by /metrics':24}{cell(shared['metrics'])}    {cell(other['metrics'])}")
    print(f"{'ceiling':24}{cell(shared['ceiling'])}")
    print(f"\nof the ceiling: {100 * found['of_ceiling']:.1f} % (target: {100 * OF_CEILING:.0f} %)")
    target = f" (target: {RATIO} x)" if found["engines"] == 1 else ""
    print(f"relative to {found['against']}: {found['ratio']:.2f} x{target}\n")


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
    """Serves a tiny untrained model whose tokens are about as long as a real model's."""
    from muser.trainer.tiny import build_tiny_model

    files = [*ROOT.glob("prompts/*.md"), QUESTIONS, ROOT / "endpoints" / "simulated" / "simulated.yaml"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    path = build_tiny_model(folder / "tiny", texts=texts, vocabulary=6000, positions=8192)
    weights = Weights("tiny", str(path))
    settings = ServeSettings(max_model_len=8192)
    if engines > 1:
        # The engines share the cores. By default the CPU build divides them, and each engine needs at least one.
        options = {"data-parallel-size": engines, "gpu-memory-utilization": 0.3 / engines}
        settings = settings.model_copy(update={"options": options, "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}})
    return serve_model(weights, settings, log=folder / "tiny.log", engine="vllm")


async def block_of(base_url: str) -> int:
    """The cache's block size in tokens, from the server's /metrics."""
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        page = (await client.get(f"{base_url.removesuffix('/v1')}/metrics")).text
    found = re.search(r'vllm:cache_config_info\{[^}]*block_size="(\d+)"', page)
    if not found:
        raise SystemExit("the server's /metrics has no block size; set --block")
    return int(found[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-url", help="a running vLLM; by default one is started")
    parser.add_argument("--model", default="tiny", help="the name of its model")
    parser.add_argument("--engines", type=int, default=1, help="--data-parallel-size of the server")
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument(
        "--answer", type=int, nargs="+", default=[1200, 4000], help="characters; the targets apply to the last"
    )
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--block", type=int, help="tokens per block; by default from /metrics")
    parser.add_argument("--json", action="store_true")
    sys.exit(asyncio.run(main(parser.parse_args())))
