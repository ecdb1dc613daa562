"""Puts a run's critics to the test: the same answers again with other seeds, and answers with planted faults."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.documents import read_document
from ..core.errors import InputError, RunChanged
from ..core.hashing import digest, file_digest
from ..core.recipe import Recipe
from ..core.types import Critique, Response, SampleInput, Value
from ..graph.progress import Summary
from ..graph.run import run_recipe
from ..store.file.database import Store
from ..store.queries.answers import answered
from ..store.queries.critics import reask_name
from ..store.records.runs import latest_run
from ..store.records.samples import Trace, get_trace

FAULTS = Path(__file__).with_name("planted_faults.yaml")
MOST = 100
"""Answers of a run about which its critics are asked again."""


@dataclass(frozen=True)
class PlantedFault:
    """A sound answer and its twin with one fault; a rationale names the fault if it has one of `names`."""

    key: str
    facet: str
    query: str
    sound: str
    faulty: str
    names: Sequence[str]

    def is_named(self, rationale: str) -> bool:
        """Whether one of the names stands in the rationale, at the beginning of a word and in any case."""
        return any(re.search(rf"\b{re.escape(name)}", rationale, re.IGNORECASE) for name in self.names)


class Detection(Value):
    """What one critic found in the answers with planted faults of one facet."""

    critic: str
    facet: str
    faults: int
    """answers with a fault that it judged"""
    revised: int
    """of these, the ones that it asked to revise"""
    found: int
    """of these, the ones whose rationale names the fault"""
    sound: int
    """answers without a fault that it judged"""
    passed: int
    """of these, the ones that it passed"""
    sensitivity: float | None
    """the share of faults that it found"""
    specificity: float | None
    """the share of sound answers that it passed"""


def load_faults(path: Path = FAULTS) -> list[PlantedFault]:
    """The planted faults that ship with muser."""
    entries: list[dict[str, Any]] = read_document(path).data["faults"]
    return [
        PlantedFault(
            key=f"{one['facet']}-{number:02d}",
            facet=one["facet"],
            query=one["query"],
            sound=one["answer"],
            faulty=one["answer"].replace(one["replace"], one["by"]),
            names=one["names"],
        )
        for number, one in enumerate(entries, start=1)
    ]


async def ask_again(recipe: Recipe, store: Store, *, run_id: str, times: int, **how: Any) -> Summary:
    """Asks the critics of a run again about its first answers, `times` times with other seeds; resumable.

    The verdicts form a run of their own. `how` is passed to `run_recipe`. Raises InputError if nothing was answered.
    """
    given = list(islice(answered(store, run_id), MOST))
    if not given:
        raise InputError(f"run {run_id} has no finished answers", where=str(store.path), todo="finish it first")
    # A sample's seed follows from its key.
    inputs = [one.model_copy(update={"key": f"{one.key}.{time}"}) for time in range(1, times + 1) for one in given]
    return await _criticise(recipe, store, inputs, reask_name(run_id), digest(["answers of", run_id]), how)


async def ask_planted(recipe: Recipe, store: Store, *, run_id: str, **how: Any) -> Summary:
    """Asks the critics of a run about every sound answer and its twin, as `ask_again`."""
    inputs = [
        SampleInput(key=f"{one.key}-{kind}", query=one.query, response=Response(answer=answer))
        for one in load_faults()
        for kind, answer in (("sound", one.sound), ("fault", one.faulty))
    ]
    return await _criticise(recipe, store, inputs, _planted_name(run_id), file_digest(FAULTS), how)


async def _criticise(
    recipe: Recipe, store: Store, inputs: Sequence[SampleInput], name: str, source: str, how: dict[str, Any]
) -> Summary:
    only = {"name": name, "samples": 0, "queries": None, "rounds": 1, "refine_when": "never"}
    alone = recipe.model_copy(update=only)
    run = partial(run_recipe, alone, store, inputs=inputs, source=source, roles=alone.critic_roles(), retry=True, **how)
    try:
        return await run()
    except RunChanged:
        return await run(new=True)


def detections(store: Store, run_id: str) -> tuple[Detection, ...]:
    """What the run's critics found; empty until `muser critics RUN --planted` has asked them.

    A critic whose name is a facet is measured on that facet's faults, any other on the faults of each facet.
    """
    judged = latest_run(store, _planted_name(run_id))
    if judged is None:
        return ()
    rows = store.read("SELECT key FROM samples WHERE run_id = ? AND status = 'done'", (judged.id,))
    critiques = {row["key"]: _by_critic(get_trace(store, f"{judged.id}/{row['key']}")) for row in rows}
    faults = load_faults()
    facets = list(dict.fromkeys(one.facet for one in faults))
    critics = dict.fromkeys(critic for said in critiques.values() for critic in said)
    return tuple(
        _detection(critic, facet, [one for one in faults if one.facet == facet], critiques)
        for critic in critics
        for facet in ([critic] if critic in facets else facets)
    )


def _detection(
    critic: str, facet: str, faults: Sequence[PlantedFault], critiques: dict[str, dict[str, Critique]]
) -> Detection:
    def judged(kind: str) -> Iterator[tuple[PlantedFault, Critique]]:
        for one in faults:
            if said := critiques.get(f"{one.key}-{kind}", {}).get(critic):
                yield one, said

    faulty, sound = list(judged("fault")), list(judged("sound"))
    revised = [(one, said) for one, said in faulty if said.verdict == "revise"]
    found = sum(one.is_named(said.rationale) for one, said in revised)
    passed = sum(said.verdict == "pass" for _, said in sound)
    return Detection(
        critic=critic,
        facet=facet,
        faults=len(faulty),
        revised=len(revised),
        found=found,
        sound=len(sound),
        passed=passed,
        sensitivity=found / len(faulty) if faulty else None,
        specificity=passed / len(sound) if sound else None,
    )


def _by_critic(trace: Trace) -> dict[str, Critique]:
    return {critique.critic: critique for critique in trace.critiques}


def _planted_name(run_id: str) -> str:
    return f"{run_id}-planted"
