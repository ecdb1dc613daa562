"""The simulated models' parts: recognises from a request which role is asked for, and says what that role would say."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.hashing import derive_seed
from .faults import Spoken
from .knowledge import Knowledge, Topic, knowledge

Pick = Callable[[str, Sequence[str]], str]
"""(what for, choices) → one of them, fixed by the server's seed and the request."""

ATTRIBUTE = re.compile(
    r"^\W*(?:\(?\d+\)?\W*)?"
    r"(?P<key>identity|role|region|condition|disease|intent|vagueness|completeness|style|language style)"
    r"\b[^:\n]*:\s*(?P<value>.+?)\s*$",
    re.IGNORECASE | re.MULTILINE,
)
SHARED = re.compile(
    r"<(?:query|question|user)>\s*(?P<query>.*?)\s*</(?:query|question|user)>.*?"
    r"<(?P<tag>answer|response)>\s*(?P<answer>.*?)\s*</(?P=tag)>(?P<tail>.*)",
    re.DOTALL,
)
CLOSING = "These steps help most people, and a clinic can do more if they fail."


@dataclass(frozen=True)
class Asked:
    """A request as the simulated models see it."""

    role: str  # persona, responder, critic, refiner, judge or other
    messages: tuple[tuple[str, str], ...]
    schema: dict[str, Any] | None
    thinking: bool
    shared: str = ""  # what critics and refiner share: the prompt up to the end of the answer


def read_request(body: dict[str, Any]) -> Asked:
    """The role is told by the schema, then by the wording of the prompt."""
    messages = tuple((str(m.get("role")), _text(m.get("content"))) for m in body["messages"])
    schema = _schema(body)
    prompt = "\n\n".join(text for role, text in messages if role != "assistant")
    found = SHARED.search(prompt)
    wanted = set((schema or {}).get("properties", ()))
    role = "other" if schema else "responder"
    if "criteria_met" in wanted:
        role = "judge"
    elif "verdict" in wanted:
        role = "critic"
    elif schema is None and found:
        role = "refiner"
    elif schema is None and len({m["key"].lower() for m in ATTRIBUTE.finditer(prompt)}) >= 6:
        role = "persona"
    template = body.get("chat_template_kwargs")
    thinking = not (isinstance(template, dict) and template.get("enable_thinking") is False)
    shared = prompt[: found.end("tag")] if found and role in ("critic", "refiner") else ""
    return Asked(role, messages, schema, thinking, prompt[: found.end("answer")] if shared and found else "")


def speak(asked: Asked, seed: int, digest: str) -> Spoken:
    """What the role says; a pure function of its arguments."""

    def pick(what: str, choices: Sequence[str]) -> str:
        return choices[derive_seed(seed, digest, what) % len(choices)]

    prompt = "\n\n".join(text for role, text in asked.messages if role != "assistant")
    match asked.role:
        case "persona":
            spoken = Spoken(write_query(prompt, pick), "I write as this person would.")
        case "critic":
            spoken = Spoken(json.dumps(criticise(prompt)), "I compare the answer with what the query leaves open.")
        case "refiner":
            spoken = Spoken(refine(prompt), "I follow the plan of the reviewers.")
        case "judge":
            spoken = Spoken(json.dumps(judge(prompt)), "I look for the words that the criterion names.")
        case "other":
            spoken = Spoken(json.dumps(fill(asked.schema or {})), "")
        case _:
            last = next((text for role, text in reversed(asked.messages) if role == "user"), prompt)
            spoken = respond(last, pick)
    return spoken if asked.thinking else Spoken(spoken.text)


def write_query(prompt: str, pick: Pick) -> str:
    """The query that a persona's seven constraints describe."""
    known = knowledge()
    given = {match["key"].lower(): match["value"].rstrip(".") for match in ATTRIBUTE.finditer(prompt)}
    name = given.get("condition") or given.get("disease", "")
    topic = known.topic(name, given.get("identity") or given.get("role", ""), given.get("region", ""))
    wording, style = known.queries, given.get("style", "") + given.get("language style", "")
    vague = re.search(r"vague|unclear|unspecific", given.get("vagueness", ""), re.IGNORECASE)
    complaint = topic.condition.vague if vague else topic.condition.complaint
    details = wording["details"][_completeness(given.get("completeness", ""))]
    place = (topic.region.place or given.get("region", "")).strip()
    rural = (
        "rural " if re.search(r"rural|village|remote", given.get("region", "")) and not place.startswith("a ") else ""
    )
    query = pick("template", wording[_style(style)]).format(
        intro=topic.identity.intro,
        subject=topic.identity.subject,
        complaint=complaint.format(condition=name),
        detail=pick("detail", details),
        place=pick("place", wording["places"]).format(place=rural + place) if place else "",
        ask=_question_for(given.get("intent", ""), known),
    )
    return re.sub(r"\s+", " ", query).strip()


def respond(query: str, pick: Pick) -> Spoken:
    """The teacher: sound basic advice, the same for everyone, that asks nothing and warns of nothing."""
    known = knowledge().read(query).condition
    topic = "this" if known.name == "other" else known.name
    opening = pick("opening", [f"Here is some advice on {topic}.", f"This is about {topic}."])
    reasoning = (
        f"The question is about {topic}. {known.fact} I will give simple steps that fit most people. Now, answer."
    )
    return Spoken(f"{opening} {known.fact} {known.advice} {CLOSING}", reasoning)


