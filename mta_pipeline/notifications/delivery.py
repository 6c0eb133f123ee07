"""Delivers messages to receivers through Apprise, and keeps those that could not be sent.

The URL of a receiver contains secrets. Messages and logs therefore show only its position in the list and its kind.
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
"""Time limit for sending in one tick. Dagster ends a tick after 60 s."""

_ANSWER: Final = re.compile(r"error=(\d{3})\b")


class ReceiversError(ValueError):
    """MTA_NOTIFY cannot be used, or messages could not be sent. The message does not show the value of MTA_NOTIFY."""


class Outbox(BaseModel):
    """Unsent messages by receiver. Only the newest message of each incident is kept."""

    waiting: dict[str, dict[str, Message]] = {}

    def add(self, key: str, message: Message, receivers: Iterable[str]) -> None:
        """Queue a message about the incident with this key for every receiver. It replaces an older one."""
        for receiver in receivers:
            self.waiting.setdefault(receiver, {})[key] = message

    def send(self, receivers: "Receivers") -> tuple[int, dict[str, str]]:
        """Send the queued messages in order. After a failure, a receiver gets no more messages in this call.

        Returns:
            The number of messages that were sent, and the reason for each receiver with a failure.
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
    """The receivers of messages: the URLs in MTA_NOTIFY, or in the file that it names.

    Raises:
        ReceiversError: Apprise does not support a URL, the file cannot be read, or Apprise is not installed.
    """

    def __init__(self, notify: SecretStr) -> None:
        apprise = _apprise()
        urls = _urls(notify.get_secret_value())
        self._servers: dict[str, Any] = {}
        for n, url in enumerate(urls, 1):
            server = apprise.Apprise()
            if not server.add(url):
                raise ReceiversError(f"MTA_NOTIFY: URL {n} of {len(urls)} is not supported by Apprise; correct it")
            self._servers[f"{n} ({url.partition('://')[0]})"] = server

    @property
    def names(self) -> list[str]:
        """The names of the receivers: position in the list and kind, such as `1 (json)`."""
        return list(self._servers)

    def send(self, receiver: str, message: Message) -> str | None:
        """Send a message. Returns None if it was delivered, otherwise the reason."""
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
    """Apprise, with its log and that of urllib3 limited: both may show the secrets in a URL."""
    try:
        import apprise  # noqa: PLC0415  # imported only when there is something to send
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
        raise ReceiversError("MTA_NOTIFY: this is neither a URL nor the name of a readable file") from None
    urls = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not urls:
        raise ReceiversError("MTA_NOTIFY: the file contains no URL")
    return urls
