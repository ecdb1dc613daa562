"""One example of a benchmark: a conversation and the rubric for its next turn."""

from pydantic import Field, field_validator

from ..core.types import Message, RubricItem, Tags, Value


class Example(Value):
    """One conversation, the rubric for its next turn, and the example's own tags (themes)."""

    prompt_id: str = Field(min_length=1)
    """Unique in the file."""
    prompt: tuple[Message, ...]
    """The conversation; the last turn is the user's."""
    rubrics: tuple[RubricItem, ...]
    """At least one item."""
    example_tags: Tags
    """Such as `theme:context_seeking`. No tag twice."""

    @field_validator("prompt")
    @classmethod
    def _ends_with_user(cls, prompt: tuple[Message, ...]) -> tuple[Message, ...]:
        if not prompt or prompt[-1].role != "user":
            raise ValueError("must end with a user turn")
        return prompt

    @field_validator("rubrics")
    @classmethod
    def _has_items(cls, rubrics: tuple[RubricItem, ...]) -> tuple[RubricItem, ...]:
        if not rubrics:
            raise ValueError("must have at least one item")
        return rubrics
