"""The recipe: everything that decides what a run does, as one frozen value with a default wherever one is safe."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator, model_validator

from .types import Stage

Name = str
"""A name in a recipe: letters, digits, `-` and `_`, starting with a letter (also a graph node and a column value)."""

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
RESERVED_CRITICS = frozenset({"persona", "respond", "refine", "grade"})
MOST_IN_FLIGHT = 16384
"""Samples; above it one process would hold more connections than a host has ports for."""
OWN_KEYS = (
    *("messages", "model", "seed", "response_format", "temperature", "top_p", "max_tokens", "max_completion_tokens"),
    *("stream", "stream_options", "n", "tools", "tool_choice", "functions", "function_call"),
)
"""Keys of a request that muser writes, or whose replies it cannot read."""


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""As large as NumPy and PyTorch take it."""


def _check_address(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        is_complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_complete = False
    if not is_complete:
        # Not repeated here: a password may stand in it.
        raise ValueError("must be http://HOST:PORT/… with a port from 1 to 65535")
    if "@" in url.partition("//")[2].partition("/")[0]:
        raise ValueError("must not hold a user name or a password; see api_key_env")


class Settings(BaseModel):
    """A part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _is_concurrency(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_IN_FLIGHT):
        return value
    raise ValueError(f"must be auto or a whole number from 1 to {MOST_IN_FLIGHT}")


Concurrency = Annotated[int | Literal["auto"], BeforeValidator(_is_concurrency)]


class ServeSettings(Settings):
    """Have muser start a vLLM server for this model. `options` are passed to vLLM as `--key value`."""

    python: str | None = Field(
        None, description="a Python that has vLLM, in an environment of its own; by default muser's own environment"
    )
    command: list[str] = Field(
        [],
        description="a command that takes the arguments of `vllm serve`, such as docker run … IMAGE; {auth} in it is"
        " the folder of the key check, which has to be on the server's PYTHONPATH",
    )
    weights: Literal["merged", "adapter"] = Field(
        "merged", description="adapter: a trained stage is its base with the LoRA adapter on it; stages share a server"
    )
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    max_model_len: int | None = Field(None, gt=0)
    reasoning_parser: str = Field("auto", description="one of vLLM's; auto: by the model; none: leave it out")
    options: dict[str, JsonValue] = {}
    env: dict[str, str] = {}
    start_timeout: float = Field(900, gt=0, description="seconds")

    @model_validator(mode="after")
    def _has_one_vllm(self) -> Self:
        if self.python and self.command:
            raise ValueError("give python or command, not both")
        return self

    @property
    def data_parallel(self) -> int:
        """How many engines the server will have, each with a prefix cache of its own."""
        given = {key.replace("_", "-"): value for key, value in self.options.items()}.get("data-parallel-size", 1)
        return given if isinstance(given, int) else 1


class ModelSettings(Settings):
    """One model behind an OpenAI-compatible endpoint: at `base_url`, or served by muser when `serve` is given."""

    model: str = Field(min_length=1, description="the name the endpoint serves, or what muser is to serve")
    revision: str | None = Field(
        None, min_length=1, description="tells models of one name apart: calls of another revision are not reused"
    )
    base_url: str | list[str] | None = Field(
        None, description="several: each sample keeps to one of them, where its prefix is cached"
    )
    api_key_env: str | None = Field(None, description="the environment variable that holds the key, never the key")
    headers_env: dict[str, str] = Field({}, description="header: the environment variable that holds its value")
    data_parallel: int = Field(
        1, ge=1, description="engines behind each address (vLLM's --data-parallel-size); each sample keeps to one"
    )
    api: Literal["vllm", "openai"] = Field("vllm", description="openai: send nothing beyond standard chat completions")
    structured: Literal["json_schema", "prompt"] = Field(
        "json_schema", description="prompt: for servers that ignore response_format; the schema goes into the prompt"
    )
    temperature: float = Field(0.7, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(2048, gt=0)
    reasoning_marks: list[str] = Field(
        ["<think>", "</think>"],
        min_length=2,
        max_length=2,
        description="what opens and closes reasoning in a reply's text, where the server does not take it apart",
    )
    extra_body: dict[str, JsonValue] = {}
    timeout: float = Field(600, gt=0, description="seconds for one request")
    retries: int = Field(6, ge=0, description="on 408, 409, 429, 5xx and lost connections, with jitter")
    serve: ServeSettings | None = None

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, given: str | list[str] | None) -> str | list[str] | None:
        urls = [given] if isinstance(given, str) else given or []
        for url in urls:
            _check_address(url)
        if given == [] or len(set(urls)) < len(urls):
            raise ValueError("must name at least one address, and each once")
        return given.rstrip("/") if isinstance(given, str) else [url.rstrip("/") for url in urls] or None

    @field_validator("reasoning_marks")
    @classmethod
    def _are_marks(cls, marks: list[str]) -> list[str]:
        if not all(mark.strip() for mark in marks) or len(set(marks)) < len(marks):
            raise ValueError("must be two different texts")
        return marks

    @field_validator("extra_body")
    @classmethod
    def _leaves_the_request(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """What is sent must be what the ledger records and the nodes asked for."""
        if taken := [key for key in OWN_KEYS if key in given]:
            raise ValueError(
                f"must not hold {', '.join(taken)}: muser sets these itself; "
                "temperature, top_p and max_tokens are keys of the model"
            )
        return given

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if self.base_url and self.serve:
            raise ValueError("give base_url or serve, not both")
        if self.revision and self.serve:
            raise ValueError("with serve, give serve.options.revision, which vLLM loads; it is recorded as well")
        if self.serve and self.data_parallel > 1:
            raise ValueError("where muser serves the model, set serve.options.data-parallel-size")
        return self

    @property
    def addresses(self) -> list[str]:
        """Every base_url."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url or []


class RoleSettings(Settings):
    """Which model plays a role. Written short as the model's name; `student@distill` names a trained stage."""

    model: str
    reasoning: Literal["on", "off", "auto", "low", "medium", "high"] = Field(
        "auto",
        description="auto: off for schema calls, else as served; low, medium, high: sent as reasoning_effort",
    )
    temperature: float | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, gt=0)

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

    prompt: str | None = None
    function: str | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.prompt is None) == (self.function is None):
            raise ValueError("give a critic either prompt: FILE or function: module:name")
        if self.function is not None and not re.fullmatch(r"\w+(\.\w+)*:\w+", self.function):
            raise ValueError("function must read module:name")
        return self


