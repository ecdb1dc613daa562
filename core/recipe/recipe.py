"""The recipe: everything that decides what a run does, as one frozen value with a default wherever one is safe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from .models import ModelSettings
from .roles import CriticSettings, PromptSettings, RoleSettings, RolesSettings
from .screens import ScreensSettings
from .settings import NAME, Name, Seed, Settings, check_address
from .training import EvaluationSettings, TrainingSettings

MOST_IN_FLIGHT = 16384
"""Samples; above it one process would hold more connections than a host has ports for."""


def _is_concurrency(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_IN_FLIGHT):
        return value
    raise ValueError(f"must be auto or a whole number from 1 to {MOST_IN_FLIGHT}")


Concurrency = Annotated[
    Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT)] | Literal["auto"], BeforeValidator(_is_concurrency)
]


class Limits(Settings):
    """A run that reaches a limit stops cleanly and can be resumed. Tokens are prompt plus completion."""

    tokens: int | None = Field(
        None, gt=0, description="prompt and completion tokens of the whole run", examples=[5000000]
    )
    hours: float | None = Field(None, gt=0, description="hours of one command", examples=[8])


class Recipe(Settings):
    """One YAML file. Input paths are relative to its folder, output paths to the folder in which muser runs."""

    name: str = Field(
        pattern=NAME, description="names the run; the file's name without its suffix if not set", examples=["study"]
    )
    note: str | None = Field(
        None,
        description="what a reader of the report has to know; stands at its top",
        examples=["A pilot on ten questions; the final study uses another judge."],
    )
    seed: Seed = Field(0, description="determines the personas and the seed of every call", examples=[1])
    samples: int = Field(
        0,
        ge=0,
        description="how many to simulate from the attribute tables; rejected ones do not count",
        examples=[1000],
    )
    queries: str | None = Field(
        None,
        description="JSONL file with your own queries, and responses if you have them",
        examples=["questions.jsonl"],
    )
    models: dict[Name, ModelSettings] = Field(
        min_length=1,
        description="the models, by names of your choice",
        examples=[{"main": {"model": "Qwen/Qwen3-8B", "base_url": "http://127.0.0.1:8000/v1"}}],
    )
    roles: RolesSettings = Field(
        RolesSettings(),
        description="which model plays which role; may be omitted if there is only one model",
        examples=[{"responder": "main", "critic": "main"}],
    )
    critics: dict[Name, CriticSettings] = Field(
        {},
        description="the critics, by names of your choice, in the order in which the refiner reads them",
        examples=[{"safety": {"prompt": "safety.md"}}],
    )
    refine_when: Literal["always", "any_revise", "never"] = Field(
        "always",
        description="any_revise: refine only if a critic's verdict is revise; never: only criticise",
        examples=["any_revise"],
    )
    rounds: int = Field(1, ge=1, le=8, description="rounds of critique and refinement", examples=[2])
    repairs: int = Field(2, ge=0, le=8, description="retries after an unusable reply", examples=[1])
    reuse: Literal["all", "run", "none"] = Field(
        "all",
        description=(
            "which identical calls are reused; all: those of any run in the store; run: those of this run;"
            " none: none, not even on resume"
        ),
        examples=["run"],
    )
    prompts: PromptSettings = Field(
        PromptSettings(), description="the prompt files", examples=[{"refiner": "my_refiner.md"}]
    )
    attributes: str = Field(
        "attributes.yaml",
        description="the attribute tables that personas are drawn from",
        examples=["my_attributes.yaml"],
    )
    screens: ScreensSettings = Field(
        ScreensSettings(),
        description="what queries and refined answers are checked for; a rejected sample is drawn again",
        examples=[{"query": ["length", "duplicate", "near_duplicate"]}],
    )
    personas: str | None = Field(
        None,
        description=(
            "JSONL, CSV or Parquet file with a persona in each row for the simulated samples: used in order, and again"
            " from a row that the seed chooses if there are more samples; what a row leaves out is drawn"
        ),
        examples=["personas.csv"],
    )
    concurrency: Concurrency = Field(
        32, description="samples in flight; auto: as many as the servers can handle", examples=["auto"]
    )
    max_concurrency: int = Field(
        512, ge=1, le=MOST_IN_FLIGHT, description="limit on the samples in flight with auto", examples=[256]
    )
    limits: Limits = Field(Limits(), description="limits that stop a run early", examples=[{"hours": 8}])
    store: str = Field("muser.db", description="the SQLite file that stores everything", examples=["study.db"])
    history: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: delete a finished sample's steps; its results and calls stay, but it cannot be replayed",
        examples=["drop"],
    )
    otel: str | None = Field(
        None,
        pattern=r"^https?://[^@\s]+$",
        description="OTLP/HTTP address of an OpenTelemetry collector, for tracing",
        examples=["http://localhost:4318"],
    )
    langsmith: bool = Field(
        False,
        description="true: send every node and call, texts included, to LangSmith; requires LANGSMITH_API_KEY",
        examples=[True],
    )
    output: str = Field("output", description="folder for checkpoints, reports and logs", examples=["output"])
    training: TrainingSettings | None = Field(
        None, description="fine-tuning of a student in two stages", examples=[{"model": "student"}]
    )
    evaluation: EvaluationSettings | None = Field(
        None, description="the benchmark to score on", examples=[{"file": "healthbench.jsonl"}]
    )
    folder: SkipJsonSchema[Path] = Field(
        Path(), exclude=True, description="set by the loader: the folder that input paths are relative to"
    )

    @field_validator("otel")
    @classmethod
    def _is_collector(cls, given: str | None) -> str | None:
        if given is not None:
            check_address(given)
        return given

    def role(self, role: str) -> RoleSettings:
        """The model of `persona`, `responder`, `refiner`, `judge` or `critics.NAME`, which the loader has checked."""
        kind, _, critic = role.partition(".")
        bound = self.roles.critics.get(critic) or self.roles.critic if kind == "critics" else getattr(self.roles, kind)
        return bound or RoleSettings(model=next(iter(self.models)))

    def critic_roles(self) -> list[str]:
        """The roles of the critics, in their order."""
        return [f"critics.{name}" for name in self.critics]

    def call_roles(self) -> list[str]:
        """Roles that `muser run` will call, in the graph's order."""
        return [
            *(["persona"] if self.samples else []),
            "responder",
            *self.critic_roles(),
            *(["refiner"] if self.critics and self.refine_when != "never" else []),
            *(["checker"] if self.roles.checker and "adherence" in self.screens.query else []),
        ]

    def identity(self, roles: Sequence[str] | None = None) -> dict[str, Any]:
        """What decides the content of the samples that `roles` (by default `call_roles`) make.

        Speed, limits, counts and output paths are left out, and so are models that play none of these roles.
        """
        bound = {role: self.role(role) for role in (roles or dict.fromkeys(["persona", *self.call_roles()]))}
        used = {
            role.name: self.models[role.name].model_dump(
                exclude={"base_url", "data_parallel", "api_key_env", "headers_env", "timeout", "retries", "serve"},
                mode="json",
            )
            for role in bound.values()
        }
        kept = {"name", "seed", "repairs"} | (set() if roles else {"queries", "screens"})
        if not roles or any(role.startswith("critics.") for role in roles):
            kept |= {"critics", "refine_when", "rounds"}
        ordered = {"critics_order": list(self.critics)} if "critics" in kept else {}
        return self.model_dump(mode="json", include=kept) | {
            **ordered,
            "models": used,
            "roles": {role: settings.model_dump(mode="json") for role, settings in bound.items()},
        }
