"""The playground: one prompt or model of a sample's run changed on its page, and the sample replayed from there.

What a replay is stands elsewhere; whoever starts the viewer passes it in. A page can change a prompt's text and choose
among the recipe's models, and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..core.errors import InputError, MuserError

LONGEST = 200_000
"""Characters of a prompt."""


class Editable(NamedTuple):
    """A role whose prompt may be edited: the node to replay from, the prompt's text, and the model that plays it."""

    role: str
    node: str
    prompt: str
    model: str


class Edit(NamedTuple):
    """What a page asks for; an empty prompt or model stays as it is."""

    sample: str
    role: str
    prompt: str
    model: str


class Outcome(NamedTuple):
    """The fork that came of it, and the calls that were made for it; `problem`: why it did not come to its end."""

    fork: str
    changes: tuple[str, ...]
    calls: int
    problem: str = ""


@dataclass(frozen=True)
class Tools:
    """What the pages cannot do themselves: `editable` run id → its roles and models, and the replay
    itself, which makes no more calls than it is given.
    """

    editable: Callable[[str], tuple[list[Editable], list[str]]]
    replay: Callable[[Edit, int], Awaitable[Outcome]]


@dataclass
class Replay:
    """A replay that a page asked for, as it stands."""

    edit: Edit
    outcome: Outcome | None = None
    error: str = ""


@dataclass
class Playground:
    """Replays one at a time, which together make at most `most_calls`."""

    tools: Tools
    most_calls: int
    calls: int = 0
    replays: list[Replay] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self, edit: Edit) -> int:
        """The number under which the replay is found; it goes on in the background. Raises InputError."""
        self._check_calls()
        if len(edit.prompt) > LONGEST:
            raise InputError(f"a prompt of {len(edit.prompt):,} characters; {LONGEST:,} may be")
        if not edit.prompt.strip() and not edit.model:
            raise InputError("nothing was changed", todo="edit the prompt, or choose a model")
        replay = Replay(edit)
        self.replays.append(replay)
        task = asyncio.create_task(self._run(replay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return len(self.replays)

    def _check_calls(self) -> None:
        if self.calls >= self.most_calls:
            raise InputError(
                f"{self.calls:,} calls were made from these pages", todo="start `muser view` with a higher --max-calls"
            )

    async def _run(self, replay: Replay) -> None:
        async with self._one:
            try:
                # Replays that waited in line began before those ahead of them were counted.
                self._check_calls()
                outcome = await self.tools.replay(replay.edit, self.most_calls - self.calls)
                self.calls += outcome.calls
                if outcome.problem:
                    raise InputError(outcome.problem)
                replay.outcome = outcome
            except MuserError as error:
                replay.error = str(error)
            except Exception as error:
                # The page must not wait for ever; the server's log has the traceback.
                replay.error = f"{type(error).__name__}: {error}"
                raise
