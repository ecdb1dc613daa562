"""What looks like a key is found at any depth of a recipe, refused, and hidden in what servers say."""

import re
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import SettingsError
from muser.core.loading import load_recipe, recipe_yaml
from muser.core.recipe import Recipe
from muser.core.secrets import hide_secrets, secret_places

# In two parts, so that no scanner takes them for keys.
KEYS = {
    "openai": "sk-" + "proj-0123456789abcdef",
    "hugging_face": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "google": "AIza" + "SyA-0123456789abcdefghijklmnopqrstu",
    "langsmith": "lsv2_" + "pt_0123456789abcdef0123",
}


def data(**model: Any) -> dict[str, Any]:
    return {"name": "x", "models": {"main": {"base_url": "http://x/v1", "model": "m"} | model}}


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_a_key_of_a_well_known_service_is_found_wherever_it_stands_and_hidden(key: str) -> None:
    deep = data(extra_body={"a": [{"b": {"note": f"use {key}, please"}}]})
    assert list(secret_places(deep)) == [("models", "main", "extra_body", "a", 0, "b", "note")]
    assert hide_secrets(f"Bearer {key} is wrong, {key}!") == "Bearer *** is wrong, ***!"


@pytest.mark.parametrize(
    ("part", "value", "place"),
    [
        ("extra_body", {"auth": {"password": "x"}}, "extra_body.auth.password"),
        ("extra_body", {"credentials": {"one": ["x"]}}, "extra_body.credentials.one.0"),
        ("serve", {"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "serve.env.AWS_SECRET_ACCESS_KEY"),
        ("serve", {"env": {"GITHUB_TOKEN": "x"}}, "serve.env.GITHUB_TOKEN"),
        ("serve", {"options": {"json": {"hub": {"token": "x"}}}}, "serve.options.json.hub.token"),
        ("base_url", "http://x/v1?key=" + KEYS["google"], "base_url"),
    ],
)
def test_a_setting_whose_name_says_secret_holds_none_at_any_depth(part: str, value: Any, place: str) -> None:
    found = [".".join(map(str, keys)) for keys in secret_places(data(**{part: value}))]
    assert found == [f"models.main.{place}"]


@pytest.mark.parametrize(
    "body",
    [
        {"max_tokens": 5, "eos_token": "</s>", "stop_token_ids": [1]},
        {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 5},
        {"note": "the task-force of hf_models AKIAN sk-1"},
        {"password": ""},
    ],
)
def test_ordinary_settings_are_no_secrets(body: dict[str, Any]) -> None:
    assert list(secret_places(data(extra_body=body))) == []


def test_a_nested_secret_is_refused_with_its_line_and_not_repeated(tmp_path: Path) -> None:
    key = KEYS["hugging_face"]
    body = f"extra_body: {{a: [{{b: {key}}}]}}"
    (tmp_path / "r.yaml").write_text(f"name: x\nmodels:\n  m:\n    base_url: http://x\n    model: m\n    {body}\n")
    with pytest.raises(SettingsError, match=re.escape("r.yaml:6: models.m.extra_body.a[0].b: a recipe")) as refused:
        load_recipe(tmp_path / "r.yaml")
    assert key not in str(refused.value)


def test_a_recipe_made_in_python_is_not_written_with_a_secret_in_it() -> None:
    key = KEYS["aws"]
    with pytest.raises(SettingsError, match=r"models\.main\.extra_body\.a") as refused:
        recipe_yaml(Recipe(**data(extra_body={"a": key})))
    assert key not in str(refused.value)
