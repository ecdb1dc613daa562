"""The recipe's training of a student, and the benchmark that scores it."""

from typing import Literal

from pydantic import Field, field_validator

from ..types import Stage
from .settings import Name, Seed, Settings

GradingMode = Literal["item", "example", "letter", "none"]
"""How an evaluation's answers are graded."""

Benchmark = Literal["healthbench", "hard", "consensus", "professional"]
"""A published benchmark whose scores have a length adjustment of their own."""


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
    batch_size: int = Field(8, gt=0, description="rows per device and step", examples=[4])
    gradient_accumulation: int = Field(1, gt=0, description="batches accumulated for one optimizer step", examples=[8])
    max_length: int = Field(
        4096, gt=0, description="tokens; longer rows are dropped and reported, never truncated", examples=[8192]
    )
    warmup_steps: int = Field(0, ge=0, description="optimizer steps to reach the peak learning rate", examples=[50])
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay", examples=[0.01])
    packing: bool = Field(
        False, description="pack several rows into one sequence of max_length tokens", examples=[True]
    )
    save_steps: int = Field(200, gt=0, description="optimizer steps between checkpoints", examples=[100])
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the queries never trained on; the loss on them is measured before and after training",
        examples=[0.1],
    )


class TrainingSettings(Settings):
    """Two-stage fine-tuning of one model of the recipe (paper, section 3.3)."""

    model: Name = Field(description="the model to train, by its name under models", examples=["student"])
    stages: list[Literal["distill", "refine"]] = Field(
        ["distill", "refine"],
        description="the stages that the pipeline trains, in this order; refine starts from distill",
        examples=[["distill"]],
    )
    method: Literal["lora", "full"] = Field(
        "lora", description="lora: train an adapter; full: train all weights", examples=["full"]
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

    @field_validator("stages")
    @classmethod
    def _starts_with_distill(cls, stages: list[str]) -> list[str]:
        if stages not in (["distill"], ["distill", "refine"]):
            raise ValueError("must be [distill] or [distill, refine]: refine starts from the distilled model")
        return stages


class EvaluationSettings(Settings):
    """A benchmark file in HealthBench's format, and how much of it to grade."""

    file: str = Field(description="the benchmark, JSONL", examples=["healthbench.jsonl"])
    benchmark: Benchmark | None = Field(
        None,
        description="the published benchmark that the file is; its answers get its length-adjusted score too",
        examples=["hard"],
    )
    grading: GradingMode = Field(
        "item",
        description=(
            "item: one call of the judge for each rubric item, as simple-evals; example: one for a whole rubric;"
            " letter: the letter that an answer to a multiple-choice question settles on; none: only make the answers"
        ),
        examples=["example"],
    )
    answers: str | None = Field(
        None,
        description="answers to grade: JSONL of {prompt_id, response}, or an evaluation run; default: the responder's",
        examples=["answers.jsonl"],
    )
    examples: int | None = Field(
        None,
        gt=0,
        description="grade a random subset of this size, drawn as simple-evals does; all if not set",
        examples=[500],
    )
    repeats: int = Field(1, gt=0, description="answers graded for each example", examples=[4])
    stages: list[Stage] = Field(
        ["base", "distill", "refine"],
        description="stages of the student that the pipeline scores",
        examples=[["base", "refine"]],
    )
