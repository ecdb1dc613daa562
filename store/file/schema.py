"""The tables, as an ordered list of small named migrations. Never edit a released one; add another.

The module is imported only when a migration has to run or the schema has to be checked.

All tables are STRICT, so that SQLite checks types on write (sqlite.org/stricttables.html). Tables of small rows with a
composite key are WITHOUT ROWID: the key is the table, and no second index is needed (sqlite.org/withoutrowid.html).
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from sqlite3 import Connection

from .objects import objects

# sqlite-utils imports pandas if it is installed, to accept dataframes: two seconds more for a store's first run.
hidden = "pandas" not in sys.modules
if hidden:
    sys.modules["pandas"] = None  # type: ignore[assignment]
from sqlite_utils import Database, Migrations  # noqa: E402

if hidden:
    del sys.modules["pandas"]

migrations = Migrations("muser")


def migrate(connection: Connection) -> None:
    """Apply the migrations that the file lacks, inside the caller's transaction."""
    migrations.apply(Database(connection, execute_plugins=False))


def altered_objects(db: Connection) -> Iterator[str]:
    """Tables, indexes, views and triggers that are missing or altered. Ignores those that other programs added."""
    found = objects(db)
    for (kind, name), sql in _wanted().items():
        if found.get((kind, name)) != sql:
            yield f"{kind} {name} {'was altered' if (kind, name) in found else 'is missing'}"


@cache
def _wanted() -> dict[tuple[str, str], str]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh)
        return objects(fresh)


@migrations()
def create_texts(db: Database) -> None:
    """Every text once. `body` is always readable; `raw` has the exact bytes of texts with lone surrogates or NUL.

    A column that ends in _id refers to one text. Others, such as `reply`, are ropes: a JSON list of the ids of texts to
    join, so that a text that quotes another one does not repeat it.
    """
    db.execute(
        "CREATE TABLE texts (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, body TEXT NOT NULL, raw BLOB) STRICT"
    )


@migrations()
def create_runs(db: Database) -> None:
    """One row per run: its recipe, prompts and versions. identity, prompts and versions are JSON."""
    db.execute("""
        CREATE TABLE runs (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
            seed INTEGER NOT NULL, fingerprint TEXT NOT NULL, recipe TEXT NOT NULL, folder TEXT NOT NULL,
            identity TEXT NOT NULL, prompts TEXT NOT NULL, versions TEXT NOT NULL, git_commit TEXT,
            created_at TEXT NOT NULL, finished_at TEXT
        ) STRICT""")
    db.execute("CREATE INDEX runs_by_name ON runs (name)")


# Times are ISO 8601 in UTC: they sort as text, and julianday() reads them (sqlite.org/lang_datefunc.html).
@migrations()
def create_samples(db: Database) -> None:
    """One row per sample: the persona as columns to filter by, texts by reference, and the cause of a failure."""
    db.execute("""
        CREATE TABLE samples (
            id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, key TEXT NOT NULL,
            seed INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'pending', origin TEXT,
            identity TEXT, region TEXT, condition TEXT, intent TEXT, vagueness TEXT, completeness TEXT, style TEXT,
            query_id INTEGER REFERENCES texts (id),
            reasoning_id INTEGER REFERENCES texts (id), answer_id INTEGER REFERENCES texts (id),
            refined_reasoning TEXT, refined_answer_id INTEGER REFERENCES texts (id),
            score REAL, rounds INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
            cause_kind TEXT, cause TEXT, failed_node TEXT, checkpoint_id TEXT,
            started_at TEXT, finished_at TEXT, seconds REAL,
            UNIQUE (run_id, key)
        ) STRICT""")
    db.execute("CREATE INDEX samples_by_status ON samples (run_id, status)")
    db.execute("CREATE INDEX samples_by_key ON samples (key)")
    db.execute("CREATE INDEX samples_by_origin ON samples (origin) WHERE origin IS NOT NULL")


