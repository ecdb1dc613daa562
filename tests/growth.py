"""How the time of reading a text grows with the text."""

from collections.abc import Callable
from time import process_time

LINEAR = 10
"""Four times the text takes four times as long if that is linear and sixteen times if it is quadratic."""


def growth(act: Callable[[int], object], size: int) -> float:
    """How much longer `act` takes for four times the size, the best of two tries of each."""
    return _seconds(act, 4 * size) / max(_seconds(act, size), 0.001)


def _seconds(act: Callable[[int], object], size: int) -> float:
    tries = []
    for _ in range(2):
        began = process_time()
        act(size)
        tries.append(process_time() - began)
    return min(tries)
