"""Runs a few samples of a recipe in a temporary store, to check the servers and measure the cost."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from ...core.conversations import asked_text
from ...core.recipe import Limits, ModelSettings, Recipe
from ...core.types import SampleInput
from ...endpoints.simulated.replies import UNKNOWN
from ...graph.inputs import Queries, read_queries, simulated_inputs
from ...graph.progress import Progress, Summary
from ...graph.run import run_recipe
from ...graph.verdicts import HINT
from ...prompts.personas import load_tables
from ...store.file.database import Store
from ...store.records.ledger import Call, calls_of
from .estimate import Cost, Estimate, costs_of, count_gpus, estimate_cost

Level = Literal["good", "hint", "problem"]


@dataclass(frozen=True)
class Finding:
    """One check: what was checked, for which roles, the result and, unless it is good, what to do."""

    what: str
    roles: tuple[str, ...]
    level: Level
    seen: str
    todo: str = ""


@dataclass(frozen=True)
class TrialRun:
    """The results of a few samples, run in a temporary store."""

    summary: Summary
    calls: Mapping[str, list[Call]]
    """by role"""
    groups: tuple[tuple[int, list[Cost]], ...]
    longest_query: int
    """characters by which the recipe's longest query exceeds the longest that was tried"""
    in_flight: int

    def findings(self, recipe: Recipe) -> Iterator[Finding]:
        """Findings about the samples that do not depend on a model's context length."""
        roles = tuple(self.calls)
        if self.summary.done == self.summary.total:
            seen = f"{self.summary.done} samples tried, in {self.summary.seconds:.1f} s"
            yield Finding("samples", roles, "good", seen)
        for failure in self.summary.failures:
            seen = f"{failure.samples} of {self.summary.total} samples failed at {failure.node or 'the start'}"
            what, _, todo = failure.message.partition("\n  try:   ")
            yield Finding("samples", roles, "problem", f"{seen}: {what}", todo)
        if self.summary.stop_cause:
            what, _, todo = self.summary.stop_cause.partition("\n  try:   ")
            yield Finding("samples", roles, "problem", what, todo)
        yield from self._not_understood()
        yield from self._verdicts()
        yield from self._reasoning(recipe)
        yield from self._cached()
        yield from self._outcomes()

    def _not_understood(self) -> Iterator[Finding]:
        """Roles whose prompts the simulated endpoint does not recognize; results based on its replies mean nothing."""
        roles = tuple(role for role, calls in self.calls.items() if any(UNKNOWN in call.reply.text for call in calls))
        if roles:
            todo = "it recognizes only prompts shaped like those that ship with muser; a real model would answer"
            yield Finding("simulation", roles, "hint", "the simulated endpoint cannot tell what the prompt asks", todo)

    def _verdicts(self) -> Iterator[Finding]:
        """How each critic judged the answers; its own line if it passed them all."""
        told = {f"critics.{one.critic}": one for one in self.summary.critics if not one.always_passes}
        if told:
            lines = [
                f"{c.critic} passed {c.passed} of {c.answers} answers, {c.words} words (median)" for c in told.values()
            ]
            yield Finding("verdicts", tuple(told), "good", "; ".join(lines))
        for one in self.summary.critics:
            if one.always_passes:
                seen = f"{one.critic} passed all {one.answers} answers, {one.words} words (median)"
                yield Finding("verdicts", (f"critics.{one.critic}",), "hint", seen, HINT)

    def _reasoning(self, recipe: Recipe) -> Iterator[Finding]:
        asked = [call for call in self.calls.get("responder", []) if call.outcome == "ok"]
        given = sum(bool(call.reply.reasoning) for call in asked)
        if asked and given == len(asked):
            yield Finding("reasoning", ("responder",), "good", "returned with every answer")
        elif asked and recipe.role("responder").reasoning != "off":
            seen = f"{len(asked) - given} of {len(asked)} answers have no reasoning"
            todo = "for reasoning in the training rows use a model that reasons, roles.responder.reasoning: on, and"
            yield Finding("reasoning", ("responder",), "hint", seen, f"{todo} serve it with --reasoning-parser")

    def _cached(self) -> Iterator[Finding]:
        sharing = [role for role in self.calls if role.startswith("critics.") or role == "refiner"]
        usages = [call.reply.usage for role in sharing for call in self.calls[role]]
        prompts, cached = sum(usage.tokens_in for usage in usages), sum(usage.tokens_cached for usage in usages)
        if cached:
            seen = f"{100 * cached / prompts:.0f} % of prompt tokens came from the server's cache"
            yield Finding("cached tokens", tuple(sharing), "good", seen)
        elif prompts:
            todo = "start vLLM with --enable-prompt-tokens-details, and keep prefix caching on"
            yield Finding("cached tokens", tuple(sharing), "hint", "the server reports none", todo)

    def _outcomes(self) -> Iterator[Finding]:
        for line in self.summary.usage:
            told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in line.outcomes.items())
            if told:
                seen, todo = (
                    f"of {line.calls} replies: {told}",
                    "`muser run` retries such replies or fails their samples; see its summary",
                )
                yield Finding("replies", (line.role,), "hint", seen, todo)

    def fit(self, recipe: Recipe, context: int | None, roles: tuple[str, ...]) -> Iterator[Finding]:
        """Whether the longest prompt and its reply fit the context, also with a response of the maximum length."""
        if context is None:
            yield Finding(
                "context", roles, "hint", "the server does not report its length", "look it up in the server's settings"
            )
            return
        most = 0
        for role in roles:
            seen, worst = self._need(recipe, role)
            most = max(most, seen, worst)
            level: Level = "problem" if seen > context else "hint"
            need = seen if level == "problem" else worst
            if need > context:
                when = "" if level == "problem" else " with a response of the maximum length"
                said = f"prompt and max_tokens take {need:,} tokens of {context:,}{when}"
                todo = f"serve with --max-model-len {need} or more, or lower max_tokens"
                yield Finding("context", (role,), level, said, todo)
        if most <= context:
            yield Finding("context", roles, "good", f"{context:,} tokens; at most {most:,} are needed")

    def _need(self, recipe: Recipe, role: str) -> tuple[int, int]:
        """Tokens of the longest prompt and its reply: as seen, and with a response of max_tokens tokens."""
        calls = [call for call in self.calls.get(role, []) if call.reply.usage.tokens_in]
        tokens = sum(call.reply.usage.tokens_in for call in calls) or 1
        # The file's longest query may not be among the tried ones: its tokens are estimated from its characters.
        letters = sum(len(message.content) for call in calls for message in call.messages) or 1
        longest = max((call.reply.usage.tokens_in for call in calls), default=0)
        longest += round(self.longest_query * tokens / letters)
        reply = _max_tokens(recipe, role)
        # Only critics and the refiner read the response, which may get as long as the responder's max_tokens allows.
        if not (role.startswith("critics.") or role == "refiner"):
            return longest + reply, longest + reply
        answers = [call.reply.usage.tokens_out for call in self.calls.get("responder", [])]
        more = _max_tokens(recipe, "responder") - max(answers) if answers else 0
        return longest + reply, longest + max(more, 0) + reply

    def estimate(self, recipe: Recipe, gpus: int | None) -> Estimate | None:
        """The estimated cost of all of the recipe's samples."""
        count = count_gpus(recipe, recipe.call_roles()) if gpus is None else gpus
        return estimate_cost(self.groups, seconds=self.summary.seconds, in_flight=self.in_flight, gpus=count)


