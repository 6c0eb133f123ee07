"""Terminals without UTF-8 get ASCII."""

import locale
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.cli import main
from mta_pipeline.cli.ascii import ascii_without_utf8, to_ascii


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_becomes_ascii(text):
    assert to_ascii(text).isascii()


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_kept(text):
    assert to_ascii(text) == text


def test_known_characters_get_substitutes():
    assert to_ascii("2014…2018 – 26\u204431 × São → ✓") == "2014...2018 - 26/31 x Sao -> ?"


@pytest.mark.parametrize("charset", ["ascii", "latin-1"])
def test_a_page_with_other_characters_can_be_printed(charset):
    result = CliRunner(charset=charset).invoke(main, ["catalogue"])
    assert (result.exit_code, result.exception) == (0, None)
    assert result.stdout_bytes.isascii()
    assert not CliRunner().invoke(main, ["catalogue"]).stdout_bytes.isascii()


def test_in_a_locale_without_utf8_the_output_is_ascii(monkeypatch, capsys):
    monkeypatch.setattr(locale, "setlocale", lambda _: "C")
    with ascii_without_utf8():
        print("…", end="")
        print("é", end="", file=sys.stderr)
    assert capsys.readouterr() == ("...", "e")
