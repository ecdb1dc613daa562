"""Answers and grades a benchmark's examples with the graph's runner, so an evaluation resumes like any run."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from ..agents.judge import grade, grade_all
from ..core.errors import EvaluationError, InputError, SettingsError
from ..core.hashing import digest
from ..core.recipe import EvaluationSettings, ModelSettings, Recipe
from ..core.recipe.training import GradingMode
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
from ..store.queries.answers import answered
from ..store.records import samples
from ..store.records.runs import Run, find_run
from .examples import Example
from .formats import Choice, grade_letter
from .healthbench import benchmark_digest, conversation_text, load_examples
from .lengths import rate_of
from .scores import ExampleScore, Report, score_grades, summarize
from .stored import read_answers


@dataclass(frozen=True)
class Grading:
    """What both steps of an evaluation share; `examples` is keyed by sample key, `whole` the prompt for all items."""

    make_ask: AskFactory
    examples: Mapping[str, Example]
    judge: Prompt
    whole: Prompt | None
    grading: GradingMode
    repairs: int
    on_graded: Callable[[], None]


async def answer_example(state: State, context: Grading) -> dict[str, Any]:
    """Example → response. Sends the conversation unchanged, without a system prompt that could hint at the facets.

    Truncated and empty answers are graded too: retrying them would make a weak model look better.
    """
    if state.get("response"):
        return {}
    reply = await bind(state, context.make_ask, "responder")(Request(messages=context.examples[_key(state)].prompt))
    response = Response(reasoning=reply.reasoning.strip(), answer=reply.text.strip())
    return {"response": response.model_dump(), "done": context.grading == "none"}


async def grade_answer(state: State, context: Grading) -> dict[str, Any]:
    """Response → one grade per rubric item. The judge sees the answer, never the reasoning.

    A retried example keeps its verdicts; the judge is called only for items without one. Items that a reply on the
    whole rubric left open are asked alone.
    """
    example = context.examples[_key(state)]
    if isinstance(example, Choice):
        context.on_graded()
        return _graded(example, [grade_letter(example, state["response"]["answer"])])
    judged = {value["item"]: Grade(**value) for value in state.get("grades", ())}
    conversation = conversation_text(example.prompt, Response(**state["response"]).answer)
    ask, limit = bind(state, context.make_ask, "judge"), asyncio.Semaphore(FAN_OUT)
    if context.whole and not judged:
        # Shuffled, so that no item gains or loses by its place.
        order = Random(state["seed"]).sample(range(len(example.rubrics)), len(example.rubrics))
        items, prompt, repairs = example.rubrics, context.whole, context.repairs
        found = await grade_all(conversation, items=items, order=order, prompt=prompt, ask=ask, repairs=repairs)
        judged = {one.item: one for one in found}

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
    return _graded(example, grades)


def _graded(example: Example, grades: Sequence[Grade]) -> dict[str, Any]:
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
    prompts, answers, roles = load_prompts(recipe), given_answers(recipe, store), roles_of(recipe)
    described = describe_evaluation(recipe, store, revisions=revisions)
    run = await asyncio.to_thread(open_run, store, described, new=new, run_id=run_id)
    grading = benchmark_of(recipe).grading
    _check_grading(recipe, examples.values())

    def context(calls: Calls) -> Grading:
        whole = _whole_prompt(recipe)
        return Grading(calls.make_ask, examples, prompts.judge, whole, grading, recipe.repairs, calls.count_graded)

    steps = {"respond": answer_example} | ({} if grading == "none" else {"grade": grade_answer})
    timeouts = node_timeouts(recipe, roles)
    inputs = list(_inputs(examples, answers, with_rubric=grading != "none"))
    if "judge" in roles:
        # A single node makes all judge calls of an example, FAN_OUT at a time, so its timeout grows with the rubric.
        timeouts["grade"] *= max(len(one.rubric) for one in inputs) / FAN_OUT + 2
    job = Job(
        run=run,
        recipe=recipe,
        machine=build_line(steps, timeouts),
        context=context,
        roles=roles,
        models=models or recipe.models,
        revisions=revisions or {},
        inputs=inputs,
        retry=retry,
        items=sum(len(one.rubric) for one in inputs),
    )
    return await run_job(store, job, on_progress=on_progress, stop=stop)


def roles_of(recipe: Recipe) -> tuple[str, ...]:
    """The roles that the recipe's evaluation calls."""
    settings = benchmark_of(recipe)
    answering = () if settings.answers else ("responder",)
    return answering if settings.grading in ("none", "letter") else (*answering, "judge")


