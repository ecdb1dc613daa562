"""Checks that a recipe's servers can do what its run needs: calls every model and runs a few samples.

Checks per role that the server is reachable and serves the model, that prompt and reply fit its context, that replies
follow a schema, that reasoning is returned and that cached tokens are reported. A problem is a `Finding` that says what
to do, never an exception.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import JsonValue

from ...agents.outcomes import classify
from ...core.errors import MissingModel, MuserError
from ...core.recipe import Recipe, RoleSettings
from ...core.types import Message, Request
from ...endpoints.client.chat import Endpoint, open_endpoints
from ...graph.progress import Progress
from ...store.file.database import Store
from ..models import context_of, locate
from ..servers import serving
from .estimate import Estimate
from .trial_run import Finding, Level, try_samples

WORD = "orchid-7413"
# A server that enforces this schema can return only one value; one that ignores it replies with a greeting.
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [WORD]}, "count": {"type": "integer", "enum": [3]}},
    "required": ["word", "count"],
    "additionalProperties": False,
}
GREETING = Message(role="user", content="Greet me in one short sentence.")


@dataclass(frozen=True)
class Probe:
    """The findings; `estimate` is None if too few samples finished."""

    findings: tuple[Finding, ...]
    estimate: Estimate | None = None

    @property
    def problems(self) -> int:
        """The number of findings with level problem."""
        return sum(finding.level == "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The probe as JSON values."""
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "estimate": self.estimate.to_dict() if self.estimate else None,
        }


async def probe_recipe(
    recipe: Recipe,
    store: Store,
    *,
    tries: int = 4,
    gpus: int | None = None,
    on_start: Callable[[str, str], None] | None = None,
    on_finding: Callable[[Finding], None] = lambda _: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Probe:
    """Checks every role, then runs `tries` samples. `store` locates trained stages and is only read.

    Serves models without an address for that time and calls `on_start` for each; calls `on_finding` for each finding
    when it is known, and `on_progress` during the trial run. If a reply broke the schema, the trial run is a single
    sample without repairs: enough to see the rest, and no minutes of repairs that cannot succeed.

    Raises ServerError if a server does not start, SettingsError for keys that are not in the environment.
    """
    roles = [*recipe.call_roles(), *(["judge"] if recipe.evaluation else [])]
    findings: list[Finding] = []
    ready = []

    def note(found: Iterable[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            on_finding(finding)

    for role in roles:
        try:
            locate(recipe, store, recipe.role(role).model)
            ready.append(role)
        except MissingModel as error:
            note([Finding("model", (role,), "problem", error.what, error.todo)])
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(serving(recipe, store, ready, on_start=on_start))
        endpoints = await stack.enter_async_context(open_endpoints(up.models))
        by_model = {name: tuple(r for r in ready if recipe.role(r).model == name) for name in up.models}
        note(await asyncio.gather(*(_reach(endpoints[name], by_model[name]) for name in up.models)))
        engines = await asyncio.gather(*(_engines(endpoints[name], by_model[name]) for name in up.models))
        note(finding for finding in engines if finding)
        dead = {role for finding in findings if finding.level == "problem" for role in finding.roles}
        structured = await _structured(recipe, endpoints, [role for role in ready if role not in dead])
        note(structured)
        if dead:
            return Probe(tuple(findings))
        is_broken = any(finding.level == "problem" for finding in structured)
        if is_broken:
            recipe, tries = recipe.model_copy(update={"repairs": 0}), 1
        trial = await try_samples(recipe, up.models, up.revisions, tries, on_progress)
        note(trial.findings(recipe))
        for name in up.models:
            # `transformers serve` does not report it, and serves the model's whole context.
            context = await endpoints[name].context() or context_of(locate(recipe, store, name))
            note(trial.fit(recipe, context, by_model[name]))
        return Probe(tuple(findings), None if is_broken else trial.estimate(recipe, gpus))


async def _reach(endpoint: Endpoint, roles: tuple[str, ...]) -> Finding:
    try:
        await endpoint.check()
    except MuserError as error:
        return Finding("server", roles, "problem", f"{error.what} ({error.where})", error.todo)
    return Finding("server", roles, "good", f"{endpoint.where} serves {endpoint.settings.model}")


async def _engines(endpoint: Endpoint, roles: tuple[str, ...]) -> Finding | None:
    """None if the recipe states the right number of engines per address; each has its own prefix cache."""
    known = endpoint.settings.data_parallel
    told = {load.engines for load in (await endpoint.loads()).values()}
    if told <= {known}:
        return None
    there = min(told)
    seen = f"{endpoint.where} has {there} engine{'s' * (there > 1)}, but the recipe says {known}"
    todo = f"set models.{endpoint.name.partition('@')[0]}.data_parallel: {there}"
    # A server rejects requests for a data-parallel rank that it does not have, so too many is a problem.
    return Finding("engines", roles, "problem" if there < known else "hint", seen, todo)


async def _structured(recipe: Recipe, endpoints: Mapping[str, Endpoint], ready: Iterable[str]) -> list[Finding]:
    """One finding per distinct role settings among the roles that need JSON."""
    ways: dict[RoleSettings, list[str]] = {}
    for role in ready:
        if role.startswith("critics.") or role == "judge":
            ways.setdefault(recipe.role(role), []).append(role)
    return [await _keeps_to_schema(endpoints[bound.model], bound, tuple(roles)) for bound, roles in ways.items()]


async def _keeps_to_schema(endpoint: Endpoint, bound: RoleSettings, roles: tuple[str, ...]) -> Finding:
    request, in_prompt = Request(messages=(GREETING,), output_schema=SCHEMA), endpoint.settings.structured == "prompt"
    try:
        reply = await endpoint.complete(request, bound, seed=1)
    except MuserError as error:
        todo = f"set models.{endpoint.name}.structured: prompt if the server does not support response_format"
        return Finding("structured output", roles, "problem", error.what, error.todo if in_prompt else todo)
    outcome = classify(reply, request)
    if outcome == "ok":
        return Finding("structured output", roles, "good", "the reply follows the schema")
    seen = f"breaks the schema: {outcome.replace('_', ' ')} ({json.dumps(reply.text[:60], ensure_ascii=False)})"
    if in_prompt:
        level: Level = "hint" if outcome == "prose" else "problem"
        return Finding(
            "structured output", roles, level, seen, "use a larger model for these roles, or rely on repairs"
        )
    if outcome in ("truncated", "whitespace", "unclosed_reasoning", "empty"):
        todo = "set the roles' reasoning: off, raise max_tokens, or serve with disable_any_whitespace"
        return Finding("structured output", roles, "problem", seen, todo)
    todo = f"set models.{endpoint.name}.structured: prompt, or use a server that enforces json_schema, such as vLLM"
    return Finding("structured output", roles, "problem", seen, todo)
