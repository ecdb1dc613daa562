"""The filter language of `--where`, parsed into SQL in which every value is a bound parameter.

    filter     = all {"or" all}
    all        = one {"and" one}
    one        = "not" one | "(" filter ")" | "has" name | name sign value
    sign       = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    value      = a word, or a text in single or double quotes, in which \\ escapes the next character

`~` matches part of a value; in texts it matches whole words and phrases (a final * matches any ending). Comparisons
with a value the sample lacks are false, so `not tokens>9` and `x!=y` are true.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from ...core.errors import InputError
from ...core.problems import suggestion
from ...core.types import ATTRIBUTE_NAME
from ..file.texts import readable
from ..records.samples import STATUSES

LONGEST = 4000
"""Maximum length of a filter or a search, in characters."""

DEEPEST = 50
"""Maximum nesting of brackets and negations. SQLite rejects expressions deeper than 1,000 (SQLITE_MAX_EXPR_DEPTH)."""

MOST = 200
"""Maximum number of comparisons in a filter."""

MOST_WORDS = 20
"""Maximum number of words and phrases in a search."""


class Name(NamedTuple):
    """A name that filters can use: its SQL on a sample `s` (for a text, its id columns) and its known values.

    For an attribute, `sql` is its name.
    """

    sql: tuple[str, ...]
    kind: Literal["word", "number", "text", "attribute"] = "word"
    values: tuple[str, ...] = ()


NAMES = {
    **{name: Name((f"s.{column}",)) for name, column in (("run", "run_id"), ("key", "key"))},
    "status": Name(("s.status",), values=STATUSES),
    **{name: Name((f"s.{name}",), "number") for name in ("score", "seconds", "rounds", "tries", "tokens")},
    "cause": Name(("s.cause_kind",)),
    "node": Name(("s.failed_node",)),
    "origin": Name(("s.origin",)),
    "started": Name(("s.started_at",)),
    "finished": Name(("s.finished_at",)),
    "pruned": Name(("s.pruned_at",)),
    "query": Name(("s.query_id",), "text"),
    "response": Name(("s.answer_id",), "text"),
    "refinement": Name(("s.refined_answer_id",), "text"),
    "text": Name(("s.query_id", "s.answer_id", "s.refined_answer_id"), "text"),
}
"""All names but a persona's attributes, and `verdict.CRITIC`, a critic's verdict in its last round."""

VERDICTS = ("pass", "revise")
VERDICT = "(SELECT verdict FROM critiques WHERE sample_id = s.id AND critic = ? ORDER BY round DESC LIMIT 1)"
FOUND = "(SELECT rowid FROM texts_search WHERE texts_search MATCH ?)"
SIGNS = {"=": "IS", "!=": "IS NOT", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?")
TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>!=|<=|>=|[=<>~()])|(?P<word>[^\s()=<>~!"']+))""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Filter:
    """A condition on a sample `s` with its parameters. `searches`: it needs the index of store/records/search.py."""

    sql: str = "true"
    parameters: tuple[str | float, ...] = ()
    searches: bool = False


class _Token(NamedTuple):
    kind: Literal["quoted", "sign", "word", "end"]
    text: str
    start: int
    end: int


def parse_filter(text: str, critics: Collection[str] | None = None, attributes: Collection[str] = ()) -> Filter:
    """Parse a filter; an empty one matches every sample. InputError marks the place and suggests the nearest name.

    `attributes` are those of the personas; if `critics` is given, a filter may name only those. `persona.NAME` is the
    attribute NAME too, for one that has the name of something else. A name with spaces is put in quotes.
    """
    cleaned = readable(text)
    return _Parser(cleaned, critics, attributes).read() if cleaned.strip() else Filter()


def attribute_sql(name: str) -> str | None:
    """An attribute's value in a sample `s` as SQL; None if no attribute can have this name."""
    return f"(s.persona ->> '{name}')" if ATTRIBUTE_NAME.fullmatch(name) else None


def number_sql(text: str) -> str:
    """The number that a text is, such as an age; NULL if it is another text."""
    return f"iif({text} NOT GLOB '*[^0-9.]*', CAST({text} AS REAL), NULL)"


