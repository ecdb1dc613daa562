"""Rows are checked line by line, measured before training, and trained on exactly as they will be served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError, TrainingError
from muser.core.types import Message
from muser.trainer.rows import Row, encode, is_held_out, loss_spans, measure_rows, read_rows

Write = Callable[..., Path]
ASKED = {"prompt": [{"role": "user", "content": "q"}]}
WRONG = {
    "not JSON": ("{", "not JSON"),
    "a list": ("[]", "not a JSON object"),
    "no completion": (ASKED, "completion: Field required"),
    "an unknown key": (
        ASKED | {"completion": [{"role": "assistant", "content": "a"}], "sampel": "x"},
        "sampel: Extra inputs are not permitted",
    ),
    "a prompt that ends with the assistant": (
        {"prompt": [{"role": "assistant", "content": "a"}], "completion": [{"role": "assistant", "content": "a"}]},
        "last message must have the role user",
    ),
    "a completion by the user": (
        ASKED | {"completion": [{"role": "user", "content": "a"}]},
        "must have the role assistant",
    ),
    "an empty completion": (ASKED | {"completion": [{"role": "assistant", "content": " "}]}, "train on nothing"),
    "reasoning without an answer": (
        ASKED | {"completion": [{"role": "assistant", "content": "<think>\nwhy\n</think>\n\n"}]},
        "train on nothing",
    ),
}


def test_rows_are_read_with_their_line_and_origin(rows: Path, examples: list[dict[str, Any]]) -> None:
    read = list(read_rows(rows))
    assert len(read) == len(examples)
    assert (read[2].line, read[2].run, read[2].sample) == (3, "demo", "demo/s0003")


def test_a_row_needs_no_origin(write: Write) -> None:
    path = write(ASKED | {"completion": [{"role": "assistant", "content": "a"}]})
    assert next(read_rows(path)).run == ""


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_is_refused_with_file_and_line(case: str, write: Write, examples: list[dict[str, Any]]) -> None:
    line, fault = WRONG[case]
    path = write(examples[0], line, examples[1])
    with pytest.raises(InputError) as caught:
        list(read_rows(path))
    assert fault in caught.value.what
    assert caught.value.where == f"{path}:2"


def test_an_empty_file_an_absent_one_and_one_that_is_no_text_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        list(read_rows(write()))
    with pytest.raises(InputError, match="cannot be read"):
        list(read_rows(tmp_path / "absent.jsonl"))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        list(read_rows(binary))


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def row(answer: str, query: str = "q", line: int = 1) -> Row:
    completion = [{"role": "assistant", "content": answer}]
    return Row.model_validate({"prompt": [{"role": "user", "content": query}], "completion": completion, "line": line})


@pytest.mark.train
def test_loss_is_on_the_completion_alone_with_its_end(tokenizer: Any) -> None:
    prompt, completion = loss_spans(row("<think>\nwhy\n</think>\n\nAsk first."), tokenizer)
    assert (prompt.text, prompt.loss) == ("<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n", False)
    assert (completion.text, completion.loss) == ("<think>\nwhy\n</think>\n\nAsk first.<|im_end|>\n", True)
    assert prompt.tokens + completion.tokens == len(encode(row("<think>\nwhy\n</think>\n\nAsk first."), tokenizer).ids)


@pytest.mark.train
def test_the_same_tokens_carry_loss_as_trl_would_choose(tokenizer: Any, tiny: Path, rows: Path, tmp_path: Path) -> None:
    from muser.trainer.library_logs import library_logs

    with library_logs(tmp_path / "log"):
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        dataset = Dataset.from_list([json.loads(line) for line in rows.read_text().splitlines()])
        args = SFTConfig(output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none", max_length=512)
        theirs = SFTTrainer(model=str(tiny), args=args, train_dataset=dataset).train_dataset
    for own, chosen in zip(read_rows(rows), theirs, strict=True):
        ids, start, _ = encode(own, tokenizer)
        assert chosen["input_ids"] == ids
        assert chosen["labels"] == [-100] * start + ids[start:]


@pytest.mark.train
def test_a_served_prompt_is_where_training_starts(tokenizer: Any, rows: Path) -> None:
    for own in read_rows(rows):
        turns = [message.model_dump() for message in own.prompt]
        served = tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
        ids, start, _ = encode(own, tokenizer)
        assert ids[:start] == served


@pytest.mark.train
def test_longer_rows_are_dropped_whole_and_named(tokenizer: Any) -> None:
    report = measure_rows([row("short", line=1), row("long " * 60, line=2)], tokenizer, max_length=40)
    assert (report.rows, report.kept) == (2, 1)
    assert report.lengths["max"] <= 40 < report.longest
    [dropped] = report.dropped
    assert (dropped.line, dropped.tokens, dropped.reason) == (2, report.longest, "longer than 40 tokens")


@pytest.mark.train
def test_rows_that_are_all_dropped_are_refused_with_the_length_they_need(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="all 1 were dropped") as caught:
        measure_rows([row("long " * 60)], tokenizer, max_length=40)
    assert "the longest row has" in caught.value.todo


@pytest.mark.train
@pytest.mark.parametrize(
    "text", ["stop here <|im_end|>\nmore", "<|im_start|>user", "<think>a</think><think>b</think>answer"]
)
def test_a_row_whose_text_breaks_out_of_its_turn_is_dropped(text: str, tokenizer: Any) -> None:
    report = measure_rows([row("fine"), row(text, line=2)], tokenizer, max_length=100)
    [dropped] = report.dropped
    assert dropped.line == 2
    assert dropped.reason.startswith(("contains the control token", "has more than one think block"))


@pytest.mark.train
def test_the_report_counts_tokens_and_those_with_loss(tokenizer: Any, rows: Path) -> None:
    report = measure_rows(read_rows(rows), tokenizer, max_length=256)
    encoded = [encode(one, tokenizer) for one in read_rows(rows)]
    assert report.tokens == sum(len(one.ids) for one in encoded)
    assert report.loss_tokens == sum(len(one.ids) - one.start for one in encoded)
    assert report.lengths["min"] <= report.lengths["p50"] <= report.lengths["p99"] <= report.lengths["max"]


@pytest.mark.train
def test_a_template_that_serves_another_prompt_than_it_trains_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]<think>{% endif %}"
    )
    with pytest.raises(TrainingError, match="differently in training and serving"):
        encode(row("Ask first."), tokenizer)


@pytest.mark.train
def test_a_template_that_leaves_the_reasoning_out_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    with pytest.raises(TrainingError, match="the reasoning would not be trained"):
        encode(row("<think>\nwhy\n</think>\n\nAsk first."), tokenizer)


@pytest.mark.train
def test_a_template_that_raises_is_a_training_error(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no such role') }}"
    with pytest.raises(TrainingError, match="no such role"):
        encode(row("a"), tokenizer)


def test_a_query_is_held_out_in_every_file_or_in_none(rows: Path) -> None:
    read = list(read_rows(rows))
    held = {row.line for row in read if is_held_out(row, 0.3)}
    assert 0 < len(held) < len(read)
    assert held < {row.line for row in read if is_held_out(row, 0.6)}
    refined = [row.model_copy(update={"stage": "refine", "run": "other", "sample": "other/1"}) for row in read]
    assert {row.line for row in refined if is_held_out(row, 0.3)} == held
    assert not any(is_held_out(row, 0.0) for row in read)


def test_the_share_held_out_is_near_the_share_asked_for() -> None:
    answer = Message(role="assistant", content="a")
    read = [Row(prompt=(Message(role="user", content=f"q{i}"),), completion=(answer,)) for i in range(4000)]
    assert 0.08 < sum(is_held_out(row, 0.1) for row in read) / len(read) < 0.12
