"""Writes the reference pages and the recipe's schema from the code: `make reference`."""

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import getsource
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from muser.cli.app import app
from muser.cli.outputs import OUTPUTS
from muser.core.documents import read_document
from muser.core.recipe import Recipe, Settings
from muser.core.schema import SCHEMA_FILE, schema_text
from muser.evals.examples import Example
from muser.evals.stored import AnswerLine, GradeLine
from muser.graph.inputs import QueryLine
from muser.trainer.rows import Row

ROOT = Path(__file__).parents[1]
MEANINGS: dict[str, str] = read_document(Path(__file__).with_name("meanings.yaml")).data
TURN = {"role": "user", "content": "My head hurts since this morning. What can it be?"}
ANSWER = "<think>\nMost headaches are harmless.\n</think>\n\nDid it start suddenly? If so, call for help at once."
ATTRIBUTE_TABLE = """\
attributes:
  identity:
    label: role
    values:
      parent: {weight: 3, text: a parent who asks about their child, traits: {age: [0, 12], training: lay}}
      nurse: {text: a registered nurse who asks about somebody in their care, traits: {training: professional}}
  condition:
    values:
      headache:
      dementia: {text: memory loss, traits: {age: [60, 100]}, notes: {course: "slow, over years"}}
  style:
    values:
      polite: writes politely
      notes:
        text: writes in clinical shorthand
        traits: {training: [student, professional]}
        when: {identity: {nurse: 3}}
        examples: ["58 m, headache 2/7, no red flags. Imaging?"]
never:
  - {condition: dementia, style: polite}
stratify: [identity]
"""
FILES = (
    (
        "Training rows",
        (
            "`muser export` writes these, and `muser train --rows FILE` reads them. TRL calls the format conversational"
            " prompt-completion."
        ),
        Row,
        {
            "prompt": [TURN],
            "completion": [{"role": "assistant", "content": ANSWER}],
            "stage": "refine",
            "run": "study-refine",
            "sample": "study-refine/headache-1",
            "prompts": {"critics.safety": "9dee2f027ae3"},
            "persona": {"identity": "parent", "ward": "7"},
        },
    ),
    (
        "Brought queries",
        (
            "A recipe's `queries: FILE` reads these. Give `query` or `messages`, not both. Unknown fields are stored"
            " with the sample and exported under `extra`. Ids such as `s000001` and `t000001` are reserved for"
            " simulated users. Two lines may not have the same id or, without ids, ask the same."
        ),
        QueryLine,
        {
            "id": "headache-1",
            "messages": [TURN],
            "response": {"reasoning": "", "answer": "Rest."},
            "persona": {"identity": "parent", "ward": "7"},
            "source": "clinic",
        },
    ),
    (
        "Benchmark examples",
        "HealthBench's format, which `evaluation: {file: FILE}` reads. Unknown fields are ignored.",
        Example,
        {
            "prompt_id": "headache-1",
            "prompt": [TURN],
            "rubrics": [{"criterion": "Asks how it began.", "points": 5, "tags": ["axis:context_awareness"]}],
            "example_tags": ["theme:context_seeking"],
        },
    ),
    (
        "Grades",
        (
            "`muser eval score --data FILE --grades FILE` adds these up. An item without a line is not judged, and an"
            " example without any line is not scored."
        ),
        GradeLine,
        {"prompt_id": "headache-1", "rubric_index": 0, "criteria_met": True},
    ),
    (
        "Answers",
        "Answers to a benchmark's examples, one each.",
        AnswerLine,
        {"prompt_id": "headache-1", "response": "Rest."},
    ),
)
HEAD = "<!-- `make reference` wrote this page from the code; do not edit it. -->\n\n"
NONE = "–"


def pages() -> dict[Path, str]:
    """Every file that this script writes."""
    folder = ROOT / "docs" / "reference"
    return {
        ROOT / "recipes" / SCHEMA_FILE: schema_text(),
        folder / "recipe.md": HEAD + recipe_page(),
        folder / "commands.md": HEAD + commands_page(),
        folder / "json.md": HEAD + json_page(),
        folder / "attributes.md": HEAD + attributes_page(),
        folder / "rows.md": HEAD + rows_page(),
    }


def recipe_page() -> str:
    """Each key of a recipe, one table a section."""
    return "\n".join(
        [
            "# Recipe keys\n",
            "A recipe is one YAML file. Unknown keys are errors. NAME stands for a name of your choice. `muser schema`",
            "prints the same as a JSON Schema; `muser init` writes it beside the recipe, and editors complete keys",
            "and mark mistakes by it.\n",
            *_section("", Recipe),
        ]
    )


