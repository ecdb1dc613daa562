"""The HTTP client of one server: bounded responses, retries, and every failure an EndpointError.

One aiohttp session serves all models, over HTTP, TLS and proxies. docs/performance.md says what that saves compared
with OpenAI's SDK; a contract test checks that requests, retried statuses and pauses are the same as the SDK's.
"""

import asyncio
import ipaddress
import random
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from ...core.errors import EndpointError, EndpointTimeout, EndpointUnreachable, SettingsError
from ...core.recipe import ModelSettings
from .failures import Failures
from .keys import Secrets

CONNECT_TIMEOUT = 10.0  # seconds, including the TLS handshake
IDLE = 4.0  # seconds an idle connection is kept; uvicorn, vLLM's server, closes it after 5 (timeout_keep_alive)
LARGEST = 8 * 2**20  # bytes in a response; 128,000 tokens of Chinese in JSON escapes are a tenth of that
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a retry if the server does not say; as in OpenAI's SDK
LONGEST_TOLD = 120.0  # seconds; if the server asks for a longer pause, the request is not retried
PASSING = frozenset({408, 409, 429})  # statuses below 500 after which a retry may succeed


class Answer(NamedTuple):
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """Sends requests to one address of one model."""

    def __init__(
        self, settings: ModelSettings, secrets: Secrets, failures: Failures, session: aiohttp.ClientSession, url: str
    ) -> None:
        self._retries, self._secrets, self._session = settings.retries, secrets, session
        self.url, self._proxy = url, find_proxy(url)
        self.failures = failures

    async def post(self, path: str, body: bytes, more_headers: Mapping[str, str]) -> bytes:
        """A successful response's body. Retries on the same failures and after the same pauses as OpenAI's SDK."""
        headers = {"Content-Type": "application/json", **self._secrets.all_headers, **more_headers}
        tried = 0
        while True:
            try:
                outcome: Answer | EndpointUnreachable = await self._exchange(
                    "POST", f"{self.url}/{path}", headers, body
                )
            except EndpointUnreachable as lost:
                outcome = lost
            if isinstance(outcome, Answer) and outcome.is_success:
                return outcome.body
            tried += 1
            pause = pause_before_retry(outcome, tried)
            if pause is None or tried > self._retries:
                break
            await asyncio.sleep(pause)
        if isinstance(outcome, Answer):
            raise self.failures.refusal(outcome.status, outcome.body)
        raise await self._tell_apart(outcome, tried)

    async def get(self, url: str, limit: float) -> bytes | None:
        """The body; None if the server has no such page."""
        headers = self._secrets.all_headers if self._secrets.key else self._secrets.headers
        try:
            async with asyncio.timeout(limit):
                answer = await self._exchange("GET", url, headers)
        except TimeoutError as error:
            raise self.failures.timeout(limit) from error
        if answer.status in (404, 405, 501):
            return None
        if not answer.is_success:
            raise self.failures.refusal(answer.status, answer.body)
        return answer.body

    async def _tell_apart(self, lost: EndpointUnreachable, tried: int) -> EndpointError:
        """Unreachable, or overloaded by this request? A server that still responds to GET models is reachable."""
        try:
            await self.get(f"{self.url}/models", CONNECT_TIMEOUT)
        except (EndpointUnreachable, EndpointTimeout):
            return lost
        except EndpointError:
            pass
        return self.failures.lost(tried, lost)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                if 300 <= response.status < 400:
                    raise self.failures.redirected(response.headers.get("Location", ""))
                return Answer(response.status, response.headers, await self._read(response))
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientHttpProxyError) as error:
            raise self.failures.unreachable(error) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise self.failures.unusable(error) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > LARGEST:
                raise self.failures.unusable(f"the response is longer than {LARGEST / 2**20:g} MiB")
        return b"".join(parts)


def open_session(urls: list[str]) -> aiohttp.ClientSession:
    """The session that every client shares. It has no connection limit: the runner limits the requests in flight."""
    is_secure = any(url.startswith("https:") for url in urls)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=IDLE, ssl=httpx2.create_ssl_context() if is_secure else True
        ),
        # The call has its own timeout; aiohttp's default total of 5 minutes would cut long generations.
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def find_proxy(url: str) -> str | None:
    """The proxy that the environment sets for an address; None for this machine. Raises SettingsError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None:
        return None
    scheme, marked, _ = proxy.partition("://")
    if marked and scheme not in ("http", "https"):
        raise SettingsError(
            f"muser does not support {scheme} proxies",
            where=f"{parts.scheme.upper()}_PROXY or ALL_PROXY",
            todo=f"set an HTTP proxy, or add {host} to NO_PROXY",
        )
    return proxy if marked else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether a host name always means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def pause_before_retry(outcome: Answer | EndpointUnreachable, tried: int) -> float | None:
    """Seconds to wait before the next try; None if a retry cannot help."""
    is_passing, wanted, told = True, None, 0.0
    if isinstance(outcome, Answer):
        is_passing = outcome.status in PASSING or outcome.status >= 500
        wanted, told = outcome.headers.get("x-should-retry"), _told_pause(outcome.headers)
    if wanted == "false" or told > LONGEST_TOLD or not (is_passing or wanted == "true"):
        return None
    if told > 0:
        return told
    # Exponential, with up to 25 % jitter so that many waiting clients do not return at once.
    grown = FIRST_PAUSE * 2.0 ** min(tried - 1, 10)
    return min(grown, LONGEST_PAUSE) * (1 - 0.25 * random.random())


def _told_pause(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3); 0 if it gives none or an invalid value."""
    for header, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        with suppress(ValueError):
            seconds = float(headers.get(header, "")) / divisor
            return seconds if seconds > 0 else 0.0
    with suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time(), 0.0)
    return 0.0
