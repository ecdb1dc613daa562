"""Keys and headers from the environment: read when endpoints open, removed from servers' messages, never stored."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...core.errors import SettingsError
from ...core.recipe import ModelSettings
from ...core.secrets import hide_secrets


@dataclass(frozen=True)
class Secrets:
    """The key and the secret headers of a model's requests."""

    key: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def all_headers(self) -> dict[str, str]:
        """The key's header and the model's own headers."""
        return {"Authorization": f"Bearer {self.key or 'none'}", **self.headers}

    def hide(self, text: str) -> str:
        """The text with `***` in place of these secrets and of anything else that looks like a key."""
        for secret in sorted([self.key or "", *self.headers.values()], key=len, reverse=True):
            text = text.replace(secret, "***") if secret else text
        return hide_secrets(text)


def read_secrets(models: Mapping[str, ModelSettings]) -> dict[str, Secrets]:
    """Each model's secrets. Raises SettingsError with every variable that is not set."""
    missing: list[str] = []

    def read(variable: str, place: str) -> str:
        value = os.environ.get(variable, "")
        if not value:
            missing.append(f"{variable} ({place})")
        return value

    secrets = {
        name: Secrets(
            key=read(model.api_key_env, f"models.{name}") if model.api_key_env else None,
            headers={header: read(variable, f"models.{name}") for header, variable in model.headers_env.items()},
        )
        for name, model in models.items()
    }
    if missing:
        raise SettingsError(
            f"no key in the environment: {', '.join(missing)}", todo="export the variable before running muser"
        )
    return secrets
