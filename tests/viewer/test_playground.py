"""The playground's account of calls."""

import asyncio

from muser.viewer.playground import Edit, Outcome, Playground, Tools


def test_replays_that_wait_in_line_do_not_pass_the_cap() -> None:
    async def act(edit: Edit, most_calls: int) -> Outcome:
        await asyncio.sleep(0)
        return Outcome(f"fork/{edit.sample}", (), min(2, most_calls))

    async def ask_five_times() -> Playground:
        playground = Playground(Tools(lambda run: ([], []), act), most_calls=3)
        for number in range(5):
            playground.begin(Edit(f"run/{number}", "refiner", "Say less.", ""))
        for _ in range(100):
            await asyncio.sleep(0)
        return playground

    made = asyncio.run(ask_five_times())
    assert made.calls == 3
    assert [bool(replay.outcome) for replay in made.replays] == [True, True, False, False, False]
    assert "--max-calls" in made.replays[-1].error


def test_calls_of_a_replay_that_came_to_no_end_count_too() -> None:
    async def act(edit: Edit, most_calls: int) -> Outcome:
        return Outcome("", (), 3, problem="nobody answers")

    async def ask() -> Playground:
        playground = Playground(Tools(lambda run: ([], []), act), most_calls=9)
        playground.begin(Edit("run/1", "refiner", "Say less.", ""))
        await asyncio.sleep(0.01)
        return playground

    made = asyncio.run(ask())
    assert made.calls == 3
    assert made.replays[0].outcome is None
    assert "nobody answers" in made.replays[0].error
