"""The memory of a training on the CPU: estimated near what it takes, and what does not fit is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muser.core.errors import TrainingError
from muser.core.recipe import TrainingSettings
from muser.trainer import memory
from muser.trainer.memory import ERROR, plan_memory
from muser.trainer.tiny import build_tiny_model

pytestmark = pytest.mark.train
Make = Callable[..., TrainingSettings]
PEAK = Path(__file__).with_name("peak.py")


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets a container's limit, of which 100 MB are used."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / "memory.current").write_text("100000000\n")

    def to(most: str) -> None:
        (tmp_path / "memory.max").write_text(f"{most}\n")

    return to


def test_activations_are_kept_while_they_fit_then_recomputed_and_in_the_end_refused(
    settings: Make, tiny: Path, limit: Callable[[str], None]
) -> None:
    def plan() -> memory.MemoryPlan:
        return plan_memory(str(tiny), settings(), 4000, rows=8)

    limit("max")
    kept = plan()
    assert (kept.checkpointing, kept.needed) == (False, kept.kept)
    limit(str(100_000_000 + kept.kept - 1))
    recomputed = plan()
    assert recomputed.checkpointing
    assert recomputed.needed < recomputed.free == kept.kept - 1
    limit(str(100_000_000 + recomputed.needed // 2))
    with pytest.raises(TrainingError, match=r"8 × 4,000 tokens[\s\S]*lower the stage's max_length or batch_size"):
        plan()


def test_a_smaller_adapter_needs_less(settings: Make, tiny: Path) -> None:
    lora = settings("lora")
    few = lora.model_copy(update={"lora": lora.lora.model_copy(update={"target_modules": ["q_proj"]})})
    needed = [plan_memory(str(tiny), one, 100, rows=1).kept for one in (few, lora, settings("full"))]
    assert needed == sorted(set(needed))


@pytest.mark.slow
@pytest.mark.parametrize("free", [10**12, 500 * 10**6])
def test_the_estimate_is_near_what_a_training_takes(tmp_path: Path, free: int) -> None:
    base = build_tiny_model(tmp_path / "base", [PEAK.read_text()], hidden=192, layers=8)
    command = [sys.executable, str(PEAK), str(base), "full", "8", "400", str(free)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["checkpointing"] is (free < 10**12)
    assert abs(found["needed"] / found["measured"] - 1) <= ERROR, found
