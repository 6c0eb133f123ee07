"""The errors of data sources. All kinds of sources raise these errors and no others."""

from typing import ClassVar, Final

_MAX_QUOTED: Final = 300


def one_line(text: str) -> str:
    """Return a text from outside for a message: its beginning, printable, on one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text[:_MAX_QUOTED].split()))


class FeedError(Exception):
    """A feed could not deliver. The message names the week, the address, the cause and what to do."""

    retryable: ClassVar[bool] = False
    """Whether the same call can succeed later without a change on our side."""


class NotPublished(FeedError):  # an expected outcome, so its name does not end in Error
    """The feed answers, and does not offer this week."""


class FeedUnavailable(FeedError):
    """The feed cannot be reached, or the transfer broke off. A later attempt can succeed."""

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None, *, is_busy: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds to wait, if the feed requested a delay."""
        self.is_busy = is_busy
        """Whether the feed answered that it limits requests, or has too many."""


class FeedSlow(FeedUnavailable):
    """The feed answers too slowly for a caller with `fail_fast`."""


class FeedRefused(FeedError):
    """The feed refuses the request. Credentials, permissions or an address must change first."""


class FeedNeedsExtra(FeedRefused):
    """The feed needs a package that is not installed."""


class BadFile(FeedError):
    """The feed offers a week, but its file is not there, is no weekly file, or is damaged at the source."""
