"""The demo's folder: its recipe, an untrained student, and a benchmark of personas held out from training."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

from ..core.errors import StoreError
from ..core.hashing import derive_seed, digest
from ..core.loading import load_recipe
from ..core.recipe import Recipe
from ..core.types import Persona
from ..endpoints.simulated.knowledge import FILE as KNOWLEDGE
from ..endpoints.simulated.knowledge import knowledge, rubric
from ..endpoints.simulated.replies import write_query
from ..prompts.attributes import AttributeTables, load_attributes
from ..prompts.sampling import draw_persona
from ..trainer.tiny import build_tiny_model

RECIPES = Path(__file__).parent.parent / "recipes"
QUESTIONS = "questions.jsonl"
BENCHMARK = "benchmark.jsonl"
EXAMPLES = 40
STUDENT = {"vocabulary": 2048, "hidden": 192, "layers": 2, "positions": 1024}
__all__ = ["KNOWLEDGE", "QUESTIONS", "held_out_personas", "prepare_demo", "trained_personas"]


def prepare_demo(folder: Path) -> Path:
    """Writes the demo's missing input files and returns the recipe's path. Raises StoreError."""
    with writing_to(folder):
        return _prepare(folder)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Translates a file error into StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the demo's files cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            todo="name a writable folder: muser demo --folder DIR",
        ) from error


def _prepare(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = (RECIPES / "demo.yaml").read_text(encoding="utf-8")
    for name in ("muser.db", "output"):
        text = text.replace(f": demo/{name}", f": {json.dumps(str(folder / name))}")
    text = text.replace("# muser demo\n", f"# muser pipeline {folder / 'recipe.yaml'}\n", 1)
    write_changed(folder / "recipe.yaml", text + f"\nevaluation: {{file: {BENCHMARK}}}\n")
    write_changed(folder / QUESTIONS, (RECIPES / QUESTIONS).read_text(encoding="utf-8"))
    recipe = load_recipe(RECIPES / "demo.yaml")
    tables = load_attributes(recipe.attributes, recipe.folder)
    lines = (_example(persona, number, tables) for number, persona in enumerate(held_out_personas(recipe, tables), 1))
    write_changed(folder / BENCHMARK, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    _build_student(folder / recipe.models["student"].model, tables)
    return folder / "recipe.yaml"


def trained_personas(recipe: Recipe, tables: AttributeTables) -> Iterator[Persona]:
    """The personas that a run of the recipe simulates."""
    return (draw_persona(tables, recipe.seed, number) for number in range(1, recipe.samples + 1))


def held_out_personas(recipe: Recipe, tables: AttributeTables, examples: int = EXAMPLES) -> list[Persona]:
    """Personas whose combination of identity and condition does not occur in training."""
    met = {(persona["identity"], persona["condition"]) for persona in trained_personas(recipe, tables)}
    drawn = (draw_persona(tables, derive_seed(recipe.seed, "held out", number)) for number in count())
    fresh = (persona for persona in drawn if (persona["identity"], persona["condition"]) not in met)
    return [next(fresh) for _ in range(examples)]


def _example(persona: Persona, number: int, tables: AttributeTables) -> dict[str, Any]:
    """One line of the benchmark, in HealthBench's format."""

    def pick(what: str, choices: Sequence[str]) -> str:
        return choices[derive_seed("benchmark", number, what) % len(choices)]

    return {
        "prompt_id": f"held-out-{number:03d}",
        "prompt": [{"role": "user", "content": write_query(tables.describe(persona), pick)}],
        "rubrics": rubric(persona["condition"], persona["identity"], persona["region"]),
        "example_tags": [f"theme:{_theme(persona)}"],
    }


def _theme(persona: Persona) -> str:
    """The HealthBench theme that fits a persona best."""
    topic = knowledge().topic(persona["condition"], persona["identity"], persona["region"])
    if topic.condition.urgent:
        return "emergency_referrals"
    if persona["completeness"] != "complete":
        return "context_seeking"
    return "communication" if topic.is_professional else "global_health"


def _build_student(folder: Path, tables: AttributeTables) -> None:
    texts = list(_sentences(tables))
    says = f"# The demo's student\n\nUntrained weights, and a vocabulary learned from {digest([texts, STUDENT])}.\n"
    card = folder / "README.md"
    if not card.is_file() or card.read_text(encoding="utf-8") != says:
        build_tiny_model(folder, texts, **STUDENT)
        write_changed(card, says)


def _sentences(tables: AttributeTables) -> Iterator[str]:
    """The texts that the simulated models can write: the student's vocabulary is learned from them."""
    known = knowledge()
    values = {name: [choice.value for choice in choices] for name, choices in tables.choices.items()}
    for condition in values["condition"]:
        for number, identity in enumerate(values["identity"]):
            topic = known.topic(condition, identity, values["region"][number % len(values["region"])])
            yield from _strings(asdict(topic))
            yield topic.warning
            # The demo does not use long answers.
            yield from _strings(asdict(replace(known.wording, long_answers=[])))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for each in inner:
            yield from _strings(each)


def write_changed(path: Path, text: str) -> None:
    """Writes the file only if its content changes, so that its modification time stays meaningful."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        partial = path.with_name(f".{path.name}.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
