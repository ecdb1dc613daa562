"""LoRA adapters on a vLLM that runs: loaded under a name of their own, without a restart."""

from pathlib import Path

import httpx2

from ...core.errors import ServerError

TIMEOUT = 120.0  # seconds to load one


async def load_adapter(base_url: str, name: str, path: Path, key: str) -> None:
    """Has the server answer as `name` with the adapter at `path`; one that it has already is left alone.

    Only a server that muser started with a key takes it. Raises ServerError with what the server said.
    """
    async with httpx2.AsyncClient(
        trust_env=False, timeout=TIMEOUT, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        try:
            listing = (await client.get(f"{base_url}/models")).raise_for_status().json()["data"]
            if any((card["id"], card["root"]) == (name, str(path)) for card in listing):
                return
            # Under the same name other weights come in its place, as they do after another training.
            body = {"lora_name": name, "lora_path": str(path), "load_inplace": True}
            answer = await client.post(f"{base_url}/load_lora_adapter", json=body)
        except (httpx2.HTTPError, KeyError, ValueError) as error:
            raise ServerError(f"the adapter {name} could not be loaded: {error}", where=base_url) from error
    if not answer.is_success:
        raise ServerError(
            f"the server does not take the adapter {name}: {_reason(answer)}",
            where=base_url,
            todo="start the server anew, or set serve.weights: merged",
        )


def _reason(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300] or f"status {answer.status_code}"
