"""HTTP requests: one session with retries and limits. Failures become the errors of feeds.

Callers build the requests and interpret the responses.
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
"""Maximum seconds without a byte, not for the whole response."""

ATTEMPTS: Final = 5
RETRY_WINDOW: Final = 300.0
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
JITTER: Final = 1.0
LONGEST_RETRY_AFTER: Final = 60.0
"""If a site requests a longer delay, in seconds, there is no further attempt. The orchestrator may try later."""

FAIL_FAST_TIMEOUT: Final = 15.0
"""Seconds that a caller with `fail_fast` waits for a response, or for a whole file."""

MAX_REDIRECTS: Final = 5
MAX_MESSAGE_BYTES: Final = 4_096

NOT_MODIFIED: Final = 304
_ABSENT: Final = (404, 410)
_REFUSED: Final = (401, 403, 407)
_BUSY: Final = (429, 503)
_NO_HEAD: Final = (405, 501)

P = ParamSpec("P")
T = TypeVar("T")


class Site:
    """A web site that a setting names.

    Args:
        setting: the setting with the address, for messages.
        credentials: the credentials to check if the site refuses access, for messages.
        headers: sent with every request. If there are any, redirects to other sites are refused, so that the headers
            reach no other site.
        fail_fast: make one short attempt, for callers that try again later anyway.
        busy_attempts: maximum number of attempts while the site answers that it is busy. Other failures allow ATTEMPTS.
        busy_window: seconds after which there are no further attempts while it is busy. Otherwise RETRY_WINDOW.
    """

    def __init__(
        self,
        setting: str,
        credentials: str,
        *,
        headers: Mapping[str, str] | None = None,
        fail_fast: bool = False,
        busy_attempts: int = ATTEMPTS,
        busy_window: float = RETRY_WINDOW,
    ) -> None:
        self._credentials = credentials
        self._fail_fast = fail_fast
        self._session = _Session(headers or {})
        self.check_address: Final = f"Check {setting}"
        self.try_later: Final = f"Try again later. If the error persists, check the feed and {setting}"
        self._retry = stamina.RetryingCaller(
            attempts=1 if fail_fast else busy_attempts,
            timeout=busy_window,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=JITTER,
        )

    def with_retries(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that sends requests. Repeat it while its error says that the site may answer later."""
        return self._retry(_Patience(), call, *args, **kwargs)

    def request(
        self,
        method: str,
        url: str,
        subject: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response | None:
        """Send one request and return the response, with its body unread; None if nothing exists at the address.

        If `headers` contain a condition, the response can be 304 (not modified).

        Raises:
            FeedUnavailable: there is no response, or one that says to try later.
            FeedRefused: any other response except 200.
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
        detail = _message(response)
        response.close()
        if status in _ABSENT:
            return None
        if method == "HEAD" and status in _NO_HEAD:
            return self.request("GET", url, subject, params=params)
        answer = f"{subject}: the server answers {status} {response.reason}{detail and f' ({detail})'}"
        if status in _REFUSED:
            raise FeedRefused(f"{answer}. Check {self._credentials}, and their permission to read this address.")
        if status in (408, 425, *_BUSY) or status >= 500:
            raise FeedUnavailable(f"{answer}. {self.try_later}.", _retry_after(response), is_busy=status in _BUSY)
        raise FeedRefused(f"{answer}, without a file. {self.check_address}.")

    def body(self, response: requests.Response, subject: str, *, decode: bool) -> Iterator[bytes]:
        """Yield the bytes of a response. With `decode`, undo the Content-Encoding."""
        started = time.monotonic()
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=decode):
                yield chunk
                if self._fail_fast and time.monotonic() - started > FAIL_FAST_TIMEOUT:
                    raise FeedSlow(f"{subject}: incomplete after {FAIL_FAST_TIMEOUT:g} s. {self.try_later}.")
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error, subject) from None

    def _unreachable(self, error: Exception, subject: str) -> FeedUnavailable | FeedRefused:
        """The error for a failed exchange. The message names the innermost cause; outer ones quote whole addresses."""
        cause: BaseException = error
        while (inner := cause.__cause__ or cause.__context__) is not None:
            cause = inner
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FeedRefused(
                f"{subject}: the certificate of the server is not trusted ({cause.verify_message}). "
                f"{self.check_address}."
            )
        if isinstance(cause, TimeoutError):
            reason = "no answer in time"
        else:
            reason = f"the connection failed ({type(cause).__name__}: {cause})"
        return FeedUnavailable(f"{subject}: {reason}. {self.try_later}.")


def moment(text: str | None) -> dt.datetime | None:
    """Parse the date of a header, in UTC; None if it is not a date."""
    try:
        return parsedate_to_datetime(text).astimezone(dt.UTC) if text else None
    except ValueError:
        return None


def origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, which identify a site."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class _BadRedirectError(requests.RequestException):
    """A redirect that must not be followed."""


class _Session(requests.Session):
    """Requests bytes as stored, with a User-Agent, and refuses redirects to other protocols or from https to http.

    If it has headers of its own, it also refuses redirects to other sites.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self._same_site_only = bool(headers)
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
            source, destination = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            scheme = destination.scheme.lower()
            if scheme not in ("http", "https") or (source.scheme, scheme) == ("https", "http"):
                raise _BadRedirectError(f"redirected from {source.scheme} to {scheme}, which is not followed")
            if self._same_site_only and origin(source) != origin(destination):
                raise _BadRedirectError(f"redirected to another site, {destination.hostname}, which is not followed")
        return target


def _message(response: requests.Response) -> str:
    """The error message in a JSON response, if there is one."""
    answer: Any = None
    if "json" in response.headers.get("Content-Type", ""):
        with suppress(ValueError, urllib3.exceptions.HTTPError):
            answer = json.loads(response.raw.read(MAX_MESSAGE_BYTES, decode_content=True))
    text = answer.get("message") if isinstance(answer, dict) else None
    return " ".join(text.split())[:300] if isinstance(text, str) else ""


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait according to the Retry-After header, which holds a number or a date."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    at = moment(text)
    return None if at is None else max(0.0, (at - dt.datetime.now(dt.UTC)).total_seconds())


class _Patience:
    """Decides after each failure of a call whether to repeat it, or after how many seconds.

    A site that is busy answers. One that does not answer may be gone, so it gets fewer attempts.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._until = time.monotonic() + RETRY_WINDOW

    def __call__(self, error: Exception) -> bool | float:
        if not isinstance(error, FeedUnavailable):
            return False
        self._failures += not error.is_busy
        if self._failures == ATTEMPTS or (self._failures and time.monotonic() > self._until):
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else False
