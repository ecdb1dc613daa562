"""Critics that are functions: what can be one, and when its digest changes."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from muser.agents.critics import ImportedCritic, imported_critic
from muser.core.errors import SettingsError

GOOD = "async def critic(query, answer, ask): ..."
Write = Callable[..., ImportedCritic]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes modules and imports the critic of one of them, as a process that starts now would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def take(path: str = "own_critics:critic", **modules: str) -> ImportedCritic:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        for name in [name for name in sys.modules if (tmp_path / f"{name}.py").exists()]:
            monkeypatch.delitem(sys.modules, name)
        return imported_critic("mine", path)

    return take


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def critic(query, answer, ask): ...", "own_critics:critic is not async"),
        ("async def critic(query, answer): ...", "takes (query, answer)"),
        ("async def critic(query, answer, ask, more): ...", "takes (query, answer, ask, more)"),
        ("critic = 'revise'", "is of type str and cannot be called"),
        ("class critic: ...", "is not async"),
        ("async def critique(query, answer, ask): ...", "own_critics has no critic; did you mean critique?"),
        ("async def critic(query, answer, ask:", "SyntaxError: '(' was never closed (own_critics.py, line 1)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit('enough')", "SystemExit: enough"),
        ("import not_installed", "No module named 'not_installed'"),
    ],
)
def test_what_cannot_be_a_critic_is_refused_with_the_reason(write: Write, source: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        write(own_critics=source)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        "from functools import partial\nasync def of(kind, query, answer, ask): ...\ncritic = partial(of, 'kind')",
        "class Of:\n    async def __call__(self, query, answer, ask): ...\ncritic = Of()",
        "async def critic(query, *rest): ...",
    ],
)
def test_whatever_is_async_and_takes_three_arguments_can_be_one(write: Write, source: str) -> None:
    assert write(own_critics=source).digest


def test_the_digest_changes_with_the_module_that_is_named_and_with_the_one_that_defines_it(write: Write) -> None:
    named = "from other_critics import critic"
    first = write(own_critics=named, other_critics=GOOD).digest
    assert write(own_critics=named, other_critics=GOOD).digest == first
    elsewhere = write(own_critics=named, other_critics=GOOD + "  # stricter").digest
    here = write(own_critics=named + "  # the strict one", other_critics=GOOD).digest
    assert len({first, elsewhere, here}) == 3


def test_code_without_source_is_told_apart_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(version: str = "") -> str:
        module = ModuleType("made_critics")
        exec(GOOD + version, vars(module))
        monkeypatch.setitem(sys.modules, "made_critics", module)
        return imported_critic("mine", "made_critics:critic").digest

    assert take("\ncritic.version = 1") == take("\nversion = 1") != take("\nversion = 2")
    with pytest.raises(SettingsError, match="give the function or its module a version"):
        take()
