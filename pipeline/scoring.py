"""The scoring steps: in one run per stage, the stage's model answers the benchmark and the judge grades it."""

import time
from collections.abc import Awaitable, Callable

from ..core.errors import EvaluationError, SettingsError
from ..core.hashing import digest
from ..core.recipe import Recipe, RoleSettings
from ..core.types import Stage
from ..evals.grading import (
    benchmark_of,
    describe_evaluation,
    evaluate,
    given_answers,
    keyed_examples,
    report_run,
    roles_of,
    score_run,
)
from ..evals.scores import ExampleScore
from ..graph.progress import Summary
from ..store.file.database import Store
from ..store.records.artifacts import Artifact, latest_artifact, record_artifact
from .models import revisions_of, trained_model
from .sampling import Planned, keep_summary, look_at_run
from .servers import serving
from .steps import StepState, Work


def stage_recipe(recipe: Recipe, stage: Stage) -> Recipe:
    """The recipe of one stage's evaluation, with the student of that stage as responder."""
    name = recipe.training.model if recipe.training else recipe.role("responder").name
    return answering_recipe(recipe, f"{name}@{stage}", f"{recipe.name}-eval-{stage}")


def answering_recipe(recipe: Recipe, model: str, name: str) -> Recipe:
    """The recipe of an evaluation run called `name`, with `model` (NAME or NAME@STAGE) as responder."""
    roles = recipe.roles.model_copy(update={"responder": RoleSettings(model=model)})
    return recipe.model_copy(update={"name": name, "roles": roles})


def look_at_scores(stage: Stage) -> Callable[[Work], StepState]:
    """Whether the stage's current model answered every example and every answer is graded."""

    def look(work: Work) -> StepState:
        _check_scores_stages(work.recipe)
        state = look_at_evaluation(stage_recipe(work.recipe, stage), work.store, f"eval.{stage}")
        if state.state == "done" and latest_artifact(work.store, "evaluation", state.result, stage) is None:
            return state.model_copy(update={"state": "unfinished", "note": "graded, not scored yet"})
        return state

    return look


def _check_scores_stages(recipe: Recipe) -> None:
    settings = benchmark_of(recipe)
    if settings.answers or settings.grading == "none":
        raise SettingsError(
            "evaluation.answers and grading: none leave the pipeline nothing to score a stage by",
            where=recipe.name,
            todo="remove them; `muser eval grade` and `muser eval answer` have them as options",
        )


def look_at_evaluation(recipe: Recipe, store: Store, step: str) -> StepState:
    """The state of this recipe's evaluation run."""
    described = describe_evaluation(recipe, store, revisions=revisions_of(recipe, store, roles_of(recipe)))
    answers = given_answers(recipe, store)
    examples = sum(1 for _ in keyed_examples(recipe)) if answers is None else len(answers)
    return look_at_run(store, step, Planned(described, examples))


def score(stage: Stage) -> Callable[[Work], Awaitable[None]]:
    """Serves and evaluates the stage's model; records the scores once no example is pending."""

    async def act(work: Work) -> None:
        recipe, began = stage_recipe(work.recipe, stage), time.monotonic()
        summary = await evaluate_model(work, recipe)
        keep_summary(work, summary)
        # A score over part of the benchmark would look like one over all of it.
        if summary.done and not summary.pending:
            seconds = round(time.monotonic() - began, 1)
            _record(work, stage, recipe, summary.run_id, {"seconds": seconds})

    return act


async def evaluate_model(work: Work, recipe: Recipe) -> Summary:
    """Runs or resumes an evaluation while serving its models; a changed recipe opens a new run."""
    state = look_at_evaluation(recipe, work.store, recipe.name)
    async with serving(
        recipe,
        work.store,
        roles_of(recipe),
        on_start=work.listener.on_serve,
        on_warning=work.listener.on_warning,
        stop=work.stop,
    ) as served:
        return await evaluate(
            recipe,
            work.store,
            models=served.models,
            revisions=served.revisions,
            on_progress=work.listener.on_samples,
            run_id=state.result or None,
            new=state.state == "stale",
            retry=work.retry,
            stop=work.stop,
        )


def stage_scores(recipe: Recipe, store: Store, stage: Stage, run_id: str) -> list[ExampleScore]:
    """The scores of all graded examples in a stage's run."""
    return score_run(stage_recipe(recipe, stage), store, run_id)


def _record(work: Work, stage: Stage, recipe: Recipe, run_id: str, took: dict[str, float]) -> None:
    if recipe.evaluation is None:
        raise EvaluationError("the recipe names no benchmark", todo="add evaluation: {file: …}")
    report = report_run(recipe, work.store, run_id).to_dict()
    model = trained_model(work.recipe, work.store, stage)
    artifact = Artifact(
        kind="evaluation",
        name=run_id,
        stage=stage,
        path=str(recipe.folder / recipe.evaluation.file),
        digest=digest(report),
        run_id=run_id,
        meta={"overall": report["overall"], **took},
    )
    record_artifact(work.store, artifact, parents=[model.id] if model and model.id is not None else [])
