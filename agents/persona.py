"""The persona simulator: attributes → the query that such a person would write (paper, section 3.1)."""

from ..core.types import Ask, Persona, Request
from ..prompts.attributes import AttributeTables
from ..prompts.templates import Prompt
from .replies import ask_text

HOW = ("identity", "vagueness", "completeness", "style")


async def simulate(
    persona: Persona, tables: AttributeTables, prompt: Prompt, ask: Ask, *, seed: int = 0, repairs: int = 0
) -> str:
    """The query, without the quotation marks that models often put around it. `seed` chooses the examples it shows."""
    described, values = tables.describe(persona), tables.for_prompt(persona, seed)
    # Attributes that say how to write instruct too. The others are what a message is about: people may use their words.
    told = "\n".join([*(described[name] for name in HOW if name in described), *values["examples"]])
    request = Request(messages=prompt.render(**values), instructions=f"{prompt.instructions}\n\n{told}")
    reply = await ask_text(request, ask, repairs)
    query = reply.text.strip()
    quoted = len(query) > 1 and query[0] + query[-1] in ('""', "“”")
    return query[1:-1].strip() if quoted else query
