"""Commands on a recipe: `init` writes one, `check` validates it, `graph` draws its state machine; `schema`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..options import Json, RecipeFile, Set
from ..printing.console import print_json, say, stdout

if TYPE_CHECKING:
    from ...core.recipe import Recipe


def init(
    folder: Annotated[str, Argument(metavar="DIR", help="Folder to write to; created if missing.")] = ".",
    recipe: Annotated[
        str, Option(metavar="NAME", help="A recipe that ships with muser; an unknown name lists them.")
    ] = "init",
    endpoint: Annotated[
        str | None, Option(metavar="URL", help="The model's endpoint, which is asked for the models it serves.")
    ] = None,
) -> None:
    """Write a recipe to start from, and the files it refers to."""
    from .init import write_start

    for line in write_start(Path(folder), recipe, endpoint):
        say(line)


def check(
    recipe: RecipeFile,
    change: Set = None,
    resolved: Annotated[
        bool, Option("--resolved", help="Print the complete recipe as YAML, without contacting endpoints.")
    ] = False,
    probe: Annotated[
        bool, Option("--probe", help="Try every role and a few samples, and estimate the cost of a run.")
    ] = False,
    tries: Annotated[int, Option(min=2, metavar="N", help="Samples that --probe runs.")] = 4,
    gpus: Annotated[
        int | None, Option(min=1, metavar="N", help="GPUs in use; default: counted from the serve options.")
    ] = None,
    json: Json = False,
) -> None:
    """Validate a recipe without running it.

    Reads the settings and queries, imports the critics, renders every prompt, and asks the endpoints what they serve.
    With --probe it also tests that every model can do what its roles need, and takes a few samples through the graph.
    """
    import asyncio

    from typer import Exit

    from ...core.loading import load_recipe, recipe_yaml
    from .check import ask_endpoints, print_check, prompt_facts, rehearse, what_would_run

    settings = load_recipe(recipe, change or [])
    prompts = rehearse(settings)
    if resolved:
        stdout().print(recipe_yaml(settings).rstrip("\n"), soft_wrap=True)
        return
    facts = what_would_run(settings) | {"prompts": prompt_facts(settings, prompts)}
    if probe:
        from .probe import probe_and_print

        raise Exit(probe_and_print(settings, recipe, facts, tries=tries, gpus=gpus, json=json))
    facts |= {"endpoints": asyncio.run(ask_endpoints(settings))}
    if json:
        print_json(facts)
    else:
        print_check(stdout(), recipe, facts)
    raise Exit(1 if any(endpoint["error"] for endpoint in facts["endpoints"]) else 0)


def graph(
    recipe: RecipeFile,
    change: Set = None,
    mermaid: Annotated[bool, Option("--mermaid", help="Print Mermaid source instead.")] = False,
) -> None:
    """Draw the recipe's state machine, its models and prompt files."""
    from ...core.loading import load_recipe
    from ...graph.build import build_machine
    from ...prompts.templates import load_prompts
    from ..printing.machine import draw
    from .check import print_prompts, prompt_facts

    settings = load_recipe(recipe, change or [])
    drawable = build_machine(list(settings.critics), rounds=settings.rounds).compile().get_graph()
    if mermaid:
        stdout().print(drawable.draw_mermaid().rstrip("\n"), soft_wrap=True)
        return
    edges = [(edge.source, edge.target) for edge in drawable.edges]
    console = stdout()
    console.print(draw(list(drawable.nodes), edges, _labels(settings), console.width), soft_wrap=True)
    console.print()
    print_prompts(console, prompt_facts(settings, load_prompts(settings)))


def schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete keys and mark mistakes."""
    import sys

    from ...core.schema import schema_text

    sys.stdout.write(schema_text())


def _labels(settings: "Recipe") -> dict[str, str]:
    from ...graph.calls import node_of

    models = {node_of(role): settings.role(role).model for role in settings.call_roles()}
    return {"__start__": "START", "__end__": "END"} | {node: f"{node}\n{model}" for node, model in models.items()}
