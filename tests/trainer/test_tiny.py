"""The tiny model is what it says: deterministic, Qwen3-shaped, with a template that serves what it trains."""

from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError
from muser.trainer.result import folder_digest
from muser.trainer.tiny import build_tiny_model

TEXTS = ["I have had a headache for three days.", "Go to the emergency department now.", "How old are you?"] * 20
ASKED = [{"role": "user", "content": "Is it serious?"}]


@pytest.mark.parametrize("shape", [{"vocabulary": 260}, {"hidden": 100}])
def test_impossible_shapes_are_refused(shape: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        build_tiny_model(tmp_path / "tiny", TEXTS, **shape)
    assert not (tmp_path / "tiny").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("built") / "tiny", TEXTS)


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.train
def test_equal_inputs_give_equal_files_and_another_seed_does_not(folder: Path, tmp_path: Path) -> None:
    assert folder_digest(build_tiny_model(tmp_path / "again", iter(TEXTS))) == folder_digest(folder)
    other = build_tiny_model(tmp_path / "other", TEXTS, seed=1)
    assert folder_digest(other, weights_only=True) != folder_digest(folder, weights_only=True)


@pytest.mark.train
def test_it_has_the_shape_of_qwen3_and_writes_within_its_vocabulary(folder: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (6, 2, 32)
    assert config.vocab_size == len(tokenizer)
    assert 1_000_000 < model.num_parameters() < 3_000_000
    prompt = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_tensors="pt")
    assert model.generate(**prompt, max_new_tokens=4).shape[1] > prompt["input_ids"].shape[1]


@pytest.mark.train
def test_any_text_survives_its_tokens(tokenizer: Any) -> None:
    text = "Größe 37 °C\n\n他發燒 😷 <think> </think>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.train
def test_the_template_keeps_thinking_for_the_last_turn_only(tokenizer: Any) -> None:
    answer = {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nYes."}
    first, second = tokenizer.apply_chat_template([*ASKED, answer, *ASKED, answer], tokenize=False).split(
        "Is it serious?"
    )[1:]
    assert "why" not in first
    assert second.endswith("<|im_start|>assistant\n<think>\nwhy\n</think>\n\nYes.<|im_end|>\n")


@pytest.mark.train
def test_reasoning_apart_and_inline_render_alike(tokenizer: Any) -> None:
    inline = {"role": "assistant", "content": "<think>\nwhy\n</think>\n\nYes."}
    apart = {"role": "assistant", "content": "Yes.", "reasoning_content": "why"}
    rendered = [tokenizer.apply_chat_template([*ASKED, turn], tokenize=False) for turn in (inline, apart)]
    assert rendered[0] == rendered[1]


@pytest.mark.train
def test_thinking_turned_off_opens_the_answer_behind_an_empty_block(tokenizer: Any) -> None:
    off = tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    plain = tokenizer.apply_chat_template([*ASKED, {"role": "assistant", "content": "Yes."}], tokenize=False)
    assert off.endswith("assistant\n<think>\n\n</think>\n\n")
    assert plain == off + "Yes.<|im_end|>\n"