def _check_grading(recipe: Recipe, examples: Iterable[Example]) -> None:
    """Raises SettingsError if letters are expected from a rubric, or a judge is to grade multiple choice."""
    grading = benchmark_of(recipe).grading
    kinds = {isinstance(example, Choice) for example in examples}
    if grading != "none" and kinds != {grading == "letter"}:
        raise SettingsError(
            f"the benchmark is {'not all ' if len(kinds) > 1 or False in kinds else ''}multiple choice, and grading is"
            f" {grading}",
            where=recipe.name,
            todo="multiple choice is graded with --set evaluation.grading=letter, and only it",
        )


def given_answers(recipe: Recipe, store: Store) -> dict[str, str] | None:
    """The answers to grade by sample key, out of a file or a run; None if the responder makes them."""
    given = benchmark_of(recipe).answers
    if given is None:
        return None
    path, keyed = recipe.folder / given, list(keyed_examples(recipe))
    if path.is_file():
        answers = read_answers(path, {example.prompt_id: example for _, example in keyed})
        found = {key: answers[one.prompt_id] for key, one in keyed if one.prompt_id in answers}
    elif find_run(store, given):
        keys = {key for key, _ in keyed}
        found = {one.key: one.response.answer for one in answered(store, given) if one.response and one.key in keys}
    else:
        raise InputError(f"{given} is neither a file nor a run", where=str(path), todo="`muser runs` lists the runs")
    if not found:
        raise InputError(f"{given} has no answer to any example of the benchmark", where=str(path))
    return found


def keyed_answers(recipe: Recipe, store: Store, run_id: str) -> Iterator[tuple[str, str]]:
    """(prompt id, answer) of the run's finished examples; of a repeated example its first answer."""
    first = {example.prompt_id: key for key, example in reversed(list(keyed_examples(recipe)))}
    done = samples.done_keys(store, run_id)
    for prompt_id, key in sorted(first.items()):
        trace = samples.get_trace(store, f"{run_id}/{key}") if key in done else None
        if trace and trace.response:
            yield prompt_id, trace.response.answer


def describe_evaluation(recipe: Recipe, store: Store, *, revisions: Mapping[str, str] | None = None) -> Run:
    """The run that `evaluate` opens for the same arguments."""
    settings, roles = benchmark_of(recipe), roles_of(recipe)
    prompts = [load_prompts(recipe).judge, _whole_prompt(recipe)] if "judge" in roles else []
    read = {prompt.name: prompt for prompt in prompts if prompt}
    texts = {"benchmark": benchmark_digest(recipe.folder / settings.file)}
    texts |= {f"prompts.{name}": prompt.digest for name, prompt in read.items()}
    if (answers := given_answers(recipe, store)) is not None:
        texts["answers"] = digest(answers)
    identity = recipe.identity(roles) | {
        "evaluation": settings.model_dump(mode="json", include={"examples", "repeats", "grading"}),
        "texts": texts,
        "revisions": dict(revisions or {}),
    }
    digests = {name: prompt.digest for name, prompt in read.items()}
    files = {name: prompt.origin for name, prompt in read.items()}
    return describe_run(recipe, identity, digests, files, kind="evaluation")


def _whole_prompt(recipe: Recipe) -> Prompt | None:
    if benchmark_of(recipe).grading != "example":
        return None
    return load_prompt(recipe.prompts.rubric, recipe.folder, "rubric")


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
        more = {"forged": forged, "characters": len(answer)}
        return score_grades(example, trace.grades).model_copy(update=more)

    done = samples.done_keys(store, run_id)
    scores = [
        score(example, samples.get_trace(store, f"{run_id}/{key}"))
        for key, example in keyed_examples(recipe)
        if key in done
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


def report_run(recipe: Recipe, store: Store, run_id: str) -> Report:
    """The report of an evaluation run, with the length-adjusted score if the recipe names the benchmark."""
    return summarize(score_run(recipe, store, run_id), rate=rate_of(benchmark_of(recipe).benchmark))


def _inputs(
    examples: Mapping[str, Example], answers: Mapping[str, str] | None, *, with_rubric: bool
) -> Iterator[SampleInput]:
    for key, example in examples.items():
        if answers is None or key in answers:
            yield SampleInput(
                key=key,
                history=example.prompt[:-1],
                query=example.prompt[-1].content,
                response=Response(answer=answers[key]) if answers else None,
                rubric=example.rubrics if with_rubric else (),
                extra={"example_tags": list(example.example_tags)} if example.example_tags else {},
            )


def _key(state: State) -> str:
    return state["sample"].rpartition("/")[2]
