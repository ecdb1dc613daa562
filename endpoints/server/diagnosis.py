"""Why a server failed to start, from its log: one sentence, and what to do about it."""

import re
from typing import NamedTuple


class Diagnosis(NamedTuple):
    """What went wrong, and what to do about it."""

    what: str
    todo: str


MEMORY = "stop other processes that use memory, or lower serve.gpu_memory_utilization or serve.max_model_len"
FLAGS = "correct serve.options; its keys are vLLM's own flags without the leading dashes"
SHORT = (
    "Free memory on device",
    "Available memory on node",
    "To serve at least one request",
    "No available memory for",
    "CUDA out of memory",
    "[^\n]*can't allocate memory",
    "Not enough memory",
)
# (pattern, what happened, what to do). The first match decides; {1} is the pattern's first group.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (r"error: unrecognized arguments: (.+)", "it has no flag {1}", FLAGS),
    (
        r"xllamacpp\.CommonParams has no (\w+)",
        "it has no option {1}",
        "correct serve.options; llama.cpp's keys are fields of xllamacpp.CommonParams",
    ),
    (
        r"(?:gguf_init_from_reader|llama_model_load: error loading model): ([^\n]+)",
        "it could not load the model: {1}",
        "check the GGUF file of models.NAME.model; a newer xllamacpp knows more architectures",
    ),
    (r"error: argument (\S+): (.+)", "{1}: {2}", FLAGS),
    (
        r"No module named '?vllm\b",
        "vLLM is not installed in its environment",
        "install it there, or correct serve.python or serve.command",
    ),
    (r"[Aa]ddress already in use", "its port is in use", "choose another --port, or leave it out to use a free one"),
    (
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=([\d.]+)",
        "the model's context is shorter than {1} tokens",
        "lower serve.max_model_len, or leave it out",
    ),
    (r"LoRA rank (\d+) is greater than max_lora_rank", "the adapter's rank {1} does not fit", "raise max-lora-rank"),
    (
        r"(LocalEntryNotFoundError|RepositoryNotFoundError|GatedRepoError|We couldn't connect to)",
        "the model is not on this machine and could not be downloaded",
        "check the model's name; a gated model needs HF_TOKEN in the environment; offline, set the path of a folder",
    ),
    (
        r"Invalid repository ID or local directory|not a local folder and is not a valid model identifier",
        "there is no model of this name, neither as a folder nor on the hub",
        "check models.NAME.model; a folder needs a config.json",
    ),
    (r"Model architectures (\[.*?\]) are not supported", "it does not know the model's architecture {1}", ""),
    (rf"((?:{'|'.join(SHORT)})[^\n]*)", "there is not enough memory: {1}", MEMORY),
    (r"(OutOfMemoryError|std::bad_alloc|MemoryError)", "there is not enough memory ({1})", MEMORY),
    (r"Value error, ([^\n]+)", "{1}", "correct the model's serve section"),
)
# Of unknown errors the first is the likely cause; later ones are usually its consequences.
ERROR = re.compile(r"^(?:\([^)]*\) )?(?:ERROR [^\]]*\] )?((?:\w+\.)*\w*(?:Error|Exception): [^\n]+)", re.MULTILINE)
LONGEST = 300  # characters of a sentence
KILLED = 128 + 9  # a shell's exit status for SIGKILL


def diagnose(log: str, status: int | None) -> Diagnosis:
    """The diagnosis from a log; `status` is the server's exit status, None if it was still running."""
    for pattern, what, todo in KNOWN:
        if found := re.search(pattern, log):
            return Diagnosis(_cut(what.format(found[0], *found.groups())), todo)
    if found := ERROR.search(log):
        return Diagnosis(_cut(found[1]), "the log has more")
    if status == KILLED:
        return Diagnosis("it was killed, probably because memory ran out", MEMORY)
    if status is None:
        return Diagnosis("it is not ready yet", "raise serve.start_timeout")
    return Diagnosis(f"it exited with status {status}", "look in the log for the first error")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"
