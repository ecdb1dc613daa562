"""Trains on the CPU and prints what the training was estimated to need and what it needed, in bytes.

python peak.py BASE METHOD ROWS TOKENS FREE
"""

import json
import sys
import tempfile
from pathlib import Path

import peft  # noqa: F401  (the libraries are not part of the estimate)
import trl  # noqa: F401
from transformers import AutoTokenizer

from muser.core.recipe import TrainingSettings
from muser.trainer import memory
from muser.trainer.memory import MemoryPlan
from muser.trainer.sft import train_stage

WORDS = ["fever", "cough", "pain", "since", "Monday", "what", "should", "we", "do", "about", "it", "today", "please"]


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    base, method, rows, tokens, free = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    tokenizer = AutoTokenizer.from_pretrained(base)
    words = list(WORDS)
    while len(tokenizer(" ".join(words))["input_ids"]) < tokens:
        words += WORDS
    row = {
        "prompt": [{"role": "user", "content": "?"}],
        "completion": [{"role": "assistant", "content": " ".join(words)}],
    }
    folder = Path(tempfile.mkdtemp())
    (folder / "rows.jsonl").write_text((json.dumps(row) + "\n") * rows * 2)
    (folder / "memory.max").write_text(str(free))
    (folder / "memory.current").write_text("0")
    memory.CGROUP = folder
    own = {"epochs": 1, "batch_size": rows, "max_length": 4096, "save_steps": 100}
    settings = TrainingSettings.model_validate({"model": "student", "method": method, "distill": own, "refine": own})
    before: list[tuple[int, MemoryPlan]] = []
    train_stage(
        settings,
        "distill",
        base=base,
        rows=folder / "rows.jsonl",
        output=folder / "out",
        on_memory=lambda plan: before.append((status("VmRSS"), plan)),
    )
    ((resident, plan),) = before
    json.dump(plan.model_dump() | {"measured": status("VmHWM") - resident}, sys.stdout)


if __name__ == "__main__":
    main()
