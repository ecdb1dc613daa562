"""The inputs of a run: personas drawn from the attribute tables, or queries and responses from a JSONL file."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, StrictInt, StrictStr, ValidationError, model_validator

from ..core.conversations import CLOSE, OPEN, check_answer, check_prompt, completion_text, has_stray_thinking
from ..core.errors import InputError
from ..core.hashing import digest
from ..core.jsonl import parse_object, read_lines
from ..core.recipe import Recipe
from ..core.types import Message, Persona, Response, SampleInput, Value
from ..endpoints.client.chat import split_reasoning
from ..prompts.attributes import AttributeTables
from ..prompts.sampling import draw_persona
from ..store.records.samples import Trace

MOST_PROBLEMS = 20
SIMULATED = re.compile(r"[st]\d{6,}")
FORM = (
    'each line is one JSON object such as {"query": "…"}, {"query": "…", "response": {"answer": "…"}} or '
    '{"messages": [{"role": "user", "content": "…"}, …]}; id and persona are optional, other fields are kept'
)


class QueryLine(Value, extra="allow"):
    """One line of a query file: `query` or `messages`; unknown fields are stored with the sample."""

    id: StrictStr | StrictInt | None = None
    """The sample's key, unique in the file. Without it the key is `q` and 16 hex digits of a digest of its messages."""
    query: str | None = None
    """The query, if it is a single question."""
    messages: tuple[Message, ...] | None = Field(None, min_length=1)
    """A conversation. If it ends with an assistant turn, it brings the response. The last user turn is the query."""
    response: Response | None = None
    """An answer to critique, so that the responder is not called."""
    persona: Persona | None = None
    """Who asks, if known."""

    @model_validator(mode="after")
    def _asks_once(self) -> "QueryLine":
        if (self.query is None) == (self.messages is None):
            raise ValueError("give query or messages" + ", not both" * (self.query is not None))
        if self.id is not None and not str(self.id).strip():
            raise ValueError("id must not be empty")
        return self


@dataclass(frozen=True)
class Queries:
    """A checked query file. Each iteration rereads the file, so memory does not grow with its size."""

    path: Path
    count: int
    digest: str

    def __iter__(self) -> Iterator[SampleInput]:
        for number, line in read_lines(self.path):
            try:
                yield _parse(line)
            except ValueError as error:
                raise _refused(self.path, [f"{self.path}:{number}: {_in_words(error)}"], 1) from error


def simulated_inputs(count: int, tables: AttributeTables, seed: int) -> Iterator[SampleInput]:
    """Samples `s000001`, `s000002`, …; the persona of sample n does not depend on `count`."""
    return (simulated_input(number, tables, seed) for number in range(1, count + 1))


def simulated_input(number: int, tables: AttributeTables, seed: int) -> SampleInput:
    """The simulated sample of this number."""
    return SampleInput(key=f"s{number:06d}", persona=draw_persona(tables, seed, number))


def redrawn_persona(recipe: Recipe, tables: AttributeTables, trace: Trace) -> Persona | None:
    """The persona that replaces a rejected draw of a simulated sample; None if there is none, or no draw is left.

    A sample that a top-up added keeps the persona chosen for it; the draw's own seed gives it another query.
    """
    # A sample made from another one keeps that one's query.
    if trace.origin or not SIMULATED.fullmatch(trace.key) or trace.draw > recipe.screens.redraws:
        return None
    if trace.key.startswith("t"):
        return trace.persona
    return draw_persona(tables, recipe.seed, int(trace.key[1:]), trace.draw + 1)


def read_queries(path: Path) -> Queries:
    """The file's queries, keyed by their ids or a digest of their messages. InputError lists the invalid lines."""
    problems: list[str] = []
    wrong = count = 0
    content, lines = hashlib.sha256(), dict[int, int]()
    for number, line in read_lines(path):
        try:
            given = _parse(line)
            # 64 bits of the digest tell millions of keys apart and use less memory than the keys.
            first = lines.setdefault(int(digest(given.key)[:16], 16), number)
            if first != number:
                raise ValueError(f"has the same id or the same query as line {first}; give each line its own id")
        except ValueError as error:
            wrong += 1
            if len(problems) < MOST_PROBLEMS:
                problems.append(f"{path}:{number}: {_in_words(error)}")
            continue
        count += 1
        content.update(digest(given.model_dump(mode="json")).encode())
    if problems:
        raise _refused(path, problems, wrong)
    if not count:
        raise InputError("the query file is empty", where=str(path), todo=FORM)
    return Queries(path, count, content.hexdigest())


def key_of(given: str) -> str:
    """An id as a sample's key: percent-encoded, so it is safe in paths, URLs and shells, and unique per id."""
    return quote(given, safe="", errors="surrogatepass")


def _parse(text: bytes) -> SampleInput:
    line = QueryLine.model_validate(parse_object(text))
    messages, response = (
        list(line.messages or [Message(role="user", content=(line.query or "").strip())]),
        line.response,
    )
    if line.messages and messages[-1].role == "assistant":
        if response:
            raise ValueError("messages end with an answer and response is given too; give only one")
        response = Response(answer=messages.pop().content)
    check_prompt(messages)
    asked = digest([message.model_dump() for message in messages])
    key = f"q{asked[:16]}" if line.id is None else key_of(str(line.id))
    if SIMULATED.fullmatch(key):
        raise ValueError(f"the id {key} is reserved for simulated samples")
    return SampleInput(
        key=key,
        persona=line.persona,
        history=tuple(messages[:-1]),
        query=messages[-1].content,
        response=_with_reasoning(response) if response else None,
        extra=line.model_extra or {},
    )


def _with_reasoning(given: Response) -> Response:
    """The response with inline `<think>` split off, checked as the trainer checks it."""
    response = given
    if OPEN in given.answer or CLOSE in given.answer:
        if given.reasoning.strip():
            raise ValueError(
                "response.answer contains a think block and response.reasoning is given too; give only one"
            )
        reasoning, answer = split_reasoning(given.answer, (OPEN, CLOSE))
        response = Response(reasoning=reasoning, answer=answer)
    try:
        text = completion_text(response)
        check_answer(text)
        if has_stray_thinking(text):
            raise ValueError("contains more than one think block")
    except ValueError as error:
        raise ValueError(f"response.answer: {error}") from error
    return response


def _refused(path: Path, problems: list[str], wrong: int) -> InputError:
    more = [f"… and {wrong - len(problems):,} more"] if wrong > len(problems) else []
    return InputError("\n".join(["the query file has invalid lines", *problems, *more]), where=str(path), todo=FORM)


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        # Pydantic marks an error in a mapping's key with this part.
        place = ".".join(str(part) for part in first["loc"] if part != "[key]") or "line"
        return f"{place}: {first['msg'].removeprefix('Value error, ').lower()}"
    return str(error)
