"""The recipe: everything that decides what a run does, as one frozen value with a default wherever one is safe."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

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


Concurrency = Annotated[
    Annotated[int, Field(ge=1, le=MOST_IN_FLIGHT)] | Literal["auto"], BeforeValidator(_is_concurrency)
]


class ServeSettings(Settings):
    """Have muser start a vLLM server for this model. `options` are passed to vLLM as `--key value`."""

    python: str | None = Field(
        None,
        description="a Python that has vLLM, in an environment of its own; by default muser's own environment",
        examples=["/opt/vllm/bin/python"],
    )
    command: list[str] = Field(
        [],
        description=(
            "a command that takes the arguments of `vllm serve`, such as docker run … IMAGE; {auth} in it is"
            " the folder of the key check, which has to be on the server's PYTHONPATH"
        ),
        examples=[["docker", "run", "--gpus", "all", "vllm/vllm-openai"]],
    )
    weights: Literal["merged", "adapter"] = Field(
        "merged",
        description="adapter: a trained stage is its base with the LoRA adapter on it; stages share a server",
        examples=["adapter"],
    )
    gpu_memory_utilization: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the GPU's memory that vLLM may use; vLLM's own default if not set",
        examples=[0.9],
    )
    max_model_len: int | None = Field(
        None, gt=0, description="tokens of prompt and reply together; the model's own limit if not set", examples=[8192]
    )
    reasoning_parser: str = Field(
        "auto", description="one of vLLM's; auto: by the model; none: leave it out", examples=["qwen3"]
    )
    options: dict[str, JsonValue] = Field(
        {}, description="vLLM's own flags without the leading dashes", examples=[{"enable-prefix-caching": True}]
    )
    env: dict[str, str] = Field(
        {}, description="environment variables for the server", examples=[{"VLLM_LOGGING_LEVEL": "WARNING"}]
    )
    start_timeout: float = Field(900, gt=0, description="seconds to wait until the server answers", examples=[1800])

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

    model: str = Field(
        min_length=1, description="the name the endpoint serves, or what muser is to serve", examples=["Qwen/Qwen3-8B"]
    )
    revision: str | None = Field(
        None,
        min_length=1,
        description="tells models of one name apart: calls of another revision are not reused",
        examples=["2026-11"],
    )
    base_url: str | list[str] | None = Field(
        None,
        description=(
            "the endpoint's address; a list of several: each sample keeps to one of them, where its prefix is cached"
        ),
        examples=["http://127.0.0.1:8000/v1"],
    )
    api_key_env: str | None = Field(
        None, description="the environment variable that holds the key, never the key", examples=["MAIN_API_KEY"]
    )
    headers_env: dict[str, str] = Field(
        {},
        description="further headers: each header's name with the environment variable that holds its value",
        examples=[{"X-Team": "TEAM_TOKEN"}],
    )
    data_parallel: int = Field(
        1,
        ge=1,
        description="engines behind each address (vLLM's --data-parallel-size); each sample keeps to one",
        examples=[2],
    )
    api: Literal["vllm", "openai"] = Field(
        "vllm", description="openai: send nothing beyond standard chat completions", examples=["openai"]
    )
    structured: Literal["json_schema", "prompt"] = Field(
        "json_schema",
        description="prompt: for servers that ignore response_format; the schema goes into the prompt",
        examples=["prompt"],
    )
    temperature: float = Field(
        0.7, ge=0, description="sampling temperature of every request, unless a role sets its own", examples=[0.2]
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="nucleus sampling; the server's default if not set", examples=[0.95]
    )
    max_tokens: int = Field(2048, gt=0, description="tokens of one reply, reasoning included", examples=[4096])
    reasoning_marks: list[str] = Field(
        ["<think>", "</think>"],
        min_length=2,
        max_length=2,
        description="what opens and closes reasoning in a reply's text, where the server does not take it apart",
        examples=[["[THINK]", "[/THINK]"]],
    )
    extra_body: dict[str, JsonValue] = Field(
        {}, description="further fields of every request", examples=[{"top_k": 20}]
    )
    timeout: float = Field(600, gt=0, description="seconds for one request", examples=[120])
    retries: int = Field(6, ge=0, description="on 408, 409, 429, 5xx and lost connections, with jitter", examples=[3])
    serve: ServeSettings | None = Field(
        None,
        description="start a vLLM server for this model; instead of base_url",
        examples=[{"gpu_memory_utilization": 0.9}],
    )

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

    model: str = Field(
        description="a model's name under models; NAME@distill or NAME@refine is a trained stage",
        examples=["student@distill"],
    )
    reasoning: Literal["on", "off", "auto", "low", "medium", "high"] = Field(
        "auto",
        description="auto: off for schema calls, else as served; low, medium, high: sent as reasoning_effort",
        examples=["off"],
    )
    temperature: float | None = Field(None, ge=0, description="instead of the model's temperature", examples=[0.2])
    max_tokens: int | None = Field(None, gt=0, description="instead of the model's max_tokens", examples=[1024])

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        short = {"type": "string", "description": "the model's name, perhaps with its stage"}
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
            raise ValueError("function must read module:name")
        return self


class RolesSettings(Settings):
    """The model of each role. `critic` is for all critics, `critics` for single ones; a sole model plays the rest."""

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


class Limits(Settings):
    """Stop cleanly, to be resumed, once a run has used this much. Tokens are prompt plus completion."""

    tokens: int | None = Field(
        None, gt=0, description="prompt and completion tokens of the whole run", examples=[5000000]
    )
    hours: float | None = Field(None, gt=0, description="hours of one command", examples=[8])


class LoraSettings(Settings):
    """The adapter's shape, with peft's names."""

    r: int = Field(32, gt=0, description="the adapter's rank", examples=[16])
    alpha: int = Field(64, gt=0, description="the adapter's scaling (peft's lora_alpha)", examples=[32])
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of the adapter's layers", examples=[0.05])
    target_modules: str | list[str] = Field(
        "all-linear", description="the layers that get an adapter", examples=[["q_proj", "v_proj"]]
    )


class StageSettings(Settings):
    """How one stage is fine-tuned (the paper does not publish its values; these are ours)."""

    epochs: float = Field(2, gt=0, description="passes over the rows", examples=[3])
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate", examples=[2e-5])
    batch_size: int = Field(8, gt=0, description="rows a device and step", examples=[4])
    gradient_accumulation: int = Field(1, gt=0, description="batches that one optimizer step adds up", examples=[8])
    max_length: int = Field(
        4096, gt=0, description="tokens; longer rows are dropped and reported, never cut", examples=[8192]
    )
    warmup_steps: int = Field(0, ge=0, description="optimizer steps until the peak learning rate", examples=[50])
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay", examples=[0.01])
    packing: bool = Field(False, description="put several rows into one sequence of max_length", examples=[True])
    save_steps: int = Field(200, gt=0, description="optimizer steps between two checkpoints", examples=[100])


class TrainingSettings(Settings):
    """Two-stage fine-tuning of one model of the recipe (paper, section 3.3)."""

    model: Name = Field(description="the model to train, by its name under models", examples=["student"])
    method: Literal["lora", "full"] = Field(
        "lora", description="lora trains an adapter, full all weights", examples=["full"]
    )
    lora: LoraSettings = Field(
        LoraSettings(), description="the adapter's shape; ignored with method: full", examples=[{"r": 16, "alpha": 32}]
    )
    precision: Literal["bf16", "fp32"] = Field("bf16", description="number format of the training", examples=["fp32"])
    seed: Seed = Field(0, description="seed of data order, adapter weights and dropout", examples=[1])
    distill: StageSettings = Field(
        StageSettings(), description="stage one, on the first responses", examples=[{"epochs": 3}]
    )
    refine: StageSettings = Field(
        StageSettings(), description="stage two, on the refined responses", examples=[{"epochs": 1}]
    )


class EvaluationSettings(Settings):
    """A benchmark file in HealthBench's format, and how much of it to grade."""

    file: str = Field(description="the benchmark, JSONL", examples=["healthbench.jsonl"])
    examples: int | None = Field(
        None, gt=0, description="a random subset of this size, drawn as simple-evals draws it", examples=[500]
    )
    repeats: int = Field(1, gt=0, description="answers graded for each example", examples=[4])
    stages: list[Stage] = Field(
        ["base", "distill", "refine"],
        description="stages of the student that the pipeline scores",
        examples=[["base", "refine"]],
    )


