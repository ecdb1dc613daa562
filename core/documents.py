"""YAML files as plain data, with the line of every key.

Scalars follow YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3), with decimal numbers only: `on`, `2026-01-01`
and `0123` are text, and `1e-4` is a number. PyYAML implements YAML 1.1, which reads all four differently.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import yaml

from .errors import SettingsError
from .problems import Problem

Keys = tuple[str | int, ...]
"""A value's location: the keys and list positions that lead to it."""

REPEATED = 100_000
"""Limit on what a file's aliases may repeat, against exponential expansion: 1 a node, plus a scalar's characters."""

PACKAGED = Path(__file__).parents[1] / "prompts"
MERGE = "tag:yaml.org,2002:merge"
CORE = {
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")),
    "float": (
        re.compile(r"^[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"^<<$"), ["<"]),
}
PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in (*CORE, "str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes every string that a YAML 1.1 or a YAML 1.2 reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        # People read stored recipes: repeated values are written out.
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML writes these characters unescaped and reads them back as line breaks.
        style = '"' if set(data) & set("\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


for _name, (_pattern, _first) in CORE.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)


@dataclass
class Document:
    """A YAML file: its data, the line of every key and list item, and the problems found while reading it."""

    source: str
    data: Any = None
    lines: dict[Keys, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, keys: Keys) -> int:
        """The line of a key, or of its nearest parent in the file."""
        return next((self.lines[keys[:end]] for end in range(len(keys), -1, -1) if keys[:end] in self.lines), 1)


def read_document(path: Path, thing: str = "file") -> Document:
    """Raises SettingsError if the file cannot be read or is not YAML; messages call it `thing`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such {thing}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}:{line}: not UTF-8 text") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> Document:
    """Like `read_document`, for text; messages name `source` as the file."""
    document = Document(source)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.lines[()] = node.start_mark.line + 1
            document.data = _Builder(loader, document).build(node, (), ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        character = f"U+{ord(text[error.position]):04X}"
        raise SettingsError(f"{source}:{line}: contains the control character {character}") from error
    except yaml.MarkedYAMLError as error:
        raise SettingsError(f"{source}:{_line(error)}: invalid YAML: {_plainly(error)}") from error
    except RecursionError as error:
        raise SettingsError(f"{source}: nested too deeply") from error
    return document


def find_file(name: str, folder: Path) -> Path | None:
    """A prompt or attribute file: the path relative to `folder`, else the file of this name that ships with muser."""
    own, packaged = folder / name, PACKAGED / name
    if own.is_file():
        return own
    return packaged if Path(name).name == name and packaged.is_file() else None


def dump_yaml(data: Any) -> str:
    """Plain data as YAML, in the given order of keys; `parse_document` reads it back to equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else 1


def _plainly(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or "invalid syntax"
    if "'\\t'" in said:
        return "indent with spaces, not with a tab"
    if said == "mapping values are not allowed here":
        return "a colon is not allowed here: check the indentation, or quote text that contains `: `"
    if "expected a single document" in f"{error.context}":
        return "a second document starts here (---); a file must contain only one"
    return said


class _Builder:
    """Converts YAML nodes to plain data, and records lines and problems."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader, self._document = loader, document
        self._built: set[int] = set()
        self._repeated = 0

    def build(self, node: yaml.Node, keys: Keys, inside: tuple[int, ...]) -> Any:
        """`inside` holds the ids of the enclosing nodes: an alias to one of them would recurse forever."""
        if id(node) in inside:
            return self._problem(node, keys, "this alias refers to itself")
        self._count(node)
        if node.tag not in PLAIN_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            return self._problem(node, keys, f"the tag {tag} is not allowed")
        inside = (*inside, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys, inside)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for number, item in enumerate(node.value):
                self._document.lines.setdefault((*keys, number), item.start_mark.line + 1)
                items.append(self.build(item, (*keys, number), inside))
            return items
        try:
            value = self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return self._problem(node, keys, f"{node.value[:40]} does not match its tag")
        return self._problem(node, keys, "this number is too large") if value in (inf, -inf) else value

    def _count(self, node: yaml.Node) -> None:
        """Raises SettingsError if aliases to aliases would exhaust memory."""
        if id(node) not in self._built:
            self._built.add(id(node))
            return
        self._repeated += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        if self._repeated > REPEATED:
            line = node.start_mark.line + 1
            what = f"aliases repeat more than {REPEATED:,} characters or values, including these"
            raise SettingsError(
                f"{self._document.source}:{line}: {what}", todo="write the values out, or use fewer aliases"
            )

    def _mapping(self, node: yaml.MappingNode, keys: Keys, inside: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines = self._document.lines
        for key_node, value in node.value:
            if key_node.tag == MERGE:
                continue
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:str":
                shown = f"the key {key} is not text; quote it" if isinstance(key, str) and key else "a key must be text"
                self._problem(key_node, keys, shown)
            elif key in result:
                self._problem(key_node, (*keys, key), f"duplicate key, first set in line {lines[(*keys, key)]}")
            else:
                lines[(*keys, key)] = key_node.start_mark.line + 1
                result[key] = self.build(value, (*keys, key), inside)
        for merged in self._merged(node, keys, inside):
            result = {**merged, **result}
        return result

    def _merged(self, node: yaml.MappingNode, keys: Keys, inside: tuple[int, ...]) -> Iterator[dict[str, Any]]:
        """The mappings that `<<` merges in. The first of several wins, and the mapping's own keys win over all."""
        for key_node, value in node.value:
            if key_node.tag != MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                own = dict(self._document.lines)
                merged = self.build(source, keys, inside)
                self._document.lines.update(own)
                if isinstance(merged, dict):
                    yield merged
                else:
                    self._problem(key_node, keys, "<< requires a mapping")

    def _problem(self, node: yaml.Node, keys: Keys, what: str) -> None:
        line = node.start_mark.line + 1
        self._document.problems.append(Problem(self._document.source, line, dotted(keys), what))


def dotted(keys: Keys) -> str:
    """A location as text: `models.teacher.max_tokens`, `evaluation.stages[0]`."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
