"""The viewer's server as `muser view` runs it: its address, its token and the playground's replays."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ..printing.console import say

if TYPE_CHECKING:
    from ...core.comparison import Comparison
    from ...store.file.database import Store
    from ...viewer.heat_map import Expect
    from ...viewer.playground import Edit, Editable, Outcome, Tools

PAIRS = 100
"""Pairs of samples on the page of two runs."""


def serve_pages(
    store: "Store", *, host: str, port: int, browser: bool, most_calls: int, changes: Sequence[str]
) -> None:
    """Serves the pages until Ctrl-C. `changes` override a run's recipe in each replay; 0 calls turn replays off."""
    import socket
    import webbrowser

    from ...core.errors import InputError
    from ...viewer.app import build_app, new_token, serve_app
    from ...viewer.playground import Playground
    from ...viewer.redirect import redirect_file

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            # Listening before the app is up: a browser that opens the address at once waits instead of being refused.
            listener.listen()
        except OSError as error:
            raise InputError(f"cannot listen: {error}", where=f"{host}:{port}", todo="choose another --port") from error
        port = listener.getsockname()[1]
        named = f"[{host}]" if ":" in host else host
        hosts = {f"{name}:{port}" for name in (named, *(("localhost",) if _is_loopback(host) else ()))}
        token = new_token()
        playground = Playground(replay_tools(store, changes), most_calls) if most_calls else None
        app = build_app(
            store,
            token=token,
            hosts=hosts,
            playground=playground,
            compare=comparer(store),
            expect=expecter(store),
            scorer=scorer(store),
        )
        address = f"http://{named}:{port}/?token={token}"
        say(f"{store.path} at {address}")
        if not _is_loopback(host):
            say("others on the network can reach this address, and the token is sent over it unencrypted")
        say("Ctrl-C stops it")
        with redirect_file(address) if browser else nullcontext() as page:
            if page:
                webbrowser.open(page)
            serve_app(app, listener)


def comparer(store: "Store") -> "Callable[[str, str], Comparison]":
    """The comparison of two runs, handed in because the viewer must not import `evals`."""

    def compare(first: str, second: str) -> "Comparison":
        from ...evals.comparison import compare_runs

        return compare_runs(store, first, second, shown=PAIRS)

    return compare


def expecter(store: "Store") -> "Expect":
    """The wanted counts of a heat map's cells, handed in because the viewer must not import `screens`."""
    from ...core.errors import MuserError
    from ...prompts.joint import Joint, joint_of
    from ...screens.coverage import tables_of
    from ...store.queries.coverage import count_accepted
    from ..loading import named_run

    joints: dict[str, Joint] = {}

    def expect(run_id: str, first: str, second: str) -> "Mapping[tuple[str, str], float]":
        if run_id not in joints:
            try:
                joints[run_id] = joint_of(tables_of(named_run(store, run_id)))
            except MuserError:
                # Not drawn from tables, or these have changed since: `muser coverage` says which.
                return {}
        drawn = count_accepted(store, run_id).drawn
        return {pair: share * drawn for pair, share in joints[run_id].shares(first, second).items()}

    return expect


def scorer(store: "Store") -> "Callable[[str], Mapping[str, object]]":
    """The report of an evaluation run, handed in for the same reason."""

    def report(run_id: str) -> "Mapping[str, object]":
        from ...core.loading import parse_recipe
        from ...evals.grading import report_run
        from ..loading import named_run

        run = named_run(store, run_id)
        return report_run(parse_recipe(run.recipe, run.folder), store, run_id).to_dict()

    return report


def replay_tools(store: "Store", changes: Sequence[str]) -> "Tools":
    """The replays of the playground, handed in because the viewer must not import `graph`."""
    from ...core.errors import InputError
    from ...core.loading import parse_recipe
    from ...core.recipe import Recipe
    from ...graph.replay import replay
    from ...pipeline.servers import serving
    from ...prompts.templates import load_prompts
    from ...store.records.runs import find_run
    from ...viewer.playground import Editable, Outcome, Tools

    def recipe_of(run_id: str, more: Sequence[str] = ()) -> Recipe:
        run = find_run(store, run_id)
        if run is None:
            raise InputError(f"There is no run {run_id!r}.")
        return parse_recipe(run.recipe, run.folder, [*changes, *more], source=f"the recipe of {run_id}")

    def editable(run_id: str) -> "tuple[list[Editable], list[str]]":
        recipe = recipe_of(run_id)
        prompts = load_prompts(recipe)
        found = [(f"critics.{name}", name, prompt) for name, prompt in prompts.critics.items()]
        found += [("refiner", "refine", prompts.refiner)] if recipe.critics else []
        roles = [
            Editable(role, node, prompt.file.read_text("utf-8"), recipe.role(role).model)
            for role, node, prompt in found
        ]
        return roles, list(recipe.models)

    async def act(edit: "Edit", most_calls: int) -> "Outcome":
        run_id = edit.sample.rpartition("/")[0]
        roles, models = editable(run_id)
        role = next((one for one in roles if one.role == edit.role), None)
        if role is None or (edit.model and edit.model not in (*models, role.model)):
            raise InputError(f"{edit.role} cannot be replayed with model {edit.model}", where=edit.sample)
        more = _changed(store, role, edit)
        recipe = recipe_of(run_id, more)
        called = [*(f"critics.{name}" for name in recipe.critics), "refiner"]
        async with serving(recipe, store, called) as up:
            made, summary = await replay(
                recipe,
                store,
                [edit.sample],
                node=role.node,
                models=up.models,
                revisions=up.revisions,
                most_calls=most_calls,
            )
        problem = f"{made.run_id}: {summary.stop_cause}" if summary.stop_cause else ""
        return Outcome(made.forks[edit.sample], made.changes, made.calls, problem)

    return Tools(editable, act)


def _changed(store: "Store", role: "Editable", edit: "Edit") -> list[str]:
    """The settings that an edit changes. An edited prompt becomes a file beside the store, named by its content."""
    from json import dumps

    from .replay import keep_prompt

    found = [f"roles.{edit.role}.model={dumps(edit.model)}"] if edit.model and edit.model != role.model else []
    if edit.prompt.strip() and edit.prompt.strip() != role.prompt.strip():
        path = keep_prompt(store, role.node, edit.prompt)
        key = "prompts.refiner" if edit.role == "refiner" else f"{edit.role}.prompt"
        found.append(f"{key}={dumps(str(path))}")
    return found


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
