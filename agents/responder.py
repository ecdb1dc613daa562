"""The responder: a conversation → the first answer, with its reasoning."""

from ..core.types import Ask, Message, Request, Response
from .replies import ask_text


async def respond(messages: tuple[Message, ...], ask: Ask, repairs: int = 0) -> Response:
    """One answer to a conversation that ends with a user's turn."""
    reply = await ask_text(Request(messages=messages), ask, repairs)
    return Response(reasoning=reply.reasoning.strip(), answer=reply.text.strip())
