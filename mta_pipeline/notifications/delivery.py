"""The way to the receivers, through Apprise, and what is to be sent once one can be reached again.

A receiver's URL holds its secrets, so nothing here says more of one than its place in the list and its kind.
"""

import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from mta_pipeline.notifications.messages import Message

SECONDS: Final = 30.0
"""After so long no more is sent in one go; Dagster ends a tick at 60 s."""

_ANSWER: Final = re.compile(r"error=(\d{3})\b")


class ReceiversError(ValueError):
    """MTA_NOTIFY cannot be used; the message says why, and nothing of what it holds."""


class Outbox(BaseModel):
    """What each receiver is still to get; of one fault, only the newest word."""

    waiting: dict[str, dict[str, Message]] = {}

    def add(self, key: str, message: Message, receivers: Iterable[str]) -> None:
        """A message about the fault of this key, to every receiver."""
        for receiver in receivers:
            self.waiting.setdefault(receiver, {})[key] = message

    def send(self, receivers: "Receivers") -> tuple[int, dict[str, str]]:
        """Send what is waiting, in order; a receiver that does not take one gets no more for now.

        Returns:
            How many messages were taken, and of the receivers that did not take one, why.
        """
        until, taken, refused = time.monotonic() + SECONDS, 0, {}
        self.waiting = {name: kept for name, kept in self.waiting.items() if name in receivers.names}
        for receiver, messages in self.waiting.items():
            for key, message in list(messages.items()):
                if time.monotonic() > until:
                    refused[receiver] = "no time left in this tick"
                    break
                if reason := receivers.send(receiver, message):
                    refused[receiver] = reason
                    break
                del messages[key]
                taken += 1
        self.waiting = {name: kept for name, kept in self.waiting.items() if kept}
        return taken, refused


class Receivers:
    """Who gets messages: the URLs in MTA_NOTIFY, or in the file that it names.

    Raises:
        ReceiversError: a URL is not one that Apprise knows, the file cannot be read, or Apprise is not installed.
    """

    def __init__(self, notify: SecretStr) -> None:
        apprise = _apprise()
        urls = _urls(notify.get_secret_value())
        self._servers: dict[str, Any] = {}
        for n, url in enumerate(urls, 1):
            server = apprise.Apprise()
            if not server.add(url):
                raise ReceiversError(f"MTA_NOTIFY: URL {n} of {len(urls)} is not one that Apprise knows")
            self._servers[f"{n} ({url.partition('://')[0]})"] = server

    @property
    def names(self) -> list[str]:
        """What receivers are called: their place in the list, and their kind."""
        return list(self._servers)

    def send(self, receiver: str, message: Message) -> str | None:
        """Send a message; returns why the receiver did not take it, or None if it did."""
        apprise = _apprise()
        with apprise.LogCapture(level=logging.WARNING) as log:
            taken = self._servers[receiver].notify(
                body=message.body, title=message.title, notify_type=message.tone, body_format=apprise.NotifyFormat.TEXT
            )
            answer = _ANSWER.search(log.getvalue())
        if taken:
            return None
        return f"it answered {answer[1]}" if answer else "it could not be reached"


def _apprise() -> Any:
    """Apprise, with its log kept to itself, and that of what it asks with: both may name what a URL holds."""
    try:
        import apprise  # noqa: PLC0415  # only when there is something to send
    except ImportError as error:
        raise ReceiversError("MTA_NOTIFY needs the extra `notify` (pip install 'mta-pipeline[notify]')") from error
    apprise.logger.propagate = False
    apprise.logger.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)
    return apprise


def _urls(notify: str) -> list[str]:
    if "://" in notify:
        return notify.split()
    path = Path(notify).expanduser()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise ReceiversError("MTA_NOTIFY: it is no URL, and there is no file of that name that can be read") from None
    urls = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not urls:
        raise ReceiversError("MTA_NOTIFY: there is no URL in the file")
    return urls
