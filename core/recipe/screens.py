"""The recipe's screens: what a sample is checked for, and how often a rejected one is drawn again."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .settings import Settings

ScreenName = Annotated[str, StringConstraints(pattern=r"^(\w+|\w+(\.\w+)*:\w+)$")]
"""A screen that ships with muser, or an async function (Candidate) → reason or None, as module:name."""


class ScreensSettings(Settings):
    """Each list is run in its order and ends at the first rejection, so cheap screens come first."""

    query: list[ScreenName] = Field(
        ["length", "meta_talk", "labels"],
        description="screens of simulated queries; docs/data.md lists those that ship with muser",
        examples=[["length", "meta_talk", "labels", "duplicate", "near_duplicate", "my_package.screens:polite"]],
    )
    brought: list[ScreenName] = Field(
        ["personal_data"], description="screens of your own queries", examples=[["personal_data", "near_duplicate"]]
    )
    refinement: list[ScreenName] = Field(
        [], description="screens of refined answers", examples=[["empty", "runaway", "copied_rationale", "lost_safety"]]
    )
    against: list[str] = Field(
        [],
        description="benchmarks in HealthBench's format: queries that copy one of their texts are rejected",
        examples=[["healthbench.jsonl"]],
    )
    redraws: int = Field(
        2, ge=0, le=20, description="how often a rejected simulated sample gets another persona", examples=[5]
    )
