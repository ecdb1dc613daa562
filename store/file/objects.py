"""The objects of a database's schema, and the digest that shows at once whether they are unaltered."""

from sqlite3 import Connection

from ...core.hashing import digest

SCHEMA = "78ce4af2088cf7b9ceff0065f5706911597703f0fd23966a8756075944e8f626"
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
