"""What the documentation says against what the program does: commands, recipes, links, the picture, the tree."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import pytest
from typer.main import get_command

from muser.cli.app import app
from muser.core.documents import read_document
from muser.core.loading import load_recipe, parse_recipe
from muser.evals.healthbench import load_examples
from muser.evals.stored import score_files
from muser.graph.build import build_machine
from muser.graph.inputs import read_queries
from muser.prompts.attributes import load_attributes
from muser.prompts.sampling import draw_persona
from muser.store.maintenance.space import PARTS
from muser.trainer.rows import read_rows

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
CRITICS = ["decision", "communication", "safety"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every muser command in a shell block."""
    for page in PAGES:
        for line in "\n".join([*blocks(page, "sh"), *blocks(page, "console")]).replace("\\\n", " ").splitlines():
            # What a command prints stands below it, and need not be words of a shell.
            if (typed := line.removeprefix("$ ")).startswith("muser "):
                yield page.name, shlex.split(typed, comments=True)[1:]


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_every_command_in_the_docs_exists_with_its_options(page: str, words: list[str]) -> None:
    group = get_command(app)
    while words and hasattr(group, "commands") and not words[0].startswith("-"):
        assert words[0] in group.commands, f"{page}: muser {words[0]}"
        group, words = group.commands[words[0]], words[1:]
    known = {name for parameter in group.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in words if re.match("--|-[a-z]$", word)}
    assert used <= known | {"--help", "-h"}, f"{page}: {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_the_docs_link_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_stands_in_the_sites_navigation_and_on_its_first_page() -> None:
    pages = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    assert set(re.findall(r"'([\w/-]+\.md)'", str(site["nav"]))) == pages
    assert set(re.findall(r"\]\(([\w/-]+\.md)\)", (ROOT / "docs" / "index.md").read_text())) == pages - {"index.md"}


@pytest.mark.parametrize(("page", "least"), [("SECURITY.md", 10), ("CONTRIBUTING.md", 5)])
def test_a_page_that_says_where_things_live_names_files_that_are_there(page: str, least: int) -> None:
    named = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > least
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_examples_of_the_formats_are_read_by_what_reads_the_formats(tmp_path: Path) -> None:
    (table,) = blocks(ROOT / "docs" / "reference" / "attributes.md", "yaml")
    (tmp_path / "own.yaml").write_text(table)
    assert draw_persona(load_attributes("own.yaml", tmp_path), 1)["style"] in ("polite", "notes")
    rows, queries, benchmark, grades, answers = blocks(ROOT / "docs" / "reference" / "rows.md", "json")
    texts = {"rows": rows, "queries": queries, "benchmark": benchmark, "grades": grades, "answers": answers}
    for name, text in texts.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
    assert [row.stage for row in read_rows(tmp_path / "rows.jsonl")] == ["refine"]
    (query,) = read_queries(tmp_path / "queries.jsonl")
    assert (query.key, query.extra) == ("headache-1", {"source": "clinic"})
    examples = load_examples(tmp_path / "benchmark.jsonl")
    (scored,) = score_files(examples, tmp_path / "grades.jsonl", tmp_path / "answers.jsonl")
    assert (scored.prompt_id, scored.score, scored.characters) == ("headache-1", 1.0, 5)


def test_the_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for block in blocks(page, "sh"):
            used = re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)
            assert set(used) <= targets, page.name


def test_the_page_on_storage_names_every_table_under_its_part() -> None:
    rows = re.findall(r"^\| (\w+) \| (`.*?`) \|", (ROOT / "docs" / "storage.md").read_text(), re.MULTILINE)
    named = {part: set(re.findall(r"`(\w+)`", tables.partition(" |")[0])) for part, tables in rows}
    assert named == {part: {re.sub("^texts_search_.*", "texts_search", t) for t in PARTS[part]} for part in PARTS}


def test_the_readmes_picture_is_the_machine_that_is_built() -> None:
    picture = next(block for block in blocks(ROOT / "README.md", "mermaid") if "persona" in block)
    drawn = set()
    for line in picture.splitlines()[1:]:
        plain = re.sub(r'-\. ".*?" \.->', "-->", re.sub(r"\(\[.*?\]\)", "", line))
        layers = [[name.strip() for name in layer.split("&")] for layer in plain.split("-->")]
        drawn |= {(a, b) for left, right in pairwise(layers) for a in left for b in right}
    graph = build_machine(CRITICS, rounds=2).compile().get_graph()
    ends = {"__start__": "start", "__end__": "finish"}
    built = {(ends.get(edge.source, edge.source), ends.get(edge.target, edge.target)) for edge in graph.edges}
    assert drawn == built


def test_the_annotated_tree_names_every_folder() -> None:
    tree = "\n".join(blocks(ROOT / "README.md", "text"))
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"recipes", "bench", "tests"}
    assert folders - {".typing"} <= set(re.findall(r"([a-z]+)/", tree))


@pytest.mark.parametrize("page", ["json", "rows"])
def test_no_field_of_a_reference_page_lacks_a_meaning(page: str) -> None:
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    assert text.count("| field | type |") == text.count("| field | type | meaning |") > 0
    assert not re.findall(r"^\| `\w+` \|.*\| +\|$", text, re.MULTILINE)


def test_every_meaning_is_that_of_a_field() -> None:
    meanings = read_document(ROOT / "docs" / "meanings.yaml").data
    text = "".join((ROOT / "docs" / "reference" / f"{page}.md").read_text("utf-8") for page in ("json", "rows"))
    unused = [
        name
        for name, meaning in meanings.items()
        if not re.search(rf"^\| `{name.rpartition('.')[2]}` \|.*\| {re.escape(meaning)} \|$", text, re.MULTILINE)
    ]
    assert not unused


def test_the_readmes_recipe_is_a_recipe(tmp_path: Path) -> None:
    whole = next(block for block in blocks(ROOT / "README.md", "yaml") if block.startswith("name:"))
    assert list(parse_recipe(whole, tmp_path).critics) == CRITICS


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_a_recipes_first_line_is_the_command_that_runs_it(path: Path) -> None:
    assert re.match(r"# (muser|make) ", path.read_text())
    load_recipe(path)


def test_the_python_on_the_page_on_running_runs_as_it_stands(simulated: str, tmp_path: Path) -> None:
    code = "\n".join(blocks(ROOT / "docs" / "running.md", "python"))
    assert len(code.strip().splitlines()) <= 12
    recipe = (ROOT / "recipes" / "quickstart.yaml").read_text().replace("http://127.0.0.1:8399/v1", simulated)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.yaml").write_text(recipe)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 ")


def test_the_reference_pages_and_the_schema_are_what_the_code_says() -> None:
    pages = run_path(str(ROOT / "docs" / "reference.py"))["pages"]()
    stale = [str(path.relative_to(ROOT)) for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run make reference"


def test_the_readme_fits_on_its_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120
