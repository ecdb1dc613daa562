"""A folder in which `muser` commands run, are killed and resume, and what they leave there."""

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from muser.core.hashing import digest
from muser.endpoints.simulated.faults import ON_THE_WIRE
from muser.store.file.database import Store
from muser.store.records.ledger import calls_of
from muser.store.records.samples import get_trace
from muser.store.records.workers import workers_of

from .killable import SAID, KillableCommands

T = TypeVar("T")
DONE, ERROR, FAILED_SAMPLES, STOPPED = 0, 1, 3, 4  # exit codes


@dataclass
class Harness:
    """The folder of a recipe, its store, and the log of its endpoint.

    The log has the digest of each request's body; the same is made of the ledger's rows, so that the two are compared.
    """

    folder: Path
    commands: KillableCommands
    url: str
    lost: Counter[str] = field(default_factory=Counter)
    """bodies that had been asked without a committed row when a process ended, and how often"""
    recorded: set[str] = field(default_factory=set)
    """bodies of the ledger's calls when a process ended last"""
    _lines: int = 0
    _row: int = 0

    def start(self, *words: object, **more: Any) -> int:
        """Starts a command; its process id."""
        return self.commands.start(self.folder, *words, **more)

    def wait(self) -> int:
        """How the process ended, after the calls that it has lost were counted."""
        code = self.commands.wait()
        self.count_lost()
        return code

    def count_lost(self) -> None:
        """Takes note of the calls that were made and have no row, now that no process is there."""
        # What a killed process had sent is in the endpoint's log once it answers others.
        for _ in range(2):
            with urllib.request.urlopen(f"{self.url}/models") as answer:
                answer.read()
        asked = self._asked()
        self._read_ledger()
        self.lost.update({body for body in asked[self._lines :] if body not in self.recorded})
        self._lines = len(asked)

    def wait_until(self, look: Callable[[], T]) -> T:
        """What `look` finds, as soon as it finds something."""
        tick = threading.Event()
        for _ in range(3000):
            if found := look():
                return found
            tick.wait(0.02)
        raise TimeoutError(self.said)

    def at_work(self) -> list[int]:
        """The processes that have samples of the run."""
        if not (self.folder / "muser.db").exists():
            return []
        with Store.open(self.folder / "muser.db") as store:
            rows = store.read("SELECT DISTINCT worker FROM samples WHERE status = 'running'")
            having = {row["worker"] for row in rows}
            return [worker.pid for worker in workers_of(store) if worker.id in having]

    def muser(self, *words: object, **more: Any) -> int:
        """Any command and its end."""
        self.start(*words, **more)
        return self.wait()

    def run(self, *words: object, **more: Any) -> int:
        """`muser run` and its end."""
        return self.muser("run", "trial.yaml", *words, **more)

    @property
    def asked(self) -> Counter[str]:
        """How often the endpoint replied, or would have, to each body."""
        return Counter(self._asked())

    @property
    def repeats(self) -> Counter[str]:
        """How often each body was repeated."""
        return Counter({body: number - 1 for body, number in self.asked.items() if number > 1})

    def results(self, run: str = "trial") -> dict[str, dict[str, Any]]:
        """Everything about the run's samples that must not depend on how and when they came to be."""
        with Store.open(self.folder / "muser.db") as store:
            names = store.read("SELECT key FROM samples WHERE run_id = ?", (run,))
            traces = [get_trace(store, f"{run}/{row['key']}") for row in names]
        # The tokens of an unusable try stay in the sample's total.
        apart = {trace.key: CIRCUMSTANCES | ({"tokens"} if trace.tries else set()) for trace in traces}
        return {trace.key: trace.model_dump(exclude=apart[trace.key]) for trace in traces}

    def without_repairs(self) -> list[str]:
        """The samples whose replies were all usable, and which were not retried."""
        with Store.open(self.folder / "muser.db") as store:
            return [row["key"] for row in store.read(WITHOUT_REPAIRS)]

    @property
    def said(self) -> str:
        """What its commands have printed so far."""
        return (self.folder / SAID).read_text()

    def _asked(self) -> list[str]:
        lines = map(json.loads, (self.folder / "log").read_text().splitlines())
        return [line["body"] for line in lines if line["fault"] not in ON_THE_WIRE]

    def _read_ledger(self) -> None:
        with Store.open(self.folder / "muser.db") as store:
            new = store.read(NEW_CALLS, (self._row,))
            calls = [call for row in new for call in calls_of(store, row["name"]) if (call.id or 0) > self._row]
        for call in calls:
            messages = [message.model_dump() for message in call.messages]
            self.recorded.add(digest({"messages": messages, **call.parameters}))
        self._row = max([self._row, *(call.id or 0 for call in calls)])


CIRCUMSTANCES = {
    "id",
    "run_id",
    "checkpoint_id",
    "started_at",
    "finished_at",
    "seconds",
    "worker",
    "pruned_at",
    "forked_from",
}
NEW_CALLS = """
    SELECT DISTINCT run_id || '/' || key AS name FROM calls JOIN samples ON samples.id = sample_id WHERE calls.id > ?"""
WITHOUT_REPAIRS = """
    SELECT key FROM samples WHERE run_id = 'trial' AND tries = 0
    AND NOT EXISTS (SELECT 1 FROM calls WHERE sample_id = samples.id AND outcome <> 'ok')"""
