"""Prompt files: Markdown with Jinja variables, checked and compiled when loaded, and rendered into messages."""

import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..core.documents import PACKAGED, find_file
from ..core.errors import PromptError
from ..core.hashing import digest
from ..core.problems import nearest, suggestion
from ..core.recipe import Recipe
from ..core.types import Critique, Message, PromptFile
from .delimiters import escape_tags, tags_of

# The variables that each role's file may use, then those it must use: a critic that never saw the answer would still
# write a review, and nobody would notice.
VARIABLES: dict[str, tuple[str, str]] = {
    "persona": ("attributes examples language", "attributes"),
    "responder": ("query", "query"),
    "shared": ("query answer", "query answer"),
    "critics": ("critic", ""),
    "refiner": ("critiques", "critiques"),
    "judge": ("conversation points criterion", "conversation points criterion"),
    "rubric": ("conversation items", "conversation items"),
}
TAILS = frozenset({"critics", "refiner"})
# Values for a trial rendering when a template is loaded, so that it does not fail in the middle of a run.
PROBES: dict[str, Any] = {
    "points": 1.0,
    "items": [{"number": 1, "points": 1.0, "criterion": "x"}],
    "critiques": [Critique(critic="x", verdict="pass", rationale="x").model_dump()],
}

HEADING = re.compile(r"^# (System|User)[ \t]*$", re.MULTILINE | re.IGNORECASE)
OPENING_COMMENT = re.compile(r"\s*\{#.*?#\}", re.DOTALL)

# Model output enters only as values: never parsed as a template, without access to Python's internals (the sandbox;
# jinja.palletsprojects.com/en/stable/sandbox) and unable to change anything (immutable).
_JINJA = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
)
_JINJA.globals.clear()


@dataclass(frozen=True)
class Section:
    """One message of a prompt: its template, and the line of the file where the template starts."""

    role: Literal["system", "user"]
    template: jinja2.Template
    line: int


@dataclass(frozen=True)
class Prompt:
    """One compiled file. The lines `# System` and `# User` start its sections; without them all is the user's."""

    name: str
    file: Path
    digest: str
    sections: tuple[Section, ...]
    origin: PromptFile
    instructions: str
    """The words of the template without its variables: what no reply should repeat."""
    tags: frozenset[str]
    """The tags that mark the prompt's parts; they are escaped in values."""

    def render(self, **values: Any) -> tuple[Message, ...]:
        """The messages, the user's last. Raises PromptError if a template fails on the values."""
        return tuple(Message(role=section.role, content=self._fill(section, values)) for section in self.sections)

    def _fill(self, section: Section, values: dict[str, Any]) -> str:
        try:
            return section.template.render(escape_tags(values, self.tags))
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == str(self.file) and frame.lineno]
            line = section.line + (lines[-1] - 1 if lines else 0)
            raise PromptError(f"{self.file}:{line}: cannot be rendered: {error}") from error


@dataclass(frozen=True)
class PromptSet:
    """Every prompt of a recipe; `critics` holds the prompts of critics with a file, each a tail after `shared`."""

    persona: Prompt
    responder: Prompt
    shared: Prompt
    refiner: Prompt
    judge: Prompt
    critics: dict[str, Prompt]

    def digests(self) -> dict[str, str]:
        """`persona` → digest of its file, …, `critics.safety` → digest."""
        single = (self.persona, self.responder, self.shared, self.refiner, self.judge)
        return {prompt.name: prompt.digest for prompt in (*single, *self.critics.values())}

    def read_by(self, roles: Iterable[str]) -> list[Prompt]:
        """The prompts that these roles read, each once: critics and the refiner read `shared` too."""
        found: dict[str, Prompt] = {}
        for role in roles:
            kind, _, critic = role.partition(".")
            if kind in ("critics", "refiner"):
                found["shared"] = self.shared
            if prompt := self.critics.get(critic) if critic else getattr(self, kind):
                found[role] = prompt
        return list(found.values())

    def files(self, roles: Iterable[str]) -> dict[str, PromptFile]:
        """The file of each prompt that these roles read."""
        return {prompt.name: prompt.origin for prompt in self.read_by(roles)}

    def instructions_of(self, prompt: Prompt) -> str:
        """All instructions that a critic or the refiner reads: the shared ones and those of its own prompt."""
        return f"{self.shared.instructions}\n\n{prompt.instructions}"

    def critic_messages(self, name: str, *, query: str, answer: str) -> tuple[Message, ...]:
        """The messages for the critic of this name."""
        tail = self.critics[name].render(critic=name)
        return with_tail(self.shared.render(query=query, answer=answer), tail[0].content)

    def refiner_messages(self, *, query: str, answer: str, critiques: Sequence[Critique]) -> tuple[Message, ...]:
        """The messages for the refiner."""
        # Plain data, so that a template reaches no method of a model class.
        tail = self.refiner.render(critiques=[critique.model_dump() for critique in critiques])
        return with_tail(self.shared.render(query=query, answer=answer), tail[0].content)


def with_tail(shared: tuple[Message, ...], tail: str) -> tuple[Message, ...]:
    """The shared messages with `tail` appended to the last: a server's prefix cache holds the shared part once."""
    *before, last = shared
    return (*before, Message(role=last.role, content=f"{last.content}\n\n{tail}"))


