"""A server's limited capacity: a fixed number of requests run at a time and the others wait, as in vLLM."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="{name}"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="{name}"}} {waiting}
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="{name}"}} {kv_used}
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{{engine="0",model_name="{name}"}} {queries}
# TYPE vllm:prefix_cache_hits counter
vllm:prefix_cache_hits_total{{engine="0",model_name="{name}"}} {hits}
"""


class Capacity:
    """`count` requests at a time; no limit if None."""

    def __init__(self, count: int | None) -> None:
        self._count, self._gate = count, asyncio.Semaphore(count) if count else None
        self.running, self.waiting = 0, 0
        self.prompt_tokens, self.cached_tokens = 0, 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Waits for a slot and holds it for the block."""
        self.waiting += 1
        try:
            if self._gate:
                await self._gate.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            if self._gate:
                self._gate.release()

    def count(self, prompt: int, cached: int) -> None:
        """Adds a request's prompt tokens, and how many of them were cached."""
        self.prompt_tokens += prompt
        self.cached_tokens += cached

    def page(self, name: str) -> str:
        """The load as a page of vLLM's metrics."""
        # Below FULL in graph/concurrency.py: the queue, and not the KV cache, is what this server is limited by.
        kv_used = 0.8 * self.running / self._count if self._count else 0.0
        counts = {"queries": self.prompt_tokens, "hits": self.cached_tokens}
        return PAGE.format(name=name, running=self.running, waiting=self.waiting, kv_used=kv_used, **counts)
