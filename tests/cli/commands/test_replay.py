"""`replay` as one types it: one sample beside its fork, a slice of a run, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Muser, write_recipe

EDITED = "The answer must name one number to call. "


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    """A safety critic's prompt with one more sentence, where muser runs."""
    source = Path(__file__).parents[3] / "prompts" / "safety.md"
    path = tmp_path / "safer.md"
    path.write_text(EDITED + source.read_text(encoding="utf-8"), encoding="utf-8")
    return path


def test_one_critic_is_replayed_and_shown_beside_the_original(muser: Muser, recipe: Path, prompt: Path) -> None:
    muser("run", recipe)
    ended = muser("replay", "small/s000001", "--from", "safety", "--set", f"critics.safety.prompt={prompt.name}")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "small rerun from safety, with these changes:"
    assert lines[1].startswith("  critics.safety.prompt: 'safety.md' → ")
    assert any(line.split() == ["small/s000001", "small-fork/s000001"] for line in lines)
    figures = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("status", "decision", "safety"))}
    assert figures["status"] == ["done", "done"]
    assert set(figures) == {"status", "decision", "safety"}
    assert "in full: muser show small-fork/s000001" in ended.out
    shown = muser("show", "small-fork/s000001")
    assert shown.code == 0
    assert "made from small/s000001" in shown.out


def test_a_fork_keeps_its_prompt_whatever_becomes_of_the_file(muser: Muser, recipe: Path, prompt: Path) -> None:
    muser("run", recipe)
    change = ("--from", "safety", "--set", f"critics.safety.prompt={prompt.name}")
    before = muser("replay", "small/s000001", *change, "--json").json()
    kept = list(Path("muser.db-prompts").iterdir())
    assert [file.read_text(encoding="utf-8") for file in kept] == [prompt.read_text(encoding="utf-8")]
    prompt.write_text("Another prompt.", encoding="utf-8")
    assert muser("replay", "small/s000001", *change, "--json").json()["run_id"] == "small-fork-2"
    again = muser("replay", "small/s000001", "--from", "safety", "--set", f"critics.safety.prompt={kept[0]}", "--json")
    assert (again.json()["run_id"], again.json()["calls"]) == (before["run_id"], 0)
    prompt.write_text("{{ nothing }}", encoding="utf-8")
    broken = muser("replay", "small/s000001", *change)
    assert (broken.code, "safer.md:1" in broken.err) == (1, True)
    assert len(list(Path("muser.db-prompts").iterdir())) == 2


def test_a_replay_of_what_is_unchanged_says_so_and_asks_nothing(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    ended = muser("replay", "s000001", "--from", "critics", "--json")
    found = ended.json()
    assert (ended.code, found["changes"], found["calls"], found["reused"]) == (0, [], 0, 3)
    assert "nothing was changed\n0 calls made, 1 reused" in muser("replay", "small/s000001", "--from", "refine").out


def test_a_slice_is_replayed_into_a_run_that_exports_like_any_other(muser: Muser, recipe: Path, prompt: Path) -> None:
    muser("run", recipe)
    change = ("--from", "safety", "--set", f"critics.safety.prompt={prompt}")
    ended = muser("replay", "--run", "small", "--where", "status=done", "--limit", 3, *change)
    assert ended.code == 0, ended.err
    assert "the first 3 of 4 samples" in ended.err
    for part in ("small → small-fork", "3 samples match, 3 done in both", "last verdicts", "means over 3 pairs"):
        assert part in ended.out
    assert "export small-fork --stage refine" in ended.out
    exported = muser("export", "small-fork", "--stage", "refine", "--json").json()
    assert exported["meta"]["rows"] == 3
    again = muser("replay", "--run", "small", *change, "--json").json()
    assert (again["summary"]["done"], again["comparison"]["matched"]) == (4, 4), "the fourth joins them"


def test_forks_are_promoted_into_a_run_that_has_them_in_their_originals_places(muser: Muser, recipe: Path) -> None:
    muser("run", recipe)
    change = ("--from", "refine", "--set", "models.main.temperature=0.1")
    muser("replay", "small/s000001", "small/s000002", *change)
    ended = muser("promote", "small-fork")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0] == "small-promoted: 4 samples of small, 2 of them forks"
    exported = muser("export", "small-promoted", "--stage", "refine", "--json").json()
    assert exported["meta"]["rows"] == 4
    back = muser("provenance", "small-promoted-refine.jsonl:1", "--json").json()
    assert back["sample"]["made_from"] == ["small-fork/s000001", "small/s000001"]
    refused = muser("replay", "small-promoted/s000001", "--from", "refine")
    assert (refused.code, "its checkpoints belong to small-fork/s000001" in refused.err) == (1, True)


def test_forks_that_failed_are_tried_again(
    muser: Muser, tmp_path: Path, simulate: Callable[..., str], simulated: str
) -> None:
    recipe = write_recipe(tmp_path, simulated)
    muser("run", recipe, "--set", "rounds=2")
    broken = ("--set", f"models.main.base_url={simulate(faults={'empty': 1.0})}")
    change = ("--from", "safety", "--round", "1", "--set", "models.main.temperature=0.1")
    assert muser("replay", "small/s000001", *change, *broken).code == 3
    changed = muser("retry", "small-fork", "--failed", "--set", "models.main.temperature=0.2")
    assert (changed.code, "the recipe has changed since run small-fork was made" in changed.err) == (1, True)
    ended = muser("retry", "small-fork", "--failed", "--set", f"models.main.base_url={simulated}", "--json")
    assert (ended.code, ended.json()["done"], ended.json()["total"]) == (0, 1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name samples, or a run"),
        (("s000001", "--run", "small"), "name samples, or a run"),
        (("--run", "small", "--where", "status=failed"), "no sample of small"),
        (("s000001", "--from", "empathy"), "no node empathy"),
        (("s000001", "--from", "refine", "--set", "critics.safety.prompt=other.md"), "other.md"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_message(
    muser: Muser, recipe: Path, words: tuple[str, ...], said: str
) -> None:
    muser("run", recipe)
    ended = muser("replay", *words)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert [line["id"] for line in muser("runs", "--json").json()] == ["small"]
