"""The recipe's roles: which model plays which, the critics, and the prompt files."""

import re
from typing import Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from .settings import Name, Settings

RESERVED_CRITICS = frozenset({"persona", "respond", "refine", "grade"})


class RoleSettings(Settings):
    """Which model plays a role. Written short as the model's name; `student@distill` names a trained stage."""

    model: str = Field(
        description="a model's name under models; NAME@distill or NAME@refine is a trained stage",
        examples=["student@distill"],
    )
    reasoning: Literal["on", "off", "auto", "low", "medium", "high"] = Field(
        "auto",
        description="auto: off for schema calls, else the server's default; low, medium, high: as reasoning_effort",
        examples=["off"],
    )
    temperature: float | None = Field(None, ge=0, description="overrides the model's temperature", examples=[0.2])
    max_tokens: int | None = Field(None, gt=0, description="overrides the model's max_tokens", examples=[1024])

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        short = {"type": "string", "description": "the model's name, optionally with a stage"}
        return {"anyOf": [short, handler(core_schema)]}

    @property
    def name(self) -> str:
        """The model's name without its stage."""
        return self.model.partition("@")[0]

    @property
    def stage(self) -> str:
        """The model's stage; `base` where none is named."""
        return self.model.partition("@")[2] or "base"


class CriticSettings(Settings):
    """A critic: a prompt file (the tail after the shared prefix), or an async function by import path `module:name`."""

    prompt: str | None = Field(
        None, description="the critic's prompt file, which follows the shared prefix", examples=["safety.md"]
    )
    function: str | None = Field(
        None,
        description="an async function (query, answer, ask) → Critique, as module:name",
        examples=["my_package.critics:house_rules"],
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.prompt is None) == (self.function is None):
            raise ValueError("give a critic either prompt: FILE or function: module:name")
        if self.function is not None and not re.fullmatch(r"\w+(\.\w+)*:\w+", self.function):
            raise ValueError("function must be MODULE:NAME, for example my_package.critics:house_rules")
        return self


class RolesSettings(Settings):
    """The model of each role: `critic` for all critics, `critics` for single ones. A sole model plays the rest."""

    persona: RoleSettings | None = Field(None, description="writes the query of a simulated sample", examples=["main"])
    responder: RoleSettings | None = Field(None, description="writes the first response", examples=["main"])
    critic: RoleSettings | None = Field(
        None, description="plays every critic that is not named under critics", examples=["main"]
    )
    critics: dict[Name, RoleSettings] = Field(
        {}, description="the model of single critics", examples=[{"safety": "main"}]
    )
    refiner: RoleSettings | None = Field(
        None, description="rewrites the response from the critiques", examples=["student@distill"]
    )
    judge: RoleSettings | None = Field(None, description="grades a benchmark's answers", examples=["main"])
    checker: RoleSettings | None = Field(
        None, description="decides for the screen adherence whether a query shows its persona", examples=["main"]
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        full = {key: {"model": v} if isinstance(v, str) else v for key, v in value.items()}
        if isinstance(full.get("critics"), dict):
            full["critics"] = {key: {"model": v} if isinstance(v, str) else v for key, v in full["critics"].items()}
        return full


class PromptSettings(Settings):
    """Prompt files: a path relative to the recipe's folder, or the name of a file that ships with muser."""

    persona: str = Field("persona.md", description="simulates the person who asks", examples=["persona.md"])
    responder: str = Field("responder.md", description="asks for the first response", examples=["responder.md"])
    shared: str = Field(
        "shared.md",
        description="what critics and the refiner share, rendered first and byte-identical",
        examples=["shared.md"],
    )
    refiner: str = Field(
        "refiner.md", description="asks for the refinement; follows the shared prefix", examples=["refiner.md"]
    )
    judge: str = Field("judge.md", description="grades one rubric item", examples=["judge.md"])
    rubric: str = Field("rubric.md", description="grades the whole rubric of an example", examples=["rubric.md"])
