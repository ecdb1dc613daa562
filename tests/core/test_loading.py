"""Recipes from files and flags: what is wrong is said at once, in plain words, with its line."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muser.core.checks import Need
from muser.core.errors import SettingsError
from muser.core.fields import known_keys
from muser.core.loading import load_recipe, parse_recipe, recipe_yaml
from muser.core.recipe import Recipe

GOOD = """\
name: good
samples: 4
models:
  teacher: {base_url: "http://127.0.0.1:8000/v1", model: big}
  student: {model: small, serve: {options: {enforce-eager: true, dtype: null}}}
roles:
  responder: teacher
  persona: teacher
  critic: student@distill
  critics: {safety: {model: teacher, reasoning: on}}
  refiner: student@distill
critics:
  decision: {prompt: decision.md}
  safety: {prompt: safety.md}
  own: {function: "package.module:critic"}
training: {model: student, distill: {learning_rate: 1e-4}}
"""

ONE_MODEL = "name: one\nmodels:\n  main:\n    base_url: http://x/v1\n    model: m\n"
KEYS = ", ".join(known_keys(()))
TWO_MODELS = "name: two\nmodels:\n  big: {base_url: http://x, model: m}\n  small: {base_url: http://y, model: m}\n"

ODD = ["on", "1e-4", "0123", "~", "", "2026-01-01", "<<", "1_0", "0o7", ".inf", "=", "a: b", " a ", "\n\n"]
TEXT = st.text("a1é中😀 :#-'\"\\\n\r\t{}[],&*!|>%@`~?=<.\x00\x07\x7f\x85\xa0\u2028\ufeff") | st.sampled_from(ODD)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def refusal(folder: Path, text: str, *overrides: str, needs: tuple[Need, ...] = ()) -> str:
    """What is said about a recipe, with the folder left out."""
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_recipe(path, overrides, needs=needs)
    return str(caught.value).replace(f"{folder}/", "")


def bad_recipes() -> Iterator[tuple[str, str]]:
    """(recipe, what is said about it) of every block in bad_recipes.txt."""
    for block in Path(__file__).with_name("bad_recipes.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = block.removesuffix("\n").split("\n")
        said = [line[2:] for line in lines if line.startswith("> ")]
        text = "".join(f"{line}\n" for line in lines if not line.startswith("> "))
        if said:
            text = re.sub("^ONE\n", ONE_MODEL, text, flags=re.MULTILINE)
            yield re.sub("^TWO\n", TWO_MODELS, text, flags=re.MULTILINE), "\n".join(said).replace("KEYS", KEYS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *bad_recipes(),
        ("", "r.yaml:1: must be a mapping, not nothing"),
        ("name: x\n\tseed: 1\n", "r.yaml:2: invalid YAML: indent with spaces, not with a tab"),
        ("name: \x07\n", "r.yaml:1: contains the control character U+0007"),
        ("a: " + "[" * 1500, "r.yaml: nested too deeply"),
    ],
)
def test_a_bad_recipe_is_refused_in_plain_words(tmp_path: Path, text: str, said: str) -> None:
    assert refusal(tmp_path, text) == said


def test_all_problems_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = "name: x\nsample: 2\nmodels:\n  a: {base_url: ftp://x, model: 3}\nroles:\n  judge: b\n"
    text += "critics: {persona: {}}\n"
    assert refusal(tmp_path, text).splitlines() == [
        "r.yaml has 6 problems",
        "  r.yaml:2: sample: unknown key; did you mean samples?",
        "  r.yaml:4: models.a.base_url: must start with http:// or https://",
        "  r.yaml:4: models.a.model: must be text, not 3",
        "  r.yaml:6: roles.judge: there is no model b; known: a",
        "  r.yaml:7: critics.persona: a critic cannot be named persona: the graph already has a node with that name",
        "  r.yaml:7: critics.persona: give a critic either prompt: FILE or function: module:name",
    ]


KEY = "sk-proj-0123456789abcdef"
NO_NAME = "not the name of an environment variable; if this is the key itself, put it into a variable"
NO_PLACE = "a recipe must not contain secrets; set this one as an environment variable before starting muser"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"api_key_env: {KEY}", f"api_key_env: {NO_NAME}"),
        ("api_key_env: hf_AbCdEfGhIjKlMnOpQrStUv123", f"api_key_env: {NO_NAME}"),
        ("api_key_env: not a variable", f"api_key_env: {NO_NAME}"),
        (f"api_key: {KEY}", "api_key: unknown key; did you mean api_key_env?"),
        (f"extra_body: {{metadata: {KEY}}}", f"extra_body.metadata: {NO_PLACE}"),
        ("extra_body: {Authorization: Bearer 123}", f"extra_body.Authorization: {NO_PLACE}"),
    ],
)
def test_what_looks_like_a_key_is_refused_and_not_repeated(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(tmp_path, f"{ONE_MODEL}    {line}\n")
    assert message == f"r.yaml:6: models.main.{said}"
    assert line.rpartition(": ")[2].strip("}") not in message


def test_secrets_of_a_server_and_credentials_in_an_address_are_refused(tmp_path: Path) -> None:
    served = "name: x\nmodels:\n  m:\n    model: m\n    serve: {env: {HF_TOKEN: hf_1}, options: {api-key: abc}}\n"
    assert refusal(tmp_path, served).splitlines()[1:] == [
        f"  r.yaml:5: models.m.serve.env.HF_TOKEN: {NO_PLACE}",
        f"  r.yaml:5: models.m.serve.options.api-key: {NO_PLACE}",
    ]
    assert refusal(tmp_path, ONE_MODEL.replace("http://x", "http://me:hidden@x")) == (
        "r.yaml:4: models.main.base_url: must not contain a user name or a password; see api_key_env"
    )


def test_an_ordinary_variable_name_is_a_good_key_variable(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(ONE_MODEL + "    api_key_env: OPENAI_API_KEY_2\n")
    assert load_recipe(tmp_path / "r.yaml").models["main"].api_key_env == "OPENAI_API_KEY_2"


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("inputs", "samples: nothing to run: set samples (how many to simulate) or queries (a JSONL file)"),
        ("critics", "critics: at least one critic is required"),
        ("training", "training: is required, with at least training: {model: NAME}"),
        ("evaluation", "evaluation: is required, with at least evaluation: {file: FILE}"),
    ],
)
def test_a_command_says_what_it_needs(tmp_path: Path, need: Need, said: str) -> None:
    assert refusal(tmp_path, ONE_MODEL, needs=(need,)) == f"r.yaml:1: {said}"


def test_a_recipe_with_queries_has_inputs(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"query": "x"}\n')
    (tmp_path / "r.yaml").write_text(ONE_MODEL + "queries: q.jsonl\n")
    assert load_recipe(tmp_path / "r.yaml", needs=["inputs"]).queries == "q.jsonl"


def test_a_missing_file_is_named_with_the_nearest_there_is(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(ONE_MODEL)
    with pytest.raises(SettingsError) as caught:
        load_recipe(tmp_path / "quickstrat.yaml")
    path = tmp_path / "quickstrat.yaml"
    assert str(caught.value) == f"{path}: there is no such recipe; did you mean {tmp_path / 'quickstart.yaml'}?"
    with pytest.raises(SettingsError, match=r"there is no such recipe$"):
        load_recipe(tmp_path / "zzz")


def test_a_folder_and_a_file_of_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "r.yaml").write_bytes(b"name: x\nqueries: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"r\.yaml:2: not UTF-8 text"):
        load_recipe(tmp_path / "r.yaml")


def test_the_name_defaults_to_the_files(tmp_path: Path) -> None:
    text = ONE_MODEL.removeprefix("name: one\n")
    (tmp_path / "study.yaml").write_text(text)
    recipe = load_recipe(str(tmp_path / "study.yaml"))
    assert (recipe.name, recipe.folder) == ("study", tmp_path)
    (tmp_path / "2nd try.yaml").write_text(text)
    with pytest.raises(SettingsError, match="name: is required: the file's name is not a valid run name"):
        load_recipe(tmp_path / "2nd try.yaml")


def test_words_that_older_yaml_bends_are_read_as_written(tmp_path: Path) -> None:
    values = "{on: on, no: no, date: 2026-01-31, clock: 12:30, zeros: 0123, small: 1e-4, under: 1_000, hex: 0x1F}"
    text = f"{ONE_MODEL}    extra_body: {values}\nroles: {{judge: {{model: main, reasoning: on}}}}\n"
    (tmp_path / "r.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "r.yaml")
    assert recipe.role("judge").reasoning == "on"
    assert recipe.models["main"].extra_body == {
        "on": "on",
        "no": "no",
        "date": "2026-01-31",
        "clock": "12:30",
        "zeros": "0123",
        "small": 1e-4,
        "under": "1_000",
        "hex": "0x1F",
    }


def test_models_can_share_settings_by_yaml_anchors(tmp_path: Path) -> None:
    text = "name: x\nmodels:\n  a: &a {base_url: http://x, model: m, max_tokens: 7}\n  b:\n    <<: *a\n    model: n\n"
    text += "    retry: 1\nroles: {responder: a}\n"
    assert refusal(tmp_path, text) == "r.yaml:7: models.b.retry: unknown key; did you mean retries?"
    (tmp_path / "r.yaml").write_text(text.replace("    retry: 1\n", ""))
    model = load_recipe(tmp_path / "r.yaml").models["b"]
    assert (model.model, model.max_tokens) == ("n", 7)
    assert refusal(tmp_path, ONE_MODEL + "    <<: 3\n") == "r.yaml:6: models.main: << requires a mapping"


class TestOverrides:
    """`--set a.b=value`."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        (tmp_path / "r.yaml").write_text(GOOD)
        return tmp_path / "r.yaml"

    def test_change_values_that_are_there_and_those_that_are_not(self, path: Path) -> None:
        recipe = load_recipe(
            path,
            [
                "samples=9",
                "models.teacher.max_tokens=99",
                "models.student.serve.options.dtype=bfloat16",
                "models.teacher.extra_body.deep.er=[1, {a: b}]",
                "models.third={base_url: http://z/v1, model: m}",
                "roles.responder.temperature=0.5",
                "roles.critics.decision=third",
                "roles.critics.safety.reasoning=off",
                "training.refine.epochs=3",
                "limits.hours=1e-3",
                "queries=",
                "name=a-b",
            ],
        )
        assert (recipe.samples, recipe.name, recipe.queries) == (9, "a-b", None)
        assert recipe.models["teacher"].max_tokens == 99
        assert recipe.models["student"].serve is not None
        assert recipe.models["student"].serve.options == {"enforce-eager": True, "dtype": "bfloat16"}
        assert recipe.models["teacher"].extra_body == {"deep": {"er": [1, {"a": "b"}]}}
        assert (recipe.role("responder").model, recipe.role("responder").temperature) == ("teacher", 0.5)
        assert recipe.role("critics.decision").model == "third"
        assert recipe.role("critics.safety").reasoning == "off"
        assert recipe.training is not None
        assert (recipe.training.refine.epochs, recipe.limits.hours) == (3, 0.001)

    def test_a_role_that_only_changes_settings_keeps_its_model(self, path: Path, tmp_path: Path) -> None:
        changed = load_recipe(path, ["roles.critic.max_tokens=9", "roles.critics.decision.temperature=0"])
        decision = changed.role("critics.decision")
        assert (decision.model, decision.max_tokens, decision.temperature) == ("student@distill", 9, 0)
        assert changed.role("critics.own").temperature is None
        (tmp_path / "one.yaml").write_text(ONE_MODEL + "roles:\n  judge: {reasoning: on}\n")
        sole = load_recipe(tmp_path / "one.yaml", ["roles.refiner.temperature=0.1"])
        assert (sole.role("refiner").model, sole.role("refiner").temperature) == ("main", 0.1)
        assert (sole.role("judge").model, sole.role("judge").reasoning) == ("main", "on")

    def test_a_critic_that_is_set_to_null_is_left_out_with_its_model(self, path: Path) -> None:
        recipe = load_recipe(path, ["critics.safety=null"])
        assert list(recipe.critics) == ["decision", "own"]
        assert recipe.roles.critics == {}

    def test_the_last_one_wins(self, path: Path) -> None:
        assert load_recipe(path, ["samples=1", "samples=2"]).samples == 2

    def test_keep_what_follows_a_second_equals_sign(self, path: Path) -> None:
        assert load_recipe(path, ["store=a=b.db"]).store == "a=b.db"

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("samples", "--set samples: must be KEY=VALUE, for example models.teacher.max_tokens=4096"),
            ("=3", "--set : must be KEY=VALUE, for example models.teacher.max_tokens=4096"),
            ("models..x=3", "--set models..x: must be KEY=VALUE, for example models.teacher.max_tokens=4096"),
            ("samples=[1", "--set samples: the value is not valid YAML; quote it"),
            ("samples={a: 1, a: 2}", "--set samples: duplicate key, first set in line 1"),
            ("samples=x", '--set samples: must be a whole number, not "x"'),
            ("smaples=3", "--set smaples: unknown key; did you mean samples?"),
            ("modles.teacher.model=x", "--set modles.teacher.model: modles: unknown key; did you mean models?"),
            ("models.techer.model=x", "--set models.techer.model: there is no model techer; did you mean teacher?"),
            ("critics.saftey.prompt=x", "--set critics.saftey.prompt: there is no critic saftey; did you mean safety?"),
            ("critics.saftey=null", "--set critics.saftey: there is no critic saftey; did you mean safety?"),
            ("models.teacher.max_token=1", "--set models.teacher.max_token: unknown key; did you mean max_tokens?"),
            ("samples.x=1", "--set samples.x: samples is 4 and has no keys"),
            ("roles.judge=techer", "--set roles.judge: there is no model techer; did you mean teacher?"),
            ("roles.refiner={}", "--set roles.refiner: roles.refiner.model: is required"),
            ("models.teacher.base_url=x", "--set models.teacher.base_url: must start with http:// or https://"),
            (f"models.teacher.api_key={KEY}", "--set models.teacher.api_key: unknown key; did you mean api_key_env?"),
            (f"models.teacher.api_key_env={KEY}", f"--set models.teacher.api_key_env: {NO_NAME}"),
            ("queries=none.jsonl", "--set queries: there is no file none.jsonl"),
        ],
    )
    def test_a_wrong_one_is_named_as_it_was_given(self, tmp_path: Path, override: str, said: str) -> None:
        assert refusal(tmp_path, GOOD, override) == said

    def test_what_one_breaks_elsewhere_is_told_where_it_stands(self, tmp_path: Path) -> None:
        broken = "only the trained model has stages, and training.model is not student"
        assert refusal(tmp_path, GOOD, "training.model=teacher").splitlines() == [
            "r.yaml has 2 problems",
            f"  r.yaml:9: roles.critic: {broken}",
            f"  r.yaml:11: roles.refiner: {broken}",
        ]

    def test_problems_of_flags_and_of_the_file_are_told_together(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, ONE_MODEL + "sample: 3\n", "seed=x", "models.mian.model=y").splitlines() == [
            "r.yaml has 3 problems",
            "  --set models.mian.model: there is no model mian; did you mean main?",
            '  --set seed: must be a whole number, not "x"',
            "  r.yaml:6: sample: unknown key; did you mean samples?",
        ]

    def test_a_flag_can_mend_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text(ONE_MODEL + "samples: many\n")
        assert load_recipe(tmp_path / "r.yaml", ["samples=3"]).samples == 3