def _max_tokens(recipe: Recipe, role: str) -> int:
    bound = recipe.role(role)
    return bound.max_tokens or recipe.models[bound.name].max_tokens


async def try_samples(
    recipe: Recipe,
    models: Mapping[str, ModelSettings],
    revisions: Mapping[str, str],
    tries: int,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrialRun:
    """Runs about `tries` of the recipe's samples concurrently: one, or at least two of each kind."""
    brought = read_queries(recipe.folder / recipe.queries) if recipe.queries else None
    count = brought.count if brought else 0
    least = min(tries, 2)
    simulated = min(recipe.samples, max(round(tries * recipe.samples / max(recipe.samples + count, 1)), least))
    tables = load_tables(recipe)
    # Personas are drawn independently, so the first ones are representative. A file of queries may be sorted.
    drawn = list(islice(simulated_inputs(recipe.samples, tables, recipe.seed), simulated))
    picked = _spread(brought, max(tries - simulated, 2)) if brought and (tries > 1 or not simulated) else []
    changes = {"name": "probe", "concurrency": len(drawn) + len(picked) or 1, "limits": Limits()}
    with tempfile.TemporaryDirectory(prefix="muser-probe-") as folder, Store.open(Path(folder) / "probe.db") as store:
        summary = await run_recipe(
            recipe.model_copy(update=changes),
            store,
            inputs=[*drawn, *picked],
            models=models,
            revisions=revisions,
            on_progress=on_progress,
        )
        ids = [[f"{summary.run_id}/{given.key}" for given in kind] for kind in (drawn, picked)]
        calls: dict[str, list[Call]] = {role: [] for role in recipe.call_roles()}
        for sample in (*ids[0], *ids[1]):
            for call in calls_of(store, sample):
                calls[call.role].append(call)
        groups = tuple((n, costs_of(store, each)) for n, each in zip((recipe.samples, count), ids, strict=True))
    asked = max(map(_length, picked), default=0)
    return TrialRun(
        summary=summary,
        calls=calls,
        groups=groups,
        longest_query=max(map(_length, brought or ()), default=0) - asked,
        in_flight=recipe.max_concurrency if recipe.concurrency == "auto" else recipe.concurrency,
    )


def _spread(brought: Queries, count: int) -> list[SampleInput]:
    """`count` queries, evenly spaced from the first to the last."""
    places = {round(n * (brought.count - 1) / (count - 1)) for n in range(count)}
    return [given for place, given in enumerate(brought) if place in places]


def _length(given: SampleInput) -> int:
    return len(asked_text(given.history, given.query or ""))
