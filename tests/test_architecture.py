"""The folders' rules: who may import whom, one owner for each library, and no file whose name says nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

import muser

ROOT = Path(__file__).parents[1]

# Folder → the folders it may import. The order is the order of the layers: nobody imports downwards.
MAY_IMPORT = {
    "core": "",
    "prompts": "core",
    "endpoints": "core",
    "agents": "core prompts endpoints",
    "store": "core",
    "screens": "core prompts agents store",
    "graph": "core prompts agents screens endpoints store",
    "trainer": "core store",
    "evals": "core prompts endpoints agents store graph",
    "viewer": "core store",
    "pipeline": "core prompts endpoints agents screens store graph trainer evals",
    "cli": "core prompts endpoints agents screens store graph trainer evals viewer pipeline",
}
EDGES = {"trainer", "evals", "viewer"}

# Inside a folder: its rooms and files from the bottom up, one layer a line. Nothing imports a layer above its own, and
# rooms of one layer do not know one another. Files that stand beside rooms and are not named are above them all.
ROOMS = {
    "core": ["types", "recipe"],
    "endpoints": ["client server simulated"],
    "store": ["file", "records", "queries maintenance"],
    "pipeline": ["models steps servers", "sampling training scoring", "preflight report"],
    "cli": ["interrupts options loading outputs printing", "commands"],
}

# Library → the folders, or single files, that may import it; the longest name that fits decides. One folder translates
# a library's errors and knows its habits. Pydantic is how values are written down, and every folder has values.
OWNERS = {
    "pydantic": " ".join(MAY_IMPORT),
    "pydantic_core": "core",
    "yaml": "core",
    "jinja2": "prompts viewer",
    "markupsafe": "viewer",
    "aiohttp": "endpoints",
    "httpx2": "endpoints",
    "langchain_core": "endpoints",
    "langchain_openai": "endpoints",
    "jsonschema": "agents",
    "langgraph.checkpoint": "store/records/checkpoints.py",
    "langgraph.checkpoint.base": "store/records/checkpoints.py graph",
    "ormsgpack": "store",
    "sqlite3": "store",
    "sqlite_utils": "store",
    "langgraph": "graph",
    "langsmith": "endpoints",
    "openinference": "graph",
    "opentelemetry": "graph",
    "typing_extensions": "graph",
    "langchain_core.runnables": "store graph endpoints",
    "datasets": "trainer",
    "huggingface_hub": "trainer",
    "peft": "trainer",
    "psutil": "trainer",
    "pyarrow": "prompts",
    "gguf": "trainer",
    "py3langid": "screens",
    "rapidfuzz": "screens",
    "safetensors": "screens trainer",
    "xllamacpp": "endpoints/server/llamacpp.py",
    "tokenizers": "screens trainer",
    "torch": "trainer",
    "transformers": "trainer",
    "trl": "trainer",
    "numpy": "evals prompts/joint.py screens trainer/gguf.py",
    "scipy": "evals",
    "markdown_it": "viewer",
    "matplotlib": "viewer",
    "nh3": "viewer",
    "starlette": "viewer",
    "uvicorn": "viewer",
    "rich": "cli",
    "typer": "cli",
}
HEAVY = {"datasets", "langchain_openai", "langgraph", "matplotlib", "numpy", "scipy", "torch", "trl"}
SAYS_NOTHING = {"base", "common", "helpers", "manager", "misc", "utils"}


class Import(NamedTuple):
    file: Path
    line: int
    module: str

    @property
    def folder(self) -> str:
        return self.file.parts[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(file: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions too, by absolute name."""
    package = ".".join(["muser", *file.parent.parts])
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            # `from .. import store` imports the folder that the name says.
            yield from (Import(file, node.lineno, f"{module}.{alias.name}") for alias in node.names)


def package_files() -> list[Path]:
    return [file.relative_to(ROOT) for folder in MAY_IMPORT for file in sorted((ROOT / folder).rglob("*.py"))]


def all_imports() -> list[Import]:
    return [found for file in package_files() for found in imports_of(file)]


