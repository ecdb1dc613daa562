"""The objects of a database's schema, and the digest that shows at once whether they are unaltered."""

from sqlite3 import Connection

from ...core.hashing import digest

SCHEMA = "c6f79051aae44e79730c1bbea4c7b5dd50fa0cc6c24f56c1eeb9c7475c476b6a"
"""The digest of the schema that the migrations make."""


def objects(db: Connection) -> dict[tuple[str, str], str]:
    """The SQL of each object, without quotes and spaces, which vary with sqlite-utils' version."""
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY 1, 2")
    return {(kind, name): _bare(sql) for kind, name, sql in rows}


def _bare(sql: str) -> str:
    # A regular expression takes three times as long, and every open waits for this.
    for quote in "\"'`[]":
        sql = sql.replace(quote, "")
    return "".join(sql.split())


def schema_digest(db: Connection) -> str:
    """Of our objects and those that other programs added; what SQLite adds itself, such as statistics, is left out."""
    return digest([[*key, sql] for key, sql in objects(db).items() if not key[1].startswith("sqlite_")])
