"""A tiny untrained Qwen3 model with its own tokenizer: the student in the demo and the tests."""

from collections.abc import Iterable
from pathlib import Path

from ..core.errors import InputError
from .library_logs import require_libraries, without_bars
from .workdir import appearing

# Qwen3's chat template without tools. It keeps thinking only in the turn after the last user message, gives a turn
# without thinking an empty block, and with `enable_thinking=false` starts the answer after an empty block.
CHAT_TEMPLATE = """\
{%- set asked = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set asked.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content or '' %}
        {%- set reasoning = message.reasoning_content or message.reasoning or '' %}
        {%- if not reasoning and '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].split('<think>')[-1] %}
            {%- set content = content.split('</think>')[-1] %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > asked.last and (loop.last or reasoning) %}
            {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content.lstrip('\\n') + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
THINKING = ["<think>", "</think>"]
HEAD_SIZE = 32
# Qwen's pre-tokenizer pattern. It never splits a run of newlines because of the text that follows, so the tokens of a
# prompt stay a prefix of the tokens of the whole row.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tiny_model(
    folder: Path,
    texts: Iterable[str],
    *,
    vocabulary: int = 1024,
    hidden: int = 192,
    layers: int = 4,
    positions: int = 4096,
    seed: int = 0,
) -> Path:
    """Write an untrained model and learn its byte-level vocabulary from `texts`; equal inputs give equal files.

    The folder loads in transformers, TRL, vLLM and `transformers serve`. Raises InputError.
    """
    if vocabulary < 256 + len(CONTROL) + len(THINKING):
        raise InputError(f"vocabulary is {vocabulary}, but a byte-level vocabulary needs at least 261 entries")
    if hidden % (HEAD_SIZE * 3):
        raise InputError(f"hidden is {hidden}, but must be a multiple of {HEAD_SIZE * 3}")
    require_libraries()
    with without_bars(), appearing(folder) as partial:
        ids = _write_tokenizer(partial, texts, vocabulary, positions)
        _write_model(partial, ids, hidden, layers, positions, seed)
    return folder


def _write_tokenizer(folder: Path, texts: Iterable[str], vocabulary: int, positions: int) -> dict[str, int]:
    """Returns the vocabulary as token → id."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(THINKING),
        special_tokens=CONTROL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Not special: servers strip special tokens from replies, but reasoning parsers need these two.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINKING])
    saved = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )
    saved.save_pretrained(folder)
    ids: dict[str, int] = saved.get_vocab()
    return ids


def _write_model(folder: Path, ids: dict[str, int], hidden: int, layers: int, positions: int, seed: int) -> None:
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    heads = hidden // HEAD_SIZE
    config = Qwen3Config(
        # Short texts may fill less than the vocabulary asked for; the embedding then matches the tokenizer's real size.
        vocab_size=max(ids.values()) + 1,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3,
        head_dim=HEAD_SIZE,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    model.save_pretrained(folder, safe_serialization=True)
