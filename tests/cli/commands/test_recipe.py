"""`init`, `check` and `graph` as one types them."""

import json
from pathlib import Path

import pytest

from muser.core.loading import load_recipe, parse_recipe
from muser.endpoints.server import launch
from muser.prompts.templates import load_prompts

from ..conftest import Muser, write_recipe

RECIPES = Path(__file__).parents[3] / "recipes"


def test_init_writes_a_recipe_that_checks_and_runs(muser: Muser, simulated: str) -> None:
    begun = muser("init", "study", "--endpoint", simulated)
    assert begun.code == 0
    assert "serves simulated" in begun.err
    assert muser("check", "study/recipe.yaml").code == 0
    ended = muser("run", "study/recipe.yaml", "--set", "queries=null", "--samples", 1, "--json")
    assert ended.code == 0
    assert ended.json()["done"] == 1


def test_init_without_an_endpoint_leaves_the_address_to_fill_in(muser: Muser, tmp_path: Path) -> None:
    assert muser("init").code == 0
    text = (tmp_path / "recipe.yaml").read_text()
    assert text.startswith("# muser run recipe.yaml\n")
    assert "base_url: http://127.0.0.1:8000/v1" in text
    assert len((tmp_path / "questions.jsonl").read_text().splitlines()) == 20


@pytest.mark.parametrize("path", sorted(RECIPES.glob("[!d]*.yaml")), ids=lambda path: path.stem)
def test_init_writes_every_recipe_that_ships_with_the_files_it_names(muser: Muser, tmp_path: Path, path: Path) -> None:
    ended = muser("init", "--recipe", path.stem)
    assert ended.code == 0
    recipe = load_recipe(tmp_path / "recipe.yaml", needs=["inputs"])
    assert recipe.name == load_recipe(path).name
    load_prompts(recipe)
    first = (tmp_path / "recipe.yaml").read_text().splitlines()[0]
    assert first.split()[-1] == "recipe.yaml"
    assert ended.err.endswith(f"next: muser check recipe.yaml, then {first.removeprefix('# ')}\n")


def test_init_lists_the_recipes_that_ship_for_a_wrong_name(muser: Muser, tmp_path: Path) -> None:
    ended = muser("init", "--recipe", "quick")
    assert (ended.code, ended.out) == (1, "")
    assert "available: init, laptop-remote-api, questions, quickstart, qwen3-14b-8xh100" in ended.err
    assert not list(tmp_path.iterdir())


def test_init_points_any_recipe_with_one_endpoint_at_another(muser: Muser, tmp_path: Path, simulated: str) -> None:
    for name in ("laptop-remote-api", "questions", "quickstart"):
        assert muser("init", name, "--recipe", name, "--endpoint", simulated).code == 0
        (model,) = load_recipe(tmp_path / name / "recipe.yaml").models.values()
        assert (model.addresses, model.model) == ([simulated], "simulated")
    ended = muser("init", "--recipe", "qwen3-14b-8xh100", "--endpoint", simulated)
    assert (ended.code, "leave out --endpoint" in ended.err) == (1, True)


def test_init_never_overwrites(muser: Muser, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text("mine")
    ended = muser("init")
    assert ended.code == 1
    assert "not overwritten: questions.jsonl" in ended.err
    assert (tmp_path / "questions.jsonl").read_text() == "mine"
    assert not (tmp_path / "recipe.yaml").exists()


def test_init_writes_although_the_endpoint_is_not_there(muser: Muser, tmp_path: Path) -> None:
    ended = muser("init", "--endpoint", "http://127.0.0.1:9/v1")
    assert ended.code == 0
    assert "set models.main.model yourself" in ended.err
    assert 'base_url: "http://127.0.0.1:9/v1"' in (tmp_path / "recipe.yaml").read_text()


def test_init_refuses_what_is_no_address(muser: Muser, tmp_path: Path) -> None:
    ended = muser("init", "--endpoint", "localhost:8000")
    assert ended.code == 1
    assert "must start with http:// or https://" in ended.err
    assert not list(tmp_path.iterdir())


def test_check_says_what_would_run_and_who_answers(muser: Muser, recipe: Path, simulated: str) -> None:
    ended = muser("check", recipe)
    assert ended.code == 0
    assert "4 samples (2 simulated, 2 from file)" in ended.out
    assert f"models.main at {simulated} responds and serves simulated" in ended.out
    for role in ("persona", "responder", "critics.decision", "critics.safety", "refiner"):
        assert any(line.split()[:3] == [role, "main", "simulated"] for line in ended.out.splitlines())


def test_check_lists_the_screens_and_refuses_one_that_is_unknown(muser: Muser, recipe: Path) -> None:
    listed = muser("check", recipe, "--set", "screens.refinement=[empty, runaway]")
    assert "screens of query: length, meta_talk, labels; of brought: personal_data; of refinement: empty" in listed.out
    ended = muser("check", recipe, "--set", "screens.query=[lenght]")
    assert ended.code == 1
    assert "there is no screen lenght; did you mean length?" in ended.err


@pytest.mark.parametrize(
    ("there", "file", "serve", "shown"),
    [
        (["vllm"], "config.json", "{}", "by vLLM (it is installed)"),
        (["llamacpp", "transformers"], "model.gguf", "{}", "by llama.cpp (the model has a GGUF file, and vLLM is not"),
        (["transformers"], "config.json", "{}", "transformers serve (vLLM is not installed; structured: prompt)"),
        ([], "config.json", "{engine: llamacpp}", "by llama.cpp (serve.engine; not installed: "),
        ([], "config.json", "{python: /opt/python}", "by vLLM (serve.python)"),
        ([], "config.json", "{}", "cannot be served here: neither vLLM nor transformers is installed; with a GPU: "),
    ],
)
def test_check_says_which_engine_would_serve_a_model_and_why(
    there: list[launch.Engine],
    file: str,
    serve: str,
    shown: str,
    muser: Muser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "serving_engines", lambda: there)
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / file).touch()
    recipe = tmp_path / "served.yaml"
    recipe.write_text(f"name: served\nsamples: 1\nmodels: {{main: {{model: student, serve: {serve}}}}}\n")
    ended = muser("check", recipe)
    assert ended.code == 0
    assert shown in ended.out


