"""The trainer callback: reports each step, records tokens and seconds, and stops training on NaN or infinity."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from ..core.errors import TrainingError
from ..core.types import Stage
from .result import TrainingProgress, smoothed


class TrainingCallback(TrainerCallback):  # type: ignore[misc]
    """Adds `tokens` and `seconds` to each log history entry; both count from the first step, across resumes."""

    def __init__(self, stage: Stage, on_progress: Callable[[TrainingProgress], None] | None) -> None:
        self.stage, self.on_progress = stage, on_progress
        self.began = 0.0
        self.first_step = self.tokens_before = 0
        self.seconds_before = 0.0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        # A resumed trainer restores log_history from trainer_state.json, so the totals continue from its last entry.
        self.began, self.first_step = time.monotonic(), state.global_step
        last = state.log_history[-1] if state.log_history else {}
        self.tokens_before, self.seconds_before = last.get("tokens", 0), last.get("seconds", 0.0)

    def on_step_end(self, _args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        # save_total_limit deletes old checkpoints, so saving broken weights could delete the last good ones.
        if control.should_save:
            check_weights(model, state.global_step)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        for number in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(number, 0.0)):
                raise broken(f"the {number.replace('grad_norm', 'gradient')} became {logs[number]}", state.global_step)
        # Trainer.log appends to log_history before it calls on_log, so the last entry is this step's.
        entry, seconds = state.log_history[-1], time.monotonic() - self.began
        new_tokens = int(logs.get("num_tokens", 0))
        entry["tokens"], entry["seconds"] = self.tokens_before + new_tokens, round(self.seconds_before + seconds, 3)
        if self.on_progress is None:
            return
        done = state.global_step - self.first_step
        self.on_progress(
            TrainingProgress(
                stage=self.stage,
                step=state.global_step,
                total=state.max_steps,
                loss=smoothed([one["loss"] for one in state.log_history if "loss" in one], state.max_steps),
                tokens=entry["tokens"],
                tokens_per_second=new_tokens / seconds if seconds else 0.0,
                eta=(state.max_steps - state.global_step) * seconds / done if done else 0.0,
            )
        )


def check_weights(model: Any, step: int) -> None:
    """Raises TrainingError if a trainable weight is NaN or infinite."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and not torch.isfinite(weight).all():
            raise broken(f"the weights of {name} became NaN or infinite", step)


def broken(what: str, step: int) -> TrainingError:
    """The error for a training that diverged."""
    return TrainingError(
        f"training stopped at step {step}: {what}",
        todo="lower the stage's learning_rate or raise its warmup_steps; the last good checkpoint is kept",
    )
