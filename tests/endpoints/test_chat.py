"""endpoints/chat.py against the simulated endpoint and small odd servers, over real HTTP."""

from muser.core.recipe import ModelSettings, RoleSettings
from muser.core.types import Message, Request
from muser.endpoints.chat import open_endpoints

ROLE = RoleSettings(model="m")


async def test_a_reply_keeps_text_reasoning_and_usage(simulated: str) -> None:
    async with open_endpoints({"m": ModelSettings(model="simulated", base_url=simulated)}) as endpoints:
        reply = await endpoints["m"].complete(
            Request(messages=(Message(role="user", content="I have chest pain."),)), ROLE, 1
        )
    assert "chest pain" in reply.text
    assert "Now, answer." in reply.reasoning
    assert reply.finish_reason == "stop"
    assert reply.model == "simulated"
    assert reply.usage.tokens_in > 0
    assert reply.seconds > 0