def load_prompts(recipe: Recipe) -> PromptSet:
    """Every prompt of the recipe. Raises one PromptError with the problems of all prompts."""
    files = {role: getattr(recipe.prompts, role) for role in ("persona", "responder", "shared", "refiner", "judge")}
    tails = {f"critics.{name}": critic.prompt for name, critic in recipe.critics.items() if critic.prompt}
    prompts: dict[str, Prompt] = {}
    problems: list[str] = []
    for role, file in (files | tails).items():
        try:
            prompts[role] = load_prompt(file, recipe.folder, role)
        except PromptError as error:
            problems.append(error.what)
    if problems:
        raise PromptError("\n".join(problems))
    # Shared prompt and tail form one text, so both need the same set of tags; and because the shared part must be
    # byte-identical for all roles, every role gets the tags of all tails.
    joined = ["shared", "refiner", *tails]
    tags = frozenset[str]().union(*(prompts[role].tags for role in joined))
    prompts |= {role: replace(prompts[role], tags=tags) for role in joined}
    critics = {role.removeprefix("critics."): prompts.pop(role) for role in tails}
    return PromptSet(**prompts, critics=critics)


def load_prompt(file: str, folder: Path, role: str) -> Prompt:
    """A role's prompt: the file in `folder`, else the one that ships with muser. `role` can be `critics.NAME`.

    Raises PromptError with file and line of every problem.
    """
    path = find_file(file, folder)
    if path is None:
        near = suggestion(file, sorted(own.name for own in PACKAGED.glob("*.md")))
        raise PromptError(f"there is no prompt {file}: neither {folder / file} nor {PACKAGED / file} is a file{near}")
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: cannot be read ({error})") from error
    kind = role.partition(".")[0]
    parts = list(_split(source, path, is_tail=kind in TAILS))
    allowed, required = (names.split() for names in VARIABLES[kind])
    _check_variables(parts, path, allowed, required)
    tags = tags_of("\n".join(text for _, _, text in parts))
    sections = [Section(speaker, _compile(text, path, line), line) for speaker, line, text in parts]
    prompt = Prompt(
        name=role,
        file=path,
        digest=digest(source),
        sections=tuple(sections),
        origin=_origin(file, path),
        instructions="\n\n".join(_fixed_text(text) for _, _, text in parts),
        tags=tags,
    )
    if kind != "persona":  # Which attributes a persona has is known with the table: Materials.load renders it.
        tried = prompt.render(**{variable: PROBES.get(variable, "x") for variable in allowed})
        if not all(message.content.strip() for message in tried):
            raise PromptError(f"{path}: a section is empty")
    return prompt


def _origin(given: str, path: Path) -> PromptFile:
    whole = path.resolve()
    if whole.parent == PACKAGED.resolve():
        return PromptFile(file=whole.name, ships=True)
    return PromptFile(file=str(whole), ships=False, shadows=Path(given).name == given and (PACKAGED / given).is_file())


Part = tuple[Literal["system", "user"], int, str]
"""(role, line of the file where the text starts, text)."""


def _split(source: str, path: Path, *, is_tail: bool) -> Iterator[Part]:
    """The sections of a file; a comment at the top belongs to no section."""
    comment = OPENING_COMMENT.match(source)
    start = comment.end() if comment else 0
    marks = list(HEADING.finditer(source, start))
    roles = [mark[1].lower() for mark in marks]

    def part(role: Literal["system", "user"], begin: int, end: int) -> Part:
        text = source[begin:end]
        return role, _line(source, begin + len(text) - len(text.lstrip())), text.strip()

    if is_tail and marks:
        line = _line(source, marks[0].start())
        raise PromptError(
            f"{path}:{line}: this file continues the shared prompt and must not have sections (# System, # User)"
        )
    if not marks:
        yield part("user", start, len(source))
        return
    if roles not in (["system", "user"], ["user"]):
        line = _line(source, marks[-1].start())
        raise PromptError(f"{path}:{line}: a prompt must have # System (optional), then # User, each at most once")
    if source[start : marks[0].start()].strip():
        raise PromptError(
            f"{path}:{_line(source, start)}: text before the first section; move it below # System or # User"
        )
    ends = [*(mark.start() for mark in marks[1:]), len(source)]
    for mark, end in zip(marks, ends, strict=True):
        yield part("system" if mark[1].lower() == "system" else "user", mark.end(), end)


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def _check_variables(parts: list[Part], path: Path, allowed: list[str], required: list[str]) -> None:
    """Raises PromptError with every unknown variable and its line, and every required variable that is not used."""
    problems, used = [], set()
    for _, first, text in parts:
        with _syntax(path, first):
            tree = _JINJA.parse(text)
            free = meta.find_undeclared_variables(tree)
        used |= free
        for name in sorted(free.difference(allowed)):
            line = first - 1 + next(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
            near = nearest(name, allowed)
            known = f"did you mean {near}? known" if near else "known"
            problems.append(f"{path}:{line}: unknown variable {name}; {known}: {', '.join(allowed)}")
        if any(True for _ in meta.find_referenced_templates(tree)):
            problems.append(f"{path}: a prompt cannot include another file")
    problems += [f"{path}: must use {{{{ {name} }}}}" for name in required if name not in used]
    if problems:
        raise PromptError("\n".join(problems))


def _fixed_text(text: str) -> str:
    return "".join(node.data for node in _JINJA.parse(text).find_all(nodes.TemplateData))


def _compile(text: str, path: Path, first: int) -> jinja2.Template:
    with _syntax(path, first):
        code = _JINJA.compile(text, filename=str(path))
    return jinja2.Template.from_code(_JINJA, code, {})


@contextmanager
def _syntax(path: Path, first: int) -> Iterator[None]:
    """Translates Jinja's syntax errors in a text that starts at line `first`; compiling finds more than parsing."""
    try:
        yield
    except jinja2.TemplateSyntaxError as error:
        raise PromptError(f"{path}:{first - 1 + error.lineno}: {error.message}") from error
