"""The values that the folders exchange, one class for each term of the method (arXiv 2511.10067)."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue


class Value(BaseModel):
    """A frozen value that rejects unknown fields, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ATTRIBUTE_NAME = re.compile(r"[^\W\d](?:[\w -]{0,62}[\w-])?")
"""An attribute's name, of characters that are safe in filters, SQL and addresses."""


def check_attribute_name(name: str) -> str:
    """The name. Raises ValueError if no attribute can have it."""
    if not ATTRIBUTE_NAME.fullmatch(name):
        raise ValueError("a name starts with a letter, has letters, digits, spaces, _ and -, and at most 64 characters")
    return name


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


# Not a pattern for the values: Pydantic's accept no lone surrogates, and models write those.
Persona = dict[Annotated[str, AfterValidator(check_attribute_name)], Annotated[str, AfterValidator(_not_blank)]]
"""Who asks and how: attribute → value, in the order of the attribute table (paper, section 3.1).

The names are those of the user's own table, or of a query file.
"""


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


def _without_repeats(tags: tuple[str, ...]) -> tuple[str, ...]:
    for tag in tags:
        if tags.count(tag) > 1:
            raise ValueError(f"repeats the tag {tag!r}")
    return tags


Tags = Annotated[tuple[str, ...], AfterValidator(_without_repeats)]


class RubricItem(Value):
    """One criterion. With negative points, meeting it means that the undesirable thing happened."""

    criterion: str = Field(min_length=1)
    """What the judge decides, met or not met."""
    # `float | int` keeps an int an int, because the judge's prompt quotes the number as written: `[5]` or `[5.0]`.
    points: float | int = Field(allow_inf_nan=False)
    """What meeting it adds to the score."""
    tags: Tags
    """Such as `axis:completeness`; each tag gets a score of its own. No tag twice."""

    @property
    def axis(self) -> str:
        """The axis that the item belongs to, in words; empty without one."""
        axes = (tag.removeprefix("axis:") for tag in self.tags if tag.startswith("axis:"))
        return next(axes, "").replace("_", " ")


class Grade(Value):
    """A judge's decision on one rubric item. `met` is None if the judge failed (not judged)."""

    item: int
    points: float
    met: bool | None
    explanation: str = ""


class Request(Value):
    """What an agent sends to its model, and what its reply is checked against.

    `attempt` starts at 1 and increases with every repair. `instructions` are the prompt's own words without the values,
    and `shortest` is how many letters the reply's prose needs at least. `least_temperature` and `frequency_penalty`
    change the role's sampling, so that a repeated request does not get the same reply.
    """

    messages: tuple[Message, ...]
    output_schema: dict[str, JsonValue] | None = None
    attempt: int = 1
    instructions: str = ""
    shortest: int = 0
    least_temperature: float = 0.0
    frequency_penalty: float = 0.0


Outcome = Literal[
    "ok",
    "prose",
    "truncated",
    "loop",
    "whitespace",
    "unclosed_reasoning",
    "empty",
    "malformed",
    "wrong_schema",
    "echo",
    "placeholder",
    "too_short",
    "refusal",
]
"""How a reply turned out; agents/replies.py says how each is recognised. Only `ok` and `prose` are usable."""


class Usage(Value):
    """Token counts as the endpoint reported them; its prefix cache held `tokens_cached` of the `tokens_in`."""

    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0


SIMULATED = "simulated"
"""The system_fingerprint of every completion from muser's simulated endpoint."""


class Reply(Value):
    """The reply to one request: the text, the separate reasoning if any, and the cost in tokens and seconds.

    `simulated`: the server marked the reply as scripted. The model's name in the recipe does not decide this.
    """

    text: str
    reasoning: str = ""
    finish_reason: str = ""
    model: str = ""
    usage: Usage = Usage()
    seconds: float = 0.0
    simulated: bool = False


Ask = Callable[[Request], Awaitable[Reply]]
"""How an agent calls its model. The graph binds it to one sample, role and round, so agents need no ledger."""

Critic = Callable[[str, str, Ask], Awaitable[Critique]]
"""A critic: (query, answer, ask) → critique. A recipe can name any async function with this signature."""


class PromptFile(Value):
    """The file that a prompt was read from: its name if it `ships` with muser, else its path.

    `shadows`: a file beside the recipe that replaces the shipped file of the same name.
    """

    file: str
    ships: bool
    shadows: bool = False

    @property
    def whose(self) -> str:
        """Whose file it is, in words."""
        if self.ships:
            return "ships with muser"
        return "yours, replaces muser's" if self.shadows else "yours"


class SampleInput(Value):
    """Where a sample starts: a persona to simulate, or an existing query (and possibly its response).

    `key` identifies the sample in its run and determines its seed. `history` holds the turns before the query, `extra`
    the unknown fields of a user's own query, `rubric` what a judge will decide about the response. `origin` is the
    sample that the values were taken from.
    """

    key: str
    persona: Persona | None = None
    history: tuple[Message, ...] = ()
    query: str | None = None
    response: Response | None = None
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    rubric: tuple[RubricItem, ...] = ()
    origin: str | None = None


Stage = Literal["base", "distill", "refine"]
SampleStatus = Literal["pending", "running", "done", "failed", "rejected"]
