"""endpoints/server/diagnosis.py on what vLLM 0.32 and llama.cpp wrote when they did not start."""

import pytest

from muser.endpoints.server.diagnosis import diagnose

FOUND = [
    ("xllamacpp.CommonParams has no n_paralel\n", "it has no option n_paralel", "CommonParams"),
    (
        (
            "E gguf_init_from_reader: invalid magic characters: 'no m', expected 'GGUF'\n"
            "E llama_model_load: error loading model: llama_model_loader: failed to load model from /m/a.gguf\n"
        ),
        "it could not load the model: invalid magic characters: 'no m', expected 'GGUF'",
        "the GGUF file",
    ),
    ("api_server.py: error: unrecognized arguments: --no-such-flag", "it has no flag --no-such-flag", "serve.options"),
    (
        ("api_server.py: error: argument --max-model-len: invalid human_readable_int_or_auto value: 'many'"),
        "--max-model-len: invalid human_readable_int_or_auto value: 'many'",
        "serve.options",
    ),
    ("OSError: [Errno 98] Address already in use", "its port is in use", "--port"),
    (
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, "
            "User-specified max_model_len (99999) is greater than the derived max_model_len (max_position_emb=8192.0"
            " or model_max_length=None in model's config.json). To allow overriding this maximum, set the env var"
        ),
        "the model's context is shorter than 99999 tokens",
        "max_model_len",
    ),
    (
        (
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the "
            "specified revision on the local disk and outgoing traffic has been disabled."
        ),
        "the model is not on this machine",
        "HF_TOKEN",
    ),
    (
        "  Value error, Invalid repository ID or local directory specified: '/models/empty'.\n1. Provide a valid",
        "there is no model of this name",
        "config.json",
    ),
    (
        (
            "(EngineCore pid=1) ERROR 11-22 20:26:55 [core.py:1510] RuntimeError: Worker failed with error "
            "'Available memory on node 0 (10.79/12.71 GiB) on kv cache allocation is less than requested.'\n"
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
        ),
        "there is not enough memory: Available memory on node 0 (10.79/12.71 GiB)",
        "gpu_memory_utilization",
    ),
    (
        "ValueError: Free memory on device cuda:0 (12.1/79.1 GiB) on startup is less than desired",
        "there is not enough memory: Free memory on device cuda:0 (12.1/79.1 GiB)",
        "stop other processes that use memory",
    ),
    ("torch.OutOfMemoryError: out of it", "there is not enough memory (OutOfMemoryError)", "max_model_len"),
    (
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16",
        "the adapter's rank 64 does not fit",
        "max-lora-rank",
    ),
    ("  Value error, tensor parallel size must be even [type=x]", "tensor parallel size must be even", "serve"),
    (
        (
            "(APIServer pid=7) INFO up\n(EngineCore pid=8) ERROR 11-22 20:26:55 [core.py:1510] KeyError: 'lm_head'\n"
            "RuntimeError: Engine core initialization failed."
        ),
        "KeyError: 'lm_head'",
        "log",
    ),
]


@pytest.mark.parametrize(("log", "what", "todo"), FOUND)
def test_a_log_becomes_one_sentence_and_what_to_do(log: str, what: str, todo: str) -> None:
    found = diagnose(f"INFO first\n{log}\nINFO last\n", 1)
    assert found.what.startswith(what)
    assert todo in found.todo
    assert "\n" not in found.what


def test_where_the_log_tells_nothing_the_status_does() -> None:
    assert "status 3" in diagnose("starting", 3).what
    assert "memory" in diagnose("starting", 137).what
    assert "start_timeout" in diagnose("starting", None).todo


def test_a_long_reason_is_cut() -> None:
    assert len(diagnose(f"ValueError: {'x' * 5000}", 1).what) < 400
