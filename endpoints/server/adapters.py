"""Loads LoRA adapters into a running vLLM, each under its own name, without a restart."""

from pathlib import Path

import httpx2

from ...core.errors import ServerError

TIMEOUT = 120.0  # seconds to load one


async def load_adapter(base_url: str, name: str, path: Path, key: str) -> None:
    """Makes the server serve the adapter at `path` as `name`; does nothing if it already does.

    Only a server that muser started with a key accepts adapters. Raises ServerError with the server's message.
    """
    async with httpx2.AsyncClient(
        trust_env=False, timeout=TIMEOUT, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        try:
            listing = (await client.get(f"{base_url}/models")).raise_for_status().json()["data"]
            if any((card["id"], card["root"]) == (name, str(path)) for card in listing):
                return
            # After another training the same name gets other weights: load_inplace replaces the old ones.
            body = {"lora_name": name, "lora_path": str(path), "load_inplace": True}
            answer = await client.post(f"{base_url}/load_lora_adapter", json=body)
        except (httpx2.HTTPError, KeyError, ValueError) as error:
            raise ServerError(f"the adapter {name} could not be loaded: {error}", where=base_url) from error
    if not answer.is_success:
        raise ServerError(
            f"the server rejected the adapter {name}: {_reason(answer)}",
            where=base_url,
            todo="restart the server, or set serve.weights: merged",
        )


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300] or f"status {answer.status_code}"
