"""How much memory a training on the CPU needs, estimated from the model's shape before any weight is loaded."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import TrainingError
from ..core.recipe import TrainingSettings
from ..core.types import Value

FLOAT = 4  # bytes of a weight, a gradient and an activation: on the CPU all are float32
MIB = 2**20
# Fitted to the peaks of trainings of SmolLM2-135M and of tiny models; tests compare them with real trainings.
LOGITS = 8  # copies of a batch's logits at the peak: the loss, gradients, TRL's metrics
NORMED = 12  # activations of a layer that are as wide as the model and kept for the backward pass
GATED = 4  # and those as wide as its feed-forward part
MORE = 4  # layers' worth of temporary tensors of the backward pass, and of freed memory that malloc keeps
FIXED = 30 * MIB
ERROR = 0.25  # by how much an estimate may be wrong
CGROUP = Path("/sys/fs/cgroup")


class MemoryPlan(Value):
    """What a training on the CPU needs besides the libraries, in bytes, and what is free.

    `checkpointing`: activations are computed twice, because keeping them would need more than is free.
    """

    needed: int
    kept: int
    """what it would need with all activations kept"""
    free: int
    checkpointing: bool


def plan_memory(
    base: str, settings: TrainingSettings, tokens: int, *, rows: int, free: int | None = None
) -> MemoryPlan:
    """Whether a batch of `rows` rows of at most `tokens` tokens fits, with or without gradient checkpointing.

    Raises TrainingError if it certainly does not.
    """
    free = free_memory() if free is None else free
    shape = _Shape(base, settings)
    kept, recomputed = (shape.needed(tokens * rows, checkpointing=on) for on in (False, True))
    plan = MemoryPlan(needed=kept if kept <= free else recomputed, kept=kept, free=free, checkpointing=kept > free)
    if plan.needed * (1 - ERROR) > free:
        lower = "the stage's max_length" + (" or batch_size" if rows > 1 else "")
        method = "" if settings.method == "lora" else ", or train with method: lora"
        raise TrainingError(
            f"training would need about {plan.needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free",
            where=f"{base}, batches of {rows} × {tokens:,} tokens",
            todo=f"lower {lower}{method}, take a smaller model, or train on a machine with more memory",
        )
    return plan


def free_memory() -> int:
    """Bytes that a new process can use: what the machine has available, or a container's limit leaves."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or "max"
        return available
    return min(available, limit - used)


class _Shape:
    """The sizes of a model that decide its memory, from its configuration."""

    def __init__(self, base: str, settings: TrainingSettings) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(base)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        text = config.get_text_config()
        weights = sum(int(weight.numel()) for weight in model.parameters())
        adapter = 0 if settings.method == "full" else settings.lora.r * sum(_widths(model, settings))
        # Beside itself, a trained weight needs its gradient and AdamW's two moments.
        self.states = weights + adapter + 3 * (adapter or weights)
        self.vocabulary, self.layers = int(text.vocab_size), int(text.num_hidden_layers)
        self.hidden = int(text.hidden_size)
        self.gated = int(getattr(text, "intermediate_size", 4 * self.hidden))

    def needed(self, tokens: int, *, checkpointing: bool) -> int:
        """Bytes at the peak of a step over this many tokens."""
        layer = tokens * (NORMED * self.hidden + GATED * self.gated)
        kept = tokens * self.hidden * self.layers if checkpointing else layer * self.layers
        # The logits are gone before the backward pass reaches the layers.
        peak = max(LOGITS * tokens * self.vocabulary, (MORE + checkpointing) * layer)
        return FLOAT * (self.states + kept + peak) + FIXED


def _widths(model: Any, settings: TrainingSettings) -> Iterator[int]:
    """Inputs and outputs of every linear layer that gets an adapter, as PEFT chooses them."""
    import torch

    wanted = settings.lora.target_modules
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or module is model.get_output_embeddings():
            continue
        if isinstance(wanted, str):
            chosen = wanted == "all-linear" or re.fullmatch(wanted, name) is not None
        else:
            chosen = name.rpartition(".")[2] in wanted
        if chosen:
            yield module.in_features + module.out_features
