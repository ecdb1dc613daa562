"""The faults that the simulated endpoint can produce: random, but determined by seed, request and repetition."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...core.errors import SettingsError
from ...core.hashing import derive_seed

ON_THE_WIRE = ("429", "500", "dropped", "hang")
"""Faults instead of a reply."""

IN_ANY_REPLY = ("truncated", "loop", "empty", "unclosed_reasoning", "refusal")
IN_JSON = ("prose", "whitespace", "malformed", "wrong_schema", "echo", "placeholder", "too_short")
FAULTS = (*ON_THE_WIRE, *IN_ANY_REPLY, *IN_JSON)
"""Faulty replies are named after the outcome they lead to; those in IN_JSON only occur if a schema is requested."""

LOOPING = "It is the same as before, and it is the same again. "
ECHOED = 40  # words
SAID = {"echo": "", "placeholder": "…", "too_short": "We."}
"""What a critic's or a judge's prose is replaced by; an echo depends on the prompt."""


@dataclass(frozen=True)
class Spoken:
    """What a model said, before it becomes a chat completion."""

    text: str | None
    reasoning: str = ""
    finish_reason: str = "stop"
    refusal: str | None = None


def check_faults(faults: Mapping[str, float]) -> dict[str, float]:
    """The same mapping in a fixed order. Raises SettingsError for an unknown name or an impossible probability."""
    for name, probability in faults.items():
        if name not in FAULTS:
            near = difflib.get_close_matches(name, FAULTS, 1)
            raise SettingsError(
                f"unknown fault {name}", todo=f"did you mean {near[0]}?" if near else f"known: {', '.join(FAULTS)}"
            )
        if not 0 <= probability <= 1:
            raise SettingsError(f"fault {name}={probability:g}: a probability must be between 0 and 1")
    if sum(faults.values()) > 1:
        raise SettingsError("the faults' probabilities add up to more than 1")
    return {name: faults[name] for name in FAULTS if faults.get(name)}


def draw_fault(faults: Mapping[str, float], seed: int, body: str, seen: int, has_schema: bool) -> str | None:
    """The fault of the `seen`-th request with this digest."""
    chance = derive_seed("fault", seed, body, seen) / 2**31
    for name, probability in faults.items():
        chance -= probability
        if chance < 0:
            return name if has_schema or name not in IN_JSON else None
    return None


def spoil(spoken: Spoken, fault: str | None, prompt: str) -> Spoken:
    """The reply with the fault in it. An echo repeats the end of the `prompt`."""
    text = spoken.text or ""
    thought = f"{spoken.reasoning} Let me think once more. {text}".strip()
    wrong = json.dumps({"note": "simulated wrong schema", "verdict": "maybe"})
    spoilt = {
        "truncated": replace(spoken, text=text[: max(1, len(text) // 2)].rstrip(), finish_reason="length"),
        "loop": replace(spoken, text=f"{text} {LOOPING * 40}", finish_reason="length"),
        "empty": Spoken(""),
        "unclosed_reasoning": Spoken(None, reasoning=thought, finish_reason="length"),
        "refusal": Spoken(None, refusal="I cannot help with that."),
        "prose": replace(spoken, text=f"Sure, here is my reply:\n\n```json\n{text}\n```\n\nI hope it helps."),
        "whitespace": Spoken(text[: len(text) // 3].rstrip() + "\n" * 400, finish_reason="length"),
        "malformed": replace(spoken, text=f"Here is my reply: {text[:-1]}"),
        "wrong_schema": replace(spoken, text=wrong),
    }
    if fault in SAID:
        words = prompt.split()
        said = SAID[fault] or " ".join(words[-ECHOED:])
        return replace(spoken, text=_with_prose(text, said))
    return spoilt.get(fault or "", spoken)


def _with_prose(text: str, said: str) -> str:
    """The JSON object with its first string, which is the rationale or the explanation, replaced."""
    data = json.loads(text)
    first = next((name for name, value in data.items() if isinstance(value, str)), "")
    return json.dumps(data | {first: said}) if first else text
