"""The persona simulator: what its prompt shows, and which replies are no query."""

from dataclasses import replace
from pathlib import Path

import pytest

from muser.agents.persona import simulate
from muser.core.types import Persona
from muser.prompts.attributes import AttributeTables, load_attributes
from muser.prompts.templates import Prompt, load_prompt

from .test_replies import Scripted

EXAMPLE = "My little boy has been coughing every night this week and the syrup does nothing at all, is that normal?"
OWN = "our daughter wont drink since this morning, what now"
TABLE = f"""attributes:
  identity: {{label: role, values: {{parent: {{text: a worried parent, examples: ["{EXAMPLE}"]}}}}}}
  language: {{values: {{hi: {{text: Hindi, notes: {{name: Hindi}}}}}}}}
  condition: {{values: {{croup: {{text: a barking cough, notes: {{course: it is worse at night}}}}}}}}"""
PERSONA = Persona(identity="parent", language="hi", condition="croup")


@pytest.fixture
def tables(tmp_path: Path) -> AttributeTables:
    (tmp_path / "t.yaml").write_text(TABLE)
    return load_attributes("t.yaml", tmp_path)


@pytest.fixture
def prompt() -> Prompt:
    return load_prompt("persona.md", Path(), "persona")


async def test_the_prompt_shows_labels_texts_course_example_and_language(
    tables: AttributeTables, prompt: Prompt
) -> None:
    model = Scripted(OWN)
    assert await simulate(PERSONA, tables, prompt, model) == OWN
    shown = model.asked[0].messages[-1].content
    for part in ("(1) role: a worried parent\n", "(3) condition: a barking cough\n", "it is worse at night", EXAMPLE):
        assert part in shown
    assert "ends with its last, in Hindi:" in shown


async def test_a_reply_that_echoes_the_example_is_asked_for_again(tables: AttributeTables, prompt: Prompt) -> None:
    model = Scripted(EXAMPLE, OWN)
    assert await simulate(PERSONA, tables, prompt, model, repairs=1) == OWN
    assert len(model.asked) == 2
    without = replace(tables, choices={**tables.choices, "identity": ()})
    assert await simulate(PERSONA, without, prompt, Scripted(EXAMPLE), repairs=1) == EXAMPLE
