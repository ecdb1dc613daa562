"""Spans of every sample, node and call for an OpenTelemetry collector, if the recipe names one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..core.errors import SettingsError
from ..core.installation import install_hint


@asynccontextmanager
async def exported_spans(collector: str | None, run_id: str) -> AsyncIterator[None]:
    """Sends spans of LangGraph's nodes and the chat models' calls to `collector` by OTLP over HTTP, texts included.

    If the collector is down, spans are lost but samples are not. With None, nothing is imported or sent. Headers for a
    collector that needs a key come from OTEL_EXPORTER_OTLP_HEADERS; variables such as OpenInference's
    OPENINFERENCE_HIDE_INPUTS limit what spans show. Raises SettingsError if the extra `otel` is missing.
    """
    if collector is None:
        yield
        return
    try:
        from openinference.instrumentation.langchain import LangChainInstrumentor
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"spans cannot be exported: {error}", where="otel", todo=f"{install_hint('otel')}, or leave out otel"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "muser", "muser.run": run_id}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector.rstrip('/')}/v1/traces")))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        yield
    finally:
        # It patches LangChain for the whole process, and the next run may have no collector.
        instrumentor.uninstrument()
        # Sends the queued spans, in a thread because it blocks until the collector answers.
        await asyncio.to_thread(provider.shutdown)
