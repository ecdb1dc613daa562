"""Every failure that muser reports on purpose.

    MuserError
    ├── SettingsError          a recipe, a flag or an environment variable is wrong
    │   ├── PromptError        a prompt file is missing, broken, or uses an undefined variable
    │   ├── RunChanged         a run of this name exists under another recipe
    │   └── MissingModel       a model is named before it is trained or fetched
    ├── InputError             a query file, rubric file or training row is wrong
    ├── EndpointError          a request to a model failed
    │   ├── EndpointUnreachable   no server responds at the address
    │   ├── EndpointRefused       the server rejects the key, the model or the request, or its response is unusable
    │   ├── EndpointOverloaded    429, 5xx or a lost connection, after all retries
    │   └── EndpointTimeout       no response within the model's timeout
    ├── ReplyError             a model's reply is still unusable after all repairs
    ├── CriticError            a critic named by import path raised, or returned no critique
    ├── Rejected               a screen rejected a sample
    ├── ScreenError            a screen named by import path raised, or returned no reason
    ├── CallLimit              a command reached its limit of calls
    ├── MachineError           the graph could not finish a sample because of a bug in muser or LangGraph
    ├── ServerError            a server that muser starts failed to start, or exited
    ├── StoreError             the database cannot be used
    │   ├── ForeignDatabase    it belongs to another program or a newer muser
    │   ├── DamagedDatabase    a page, a text or the schema is corrupted or altered
    │   ├── StoreBusy          another process has locked it
    │   ├── RunBusy            another process is running the run
    │   └── StoreFull          the disk is full or read-only
    ├── TrainingError          training cannot start, or stopped on a bad number
    └── EvaluationError        a benchmark could not be graded or scored

A library's exception is translated once, in the folder that owns the library, with `from`. Any other exception is a
bug and keeps its traceback: on the screen, or in a log if it failed only one sample of a run.
"""

from .types import Outcome


class MuserError(Exception):
    """What went wrong, where, and what to do about it; printed by the CLI as one message."""

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        super().__init__(what, where, todo)
        self.what, self.where, self.todo = what, where, todo

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.todo:
            lines.append(f"  try:   {self.todo}")
        return "\n".join(lines)


class SettingsError(MuserError):
    """A recipe, a flag or an environment variable is wrong."""


class PromptError(SettingsError):
    """A prompt file is missing, broken, or uses an undefined variable."""


class RunChanged(SettingsError):
    """A run of this name exists under another recipe."""


class MissingModel(SettingsError):
    """A model is named before it is trained or fetched."""


class InputError(MuserError):
    """A query file, rubric file or training row is wrong."""


class EndpointError(MuserError):
    """A request to a model failed."""


class EndpointUnreachable(EndpointError):
    """No server responds at the address."""


class EndpointRefused(EndpointError):
    """The server rejects the key, the model or the request, or its response is unusable."""


class EndpointOverloaded(EndpointError):
    """429, 5xx or a lost connection after all retries, from a server that does respond."""


class EndpointTimeout(EndpointError):
    """No response within the model's timeout."""


class ReplyError(MuserError):
    """A model's reply is still unusable after all repairs. `outcome` says why the last one is."""

    def __init__(self, what: str, *, outcome: Outcome, where: str = "", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo)
        self.outcome = outcome


class CriticError(MuserError):
    """A critic named by import path raised, or returned no critique."""


class Rejected(MuserError):
    """A screen rejected a sample, for the reason `what`. `stage` is what it looked at."""

    def __init__(self, what: str, *, screen: str, stage: str, text: str) -> None:
        super().__init__(what)
        self.screen, self.stage, self.text = screen, stage, text


class ScreenError(MuserError):
    """A screen named by import path raised, or returned something else than a reason."""


class CallLimit(MuserError):
    """A command reached its limit of calls."""


class MachineError(MuserError):
    """The graph could not finish a sample because of a bug in muser or LangGraph."""


class ServerError(MuserError):
    """A server that muser starts failed to start, or exited."""


class StoreError(MuserError):
    """The database cannot be used."""


class ForeignDatabase(StoreError):
    """The file belongs to another program or a newer muser."""


class DamagedDatabase(StoreError):
    """SQLite found the file corrupt."""


class StoreBusy(StoreError):
    """Another process has locked the file."""


class RunBusy(StoreError):
    """Another process is running the run."""


class StoreFull(StoreError):
    """The disk is full or read-only."""


class TrainingError(MuserError):
    """Training cannot start, or stopped on a bad number."""


class EvaluationError(MuserError):
    """A benchmark could not be graded or scored."""
