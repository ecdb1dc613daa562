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
    earlier: Sequence[Critique] = (),
    first: Response,
    prompts: PromptSet,
    ask: Ask,
    repairs: int = 0,
) -> Refinement:
    """Rewrites `answer` according to this round's critiques.

    The reasoning is composed of the `first` response's reasoning and all plans, including those of `earlier` rounds.
    """
    messages = prompts.refiner_messages(query=query, answer=answer, critiques=critiques)
    instructions = prompts.instructions_of(prompts.refiner)
    reply = await ask_text(Request(messages=messages, instructions=instructions), ask, repairs)
    reasoning = compose_reasoning(first.reasoning, [*earlier, *critiques])
    return Refinement(reasoning=reasoning, answer=reply.text.strip())


def compose_reasoning(initial: str, critiques: Sequence[Critique]) -> str:
    """Initial reasoning, then each critic's plans, then the closing "Now, answer.".

    Critics are in the order of the last round's critiques. Each contributes every plan with the verdict `revise`, in
    the order of the rounds; a critic that never asked for a revision contributes its last plan. No plan is repeated.
    """
    opening = initial.strip().removesuffix(CLOSING).rstrip()
    last = max((critique.round for critique in critiques), default=1)
    plans: dict[str, None] = {}
    for critic in (critique.critic for critique in critiques if critique.round == last):
        own = sorted((one for one in critiques if one.critic == critic), key=lambda one: one.round)
        asked = [one for one in own if one.verdict == "revise"] or own[-1:]
        plans.update(dict.fromkeys(one.rationale.strip() for one in asked))
    return "\n\n".join(part for part in [opening, *plans, CLOSING] if part)
