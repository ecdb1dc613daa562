"""What each simulated role says; all medical sentences come from simulated.yaml."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.hashing import derive_seed
from .faults import Spoken
from .knowledge import Topic, knowledge, phrases
from .roles import Asked, facet_of

Pick = Callable[[str, Sequence[str]], str]
"""(purpose, choices) → one of them, determined by the server's seed and the request."""


UNKNOWN = "simulated: I cannot tell what this prompt asks"
"""The answer to a prompt that belongs to no known role."""

SHARES = {"strict": 0.0, "lenient": 0.75}
"""A word in a critic's prompt → the share of incomplete answers that it passes."""


@dataclass(frozen=True)
class Manner:
    """How the models behave. `passing` is the share of incomplete answers that a critic passes; `long`: a page each."""

    seed: int = 0
    passing: float = 0.0
    long: bool = False


def speak(asked: Asked, manner: Manner, digest: str) -> Spoken:
    """What the role says; a pure function of its arguments."""
    seed = manner.seed

    def pick(what: str, choices: Sequence[str]) -> str:
        return choices[derive_seed(seed, digest, what) % len(choices)]

    match asked.role:
        case "persona":
            spoken = Spoken(write_query(asked.attributes, pick), "I write as this person would.")
        case "critic":
            spoken = Spoken(
                json.dumps(criticise(asked, manner)), "I compare the answer with what the query leaves open."
            )
        case "refiner":
            spoken = Spoken(refine(asked), "I carry out the plans.")
        case "judge":
            found = judge_all(asked) if asked.items else judge(asked)
            spoken = Spoken(json.dumps(found), "I look for the words that the criterion quotes.")
        case "responder":
            spoken = respond(asked.query, pick, long=manner.long)
        case _:
            spoken = Spoken(UNKNOWN if asked.schema is None else json.dumps(fill(asked.schema)))
    return spoken if asked.thinking else Spoken(spoken.text)


def write_query(attributes: dict[str, str], pick: Pick) -> str:
    """A persona's query. It reveals identity, condition and region; the other attributes determine its style."""
    known, given = knowledge(), attributes
    condition, region = given.get("condition", ""), given.get("region", "")
    topic = known.topic(condition, given.get("identity", ""), region)
    wording = known.wording
    vagueness, style = wording.cue("vagueness", given), wording.cue("style", given)
    complaint = topic.condition.complaint if vagueness == "specific" else topic.condition.vague
    parts = {
        "opening": pick("opening", wording.openings[vagueness]),
        "intro": topic.identity.intro,
        "subject": topic.identity.subject,
        "complaint": complaint.format(condition=condition),
        "detail": pick("detail", wording.details[wording.cue("completeness", given)]),
        "place": pick("place", wording.places).format(place=topic.region.place or region),
        "ask": wording.asks[wording.cue("intent", given)],
    }
    language = next((name for name in phrases() if name in given.get("language", "")), "")
    template = _in_language(language, pick) if language else pick("template", wording.templates[style])
    query = " ".join(template.format(**parts).split())
    return query.lower() if style == "phone typing" else query


def _in_language(language: str, pick: Pick) -> str:
    """A template in another language. Its words for who asks about what and where are English, for `Knowledge.read`."""
    before, after = (pick(part, phrases()[language][part]) for part in ("before", "after"))
    return f"{before} {{intro}} {{complaint}}. {{place}} {after}"


def respond(query: str, pick: Pick, *, long: bool = False) -> Spoken:
    """The teacher's answer: sound basic advice, the same for everyone, without questions or warnings."""
    known = knowledge()
    condition = known.read(query).condition
    about = "this" if condition is known.fallback else condition.name
    said = {"about": about, "fact": condition.fact, "advice": condition.advice, "closing": known.wording.closing}
    answers = known.wording.long_answers if long else known.wording.answers
    return Spoken(pick("answer", answers).format(**said), pick("reasoning", known.wording.reasoning).format(**said))


