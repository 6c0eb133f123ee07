"""Helpers that tests share: servers, emulators, small lakes and files."""
