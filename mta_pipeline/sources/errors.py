"""The outcomes of asking a source. Every kind of source raises these, and nothing else."""

from typing import ClassVar


class FeedError(Exception):
    """A feed did not give what was asked. The message names the week, the address, the cause and what to do."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later with nothing changed on our side."""


class NotPublished(FeedError):  # an outcome, not a fault
    """The feed answers, and has no such week."""


class FeedUnavailable(FeedError):
    """The feed cannot be reached, or broke off; trying again later may help."""

    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds the feed asked us to wait, if it said."""


class FeedSlow(FeedUnavailable):
    """The feed answers too slowly for a caller with `fail_fast`."""


class FeedRefused(FeedError):
    """The feed will not serve us as we ask: credentials, rights or an address must change first."""


class BadFile(FeedError):
    """What the feed gave is not a weekly file, or is damaged at its source."""
