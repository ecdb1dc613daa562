"""Training rows: reads, checks, measures and tokenizes them."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pydantic import Field, JsonValue, ValidationError, field_validator

from ..core.conversations import check_answer, check_prompt, has_stray_thinking
from ..core.errors import InputError, TrainingError
from ..core.hashing import derive_seed
from ..core.jsonl import parse_object, read_lines
from ..core.types import Message, Persona, Value


class ChatTokenizer(Protocol):
    """The methods of a transformers tokenizer that this module uses."""

    added_tokens_decoder: dict[int, Any]

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...
    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any: ...
    def decode(self, token_ids: Any) -> Any: ...


class Row(Value):
    """One line of an exported file: the prompt, the completion to learn, and the sample it comes from."""

    prompt: tuple[Message, ...] = Field(min_length=1)
    """The conversation up to the user's last turn, without the responder's system prompt."""
    completion: tuple[Message, ...] = Field(min_length=1, max_length=1)
    """The one assistant message to learn: `<think>` reasoning `</think>` answer."""
    stage: Literal["distill", "refine"] | None = None
    """distill: the response; refine: the refined answer with the composed reasoning."""
    run: str = ""
    """The run that made it."""
    sample: str = ""
    """The sample that it comes from."""
    prompts: dict[str, str] = {}
    """Role → the digest of its prompt, or of a function critic's source."""
    persona: Persona = {}
    """The attributes of who asks, drawn or brought; absent if there are none."""
    extra: dict[str, JsonValue] = {}
    """Other fields of the brought query; absent if there are none."""
    line: int = Field(0, exclude=True, description="line number in the file, from 1")

    @field_validator("prompt")
    @classmethod
    def _asks(cls, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        check_prompt(prompt)
        return prompt

    @field_validator("completion")
    @classmethod
    def _answers(cls, completion: tuple[Message, ...]) -> tuple[Message, ...]:
        if completion[0].role != "assistant":
            raise ValueError("must have the role assistant")
        check_answer(completion[0].content)
        return completion


class Encoded(NamedTuple):
    """A row's tokens. Loss is computed from index `start` on; a held-out row is measured and never trained on."""

    ids: list[int]
    start: int
    held_out: bool = False


class Span(Value):
    """A decoded part of a row: its tokens either all carry loss or none does."""

    text: str
    tokens: int
    loss: bool


class DroppedRow(Value):
    """A row excluded from training, and why."""

    line: int
    sample: str
    tokens: int
    reason: str


class RowReport(Value):
    """A file of rows measured with one tokenizer. `lengths` has tokens per kept row: min, p50, p90, p99, max.

    Training uses the `kept` rows; `held_out` and `dropped` ones are not among them.
    """

    rows: int
    kept: int
    held_out: int
    tokens: int
    loss_tokens: int
    lengths: dict[str, int]
    max_length: int
    longest: int
    dropped: tuple[DroppedRow, ...]


@dataclass
class Tally:
    """Counts rows as they are encoded; memory grows by 4 bytes per kept row."""

    max_length: int
    share: float = 0.0
    rows: int = 0
    held_out: int = 0
    loss_tokens: int = 0
    longest: int = 0
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    dropped: list[DroppedRow] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)

    def report(self) -> RowReport:
        """Raises InputError if every row was dropped."""
        if not self.lengths:
            if self.held_out:
                raise InputError(
                    f"no rows to train on: {self.held_out} of {self.rows} were held out and the rest were dropped",
                    todo=f"lower the stage's held_out ({self.share}) or train on more rows",
                )
            raise InputError(
                f"no rows to train on: all {self.rows} were dropped: {_reasons(self.dropped)}",
                todo=f"raise the stage's max_length ({self.max_length}): the longest row has {self.longest} tokens",
            )
        ordered = sorted(self.lengths)
        marks = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return RowReport(
            rows=self.rows,
            kept=len(ordered),
            held_out=self.held_out,
            tokens=sum(ordered),
            loss_tokens=self.loss_tokens,
            lengths={name: ordered[round(share * (len(ordered) - 1))] for name, share in marks.items()},
            max_length=self.max_length,
            longest=self.longest,
            dropped=tuple(self.dropped),
        )


def read_rows(path: Path) -> Iterator[Row]:
    """The file's rows, each checked as it is read. Raises InputError with file and line, also for an empty file."""
    line = 0
    for line, text in read_lines(path):
        yield _read_row(text, f"{path}:{line}", line)
    if not line:
        raise InputError("the file has no rows", where=str(path), todo="export the rows of a finished run")


def measure_rows(rows: Iterable[Row], tokenizer: ChatTokenizer, max_length: int) -> RowReport:
    """Which rows training would use and which it would drop. Raises InputError, and TrainingError as `encode` does."""
    tally = Tally(max_length)
    for _ in encode_rows(rows, tokenizer, tally):
        pass
    return tally.report()


