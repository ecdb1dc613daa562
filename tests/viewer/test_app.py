"""The viewer's server over a store of real runs: what pages show, who may see them, and replays from the playground."""

import asyncio
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from muser.cli.commands.viewer_server import comparer, replay_tools
from muser.core.recipe import Recipe
from muser.core.types import SampleInput
from muser.graph.run import run_recipe
from muser.store.file.database import Store
from muser.store.queries.reasons import explain
from muser.store.records.ledger import calls_of
from muser.store.records.runs import find_run
from muser.store.records.samples import add_samples
from muser.viewer.app import build_app
from muser.viewer.playground import Playground
from muser.viewer.text import visible

HOST, TOKEN = "127.0.0.1:8321", "a-token-for-tests"
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> {{ 7*7 }} {% raw %} \x1b[31mred \u202eevil\u2066"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("viewer")
    return Recipe(
        name="study",
        models={"main": {"base_url": "http://127.0.0.1:9/v1", "model": "simulated"}},
        critics={name: {"prompt": f"{name}.md"} for name in ("decision", "safety")},
        samples=3,
        folder=folder,
    )


@pytest.fixture
def store(tmp_path: Path, recipe: Recipe, simulated: str) -> Iterator[Store]:
    main = recipe.models["main"].model_copy(update={"base_url": simulated})
    with Store.open(tmp_path / "muser.db") as opened:
        asyncio.run(run_recipe(recipe.model_copy(update={"models": {"main": main}}), opened))
        yield opened


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    playground = Playground(replay_tools(store, []), most_calls=3)
    app = build_app(store, token=TOKEN, hosts={HOST}, playground=playground)
    with TestClient(app, base_url=f"http://{HOST}") as client:
        assert client.get(f"/?token={TOKEN}").status_code == 200
        yield client


def test_every_page_says_that_a_script_answered(client: TestClient) -> None:
    for path in ("/", "/runs/study", "/runs/study/samples", "/runs/study/samples/s000001"):
        assert re.search(r" · (<strong>)?simulated", client.get(path).text), path


def test_every_page_says_what_the_store_has(client: TestClient) -> None:
    assert "study" in client.get("/").text
    run = unescape(client.get("/runs/study").text)
    assert all(word in run for word in ("Funnel", "Verdicts", "critics.safety", "Timeline", "condition"))
    listed = client.get("/runs/study/samples").text
    assert re.findall(r'href="(/runs/study/samples/\w+)"', listed) == [
        f"/runs/study/samples/s00000{n}" for n in (1, 2, 3)
    ]
    trace = unescape(client.get("/runs/study/samples/s000002").text)
    assert all(word in trace for word in ("Persona", "Refinement", "<ins>", "critics.decision", "Checkpoints", "curl"))
    assert "$API_KEY" in trace
    assert 'rel="prev" href="/runs/study/samples/s000001"' in trace


def test_a_rejected_sample_is_counted_and_shows_what_was_rejected(
    client: TestClient, store: Store, recipe: Recipe, simulated: str
) -> None:
    (recipe.folder / "named.jsonl").write_text('{"id": "a", "query": "My name is Ann Miller, my head hurts."}\n')
    main = recipe.models["main"].model_copy(update={"base_url": simulated})
    own = {"name": "own", "samples": 0, "queries": "named.jsonl", "models": {"main": main}}
    asyncio.run(run_recipe(recipe.model_copy(update=own), store))
    page = unescape(client.get("/runs/own/samples/a").text)
    assert all(word in page for word in ("rejected", "draw 1 · personal_data", "holds a name", "My name is Ann Miller"))
    assert "rejected by screens" in client.get("/runs/own").text


def test_lists_are_filtered_and_what_cannot_be_read_is_said(client: TestClient) -> None:
    assert "3 samples" in client.get("/samples").text
    assert "1 samples" in client.get("/runs/study/samples", params={"where": "key=s000002"}).text
    wrong = client.get("/runs/study/samples", params={"where": "statu=done"})
    assert wrong.status_code == 200
    assert "status" in wrong.text
    assert "0 samples" in wrong.text


def test_a_run_is_charted_and_filtered_by_a_users_own_attributes(client: TestClient, store: Store) -> None:
    who = {"ward": 'the "west" ward', "status": "night shift", "first language": "हिन्दी"}
    add_samples(store, "study", [SampleInput(key=f"q{n}", query="Why?", persona=who) for n in (1, 2)], 1)
    page = client.get("/runs/study").text
    charts = re.findall(r"<summary>([^:<]+): (\d+) values</summary>(.*?)</details>", page, re.DOTALL)
    assert [name for name, *_ in charts][-3:] == list(who)
    for (_, values, chart), said in zip(charts[-3:], who.values(), strict=True):
        [(address, value, count)] = re.findall(r'href="([^"]+)">(.*?)</a></td><td class="number">(\d+)<', chart)
        assert (values, unescape(value), count) == ("1", said, "2")
        found = client.get(unescape(address)).text
        assert "2 samples" in found
        assert re.findall(r'href="(/runs/study/samples/\w+)\?', found) == [f"/runs/study/samples/q{n}" for n in (1, 2)]
    trace = unescape(client.get("/runs/study/samples/q1").text)
    assert re.findall(r"<dt>([^<]+)</dt><dd>(.*?)</dd>", trace)[:3] == list(who.items())


def test_a_trace_that_was_found_by_a_filter_goes_on_in_what_was_found(client: TestClient) -> None:
    asked = {"where": "key=s000001 or key=s000003", "sort": "-key"}
    listed = unescape(client.get("/runs/study/samples", params=asked).text)
    first, last = re.findall(r'href="(/runs/study/samples/s\w+\?[^"]+)"', listed)
    assert first.startswith("/runs/study/samples/s000003?")
    trace = unescape(client.get(first).text)
    assert 'rel="prev"' not in trace
    assert f'rel="next" href="{last}"' in trace
    assert f'rel="prev" href="{first}"' in unescape(client.get(last).text)
    back = re.findall(r'href="([^"]+)">samples<', trace)[0]
    assert "2 samples" in client.get(back).text
    everywhere = re.findall(r'href="(/runs/study/samples/s000002\?[^"]+)"', unescape(client.get("/samples").text))[0]
    assert re.findall(r'href="([^"]+)">samples<', unescape(client.get(everywhere).text))[0] == "/samples?page=1"


@pytest.mark.parametrize(
    "place", ["at=7", "at=1&where=statu=done", "at=1&of=nobody", "at=x", "at=-1", "at=" + "9" * 5000]
)
def test_a_place_where_the_sample_is_not_is_passed_over(client: TestClient, place: str) -> None:
    trace = client.get(f"/runs/study/samples/s000003?{place}")
    assert trace.status_code == 200
    assert 'rel="prev" href="/runs/study/samples/s000002"' in trace.text


@pytest.mark.parametrize(
    "path", ["/runs/none", "/runs/study/samples/none", "/nowhere", "/replays/1", "/static/../app.py"]
)
def test_what_is_not_there_is_404_on_a_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "404" in answer.text


@pytest.mark.parametrize(
    "path", ["/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2f%2e%2e%2fpyproject.toml"]
)
def test_no_file_outside_of_static_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_hostile_text_is_shown_and_never_obeyed(client: TestClient, store: Store, recipe: Recipe) -> None:
    given = [SampleInput(key="q1", query=HOSTILE)]
    main = find_run(store, "study")
    assert main is not None
    url = re.search(r"base_url: (\S+)", main.recipe)
    assert url
    models = {"main": recipe.models["main"].model_copy(update={"base_url": url[1]})}
    hostile = recipe.model_copy(update={"name": "hostile", "models": models, "samples": 0})
    asyncio.run(run_recipe(hostile, store, inputs=given, source="hostile"))
    for path in ("/runs/hostile/samples", "/runs/hostile/samples/q1", "/samples?search=alert"):
        page = client.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "{{ 7*7 }}" in page
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "‹U+202E›" in page


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/nowhere", "/static/keys.js", "/version"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|style=", client.get("/runs/study/samples/s000001").text)


