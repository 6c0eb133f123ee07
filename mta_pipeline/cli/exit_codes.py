"""The exit codes of all commands. The help and docs/operations.md show their texts."""

from enum import IntEnum
from typing import Self

import click


class ExitCode(IntEnum):
    """The exit codes. Their numbers never change."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member from its number and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    SUCCESS = 0, "Everything that was requested is done. Nothing is wrong."
    PROBLEMS = 1, "Something failed, or problems or differences were found. The output names them. The rest is done."
    USAGE = 2, "The command line is invalid."
    NOTHING_OFFERED = 3, "The feed offers none of the requested weeks, or no week at all."
    UNUSABLE_INPUT = 4, "The input as a whole cannot be used: an index page is none, a lake has no tables."
    UNREACHABLE = 5, "The feed, the lake or Dagster's records cannot be reached, or refuse access. Try again later."
    CONFIGURATION = 6, "A setting is missing or invalid, or an extra is not installed."
    INTERRUPTED = 130, "Ctrl-C has stopped the command. Launch it again to continue."
    TERMINATED = 143, "SIGTERM has stopped the command. Launch it again to continue."


class CommandError(click.ClickException):
    """Ends a command with a message and an exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # Click reads it from the instance, too.


def help_text() -> str:
    """The codes for the end of the help."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {code.meaning}" for code in ExitCode)


def markdown() -> str:
    """The codes as a table for the documentation."""
    rows = (f"| {code.value} | {code.meaning} |" for code in ExitCode)
    return "\n".join(("| code | meaning |", "| --- | --- |", *rows)) + "\n"
