"""State machines as text."""

from muser.cli.printing.machine import Edge, draw
from muser.graph.build import build_machine


def machine(*critics: str, rounds: int = 1) -> tuple[list[str], list[Edge]]:
    drawable = build_machine(critics, rounds=rounds).compile().get_graph()
    return list(drawable.nodes), [(edge.source, edge.target) for edge in drawable.edges]


def test_parallel_critics_stand_side_by_side_between_respond_and_refine() -> None:
    picture = draw(*machine("decision", "safety"), {"safety": "safety\nstudent"})
    rows = [line for line in picture.splitlines() if any(name in line for name in ("respond", "decision", "refine"))]
    assert [row.split("│")[1:-1] for row in rows[:3]] == [
        [" respond "],
        [" decision ", "  ", "  safety "],
        [" refine "],
    ]
    assert picture.splitlines()[-3:] == [
        "",
        "also:",
        "  __start__ → respond, decision, safety",
    ]
    assert "student" in picture


LINE = """\
 ┌───────┐
 │ START │
 └───┬───┘
     │
┌────┴────┐
│ persona │
└────┬────┘
     │
┌────┴────┐
│ respond │
└────┬────┘
     │
  ┌──┴──┐
  │ END │
  └─────┘

also:
  START → respond"""


def test_a_machine_without_critics_is_a_line() -> None:
    assert draw(*machine(), {"__start__": "START", "__end__": "END"}) == LINE


def test_many_critics_share_a_box_and_no_line_is_too_long() -> None:
    critics = [f"critic-{number}" for number in range(12)]
    picture = draw(*machine(*critics), {name: f"{name}\nstudent@distill" for name in critics})
    assert max(len(line) for line in picture.splitlines()) <= 80
    assert all(f"│ {name:<9}  student@distill │" in picture for name in critics)
