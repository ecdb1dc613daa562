"""Where samples start: personas drawn from the tables, or a JSONL file of one's own queries and responses."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from ..core.errors import InputError
from ..core.hashing import derive_seed
from ..core.types import Response, SampleInput, Value
from ..prompts.attributes import AttributeTables, draw_persona

MOST_PROBLEMS = 20


class QueryLine(Value, extra="ignore", str_strip_whitespace=True):
    """One line of a query file; other fields are left alone."""

    query: str = Field(min_length=1)
    response: Response | None = None


def simulated_inputs(count: int, tables: AttributeTables, seed: int) -> Iterator[SampleInput]:
    """Samples `s000001` and on; number n has the same persona however many are asked for."""
    for number in range(1, count + 1):
        key = f"s{number:06d}"
        yield SampleInput(key=key, persona=draw_persona(tables, derive_seed(seed, key)))


def read_queries(path: Path) -> list[SampleInput]:
    """Samples `q000001` and on, numbered by line. Raises InputError with every broken line."""
    problems, inputs = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the query file: {error}", where=str(path)) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = QueryLine.model_validate(json.loads(line))
        except (ValueError, TypeError) as error:
            problems.append(f"{path}:{number}: {_in_words(error)}")
            continue
        inputs.append(SampleInput(key=f"q{number:06d}", query=value.query, response=value.response))
    if problems or not inputs:
        more = [f"… and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise InputError(
            "\n".join(["the query file has broken lines", *problems[:MOST_PROBLEMS], *more])
            if problems
            else "the query file holds no query",
            where=str(path),
            todo='each line is one JSON object such as {"query": "…"} or {"query": "…", "response": {"answer": "…"}}',
        )
    return inputs


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'line'}: {first['msg'].lower()}"
    return f"not JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)
