"""GGUF files: read as a model folder that transformers, TRL and vLLM load, and written for llama.cpp to serve."""

import importlib.util
from pathlib import Path
from typing import Any

from ..core.errors import TrainingError
from ..core.installation import install_hint
from ..core.packaged import GGUF
from .library_logs import quiet, require_libraries
from .workdir import appearing

# Architectures whose tensors differ from transformers' in name only, or, in llama, in the order of rotary pairs.
WRITTEN = ("llama", "qwen2", "qwen3")


def convert(gguf: Path, folder: Path, *, context: int) -> Path:
    """Writes a model's weights as bf16 with tokenizer and chat template, and for llama.cpp as 8-bit `model.gguf`.

    `context` is its length in tokens. Takes about a minute and 1 GB of memory for 135M weights. Raises TrainingError.
    """
    require_libraries()
    _require_gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet(), appearing(folder) as partial:
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
        write_gguf(partial, like=gguf)
    return folder


def write_gguf(folder: Path, *, like: Path) -> Path:
    """Writes a folder's weights as `model.gguf` with 8-bit matrices; all else comes from a GGUF file of the same shape.

    Eight bits because llama.cpp multiplies them several times faster on a CPU than four-bit Q4_1, and training's small
    changes survive. Raises TrainingError.
    """
    _require_gguf()
    import gguf
    import numpy as np
    from safetensors import safe_open

    read = gguf.GGUFReader(like)
    architecture = read.fields["general.architecture"].contents()
    if architecture not in WRITTEN:
        raise TrainingError(f"a GGUF file of a {architecture} model cannot be written", where=str(folder))
    writer = gguf.GGUFWriter(folder / GGUF, architecture)
    for name, field in read.fields.items():
        # The writer adds these itself.
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    layers = read.fields[f"{architecture}.block_count"].contents()
    names = gguf.get_tensor_name_map(kinds[architecture], layers)
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        stored = {names.get_name(key, (".weight", ".bias")): key for key in weights.keys()}  # noqa: SIM118
        for tensor in read.tensors:
            if (key := stored.get(tensor.name)) is None:
                writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
                continue
            values = weights.get_tensor(key).float().numpy()
            if architecture == "llama":
                values = _rotary_order(tensor.name, values, read)
            if values.ndim == 1:
                writer.add_tensor(tensor.name, values.astype(np.float32))
            else:
                eight = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(tensor.name, gguf.quants.quantize(values, eight), raw_dtype=eight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / GGUF


def _rotary_order(name: str, values: Any, read: Any) -> Any:
    """Queries' and keys' rows in llama.cpp's order: it rotates neighbours, transformers rotates the two halves."""
    heads = {"attn_q": "head_count", "attn_k": "head_count_kv"}.get(name.split(".")[-2])
    if heads is None:
        return values
    count = read.fields[f"llama.attention.{heads}"].contents()
    return values.reshape(count, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise TrainingError("reading and writing GGUF files needs gguf", todo=install_hint("train"))
