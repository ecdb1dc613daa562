"""The report's part on what the critics did."""

from collections.abc import Iterator, Mapping
from typing import Any

from ...evals.critics import detections
from ...store.file.database import Store
from ...store.queries.critics import critic_accounts, stability
from .blocks import Block, Heading, Paragraph, Table

ACCOUNTS = (
    "Of the new words: the share of the words that refining added which stand in the critic's rationales; by chance: "
    "in its rationales about another answer. Of its plan: the share of its rationales' own words that refining added. "
    "Words added: by how many refining lengthened the answers that the critic asked to revise or passed."
)


def gather_critics(store: Store, run_id: str) -> dict[str, Any]:
    """What the critics did, and what `muser critics` has found out about them so far."""
    found = {
        "accounts": critic_accounts(store, run_id),
        "stability": stability(store, run_id),
        "planted": detections(store, run_id),
    }
    return {name: [one.model_dump(mode="json") for one in values] for name, values in found.items()}


def describe_critics(found: Mapping[str, Any]) -> Iterator[Block]:
    """A table for each of the measures that there are; nothing for a run without critics."""
    if not found["accounts"]:
        return
    yield Heading("What the critics did")
    lines = [
        (
            one["critic"],
            *(_percent(one[name]) for name in ("from_plan", "by_chance", "taken_up")),
            *("–" if one[name] is None else f"{one[name]:+.0f}" for name in ("added_if_revise", "added_if_pass")),
        )
        for one in found["accounts"]
    ]
    names = ("of the new words", "by chance", "of its plan", "words added if revise", "if pass")
    yield Table(("critic", *names), tuple(lines))
    yield Paragraph(ACCOUNTS)
    if found["stability"]:
        again = (
            (one["critic"], f"{one['asked_again']:,}", _percent(one["same"] / one["asked_again"]))
            for one in found["stability"]
        )
        yield Table(("critic", "verdicts asked again", "the same"), tuple(again))
    if found["planted"]:
        planted = (
            (
                one["critic"],
                one["facet"],
                f"{one['faults']:,}",
                _percent(one["sensitivity"]),
                _percent(one["specificity"]),
            )
            for one in found["planted"]
        )
        yield Table(("critic", "facet", "planted faults", "found and named", "sound answers passed"), tuple(planted))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
