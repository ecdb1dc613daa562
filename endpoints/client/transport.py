"""The HTTP client of one server: answers of bounded size, retries, and every failure an EndpointError.

One aiohttp session serves all models, plain HTTP, TLS and proxies alike. docs/performance.md says what that saves
against the client of OpenAI's SDK; a contract test holds the two to the same requests, statuses and pauses.
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

CONNECT_TIMEOUT = 10.0  # seconds, with the TLS handshake
IDLE = 4.0  # seconds that an unused connection is kept: uvicorn, under vLLM, closes one that was idle for 5
LARGEST = 8 * 2**20  # bytes of an answer; 128,000 tokens of Chinese in JSON escapes are a tenth of that
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a retry, where the server names none
LONGEST_TOLD = 120.0  # seconds; a server that names a longer pause is not asked again
PASSING = frozenset({408, 409, 429})  # statuses below 500 after which a retry may succeed


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Client:
    """What reaches one address of one model."""

    def __init__(
        self, settings: ModelSettings, secrets: Secrets, failures: Failures, session: aiohttp.ClientSession, url: str
    ) -> None:
        self._retries, self._secrets, self._session = settings.retries, secrets, session
        self.url, self._proxy = url, find_proxy(url)
        self.failures = failures

    async def post(self, path: str, body: bytes, more_headers: Mapping[str, str]) -> bytes:
        """A successful answer's body. Tries again when, and as long after, as OpenAI's SDK would."""
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
        """None where the server has no such page."""
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
        """A server that answers other questions is there, and what it cannot answer is this request."""
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
                raise self.failures.unusable(f"the answer is longer than {LARGEST / 2**20:g} MiB")
        return b"".join(parts)


def open_session(urls: list[str]) -> aiohttp.ClientSession:
    """The session that every client shares; the runner bounds what is in flight."""
    is_secure = any(url.startswith("https:") for url in urls)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=IDLE, ssl=httpx2.create_ssl_context() if is_secure else True
        ),
        # One limit stands around the whole of a call; aiohttp's own would cut long generations at five minutes.
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def find_proxy(url: str) -> str | None:
    """The proxy that the environment names for an address; never one for this machine. Raises SettingsError."""
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
            f"muser cannot use a proxy of the kind {scheme}",
            where=f"{parts.scheme.upper()}_PROXY or ALL_PROXY",
            todo=f"name an HTTP proxy, or put {host} into NO_PROXY",
        )
    return proxy if marked else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether a host's name can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def pause_before_retry(outcome: Answer | EndpointUnreachable, tried: int) -> float | None:
    """Seconds to wait after so many tries; None where another is of no use."""
    is_passing, wanted, told = True, None, 0.0
    if isinstance(outcome, Answer):
        is_passing = outcome.status in PASSING or outcome.status >= 500
        wanted, told = outcome.headers.get("x-should-retry"), _told_pause(outcome.headers)
    if wanted == "false" or told > LONGEST_TOLD or not (is_passing or wanted == "true"):
        return None
    if told > 0:
        return told
    grown = FIRST_PAUSE * 2.0 ** min(tried - 1, 10)
    return min(grown, LONGEST_PAUSE) * (1 - 0.25 * random.random())


def _told_pause(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait; 0 where it says nothing that can be read."""
    for header, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        with suppress(ValueError):
            seconds = float(headers.get(header, "")) / divisor
            return seconds if seconds > 0 else 0.0
    with suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time(), 0.0)
    return 0.0