class Recipe(Settings):
    """One YAML file. Its input paths are relative to it, outputs to the folder that muser runs in."""

    name: str = Field(
        pattern=NAME, description="names the run; the file's name without its suffix if not set", examples=["study"]
    )
    seed: Seed = Field(0, description="decides the personas and the seed of every call", examples=[1])
    samples: int = Field(0, ge=0, description="how many to simulate from the attribute tables", examples=[1000])
    queries: str | None = Field(
        None, description="JSONL of your own queries (and responses): bring your own", examples=["questions.jsonl"]
    )
    models: dict[Name, ModelSettings] = Field(
        min_length=1,
        description="the models, by names of your choice",
        examples=[{"main": {"model": "Qwen/Qwen3-8B", "base_url": "http://127.0.0.1:8000/v1"}}],
    )
    roles: RolesSettings = Field(
        RolesSettings(),
        description="which model plays which role; can be left out if there is only one model",
        examples=[{"responder": "main", "critic": "main"}],
    )
    critics: dict[Name, CriticSettings] = Field(
        {},
        description="the critics, by names of your choice, in the order in which the refiner reads them",
        examples=[{"safety": {"prompt": "safety.md"}}],
    )
    refine_when: Literal["always", "any_revise"] = Field(
        "always", description="any_revise: refine only if a critic's verdict is revise", examples=["any_revise"]
    )
    rounds: int = Field(1, ge=1, le=8, description="rounds of critique and refinement", examples=[2])
    repairs: int = Field(2, ge=0, le=8, description="retries after an unusable reply", examples=[1])
    reuse: Literal["all", "run", "none"] = Field(
        "all",
        description=(
            "whose identical calls answer a request: all: those of any run in the store; run: this run's;"
            " none: no call's, even on resume"
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
    concurrency: Concurrency = Field(
        32, description="samples in flight; auto: as many as the servers can take", examples=["auto"]
    )
    max_concurrency: int = Field(
        512, ge=1, le=MOST_IN_FLIGHT, description="the most samples in flight under auto", examples=[256]
    )
    limits: Limits = Field(Limits(), description="when to stop a run early", examples=[{"hours": 8}])
    store: str = Field("muser.db", description="the SQLite file that keeps everything", examples=["study.db"])
    history: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: a finished sample keeps its results and calls, and cannot be replayed",
        examples=["drop"],
    )
    otel: str | None = Field(
        None,
        pattern=r"^https?://[^@\s]+$",
        description="an OpenTelemetry collector's OTLP/HTTP address, for spans",
        examples=["http://localhost:4318"],
    )
    langsmith: bool = Field(
        False,
        description="true: send every node and call, texts included, to LangSmith; needs LANGSMITH_API_KEY",
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
        Path(), exclude=True, description="set by the loader: where the recipe's input paths start"
    )

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
