"""The recipe's models: endpoints, and servers that muser starts."""

from typing import Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from .settings import Settings, check_address

OWN_KEYS = (
    *("messages", "model", "seed", "response_format", "temperature", "top_p", "max_tokens", "max_completion_tokens"),
    *("stream", "stream_options", "n", "tools", "tool_choice", "functions", "function_call"),
)
"""Keys of a request that muser writes, or whose replies it cannot read."""


class ServeSettings(Settings):
    """Have muser start a server for this model. `options` are the engine's own settings."""

    engine: Literal["vllm", "llamacpp", "transformers"] | None = Field(
        None,
        description=(
            "vllm; llamacpp: llama.cpp, for GGUF files and CPUs; transformers: `transformers serve`, which ignores JSON"
            " schemas. If not set: vllm if it is installed, else llamacpp for a model with a GGUF file, else"
            " transformers"
        ),
        examples=["llamacpp"],
    )

    python: str | None = Field(
        None,
        description="the Python of an environment that has vLLM; muser's own if not set",
        examples=["/opt/vllm/bin/python"],
    )
    command: list[str] = Field(
        [],
        description=(
            "a command that accepts the arguments of `vllm serve`, such as docker run … IMAGE; {auth} is replaced by"
            " the folder of the key check, which must be on the server's PYTHONPATH"
        ),
        examples=[["docker", "run", "--gpus", "all", "vllm/vllm-openai"]],
    )
    weights: Literal["merged", "adapter"] = Field(
        "merged",
        description="adapter: serve a trained stage as its base model plus the LoRA adapter; stages share a server",
        examples=["adapter"],
    )
    gpu_memory_utilization: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the GPU's memory that vLLM may use; vLLM's default if not set",
        examples=[0.9],
    )
    max_model_len: int | None = Field(
        None, gt=0, description="tokens of prompt and reply together; the model's limit if not set", examples=[8192]
    )
    reasoning_parser: str = Field(
        "auto",
        description="one of vLLM's reasoning parsers; auto: chosen by the model; none: no parser",
        examples=["qwen3"],
    )
    options: dict[str, JsonValue] = Field(
        {},
        description=(
            "vLLM's flags without the leading dashes, or fields of xllamacpp.CommonParams; `transformers serve` gets"
            " none"
        ),
        examples=[{"enable-prefix-caching": True}, {"n_parallel": 8}],
    )
    env: dict[str, str] = Field(
        {}, description="environment variables for the server", examples=[{"VLLM_LOGGING_LEVEL": "WARNING"}]
    )
    start_timeout: float = Field(900, gt=0, description="seconds to wait until the server responds", examples=[1800])

    @model_validator(mode="after")
    def _has_one_vllm(self) -> Self:
        if self.python and self.command:
            raise ValueError("give python or command, not both")
        if (self.python or self.command) and self.engine not in (None, "vllm"):
            raise ValueError("python and command start vLLM; leave engine out")
        return self

    @property
    def data_parallel(self) -> int:
        """How many engines the server will have, each with its own prefix cache."""
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
        description="tells models with the same name apart; calls of another revision are not reused",
        examples=["2026-11"],
    )
    base_url: str | list[str] | None = Field(
        None,
        description=(
            "the endpoint's address, or a list of several; each sample stays with one, where its prefix is cached"
        ),
        examples=["http://127.0.0.1:8000/v1"],
    )
    api_key_env: str | None = Field(
        None, description="the environment variable with the key, never the key itself", examples=["MAIN_API_KEY"]
    )
    headers_env: dict[str, str] = Field(
        {},
        description="additional headers: the header's name and the environment variable with its value",
        examples=[{"X-Team": "TEAM_TOKEN"}],
    )
    data_parallel: int = Field(
        1,
        ge=1,
        description="engines behind each address (vLLM's --data-parallel-size); each sample stays with one",
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
    max_tokens: int = Field(
        2048, gt=0, description="limit on the tokens of one reply, reasoning included", examples=[4096]
    )
    reasoning_marks: list[str] = Field(
        ["<think>", "</think>"],
        min_length=2,
        max_length=2,
        description="the texts that open and close reasoning in a reply, for servers that do not separate it",
        examples=[["[THINK]", "[/THINK]"]],
    )
    extra_body: dict[str, JsonValue] = Field(
        {}, description="additional fields of every request", examples=[{"top_k": 20}]
    )
    timeout: float = Field(600, gt=0, description="seconds for one request", examples=[120])
    retries: int = Field(
        6,
        ge=0,
        description="retries of a request after 408, 409, 429, 5xx or a lost connection, with jitter",
        examples=[3],
    )
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
            check_address(url)
        if given == [] or len(set(urls)) < len(urls):
            raise ValueError("must list at least one address, and none twice")
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
        """The request must match what the ledger records and what the nodes requested."""
        if taken := [key for key in OWN_KEYS if key in given]:
            raise ValueError(
                f"must not contain {', '.join(taken)}: muser sets these itself; "
                "temperature, top_p and max_tokens are keys of the model"
            )
        return given

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if self.base_url and self.serve:
            raise ValueError("give base_url or serve, not both")
        if self.revision and self.serve:
            raise ValueError("with serve, set serve.options.revision, which vLLM loads; it is recorded too")
        if self.serve and self.data_parallel > 1:
            raise ValueError("with serve, set serve.options.data-parallel-size")
        return self

    @property
    def addresses(self) -> list[str]:
        """Every base_url."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url or []
