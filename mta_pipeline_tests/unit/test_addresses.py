"""Addresses in messages: secrets are left out, and the rest stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta_pipeline.addresses import redacted, shown

SECRET = "s3cret"
NOISE = st.text("ab1@:.-_%$&=+", max_size=5)
PREFIXES = st.sampled_from(["", "simplecache::", "simplecache::filecache::", "zip://*.txt::", "zip://a@b::"])
SCHEMES = st.sampled_from(["http", "https", "ftp", "s3", "sftp", "soda+https"])


@given(PREFIXES, SCHEMES, NOISE, NOISE, st.sampled_from(["user", "password", "query", "fragment"]))
def test_a_secret_is_in_no_shown_location_and_the_host_and_path_are(prefix, scheme, before, after, place):
    secret = before + SECRET + after
    location = (
        f"{prefix}{scheme}://"
        + {
            "user": f"{secret}@mirror.example/feed",
            "password": f"reader:{secret}@mirror.example/feed",
            "query": f"mirror.example/feed?key={secret}",
            "fragment": f"mirror.example/feed#{secret}",
        }[place]
    )
    for text in (shown(location), redacted(f"Cannot open '{location}' (error 5)")):
        assert SECRET not in text
        assert f"{scheme}://mirror.example/feed" in text


@pytest.mark.parametrize("password", ["p/s3cret", "p?s3cret", "p#s3cret", "p@s3cret", "s3c\tret", "s3cret \n"])
def test_a_password_may_contain_what_separates_the_parts_of_a_url(password):
    assert shown(f"https://reader:{password}@mirror.example/feed") == "https://mirror.example/feed"


@pytest.mark.parametrize(
    "location",
    [
        "data/feed@x?y#z",
        "/data/a::b@c",
        "file:///data/feed@x?y#z",
        "gs://bucket/feed@2024/x:y@z",
        "https://mirror.example:8080/feed@2024/x:y@z",
        "http://[::1]:8080/feed@2024",
        "zip://*.txt::https://mirror.example/feed@2024.zip",
    ],
)
def test_a_location_without_secrets_stays_as_it_is(location):
    assert shown(location) == location