class RolesSettings(Settings):
    """The model of each role. `critic` is for all critics, `critics` for single ones; a sole model plays the rest."""

    persona: RoleSettings | None = None
    responder: RoleSettings | None = None
    critic: RoleSettings | None = None
    critics: dict[Name, RoleSettings] = {}
    refiner: RoleSettings | None = None
    judge: RoleSettings | None = None

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
    """Prompt files: a path from the recipe's folder, else the name of one that ships with muser."""

    persona: str = "persona.md"
    responder: str = "responder.md"
    shared: str = Field(
        "shared.md", description="what critics and the refiner share, rendered first and byte-identical"
    )
    refiner: str = "refiner.md"
    judge: str = "judge.md"


class Limits(Settings):
    """Stop cleanly, to be resumed, once a run has used this much. Tokens are prompt plus completion."""

    tokens: int | None = Field(None, gt=0)
    hours: float | None = Field(None, gt=0)


class LoraSettings(Settings):
    """The adapter's shape, with peft's names."""

    r: int = Field(32, gt=0)
    alpha: int = Field(64, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"


class StageSettings(Settings):
    """How one stage is fine-tuned (the paper does not publish its values; these are ours)."""

    epochs: float = Field(2, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    batch_size: int = Field(8, gt=0, description="rows a device and step")
    gradient_accumulation: int = Field(1, gt=0)
    max_length: int = Field(4096, gt=0, description="tokens; longer rows are dropped and reported, never cut")
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    packing: bool = False
    save_steps: int = Field(200, gt=0)


class TrainingSettings(Settings):
    """Two-stage fine-tuning of one model of the recipe (paper, section 3.3)."""

    model: Name = Field(description="the model to train, by its name under models")
    method: Literal["lora", "full"] = "lora"
    lora: LoraSettings = LoraSettings()
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: Seed = 0
    distill: StageSettings = StageSettings()
    refine: StageSettings = StageSettings()


class EvaluationSettings(Settings):
    """A benchmark file in HealthBench's format, and how much of it to grade."""

    file: str
    examples: int | None = Field(None, gt=0, description="a random subset of this size, drawn as simple-evals draws it")
    repeats: int = Field(1, gt=0)
    stages: list[Stage] = ["base", "distill", "refine"]


class Recipe(Settings):
    """One YAML file. Its input paths are relative to it, outputs to the folder that muser runs in."""

    name: str = Field(pattern=NAME)
    seed: Seed = 0
    samples: int = Field(0, ge=0, description="how many to simulate from the attribute tables")
    queries: str | None = Field(None, description="JSONL of your own queries (and responses): bring your own")
    models: dict[Name, ModelSettings] = Field(min_length=1)
    roles: RolesSettings = RolesSettings()
    critics: dict[Name, CriticSettings] = {}
    refine_when: Literal["always", "any_revise"] = "always"
    rounds: int = Field(1, ge=1, le=8)
    repairs: int = Field(2, ge=0, le=8, description="further calls after a reply of no use")
    reuse: Literal["all", "run", "none"] = Field(
        "all", description="identical calls of other runs too; of this run only; none, not even after a kill"
    )
    prompts: PromptSettings = PromptSettings()
    attributes: str = "attributes.yaml"
    concurrency: Concurrency = Field(32, description="samples in flight; auto: as many as the servers can take")
    max_concurrency: int = Field(512, ge=1, le=MOST_IN_FLIGHT, description="the most samples in flight under auto")
    limits: Limits = Limits()
    store: str = "muser.db"
    history: Literal["keep", "drop"] = Field(
        "keep", description="drop: a finished sample keeps its results and calls, and cannot be replayed"
    )
    otel: str | None = Field(
        None, pattern=r"^https?://[^@\s]+$", description="an OpenTelemetry collector's OTLP/HTTP address, for spans"
    )
    langsmith: bool = Field(
        False, description="true: send every node and call, texts included, to LangSmith; needs LANGSMITH_API_KEY"
    )
    output: str = Field("output", description="folder for checkpoints, reports and logs")
    training: TrainingSettings | None = None
    evaluation: EvaluationSettings | None = None
    folder: Path = Field(Path(), exclude=True, description="set by the loader: where the recipe's input paths start")

    @field_validator("otel")
    @classmethod
    def _is_collector(cls, given: str | None) -> str | None:
        if given is not None:
            _check_address(given)
        return given

    def role(self, role: str) -> RoleSettings:
        """The model of `persona`, `responder`, `refiner`, `judge` or `critics.NAME`. The loader proves it is there."""
        kind, _, critic = role.partition(".")
        bound = self.roles.critics.get(critic) or self.roles.critic if kind == "critics" else getattr(self.roles, kind)
        return bound or RoleSettings(model=next(iter(self.models)))

    def call_roles(self) -> list[str]:
        """Roles that `muser run` will call, in the graph's order."""
        return [
            *(["persona"] if self.samples else []),
            "responder",
            *(f"critics.{name}" for name in self.critics),
            *(["refiner"] if self.critics else []),
        ]

    def identity(self, roles: Sequence[str] | None = None) -> dict[str, Any]:
        """What decides the content of the samples that `roles` (by default `call_roles`) make.

        How fast, how long, how many and where to are left out, and so are models that no role is bound to.
        """
        bound = {role: self.role(role) for role in (roles or dict.fromkeys(["persona", *self.call_roles()]))}
        used = {
            role.name: self.models[role.name].model_dump(
                exclude={"base_url", "data_parallel", "api_key_env", "headers_env", "timeout", "retries", "serve"},
                mode="json",
            )
            for role in bound.values()
        }
        kept = {"name", "seed", "repairs"} | (set() if roles else {"queries"})
        if not roles or any(role.startswith("critics.") for role in roles):
            kept |= {"critics", "refine_when", "rounds"}
        ordered = {"critics_order": list(self.critics)} if "critics" in kept else {}
        return self.model_dump(mode="json", include=kept) | {
            **ordered,
            "models": used,
            "roles": {role: settings.model_dump(mode="json") for role, settings in bound.items()},
        }
