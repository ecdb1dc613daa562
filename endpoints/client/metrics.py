"""A server's load, read from the Prometheus page /metrics that vLLM and llama.cpp serve beside their API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

LINE = re.compile(r"^(?P<name>(?:vllm|llamacpp):\w+)(?:\{[^}]*\})?\s+(?P<value>\S+)", re.MULTILINE)
RUNNING, WAITING, KV_USED = "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"
LLAMACPP_RUNNING, LLAMACPP_WAITING = "llamacpp:requests_processing", "llamacpp:requests_deferred"
LLAMACPP_COMPUTED, LLAMACPP_CACHED = "llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"
QUERIES, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"


@dataclass(frozen=True)
class Load:
    """One server at one moment. Requests and tokens are sums over its engines; `kv_used` is the fullest engine's."""

    running: float
    waiting: float
    kv_used: float
    """0 to 1"""
    prefix_queries: float = 0.0
    """prompt tokens looked up in the prefix cache since the server started"""
    prefix_hits: float = 0.0
    """prompt tokens found there"""
    engines: int = 1
    """engines of a data-parallel server, each with its own prefix cache"""


def prefix_cache(before: Mapping[str, Load], after: Mapping[str, Load]) -> dict[str, dict[str, int]]:
    """Address → `queries` and `hits` between two readings; servers without queries in between are left out."""
    used = {}
    for address, load in after.items():
        first = before.get(address, Load(0, 0, 0))
        queries = round(load.prefix_queries - first.prefix_queries)
        if queries > 0:
            used[address] = {"queries": queries, "hits": round(load.prefix_hits - first.prefix_hits)}
    return used


def read_load(page: str) -> Load | None:
    """The load from a page of metrics; None if the page is neither vLLM's nor llama.cpp's."""
    found: dict[str, list[float]] = {}
    for line in LINE.finditer(page):
        try:
            found.setdefault(line["name"], []).append(float(line["value"]))
        except ValueError:
            continue
    if LLAMACPP_RUNNING in found and LLAMACPP_WAITING in found:
        (computed,), (cached,) = found.get(LLAMACPP_COMPUTED, [0.0]), found.get(LLAMACPP_CACHED, [0.0])
        return Load(
            running=found[LLAMACPP_RUNNING][0],
            waiting=found[LLAMACPP_WAITING][0],
            kv_used=0,  # not reported
            prefix_queries=computed + cached,
            prefix_hits=cached,
        )
    if RUNNING not in found or WAITING not in found:
        return None
    return Load(
        running=sum(found[RUNNING]),
        waiting=sum(found[WAITING]),
        kv_used=max(found.get(KV_USED, [0.0])),
        prefix_queries=sum(found.get(QUERIES, [])),
        prefix_hits=sum(found.get(HITS, [])),
        engines=len(found[RUNNING]),
    )
