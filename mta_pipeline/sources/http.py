"""HTTP requests: one session with retries and limits. Failures become the errors of feeds.

Callers build the requests and interpret the responses.
"""

import datetime as dt
import http.client
import json
import logging
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

from mta_pipeline.addresses import redacted
from mta_pipeline.sources.deadlines import CURRENT, Deadline, DeadlineAdapter
from mta_pipeline.sources.errors import FeedRefused, FeedSlow, FeedUnavailable, one_line

CHUNK_BYTES: Final = 2**18

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0
"""Maximum seconds without a byte."""

ANSWER_TIMEOUT: Final = 60.0
"""Maximum seconds for a whole exchange, with connecting, redirects and body. Each received byte adds some."""

SLOWEST: Final = 50_000
"""Bytes per second. A body that arrives faster can take as long as it needs."""

ATTEMPTS: Final = 5
RETRY_WINDOW: Final = 300.0
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
JITTER: Final = 1.0
LONGEST_RETRY_AFTER: Final = 60.0
"""If a site requests a longer delay, in seconds, there is no further attempt. The orchestrator may try later."""

FAIL_FAST_TIMEOUT: Final = 15.0
"""Seconds that a caller with `fail_fast` waits for a whole exchange, whatever its size."""

FAIL_FAST_TOTAL: Final = 45.0
"""Seconds for all exchanges of a site with `fail_fast`, from the first on. Dagster ends a tick after 60 s."""

MAX_REDIRECTS: Final = 5
MAX_MESSAGE_BYTES: Final = 4_096
MAX_HEADER: Final = 2_000
"""Maximum characters of a header that is used."""

NOT_MODIFIED: Final = 304
_ABSENT: Final = (404, 410)
_REFUSED: Final = (401, 403, 407)
_BUSY: Final = (429, 503)
_NO_HEAD: Final = (405, 501)

_FAILURES: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)
"""What an exchange can raise. Not all malformed responses give an error of the packages' own."""

# Messages of these loggers quote addresses with their queries, which can hold tokens.
for _logger in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_logger).setLevel(logging.ERROR)

P = ParamSpec("P")
T = TypeVar("T")


