"""The refiner: query, answer, every rationale → the refined answer and the composed reasoning (paper, section 3.2)."""

from collections.abc import Sequence

from ..core.types import Ask, Critique, Refinement, Request, Response
from ..prompts.templates import PromptSet
from .replies import ask_text

CLOSING = "Now, answer."


async def refine(
    query: str,
    answer: str,
    critiques: Sequence[Critique],
    *,
    first: Response,
    prompts: PromptSet,
    ask: Ask,
    repairs: int = 0,
) -> Refinement:
    """Rewrites `answer` by the critiques; the reasoning is composed onto that of the `first` response."""
    messages = prompts.refiner_messages(query=query, answer=answer, critiques=critiques)
    reply = await ask_text(Request(messages=messages), ask, repairs)
    return Refinement(reasoning=compose_reasoning(first.reasoning, critiques), answer=reply.text.strip())


def compose_reasoning(initial: str, critiques: Sequence[Critique]) -> str:
    """Initial reasoning, then the non-empty rationales in the critics' order, then the closing "Now, answer."."""
    opening = initial.strip().removesuffix(CLOSING).rstrip()
    rationales = [critique.rationale.strip() for critique in critiques]
    return "\n\n".join(part for part in [opening, *rationales, CLOSING] if part)
