"""`muser check`: whether critics import and prompts render, what would run, and which endpoints respond."""

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from ...core.errors import MissingModel, MuserError
from ...core.installation import install_hint
from ...core.packaged import base_path
from ...core.recipe import ServeSettings
from ...core.types import Critique, Response
from ...endpoints.client.chat import open_endpoints
from ...endpoints.server import launch
from ...graph.inputs import read_queries
from ...graph.run import load_critics
from ...graph.screening import STAGES, load_recipe_screens
from ...pipeline.sampling import refine_recipe, refine_roles
from ...prompts.personas import load_tables
from ...prompts.sampling import draw_persona
from ...prompts.templates import PromptSet, load_prompts
from ..printing.layout import columns
from ..printing.text import plain

if TYPE_CHECKING:
    from ...core.recipe import Recipe


def rehearse(recipe: "Recipe") -> PromptSet:
    """Imports every critic and screen, renders every prompt and returns the prompts. Raises the first problem."""
    prompts = load_prompts(recipe)
    tables = load_tables(recipe)
    load_critics(recipe, prompts)
    load_recipe_screens(recipe)
    query, answer = "What can I do about my headache?", Response(answer="Rest, and drink enough.").answer
    critiques = [Critique(critic=name, verdict="revise", rationale="We should ask.") for name in recipe.critics]
    prompts.persona.render(**tables.for_prompt(draw_persona(tables, recipe.seed, 1), recipe.seed))
    prompts.responder.render(query=query)
    for name in prompts.critics:
        prompts.critic_messages(name, query=query, answer=answer)
    prompts.refiner_messages(query=query, answer=answer, critiques=critiques)
    prompts.judge.render(conversation=query, points=1.0, criterion="Asks how long it has lasted.")
    return prompts


def prompt_facts(recipe: "Recipe", prompts: PromptSet) -> list[dict[str, Any]]:
    """Every prompt that the recipe's roles use: its file, where that comes from, and its digest."""
    roles = [*recipe.call_roles(), *(["judge"] if recipe.evaluation else [])]
    return [
        {"prompt": prompt.name, **prompt.origin.model_dump(), "whose": prompt.origin.whose, "digest": prompt.digest}
        for prompt in prompts.read_by(roles)
    ]


def print_prompts(console: Console, facts: list[dict[str, Any]]) -> None:
    """One line per prompt; the path comes last, so that it is never truncated."""
    widths = {key: max(len(fact[key]) for fact in facts) for key in ("prompt", "whose")}
    for fact in facts:
        name, whose = (f"{fact[key]:<{width}}" for key, width in widths.items())
        style = "yellow" if fact["shadows"] else ""
        console.print(
            Text(f"{name}  {fact['digest'][:8]}  {whose}  {plain(fact['file'])}", style=style), soft_wrap=True
        )


def what_would_run(recipe: "Recipe") -> dict[str, Any]:
    """The run's size, and which model plays which role. Raises InputError for an invalid query file."""
    queries = read_queries(recipe.folder / recipe.queries).count if recipe.queries else 0
    return {
        "name": recipe.name,
        "samples": recipe.samples,
        "queries": queries,
        "rounds": recipe.rounds,
        "concurrency": recipe.concurrency,
        "store": recipe.store,
        "roles": [_role_facts(recipe, role) for role in recipe.call_roles()],
        "screens": {stage: getattr(recipe.screens, stage) for stage in STAGES},
        "refined_by": _refined_by(recipe),
    }


def _refined_by(recipe: "Recipe") -> dict[str, str]:
    """Role → model in the pipeline's second stage, for those that it plays with another model than `muser run`."""
    if not recipe.training or "refine" not in recipe.training.stages:
        return {}
    refining = refine_recipe(recipe)
    bound = {role: refining.role(role).model for role in refine_roles(recipe)}
    return {role: model for role, model in bound.items() if model != recipe.role(role).model}