def test_check_says_how_to_fetch_a_model_that_is_not_there(
    muser: Muser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSER_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "served.yaml"
    recipe.write_text("name: served\nsamples: 1\nmodels: {main: {model: smollm2, serve: {}}}\n")
    assert "but smollm2 is not fetched yet: muser model smollm2" in muser("check", recipe).out


def test_check_prints_json(muser: Muser, recipe: Path) -> None:
    facts = muser("check", recipe, "--json").json()
    assert (facts["samples"], facts["queries"]) == (2, 2)
    assert [role["role"] for role in facts["roles"]][-1] == "refiner"
    assert facts["endpoints"][0]["error"] is None


def test_check_says_which_endpoint_cannot_be_asked(muser: Muser, tmp_path: Path) -> None:
    ended = muser("check", write_recipe(tmp_path, "http://127.0.0.1:9/v1"))
    assert ended.code == 1
    assert "models.main: cannot reach the server" in ended.out


def test_check_prints_the_resolved_recipe_as_yaml_without_asking_an_endpoint(muser: Muser, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, "http://127.0.0.1:9/v1")
    ended = muser("check", recipe, "--set", "models.main.max_tokens=99", "--resolved")
    assert ended.code == 0
    assert parse_recipe(ended.out, tmp_path).models["main"].max_tokens == 99


def test_graph_draws_the_recipes_critics(muser: Muser, recipe: Path) -> None:
    drawn = muser("graph", recipe).out
    assert drawn.index("persona") < drawn.index("respond") < drawn.index("decision") < drawn.index("refine")
    assert max(len(line) for line in drawn.splitlines()) <= 80
    source = muser("graph", recipe, "--mermaid", "--set", "critics={empathy: {prompt: safety.md}}").out
    assert "graph TD" in source
    assert "respond --> empathy" in source


@pytest.mark.parametrize(("rounds", "back"), [(1, False), (2, True)])
def test_graph_leads_back_to_the_critics_only_where_there_is_another_round(
    muser: Muser, recipe: Path, rounds: int, *, back: bool
) -> None:
    change = ("--set", f"rounds={rounds}")
    assert ("refine → decision, safety" in muser("graph", recipe, *change).out) is back
    assert ("refine -.-> safety" in muser("graph", recipe, *change, "--mermaid").out) is back


def test_check_and_graph_name_the_file_of_every_prompt_and_whose_it_is(
    muser: Muser, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared.md").write_text("{{ query }} {{ answer }}")
    (tmp_path / "mine.md").write_text("Is it kind? Reply as JSON.")
    change = ("--set", "critics.safety.prompt=mine.md")
    facts = {fact["prompt"]: fact for fact in muser("check", recipe, *change, "--json").json()["prompts"]}
    assert {name: fact["whose"] for name, fact in facts.items()} == {
        "persona": "ships with muser",
        "responder": "ships with muser",
        "shared": "yours, replaces muser's",
        "critics.decision": "ships with muser",
        "critics.safety": "yours",
        "refiner": "ships with muser",
    }, "the judge speaks in evaluations only"
    for ended in (muser("check", recipe, *change), muser("graph", recipe, *change)):
        assert (
            f"shared            {facts['shared']['digest'][:8]}  yours, replaces muser's  {tmp_path}/shared.md\n"
            in ended.out
        )
        assert f"critics.decision  {facts['critics.decision']['digest'][:8]}  ships with muser" in ended.out
        assert f"{tmp_path}/mine.md\n" in ended.out


def test_what_ships_checks_out(muser: Muser, simulated: str) -> None:
    shipped = Path(__file__).parents[3] / "recipes" / "quickstart.yaml"
    assert muser("check", shipped, "--set", f"models.main.base_url={simulated}").code == 0
    lines = (shipped.parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["query"] for line in lines}) == 20
