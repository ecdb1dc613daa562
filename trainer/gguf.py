"""Converts a GGUF file to a folder that transformers, TRL and vLLM load."""

import importlib.util
from pathlib import Path

from ..core.errors import TrainingError
from ..core.installation import install_hint
from .library_logs import require_libraries, without_bars
from .workdir import appearing


def convert(gguf: Path, folder: Path, *, context: int) -> Path:
    """Writes the model's weights as bf16 with its tokenizer and chat template; `context` is its length in tokens.

    Takes about a minute and 1 GB of memory for 135M weights. Raises TrainingError.
    """
    require_libraries()
    if importlib.util.find_spec("gguf") is None:
        raise TrainingError("converting a GGUF file needs gguf", todo=install_hint("train"))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with without_bars(), appearing(folder) as partial:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            # The reader does not set it, and without it no row is too long.
            tokenizer.model_max_length = context
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
            # The reader has dequantized the weights, but save_pretrained refuses a model that was loaded quantized.
            model.hf_quantizer = None
            model.is_quantized = False
            del model.config.quantization_config
            tokenizer.save_pretrained(partial)
            model.save_pretrained(partial, safe_serialization=True)
    finally:
        logging.set_verbosity(level)
    return folder
