"""The results of a finished pipeline, gathered from the store: scores, losses, funnel, cost and provenance."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ...core.loading import recipe_yaml
from ...core.recipe import Recipe
from ...core.types import Stage
from ...evals.lengths import rate_of
from ...evals.scores import ExampleScore, Report, summarize, values_by_example
from ...evals.statistics import adjust, compare
from ...store.file.database import Store
from ...store.queries.tallies import Tally, count_rows, tally_run, verdicts_of
from ...store.records.artifacts import Artifact, find_artifact, latest_artifact, parents_of
from ...store.records.ledger import usage_by_role
from ...store.records.runs import Run, find_run, simulated_roles
from ...store.records.samples import failures
from ..scoring import stage_scores
from ..steps import StepState, Work
from .critics import gather_critics

CAPTION = (
    "Simulated: {roles} replied from a script, the file {file}. The table measures whether training transfers what the "
    "rows contain, with a simulated teacher and critics and a tiny student; it says nothing about medical quality. "
    "Self-critique by the distilled student is exercised by the pipeline test on vLLM instead."
)
KNOWLEDGE = "muser/endpoints/simulated/simulated.yaml"


def gather(work: Work) -> dict[str, Any]:
    """The report as JSON values; the same store always gives the same values."""
    recipe, store = work.recipe, work.store
    return {
        "name": recipe.name,
        "note": recipe.note,
        "caption": caption(recipe, simulated_roles(store, [s.result for s in work.states.values() if _is_run(s)])),
        "scores": scores(work),
        "losses": {stage: _history(_model(work, stage)) for stage in _trained(work)},
        "training": {stage: _training(_model(work, stage)) for stage in _trained(work)},
        "funnel": funnel(work),
        "verdicts": verdicts_of(store, work.result("refine.run")) if "refine" in _trained(work) else {},
        "critics": gather_critics(store, work.result("refine.run") if "refine" in _trained(work) else ""),
        "cost": [_cost(store, state) for state in work.states.values() if _is_run(state)],
        "provenance": provenance(work),
        "command": work.command,
        "recipe": recipe_yaml(recipe),
    }


def caption(recipe: Recipe, simulated: set[str]) -> str:
    """What a table made with simulated models does and does not show; empty if no model was simulated."""
    roles = ["persona", "responder", *(f"critics.{name}" for name in recipe.critics), "refiner", "judge"]
    scripted = [role for role in roles if role in simulated]
    named = ["teacher" if role == "responder" else role.replace("critics.", "critic ") for role in scripted]
    return CAPTION.format(roles=", ".join(named), file=KNOWLEDGE) if named else ""


def scores(work: Work) -> dict[str, Any]:
    """Each stage's scores, and their paired differences from the stage before and from the first one."""
    found: dict[str, list[ExampleScore]] = {}
    for step, state in work.states.items():
        first, _, stage = step.partition(".")
        if first == "eval":
            found[stage] = stage_scores(work.recipe, work.store, _stage(stage), state.result)
    stages = list(found)
    table: dict[str, Any] = {}
    for number, stage in enumerate(stages):
        others = dict.fromkeys([stages[number - 1], stages[0]]) if number else {}
        table[stage] = {
            "run": work.result(f"eval.{stage}"),
            "report": summarize(found[stage], rate=_rate(work.recipe)).to_dict(),
            "differences": {other: differences(found[other], found[stage]) for other in others},
            "cut_off": _outcomes(work.store, work.result(f"eval.{stage}"), "responder"),
            "failed": tally_run(work.store, work.result(f"eval.{stage}")).failed,
        }
    return table


def differences(first: Sequence[ExampleScore], second: Sequence[ExampleScore]) -> dict[str, Any]:
    """Paired difference of every metric that both have values for: overall, `axis:…`, `theme:…`."""
    before, after = metrics(first), metrics(second)
    shared = {name: (before[name], after[name]) for name in before if name in after}
    kept = {name: pair for name, pair in shared.items() if any(_has_both(*pair, key) for key in pair[0])}
    found = {name: compare(*pair) for name, pair in kept.items()}
    # The overall score is the one question asked; tags are many, and one in twenty would differ by chance.
    tags = adjust({name: one for name, one in found.items() if name != "overall"})
    return {name: one.model_dump(mode="json") for name, one in (found | tags).items()}


def metrics(scores: Sequence[ExampleScore]) -> dict[str, dict[str, float | None]]:
    """Metric → example → value, as paired comparison takes them."""
    found: dict[str, dict[str, float | None]] = {"overall": values_by_example(scores)}
    themes = dict.fromkeys(tag for one in scores for tag in one.example_tags if tag.startswith("theme:"))
    for theme in themes:
        found[theme] = values_by_example(one for one in scores if theme in one.example_tags)
    axes = dict.fromkeys(tag for one in scores for tag in one.rubric_tags if tag.startswith("axis:"))
    for axis in axes:
        tagged = (one for one in scores if axis in one.rubric_tags)
        found[axis] = values_by_example(one.model_copy(update={"score": one.rubric_tags[axis]}) for one in tagged)
    return found