def test_nobody_gets_in_without_the_token(store: Store) -> None:
    with TestClient(build_app(store, token=TOKEN, hosts={HOST}), base_url=f"http://{HOST}") as stranger:
        for path in ("/", "/runs/study", "/static/keys.js", "/version", "/?token=", f"/?token={TOKEN}x"):
            assert stranger.get(path).status_code == 403
        let_in = stranger.get(f"//elsewhere.example/path?token={TOKEN}&a=b", follow_redirects=False)
        assert let_in.status_code == 303
        assert re.match(r"/[^/\\]", let_in.headers["location"])
        assert "httponly" in let_in.headers["set-cookie"].lower()
        assert "samesite=lax" in let_in.headers["set-cookie"].lower()
        assert TOKEN not in stranger.get("/").text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:9", "127.0.0.1:8321.evil.example"])
def test_another_name_for_this_server_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 421


def test_changes_come_from_the_servers_own_forms_only(client: TestClient, store: Store) -> None:
    page = client.get("/runs/study/samples/s000001").text
    token = re.search(r'name="form_token" value="(\w+)"', page)
    assert token
    form = {"role": "critics.safety", "prompt": "", "model": "main", "form_token": token[1]}
    path, own = "/runs/study/samples/s000001/replay", {"origin": f"http://{HOST}"}
    assert client.post(path, data=form).status_code == 403, "no Origin"
    for origin in ("http://evil.example", "null", f"https://{HOST}"):
        assert client.post(path, data=form, headers={"origin": origin}).status_code == 403
    assert client.post(path, data=form | {"form_token": "0" * 64}, headers=own).status_code == 403
    assert client.get(path).status_code in {404, 405}
    assert client.post(path, content=b"x=" + b"a" * (1 << 21), headers=own).status_code == 413
    assert [row["id"] for row in store.read("SELECT id FROM runs")] == ["study"]


