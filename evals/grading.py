"""Answers and grades a benchmark's examples with the graph's runner, so an evaluation resumes like any run."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from ..agents.judge import grade
from ..core.errors import EvaluationError, SettingsError
from ..core.recipe import EvaluationSettings, ModelSettings, Recipe
from ..core.types import Grade, Request, Response, SampleInput
from ..graph.build import build_line
from ..graph.calls import Calls
from ..graph.identity import describe_run, open_run
from ..graph.inputs import key_of
from ..graph.progress import Summary
from ..graph.run import node_timeouts
from ..graph.runner import FAN_OUT, Job, OnProgress, run_job
from ..graph.state import AskFactory, State, bind
from ..prompts.delimiters import escape_tags, quote_turns
from ..prompts.templates import Prompt, load_prompt, load_prompts
from ..store.file.database import Store
from ..store.records import samples
from ..store.records.runs import Run, find_run
from .healthbench import Example, benchmark_digest, conversation_text, load_examples
from .scores import ExampleScore, score_grades

ROLES = ("responder", "judge")


@dataclass(frozen=True)
class Grading:
    """What both steps of an evaluation share; `examples` is keyed by sample key."""

    make_ask: AskFactory
    examples: Mapping[str, Example]
    judge: Prompt
    repairs: int
    on_graded: Callable[[], None]


async def answer_example(state: State, context: Grading) -> dict[str, Any]:
    """Example → response. Sends the conversation unchanged, without a system prompt that could hint at the facets.

    Truncated and empty answers are graded too: retrying them would make a weak model look better.
    """
    if state.get("response"):
        return {}
    reply = await bind(state, context.make_ask, "responder")(Request(messages=context.examples[_key(state)].prompt))
    return {"response": Response(reasoning=reply.reasoning.strip(), answer=reply.text.strip()).model_dump()}


async def grade_answer(state: State, context: Grading) -> dict[str, Any]:
    """Response → one grade per rubric item. The judge sees the answer, never the reasoning.

    A retried example keeps its verdicts; the judge is called only for items without one.
    """
    example = context.examples[_key(state)]
    judged = {value["item"]: Grade(**value) for value in state.get("grades", ())}
    conversation = conversation_text(example.prompt, Response(**state["response"]).answer)
    ask, limit = bind(state, context.make_ask, "judge"), asyncio.Semaphore(FAN_OUT)

    async def one(number: int) -> Grade:
        found = judged.get(number)
        if found is None:
            item = example.rubrics[number]
            async with limit:
                found = await grade(
                    conversation,
                    item=number,
                    points=item.points,
                    criterion=item.criterion,
                    prompt=context.judge,
                    ask=ask,
                    repairs=context.repairs,
                )
        context.on_graded()
        return found

    grades = await asyncio.gather(*(one(number) for number in range(len(example.rubrics))))
    score = score_grades(example, grades).score
    return {"grades": [value.model_dump() for value in grades], "score": score, "done": True}


async def evaluate(
    recipe: Recipe,
    store: Store,
    *,
    models: Mapping[str, ModelSettings] | None = None,
    revisions: Mapping[str, str] | None = None,
    new: bool = False,
    run_id: str | None = None,
    retry: bool = False,
    on_progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
) -> Summary:
    """Answers the recipe's benchmark with its responder and grades the answers with its judge; see `run_recipe`."""
    examples = dict(keyed_examples(recipe))
    prompts = load_prompts(recipe)
    described = describe_evaluation(recipe, prompts.judge, revisions=revisions)
    run = await asyncio.to_thread(open_run, store, described, new=new, run_id=run_id)

    def context(calls: Calls) -> Grading:
        return Grading(calls.make_ask, examples, prompts.judge, recipe.repairs, calls.count_graded)

    steps = {"respond": answer_example, "grade": grade_answer}
    timeouts = node_timeouts(recipe, ROLES)
    # A single node makes all judge calls of an example, FAN_OUT at a time, so its timeout grows with the rubric.
    timeouts["grade"] *= max(len(example.rubrics) for example in examples.values()) / FAN_OUT + 1
    job = Job(
        run=run,
        recipe=recipe,
        machine=build_line(steps, timeouts),
        context=context,
        roles=ROLES,
        models=models or recipe.models,
        revisions=revisions or {},
        inputs=_inputs(examples),
        retry=retry,
        items=sum(len(example.rubrics) for example in examples.values()),
    )
    return await run_job(store, job, on_progress=on_progress, stop=stop)


def describe_evaluation(recipe: Recipe, judge: Prompt, *, revisions: Mapping[str, str] | None = None) -> Run:
    """The run that `evaluate` opens for the same arguments."""
    settings = benchmark_of(recipe)
    identity = recipe.identity(ROLES) | {
        "evaluation": settings.model_dump(mode="json", include={"examples", "repeats"}),
        "texts": {"benchmark": benchmark_digest(recipe.folder / settings.file), "prompts.judge": judge.digest},
        "revisions": dict(revisions or {}),
    }
    return describe_run(recipe, identity, {"judge": judge.digest}, {"judge": judge.origin}, kind="evaluation")


def score_run(recipe: Recipe, store: Store, run_id: str) -> list[ExampleScore]:
    """The scores of an evaluation run's graded examples, in file order. Raises EvaluationError if there are none."""
    run = find_run(store, run_id)
    if run is None or run.kind != "evaluation":
        raise EvaluationError(
            f"{run_id} is not an evaluation run", where=str(store.path), todo="`muser runs` lists the runs"
        )
    tags = load_prompt(recipe.prompts.judge, recipe.folder, "judge").tags

    def score(example: Example, trace: samples.Trace) -> ExampleScore:
        answer = trace.response.answer if trace.response else ""
        forged = quote_turns(escape_tags(answer, tags)) != answer
        return score_grades(example, trace.grades).model_copy(update={"forged": forged})

    scores = [
        score(example, trace)
        for key, example in keyed_examples(recipe)
        if (trace := samples.get_trace(store, f"{run_id}/{key}")).status == "done"
    ]
    if not scores:
        raise EvaluationError(
            f"{run_id} has no graded examples yet", todo="finish the run first: muser eval run RECIPE"
        )
    return scores


def keyed_examples(recipe: Recipe) -> Iterator[tuple[str, Example]]:
    """(sample key, example) pairs. The key is the prompt's id, plus `:N` from the second repeat on, so runs pair up."""
    settings = benchmark_of(recipe)
    seen: dict[str, Iterator[int]] = {}
    for example in load_examples(recipe.folder / settings.file, n=settings.examples, repeats=settings.repeats):
        repeat = next(seen.setdefault(example.prompt_id, count(1)))
        # key_of leaves no colon in an id, so a repeat's key never equals another prompt's.
        key = key_of(example.prompt_id)
        yield (key if repeat == 1 else f"{key}:{repeat}"), example


def benchmark_of(recipe: Recipe) -> EvaluationSettings:
    """The recipe's evaluation settings. Raises SettingsError if it has none."""
    if recipe.evaluation is None:
        raise SettingsError("the recipe names no benchmark", where=recipe.name, todo="add evaluation: {file: …}")
    return recipe.evaluation


def _inputs(examples: Mapping[str, Example]) -> Iterator[SampleInput]:
    for key, example in examples.items():
        history, query = example.prompt[:-1], example.prompt[-1].content
        yield SampleInput(key=key, history=history, query=query, rubric=example.rubrics)


def _key(state: State) -> str:
    return state["sample"].rpartition("/")[2]
