"""The filter language: what it means, how its mistakes are told, and that no text of it reaches SQLite as SQL."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muser.core.errors import InputError
from muser.store.queries.filters import DEEPEST, MOST, NAMES, SIGNS, parse_filter, parse_search, phrase


def complaint(text: str, *critics: str) -> str:
    with pytest.raises(InputError) as raised:
        parse_filter(text, critics or None, ["region"])
    return str(raised.value)


def marked(text: str) -> str:
    """The part of the filter that the mark stands under."""
    _, filter_line, mark_line, _ = complaint(text).splitlines()
    start = mark_line.index("^")
    return filter_line[start : start + mark_line.count("^")]


def test_an_empty_filter_holds_for_everything() -> None:
    assert parse_filter(" ").sql == "true"


def test_every_value_is_a_parameter() -> None:
    text = """verdict.safety=revise and region="Robert'); DROP TABLE samples" and tokens > 2e3"""
    read = parse_filter(text, None, ["region"])
    assert read.parameters == ("safety", "revise", "Robert'); DROP TABLE samples", 2000.0)
    assert "Robert" not in read.sql
    assert read.sql.count("?") == 4


def test_and_binds_stronger_than_or_and_not_strongest() -> None:
    assert parse_filter("key=a or key=b and not key=c").sql == (
        "(s.key IS ? OR (s.key IS ? AND NOT coalesce(s.key IS ?, false)))"
    )
    assert parse_filter("(key=a or key=b) AND key=c").sql == "((s.key IS ? OR s.key IS ?) AND s.key IS ?)"


def test_quotes_hold_any_value() -> None:
    assert parse_filter(r'region="a \"b\" (c) and \\"', None, ["region"]).parameters == (r'a "b" (c) and \\'[:-1],)
    assert parse_filter("region='x=y'", None, ["region"]).parameters == ("x=y",)


def test_a_text_is_searched_for_a_phrase_in_its_column() -> None:
    read = parse_filter('query~"chest pain" and not response~"fev*"')
    assert read.searches
    assert read.parameters == ('"chest pain"', '"fev"*')
    assert not parse_filter("region~x and has query", None, ["region"]).searches


def test_search_words_are_phrases_of_fts_whatever_they_hold() -> None:
    search = parse_search('chest "left arm" NEAR(a')
    assert search.parameters[::3] == ('"chest"', '"left arm"', '"NEAR(a"')
    assert parse_search(' "').sql == "true"
    for endless in ("word " * 21, '"' + "a " * 3000 + '"'):
        with pytest.raises(InputError, match="at most"):
            parse_search(endless)
    assert phrase('say "ah"*') == '"say ""ah"""*'


def test_a_name_in_quotes_is_an_attribute_whatever_else_has_that_name() -> None:
    names = ["care setting", "status"]
    for text in ('"care setting"=home', '"status"=home', "persona.status=home", "'persona.care setting'=home"):
        assert "v.name = " in parse_filter(text, None, names).sql
    assert "v.name = " not in parse_filter("status=done", None, names).sql


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("verdct.safety=revise", "verdct.safety", "did you mean verdict.safety?"),
        ("status=done and tokenz>9", "tokenz", "did you mean tokens?"),
        ("status=dne", "dne", "did you mean done?"),
        ("verdict.safety=bad", "bad", "known: pass, revise"),
        ("tokens>many", "many", "compared with a number"),
        ("tokens>nan", "nan", "compared with a number"),
        ("query=x", "=", "search texts with ~"),
        ("region", "", "expected one of"),
        ("region=", "", "expected a value"),
        ("region=a b", "b", "'and', 'or' or the end"),
        ("(key=a or key=b", "(", "never closed"),
        ("(key=a key=b)", "key", "expected ')'"),
        ("key=a)", ")", "'and', 'or' or the end"),
        ('region="Kenya', '"', "this quote is never closed"),
        ("key=a and", "", "a comparison such as"),
        ("key=!", "!", "unexpected character"),
        ("not", "", "a comparison such as"),
        ("=3", "=", "unknown name"),
        ("has has", "has", "unknown name"),
        ("regoin=x", "regoin", "did you mean region?"),
        ("persona.a[0=x", "persona.a[0", "unknown name"),
    ],
)
def test_a_mistake_is_marked_and_the_nearest_name_offered(text: str, place: str, what: str) -> None:
    assert what in complaint(text)
    assert marked(text) == (place or marked(text).strip())