@migrations()
def create_critiques_and_grades(db: Database) -> None:
    """The verdicts of critics and judges on a sample; `met` is NULL if the judge failed."""
    db.execute("""
        CREATE TABLE critiques (
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, round INTEGER NOT NULL,
            critic TEXT NOT NULL, position INTEGER NOT NULL, verdict TEXT NOT NULL,
            rationale_id INTEGER NOT NULL REFERENCES texts (id),
            PRIMARY KEY (sample_id, round, critic)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX critiques_by_verdict ON critiques (critic, verdict)")
    db.execute("""
        CREATE TABLE grades (
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, item INTEGER NOT NULL,
            points REAL NOT NULL, met INTEGER, explanation_id INTEGER NOT NULL REFERENCES texts (id),
            PRIMARY KEY (sample_id, item)
        ) STRICT, WITHOUT ROWID""")


@migrations()
def create_calls(db: Database) -> None:
    """The ledger. `reply` is a rope, `messages` a list of [role, id, id, …], ropes with a role.

    `parameters_id` is the request without messages and seed, so that many calls share one text. A row with `superseded`
    above 0 was paid for but is unusable: that try of the sample repeated the request.
    """
    db.execute("""
        CREATE TABLE calls (
            id INTEGER PRIMARY KEY, sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE,
            role TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, request_hash BLOB NOT NULL,
            model TEXT NOT NULL, messages TEXT NOT NULL,
            parameters_id INTEGER NOT NULL REFERENCES texts (id), seed INTEGER,
            reply TEXT NOT NULL, reasoning_id INTEGER REFERENCES texts (id),
            outcome TEXT NOT NULL, finish_reason TEXT NOT NULL, served TEXT NOT NULL,
            tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, tokens_cached INTEGER NOT NULL,
            seconds REAL NOT NULL, reused_from INTEGER REFERENCES calls (id),
            superseded INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL
        ) STRICT""")
    db.execute("""
        CREATE UNIQUE INDEX calls_by_place ON calls (sample_id, role, round, attempt, request_hash, superseded)""")
    # A covering index: usage totals are read from it alone (sqlite.org/optoverview.html#covidx).
    db.execute("""
        CREATE INDEX calls_by_cost ON calls (sample_id, role, outcome, attempt, reused_from, tokens_in, tokens_out,
            tokens_cached, seconds)""")
    db.execute("CREATE INDEX calls_by_request ON calls (request_hash) WHERE reused_from IS NULL AND superseded = 0")


@migrations()
def create_artifacts(db: Database) -> None:
    """Rows, adapters, models, evaluations and reports, and the samples and artifacts that each was made from."""
    db.execute("""
        CREATE TABLE artifacts (
            id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, stage TEXT, path TEXT NOT NULL,
            digest TEXT NOT NULL, run_id TEXT REFERENCES runs (id) ON DELETE SET NULL, meta TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""")
    db.execute("CREATE INDEX artifacts_by_name ON artifacts (name, stage, kind)")
    db.execute("""
        CREATE TABLE artifact_samples (
            artifact_id INTEGER NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
            sample_id INTEGER NOT NULL REFERENCES samples (id), PRIMARY KEY (artifact_id, sample_id)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX artifact_samples_by_sample ON artifact_samples (sample_id)")
    db.execute("""
        CREATE TABLE artifact_parents (
            artifact_id INTEGER NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
            parent_id INTEGER NOT NULL REFERENCES artifacts (id), PRIMARY KEY (artifact_id, parent_id)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX artifact_parents_by_parent ON artifact_parents (parent_id)")


@migrations()
def create_checkpoints(db: Database) -> None:
    """LangGraph's state after every superstep (checkpoints.py): values once per thread, references to them, writes."""
    db.execute(
        "CREATE TABLE threads (id INTEGER PRIMARY KEY, name TEXT NOT NULL, ns TEXT NOT NULL, UNIQUE (name, ns)) STRICT"
    )
    thread = "thread INTEGER NOT NULL REFERENCES threads (id) ON DELETE CASCADE"
    db.execute(f"""
        CREATE TABLE checkpoints (
            {thread}, id TEXT NOT NULL, parent TEXT, run TEXT, metadata TEXT NOT NULL, state BLOB NOT NULL,
            PRIMARY KEY (thread, id)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX checkpoints_by_run ON checkpoints (run) WHERE run IS NOT NULL")
    # Keeps its rowid: without one, rows above a twentieth of a page waste space, and these are often a few thousand
    # bytes (sqlite.org/withoutrowid.html).
    db.execute(f"CREATE TABLE checkpoint_values ({thread}, digest BLOB NOT NULL, data BLOB NOT NULL) STRICT")
    db.execute("CREATE UNIQUE INDEX checkpoint_values_by_digest ON checkpoint_values (thread, digest)")
    db.execute(f"""
        CREATE TABLE writes (
            {thread}, checkpoint TEXT NOT NULL, task TEXT NOT NULL, idx INTEGER NOT NULL, path TEXT NOT NULL,
            channel TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (thread, checkpoint, task, idx)
        ) STRICT, WITHOUT ROWID""")


@migrations()
def create_views(db: Database) -> None:
    """Views with texts as plain columns, for tools such as Datasette."""
    db.create_view(
        "traces",
        """
        SELECT s.id, s.run_id || '/' || s.key AS sample, s.run_id AS run, s.key, s.status, s.identity, s.region,
            s.condition, s.intent, s.vagueness, s.completeness, s.style,
            query.body AS query, reasoning.body AS reasoning, answer.body AS answer,
            (SELECT group_concat(critic || ': ' || verdict, ', ') FROM (
                SELECT critic, verdict FROM critiques WHERE sample_id = s.id ORDER BY round, position)) AS verdicts,
            (SELECT group_concat(body, '') FROM (
                SELECT body FROM json_each(s.refined_reasoning) piece JOIN texts ON texts.id = piece.value
                ORDER BY piece.key)) AS refined_reasoning,
            refined_answer.body AS refined_answer,
            s.score, s.rounds, s.cause_kind, s.cause, s.failed_node, s.origin, s.checkpoint_id,
            s.started_at, s.finished_at, s.seconds
        FROM samples s
        LEFT JOIN texts query ON query.id = s.query_id
        LEFT JOIN texts reasoning ON reasoning.id = s.reasoning_id
        LEFT JOIN texts answer ON answer.id = s.answer_id
        LEFT JOIN texts refined_answer ON refined_answer.id = s.refined_answer_id
        """,
    )
    db.create_view(
        "calls_plain",
        """
        SELECT c.id, s.run_id AS run, s.run_id || '/' || s.key AS sample, c.role, c.round, c.attempt, c.model,
            (SELECT group_concat(line, char(10, 10)) FROM (
                SELECT (message.value ->> 0) || ': ' || (SELECT group_concat(body, '') FROM (
                    SELECT texts.body FROM json_each(message.value) piece JOIN texts ON texts.id = piece.value
                    WHERE piece.key > 0 ORDER BY piece.key)) AS line
                FROM json_each(c.messages) message ORDER BY message.key)) AS messages,
            parameters.body AS parameters, c.seed,
            (SELECT group_concat(body, '') FROM (
                SELECT body FROM json_each(c.reply) piece JOIN texts ON texts.id = piece.value
                ORDER BY piece.key)) AS reply,
            reasoning.body AS reasoning, c.outcome,
            c.finish_reason, c.served, c.tokens_in, c.tokens_out, c.tokens_cached, c.seconds, c.reused_from,
            c.superseded, c.created_at
        FROM calls c
        JOIN samples s ON s.id = c.sample_id
        JOIN texts parameters ON parameters.id = c.parameters_id
        LEFT JOIN texts reasoning ON reasoning.id = c.reasoning_id
        """,
    )


@migrations()
def create_workers(db: Database) -> None:
    """The processes working on each run (store/records/workers.py), and which of them has each running sample."""
    db.execute("""
        CREATE TABLE workers (
            id TEXT PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, pid INTEGER NOT NULL,
            started_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""")
    db.execute("ALTER TABLE samples ADD COLUMN worker TEXT")
    # When the sample's checkpoints were dropped; its results and calls are kept.
    db.execute("ALTER TABLE samples ADD COLUMN pruned_at TEXT")


@migrations()
def create_accounts(db: Database) -> None:
    """Usage totals by run, role and outcome. A trigger updates them, so that no page has to sum a million calls."""
    db.execute("""
        CREATE TABLE accounts (
            run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, role TEXT NOT NULL, outcome TEXT NOT NULL,
            calls INTEGER NOT NULL, reused INTEGER NOT NULL, repairs INTEGER NOT NULL, tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL, tokens_cached INTEGER NOT NULL, seconds REAL NOT NULL,
            UNIQUE (run_id, role, outcome)
        ) STRICT""")
    db.execute("""
        INSERT INTO accounts
        SELECT run_id, role, outcome, sum(made), sum(1 - made), sum(made * (attempt > 1)), sum(made * tokens_in),
            sum(made * tokens_out), sum(made * tokens_cached), sum(made * seconds)
        FROM (SELECT calls.*, run_id, reused_from IS NULL AS made FROM calls JOIN samples ON samples.id = sample_id)
        GROUP BY run_id, role, outcome ORDER BY min(id)""")
    db.execute("DROP INDEX calls_by_cost")
    # WHERE true: after INSERT … SELECT … FROM, the parser would read ON CONFLICT as the ON of a join
    # (sqlite.org/lang_upsert.html, Parsing Ambiguity).
    db.execute("""
        CREATE TRIGGER calls_are_accounted_for AFTER INSERT ON calls BEGIN
            INSERT INTO accounts
            SELECT run_id, new.role, new.outcome, made, 1 - made, made * (new.attempt > 1), made * new.tokens_in,
                made * new.tokens_out, made * new.tokens_cached, made * new.seconds
            FROM (SELECT run_id, new.reused_from IS NULL AS made FROM samples WHERE id = new.sample_id) WHERE true
            ON CONFLICT (run_id, role, outcome) DO UPDATE SET calls = calls + excluded.calls,
                reused = reused + excluded.reused, repairs = repairs + excluded.repairs,
                tokens_in = tokens_in + excluded.tokens_in, tokens_out = tokens_out + excluded.tokens_out,
                tokens_cached = tokens_cached + excluded.tokens_cached, seconds = seconds + excluded.seconds;
        END""")


@migrations()
def create_search(db: Database) -> None:
    """For lists of samples: the tokens of each, and a full-text index that store/records/search.py fills.

    The index refers to `texts` and stores no copies (sqlite.org/fts5.html#external_content_tables). `unsearched` has
    the samples whose texts may not be indexed yet.
    """
    db.execute("ALTER TABLE samples ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0")
    db.execute("""
        UPDATE samples SET tokens = (
            SELECT coalesce(sum(tokens_in + tokens_out), 0) FROM calls WHERE sample_id = samples.id)""")
    db.execute("""
        CREATE TRIGGER tokens_are_added_up AFTER INSERT ON calls BEGIN
            UPDATE samples SET tokens = tokens + new.tokens_in + new.tokens_out WHERE id = new.sample_id;
        END""")
    # remove_diacritics 2 also folds letters with more than one mark; 1, the default, does not, for compatibility only
    # (sqlite.org/fts5.html#unicode61_tokenizer).
    db.execute("""
        CREATE VIRTUAL TABLE texts_search
        USING fts5 (body, content = 'texts', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2')""")
    db.execute("CREATE TABLE unsearched (id INTEGER PRIMARY KEY REFERENCES samples (id) ON DELETE CASCADE) STRICT")
    db.execute("INSERT INTO unsearched SELECT id FROM samples WHERE query_id IS NOT NULL")
    # Only the sample's number is noted. Triggers that update the index itself, as in FTS5's manual, would index each
    # text in a transaction that a run waits for.
    columns = ("query_id", "answer_id", "refined_answer_id")
    given = " OR ".join(f"new.{name} IS NOT NULL" for name in columns)
    changed = " OR ".join(f"new.{name} IS NOT old.{name}" for name in columns)
    for name, event, when in (
        ("added_texts_are_noted", "INSERT", given),
        ("changed_texts_are_noted", f"UPDATE OF {', '.join(columns)}", changed),
    ):
        db.execute(f"""
            CREATE TRIGGER {name} AFTER {event} ON samples WHEN {when} BEGIN
                INSERT OR IGNORE INTO unsearched VALUES (new.id);
            END""")  # noqa: S608


@migrations()
def create_forks(db: Database) -> None:
    """For a run of forks: its parent run, the node and the changes; for each fork: the checkpoint it started from."""
    db.execute("ALTER TABLE runs ADD COLUMN parent TEXT REFERENCES runs (id) ON DELETE SET NULL")
    db.execute("ALTER TABLE runs ADD COLUMN node TEXT")
    db.execute("ALTER TABLE runs ADD COLUMN changes TEXT NOT NULL DEFAULT '[]'")
    db.execute("CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL")
    db.execute("ALTER TABLE samples ADD COLUMN forked_from TEXT")


@migrations()
def create_order_of_ends(db: Database) -> None:
    """An index for following a run: which samples have ended since a given time."""
    db.execute("CREATE INDEX samples_by_end ON samples (run_id, finished_at) WHERE finished_at IS NOT NULL")


@migrations()
def let_checkpoints_quote(db: Database) -> None:
    """The texts that a checkpoint value quotes, as a rope, so that they are not stored twice."""
    db.execute("ALTER TABLE checkpoint_values ADD COLUMN texts TEXT")


@migrations()
def name_prompt_files(db: Database) -> None:
    """Which file each prompt of a run was read from, and whether it ships with muser, as JSON."""
    db.execute("ALTER TABLE runs ADD COLUMN prompt_files TEXT NOT NULL DEFAULT '{}'")


@migrations()
def let_samples_bring_more(db: Database) -> None:
    """From a query file: the turns before the query, as [role, id, …] each, and the other fields, as JSON."""
    db.execute("ALTER TABLE samples ADD COLUMN history TEXT")
    db.execute("ALTER TABLE samples ADD COLUMN extra TEXT")


@migrations()
def number_rows(db: Database) -> None:
    """Each sample's line in a file of training rows; exported files are in the order of the samples."""
    db.execute("ALTER TABLE artifact_samples ADD COLUMN line INTEGER")
    db.execute("""
        UPDATE artifact_samples SET line = (
            SELECT count(*) FROM artifact_samples one
            WHERE one.artifact_id = artifact_samples.artifact_id AND one.sample_id <= artifact_samples.sample_id)
        WHERE artifact_id IN (SELECT id FROM artifacts WHERE kind = 'rows')""")


@migrations()
def note_where_calls_come_from(db: Database) -> None:
    """The servers that have answered a run: model → address → the model name the server reports, or empty."""
    db.execute("ALTER TABLE runs ADD COLUMN servers TEXT NOT NULL DEFAULT '{}'")
    db.execute("CREATE INDEX calls_by_reuse ON calls (sample_id, reused_from) WHERE reused_from IS NOT NULL")


@migrations()
def mark_simulated(db: Database) -> None:
    """Marks the calls that a simulated endpoint answered, and with them their samples and runs."""
    db.execute("ALTER TABLE calls ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE samples ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0")
    db.execute("""
        CREATE TRIGGER calls_mark_their_sample AFTER INSERT ON calls WHEN new.simulated BEGIN
            UPDATE samples SET simulated = 1 WHERE id = new.sample_id AND NOT simulated;
        END""")
    db.execute("ALTER TABLE runs ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0")
    # Forks and promoted samples are marked as they are inserted: they start with their original's texts.
    for name, event in (("marked_samples", "UPDATE OF simulated"), ("copied_samples", "INSERT")):
        db.execute(f"""
            CREATE TRIGGER {name}_mark_their_run AFTER {event} ON samples WHEN new.simulated BEGIN
                UPDATE runs SET simulated = 1 WHERE id = new.run_id AND NOT simulated;
            END""")  # noqa: S608


@migrations()
def rename_accounts_to_usage(db: Database) -> None:
    """The table of usage totals, and its trigger, by the name that the reports use."""
    # RENAME would rewrite the trigger's body, in a way that depends on SQLite's version.
    db.execute("DROP TRIGGER calls_are_accounted_for")
    db.execute("ALTER TABLE accounts RENAME TO usage")
    db.execute("""
        CREATE TRIGGER calls_add_to_usage AFTER INSERT ON calls BEGIN
            INSERT INTO usage
            SELECT run_id, new.role, new.outcome, made, 1 - made, made * (new.attempt > 1), made * new.tokens_in,
                made * new.tokens_out, made * new.tokens_cached, made * new.seconds
            FROM (SELECT run_id, new.reused_from IS NULL AS made FROM samples WHERE id = new.sample_id) WHERE true
            ON CONFLICT (run_id, role, outcome) DO UPDATE SET calls = calls + excluded.calls,
                reused = reused + excluded.reused, repairs = repairs + excluded.repairs,
                tokens_in = tokens_in + excluded.tokens_in, tokens_out = tokens_out + excluded.tokens_out,
                tokens_cached = tokens_cached + excluded.tokens_cached, seconds = seconds + excluded.seconds;
        END""")


@migrations()
def create_rubric_items(db: Database) -> None:
    """What a judge decides about a sample of an evaluation; `tags` is JSON. grades.item is the number of the item."""
    db.execute("""
        CREATE TABLE rubric_items (
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, item INTEGER NOT NULL,
            points REAL NOT NULL, tags TEXT NOT NULL, criterion_id INTEGER NOT NULL REFERENCES texts (id),
            PRIMARY KEY (sample_id, item)
        ) STRICT, WITHOUT ROWID""")


@migrations()
def create_sketches(db: Database) -> None:
    """The index of similar queries (store/records/neighbours.py): texts once per run, who drew them, and their buckets.

    A bucket's key starts with the run's number, so that deleting a run deletes one range of the buckets and needs no
    second index on them.
    """
    db.execute("""
        CREATE TABLE sketched_runs (
            id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE REFERENCES runs (id) ON DELETE CASCADE
        ) STRICT""")
    run = "run INTEGER NOT NULL REFERENCES sketched_runs (id) ON DELETE CASCADE"
    db.execute(f"CREATE TABLE sketches (id INTEGER PRIMARY KEY, {run}, hash BLOB NOT NULL, data BLOB NOT NULL) STRICT")
    db.execute("CREATE UNIQUE INDEX sketches_by_hash ON sketches (run, hash)")
    db.execute("""
        CREATE TABLE sketched_draws (
            sketch INTEGER NOT NULL REFERENCES sketches (id) ON DELETE CASCADE,
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, draw INTEGER NOT NULL,
            PRIMARY KEY (sketch, sample_id, draw)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX sketched_draws_by_sample ON sketched_draws (sample_id)")
    db.execute(f"""
        CREATE TABLE sketch_buckets ({run}, key INTEGER NOT NULL, sketch INTEGER NOT NULL, outline INTEGER NOT NULL,
            PRIMARY KEY (run, key, sketch)) STRICT, WITHOUT ROWID""")


@migrations()
def keep_personas_as_json(db: Database) -> None:
    """A persona is a JSON object, so that a user's own table or query file may have any attributes."""
    seven = ("identity", "region", "condition", "intent", "vagueness", "completeness", "style")
    db.execute("DROP VIEW traces")
    db.execute("ALTER TABLE samples ADD COLUMN persona TEXT")
    # A query file could bring an empty value, which is none now: json_patch leaves out what is null.
    pairs = ", ".join(f"'{name}', iif(trim({name}) = '', NULL, {name})" for name in seven)
    persona = f"nullif(json_patch('{{}}', json_object({pairs})), '{{}}')"
    db.execute(f"UPDATE samples SET persona = {persona} WHERE identity IS NOT NULL")  # noqa: S608
    for name in seven:
        db.execute(f"ALTER TABLE samples DROP COLUMN {name}")
    db.create_view(
        "traces",
        """
        SELECT s.id, s.run_id || '/' || s.key AS sample, s.run_id AS run, s.key, s.status, s.persona,
            query.body AS query, reasoning.body AS reasoning, answer.body AS answer,
            (SELECT group_concat(critic || ': ' || verdict, ', ') FROM (
                SELECT critic, verdict FROM critiques WHERE sample_id = s.id ORDER BY round, position)) AS verdicts,
            (SELECT group_concat(body, '') FROM (
                SELECT body FROM json_each(s.refined_reasoning) piece JOIN texts ON texts.id = piece.value
                ORDER BY piece.key)) AS refined_reasoning,
            refined_answer.body AS refined_answer,
            s.score, s.rounds, s.cause_kind, s.cause, s.failed_node, s.origin, s.checkpoint_id,
            s.started_at, s.finished_at, s.seconds
        FROM samples s
        LEFT JOIN texts query ON query.id = s.query_id
        LEFT JOIN texts reasoning ON reasoning.id = s.reasoning_id
        LEFT JOIN texts answer ON answer.id = s.answer_id
        LEFT JOIN texts refined_answer ON refined_answer.id = s.refined_answer_id
        """,
    )


@migrations()
def create_rejections(db: Database) -> None:
    """What screens rejected, one row per draw. `overtaken`: a lower sample drew the same query later."""
    db.execute("ALTER TABLE samples ADD COLUMN draw INTEGER NOT NULL DEFAULT 1")
    db.execute("ALTER TABLE samples ADD COLUMN overtaken TEXT")
    db.execute("""
        CREATE TABLE rejections (
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, draw INTEGER NOT NULL,
            stage TEXT NOT NULL, screen TEXT NOT NULL, reason TEXT NOT NULL, persona TEXT,
            text_id INTEGER NOT NULL REFERENCES texts (id), created_at TEXT NOT NULL, PRIMARY KEY (sample_id, draw)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX rejections_by_screen ON rejections (screen)")


@migrations()
def index_attributes(db: Database) -> None:
    """The index of the personas' attributes: each run's names and values once, and the samples that have them.

    Triggers keep it: to read JSON takes a filter or a chart several times as long as a column did (bench/listing.py).
    """
    db.execute("""
        CREATE TABLE attribute_values (
            id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (name, value, run_id)
        ) STRICT""")
    db.execute("""
        CREATE TABLE sample_attributes (
            value_id INTEGER NOT NULL REFERENCES attribute_values (id) ON DELETE CASCADE,
            sample_id INTEGER NOT NULL REFERENCES samples (id) ON DELETE CASCADE, PRIMARY KEY (value_id, sample_id)
        ) STRICT, WITHOUT ROWID""")
    db.execute("CREATE INDEX sample_attributes_by_sample ON sample_attributes (sample_id)")
    values = "INSERT OR IGNORE INTO attribute_values (run_id, name, value)"
    of_sample = "JOIN attribute_values v ON v.name = one.key AND v.value = one.value AND v.run_id ="
    db.execute(f"""
        {values} SELECT run_id, one.key, one.value FROM samples, json_each(persona) one
        ORDER BY samples.id, one.id""")  # noqa: S608
    db.execute(f"""
        INSERT INTO sample_attributes
        SELECT v.id, samples.id FROM samples, json_each(persona) one {of_sample} samples.run_id""")  # noqa: S608
    add = f"""
        {values} SELECT new.run_id, key, value FROM json_each(new.persona);
        INSERT INTO sample_attributes
        SELECT v.id, new.id FROM json_each(new.persona) one {of_sample} new.run_id;"""  # noqa: S608
    db.execute(f"""
        CREATE TRIGGER added_personas_are_indexed AFTER INSERT ON samples WHEN new.persona IS NOT NULL BEGIN{add}
        END""")
    db.execute(f"""
        CREATE TRIGGER changed_personas_are_indexed AFTER UPDATE OF persona ON samples
        WHEN new.persona IS NOT old.persona BEGIN
        DELETE FROM sample_attributes WHERE sample_id = new.id;{add}
        END""")  # noqa: S608
