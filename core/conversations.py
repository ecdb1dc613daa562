"""Conversations: which are valid for asking and training, and the text that critics and judges read."""

from collections.abc import Sequence

from .types import Message, Response

OPEN, CLOSE = "<think>", "</think>"


def completion_text(response: Response) -> str:
    """The assistant turn that training uses for a response."""
    thinking = f"{OPEN}\n{response.reasoning}\n{CLOSE}\n\n" if response.reasoning else ""
    return thinking + response.answer


def check_prompt(messages: Sequence[Message]) -> None:
    """Raises ValueError if no answer can follow these messages."""
    if not messages or messages[-1].role != "user":
        raise ValueError("the last message must have the role user")
    if any(message.role == "system" for message in messages[1:]):
        raise ValueError("only the first message may have the role system")
    if not all(message.content.strip() for message in messages):
        raise ValueError("a message must not be empty")


def check_answer(text: str) -> None:
    """Raises ValueError for an assistant turn with nothing after the reasoning."""
    if not text.rpartition(CLOSE)[2].strip():
        raise ValueError("has no answer, so the row would train on nothing")


def has_stray_thinking(text: str) -> bool:
    """Whether a text has more think marks than one block needs."""
    return text.count(OPEN) > 1 or text.count(CLOSE) > 1


def in_conversation(prompt: Sequence[Message], history: Sequence[Message]) -> tuple[Message, ...]:
    """The prompt with earlier turns before its last message; their system message, if any, replaces the prompt's."""
    *before, last = prompt
    kept = [] if history and history[0].role == "system" else before
    return (*kept, *history, last)


def conversation_text(messages: Sequence[Message]) -> str:
    """A conversation as a judge or a critic reads it: `role: content` paragraphs joined by blank lines."""
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def asked_text(history: Sequence[Message], query: str, language: str = "") -> str:
    """The query as critics and the refiner read it: with earlier turns, the whole conversation.

    `language` is what its writer is known to write, in words.
    """
    text = conversation_text([*history, Message(role="user", content=query)]) if history else query
    return f"{text}\n\n(The person writes in {language}.)" if language else text
