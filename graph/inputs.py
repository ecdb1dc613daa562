"""Where samples start: personas drawn from the tables, or a JSONL file of one's own queries and responses."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, StrictInt, StrictStr, ValidationError, model_validator

from ..core.conversations import CLOSE, OPEN, check_answer, check_prompt, completion_text, has_stray_thinking
from ..core.errors import InputError
from ..core.hashing import derive_seed, digest
from ..core.jsonl import parse_object, read_lines
from ..core.types import Message, Persona, Response, SampleInput, Value
from ..endpoints.client.chat import split_reasoning
from ..prompts.attributes import AttributeTables, draw_persona

MOST_PROBLEMS = 20
SIMULATED = re.compile(r"s\d{6,}")
FORM = (
    'each line is one JSON object such as {"query": "…"}, {"query": "…", "response": {"answer": "…"}} or '
    '{"messages": [{"role": "user", "content": "…"}, …]}; id and persona may be given, other fields are kept'
)


class QueryLine(Value, extra="allow"):
    """One line of a query file: `query` or `messages`; the fields that it does not know are kept with the sample."""

    id: StrictStr | StrictInt | None = None
    query: str | None = None
    messages: tuple[Message, ...] | None = Field(None, min_length=1)
    response: Response | None = None
    persona: Persona | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> "QueryLine":
        if (self.query is None) == (self.messages is None):
            raise ValueError("give query or messages" + ", not both" * (self.query is not None))
        if self.id is not None and not str(self.id).strip():
            raise ValueError("id must not be empty")
        return self


@dataclass(frozen=True)
class Queries:
    """A checked query file. Its samples are read anew each time, so that memory does not grow with the file."""

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
    """Samples `s000001` and on; number n has the same persona however many are asked for."""
    for number in range(1, count + 1):
        key = f"s{number:06d}"
        yield SampleInput(key=key, persona=draw_persona(tables, derive_seed(seed, key)))


def read_queries(path: Path) -> Queries:
    """The file's queries, under their ids or a digest of what they ask. Raises InputError that names every bad line."""
    problems: list[str] = []
    wrong = count = 0
    content, lines = hashlib.sha256(), dict[int, int]()
    for number, line in read_lines(path):
        try:
            given = _parse(line)
            # Sixty-four bits tell millions of keys apart and take less room than the keys.
            first = lines.setdefault(int(digest(given.key)[:16], 16), number)
            if first != number:
                raise ValueError(f"has the id of line {first}, or asks the same; give each line an id of its own")
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
        raise InputError("the query file holds no query", where=str(path), todo=FORM)
    return Queries(path, count, content.hexdigest())


def key_of(given: str) -> str:
    """An id as a sample's key: one word that a path, an address and a shell can hold, another one for every id."""
    return quote(given, safe="", errors="surrogatepass")


def _parse(text: bytes) -> SampleInput:
    line = QueryLine.model_validate(parse_object(text))
    messages, response = (
        list(line.messages or [Message(role="user", content=(line.query or "").strip())]),
        line.response,
    )
    if line.messages and messages[-1].role == "assistant":
        if response:
            raise ValueError("messages end with an answer, and there is a response as well")
        response = Response(answer=messages.pop().content)
    check_prompt(messages)
    asked = digest([message.model_dump() for message in messages])
    key = f"q{asked[:16]}" if line.id is None else key_of(str(line.id))
    if SIMULATED.fullmatch(key):
        raise ValueError(f"the id {key} is that of a simulated sample")
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
            raise ValueError("response.answer holds a think block, and there is reasoning as well")
        reasoning, answer = split_reasoning(given.answer, (OPEN, CLOSE))
        response = Response(reasoning=reasoning, answer=answer)
    try:
        text = completion_text(response)
        check_answer(text)
        if has_stray_thinking(text):
            raise ValueError("holds more than one think block")
    except ValueError as error:
        raise ValueError(f"response.answer: {error}") from error
    return response


def _refused(path: Path, problems: list[str], wrong: int) -> InputError:
    more = [f"… and {wrong - len(problems):,} more"] if wrong > len(problems) else []
    return InputError("\n".join(["the query file has broken lines", *problems, *more]), where=str(path), todo=FORM)


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "line"
        return f"{place}: {first['msg'].removeprefix('Value error, ').lower()}"
    return str(error)
