"""Replay: rerun samples from one of their checkpoints under a changed recipe, and leave the originals unchanged.

A fork gets a thread of its own. It starts with the state the original had before the node and the critiques it keeps,
enters the machine as late as that state allows, and skips critics whose critique is kept. Updating the original's
thread as one of several parallel critics would not work: LangGraph would skip the other critics and the refiner.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from ..core.errors import InputError, MuserError, RunChanged
from ..core.hashing import digest
from ..core.loading import parse_recipe
from ..core.problems import suggestion
from ..core.recipe import ModelSettings, Recipe
from ..core.types import Value
from ..store.file.database import Store
from ..store.records.checkpoints import open_checkpointer
from ..store.records.forks import ForkPoint, add_forks, origins_of
from ..store.records.runs import Run, find_run, start_run
from ..store.records.samples import get_trace
from .build import build_machine
from .identity import describe_run, difference
from .progress import Progress, Summary
from .run import Materials, build_job, describe_recipe, node_timeouts
from .runner import OnProgress, run_job
from .screening import UNSCREENED

CRITICS = "critics"
"""Node name for a replay from all critics."""


class Replayed(Value):
    """The result of a replay: a run of forks. `forks` maps each original's id to its fork.

    `changes` lists the recipe changes from `node` on (in `round`, if one was given), `refused` maps each sample without
    a fork to the reason, `calls` counts the calls made and `reused` those taken from the ledger.
    """

    run_id: str
    parent: str
    node: str
    round: int | None
    changes: tuple[str, ...]
    forks: dict[str, str]
    refused: dict[str, str]
    calls: int
    reused: int


def run_of(store: Store, samples: Sequence[str]) -> Run:
    """The one run these samples belong to. InputError if there are several, or if it is an evaluation."""
    runs = {sample.rpartition("/")[0] for sample in samples}
    if len(runs) != 1:
        raise InputError("a replay takes samples of one run", where=", ".join(sorted(runs)) or "no sample given")
    run = find_run(store, runs.pop())
    if run is None or run.kind == "evaluation":
        raise InputError("only samples of the method's own graph can be replayed", where=samples[0])
    return run


@dataclass(frozen=True)
class Replay:
    """A checked replay: the node, the recipe before and after, and from these the roles to call."""

    parent: Run
    node: str
    before: Recipe
    recipe: Recipe
    number: int | None = None
    """The node's round; None: the last one each sample reached."""

    @classmethod
    def plan(cls, parent: Run, recipe: Recipe, node: str, number: int | None = None) -> "Replay":
        """Raises InputError if the node or round is unknown, or a changed setting only affects earlier nodes."""
        before = parse_recipe(parent.recipe, parent.folder, source=f"the recipe of run {parent.id}")
        recipe = recipe.model_copy(update={"name": before.name})
        self = cls(parent, node, before, recipe, number)
        known = ["persona", "respond", *recipe.critics, *([CRITICS, "refine"] if recipe.critics else [])]
        if node not in known:
            raise InputError(f"the recipe has no node {node}{suggestion(node, known)}", where=parent.id)
        if number is not None and (node in ("persona", "respond") or not 1 <= number <= before.rounds):
            rounds = "1 round" if before.rounds == 1 else f"{before.rounds} rounds"
            what = f"{node} comes before the rounds" if node in ("persona", "respond") else f"the run has {rounds}"
            raise InputError(f"there is no round {number} of {node}: {what}", where=parent.id)
        new = recipe.identity()
        old = {key: _only(value, new[key]) for key, value in before.identity().items()}
        for line in difference(old, new):
            if line not in difference(self._seen(old), self._seen(new)):
                raise InputError(
                    f"this change has no effect from {node} on: {line}",
                    where=parent.id,
                    todo="replay from an earlier node; seeds, names and queries are always the original's",
                )
        return self

    @property
    def roles(self) -> list[str]:
        """The roles that are called from the node on."""
        critics = [f"critics.{name}" for name in self.recipe.critics]
        if self.node in ("persona", "respond"):
            own = ["persona", "responder"] if self.node == "persona" else ["responder"]
            return [*own, *critics, *(["refiner"] if critics else [])]
        if self.node == CRITICS or self.recipe.rounds > (self.number or 1):
            return [*critics, "refiner"]
        new = {f"critics.{name}" for name in self.recipe.critics if name not in self.before.critics}
        return [role for role in critics if role == f"critics.{self.node}" or role in new] + ["refiner"]

    def describe(self, revisions: Mapping[str, str]) -> tuple[Materials, Run]:
        """The run that would hold the forks. Equal replays have equal fingerprints and so share a run."""
        materials = Materials.load(self.recipe, own_inputs=False)
        whole, given = describe_recipe(self.recipe, materials, revisions=revisions).identity, self.parent.identity
        seen = self._seen(whole)
        changes = difference(self._seen(given), seen)
        # Everything before the node was made under the parent's recipe.
        kept = {key: given[key] | seen[key] for key in ("models", "roles", "texts", "revisions") if key in given}
        fork = {"parent": self.parent.id, "node": self.node} | ({"round": self.number} if self.number else {})
        identity = given | seen | kept | {"critics": whole["critics"], "fork": fork}
        name = f"{self.parent.name.removesuffix('-fork')}-fork"
        repeated, old = {*self.roles, "shared"}, self.parent
        digests = materials.digests().items()
        prompts = {role: one if role in repeated else old.prompts.get(role, one) for role, one in digests}
        forked = self.recipe.model_copy(update={"name": name})
        read = materials.prompts.files(forked.call_roles())
        files = {role: one if role in repeated else old.prompt_files.get(role, one) for role, one in read.items()}
        run = describe_run(forked, identity, prompts, files)
        found = {
            "parent": self.parent.id,
            "node": self.node,
            "changes": tuple(changes),
            "fingerprint": digest(identity),
        }
        return materials, run.model_copy(update=found)

    def _seen(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The part of an identity that affects the called roles' output."""
        roles = {role: identity["roles"].get(role) for role in self.roles}
        bound = {settings["model"] for settings in roles.values() if settings}
        texts = {role if role == "attributes" else f"prompts.{role}" for role in (*roles, "shared")}
        texts |= {f"code.{role}" for role in roles} | ({"attributes"} if "persona" in roles else set())
        # A critic that is not called matters only if the recipe removed it.
        kept = {name for name in self.recipe.critics if name in self.before.critics and f"critics.{name}" not in roles}
        return {
            **{key: identity[key] for key in ("critics_order", "refine_when", "rounds", "repairs") if key in identity},
            "critics": {name: value for name, value in identity.get("critics", {}).items() if name not in kept},
            "models": {name: identity["models"].get(name) for name in sorted({one.partition("@")[0] for one in bound})},
            "roles": roles,
            "texts": {key: value for key, value in identity.get("texts", {}).items() if key in texts},
            "revisions": {key: value for key, value in identity.get("revisions", {}).items() if key in bound},
        }


async def replay(
    recipe: Recipe,
    store: Store,
    samples: Sequence[str],
    *,
    node: str,
    number: int | None = None,
    models: Mapping[str, ModelSettings] | None = None,
    revisions: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
    most_calls: int | None = None,
) -> tuple[Replayed, Summary]:
    """Rerun samples of one run from `node`: a node's or critic's name, or `critics` for all critics.

    `number` is the node's round, by default the last one each sample reached. `recipe` is the run's own with changes;
    only the node and what follows run. Identical calls come from the ledger, so replaying an unchanged step makes no
    calls, and repeating a replay resumes its run. The replay stops before it would make more than `most_calls`.
    InputError if no sample can be replayed; otherwise raises what `run_recipe` raises.
    """
    parent = run_of(store, samples)
    planned = Replay.plan(parent, recipe, node, number)
    materials, described = planned.describe(revisions or {})
    points, refused = await _find_points(store, planned, samples)
    run = start_run(store, described)
    forks = add_forks(store, run.id, points)
    needed = dict.fromkeys([*planned.roles, *_missing(planned.recipe, points)])
    last = Progress(run.id)

    def note(progress: Progress) -> None:
        nonlocal last
        last = progress
        if on_progress:
            on_progress(progress)

    if recipe.reuse == planned.before.reuse:
        # `reuse` limits what the run may reuse. A replay is built on the run's calls, so it may reuse all of them.
        recipe = recipe.model_copy(update={"reuse": "all"})
    # A replay shows what a change does to these samples: none is rejected, or drawn again.
    materials = replace(materials, screens=UNSCREENED)
    job = build_job(recipe, run, materials, list(needed), models or recipe.models, revisions or {})
    summary = await run_job(store, replace(job, retry=True, most_calls=most_calls), on_progress=note, stop=stop)
    return Replayed(
        run_id=run.id,
        parent=parent.id,
        node=node,
        round=number,
        changes=described.changes,
        forks={point.sample: fork for point, fork in zip(points, forks, strict=True)},
        refused=refused,
        calls=last.calls,
        reused=last.reused,
    ), summary


def _only(value: Any, other: Any) -> Any:
    """A part of an identity, limited to the other's keys: removing a critic also removes its role and model."""
    if not isinstance(value, dict) or not isinstance(other, dict):
        return value
    return {key: one for key, one in value.items() if key in other}


async def retry_forks(recipe: Recipe, store: Store, run: Run, **how: Any) -> Summary:
    """Retry the failed forks of a run by repeating the replay that made them; `how` goes to `replay`.

    Raises RunChanged if the recipe has changed since that replay.
    """
    failed, node = origins_of(store, run.id, "failed"), run.node or CRITICS
    if not failed:
        raise InputError("no fork of this run has failed", where=run.id)
    _, again = Replay.plan(run_of(store, failed), recipe, node, run.replayed_round).describe(how.get("revisions") or {})
    if again.fingerprint != run.fingerprint:
        changes = "\n".join(f"  {line}" for line in difference(run.identity, again.identity))
        raise RunChanged(
            f"the recipe has changed since run {run.id} was made:\n{changes}",
            where=str(store.path),
            todo="undo the change, or replay the samples with it",
        )
    _, summary = await replay(recipe, store, failed, node=node, number=run.replayed_round, **how)
    return summary


async def _find_points(store: Store, planned: Replay, samples: Sequence[str]) -> tuple[list[ForkPoint], dict[str, str]]:
    """The checkpoint to replay each sample from, and why the other samples have none."""
    points, refused = [], dict[str, str]()
    before = planned.before
    machine = build_machine(list(before.critics), node_timeouts(before, before.call_roles()), rounds=before.rounds)
    async with open_checkpointer(store) as saver:
        app = machine.compile(checkpointer=saver)
        for sample in dict.fromkeys(samples):
            try:
                points.append(await _find_point(app, store, planned, sample))
            except MuserError as error:
                if len(samples) == 1:
                    raise
                refused[sample] = error.what
    if not points:
        first = next(iter(refused.items()), ("", "no sample given"))
        raise InputError(f"none of {len(samples):,} samples can be replayed: {first[1]}", where=first[0])
    return points, refused


async def _find_point(
    app: CompiledStateGraph[Any, Any, Any, Any], store: Store, planned: Replay, sample: str
) -> ForkPoint:
    trace, node = get_trace(store, sample), planned.node
    if trace.pruned_at:
        what = f"its checkpoints were pruned on {trace.pruned_at[:10]}, so it cannot be replayed"
        raise InputError(what, where=sample, todo="run the recipe again with --new and history: keep")
    if trace.status not in ("done", "failed"):
        raise InputError(f"it is {trace.status}", where=sample, todo="replay it when it has finished")
    # Newest first; `next` names the nodes that would run from a snapshot (langgraph/types.py, StateSnapshot).
    history = [snapshot async for snapshot in app.aget_state_history({"configurable": {"thread_id": sample}})]
    if not history and trace.origin:
        raise InputError(f"its checkpoints belong to {trace.origin}", where=sample, todo="replay that sample")
    is_critic = node == CRITICS or node in planned.recipe.critics
    wanted = set(planned.before.critics) if is_critic else {node}
    of_round = [one for one in history if planned.number in (None, one.values.get("round"))]
    found = next((snapshot for snapshot in of_round if wanted & set(snapshot.next)), None)
    if found is None:
        origin = f", or replay its origin, {trace.origin}" if trace.origin else ""
        at = f" in round {planned.number}" if planned.number else ""
        raise InputError(f"it never reached {node}{at}", where=sample, todo=f"replay it from another node{origin}")
    state = dict(found.values)
    if is_critic:
        # The snapshot before the critics lacks this round's critiques, so those to keep come from the latest state.
        kept = [c for c in history[0].values.get("critiques", []) if c["round"] <= state["round"]]
        state["critiques"] = [c for c in kept if c["round"] < state["round"] or node not in (CRITICS, c["critic"])]
    state["critiques"] = [c for c in state.get("critiques", []) if c["critic"] in planned.recipe.critics]
    return ForkPoint(sample, found.config["configurable"]["checkpoint_id"], state)


def _missing(recipe: Recipe, points: Sequence[ForkPoint]) -> list[str]:
    """Critics without a kept critique in some fork's round, such as those that failed along with the replayed one."""
    kept = [{c["critic"] for c in point.state["critiques"] if c["round"] == point.state["round"]} for point in points]
    return [f"critics.{name}" for name in recipe.critics if any(name not in critics for critics in kept)]
