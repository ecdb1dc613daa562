"""Spans reach an OTLP/HTTP collector, agree with the ledger and hold no key; a collector that is away costs nothing."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from muser.core.recipe import Recipe
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.records.ledger import calls_of

from .receiver import receiver

MakeRecipe = Callable[..., Recipe]


class Collector:
    """All that a receiver has to be: POST /v1/traces takes protobuf."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        self.received.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    def spans(self) -> list[tuple[Span, dict[str, Any]]]:
        batches = [ExportTraceServiceRequest.FromString(body) for body in self.received]
        spans = [s for b in batches for r in b.resource_spans for scope in r.scope_spans for s in scope.spans]
        return [
            (span, {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}) for span in spans
        ]


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    found = Collector()
    with receiver(web.post("/v1/traces", found.take)) as address:
        yield found, address


async def test_a_collector_gets_every_node_and_every_call(
    simulated: str,
    make_recipe: MakeRecipe,
    store: Store,
    collector: tuple[Collector, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, address = collector
    monkeypatch.setenv("THE_KEY", "sk-of-the-endpoint")
    recipe = make_recipe(simulated, samples=2, otel=address, model={"api_key_env": "THE_KEY"})
    summary = await run_recipe(recipe, store)
    assert summary.done == 2
    spans = found.spans()
    names = [span.name for span, _ in spans]
    assert {
        name: names.count(name) for name in ("persona", "respond", "decision", "safety", "refine")
    } == dict.fromkeys(("persona", "respond", "decision", "safety", "refine"), 2)
    asked = [attributes for _, attributes in spans if attributes.get("openinference.span.kind") == "LLM"]
    calls = [call for key in ("s000001", "s000002") for call in calls_of(store, f"trial/{key}")]
    assert sorted(int(a["llm.token_count.prompt"]) for a in asked) == sorted(c.reply.usage.tokens_in for c in calls)
    replies = {a["llm.output_messages.0.message.content"] for a in asked}
    assert replies == {call.reply.text for call in calls}
    assert {json.loads(a["metadata"])["thread_id"] for a in asked} == {"trial/s000001", "trial/s000002"}
    assert not any(b"sk-of-the-endpoint" in body for body in found.received)


async def test_calls_stand_under_their_nodes_in_one_trace_a_sample(
    simulated: str, make_recipe: MakeRecipe, store: Store, collector: tuple[Collector, str]
) -> None:
    found, address = collector
    await run_recipe(make_recipe(simulated, samples=2, otel=address), store)
    spans = found.spans()
    by_id = {span.span_id: span for span, _ in spans}
    above = {by_id[s.parent_span_id].name for s, a in spans if a.get("openinference.span.kind") == "LLM"}
    assert above == {"persona", "respond", "decision", "communication", "safety", "refine"}
    assert len({span.trace_id for span, _ in spans}) == 2


async def test_a_run_without_otel_sends_nothing_after_one_with_it(
    simulated: str, make_recipe: MakeRecipe, store: Store, collector: tuple[Collector, str]
) -> None:
    found, address = collector
    await run_recipe(make_recipe(simulated, samples=1, otel=address), store)
    before = len(found.received)
    summary = await run_recipe(make_recipe(simulated, samples=2), store)
    assert (summary.done, len(found.received)) == (2, before)


async def test_a_collector_that_is_away_costs_no_sample(
    simulated: str, make_recipe: MakeRecipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    summary = await run_recipe(make_recipe(simulated, samples=1, otel="http://127.0.0.1:9"), store)
    assert summary.done == 1


async def test_texts_can_be_left_out_of_spans(
    simulated: str,
    make_recipe: MakeRecipe,
    store: Store,
    collector: tuple[Collector, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, address = collector
    for side in ("INPUTS", "OUTPUTS"):
        monkeypatch.setenv(f"OPENINFERENCE_HIDE_{side}", "true")
    await run_recipe(make_recipe(simulated, samples=1, otel=address), store)
    assert len(found.spans()) > 6
    said = [call.reply.text.encode() for call in calls_of(store, "trial/s000001")]
    said += [call.messages[-1].content.encode() for call in calls_of(store, "trial/s000001")]
    assert not [text for text in said for body in found.received if text in body]
