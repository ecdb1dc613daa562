"""Where the form of a reply is asked for: in the request, or in the prompt for servers that ignore it there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.agents.critics import CRITIQUE_SCHEMA
from muser.core.hashing import digest
from muser.core.recipe import RoleSettings
from muser.core.types import Message, Reply, Request
from muser.endpoints.client.chat import open_endpoints
from muser.endpoints.client.structured import response_format, with_schema

from ..conftest import settings

Simulate = Callable[..., str]
SHARED = "Read this.\n\n<query>\nMy chest hurts.\n</query>\n\n<answer>\nRest.\n</answer>\n\n"
CRITIC = (
    Message(role="system", content="You review."),
    Message(role="user", content=f"{SHARED}Your task: review for one facet, **safety**."),
)
ROLE = RoleSettings(model="m")


async def ask(base_url: str, **changes: Any) -> Reply:
    request = Request(messages=CRITIC, output_schema=CRITIQUE_SCHEMA)
    async with open_endpoints({"m": settings(base_url, **changes)}) as endpoints:
        return await endpoints["m"].complete(request, ROLE, 1)


def test_the_schema_comes_last_so_that_what_is_shared_stays_the_prefix() -> None:
    system, user = with_schema(CRITIC, CRITIQUE_SCHEMA)
    assert system == CRITIC[0]
    assert user.content.startswith(CRITIC[1].content)
    assert json.dumps(CRITIQUE_SCHEMA) in user.content


@pytest.mark.parametrize(("with_lengths", "left"), [(True, True), (False, False)])
def test_lengths_are_left_out_where_they_would_be_refused(with_lengths: bool, left: bool) -> None:
    shape = json.dumps(response_format(CRITIQUE_SCHEMA, with_lengths=with_lengths))
    assert ("maxLength" in shape) is left
    assert CRITIQUE_SCHEMA["properties"]["rationale"]["maxLength"] == 2000  # type: ignore[index,call-overload]


async def test_a_server_that_ignores_the_schema_answers_in_prose(simulate: Simulate) -> None:
    reply = await ask(simulate(lacks={"schema"}))
    assert "{" not in reply.text


async def test_in_the_prompt_the_schema_reaches_such_a_server(simulate: Simulate) -> None:
    reply = await ask(simulate(lacks={"schema"}), structured="prompt")
    assert set(json.loads(reply.text)) == {"rationale", "verdict"}


async def test_with_the_schema_in_the_prompt_messages_and_parameters_are_the_whole_body(
    simulate: Simulate, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    request = Request(messages=CRITIC, output_schema=CRITIQUE_SCHEMA)
    async with open_endpoints({"m": settings(simulate(log=log), structured="prompt")}) as endpoints:
        endpoint = endpoints["m"]
        sent = endpoint.parameters(request, ROLE, 1)
        assert "response_format" not in sent
        await endpoint.complete(request, ROLE, 1)
    body = {"messages": [message.model_dump() for message in endpoint.messages(request)], **sent}
    assert json.loads(log.read_text())["body"] == digest(body)