def encode_rows(rows: Iterable[Row], tokenizer: ChatTokenizer, tally: Tally) -> Iterator[Encoded]:
    """The kept rows as tokens; `tally` counts all rows."""
    control = control_tokens(tokenizer)
    for row in rows:
        tally.rows += 1
        reason = _stray_markup(row, control)
        encoded = None if reason else encode(row, tokenizer)
        length = len(encoded.ids) if encoded else 0
        tally.longest = max(tally.longest, length)
        # TRL cuts longer rows at max_length (SFTConfig), so the student would learn answers without an end.
        if encoded is None or length > tally.max_length:
            reason = reason or f"longer than {tally.max_length} tokens"
            tally.dropped.append(DroppedRow(line=row.line, sample=row.sample, tokens=length, reason=reason))
            continue
        if is_held_out(row, tally.share):
            tally.held_out += 1
            yield encoded._replace(held_out=True)
            continue
        tally.lengths.append(length)
        tally.loss_tokens += length - encoded.start
        tally.runs[row.run] += 1
        yield encoded


def encode(row: Row, tokenizer: ChatTokenizer) -> Encoded:
    """A row as a server would render it. Raises TrainingError if the chat template would train on different text."""
    prompt = _render(row.prompt, tokenizer, generation=True)
    whole = _render(row.prompt + row.completion, tokenizer, generation=False)
    where = f"line {row.line}" + (f", sample {row.sample}" if row.sample else "")
    prompt_ids, ids = _tokenize(prompt, tokenizer), _tokenize(whole, tokenizer)
    # Some templates render the prompt differently once an answer follows, and a tokenizer may merge the prompt's last
    # characters with the answer's first.
    if ids[: len(prompt_ids)] != prompt_ids:
        raise TrainingError(
            "the student would be trained on prompts that it never sees: the chat template renders a prompt "
            f"differently in training and serving: served …{prompt[-60:]!r}, trained …{_parting(prompt, whole)!r}",
            where=where,
            todo="use a chat template whose generation prompt is exactly how the assistant's turn starts",
        )
    reasoning, _, answer = row.completion[0].content.rpartition("</think>")
    trained = whole.removeprefix(prompt)
    for part, text in (("reasoning", reasoning.replace("<think>", "")), ("answer", answer)):
        if text.strip() not in trained:
            raise TrainingError(
                f"the {part} would not be trained: the chat template leaves it out of the assistant's turn",
                where=where,
                todo="use a chat template that keeps <think>…</think> in the last turn",
            )
    return Encoded(ids, len(prompt_ids))


def is_held_out(row: Row, share: float) -> bool:
    """Whether the row belongs to this share of all prompts. Depends on its prompt alone."""
    # So stage refine never trains on a query whose answer stage distill held out, and new rows move no old one.
    return derive_seed("held out", *(message.content for message in row.prompt)) < share * 2**31


def loss_spans(row: Row, tokenizer: ChatTokenizer) -> tuple[Span, ...]:
    """The row as the student sees it, split into the part without loss and the part with loss."""
    ids, start, _ = encode(row, tokenizer)
    parts = ((ids[:start], False), (ids[start:], True))
    return tuple(Span(text=tokenizer.decode(part), tokens=len(part), loss=loss) for part, loss in parts)


def control_tokens(tokenizer: ChatTokenizer) -> dict[int, str]:
    """Control tokens by id: all that are marked special, not only those with a named use (eos, pad, …)."""
    return {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def _read_row(text: bytes, where: str, line: int) -> Row:
    try:
        data = parse_object(text)
    except ValueError as error:
        raise InputError(f"this is {error}", where=where, todo="write one JSON object per line") from error
    try:
        return Row.model_validate(data | {"line": line})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"this is not a training row: {faults}", where=where) from error


def _stray_markup(row: Row, control: dict[int, str]) -> str:
    """Why the row's markup makes it unusable, or "". Models write such text, so nothing is raised."""
    content = row.completion[0].content
    for token in control.values():
        if any(token in message.content for message in row.prompt + row.completion):
            return f"contains the control token {token}"
    if has_stray_thinking(content):
        return "has more than one think block"
    return ""


def _render(messages: tuple[Message, ...], tokenizer: ChatTokenizer, *, generation: bool) -> str:
    turns = [message.model_dump() for message in messages]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation)
    except Exception as error:
        # A chat template is code from the model's author and can raise any exception.
        raise TrainingError(f"the base model's chat template cannot render a row: {error}") from error
    return text


def _tokenize(text: str, tokenizer: ChatTokenizer) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _parting(prompt: str, whole: str) -> str:
    """The training text around the first character that differs from the prompt."""
    at = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole)))
    return whole[max(0, at - 40) : at + 20]


def _reasons(dropped: list[DroppedRow]) -> str:
    counts = Counter(row.reason for row in dropped)
    return "; ".join(f"{n} × {reason}" for reason, n in counts.most_common())