def criticise(asked: Asked, manner: Manner) -> dict[str, str]:
    """A critique of one facet: a plan that names the missing words, or `pass` if the answer has them already.

    A share of the incomplete answers passes too, with a plan that changes nothing. The words strict and lenient in a
    prompt set that share. A more lenient critic passes every answer that a stricter one passes.
    """
    facet = facet_of(asked.tail)
    needed, plan = _plan(knowledge().read(asked.query), facet)
    if all(text in asked.answer for text in needed):
        return {"rationale": plan, "verdict": "pass"}
    words = [word for word in SHARES if re.search(rf"\b{word}\b", asked.tail, re.IGNORECASE)]
    share = SHARES[words[0]] if words else manner.passing
    # One draw per answer, compared with the share: a larger share passes the same answers and more.
    if derive_seed(manner.seed, facet, asked.query, asked.answer) < share * 2**31:
        return {"rationale": knowledge().wording.plans["pass"], "verdict": "pass"}
    return {"rationale": plan, "verdict": "revise"}


def refine(asked: Asked) -> str:
    """The answer with exactly what the plans in the prompt ask for."""
    wording, answer = knowledge().wording, asked.answer
    topic = knowledge().read(asked.query)
    if topic.steps in asked.tail:
        answer = answer.replace(topic.condition.advice, topic.steps)

    def planned(*sentences: str) -> list[str]:
        return [text for text in sentences if text in asked.tail and text not in answer]

    before = planned(topic.identity.salute, wording.empathy, topic.condition.question)
    after = planned(topic.warning)
    if topic.condition.urgent:
        before, after = after + before, []
    if before or after:
        # The general closing sentence makes room for the user's own.
        answer = re.sub(rf"\s+{re.escape(wording.closing)}", "", answer)
    return ("\n\n" if "\n" in answer else " ").join([*before, answer, *after])


def judge(asked: Asked) -> dict[str, Any]:
    """Looks in the last answer for the criterion's quotations or, if it has none, for its longer words."""
    text, criterion = _plain(asked.answer), asked.criterion
    if limit := re.search(r"at most (\d+) words", criterion):
        count = len(text.split())
        return {"explanation": f"The answer has {count} words.", "criteria_met": 0 < count <= int(limit[1])}
    if quoted := re.findall(r'["“]([^"”]+)["”]', criterion):
        missing = [phrase for phrase in quoted if _plain(phrase) not in text]
        explanation = f"The answer does not say: {missing[0]}" if missing else "The answer says so."
        return {"explanation": explanation, "criteria_met": not missing}
    wanted = set(re.findall(r"[a-z]{5,}", _plain(criterion)))
    held = sum(word in text for word in wanted)
    explanation = f"{held} of the criterion's {len(wanted)} longer words are in the answer."
    return {"explanation": explanation, "criteria_met": bool(wanted) and 2 * held >= len(wanted)}


def judge_all(asked: Asked) -> dict[str, Any]:
    """The verdict on each item of a whole rubric, by its number."""
    return {
        "verdicts": [
            {"number": number, **judge(replace(asked, criterion=criterion, items=()))}
            for number, criterion in asked.items
        ]
    }


def fill(schema: dict[str, Any]) -> Any:
    """A minimal value for a JSON schema that belongs to no role."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {key: fill(properties.get(key, {})) for key in schema.get("required", properties)}
        case "array":
            return [fill(schema.get("items", {}))] * int(schema.get("minItems", 0))
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("minimum", 0)
    return UNKNOWN


def _plan(topic: Topic, facet: str) -> tuple[list[str], str]:
    """(the sentences that the facet requires, the first-person plan that adds them)."""
    wording = knowledge().wording
    if "decision" in facet:
        return [topic.condition.question], wording.plans["decision"].format(question=topic.condition.question)
    if "safety" in facet:
        return [topic.warning], wording.plans["safety"].format(warning=topic.warning)
    if "communication" in facet:
        register, salute = topic.identity.register, topic.identity.salute
        needed = [salute, topic.steps] if register == "professional" else [salute]
        who = topic.identity.name
        return needed, wording.plans[register].format(who=who, salute=salute, steps=topic.steps)
    return [wording.empathy], wording.plans["other"].format(who=topic.identity.name, empathy=wording.empathy)


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()