def test_critics_that_are_known_are_the_only_ones() -> None:
    assert parse_filter("verdict.safety=pass", ["safety"]).parameters == ("safety", "pass")
    assert "did you mean safety?" in complaint("verdict.saftey=pass", "safety", "decision")
    assert "did you mean verdict.safety?" in complaint("verdit.safety=pass", "safety", "decision")


def test_a_filter_is_bounded_in_length_depth_and_number() -> None:
    assert "longer than" in complaint("key=" + "a" * 5000)
    assert "brackets" in complaint("(" * (DEEPEST + 1) + "key=a" + ")" * (DEEPEST + 1))
    assert "brackets" in complaint("not " * (DEEPEST + 1) + "key=a")
    assert "comparisons" in complaint(" or ".join(["key=a"] * (MOST + 1)))
    assert parse_filter(" and ".join(["key=a"] * MOST)).sql.count("?") == MOST


values = st.one_of(
    st.text(max_size=8).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.sampled_from(["done", "failed", "revise", "7", "-1.5e3", "x';--", "a/b", "NULL"]),
)
names = st.sampled_from([*NAMES, "verdict.safety", "verdict.x", "region", "persona.status"])
comparisons = st.one_of(
    st.builds(lambda name, sign, value: f"{name} {sign}{value}", names, st.sampled_from([*SIGNS, "~"]), values),
    names.map("has {}".format),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        inner.map("not {}".format),
    ),
    max_leaves=8,
)
SAMPLES = """
    CREATE TABLE samples (id INTEGER PRIMARY KEY, run_id, key, status, score, seconds, rounds, tries, tokens,
        cause_kind, failed_node, persona, origin,
        started_at, finished_at, pruned_at, query_id, answer_id, refined_answer_id);
    CREATE TABLE critiques (sample_id, round, critic, verdict);
    CREATE VIRTUAL TABLE texts_search USING fts5 (body);
    INSERT INTO samples (id, key, status, tokens, query_id)
        VALUES (1, 's1', 'done', 7, 1), (2, 's2', 'failed', NULL, 2);
    INSERT INTO critiques VALUES (1, 1, 'safety', 'revise');
    CREATE TABLE attribute_values (id INTEGER PRIMARY KEY, run_id, name, value);
    CREATE TABLE sample_attributes (value_id, sample_id);
    INSERT INTO attribute_values VALUES (1, 'demo', 'region', 'a/b'), (2, 'demo', 'status', '7');
    INSERT INTO sample_attributes VALUES (1, 1), (2, 1);
    INSERT INTO texts_search (rowid, body) VALUES (1, 'fever done'), (2, 'chest pain');
"""


@pytest.fixture(scope="module")
def table() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.executescript(SAMPLES)
    db.execute("PRAGMA query_only = ON")
    return db


def holds_for(db: sqlite3.Connection, text: str) -> set[int]:
    read = parse_filter(text, None, ["region", "status"])
    return {row[0] for row in db.execute(f"SELECT id FROM samples s WHERE {read.sql}", read.parameters)}


@given(st.one_of(filters, st.text(max_size=60), st.text("=<>~()\"'!\\. ?;-%_*anokeysthordiv", max_size=40)))
def test_whatever_is_typed_is_a_condition_or_a_marked_mistake(table: sqlite3.Connection, text: str) -> None:
    try:
        found = holds_for(table, text)
    except InputError:
        assert "^" in complaint(text)
        return
    if text.strip():
        # Two-valued: a filter and its negation share the samples between them.
        assert holds_for(table, f"not ({text})") == {1, 2} - found