def _section(prefix: str, kind: type[Settings]) -> Iterator[str]:
    title = prefix.rstrip(".") or "The top level"
    yield f"## {f'`{title}`' if prefix else title}\n"
    yield f"{_plain(kind.__doc__ or '')}\n"
    yield "| key | type | default | meaning | example |\n|---|---|---|---|---|"
    inner: list[tuple[str, type[Settings]]] = []
    for name, field in kind.model_fields.items():
        if field.exclude:
            continue
        default = "the file's name" if f"{prefix}{name}" == "name" else _default(field)
        cells = (f"`{prefix}{name}`", _kind(field), default, field.description or "", _example(name, field))
        yield _row(*cells)
        inner += [(f"{prefix}{name}{more}.", part) for more, part in _parts(field.annotation)]
    yield ""
    # A role and a stage have the same keys wherever they stand.
    seen: set[type[Settings]] = set()
    for place, part in inner:
        if part not in seen:
            seen.add(part)
            yield from _section(place, part)


def _parts(annotation: Any) -> Iterator[tuple[str, type[Settings]]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield "", annotation
    elif get_origin(annotation) is dict:
        yield from ((f".NAME{more}", part) for more, part in _parts(get_args(annotation)[1]))
    elif get_origin(annotation) in (UnionType, Union):
        for argument in get_args(annotation):
            yield from _parts(argument)


def _kind(field: FieldInfo) -> str:
    limits = [text for limit in field.metadata for text in _limits(limit)]
    return ", ".join([type_name(field.annotation), *limits])


def _limits(limit: Any) -> Iterator[str]:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if (bound := getattr(limit, name, None)) is not None:
            yield f"{sign} {bound}"


def type_name(kind: Any) -> str:
    """A type in a reader's words."""
    if get_origin(kind) is Annotated:
        return type_name(get_args(kind)[0])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{value}`" if value else "empty" for value in arguments)
    if origin in (UnionType, Union):
        return " or ".join(dict.fromkeys("none" if one is type(None) else type_name(one) for one in arguments))
    if origin in (list, tuple):
        return f"list of {type_name(arguments[0])}" if arguments else "list"
    if origin in (dict, Mapping):
        return f"mapping of {type_name(arguments[0])} to {type_name(arguments[1])}"
    names = {str: "text", Path: "text", int: "integer", float: "number", bool: "true or false", Any: "any"}
    return names.get(kind) or getattr(kind, "__name__", str(kind)).replace("Settings", "")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return NONE
    return "see below" if isinstance(field.default, BaseModel) else f"`{_yaml(field.default)}`"


def _example(name: str, field: FieldInfo) -> str:
    return f"`{name}: {_yaml(field.examples[0])}`" if field.examples else NONE


def _yaml(value: Any) -> str:
    # JSON is YAML; a text that needs no quotes goes without.
    if isinstance(value, str) and re.fullmatch(r"[\w./@-]+", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def commands_page() -> str:
    """Each command with its arguments and options."""
    lines = ["# Commands\n"]
    codes = re.findall(r"^  (\d+) +(.*)$", app.info.epilog or "", re.MULTILINE)
    for words, command in _commands(["muser"], get_command(app)):
        context = command.make_context("muser", [], resilient_parsing=True)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f"## {' '.join(words)}\n", f"```text\n{' '.join(words)} {usage}\n```\n", f"{_help(command)}\n"]
        rows = [row for parameter in command.params if (row := _parameter(parameter, context))]
        if rows:
            lines += ["| argument or option | default | meaning |\n|---|---|---|", *rows, ""]
    lines += ["## Exit codes\n", "| code | meaning |\n|---|---|", *(_row(*found) for found in codes)]
    return "\n".join(lines) + "\n"


def _commands(words: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
    for name, one in (inner or {}).items():
        yield from _commands([*words, name], one)


def _help(command: Any) -> str:
    paragraphs = re.split(r"\n\s*\n", command.help or "")
    return "\n\n".join(_plain(paragraph) for paragraph in paragraphs)


def _parameter(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        name, default = f"`{parameter.metavar}`", parameter.default
        return _row(name, NONE if default in (None, "") else f"`{default}`", parameter.help or "")
    names, _ = parameter.get_help_record(context)
    given = parameter.default
    default = "required" if parameter.required else f"`{given}`" if given not in (None, "", False, True) else NONE
    return _row(f"`{names}`", default, parameter.help or "")


def json_page() -> str:
    """What each command prints with --json: one table of commands, then one table a type."""
    types: dict[str, Any] = {}
    commands = [_row(f"`muser {name}`", _linked(kind, types)) for name, kind in OUTPUTS.items()]
    sections: list[str] = []
    for kind in (left := list(types.values())):
        sections += [f"## {kind.__name__}\n", *_fields(kind, types)]
        left += [one for one in types.values() if one not in left]
    return "\n".join(
        [
            "# JSON output\n",
            "With `--json` a command prints one JSON value on stdout; progress and messages go to stderr. The [exit",
            "code](commands.md#exit-codes) is the same as without it. If an error keeps a command from its result,",
            "stdout is empty and stderr has the message. `muser run --follow --json` prints JSON Lines: a SampleLine",
            "for each sample as it ends, and a Summary last. Control codes and invisible characters are escaped.\n",
            "| command | prints |\n|---|---|",
            *commands,
            "",
            *sections,
        ]
    )


TRAITS = (
    "what this value says of the person: a range, a word, or a list of words. Values that leave nothing in common are"
    " never drawn together"
)


def attributes_page() -> str:
    """The attribute table: its attributes, what an entry may be, and an example that a test loads."""
    return "\n".join(
        [
            "# Attribute tables\n",
            "Simulated users are drawn from a YAML table, `attributes.yaml` by default. To use your own, copy",
            "`prompts/attributes.yaml`, edit it, and name it in the recipe: `attributes: FILE`. A table may have any",
            "attributes; their order is the order of the draws and of the prompt. Each maps `values` to entries. A",
            "value is the short name that the persona stores and that `muser list --where` filters by.\n",
            "| entry of a value | meaning |\n|---|---|",
            _row("nothing, or a text", "the words that the prompt gets; nothing: the value itself. The weight is 1"),
            _row("`text`, `weight`", "the words, and how often the value comes; a weight is at least 0"),
            _row("`when: {identity: {nurse: 3}}`", "multiplies the weight if an earlier attribute has that value"),
            _row("`traits: {age: [0, 12], training: lay}`", TRAITS),
            _row("`notes: {course: …}`", "more texts; the prompt shows `course`, and `name` is a language's name"),
            _row("`examples: […]`", "queries as such a person writes them; the prompt shows one, chosen by the seed"),
            "",
            "Beside `values` an attribute may have a `label`, which the prompt shows in place of its name. `never`",
            "lists combinations that no persona has. Every prefix of a run is balanced over the attributes that",
            "`stratify` names. A persona's `language` also tells critics and the refiner what its writer writes.\n",
            "`muser attributes check FILE` refuses a table that has a value which is never drawn, or that leaves a",
            "persona without a value, and says why; a run refuses it too. It prints how often the values come.",
            "`muser attributes preview` draws personas, and `muser attributes plot A B` shows two together.\n",
            "An example:\n",
            f"```yaml\n{ATTRIBUTE_TABLE}```",
            "",
        ]
    )


def rows_page() -> str:
    """The three JSONL formats, by the types that read and write them, each with an example that a test reads."""
    types: dict[str, Any] = {}
    parts: list[str] = []
    for title, text, kind, example in FILES:
        parts += [f"## {title}\n", f"{text}\n", *_fields(kind, types), f"```json\n{json.dumps(example)}\n```\n"]
    for kind in (left := list(types.values())):
        parts += [f"## {kind.__name__}\n", *_fields(kind, types)]
        left += [one for one in types.values() if one not in left]
    intro = "Every file is JSON Lines: one JSON object per line, in UTF-8. Blank lines are skipped.\n"
    return "\n".join(["# Row formats\n", intro, *parts])


def _fields(kind: Any, types: dict[str, Any]) -> Iterator[str]:
    yield f"{_plain(kind.__doc__ or '')}\n"
    meanings = _meanings(kind)
    hints = get_type_hints(kind)
    if issubclass(kind, BaseModel):
        names = [name for name, field in kind.model_fields.items() if not field.exclude]
    else:
        names = [field.name for field in fields(kind)]
    yield "| field | type | meaning |\n|---|---|---|"
    for name in names:
        shared = "see above" if f"`{name}`" in (kind.__doc__ or "") else MEANINGS.get(name, "")
        meaning = meanings.get(name) or MEANINGS.get(f"{kind.__name__}.{name}") or shared
        yield _row(f"`{name}`", _linked(hints[name], types), meaning)
    yield ""


def _meanings(kind: Any) -> dict[str, str]:
    """Field → the string below it in the source of the class, or its description."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        if issubclass(one, BaseModel):
            found |= {name: field.description for name, field in one.model_fields.items() if field.description}
        if one.__module__.startswith("muser."):
            body = ast.parse(dedent(getsource(one))).body[0].body  # type: ignore[attr-defined]
            for field, text in pairwise(body):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                        found[name] = said
    return found


def _linked(annotation: Any, types: dict[str, Any]) -> str:
    """The type in a reader's words, with a link to each type that has a table; adds those to `types`."""
    inner = {one.__name__: one for one in _tabled(annotation)}
    types |= inner
    text = type_name(annotation)
    return re.sub(r"\b[A-Z]\w+", lambda word: f"[{word[0]}](#{word[0].lower()})" if word[0] in inner else word[0], text)


def _tabled(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
    for argument in get_args(annotation):
        yield from _tabled(argument)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "\\<")


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Writes what differs."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