class Site:
    """A web site that a setting names.

    Args:
        setting: the setting with the address, for messages.
        credentials: the credentials to check if the site refuses access, for messages.
        headers: sent with every request.
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
        self._setting = setting
        self._credentials = credentials
        self._fail_fast = fail_fast
        self._first: float | None = None
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

        Redirects are followed within the same site, and from http to https on the same host. If `headers` contain a
        condition, the response can be 304 (not modified).

        Raises:
            FeedUnavailable: there is no response, or one that says to try later.
            FeedSlow: the same with `fail_fast`, because no response has arrived in time.
            FeedRefused: any other response except 200.
        """
        deadline = self._deadline()
        response = self._follow(method, url, subject, deadline, headers=headers, params=params)
        if method == "HEAD" and response.status_code in _NO_HEAD:
            response.close()
            response = self._follow("GET", url, subject, deadline, params=params)
        status = response.status_code
        if status == 200 or (headers and status == NOT_MODIFIED):
            return response
        detail = _message(response)
        response.close()
        if status in _ABSENT:
            return None
        answer = f"{subject}: the server answers {status} {one_line(response.reason)}{detail and f' ({detail})'}"
        if status in _REFUSED:
            raise FeedRefused(f"{answer}. Check {self._credentials}, and their permission to read this address.")
        if status in (408, 425, *_BUSY) or status >= 500:
            raise FeedUnavailable(f"{answer}. {self.try_later}.", _retry_after(response), is_busy=status in _BUSY)
        raise FeedRefused(f"{answer}, without a file. {self.check_address}.")

    def body(self, response: requests.Response, subject: str, *, decode: bool) -> Iterator[bytes]:
        """Yield the bytes of a response. With `decode`, undo the Content-Encoding.

        Raises:
            FeedUnavailable: the transfer broke off, or is slower than SLOWEST.
            FeedSlow: the body has not arrived in time, with `fail_fast`.
        """
        raw: Any = response.raw
        deadline: Deadline = raw.deadline
        try:
            for chunk in raw.stream(CHUNK_BYTES, decode_content=decode):
                if not self._fail_fast:
                    deadline.seconds += len(chunk) / SLOWEST
                yield chunk
        except _FAILURES as error:
            detail = f" (incomplete after {deadline.seconds:.0f} s)" if deadline.has_passed else ""
            raise self._unreachable(error, subject, detail) from None

    def _deadline(self) -> Deadline:
        if not self._fail_fast:
            return Deadline(ANSWER_TIMEOUT, READ_TIMEOUT)
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        return Deadline(min(FAIL_FAST_TIMEOUT, self._first + FAIL_FAST_TOTAL - now), FAIL_FAST_TIMEOUT)

    def _follow(
        self,
        method: str,
        url: str,
        subject: str,
        deadline: Deadline,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request and follow redirects. requests would read their bodies, whatever the size."""
        CURRENT.set(deadline)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                deadline.wait()  # raises if there is no time left
                response = self._session.request(
                    method, url, headers=headers, params=params, stream=True, timeout=CONNECT_TIMEOUT
                )
            except _FAILURES as error:
                raise self._unreachable(error, subject) from None
            raw: Any = response.raw
            raw.deadline = deadline
            if not response.is_redirect:
                return response
            response.close()
            url, params = self._redirected(response, subject), None
        raise FeedRefused(f"{subject}: more than {MAX_REDIRECTS} redirects. {self.check_address}.")

    def _redirected(self, response: requests.Response, subject: str) -> str:
        """The target of a redirect, on the same host. Others may be machines that only this one can reach."""
        try:
            source = urlsplit(response.url)
            # Without a usable target, this raises the same error as a malformed one.
            destination = urlsplit(urljoin(response.url, header(response, "Location") or "//["))
            same_site = origin(source) == origin(destination)
        except ValueError:
            raise FeedRefused(
                f"{subject}: redirected to what is no web address, which is not followed. {self.check_address}."
            ) from None
        schemes = (source.scheme, destination.scheme)
        if destination.scheme not in ("http", "https") or schemes == ("https", "http"):
            raise FeedRefused(
                f"{subject}: redirected from {' to '.join(schemes)}, which is not followed. {self.check_address}."
            )
        if not same_site and (schemes != ("http", "https") or source.hostname != destination.hostname):
            site = one_line(f"{destination.scheme}://{destination.netloc.rpartition('@')[2]}")
            raise FeedRefused(
                f"{subject}: redirected to another site, {site}, which is not followed. If the data are there, set "
                f"{self._setting} to an address of that site."
            )
        return destination._replace(netloc=destination.netloc.rpartition("@")[2]).geturl()

    def _unreachable(self, error: Exception, subject: str, detail: str = "") -> FeedUnavailable | FeedRefused:
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
            kind = FeedSlow if self._fail_fast else FeedUnavailable
            return kind(f"{subject}: no answer in time{detail}. {self.try_later}.")
        reason = f"the connection failed ({type(cause).__name__}: {one_line(redacted(str(cause)))})"
        return FeedUnavailable(f"{subject}: {reason}. {self.try_later}.")


def header(response: requests.Response, name: str) -> str | None:
    """Return a header of a response; None if it is missing, empty, very long or not printable."""
    text = response.headers.get(name, "")
    return text if text and text.isprintable() and len(text) <= MAX_HEADER else None


def moment(text: str | None) -> dt.datetime | None:
    """Parse the date of a header, in UTC; None if it is not a date."""
    try:
        parsed = parsedate_to_datetime(text or "")
        return parsed.replace(tzinfo=dt.UTC) if parsed.tzinfo is None else parsed.astimezone(dt.UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # the last for 31 December 9999 in New York
        return None


def origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, which identify a site."""
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class _Session(requests.Session):
    """Requests bytes as stored, with a User-Agent and further headers, and follows no redirects."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, DeadlineAdapter())
        self.headers.update(
            {
                "User-Agent": f"mta_pipeline/{version('mta-pipeline')}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **headers,
            }
        )

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none. Even with `allow_redirects=False`, requests reads the body of a redirect with a target."""


def _message(response: requests.Response) -> str:
    """The error message in a JSON response, if there is one."""
    answer: Any = None
    if "json" in response.headers.get("Content-Type", ""):
        with suppress(*_FAILURES, RecursionError):
            answer = json.loads(response.raw.read(MAX_MESSAGE_BYTES, decode_content=True))
    text = answer.get("message") if isinstance(answer, dict) else None
    return one_line(text) if isinstance(text, str) else ""


def _retry_after(response: requests.Response) -> float | None:
    """Seconds to wait according to the Retry-After header, which holds a number or a date."""
    text = header(response, "Retry-After") or ""
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
        # The next attempt may need all of its time.
        if self._failures == ATTEMPTS or (self._failures and time.monotonic() + ANSWER_TIMEOUT > self._until):
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else False
