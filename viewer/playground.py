"""The playground: replays a sample from its page with one prompt or model changed.

The replay itself is passed in by the code that starts the viewer. A page can only change a prompt's text and choose
among the recipe's models.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..core.errors import InputError, MuserError

LONGEST = 200_000
"""Most characters of a prompt."""


class Editable(NamedTuple):
    """A role whose prompt may be edited: the node to replay from, the prompt's text, and the model that plays it."""

    role: str
    node: str
    prompt: str
    model: str


class Edit(NamedTuple):
    """A change requested on a page; an empty prompt or model leaves it unchanged."""

    sample: str
    role: str
    prompt: str
    model: str


class Outcome(NamedTuple):
    """The fork that a replay made and the number of its calls; `problem` says why it did not finish."""

    fork: str
    changes: tuple[str, ...]
    calls: int
    problem: str = ""


@dataclass(frozen=True)
class Tools:
    """What is passed in: `editable` maps a run id to its roles and models, `replay` replays a sample
    with at most the given number of calls.
    """

    editable: Callable[[str], tuple[list[Editable], list[str]]]
    replay: Callable[[Edit, int], Awaitable[Outcome]]


@dataclass
class Replay:
    """A replay requested on a page, finished or not."""

    edit: Edit
    outcome: Outcome | None = None
    error: str = ""


@dataclass
class Playground:
    """Runs replays one at a time, with at most `most_calls` calls in total."""

    tools: Tools
    most_calls: int
    calls: int = 0
    replays: list[Replay] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self, edit: Edit) -> int:
        """Starts a replay in the background and returns its number. Raises InputError."""
        self._check_calls()
        if len(edit.prompt) > LONGEST:
            raise InputError(f"the prompt has {len(edit.prompt):,} characters, more than the limit of {LONGEST:,}")
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
                f"replays from these pages have used all their calls ({self.calls:,})",
                todo="restart `muser view` with a higher --max-calls",
            )

    async def _run(self, replay: Replay) -> None:
        async with self._one:
            try:
                # Checked again: a queued replay was accepted before the calls of those ahead of it were counted.
                self._check_calls()
                outcome = await self.tools.replay(replay.edit, self.most_calls - self.calls)
                self.calls += outcome.calls
                if outcome.problem:
                    raise InputError(outcome.problem)
                replay.outcome = outcome
            except MuserError as error:
                replay.error = str(error)
            except Exception as error:
                # Without an error the page would wait forever; the traceback goes to the server's log.
                replay.error = f"{type(error).__name__}: {error}"
                raise