def funnel(work: Work) -> list[dict[str, Any]]:
    """How many samples reached each step, and why the rest did not."""
    store, distill = work.store, work.result("distill.run")
    asked = tally_run(store, distill)
    lines: list[tuple[str, int, dict[str, int]]] = [
        ("asked", asked.samples, {}),
        ("answered", asked.done, _losses(store, distill, asked)),
    ]
    if "refine" in _trained(work):
        refine = work.result("refine.run")
        improved = tally_run(store, refine)
        passed = _counted({"no critic asked for a revision": improved.done - improved.refined})
        lines.append(("critiqued", improved.critiqued, _losses(store, refine, improved)))
        lines.append(("refined", improved.refined, passed))
    for stage in _trained(work):
        meta: dict[str, Any] = _model(work, stage).meta
        lines.append((f"rows of stage {stage}", count_rows(store, work.result(f"{stage}.run"), stage), {}))
        lost = _counted(meta.get("drop_reasons", {}) | {"held out": meta.get("held_out", 0)})
        lines.append((f"trained in stage {stage}", meta["rows"], lost))
    return [{"step": name, "samples": count, "lost": lost} for name, count, lost in lines]


def provenance(work: Work) -> dict[str, Any]:
    """Every run and artifact behind the report."""
    store = work.store
    runs = [find_run(store, state.result) for state in work.states.values() if _is_run(state)]
    made: dict[int, Artifact] = {}
    for stage in _trained(work):
        _collect(store, _model(work, stage), made)
    for state in work.states.values():
        if state.name.startswith("eval."):
            evaluation = latest_artifact(store, "evaluation", state.result, _stage(state.name[5:]))
            if evaluation:
                _collect(store, evaluation, made)
    return {
        "runs": [_run(run) for run in runs if run],
        "artifacts": [_artifact(one, store) for _, one in sorted(made.items())],
        "versions": dict(sorted({k: v for run in runs if run for k, v in run.versions.items()}.items())),
    }


def _collect(store: Store, artifact: Artifact, made: dict[int, Artifact]) -> None:
    if artifact.id is not None and artifact.id not in made:
        made[artifact.id] = artifact
        for parent in parents_of(store, artifact.id):
            _collect(store, parent, made)


def _artifact(artifact: Artifact, store: Store) -> dict[str, Any]:
    shown = artifact.model_dump(mode="json", include={"id", "kind", "name", "stage", "digest", "path", "run_id"})
    return shown | {"made_of": [one.id for one in parents_of(store, artifact.id or 0)]}


def _run(run: Run) -> dict[str, Any]:
    return run.model_dump(mode="json", include={"id", "kind", "fingerprint", "seed", "git_commit", "prompts"})


def _cost(store: Store, state: StepState) -> dict[str, Any]:
    evaluation = (
        latest_artifact(store, "evaluation", state.result, _stage(state.name[5:])) if "eval" in state.name else None
    )
    serving = {key: evaluation.meta.get(key) for key in ("seconds",)} if evaluation else {}
    return run_cost(store, state.name, state.result) | {"serving": serving}


def run_cost(store: Store, step: str, run_id: str) -> dict[str, Any]:
    """What a run cost, by role. Reused calls cost nothing."""
    tally = tally_run(store, run_id)
    return {
        "step": step,
        "run": run_id,
        "samples": tally.samples,
        "failed": tally.failed,
        "seconds": tally.seconds,
        "grades": tally.grades,
        "grades_failed": tally.grades_failed,
        "roles": [one.model_dump(mode="json") for one in usage_by_role(store, run_id)],
        "serving": {},
    }


def _training(model: Artifact) -> dict[str, Any]:
    keys = [
        "base",
        "rows",
        "rows_dropped",
        "held_out",
        "steps",
        "loss_first",
        "loss_last",
        "held_out_loss_first",
        "held_out_loss_last",
    ]
    keys += ["seconds", "tokens", "peak_memory_mb"]
    return {key: model.meta.get(key) for key in keys} | {"path": model.path, "digest": model.digest}


def _history(model: Artifact) -> list[dict[str, Any]]:
    """The loss of every step, as the training left it beside the model."""
    file = Path(model.path).parent / "history.json"
    entries = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return [{"step": entry["step"], "loss": entry["loss"]} for entry in entries]


def _losses(store: Store, run: str, tally: Tally) -> dict[str, int]:
    kinds = {f"{one.cause_kind}{f' at {one.node}' if one.node else ''}": one.samples for one in failures(store, run)}
    return _counted(kinds | {"not finished": tally.pending})


def _counted(reasons: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if count}


def _outcomes(store: Store, run: str, role: str) -> int:
    return sum(sum(one.outcomes.values()) for one in usage_by_role(store, run) if one.role == role)


def _model(work: Work, stage: str) -> Artifact:
    found = find_artifact(work.store, int(work.result(f"{stage}.train")))
    if found is None:
        raise LookupError(f"no artifact {work.result(f'{stage}.train')}")
    return found


def _is_run(state: StepState) -> bool:
    return state.name.endswith(".run") or state.name.startswith("eval.")


def _trained(work: Work) -> list[Literal["distill", "refine"]]:
    return work.recipe.training.stages if work.recipe.training else []


def _has_both(first: Mapping[str, float | None], second: Mapping[str, float | None], key: str) -> bool:
    return first[key] is not None and second.get(key) is not None


def _rate(recipe: Recipe) -> float | None:
    return rate_of(recipe.evaluation.benchmark if recipe.evaluation else None)


def _stage(name: str) -> Stage:
    stages: dict[str, Stage] = {"base": "base", "distill": "distill", "refine": "refine"}
    return stages[name]


def read_report(stored: dict[str, Any]) -> Report:
    """A stage's scores out of a gathered report."""
    return Report.model_validate(stored["report"])
