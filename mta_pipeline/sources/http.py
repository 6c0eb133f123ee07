"""Asking a web site: one session, patience and limits, and what goes wrong as the outcomes that feeds know.

What is asked for, and what the answers mean, does not belong here.
"""

import datetime as dt
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import stamina
import urllib3

from mta_pipeline.sources.errors import FeedRefused, FeedSlow, FeedUnavailable

CHUNK_BYTES: Final = 2**18

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0
"""Seconds without a byte, not seconds for the whole answer."""

ATTEMPTS: Final = 5
RETRY_WINDOW: Final = 300.0
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
JITTER: Final = 1.0
LONGEST_RETRY_AFTER: Final = 60.0
"""A site that asks for more seconds than this is left alone; the orchestrator may come back."""

FAIL_FAST_TIMEOUT: Final = 15.0
"""Seconds that a caller with `fail_fast` waits for an answer, or for a whole file."""

MAX_REDIRECTS: Final = 5
MAX_MESSAGE_BYTES: Final = 4_096

NOT_MODIFIED: Final = 304
_ABSENT: Final = (404, 410)
_REFUSED: Final = (401, 403, 407)
_NO_HEAD: Final = (405, 501)

P = ParamSpec("P")
T = TypeVar("T")


class Site:
    """A web site to ask, as the settings name it.

    Args:
        setting: the setting that says where it is, for messages.
        credentials: what to check where it refuses, for messages.
        headers: sent with every request. Those of a site that has any go to no other: redirects elsewhere are refused.
        fail_fast: ask once, and give up soon: for those who come back.
        attempts: how often to ask, if the site may answer later.
        window: seconds after which it is not asked again.
    """

    def __init__(
        self,
        setting: str,
        credentials: str,
        *,
        headers: Mapping[str, str] | None = None,
        fail_fast: bool = False,
        attempts: int = ATTEMPTS,
        window: float = RETRY_WINDOW,
    ) -> None:
        self._credentials = credentials
        self._fail_fast = fail_fast
        self._session = _Session(headers or {})
        self.check_address: Final = f"Look at {setting}"
        self.try_later: Final = f"Try again later; if it stays so, look at the feed and at {setting}"
        self._retry = stamina.RetryingCaller(
            attempts=1 if fail_fast else attempts,
            timeout=window,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=JITTER,
        )

    def with_retries(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that asks, again while it says that the site may answer later."""
        return self._retry(_wait_before_retry, call, *args, **kwargs)

    def request(
        self,
        method: str,
        url: str,
        subject: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response | None:
        """The answer to one request, its body still to be read; None if there is nothing at the address.

        With a condition among the headers, the answer may be that nothing was modified.

        Raises:
            FeedUnavailable: no answer, or one that says to come back.
            FeedRefused: any other answer but 200.
        """
        timeout = (CONNECT_TIMEOUT, FAIL_FAST_TIMEOUT if self._fail_fast else READ_TIMEOUT)
        try:
            response = self._session.request(method, url, headers=headers, params=params, stream=True, timeout=timeout)
        except _BadRedirectError as error:
            raise FeedRefused(f"{subject}: {error}. {self.check_address}.") from None
        except requests.TooManyRedirects:
            raise FeedRefused(f"{subject}: more than {MAX_REDIRECTS} redirects. {self.check_address}.") from None
        except requests.RequestException as error:
            raise self._unreachable(error, subject) from None
        status = response.status_code
        if status == 200 or (headers and status == NOT_MODIFIED):
            return response
        said = _message(response)
        response.close()
        if status in _ABSENT:
            return None
        if method == "HEAD" and status in _NO_HEAD:
            return self.request("GET", url, subject, params=params)
        answer = f"{subject}: the server answers {status} {response.reason}{said and f' ({said})'}"
        if status in _REFUSED:
            raise FeedRefused(f"{answer}. Check {self._credentials}, and whether they may read there.")
        if status in (408, 425, 429) or status >= 500:
            raise FeedUnavailable(f"{answer}. {self.try_later}.", _retry_after(response))
        raise FeedRefused(f"{answer}, which is no file. {self.check_address}.")

    def body(self, response: requests.Response, subject: str, *, decode: bool) -> Iterator[bytes]:
        """The bytes of an answer, unpacked if they were packed for the way and `decode` says so."""
        started = time.monotonic()
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=decode):
                yield chunk
                if self._fail_fast and time.monotonic() - started > FAIL_FAST_TIMEOUT:
                    raise FeedSlow(f"{subject}: not whole within {FAIL_FAST_TIMEOUT:g} s. {self.try_later}.")
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error, subject) from None

    def _unreachable(self, error: Exception, subject: str) -> FeedUnavailable | FeedRefused:
        """The outcome for a broken exchange. Of its causes the innermost is told: others quote whole addresses."""
        cause: BaseException = error
        while (inner := cause.__cause__ or cause.__context__) is not None:
            cause = inner
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FeedRefused(
                f"{subject}: its certificate is not trusted ({cause.verify_message}). {self.check_address}."
            )
        if isinstance(cause, TimeoutError):
            told = "no answer in time"
        else:
            told = f"the connection failed ({type(cause).__name__}: {cause})"
        return FeedUnavailable(f"{subject}: {told}. {self.try_later}.")


def moment(text: str | None) -> dt.datetime | None:
    """The moment a header names, in UTC; None if it is no date."""
    try:
        return parsedate_to_datetime(text).astimezone(dt.UTC) if text else None
    except ValueError:
        return None


def origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """What tells one site from another."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class _BadRedirectError(requests.RequestException):
    """A redirect we do not follow."""


class _Session(requests.Session):
    """Asks for bytes as they are stored, says who asks, and follows no redirect that leaves the web or gives up TLS."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self._stays = bool(headers)
        self.headers.update(
            {
                "User-Agent": f"mta_pipeline/{version('mta-pipeline')}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **headers,
            }
        )

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            came, goes = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            scheme = goes.scheme.lower()
            if scheme not in ("http", "https") or (came.scheme, scheme) == ("https", "http"):
                raise _BadRedirectError(f"redirected from {came.scheme} to {scheme}, which is not followed")
            if self._stays and origin(came) != origin(goes):
                raise _BadRedirectError(f"redirected to another site, {goes.hostname}, which is not followed")
        return target


def _message(response: requests.Response) -> str:
    """What an API says of its refusal, if it does, in JSON."""
    said: Any = None
    if "json" in response.headers.get("Content-Type", ""):
        with suppress(ValueError, urllib3.exceptions.HTTPError):
            said = json.loads(response.raw.read(MAX_MESSAGE_BYTES, decode_content=True))
    text = said.get("message") if isinstance(said, dict) else None
    return " ".join(text.split())[:300] if isinstance(text, str) else ""


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait by the Retry-After header, which is a number or a date."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    at = moment(text)
    return None if at is None else max(0.0, (at - dt.datetime.now(dt.UTC)).total_seconds())


def _wait_before_retry(error: Exception) -> bool | float:
    if not isinstance(error, FeedUnavailable):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else False
