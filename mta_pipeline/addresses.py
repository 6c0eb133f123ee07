"""Addresses without the secrets that they can contain, for messages, logs and records."""

import re
from typing import Final

_CHAIN: Final = re.compile(r"::(?=[\w+.-]+://)")
"""Separates the parts of a chained fsspec URL, such as simplecache::https://host/path."""

_CREDENTIALS: Final = re.compile(r"://(?:[^/?#]*@|[^/?#@:\[]*:(?!\d*(?:[/?#]|$)).*@)", re.DOTALL)
"""User and password. A password can contain `@`, or `/`, `?` and `#` if what follows the colon is no port."""

_QUERY: Final = re.compile(r"[?#].*", re.DOTALL)
_URL: Final = re.compile(r"[\w+.-]+://[^\s'\"<>]+")


def without_credentials(location: str) -> str:
    """Return a location without users and passwords, also if it is a chain."""
    return "::".join(_CREDENTIALS.sub("://", part) for part in _CHAIN.split(location))


def shown(location: str) -> str:
    """Return a location without user, password and query, for messages. Paths stay as they are."""
    if "://" not in location or location.startswith("file://"):
        return location
    return "::".join(_QUERY.sub("", part) for part in _CHAIN.split(without_credentials(location)))


def redacted(text: str) -> str:
    """Return a text, such as the message of another package, in which all URLs are as `shown`."""
    return _URL.sub(lambda url: shown(url[0]), text)