def replayed(client: TestClient, sample: str, **form: str) -> str:
    """The page of a replay, once it has ended."""
    page = client.get(f"/runs/study/samples/{sample}").text
    token = re.search(r'name="form_token" value="(\w+)"', page)
    assert token
    answer = client.post(
        f"/runs/study/samples/{sample}/replay",
        data={"form_token": token[1], **form},
        headers={"origin": f"http://{HOST}"},
    )
    for _ in range(600):
        if "running …" not in answer.text:
            break
        answer = client.get(answer.url)
    return unescape(answer.text)


def test_a_runs_page_names_the_file_of_every_prompt_that_its_roles_read(client: TestClient) -> None:
    page = client.get("/runs/study").text
    prompts = page[page.index("<summary>prompts") :].partition("</details>")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td.*?>(.*?)</td><td><code>(\w{12})</code>', prompts)
    assert [name for name, *_ in rows] == [
        "persona",
        "responder",
        "shared",
        "critics.decision",
        "critics.safety",
        "refiner",
    ]
    assert {(file, whose) for name, file, whose, _ in rows if name == "shared"} == {("shared.md", "ships with muser")}


def test_invisible_characters_are_shown_on_a_page() -> None:
    assert visible("a\u200b\u2060\ufeff\u00ad\U000e0041") == "a‹U+200B›‹U+2060›‹U+FEFF›‹U+00AD›‹U+E0041›"
    assert visible("👩\u200d⚕\ufe0f می\u200cخواهم") == "👩\u200d⚕\ufe0f می\u200cخواهم"


def test_an_edited_prompt_is_replayed_and_shown_beside_the_original(client: TestClient, store: Store) -> None:
    page = client.get("/runs/study/samples/s000001").text
    prompts = dict(re.findall(r'name="role" value="([\w.]+)">.*?<textarea[^>]*>(.*?)</textarea>', page, re.DOTALL))
    assert list(prompts) == ["critics.decision", "critics.safety", "refiner"]
    edited = unescape(prompts["critics.safety"]) + "\nName one number to call."
    shown = replayed(client, "s000001", role="critics.safety", prompt=edited)
    assert 'href="/runs/study-fork/samples/s000001"' in shown
    assert "texts.prompts.critics.safety" in shown
    run = find_run(store, "study-fork")
    assert run is not None
    kept = re.search(r"prompt: (\S+safety-\w+\.md)", run.recipe)
    assert kept
    assert Path(kept[1]).read_text(encoding="utf-8") == edited
    assert "study-fork/s000001" in client.get("/runs/study/samples/s000001").text


def test_what_an_edit_may_not_do_is_refused(client: TestClient) -> None:
    assert "nothing was changed" in replayed(client, "s000001", role="critics.safety")
    assert "cannot be replayed" in replayed(client, "s000001", role="persona", prompt="x")
    assert "cannot be replayed" in replayed(client, "s000001", role="critics.safety", model="gpt-9")
    assert re.search(r"variable\W+secrets", replayed(client, "s000001", role="critics.safety", prompt="{{ secrets }}"))


