"""Training rows: queries over a run's finished samples, in TRL's conversational prompt/completion form."""

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import Row
from typing import Any, Literal

from ...core.conversations import completion_text
from ...core.errors import DamagedDatabase, InputError, StoreError
from ...core.files import open_private
from ...core.types import Response
from ..file.database import Store
from ..file.texts import CHECK, STORED, build_messages, get_texts, is_altered, readable, rope_ids
from ..records.artifacts import Artifact, find_rows, insert_artifact, insert_lines
from ..records.runs import Run, find_run
from ..records.samples import counts, load_persona, row_id

RowStage = Literal["distill", "refine"]
SEPARATORS = (",", ":")


def rows(store: Store, run_id: str, stage: RowStage) -> Iterator[dict[str, Any]]:
    """The run's rows for a stage, in the samples' order: query → response, or query → refinement.

    Only finished samples have a row, and for `refine` only refined ones. Characters UTF-8 cannot encode become U+FFFD.
    InputError for an evaluation, whose benchmark must not become training data.
    """
    for _, row in _numbered_rows(store, run_id, stage):
        yield row


def export_rows(store: Store, run_id: str, stage: RowStage, path: Path) -> Artifact:
    """Write the rows as JSON lines, all or nothing, and record the file and the samples in it as an artifact.

    Exporting the same rows to the same path again returns the same artifact. InputError, and no file, if the stage has
    no rows or the run is an evaluation.
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


def own_rows(store: Store, path: Path, stage: RowStage, digest: str, samples: Mapping[str, int]) -> Artifact:
    """Record a user's own file of rows; `samples` maps each sample id in it to its first line.

    A file with the same content as an export counts as that export, even under another path. Samples of other stores
    are not linked. Raises InputError if a sample belongs to an evaluation.
    """
    found = dict[int, int]()
    with store.reader() as db:
        for name, line in samples.items():
            run, _, key = name.rpartition("/")
            if row := db.execute(OWNED, (run, key)).fetchone():
                if row["kind"] == "evaluation":
                    raise InputError(
                        f"this row comes from {name}, a sample of an evaluation, which must not be trained on",
                        where=f"{path}:{line}",
                        todo="remove the benchmark's rows from the file",
                    )
                found[row["id"]] = line
    known = find_rows(store, digest, stage)
    if known is not None:
        return known
    artifact = Artifact(kind="rows", name=path.stem, stage=stage, path=str(path), digest=digest)
    lines = [(line, sample) for sample, line in found.items()]
    return artifact.model_copy(update={"id": store.write_now(lambda db: insert_lines(db, artifact, lines))})


OWNED = """
    SELECT samples.id, kind FROM samples JOIN runs ON runs.id = run_id WHERE run_id = ? AND key = ?"""

SAME = """
    SELECT id FROM artifacts WHERE kind = 'rows' AND run_id = :run_id AND stage = :stage AND path = :path
    AND digest = :digest ORDER BY id DESC"""


def _write(store: Store, run_id: str, stage: RowStage, path: Path) -> tuple[list[int], str]:
    """Returns the row keys of the samples written and the file's SHA-256, after an fsync.

    Without the fsync, the rename that follows could reach the disk before the content (man 2 fsync).
    """
    samples: list[int] = []
    sha = hashlib.sha256()
    with open_private(path, "wb") as file, closing(_numbered_rows(store, run_id, stage)) as numbered:
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
    """The row of one sample for a stage, as an export would write it; None if it has none."""
    with store.reader() as db:
        sample = row_id(db, sample_id)
    found = store.read(f"{SELECT[stage]} AND traces.id = ?", (sample,))
    run = find_run(store, sample_id.rpartition("/")[0])
    return _Rows(store, run, stage).row(found[0]) if found and run else None


def _numbered_rows(store: Store, run_id: str, stage: RowStage) -> Generator[tuple[int, dict[str, Any]], None, None]:
    run = find_run(store, run_id)
    if run is None:
        raise InputError(f"There is no run {run_id!r}.", where=str(store.path), todo="`muser runs` lists the runs")
    if run.kind == "evaluation":
        raise InputError(
            f"Run {run_id} is an evaluation: a student trained on its benchmark could no longer be scored with it.",
            where=str(store.path),
            todo="export a run that `muser run` or `muser pipeline` made",
        )
    # Checked before the first row is written: the views below return `body`, which nothing compares with its hash.
    _refuse_altered(store, run_id)
    with closing(store.stream(f"{SELECT[stage]} AND run = ? ORDER BY traces.id", (run_id,))) as samples:
        made = _Rows(store, run, stage)
        for sample in samples:
            yield sample["id"], made.row(sample)


def _refuse_altered(store: Store, run_id: str) -> None:
    """Raises DamagedDatabase if a text does not match its hash: altered text must not become training data."""

    with closing(store.stream(SAID, (run_id,))) as texts:
        for sample, number, *stored in texts:
            if is_altered(*stored):
                raise DamagedDatabase(
                    f"Text {number} of sample {sample} was altered: it does not match its hash.",
                    where=str(store.path),
                    todo=f"{CHECK}; restore a copy that `muser db backup` made",
                )


SAID = f"""
    SELECT run_id || '/' || key, {STORED} FROM samples JOIN texts ON texts.id IN (
        SELECT value FROM json_each(json_array(query_id, reasoning_id, answer_id, refined_answer_id))
        UNION SELECT value FROM json_each(coalesce(refined_reasoning, '[]'))
        UNION SELECT turn.value ->> 1 FROM json_each(coalesce(history, '[]')) turn)
    WHERE run_id = ? AND status = 'done' ORDER BY samples.id"""  # noqa: S608


class _Rows:
    """Makes one run's rows. A promoted sample names the prompts of its origin's run, which wrote it."""

    def __init__(self, store: Store, run: Run, stage: RowStage) -> None:
        self._store, self._run, self._stage = store, run, stage
        self._is_promoted = run.parent is not None and run.node is None
        self._prompts = {run.id: run.prompts}

    def row(self, sample: Mapping[str, Any] | Row) -> dict[str, Any]:
        response = Response(reasoning=sample["reasoning"] or "", answer=sample["answer"])
        row = {
            "prompt": [*self._history(sample["history"]), {"role": "user", "content": sample["query"]}],
            "completion": [{"role": "assistant", "content": completion_text(response)}],
            "stage": self._stage,
            "run": self._run.id,
            "sample": sample["sample"],
            "prompts": self._prompts_of(sample["origin"].rpartition("/")[0] if self._is_promoted else self._run.id),
        }
        persona, extra = load_persona(sample["persona"]), sample["extra"]
        return row | ({"persona": persona} if persona else {}) | ({"extra": json.loads(extra)} if extra else {})

    def _history(self, turns: str | None) -> list[dict[str, str]]:
        if turns is None:
            return []
        with self._store.reader() as db:
            texts = get_texts(db, rope_ids(turns))
        return [{"role": turn.role, "content": readable(turn.content)} for turn in build_messages(turns, texts)]

    def _prompts_of(self, run_id: str) -> dict[str, str]:
        if run_id not in self._prompts:
            found = find_run(self._store, run_id)
            self._prompts[run_id] = found.prompts if found else self._run.prompts
        return self._prompts[run_id]


SELECT: dict[RowStage, str] = {
    "distill": """
    SELECT traces.id, sample, traces.origin, traces.persona, history, extra, query, reasoning, answer
    FROM traces JOIN samples USING (id)
    WHERE traces.status = 'done' AND query IS NOT NULL AND answer IS NOT NULL""",
    "refine": """
    SELECT traces.id, sample, traces.origin, traces.persona, history, extra, query,
        traces.refined_reasoning AS reasoning, refined_answer AS answer
    FROM traces JOIN samples USING (id)
    WHERE traces.status = 'done' AND query IS NOT NULL AND refined_answer IS NOT NULL""",
}


def _nothing_to_write(store: Store, run_id: str, stage: RowStage) -> InputError:
    stands = counts(store, run_id)
    if not stands["done"]:
        state = ", ".join(f"{n} {status}" for status, n in stands.items() if n) or "it has no samples"
        return InputError(
            f"Run {run_id} has no finished sample, so there are no rows for stage {stage}: {state}.",
            where=str(store.path),
            todo="finish it with `muser run RECIPE`, or retry failed samples with `muser retry RUN --failed`",
        )
    missing = "was refined" if stage == "refine" else "has a response"
    return InputError(
        f"No finished sample of run {run_id} {missing}, so there are no rows for stage {stage}.",
        where=str(store.path),
        todo="give the recipe critics, or export the other stage",
    )


def _sync_folder(folder: Path) -> None:
    """A rename survives a power cut only after the folder itself is synced (fsync(2))."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