def criticise(prompt: str) -> dict[str, str]:
    """A critique of the facet that the prompt's tail names; `pass` where the answer already says it."""
    found = SHARED.search(prompt)
    query, answer, tail = (found["query"], found["answer"], found["tail"]) if found else ("", "", prompt)
    topic = knowledge().read(query)
    needed, plan = _plan(topic, _facet(tail))
    if all(sentence in answer for sentence in needed):
        return {
            "rationale": f"The answer already says what matters here. We should keep: {' '.join(needed)}",
            "verdict": "pass",
        }
    return {"rationale": plan, "verdict": "revise"}


def refine(prompt: str) -> str:
    """The answer with what the rationales in the prompt ask for, and nothing else."""
    found = SHARED.search(prompt)
    if not found:
        return prompt
    topic, answer, plans = knowledge().read(found["query"]), found["answer"], found["tail"]
    if topic.is_professional and topic.steps in plans:
        answer = answer.replace(topic.condition.advice, topic.steps)
    before = [
        part
        for part in (topic.identity.salute, EMPATHY, topic.condition.question)
        if part in plans and part not in answer
    ]
    after = [part for part in (topic.warning,) if part in plans and part not in answer]
    # What was said for everyone makes room for what is said to this asker.
    return " ".join([*before, answer.replace(f" {CLOSING}", "") if before or after else answer, *after])


def judge(prompt: str) -> dict[str, Any]:
    """Looks in the conversation's last answer for what the criterion quotes; without a quotation, for its words."""
    criterion, answer = _graded(prompt)
    text = " ".join(answer.split()).lower()
    limit = re.search(r"at most (\d+) words", criterion)
    quoted = re.findall(r'["“]([^"”]+)["”]', criterion)
    if limit:
        count = len(text.split())
        return {"explanation": f"The answer has {count} words.", "criteria_met": 0 < count <= int(limit[1])}
    if quoted:
        missing = [phrase for phrase in quoted if " ".join(phrase.split()).lower() not in text]
        explanation = f"The answer lacks: {missing[0]}" if missing else "The answer says it."
        return {"explanation": explanation, "criteria_met": not missing}
    wanted = set(re.findall(r"[a-z]{5,}", criterion.lower()))
    held = sorted(word for word in wanted if word in text)
    return {
        "explanation": f"{len(held)} of the criterion's {len(wanted)} longer words are in the answer.",
        "criteria_met": bool(wanted) and 2 * len(held) >= len(wanted),
    }


def fill(schema: dict[str, Any]) -> Any:
    """The smallest value of a JSON schema that no role asks for."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {
                key: fill(schema["properties"][key]) for key in schema.get("required", schema.get("properties", {}))
            }
        case "array":
            return [fill(schema.get("items", {}))] * int(schema.get("minItems", 0))
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("minimum", 0)
    return "simulated"


EMPATHY = "I understand that this is hard, and it is right to ask."
FACETS = {
    "decision": r"decision|missing|ask for|clarif",
    "communication": r"communicat|register|terminolog|wording|plain",
    "safety": r"safe|risk|red flag|urgent|emergenc|refer",
}


def _facet(tail: str) -> str:
    """The facet whose cues stand in the tail most often; empty for a critic that the script does not know."""
    counts = {facet: len(re.findall(cues, tail, re.IGNORECASE)) for facet, cues in FACETS.items()}
    best = max(counts, key=lambda facet: counts[facet])
    return best if counts[best] else ""


def _plan(topic: Topic, facet: str) -> tuple[list[str], str]:
    """(the sentences that the facet needs, the first-person plan that asks for them)."""
    who = topic.identity.name
    if facet == "decision":
        return [topic.condition.question], f"We should ask for what is missing: {topic.condition.question}"
    if facet == "safety":
        return [topic.warning], f"We should warn of the danger: {topic.warning}"
    if facet == "communication":
        if topic.is_professional:
            needed = [topic.identity.salute, topic.steps]
            return (
                needed,
                f"We should speak to a {who} in clinical terms: {needed[0]} We should give clinical steps: {needed[1]}",
            )
        return [topic.identity.salute], f"We should speak to a {who} in plain words: {topic.identity.salute}"
    return [EMPATHY], f"We should show the {who} that we see how this feels: {EMPATHY}"


def _graded(prompt: str) -> tuple[str, str]:
    """(criterion, last answer) of a prompt in HealthBench's layout: `role: content` paragraphs, then `[points] item`."""
    criterion = re.findall(r"\[\s*-?\d+(?:\.\d+)?\s*\]\s*(.+)", prompt)
    answer = re.split(r"^assistant:\s*", prompt, flags=re.MULTILINE)[-1]
    return (criterion[-1] if criterion else ""), re.split(r"\n\s*(?:<|#)", answer)[0]


def _style(style: str) -> str:
    for name, cues in {
        "terse": "terse|short|brief|fragment|telegraph",
        "worried": "anx|worr|emotion|panick",
        "formal": "formal|polite|clinical|profess",
    }.items():
        if re.search(cues, style, re.IGNORECASE) and not re.search("informal", style, re.IGNORECASE):
            return name
    return "plain"


def _completeness(text: str) -> str:
    if re.search(r"omit|missing|leave out|leaves out|lack|no details|incomplete|minimal", text, re.IGNORECASE):
        return "none"
    return "partial" if re.search(r"part|some", text, re.IGNORECASE) else "full"


def _question_for(intent: str, known: Knowledge) -> str:
    return next(
        str(i["ask"]) for i in known.intents if not i["match"] or any(cue in intent.lower() for cue in i["match"])
    )


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    shape = (body.get("response_format") or {}).get("json_schema") or {}
    schema = shape.get("schema") or (body.get("structured_outputs") or {}).get("json")
    return schema if isinstance(schema, dict) else None


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
