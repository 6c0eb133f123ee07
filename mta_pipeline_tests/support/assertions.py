"""Assertions that several test modules share."""

from typing import Final

_MAX_MESSAGE: Final = 5_000


def assert_short(message: str) -> None:
    """Assert that a message fits into a log, whatever texts from outside it quotes."""
    assert len(message) < _MAX_MESSAGE
    assert message.isprintable()
