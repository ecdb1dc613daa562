"""One run's calls: requests in the ledger are not repeated, and each new reply is committed when it arrives."""

import asyncio
from collections.abc import Mapping

from ..agents.outcomes import classify
from ..agents.replies import REPEAT_TEMPERATURE
from ..core.errors import CallLimit
from ..core.hashing import derive_seed
from ..core.recipe import Recipe
from ..core.types import Ask, Reply, Request
from ..endpoints.client.chat import Endpoint
from ..store.file.database import Store
from ..store.records import ledger
from .progress import Progress

NODES = {"persona": "persona", "responder": "respond", "refiner": "refine", "judge": "grade"}


def node_of(role: str) -> str:
    """The node that plays a role: a critic's is named after it."""
    return NODES.get(role) or role.removeprefix("critics.")


class Calls:
    """Binds samples, roles and rounds to endpoints through the ledger; `make_ask` is what the nodes are given."""

    def __init__(
        self,
        store: Store,
        recipe: Recipe,
        endpoints: Mapping[str, Endpoint],
        revisions: Mapping[str, str],
        progress: Progress,
        most: int | None = None,
    ) -> None:
        self.store, self._recipe, self._endpoints, self._revisions = store, recipe, endpoints, revisions
        self._progress, self._most, self._begun = progress, most, 0
        self.tries: dict[str, int] = {}
        self._under_way: set[asyncio.Task[Reply]] = set()

    def make_ask(self, sample: str, seed: int, role: str, round: int) -> Ask:
        """How the agent that plays `role` in this round reaches its model."""
        bound, reuse = self._recipe.role(role), self._recipe.reuse
        endpoint = self._endpoints[bound.model].at(sample.rpartition("/")[2])
        revision = self._revisions.get(bound.model) or endpoint.revision

        async def ask(request: Request) -> Reply:
            messages = endpoint.messages(request)
            wanted, key = request, ""
            # A retried sample uses a new seed for each request it repeats. Usable replies of earlier tries are found
            # under those tries' seeds.
            for tried in range(self.tries.get(sample, 0) + 1):
                # At temperature 0 another seed alone brings the same unusable reply.
                if tried and await ledger.was_unusable(self.store, sample, role, round, request.attempt, key):
                    wanted = request.model_copy(update={"least_temperature": REPEAT_TEMPERATURE})
                call_seed = derive_seed(seed, role, round, request.attempt, *([tried] if tried else []))
                parameters = endpoint.parameters(wanted, bound, call_seed)
                # With other reasoning marks the same text splits differently, so they are part of the request's hash.
                key = ledger.request_hash(messages, parameters, [revision, *endpoint.settings.reasoning_marks])
                place = (sample, role, round, request.attempt, key)
                found = None if reuse == "none" else await ledger.find_call(self.store, *place, others=reuse == "all")
                if found is not None:
                    self._progress.reused += 1
                    return found

            # No await between the check and the count, so that concurrent calls cannot both pass as the last one.
            if self._most is not None and self._begun >= self._most:
                raise CallLimit(f"stopped at the limit on calls: {self._most:,}", where=sample)
            self._begun += 1

            async def call() -> Reply:
                with self._progress.calling(node_of(role)):
                    reply = await endpoint.complete(wanted, bound, call_seed)
                await ledger.record_call(
                    self.store,
                    ledger.Call(
                        sample_id=sample,
                        role=role,
                        round=round,
                        attempt=request.attempt,
                        request_hash=key,
                        model=bound.model,
                        messages=messages,
                        parameters=parameters,
                        reply=reply,
                        outcome=classify(reply, request),
                    ),
                    again=reuse == "none",
                )
                self._progress.count(reply.usage, reply.seconds)
                return reply

            # If a sibling critic fails, LangGraph cancels this node (langgraph/pregel/_runner.py, _panic_or_proceed).
            # The request is paid for, so its reply is kept. asyncio keeps only weak references to tasks, hence the set
            # (docs.python.org/3/library/asyncio-task.html#asyncio.create_task).
            task = asyncio.create_task(call())
            self._under_way.add(task)
            task.add_done_callback(self._forget)
            return await asyncio.shield(task)

        return ask

    def count_graded(self) -> None:
        """Counts a rubric item as graded."""
        self._progress.graded += 1

    def _forget(self, task: asyncio.Task[Reply]) -> None:
        self._under_way.discard(task)
        # Retrieve the exception: asyncio would log it as never retrieved if the node was cancelled.
        if not task.cancelled():
            task.exception()

    async def settle(self) -> None:
        """Waits for calls in flight whose nodes were cancelled."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
