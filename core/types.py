"""The values that pass between the folders, one class for each word of the method (arXiv 2511.10067)."""

from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Value(BaseModel):
    """A frozen value that refuses unknown fields, so a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Persona(Value):
    """Who asks and how: the seven attributes that condition a simulated query (paper, section 3.1)."""

    identity: str
    region: str
    condition: str
    intent: str
    vagueness: str
    completeness: str
    style: str


class Message(Value):
    """One turn of a chat-completions conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Response(Value):
    """What the responder wrote first: `<think>reasoning</think>answer`."""

    reasoning: str = ""
    answer: str


Verdict = Literal["pass", "revise"]


class Critique(Value):
    """One critic's judgement of an answer. `rationale` is a first-person plan; `critic` is set by the graph."""

    critic: str = ""
    verdict: Verdict
    rationale: str
    round: int = 1


class Refinement(Value):
    """The refined answer, and the reasoning that the critics' rationales were composed into."""

    reasoning: str
    answer: str


class Grade(Value):
    """A judge's word on one rubric item. `met` is None when the judge failed: a third state, never a verdict."""

    item: int
    points: float
    met: bool | None
    explanation: str = ""


class Request(Value):
    """What an agent asks of its model; `attempt` counts from 1 and grows with every repair."""

    messages: tuple[Message, ...]
    output_schema: dict[str, JsonValue] | None = None
    attempt: int = 1


Outcome = Literal[
    "ok", "prose", "truncated", "empty", "whitespace", "unclosed_reasoning", "refusal", "malformed", "wrong_schema"
]
"""How a reply ended; agents/replies.py says how each is told. `ok` and `prose` are of use."""


class Usage(Value):
    """Token counts as the endpoint reported them; `tokens_cached` of `tokens_in` were in its prefix cache."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0


SIMULATED = "simulated"
"""The system_fingerprint of every completion from muser's simulated endpoint."""


class Reply(Value):
    """What came back for one request: the text, the separate reasoning if any, and what it cost.

    `simulated`: the server said that no model wrote it, whatever the recipe calls the model.
    """

    text: str
    reasoning: str = ""
    finish_reason: str = ""
    model: str = ""
    usage: Usage = Usage()
    seconds: float = 0.0
    simulated: bool = False


Ask = Callable[[Request], Awaitable[Reply]]
"""How an agent reaches its model: bound by the graph to one sample, role and round, so agents know no ledger."""

Critic = Callable[[str, str, Ask], Awaitable[Critique]]
"""A critic: (query, answer, ask) → critique. Any async function of this signature can be named in a recipe."""


class PromptFile(Value):
    """The file that a prompt was read from: by its name if it `ships` with muser, else by its path.

    `shadows`: a file beside the recipe with the name of one that ships, and read in its place.
    """

    file: str
    ships: bool
    shadows: bool = False

    @property
    def whose(self) -> str:
        """In words."""
        if self.ships:
            return "ships with muser"
        return "yours, replaces muser's" if self.shadows else "yours"


class SampleInput(Value):
    """Where a sample starts: a persona to simulate, or a query (and perhaps a response) that exists already.

    `key` names the sample inside its run and decides its seed; `history` has the turns before the query, `extra` the
    fields of a brought query that muser does not know. `origin` is the sample the values were taken from.
    """

    key: str
    persona: Persona | None = None
    history: tuple[Message, ...] = ()
    query: str | None = None
    response: Response | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    origin: str | None = None


Stage = Literal["base", "distill", "refine"]
SampleStatus = Literal["pending", "running", "done", "failed"]