class TestWritingBack:
    """`recipe_yaml`."""

    def test_gives_an_equal_recipe(self, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text(GOOD)
        recipe = load_recipe(tmp_path / "r.yaml", ["limits.tokens=5"])
        (tmp_path / "again.yaml").write_text(recipe_yaml(recipe))
        assert load_recipe(tmp_path / "again.yaml") == recipe
        assert parse_recipe(recipe_yaml(recipe), tmp_path) == recipe

    def test_names_every_default_and_nothing_that_is_not_given(self, tmp_path: Path) -> None:
        (tmp_path / "r.yaml").write_text(ONE_MODEL)
        text = recipe_yaml(load_recipe(tmp_path / "r.yaml"))
        assert "refine_when: always" in text
        assert "    max_tokens: 2048" in text
        assert "null" not in text
        assert "folder" not in text

    def test_a_stored_recipe_that_lost_a_file_is_refused_by_its_source(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"^run x:6: queries: there is no file"):
            parse_recipe(ONE_MODEL + "queries: q.jsonl\n", str(tmp_path), source="run x")

    @settings(deadline=None, max_examples=60)
    @given(st.dictionaries(st.text("abc_", min_size=1), JSON, max_size=4))
    def test_keeps_whatever_an_endpoint_is_sent(self, body: dict[str, object]) -> None:
        model = {"model": "m", "base_url": "http://x", "extra_body": body}
        recipe = Recipe.model_validate({"name": "x", "models": {"m": model}}, strict=True)
        again = parse_recipe(recipe_yaml(recipe), Path())
        assert again.models["m"].extra_body == body
        assert again == recipe