def test_calls_of_the_playground_are_capped(client: TestClient) -> None:
    shown = [replayed(client, f"s00000{n}", role="critics.safety", prompt=f"Be {n} times as brief.") for n in (1, 2, 3)]
    assert "2 calls made; 2 of 3 allowed calls used" in shown[0]
    assert "stopped at the limit on calls: 1" in shown[1]
    assert "replays from these pages have used all their calls (3)" in shown[2]


def test_a_trace_can_be_read_though_its_prompts_are_gone(client: TestClient, store: Store) -> None:
    sql = "UPDATE runs SET recipe = replace(recipe, 'safety.md', 'gone.md')"
    assert store.write_now(lambda db: db.execute(sql).rowcount) == 1
    page = unescape(client.get("/runs/study/samples/s000001").text)
    assert "Refinement" in page
    assert "no prompt gone.md" in page
    assert 'id="playground"' not in page


def test_a_read_only_viewer_has_no_playground(store: Store) -> None:
    with TestClient(build_app(store, token=TOKEN, hosts={HOST}), base_url=f"http://{HOST}") as client:
        client.get(f"/?token={TOKEN}")
        assert 'id="playground"' not in client.get("/runs/study/samples/s000001").text
        answer = client.post("/runs/study/samples/s000001/replay", headers={"origin": f"http://{HOST}"})
        assert answer.status_code == 400
        assert "--read-only" in answer.text


def test_the_version_changes_with_the_store(client: TestClient, store: Store) -> None:
    before = client.get("/version").text
    assert client.get("/version").text == before
    store.write_now(lambda db: db.execute("UPDATE runs SET finished_at = NULL").rowcount)
    assert client.get("/version").text != before
    assert f'data-version="{client.get("/version").text}"' in client.get("/").text


def test_two_runs_and_two_samples_stand_side_by_side(store: Store) -> None:
    app = build_app(store, token=TOKEN, hosts={HOST}, compare=comparer(store))
    with TestClient(app, base_url=f"http://{HOST}") as client:
        client.get(f"/?token={TOKEN}")
        assert "Choose two runs" in client.get("/compare").text
        both = unescape(client.get("/compare?a=study&b=study").text)
        assert "3 samples match, 3 are done in both" in both
        assert "study/s000002 against study/s000001" in client.get("/pair?a=study/s000001&b=study/s000002").text
        for wrong in ("/compare?a=study&b=none", "/pair?a=study/s000001", "/pair?a=../muser.db&b=study/s000001"):
            assert client.get(wrong).status_code in (400, 404), wrong


def test_answers_side_by_side_are_rendered_below_the_diff_of_what_was_written(
    store: Store, recipe: Recipe, simulate: Callable[..., str]
) -> None:
    models = {"main": recipe.models["main"].model_copy(update={"base_url": simulate(long=True)})}
    asyncio.run(run_recipe(recipe.model_copy(update={"name": "long", "models": models, "seed": 7}), store))
    app = build_app(store, token=TOKEN, hosts={HOST})
    with TestClient(app, base_url=f"http://{HOST}") as client:
        client.get(f"/?token={TOKEN}")
        for before, ways in (("s000002", 2), ("s000001", 1)):
            page = client.get(f"/pair?a=long/{before}&b=long/s000001").text
            assert "### What to do first" in page
            assert page.count("<h5>What to do first</h5>") == ways


@pytest.mark.parametrize("fault", ["truncated", "loop"])
def test_a_trace_says_why_and_marks_where_a_reply_broke(
    client: TestClient, store: Store, recipe: Recipe, simulate: Callable[..., str], fault: str
) -> None:
    done = unescape(client.get("/runs/study/samples/s000001").text)
    assert explain(store, "study/s000001").answer in done
    assert "broke here" not in done
    models = {"main": recipe.models["main"].model_copy(update={"base_url": simulate(faults={fault: 1.0})})}
    asyncio.run(
        run_recipe(recipe.model_copy(update={"name": "broken", "models": models, "samples": 1, "seed": 7}), store)
    )
    failed = client.get("/runs/broken/samples/s000001").text
    call = calls_of(store, "broken/s000001")[0]
    assert call.outcome == fault
    assert "<mark>broke here</mark>" in failed
    assert '<a href="#call-1">call 1</a>' in failed
