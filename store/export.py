"""Training rows: queries over a run's finished samples, in TRL's conversational prompt/completion form."""

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import Row
from typing import Any, Literal

from ..core.errors import DamagedDatabase, InputError, StoreError
from .artifacts import Artifact, insert_artifact
from .database import Store
from .runs import Run, find_run
from .samples import counts, row_id
from .texts import CHECK, STORED, is_altered

RowStage = Literal["distill", "refine"]
SEPARATORS = (",", ":")


def rows(store: Store, run_id: str, stage: RowStage) -> Iterator[dict[str, Any]]:
    """The run's rows for a stage, in the samples' order: query → response, or query → refinement.

    Only finished samples, and for `refine` only those that were refined, have one. What UTF-8 cannot hold is U+FFFD.
    """
    for _, row in _numbered_rows(store, run_id, stage):
        yield row


def export_rows(store: Store, run_id: str, stage: RowStage, path: Path) -> Artifact:
    """Write the rows as JSON lines, all or nothing, and record the file with every sample in it.

    The same rows at the same place are the same artifact. A stage without rows is an InputError and writes nothing.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            samples, digest = _write(store, run_id, stage, partial)
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"The rows cannot be written: {error.strerror}.", where=str(path)) from error
    found = store.read(SAME, {"run_id": run_id, "stage": stage, "path": str(path), "digest": digest})
    artifact = Artifact(
        kind="rows", name=run_id, stage=stage, path=str(path), digest=digest, run_id=run_id, meta={"rows": len(samples)}
    )
    made = found[0]["id"] if found else store.write_now(lambda db: insert_artifact(db, artifact, samples))
    return artifact.model_copy(update={"id": made})


SAME = """
    SELECT id FROM artifacts WHERE kind = 'rows' AND run_id = :run_id AND stage = :stage AND path = :path
    AND digest = :digest ORDER BY id DESC"""


def _write(store: Store, run_id: str, stage: RowStage, path: Path) -> tuple[list[int], str]:
    """The keys of the samples written, and the file's SHA-256; the file is on disk when this returns."""
    samples: list[int] = []
    sha = hashlib.sha256()
    with path.open("wb") as file, closing(_numbered_rows(store, run_id, stage)) as numbered:
        for sample, row in numbered:
            line = json.dumps(row, ensure_ascii=False, separators=SEPARATORS).encode() + b"\n"
            file.write(line)
            sha.update(line)
            samples.append(sample)
        if not samples:
            raise _nothing_to_write(store, run_id, stage)
        file.flush()
        os.fsync(file.fileno())
    return samples, sha.hexdigest()


def row_of(store: Store, sample_id: str, stage: RowStage) -> dict[str, Any] | None:
    """The row of one sample for a stage, as an export would write it now; None where it has none."""
    with store.reader() as db:
        sample = row_id(db, sample_id)
    found = store.read(f"{SELECT[stage]} AND id = ?", (sample,))
    run = find_run(store, sample_id.rpartition("/")[0])
    return _Rows(store, run).row(found[0]) if found and run else None


def _numbered_rows(store: Store, run_id: str, stage: RowStage) -> Generator[tuple[int, dict[str, Any]], None, None]:
    run = find_run(store, run_id)
    if run is None:
        raise InputError(f"There is no run {run_id!r}.", where=str(store.path), todo="`muser runs` lists the runs")
    _refuse_altered(store, run_id)
    with closing(store.stream(f"{SELECT[stage]} AND run = ? ORDER BY id", (run_id,))) as samples:
        made = _Rows(store, run)
        for sample in samples:
            yield sample["id"], made.row(sample)


def _refuse_altered(store: Store, run_id: str) -> None:
    """Nothing is trained on a text that is not the one which was stored."""
    with closing(store.stream(SAID, (run_id,))) as texts:
        for sample, number, *stored in texts:
            if is_altered(*stored):
                raise DamagedDatabase(
                    f"Text {number}, of sample {sample}, was altered: it does not match its hash.",
                    where=str(store.path),
                    todo=f"{CHECK}; restore a copy that `muser db backup` made",
                )


SAID = f"""
    SELECT run_id || '/' || key, {STORED} FROM samples JOIN texts ON texts.id IN (
        SELECT value FROM json_each(json_array(query_id, reasoning_id, answer_id, refined_answer_id))
        UNION SELECT value FROM json_each(coalesce(refined_reasoning, '[]')))
    WHERE run_id = ? AND status = 'done' ORDER BY samples.id"""  # noqa: S608


class _Rows:
    """Makes one run's rows. A promoted sample is as the run of its origin made it: that one's prompts wrote it."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._is_promoted = run.parent is not None and run.node is None
        self._prompts = {run.id: run.prompts}

    def row(self, sample: Mapping[str, Any] | Row) -> dict[str, Any]:
        thinking = f"<think>\n{sample['reasoning']}\n</think>\n\n" if sample["reasoning"] else ""
        return {
            "prompt": [{"role": "user", "content": sample["query"]}],
            "completion": [{"role": "assistant", "content": thinking + sample["answer"]}],
            "run": self._run.id,
            "sample": sample["sample"],
            "checkpoint": sample["checkpoint_id"],
            "prompts": self._prompts_of(sample["origin"].rpartition("/")[0] if self._is_promoted else self._run.id),
        }

    def _prompts_of(self, run_id: str) -> dict[str, str]:
        if run_id not in self._prompts:
            found = find_run(self._store, run_id)
            self._prompts[run_id] = found.prompts if found else self._run.prompts
        return self._prompts[run_id]


SELECT: dict[RowStage, str] = {
    "distill": """
    SELECT id, sample, origin, checkpoint_id, query, reasoning, answer FROM traces
    WHERE status = 'done' AND query IS NOT NULL AND answer IS NOT NULL""",
    "refine": """
    SELECT id, sample, origin, checkpoint_id, query, refined_reasoning AS reasoning, refined_answer AS answer
    FROM traces WHERE status = 'done' AND query IS NOT NULL AND refined_answer IS NOT NULL""",
}


def _nothing_to_write(store: Store, run_id: str, stage: RowStage) -> InputError:
    stands = counts(store, run_id)
    if not stands["done"]:
        state = ", ".join(f"{n} {status}" for status, n in stands.items() if n) or "it has no samples"
        return InputError(
            f"Run {run_id} has no finished sample, so there are no rows for stage {stage}: {state}.",
            where=str(store.path),
            todo="finish it with `muser run RECIPE`, or retry what failed with `muser retry RUN --failed`",
        )
    missing = "was refined" if stage == "refine" else "has a response"
    return InputError(
        f"No finished sample of run {run_id} {missing}, so there are no rows for stage {stage}.",
        where=str(store.path),
        todo="give the recipe critics, or export the other stage",
    )


def _sync_folder(folder: Path) -> None:
    """A rename survives a power cut once the folder itself is on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