def _having(name: str, condition: str = "true") -> str:
    """The condition on a sample `s` that its persona has the attribute, and that its value `v.value` meets another."""
    return f"s.id IN ({HAVING} WHERE v.name = '{name}' AND {condition})"


HAVING = "SELECT sample_id FROM attribute_values v JOIN sample_attributes ON value_id = v.id"
LIKE = r"LIKE ? ESCAPE '\'"


def _contains(text: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", text) + "%"


def phrase(text: str) -> str:
    """The words as an FTS5 phrase; a final * makes it a prefix query (sqlite.org/fts5.html#fts5_prefix_queries)."""
    start, star = (text[:-1], "*") if text.endswith("*") else (text, "")
    return '"' + readable(start).replace('"', '""') + '"' + star


def parse_search(text: str) -> Filter:
    """A search as a filter: `text~` for each word and each phrase in double quotes. InputError if it is too long."""
    terms = [phrase(quoted or word) for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', text)]
    if len(terms) > MOST_WORDS or len(text) > LONGEST:
        raise InputError(f"A search has at most {MOST_WORDS} words and phrases and {LONGEST:,} characters.")
    if not terms:
        return Filter()
    columns = NAMES["text"].sql
    sql = " AND ".join([_found_in(columns)] * len(terms))
    return Filter(sql, tuple(term for term in terms for _ in columns), searches=True)


def _found_in(columns: Sequence[str]) -> str:
    return f"({' OR '.join(f'{column} IN {FOUND}' for column in columns)})"


class _Parser:
    """Reads one filter from left to right; each rule of the grammar is a method."""

    def __init__(self, text: str, critics: Collection[str] | None, attributes: Collection[str]) -> None:
        self.text, self.critics, self.attributes = text, critics, attributes
        self.parameters: list[str | float] = []
        self.searches = False
        self.comparisons = self.depth = 0
        if len(text) > LONGEST:
            self.fail(f"it is longer than {LONGEST:,} characters", _Token("end", "", LONGEST, len(text)))
        self.next = self.token(0)

    def read(self) -> Filter:
        sql = self.any_of()
        if self.next.kind != "end":
            self.fail("expected 'and', 'or' or the end of the filter here", self.next)
        return Filter(sql, tuple(self.parameters), self.searches)

    def any_of(self) -> str:
        parts = [self.all_of()]
        while self.take_word("or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"

    def all_of(self) -> str:
        parts = [self.one()]
        while self.take_word("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"

    def one(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(f"this is nested in more than {DEEPEST} brackets and negations", self.next)
        if self.take_word("not"):
            # Comparing with NULL gives NULL in SQL. It counts as false, so its negation is true.
            sql = f"NOT coalesce({self.one()}, false)"
        elif self.next.text == "(" and self.next.kind == "sign":
            opened = self.take()
            sql = self.any_of()
            closing = self.take()
            if closing.kind == "end":
                self.fail("this bracket is never closed", opened)
            if closing.kind != "sign" or closing.text != ")":
                self.fail("expected ')' here", closing)
        else:
            sql = self.comparison()
        self.depth -= 1
        return sql

    def comparison(self) -> str:
        self.comparisons += 1
        if self.comparisons > MOST:
            self.fail(f"there are more than {MOST} comparisons", self.next)
        if self.take_word("has"):
            asked, _ = self.name()
            if asked.kind == "attribute":
                return _having(asked.sql[0])
            return f"({' OR '.join(f'{sql} IS NOT NULL' for sql in asked.sql)})"
        asked, named = self.name()
        sign = self.take()
        if sign.kind != "sign" or sign.text in "()":
            self.fail(f"expected one of {' '.join(SIGNS)} ~ after {named.text}", sign)
        value = self.take()
        if value.kind not in ("word", "quoted"):
            self.fail("expected a value here; put several words in quotes", value)
        if asked.kind == "text":
            return self.search(asked, named, sign, value)
        if asked.kind == "attribute":
            return self.attribute_comparison(asked.sql[0], sign.text, value.text)
        if sign.text == "~":
            self.parameters.append(_contains(value.text))
            return f"{asked.sql[0]} {LIKE}"
        self.parameters.append(self.value(asked, named, value))
        return f"{asked.sql[0]} {SIGNS[sign.text]} ?"

    def attribute_comparison(self, name: str, sign: str, value: str) -> str:
        """Attributes are texts. An age compares as the number that it is."""
        if sign == "~":
            self.parameters.append(_contains(value))
            return _having(name, f"v.value {LIKE}")
        if sign not in ("=", "!=") and NUMBER.fullmatch(value):
            self.parameters.append(float(value))
            return _having(name, f"{number_sql('v.value')} {sign} ?")
        self.parameters.append(value)
        return f"NOT {_having(name, 'v.value = ?')}" if sign == "!=" else _having(name, f"v.value {sign} ?")

    def search(self, asked: Name, named: _Token, sign: _Token, value: _Token) -> str:
        if sign.text != "~":
            self.fail(f"search texts with ~, as in {named.text}~fever, or test for one: has {named.text}", sign)
        self.searches = True
        self.parameters += [phrase(value.text)] * len(asked.sql)
        return _found_in(asked.sql)

    def value(self, asked: Name, named: _Token, value: _Token) -> str | float:
        if asked.kind == "number":
            if not NUMBER.fullmatch(value.text):
                self.fail(f"{named.text} is compared with a number", value)
            return float(value.text)
        if asked.values and value.text not in asked.values:
            self.fail(f"{named.text} is never {value.text!r}{suggestion(value.text, asked.values)}", value)
        return value.text

    def name(self) -> tuple[Name, _Token]:
        token = self.take()
        if token.kind == "end":
            self.fail("expected a comparison such as status=failed here", token)
        if token.kind == "word" and token.text in NAMES:
            return NAMES[token.text], token
        first, _, critic = token.text.partition(".")
        if token.kind == "word" and first == "verdict" and critic:
            if self.critics is not None and critic not in self.critics:
                self.fail(f"there is no critic {critic!r}{suggestion(critic, self.critics)}", token)
            self.parameters.append(critic)
            return Name((VERDICT,), values=VERDICTS), token
        return self.attribute(token), token

    def attribute(self, token: _Token) -> Name:
        name = token.text.removeprefix("persona.")
        if not ATTRIBUTE_NAME.fullmatch(name) or name not in self.attributes:
            critics = self.critics or (token.text.partition(".")[2] or "CRITIC",)
            known = [*NAMES, *self.attributes, *(f"verdict.{critic}" for critic in critics)]
            self.fail(f"unknown name {token.text!r}{suggestion(token.text, known)}", token)
        return Name((name,), "attribute")

    def take(self) -> _Token:
        taken, self.next = self.next, self.token(self.next.end)
        return taken

    def take_word(self, word: str) -> bool:
        found = self.next.kind == "word" and self.next.text.lower() == word
        if found:
            self.take()
        return found

    def token(self, start: int) -> _Token:
        found = TOKEN.match(self.text, start)
        if found is None:
            rest = self.text[start:]
            begin = start + len(rest) - len(rest.lstrip())
            if begin == len(self.text):
                return _Token("end", "", begin, begin)
            odd = _Token("sign", self.text[begin], begin, begin + 1)
            self.fail("this quote is never closed" if odd.text in "\"'" else "unexpected character", odd)
        kind = found.lastgroup or "word"
        text = found[kind]
        if kind == "quoted":
            text = re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        return _Token(kind, text, found.start(kind), found.end())  # type: ignore[arg-type]

    def fail(self, what: str, token: _Token) -> NoReturn:
        # Print the filter on one line so that the mark is under its place.
        shown = re.sub(r"\s", " ", self.text[:LONGEST])
        mark = " " * (len("  where: ") + token.start) + "^" * max(min(token.end, LONGEST) - token.start, 1)
        raise InputError(
            f"The filter cannot be read: {what}{'' if what.endswith('?') else '.'}",
            where=f"{shown}\n{mark}",
            todo='a filter reads like: status=done and verdict.safety=revise and text~"chest pain"',
        )
