"""Turns each kind of failed request into an EndpointError that says what to do about it."""

import json
from dataclasses import dataclass

from ...core.errors import EndpointError, EndpointOverloaded, EndpointRefused, EndpointTimeout, EndpointUnreachable
from .keys import Secrets

LONGEST = 600  # characters of what a server said that a message repeats


@dataclass(frozen=True)
class Failures:
    """Makes the errors for the model that the recipe calls `name`, with its secrets removed."""

    name: str
    variable: str | None
    """the environment variable with the key"""
    secrets: Secrets
    where: str

    def timeout(self, limit: float) -> EndpointTimeout:
        """No response within `limit` seconds."""
        todo = f"raise models.{self.name}.timeout, or lower concurrency"
        return EndpointTimeout(f"no response within {limit:g} s", where=self.where, todo=todo)

    def unreachable(self, cause: Exception) -> EndpointUnreachable:
        """No connection could be made, or it was lost before the response was complete."""
        todo = "start the server, or correct base_url"
        if "CERTIFICATE" in str(cause):
            todo = "set SSL_CERT_FILE to the certificate of the authority that signed the server's"
        said = self._shown(str(cause) or type(cause).__name__)
        return EndpointUnreachable(f"cannot reach the server ({said})", where=self.where, todo=todo)

    def lost(self, tries: int, last: EndpointUnreachable) -> EndpointOverloaded:
        """The server responds to other requests, but every connection for this one is lost."""
        return EndpointOverloaded(
            f"no complete response in {tries} {'try' if tries == 1 else 'tries'}, although the server is reachable "
            f"({self._shown(str(last.__cause__))})",
            where=self.where,
            todo="read the server's log; `muser retry` repeats failed samples",
        )

    def unusable(self, why: Exception | str) -> EndpointRefused:
        """The response is not a chat completion, or not even HTTP."""
        said = self._shown(str(why) or type(why).__name__)[:300]
        todo = "check base_url (it normally ends in /v1) and the server's log"
        return EndpointRefused(f"the response is not a chat completion ({said})", where=self.where, todo=todo)

    def redirected(self, to: str) -> EndpointRefused:
        """The server redirects. Requests carry prompts and keys, which must go only to the address in the recipe."""
        todo = f"set models.{self.name}.base_url to the final address"
        what = f"the server redirects to {self._shown(to)[:300] or 'another address'}, and muser follows no redirects"
        return EndpointRefused(what, where=self.where, todo=todo)

    def refusal(self, status: int, body: bytes) -> EndpointError:
        """The server answered with an error status."""
        said = f"the server answered {status}: {self._shown(_explanation(body))}"
        if status in (408, 409, 429) or status >= 500:
            todo = "lower concurrency, or read the server's log; `muser retry` repeats failed samples"
            return EndpointOverloaded(said, where=self.where, todo=todo)
        name, variable = self.name, self.variable
        todo = {
            401: f"check the key in ${variable}" if variable else f"set models.{name}.api_key_env",
            403: f"check the permissions of the key in ${variable}" if variable else f"set models.{name}.api_key_env",
            404: "check model and base_url (it normally ends in /v1); `muser check` lists the served models",
        }.get(status, f"check models.{name}: max_tokens, extra_body, and api: openai for servers that are not vLLM")
        return EndpointRefused(said, where=self.where, todo=todo)

    def _shown(self, text: str) -> str:
        return self.secrets.hide(text[: 10 * LONGEST])[:LONGEST]


def _explanation(body: bytes) -> str:
    """The message in an error's body: in OpenAI's format if it has that, else the whole text."""
    text = body[: 10 * LONGEST].decode(errors="replace")
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return text
