"""What `--json` prints is what cli/outputs.py declares, command by command."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typer.main import get_command

from muser.cli.app import app
from muser.cli.outputs import OUTPUTS

from .commands.test_pipeline import two_stages
from .conftest import Muser


def as_declared(name: str, printed: Any) -> None:
    """Whether the declared type holds exactly what was printed: nothing unknown, nothing lost."""
    kind: TypeAdapter[Any] = TypeAdapter(OUTPUTS[name])
    assert kind.dump_python(kind.validate_python(printed), mode="json", exclude_unset=True) == printed, name


def test_every_command_with_json_output_has_a_declared_type() -> None:
    def commands(command: Any, words: str = "") -> set[str]:
        inner = getattr(command, "commands", {})
        here = {words} if any("--json" in option.opts for option in command.params) else set()
        return here.union(*(commands(one, f"{words} {name}".strip()) for name, one in inner.items()))

    assert {name.partition(" --")[0] for name in OUTPUTS} == commands(get_command(app))


def test_what_a_run_and_the_commands_on_it_print_is_as_declared(muser: Muser, benchmarked: Path) -> None:
    as_declared("check", muser("check", benchmarked, "--json").json())
    as_declared("preview", muser("preview", benchmarked, "-n", 1, "--json").json())
    for line in muser("run", benchmarked, "--follow", "--json").out.splitlines():
        as_declared("run --follow", json.loads(line))
    as_declared("run", muser("run", benchmarked, "--json").json())
    as_declared("retry", muser("retry", "small", "--failed", "--json").json())
    as_declared("runs", muser("runs", "--json").json())
    as_declared("list", muser("list", "small", "--json").json())
    as_declared("show", muser("show", "q000001", "--json").json())
    as_declared("show --why", muser("show", "q000001", "--why", "--json").json())
    as_declared("export", muser("export", "small", "--stage", "refine", "--json").json())
    for what in ("small-refine.jsonl:1", "small/q000001", "small-refine.jsonl"):
        as_declared("provenance", muser("provenance", what, "--json").json())
    as_declared("view --export", muser("view", "small", "--export", "small.html", "--json").json())
    changed = ("--from", "refine", "--set", "models.main.temperature=0.2", "--json")
    as_declared("replay", muser("replay", "small/q000001", "small/q000002", *changed).json())
    as_declared("critics", muser("critics", "small", "--reask", 1, "--planted", "--json").json())
    as_declared("diff", muser("diff", "small", "small-fork", "--json").json())
    as_declared("promote", muser("promote", "small-fork", "--json").json())
    as_declared("eval run", muser("eval", "run", benchmarked, "--json").json())
    as_declared("eval score", muser("eval", "score", "small-eval-main", "--json").json())
    as_declared("db stats", muser("db", "stats", "--json").json())
    as_declared("db check", muser("db", "check", "--json").json())
    as_declared("db backup", muser("db", "backup", "copy.db", "--json").json())
    as_declared("db prune", muser("db", "prune", "--json").json())
    as_declared("db vacuum", muser("db", "vacuum", "--json").json())


def test_a_summary_with_failures_is_as_declared(muser: Muser, recipe: Path) -> None:
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("timeout: 20", "timeout: 20, max_tokens: 1"))
    ended = muser("run", recipe, "--set", "repairs=0", "--json").json()
    assert ended["failures"]
    as_declared("run", ended)


def test_a_plan_and_a_probe_are_as_declared(muser: Muser, tmp_path: Path, simulated: str) -> None:
    recipe = two_stages(tmp_path, simulated)
    as_declared("pipeline --plan", muser("pipeline", recipe, "--plan", "--json").json())
    as_declared("check --probe", muser("check", recipe, "--probe", "--tries", 2, "--json").json())