def owners_of(module: str) -> str | None:
    """The folders that may import a library; None where the table does not name it."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((OWNERS[name] for name in names if name in OWNERS), None)


def test_every_folder_of_the_table_is_there() -> None:
    missing = [folder for folder in MAY_IMPORT if not (ROOT / folder / "__init__.py").is_file()]
    assert not missing


def test_the_table_has_no_cycle_and_no_edge_imports_an_edge() -> None:
    above: set[str] = set()
    for folder, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= above, f"{folder} may import a folder that stands at or after it"
        above.add(folder)
    assert [edge for edge in EDGES if EDGES & set(MAY_IMPORT[edge].split())] == []


def test_folders_import_only_what_the_table_allows() -> None:
    wrong = []
    for found in all_imports():
        top, _, rest = found.module.partition(".")
        target = rest.partition(".")[0]
        if top == "muser" and target in MAY_IMPORT and target not in {found.folder, *MAY_IMPORT[found.folder].split()}:
            wrong.append(str(found))
    assert not wrong, "\n".join(["", *wrong])


def room_of(folder: str, path: Path) -> str:
    """The room or file of a folder that a file of it stands in."""
    return path.relative_to(folder).parts[0].removesuffix(".py")


def imported_file(module: str) -> Path | None:
    """The file of muser that an import reaches: a module, or the module or package that has the imported name."""
    parts = module.split(".")[1:]
    for length in range(len(parts), max(len(parts) - 2, 0), -1):
        for file in (Path(*parts[:length]).with_suffix(".py"), Path(*parts[:length], "__init__.py")):
            if (ROOT / file).is_file():
                return file
    return None


def test_every_room_has_its_layer() -> None:
    found = {folder: {path.parent.name for path in ROOT.glob(f"{folder}/*/__init__.py")} for folder in MAY_IMPORT}
    named = {folder: {name for layer in layers for name in layer.split()} for folder, layers in ROOMS.items()}
    assert {folder: rooms - named.get(folder, set()) for folder, rooms in found.items() if rooms} == {
        folder: set() for folder in ROOMS
    }


def test_no_import_runs_up_inside_a_folder() -> None:
    wrong = []
    for found in all_imports():
        target = imported_file(found.module)
        if found.folder not in ROOMS or target is None or target.parts[0] != found.folder:
            continue
        layers = [layer.split() for layer in ROOMS[found.folder]]
        own, other = room_of(found.folder, found.file), room_of(found.folder, target)
        height = {name: number for number, layer in enumerate(layers) for name in layer}
        above = height.get(other, len(layers)) > height.get(own, len(layers))
        is_room = (ROOT / found.folder / own).is_dir() and (ROOT / found.folder / other).is_dir()
        beside = own != other and is_room and height.get(other) == height.get(own)
        if above or beside:
            wrong.append(str(found))
    assert not wrong, "\n".join(["", *wrong])


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph: dict[Path, set[Path]] = {}
    for found in all_imports():
        target = imported_file(found.module)
        if found.module.startswith("muser") and target not in (None, found.file):
            graph.setdefault(found.file, set()).add(target)
    TopologicalSorter(graph).prepare()


def test_imports_inside_the_package_are_relative() -> None:
    text = {file: (ROOT / file).read_text(encoding="utf-8") for file in package_files()}
    nodes = ((file, node) for file, source in text.items() for node in ast.walk(ast.parse(source)))
    wrong = [
        f"{file}:{node.lineno}"
        for file, node in nodes
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "muser")
        or (isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == "muser" for alias in node.names))
    ]
    assert not wrong, "\n".join(["", *wrong])


def test_every_library_has_one_owner() -> None:
    wrong = []
    for found in all_imports():
        top = found.module.partition(".")[0]
        owners = owners_of(found.module)
        if owners is None and top != "muser" and top not in sys.stdlib_module_names:
            wrong.append(f"{found}, which the table does not name")
        elif owners is not None and not {found.folder, found.file.as_posix()} & set(owners.split()):
            wrong.append(f"{found}, which belongs to {owners}")
    assert not wrong, "\n".join(["", *wrong])


def test_no_file_name_says_nothing() -> None:
    assert [str(file) for file in package_files() if file.stem in SAYS_NOTHING] == []


def test_only_the_package_itself_is_python_at_the_root() -> None:
    assert sorted(file.name for file in ROOT.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_the_package_offers_its_entry_points_and_imports_nothing_for_them_before_they_are_used() -> None:
    code = "import sys, muser; print(*(name for name in sys.modules if name.startswith('muser.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert all(callable(getattr(muser, name)) for name in muser.__all__)
    with pytest.raises(AttributeError, match="open_shop"):
        _ = muser.open_shop


@pytest.mark.parametrize("module", ["muser", "muser.cli.app"])
def test_importing_the_commands_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
