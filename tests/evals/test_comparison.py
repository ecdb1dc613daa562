"""Two runs compared sample by sample, on a real store."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from muser.core.comparison import Comparison
from muser.core.errors import InputError
from muser.core.types import Message, Reply, SampleInput, Usage
from muser.evals import comparison
from muser.evals.comparison import changed_share, compare_runs
from muser.store.file.database import Store
from muser.store.records.ledger import Call, record_call
from muser.store.records.runs import Run, create_run
from muser.store.records.samples import add_samples, record_sample

Fill = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "muser.db") as opened:
        yield opened


@pytest.fixture
def fill(store: Store) -> Fill:
    """Makes a run of finished samples: (verdicts of `safety` by round, final answer) each; None is one that failed."""

    def make(
        run_id: str,
        samples: Sequence[tuple[Sequence[str], str] | None],
        *,
        query: str = "How?",
        origin: str = "",
        key: str = "s{}",
        identity: dict[str, object] | None = None,
        **more: object,
    ) -> None:
        described = Run(id=run_id, name=run_id, recipe="", identity=identity or {"seed": 1}, fingerprint=run_id)
        create_run(store, described.model_copy(update=more))
        inputs = [
            SampleInput(key=key.format(n), query=query, origin=f"{origin}/s{n}" if origin else None)
            for n in range(len(samples))
        ]
        add_samples(store, run_id, inputs, 1)
        for one, given in zip(samples, inputs, strict=True):
            verdicts, answer = one or ((), "")
            state = {
                "query": query,
                "response": {"reasoning": "", "answer": answer},
                "critiques": [
                    {"critic": "safety", "verdict": verdict, "rationale": "We should.", "round": number}
                    for number, verdict in enumerate(verdicts, 1)
                ],
                "round": len(verdicts),
            }
            name = f"{run_id}/{given.key}"
            asyncio.run(record_sample(store, name, status="done" if one else "failed", state=state))

    return make


def spend(store: Store, sample: str, role: str, tokens: int) -> None:
    call = Call(
        sample_id=sample,
        role=role,
        request_hash=f"{tokens:02x}" * 32,
        model="m",
        messages=(Message(role="user", content=role),),
        parameters={},
        reply=Reply(text="x", usage=Usage(tokens_in=tokens)),
        outcome="ok",
    )
    asyncio.run(record_call(store, call))


def test_verdicts_that_flipped_are_counted_by_critic_and_tested(store: Store, fill: Fill) -> None:
    fill("a", [(["revise"], "No.")] * 9 + [(["pass"], "No.")])
    fill("b", [(["pass"], "No.")] * 9 + [(["revise"], "No.")])
    flips = compare_runs(store, "a", "b").verdicts["safety"]
    assert (flips.n, flips.gained, flips.lost) == (10, 9, 1)
    assert flips.p == pytest.approx(22 / 1024)  # 2 · (1 + 10) of the 2**10 ways ten coins can fall
    assert flips.verdict == "higher"


def test_a_few_flips_are_no_difference_shown(store: Store, fill: Fill) -> None:
    fill("a", [(["revise"], "No.")] * 5)
    fill("b", [(["pass"], "No.")] * 5)
    flips = compare_runs(store, "a", "b").verdicts["safety"]
    assert (flips.gained, flips.verdict) == (5, "no difference shown")


def test_the_last_round_s_verdict_counts(store: Store, fill: Fill) -> None:
    fill("a", [(["revise", "pass"], "No.")])
    fill(
        "b",
        [
            (["pass"], "No."),
        ],
    )
    assert compare_runs(store, "a", "b").verdicts["safety"].gained == 0


def test_identical_runs_differ_in_nothing(store: Store, fill: Fill) -> None:
    for name in ("a", "b"):
        fill(name, [(["pass"], f"Answer {n}") for n in range(4)])
    found = compare_runs(store, "a", "b")
    assert (found.matched, found.compared, found.same_query, found.same_answer) == (4, 4, 4, 4)
    assert (found.changes, found.changed, found.look_first) == ((), 0, ())
    assert found.length is not None
    assert (found.length.difference, found.length.verdict) == (0, "no difference shown")


def test_longer_answers_are_shown_to_be_longer(store: Store, fill: Fill) -> None:
    fill("a", [(["pass"], "word " * n) for n in range(20, 32)])
    fill("b", [(["pass"], "word " * (n + n % 5 + 1)) for n in range(20, 32)])
    length = compare_runs(store, "a", "b").length
    assert length is not None
    assert (length.verdict, length.n) == ("higher", 12)
    assert length.low > 0


def test_samples_with_flips_come_first_then_those_with_the_most_changed_words(store: Store, fill: Fill) -> None:
    fill("a", [(["pass"], "one two three four")] * 4)
    fill("b", [
        (["pass"], "one two three four"), (["pass"], "one two three five"), (["revise"], "one two three four"),
        (["pass"], "all other words here"),
    ])  # fmt: skip
    found = compare_runs(store, "a", "b")
    assert [(pair.first, pair.second, pair.changed) for pair in found.look_first] == [
        ("a/s2", "b/s2", 0),
        ("a/s3", "b/s3", 1),
        ("a/s1", "b/s1", 0.25),
    ]
    assert [flip.after for flip in found.look_first[0].flips] == ["revise"]
    assert found.changed == pytest.approx(1.25 / 4)
    assert len(compare_runs(store, "a", "b", shown=1).look_first) == 1


def test_samples_match_by_origin_before_key(store: Store, fill: Fill) -> None:
    fill("a", [(["pass"], "One.")] * 2)
    fill("b", [(["pass"], "One.")] * 2, origin="a", key="other{}")
    fill("c", [(["pass"], "One.")] * 2, origin="a", key="third{}")

    def matched(first: str, second: str) -> Comparison:
        return compare_runs(store, first, second)

    assert matched("a", "b").matched == matched("b", "a").matched == matched("b", "c").matched == 2
    assert matched("b", "b").matched == 2


def test_samples_that_did_not_end_well_are_counted_apart(store: Store, fill: Fill) -> None:
    fill("a", [(["pass"], "One."), None, (["pass"], "One."), None])
    fill("b", [(["pass"], "One."), (["pass"], "Two."), None])
    found = compare_runs(store, "a", "b")
    assert (found.samples, found.matched, found.compared, found.done_only) == ((4, 3), 3, 1, (1, 1))


def test_runs_without_a_finished_pair_are_compared_as_far_as_they_go(store: Store, fill: Fill) -> None:
    fill("a", [None, (["pass"], "One.")])
    fill("b", [(["pass"], "One."), None])
    found = compare_runs(store, "a", "b")
    assert (found.compared, found.length, found.tokens, found.verdicts) == (0, None, None, {})


def test_tokens_are_those_of_the_roles_that_both_called(store: Store, fill: Fill) -> None:
    fill("a", [(["pass"], "One.")])
    fill("b", [(["pass"], "One.")], origin="a")
    spend(store, "a/s0", "responder", 50)
    spend(store, "a/s0", "refiner", 7)
    spend(store, "b/s0", "refiner", 9)
    tokens = compare_runs(store, "a", "b").tokens
    assert tokens is not None
    assert (tokens.first, tokens.second) == (7, 9)


def test_of_many_pairs_some_are_measured_and_the_most_flipped_are_found_all_the_same(
    store: Store, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MEASURED", 3)
    fill("a", [(["pass"], f"Answer {n}") for n in range(40)])
    fill("b", [(["revise" if n == 17 else "pass"], f"Answer {n}") for n in range(40)])
    found = compare_runs(store, "a", "b")
    assert (found.compared, found.same_answer, found.measured, found.verdicts["safety"].lost) == (40, 40, 3, 1)
    assert [pair.second for pair in found.look_first] == ["b/s17"]
    assert found.length is not None
    assert found.length.n == 3


def test_what_the_recipes_differ_in_is_said(store: Store, fill: Fill) -> None:
    fill("a", [None], identity={"seed": 1, "roles": {"refiner": {"model": "small"}}})
    fill("b", [None], identity={"seed": 1, "roles": {"refiner": {"model": "large"}}})
    fill("fork", [None], identity={"roles": {}}, parent="a", changes=("texts.safety: text 1 → text 2",))
    assert compare_runs(store, "a", "b").changes == ("roles.refiner.model: 'small' → 'large'",)
    assert compare_runs(store, "a", "fork").changes == ("texts.safety: text 1 → text 2",)
    assert compare_runs(store, "fork", "b").changes == ()


def test_runs_that_share_nothing_are_refused(store: Store, fill: Fill) -> None:
    fill("a", [None])
    fill("b", [None], key="q{}")
    with pytest.raises(InputError, match="no sample of run b matches"):
        compare_runs(store, "a", "b")
    with pytest.raises(InputError, match="no run nowhere"):
        compare_runs(store, "a", "nowhere")


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [("", "", 0), ("a b", "b a", 0), ("a", "", 1), ("a b", "a c", 0.5), ("a a", "a", 1 / 3)],
)
def test_changed_words_are_counted_wherever_they_stand(before: str, after: str, share: float) -> None:
    assert changed_share(before, after) == pytest.approx(share)
