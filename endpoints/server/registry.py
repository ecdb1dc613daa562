"""The servers of `muser serve`, for other muser processes to find: a card for each, valid while its lock is held."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...core.types import Value


class Card(Value):
    """A running server. It serves `path` as `name`; adapters up to `lora_rank` can be loaded while it runs.

    It runs on `engine`, with `data_parallel` copies of it. `key_env` names the environment variable with its key;
    the key itself is never written.
    """

    name: str
    path: str
    base_url: str
    adapters: dict[str, str] = {}
    lora_rank: int | None = None
    key_env: str | None = None
    data_parallel: int = 1
    engine: Literal["vllm", "llamacpp", "transformers"]
    pid: int


@contextmanager
def announced(folder: Path, card: Card) -> Iterator[None]:
    """Keeps a server's card in the folder. The lock ends with this process, however it ends, so no card is stale."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / f"{card.name}.json", folder / f".{card.name}.{os.getpid()}"
    with partial.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(card.model_dump_json(indent=1))
        file.flush()
        partial.rename(path)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def running(folder: Path) -> list[Card]:
    """The cards of servers whose muser is alive."""
    return [card for path in sorted(folder.glob("*.json")) if (card := _alive(path))]


def _alive(path: Path) -> Card | None:
    try:
        with path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Card.model_validate(json.load(file))
    except (OSError, ValueError, ValidationError):
        return None
    return None