async def ask_endpoints(recipe: "Recipe") -> list[dict[str, Any]]:
    """Every model that a role uses: its address and, if it is unavailable, the error."""
    needed = dict.fromkeys(recipe.role(role).model for role in recipe.call_roles())
    return [await _endpoint_facts(recipe, name) for name in needed]


def print_check(console: Console, file: str, facts: dict[str, Any]) -> None:
    """The facts as text."""
    console.print(
        Text(f"{file}: settings, critics, screens, prompts and queries are valid", style="green"), soft_wrap=True
    )
    number = facts["samples"] + facts["queries"]
    console.print(
        f"run {facts['name']}: {number:,} samples ({facts['samples']:,} simulated, {facts['queries']:,} from file),"
        f" {facts['concurrency']} in flight, store {facts['store']}\n",
        soft_wrap=True,
    )
    names = ("role", "model", "served as", "prompt or function")
    rows = [[Text(role[key]) for key in ("role", "model", "served_as", "speaks")] for role in facts["roles"]]
    for line in columns(console, names, (), rows):
        console.print(line)
    if listed := [f"{stage}: {', '.join(names)}" for stage, names in facts["screens"].items() if names]:
        console.print(Text(f"screens of {'; of '.join(listed)}"), soft_wrap=True)
    if facts["refined_by"]:
        models = ", ".join(dict.fromkeys(facts["refined_by"].values()))
        says = f"muser pipeline, stage refine: {models} plays {', '.join(facts['refined_by'])}, as no roles are set"
        console.print(Text(says), soft_wrap=True)
    console.print()
    print_prompts(console, facts["prompts"])
    console.print()
    for endpoint in facts["endpoints"]:
        if endpoint["error"]:
            console.print(Text(f"models.{endpoint['model']}: {plain(endpoint['error'])}", style="red"))
        else:
            at = f" at {endpoint['url']}" if endpoint["url"] else ""
            console.print(Text(f"models.{endpoint['model']}{at} {endpoint['state']}"), soft_wrap=True)


def _role_facts(recipe: "Recipe", role: str) -> dict[str, str]:
    bound = recipe.role(role)
    kind, _, critic = role.partition(".")
    settings = recipe.critics[critic] if critic else None
    speaks = (settings.prompt or settings.function or "") if settings else str(getattr(recipe.prompts, kind))
    return {"role": role, "model": bound.model, "served_as": recipe.models[bound.name].model, "speaks": speaks}


def _served_by(recipe: "Recipe", bound: str) -> str:
    """Which engine muser would start for the model, why, and what that means for replies with a schema."""
    name = bound.partition("@")[0]
    serve = recipe.models[name].serve or ServeSettings()
    try:
        # A trained stage has a GGUF file if its base has one.
        engine, why = launch.choose_engine(serve, base_path(recipe, name))
    except MissingModel as error:
        return f"is served by muser during the run, but {error.what}: {error.todo}"
    if engine is None:
        return f"cannot be served here: {why}; with a GPU: {install_hint('vllm')}; without: {install_hint('train')}"
    notes = [why]
    if engine == "transformers":
        notes.append("structured: prompt")
    if not (serve.python or serve.command) and engine not in launch.serving_engines():
        notes.append(f"not installed: {install_hint(launch.EXTRAS[engine])}")
    return f"is served by muser during the run, by {launch.TITLES[engine]} ({'; '.join(notes)})"


async def _endpoint_facts(recipe: "Recipe", bound: str) -> dict[str, Any]:
    settings = recipe.models[bound.partition("@")[0]]
    facts: dict[str, Any] = {"model": bound, "url": ", ".join(settings.addresses), "error": None}
    if not settings.addresses or "@" in bound:
        return facts | {"url": None, "state": _served_by(recipe, bound)}
    try:
        async with open_endpoints({bound: settings}) as endpoints:
            await endpoints[bound].check()
    except MuserError as error:
        return facts | {"state": "unavailable", "error": str(error)}
    return facts | {"state": f"responds and serves {settings.model}"}
