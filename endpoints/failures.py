"""What a request's failure means: the HTTP libraries' exceptions as muser's, with what to do about each."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from ..core.errors import EndpointError, EndpointOverloaded, EndpointRefused, EndpointTimeout, EndpointUnreachable
from ..core.recipe import ModelSettings
from .keys import Secrets


@contextmanager
def translated(name: str, settings: ModelSettings, secrets: Secrets, *, where: str, limit: float) -> Iterator[None]:
    """Raises EndpointErrors for what fails inside; `limit` is the seconds that were waited."""
    try:
        yield
    except (TimeoutError, openai.APITimeoutError) as error:
        raise EndpointTimeout(
            f"no answer within {limit:g} s", where=where, todo=f"raise models.{name}.timeout, or lower concurrency"
        ) from error
    except openai.APIConnectionError as error:
        raise EndpointUnreachable(
            f"cannot reach the server ({error.__cause__ or error})",
            where=where,
            todo="start the server, or correct base_url",
        ) from error
    except openai.APIStatusError as error:
        raise _refusal(error, name, settings.api_key_env, secrets, where) from error
    except (openai.APIError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise EndpointRefused(
            f"what answered is no chat completion ({secrets.hide(str(error))[:300]})",
            where=where,
            todo="check base_url; it normally ends in /v1",
        ) from error


def _refusal(
    error: openai.APIStatusError, name: str, variable: str | None, secrets: Secrets, where: str
) -> EndpointError:
    status = error.status_code
    said = f"the server answered {status}: {secrets.hide(error.message)[:600]}"
    if status in (408, 409, 429) or status >= 500:
        todo = "lower concurrency, or look at the server's log; what failed is asked again by `muser retry`"
        return EndpointOverloaded(said, where=where, todo=todo)
    todo = {
        401: f"check the key in ${variable}" if variable else f"set models.{name}.api_key_env",
        403: f"check what the key in ${variable} may do" if variable else f"set models.{name}.api_key_env",
        404: "check model and base_url (it normally ends in /v1); `muser check` lists what is served",
    }.get(status, f"check models.{name}: max_tokens, extra_body, and api: openai for servers that are not vLLM")
    return EndpointRefused(said, where=where, todo=todo)
